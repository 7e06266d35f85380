"""Servers as processes: started, waited for, weighed, and ended with everything that they started.

A server's processes are known by a mark in their environment, since some peers' helpers leave the process group.
"""

import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "BENCH_MARK"
STOP_S = 10.0
POLL_S = 0.1


class NotStarted(Exception):
    """A server that doesn't come up, and why."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server's processes have taken: CPU seconds so far, and memory now (PSS: shared pages count once)."""

    cpu_s: float
    memory_bytes: int
    processes: int


@dataclass(slots=True, kw_only=True)
class Process:
    """A server's process tree."""

    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    _root: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it in a session of its own."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith("STEPSCOPE_")}
        environment = {**ours, **self.environment, MARK: self.mark}
        with self.log.open("wb") as log:
            self._root = subprocess.Popen(
                list(self.argv),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )

    def wait(self, ready: Callable[[], bool], timeout_s: float = 120.0) -> None:
        """Wait until it answers. Raises `NotStarted` with the end of its log."""
        assert self._root is not None, "start() comes first"
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if self._root.poll() is not None:
                raise NotStarted(f"it ended with {self._root.returncode}: {self.last_words()}")
            with suppress(OSError, ValueError):
                if ready():
                    return
            time.sleep(POLL_S)
        raise NotStarted(f"no answer in {timeout_s:g} s: {self.last_words()}")

    def last_words(self) -> str:
        """Return the last line of the log that isn't empty."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else "its log is empty"

    def tree(self) -> list[psutil.Process]:
        """Return its processes, helpers that left the group included."""
        return [process for process in psutil.process_iter() if _marked(process, self.mark)]

    def usage(self) -> Usage:
        """Weigh it."""
        cpu_s, memory_bytes, count = 0.0, 0, 0
        for process in self.tree():
            with suppress(psutil.Error):
                times = process.cpu_times()
                cpu_s += times.user + times.system + times.children_user + times.children_system
                memory_bytes += process.memory_full_info().pss
                count += 1
        return Usage(cpu_s, memory_bytes, count)

    def pause(self) -> None:
        """Hold all of it still: even idle, some peers poll, which the others would pay for."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.tree():
            with suppress(psutil.Error):
                process.send_signal(number)

    def stop(self) -> None:
        """End it: by asking, and what is left after some seconds by force."""
        if self._root is None:
            return
        self.resume()
        with suppress(ProcessLookupError):
            self._root.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._root.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self._root.pid, signal.SIGKILL)
        for process in self.tree():
            with suppress(psutil.Error):
                process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._root.wait(STOP_S)


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
