"""A real PostgreSQL, Debian's, on a free port of this machine with its files in a folder of its own."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

START_S = 30.0
ALONE = ("unix_socket_directories=", "logging_collector=off")
"""What a database needs that nobody else uses."""
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""What suits a database that lives as long as a test."""


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest there is."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


class Postgresql:
    """A server that can be started, killed and started again."""

    def __init__(self, folder: Path, bin_folder: Path, settings: Sequence[str] = ()) -> None:
        self._bin = bin_folder
        self._settings = settings
        self._data = folder / "data"
        self._log = folder / "log"
        self._process: subprocess.Popen[Any] | None = None
        # PostgreSQL refuses to run as root.
        self._as: dict[str, Any] = {"user": _nobody(), "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as:
            os.chown(folder, self._as["user"], -1)
        arguments = ["-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", "-D", str(self._data), *arguments)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._databases = 0

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}/{database}"

    def new(self) -> str:
        """Return the address of an empty database."""
        self._databases += 1
        name = f"d{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def start(self) -> None:
        options = [part for setting in (*ALONE, *self._settings) for part in ("-c", setting)]
        command = [
            str(self._bin / "postgres"),
            "-D",
            str(self._data),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            *options,
        ]
        with self._log.open("ab") as log:
            process = self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **self._as)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it without waiting for its clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(START_S)
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url()):
            return True
        return False

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([self._bin / program, *arguments], capture_output=True, text=True, cwd="/", **self._as)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def running(bin_folder: Path, settings: Sequence[str] = QUICK) -> Iterator[Postgresql]:
    # pytest's folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="stepscope-pg-") as folder:
        server = Postgresql(Path(folder), bin_folder, settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _nobody() -> int:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise AssertionError("there is no user to run PostgreSQL as")
