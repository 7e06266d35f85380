"""The command `stepscope worker` as it is documented: against a server of ours, with the model that ships."""

import base64
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.system.live import COMMAND, Live, serving

ROOT = Path(__file__).parents[2]
SEVEN = ROOT / "server" / "stepscope" / "builtin" / "lenet" / "samples" / "14_label7.png"
PROGRAM = str(Path(sys.executable).with_name("stepscope"))


def documented() -> str:
    """The endpoint that the document shows."""
    found = re.search(r"```toml\n(\[ENDPOINT\].*?)```", (ROOT / "docs" / "jobs.md").read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def aime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("aime")
    endpoint = folder / "endpoints" / "digits" / "aime_api_endpoint.cfg"
    endpoint.parent.mkdir(parents=True)
    endpoint.write_text(documented())
    with serving(folder, "--endpoints", str(folder / "endpoints"), command=COMMAND) as server:
        yield server


def worker(url: str, folder: Path, key: str = "a-key-for-workers", job_type: str = "digits") -> subprocess.Popen[str]:
    environment = os.environ | {"AIME_AUTH_KEY": key, "STEPSCOPE_MODELS__CACHE": str(folder)}
    command = [PROGRAM, "worker", "--server", url, "--job-type", job_type, "--model", "lenet", "--batch", "4"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_it_answers_an_endpoints_clients_and_stops_in_order(aime: Live, tmp_path: Path) -> None:
    working = worker(aime.url, tmp_path)
    try:
        body = {
            "key": "a-key-for-alice",
            "image": "data:image/png;base64," + base64.b64encode(SEVEN.read_bytes()).decode(),
        }
        told = httpx2.post(f"{aime.url}/digits", json=body, timeout=90, trust_env=False).json()
        assert told["label"] == "7", told
        assert told["probability"] > 0.9
        assert told["features"][0]["classification"]["index"] == 7
        working.send_signal(signal.SIGTERM)
        assert working.wait(30) == 0
    finally:
        working.kill()
        working.communicate()


@pytest.mark.parametrize(("key", "job_type"), [("wrong", "digits"), ("a-key-for-workers", "letters")])
def test_a_refusal_is_told_and_ends_it(aime: Live, tmp_path: Path, key: str, job_type: str) -> None:
    working = worker(aime.url, tmp_path, key, job_type)
    try:
        _, told = working.communicate(timeout=90)
        assert working.returncode == 1
        assert "refuses this worker" in told
    finally:
        working.kill()


def test_a_server_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    working = worker("http://127.0.0.1:9", tmp_path)
    try:
        assert working.stderr is not None
        line = ""
        until = time.monotonic() + 90
        while "is tried again" not in line:
            assert time.monotonic() < until
            line = working.stderr.readline()
        working.terminate()
        assert working.wait(30) == 0
    finally:
        working.kill()
        working.communicate()
