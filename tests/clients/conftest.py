"""A real server, a file server with the sample digits, and clients of them."""

import functools
import importlib.resources
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stepscope_client import Client

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="session")
def samples() -> list[Path]:
    """The twenty digits that ship, named like `07_label3.png`."""
    folder = Path(str(importlib.resources.files("stepscope.builtin"))) / "lenet" / "samples"
    return sorted(folder.glob("*.png"))


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


class FileServer(ThreadingHTTPServer):
    request_queue_size = 64


@pytest.fixture(scope="session")
def files(samples: list[Path]) -> Iterator[str]:
    """The address of a file server with the samples."""
    with FileServer(("127.0.0.1", 0), functools.partial(QuietFiles, directory=str(samples[0].parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def server(files: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that may fetch from the file server."""
    folder = tmp_path_factory.mktemp("server")
    allowed = {
        "STEPSCOPE_FETCH__ALLOW_HOSTS": json.dumps([files.removeprefix("http://")]),
        "STEPSCOPE_MODELS__CACHE": str(folder / "cache"),
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [PROGRAMS / "stepscope", "serve", "--port", "0"],
            cwd=folder,
            env=os.environ | allowed,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        address = re.search(r"listens on (\S+)", line)
        assert address, (folder / "log").read_text()
        wait_until_ready(address[1])
        yield address[1]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def wait_until_ready(address: str) -> None:
    until = time.monotonic() + 60
    with Client(address) as client:
        while not client.is_ready():
            assert time.monotonic() < until, "the server isn't ready"
            time.sleep(0.05)


@pytest.fixture
def client(server: str) -> Iterator[Client]:
    with Client(server, retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """An environment in which `node` is on the path, and warnings of Python programs are errors."""
    return os.environ | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}", "PYTHONWARNINGS": "error"}
