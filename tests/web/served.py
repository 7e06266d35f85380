"""Servers with sockets: uvicorn on a thread of this process, or the command in a process of its own."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from stepscope.app.server import App
from stepscope.web.serve import make_server

ECHO = """
import sys
from stepscope import cli
from stepscope.app import server
from stepscope.runtimes.echo import EchoRuntime
build = server.build
server.build = lambda settings, **more: build(settings, EchoRuntime(), **more)
cli.main()
"""
"""The command over the echo runtime: without torch it starts in a moment."""


@contextlib.contextmanager
def listening(app: App, shutdown_s: float = 5.0, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve on a port of this machine. Signals stay the main thread's."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = make_server(app.asgi, app.root, drain=app.drain, shutdown_s=shutdown_s, tls=tls)
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@contextlib.contextmanager
def raw(port: int) -> Iterator[socket.socket]:
    """A connection without an HTTP library, which wouldn't send what these tests send."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        yield connection


def received(connection: socket.socket) -> bytes:
    """Read until the other side closes, or an answer with a length is whole."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            data += part
            head, found, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if found and length and len(body) >= int(length[1]):
                break
    return data


class Process:
    """A running `stepscope serve`."""

    def __init__(self, arguments: list[str], *, echo: bool, cwd: Path, environment: dict[str, str]) -> None:
        command = [sys.executable, "-c", ECHO] if echo else [str(Path(sys.executable).parent / "stepscope")]
        self.process = subprocess.Popen(
            [*command, "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={k: v for k, v in os.environ.items() if not k.startswith("STEPSCOPE_")}
            | {"STEPSCOPE_MODELS__CACHE": str(cwd / "cache")}
            | environment,
        )
        self.address = ""

    def started(self) -> None:
        """Wait for the line that tells the address."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"https?://\S+", line)
        assert found, f"it told {line!r} and {self.process.communicate()}"
        self.address = found[0]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, timeout_s: float = 20) -> tuple[int, str, str, float]:
        """Wait for the end; return the exit code, what was printed, and the seconds that it took."""
        started = time.monotonic()
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err, time.monotonic() - started

    def post(self, path: str, body: Any, timeout_s: float = 60) -> httpx2.Response:
        return httpx2.post(self.address + path, json=body, timeout=timeout_s)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.address + path, timeout=60)


@contextlib.contextmanager
def process(
    *arguments: str, cwd: Path, echo: bool = True, environment: dict[str, str] | None = None, wait: bool = True
) -> Iterator[Process]:
    """Run the command, and end it whatever happens."""
    served = Process(list(arguments), echo=echo, cwd=cwd, environment=environment or {})
    try:
        if wait:
            served.started()
        yield served
    finally:
        if served.process.poll() is None:
            served.process.send_signal(signal.SIGKILL)
        served.process.communicate()
