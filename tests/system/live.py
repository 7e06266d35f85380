"""A real server in a process of its own, on a free port of 127.0.0.1."""

import hashlib
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

COMMAND = (str(Path(sys.executable).with_name("stepscope")), "serve")
START_S = 120.0
STOP_S = 40.0

KEY = "the-key-of-the-tests"
KEYED = {"STEPSCOPE_AUTH__KEYS": f'{{"tester": "{hashlib.sha256(KEY.encode()).hexdigest()}"}}'}
"""The environment of a server that asks for `KEY`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A server that runs: its address, its process, where its log is written, and a client's side of its TLS."""

    url: str
    pid: int
    log: Path
    tls: ssl.SSLContext | bool = True

    def client(self, key: str = "") -> httpx2.Client:
        """Return a client of this server; it is the caller's to close."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False, verify=self.tls)


@contextmanager
def serving(
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    tls: ssl.SSLContext | bool = True,
) -> Iterator[Live]:
    """Run a server whose log and cache lie in a folder. Settings of the one who runs the tests don't reach it.

    `tls` is the client's side for a server that speaks TLS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    process = start(folder, [*command, "--port", "0", *options], environment)
    try:
        url = _address(process, log)
        _wait_until_ready(url, process, log, tls)
        yield Live(url=url, pid=process.pid, log=log, tls=tls)
    finally:
        stop(process)


def start(folder: Path, command: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command whose log goes to a folder's `server.log`."""
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env=inherited() | {"STEPSCOPE_MODELS__CACHE": str(folder / "cache")} | dict(environment or {}),
        )


def stop(process: subprocess.Popen[str]) -> None:
    """Ask a process to end, and see that it does."""
    process.terminate()
    try:
        process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


def inherited() -> dict[str, str]:
    """Return the environment without settings of the server's."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("STEPSCOPE_")}


def _address(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    line = process.stdout.readline() if ready else ""
    found = re.search(r"listens on (https?://\S+)", line)
    assert found, f"the server didn't tell its address: {line!r}\n{log.read_text()}"
    return found[1]


def _wait_until_ready(url: str, process: subprocess.Popen[str], log: Path, tls: ssl.SSLContext | bool) -> None:
    deadline = time.monotonic() + START_S
    while not _ready(url, tls):
        assert process.poll() is None, f"the server ended with {process.returncode}\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the server isn't ready\n{log.read_text()}"
        time.sleep(0.05)


def _ready(url: str, tls: ssl.SSLContext | bool) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", trust_env=False, verify=tls).status_code == 200
    except httpx2.TransportError:
        return False


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def node_command() -> str:
    """Return the Node.js that came with the environment, or else the machine's."""
    beside_python = Path(sys.executable).with_name("node")
    return str(beside_python) if beside_python.exists() else "node"
