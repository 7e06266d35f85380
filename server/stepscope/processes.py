"""Several server processes on one listening socket: a parent that serves nothing, starts them, and starts them again.

A child runs the parent's command once more. It inherits the listening sockets, and is told by the parent what the
parent has read and checked, so that all are alike. The sockets stay the parent's, too: what connects while a child is
gone waits for another one, which takes it. A pair of sockets joins each child with the parent. The child sends a byte
when it is ready, and stops when the parent is gone.
"""

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from types import FrameType

log = logging.getLogger("stepscope.processes")

SHORTEST_S, LONGEST_S = 0.5, 30.0
"""How long a child that ended is waited with before it is started again: twice as long each time."""
STEADY_S = 60.0
"""A child that lived so long starts over with the shortest wait."""
PATIENCE_S = 10.0
"""How much longer than they may take to finish their requests the children may take to end."""
STOPS = (signal.SIGTERM, signal.SIGINT)
READY = b"r"
VARIABLE = "_STEPSCOPE_MEMBER"
"""Tells a child its number, and its descriptors: the link, and what to listen on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of several processes, as it sees itself."""

    index: int
    parent: socket.socket
    """Can be read when the parent is gone."""
    sockets: Sequence[socket.socket]
    """What all listen on."""
    message: bytes
    """What the parent has told it."""

    def tell_ready(self) -> None:
        """Say that requests are answered from now on."""
        self.parent.send(READY)


def membership(environment: MutableMapping[str, str]) -> Member | None:
    """Return what this process is, if a `Supervisor` has started it; what it starts itself won't be that."""
    given = environment.pop(VARIABLE, None)
    if given is None:
        return None
    index, link, *listening = (int(part) for part in given.split())
    parent = socket.socket(fileno=link)
    with parent.makefile("rb") as lines:
        message = lines.readline()
    return Member(
        index=index, parent=parent, sockets=[socket.socket(fileno=each) for each in listening], message=message
    )


@dataclass(slots=True, eq=False)
class _Child:
    index: int
    process: subprocess.Popen[bytes]
    link: socket.socket
    started_s: float
    ready: bool = False


class Supervisor:
    """Runs this process's own command `count` times, as members that listen on `sockets` and were told a `message`.

    `ready` is called once, when all are.
    """

    def __init__(
        self,
        count: int,
        sockets: Sequence[socket.socket],
        message: bytes,
        *,
        shutdown_s: float,
        ready: Callable[[], None],
    ) -> None:
        self._count = count
        self._sockets = sockets
        self._message = message
        self._shutdown_s = shutdown_s
        self._ready = ready
        self._told = False
        self._children: list[_Child] = []
        self._due_s: dict[int, float] = {}
        self._waits_s: dict[int, float] = {}
        self._stop_until_s: float | None = None
        self._code = 0
        self._woken, self._waker = socket.socketpair()

    def run(self) -> int:
        """Run until a signal stops it, and return the exit code.

        Fails when a child ends before all were ready once, and when one doesn't end in order.
        """
        self._listen_to_signals()
        for index in range(self._count):
            self._start(index)
        while self._children or (self._due_s and self._stop_until_s is None):
            self._wait()
            for number in self._signals():
                if number in STOPS:
                    self._stop(number)
            self._reap()
            self._start_due()
            self._kill_late()
        return self._code

    def _listen_to_signals(self) -> None:
        for end in (self._woken, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        for number in (*STOPS, signal.SIGCHLD):
            signal.signal(number, _noted)

    def _signals(self) -> bytes:
        try:
            return self._woken.recv(4096)
        except BlockingIOError:
            return b""

    def _wait(self) -> None:
        """Wait for a signal, a byte of a child, or the next thing to do."""
        due_s = list(self._due_s.values())
        due_s += [] if self._stop_until_s is None else [self._stop_until_s]
        timeout_s = max(0.0, min(due_s) - time.monotonic()) if due_s else None
        links = {child.link: child for child in self._children if not child.ready}
        readable, _, _ = select.select([self._woken, *links], [], [], timeout_s)
        for link in readable:
            if link is not self._woken:
                self._hear(links[link])

    def _hear(self, child: _Child) -> None:
        try:
            ready = child.link.recv(1) == READY
        except ConnectionError:
            ready = False
        if not ready:
            return  # it ended, and will be reaped
        child.ready = True
        if not self._told and len(self._children) == self._count and all(c.ready for c in self._children):
            self._told = True
            self._ready()

    def _start(self, index: int) -> None:
        ours, theirs = socket.socketpair()
        passed = [sock.fileno() for sock in (theirs, *self._sockets)]
        process = subprocess.Popen(  # noqa: S603 - this process's own command
            [sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, VARIABLE: " ".join(str(number) for number in (index, *passed))},
            pass_fds=passed,
            process_group=0,  # Ctrl-C is the parent's, who passes it on
        )
        theirs.close()
        self._children.append(_Child(index, process, ours, time.monotonic()))
        with contextlib.suppress(OSError):  # it ended already, and will be reaped
            ours.sendall(self._message + b"\n")

    def _reap(self) -> None:
        for child in list(self._children):
            if (code := child.process.poll()) is not None:
                child.link.close()
                self._children.remove(child)
                self._ended(child, code)

    def _ended(self, child: _Child, code: int) -> None:
        if self._stop_until_s is not None:
            if code and child.ready:
                self._code = 1
            return
        if not self._told:
            log.error("process %d ended with %d before it was ready", child.index, code)
            self._code = 1
            self._stop(signal.SIGTERM)
            return
        lived_s = time.monotonic() - child.started_s
        before_s = 0.0 if lived_s >= STEADY_S else self._waits_s.get(child.index, 0.0)
        wait_s = self._waits_s[child.index] = min(max(SHORTEST_S, before_s * 2), LONGEST_S)
        self._due_s[child.index] = time.monotonic() + wait_s
        log.error("process %d ended with %d; it is started again in %g s", child.index, code, wait_s)

    def _start_due(self) -> None:
        if self._stop_until_s is None:
            now_s = time.monotonic()
            for index in [index for index, due_s in self._due_s.items() if due_s <= now_s]:
                del self._due_s[index]
                self._start(index)

    def _stop(self, number: int) -> None:
        """Pass a signal on: the first one lets the children finish, a second one doesn't."""
        for sock in self._sockets:
            sock.close()  # else what connects when the children have closed theirs would wait
        if self._stop_until_s is None:
            self._stop_until_s = time.monotonic() + self._shutdown_s + PATIENCE_S
        self._signal(number)

    def _kill_late(self) -> None:
        if self._stop_until_s is not None and time.monotonic() >= self._stop_until_s:
            self._stop_until_s = time.monotonic() + PATIENCE_S
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for child in self._children:
            child.process.send_signal(number)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Let the signal come as a byte, and not end the process."""
