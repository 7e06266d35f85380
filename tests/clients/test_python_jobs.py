"""Jobs by the Python client against a real server, also one that is killed meanwhile."""

import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from stepscope_client import ArgumentInvalid, Client, InvalidRequest, JobFailed, NotFound, Terms
from tests.clients.conftest import PROGRAMS, wait_until_ready


def label_of(path):
    return path.stem.rpartition("label")[2]


def test_each_kind_of_request_is_a_job(client, samples, files):
    wanted = [label_of(sample) for sample in samples]
    with client.open("lenet") as predictor:
        waited = predictor.images(samples)
    for inputs in ({"images": samples}, {"urls": [f"{files}/{sample.name}" for sample in samples]}):
        result = client.submit("lenet", **inputs, feature_limit=3).result()
        assert [answer.best.label for answer in result] == [answer.best.label for answer in waited]
        assert sum(answer.best.label == label for answer, label in zip(result, wanted, strict=True)) >= 18
        assert {len(answer.features) for answer in result} == {3}


def test_an_array_is_a_job(client):
    rows = np.random.default_rng(1).random((3, 1, 28, 28), np.float32)
    with client.open("lenet") as predictor:
        waited = predictor.tensors(rows)
        result = client.submit(predictor, tensors=rows).result()
    assert result.predictor_id == waited.predictor_id
    for one, other in zip(result, waited, strict=True):
        assert one.best.label == other.best.label
        assert one.best.probability == pytest.approx(other.best.probability, rel=1e-5)


def test_a_dataset_is_a_job_with_a_summary(client):
    result = client.submit("lenet", dataset=("vision", "digits")).result()
    assert result.summary is not None
    assert result.summary.count == len(result)


def test_a_wait_hears_of_every_step(client, samples):
    heard = []
    job = client.submit("lenet", images=samples * 20, batch_size=1)
    job.wait(progress=lambda seen: heard.append((seen.state, seen.percent)))
    assert job.has_ended
    assert heard[-1] == ("done", 100)
    percents = [percent for _, percent in heard]
    assert percents == sorted(percents)


def test_a_bar_goes_to_the_standard_error(client, samples, capsys):
    client.submit("lenet", images=samples[:1]).wait(progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "100%" in shown.err


def test_what_isnt_exactly_one_kind_isnt_sent(client, samples):
    with pytest.raises(ArgumentInvalid, match="exactly one"):
        client.submit("lenet", images=samples, urls=["http://127.0.0.1/"])
    with pytest.raises(ArgumentInvalid, match="exactly one"):
        client.submit("lenet")
    with pytest.raises(ArgumentInvalid, match="Known ones: queued"):
        list(client.jobs("gone"))


def test_a_key_gives_the_same_job(client, samples):
    first, again = (client.submit("lenet", images=samples[:1], terms=Terms(key="one")) for _ in range(2))
    assert first.id == again.id == client.job(first.id).id
    with pytest.raises(InvalidRequest, match="another body"):
        client.submit("lenet", images=samples[1:2], terms=Terms(key="one"))


def test_a_cancelled_job_has_no_result(client, samples):
    job = client.submit("lenet", images=samples * 200, batch_size=1).cancel()
    assert job.state == "cancelled"
    with pytest.raises(JobFailed, match="was cancelled") as told:
        job.result()
    assert (told.value.job_id, told.value.state) == (job.id, "cancelled")


def test_jobs_are_listed_over_pages(client, samples, monkeypatch):
    monkeypatch.setattr("stepscope_client.submissions.PAGE", 2)
    ids = [client.submit("lenet", images=samples[:1]).wait().id for _ in range(5)]
    listed = [job.id for job in client.jobs("done")]
    assert listed[:5] == ids[::-1]


def test_a_wait_ends_after_its_time(client, samples):
    job = client.submit("lenet", images=samples * 200, batch_size=1)
    with pytest.raises(TimeoutError):
        job.wait(timeout_s=0.05)
    job.cancel()


def test_a_forgotten_job_is_told_as_such(client):
    with pytest.raises(NotFound):
        client.job("00000000-0000-4000-8000-000000000000")


# --- a server that is killed ---------------------------------------------------------------------


class Mortal:
    """A server on one port that can be killed and started again, with all that it keeps in one folder."""

    def __init__(self, folder, **environment):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._environment = os.environ | {"STEPSCOPE_MODELS__CACHE": str(folder / "cache")} | environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self):
        with (self._folder / "log").open("ab") as log:
            command = [str(PROGRAMS / "stepscope"), "serve", "--port", str(self.port)]
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=self._environment, stdout=subprocess.DEVNULL, stderr=log
            )
        wait_until_ready(self.url)

    def end(self, number=signal.SIGKILL):
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(60)


@pytest.fixture
def mortal(tmp_path) -> Iterator[Mortal]:
    server = Mortal(tmp_path, STEPSCOPE_JOBS__LEASE_S="2", STEPSCOPE_JOBS__RUN_AT_ONCE="1")
    server.start()
    yield server
    server.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_wait_outlives_the_server(mortal, samples, number):
    with Client(mortal.url) as client:
        long, short = (client.submit("lenet", images=samples * count, batch_size=1) for count in (150, 1))
        heard = threading.Event()
        ended = []

        def wait():
            long.wait(progress=lambda job: heard.set() if job.percent else None)
            ended.append(long.state)

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert heard.wait(30), "it is under way"
        mortal.end(number)
        mortal.start()
        waiting.join(60)
        assert ended == ["done"]
        assert long.attempts == (2 if number is signal.SIGKILL else 1), "what a stop interrupts wasn't its fault"
        assert len(long.result()) == 150 * len(samples)
        assert len(short.result()) == len(samples)


def test_a_webhook_hears_of_the_end_also_after_a_restart(tmp_path, samples):
    notices: list[tuple[dict[str, str], bytes]] = []
    refusing = threading.Event()
    refused = threading.Event()
    refusing.set()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(503 if refusing.is_set() else 204)
            self.end_headers()
            (refused.set() if refusing.is_set() else notices.append((dict(self.headers), body)))

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as hook:
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        allowed = json.dumps([f"127.0.0.1:{hook.server_port}"])
        server = Mortal(tmp_path, STEPSCOPE_FETCH__ALLOW_HOSTS=allowed)
        server.start()
        try:
            with Client(server.url) as client:
                terms = Terms(webhook=f"http://127.0.0.1:{hook.server_port}/done", secret="a long secret")
                job = client.submit("lenet", images=samples[:1], terms=terms).wait()
                assert refused.wait(20)
                server.end(signal.SIGTERM)
                refusing.clear()
                server.start()
                until = time.monotonic() + 60
                while not notices:
                    assert time.monotonic() < until
                    time.sleep(0.05)
        finally:
            server.end()
            hook.shutdown()
    [(headers, body)] = notices
    assert json.loads(body)["id"] == job.id
    assert json.loads(body)["state"] == "done"
    signature = hmac.new(b"a long secret", body, hashlib.sha256).hexdigest()
    assert headers["X-Stepscope-Signature"] == f"sha256={signature}"
