"""The server as it ships behind TLS, with the clients that people use."""

import subprocess
import sys
from pathlib import Path

import pytest

from stepscope_client import Client, ServerUnreachable
from tests.system.conftest import SAMPLES
from tests.system.live import serving
from tests.web.certificates import Authority, curl

SEVEN = next(sample for sample in SAMPLES if "label7" in sample.name)


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, ca):
    identity = ca.issue("server")
    (folder := tmp_path_factory.mktemp("server")).joinpath("stepscope.toml").write_text(
        f"[tls]\ncertificate = '{identity.certificate}'\nprivate_key = '{identity.private_key}'\n"
        "[traces]\njaeger_port = 0\n"
    )
    with serving(folder, tls=ca.client()) as live:
        yield live


def test_curl(server, ca):
    assert server.url.startswith("https://127.0.0.1:")
    for trust in (["--cacert", str(ca.file)], ["--insecure"]):
        code, out, told = curl(f"{server.url}/version", *trust)
        assert (code, "PyTorch" in out) == (0, True), told
    assert curl(f"{server.url}/version")[0] == 60


def test_the_python_client(server, ca):
    with Client(server.url, ca=ca.file) as client, client.open("lenet") as predictor:
        assert predictor.images([SEVEN]).answers[0].best.label == "7"
    with Client(server.url) as client, pytest.raises(ServerUnreachable, match="certificate"):
        client.version()
    with Client(server.url, ca="absent.crt") as client, pytest.raises(ServerUnreachable, match="No such file"):
        client.version()


def test_the_console_program(server, ca, tmp_path):
    (tmp_path / "urls.txt").write_text(SEVEN.as_uri() + "\n")  # which no server fetches
    ran = subprocess.run(
        [
            Path(sys.executable).with_name("stepscope-client"),
            *("--mlmodelscope_url", server.url, "--ca", ca.file, "--urls", "urls.txt"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "url_refused" in ran.stdout
    assert "https://127.0.0.1:16686/api/traces/" in ran.stdout
