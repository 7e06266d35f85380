"""Our worker over AIME's protocol, against our server, and against one that misbehaves."""

import asyncio
import base64
import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from stepscope.app.worker import WorkerOptions, build_worker
from stepscope.core.errors import ModelNotFound
from stepscope.core.predictions import ModelRef
from stepscope.runtimes.echo import EchoRuntime
from stepscope.settings import Settings
from stepscope.worker.calls import Identity, WorkerRefused
from stepscope.worker.predictions import Asked
from stepscope.worker.worker import Worker
from tests.web.aime_served import Aime, serving
from tests.web.servers import write_models

SEEN = """
[ENDPOINT]
name = "seen"
[WORKER]
job_type = "seen_jobs"
[INPUTS]
picture = { type = "image", required = true }
[OUTPUTS]
features = { type = "json" }
label = { type = "string" }
index = { type = "integer" }
error = { type = "string" }
"""

SUMS = """
[ENDPOINT]
name = "sums"
[WORKER]
job_type = "sums_jobs"
[INPUTS]
numbers = { type = "json" }
[OUTPUTS]
total = { type = "string" }
error = { type = "string" }
"""

IDENTITY = {"auth": "here#1_1xTest", "auth_key": "wkey-echo"}


@pytest.fixture
def server(tmp_path) -> Iterator[Aime]:
    with serving(tmp_path / "server", {"seen": SEEN, "sums": SUMS}) as aime:
        yield aime


@pytest.fixture
def make(tmp_path) -> Callable[..., Worker]:
    """Make a worker with the echo runtime."""
    folder = write_models(tmp_path / "models")

    def build(url: str, model: str, batch: int = 1, output: str = "", **identity: str) -> Worker:
        settings = Settings.model_validate({"models": {"folders": [folder], "builtin": False, "cache": tmp_path}})
        who = Identity(**({"job_type": "seen_jobs"} | IDENTITY | identity))
        work = WorkerOptions(server=url, asked=Asked(model=ModelRef(name=model), output=output), batch=batch)
        return build_worker(settings, who, work, EchoRuntime())

    return build


@contextlib.contextmanager
def working(worker: Worker) -> Iterator[None]:
    """Let a worker work on a thread, and stop it in order."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(worker.run(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(worker.stop)
        thread.join(20)
        assert not thread.is_alive(), "it hangs"
        loop.close()


def picture(brightest: int) -> str:
    """Twenty pixels, of which the echo runtime makes twenty classes."""
    image = Image.new("L", (5, 4))
    image.putpixel((brightest % 5, brightest // 5), 255)
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/WAV;base64," + base64.b64encode(file.getvalue()).decode()


def test_an_image_comes_back_as_features(server, make):
    with working(make(server.url, "picture")):
        told = server.client("seen").request(picture=picture(7))
    assert (told["index"], told["success"]) == (7, True)
    assert told["features"][0]["classification"]["index"] == 7
    assert len(told["features"]) == 10


def test_many_jobs_run_side_by_side_and_none_is_mixed_up(server, make):
    client = server.client("seen")
    with working(make(server.url, "picture", batch=4)):
        ids = [client.start(picture=picture(number % 20)) for number in range(40)]
        indexes = [client.follow(job_id)[-1]["job_result"]["index"] for job_id in ids]
    assert indexes == [number % 20 for number in range(40)]


def test_numbers_go_in_and_the_asked_output_holds_text(server, make):
    with working(make(server.url, "sum", output="total", job_type="sums_jobs")):
        told = server.client("sums").request(numbers=json.dumps([1.0, 2.0]))
    assert json.loads(told["total"])[0]["type"] == "RAW"


def test_what_the_model_cant_take_is_told(server, make):
    client = server.client("sums")
    with working(make(server.url, "failing", output="total", job_type="sums_jobs")):
        assert "failed" in client.request(numbers="[1.0]")["error"]
        assert "no array" in client.request(numbers=json.dumps({"a": 1}))["error"]


def test_a_worker_that_stops_finishes_its_jobs_first(server, make):
    client = server.client("sums")
    with working(make(server.url, "slow", batch=2, output="total", job_type="sums_jobs")):
        ids = [client.start(numbers="[1.0]") for _ in range(2)]
        while client.poll(ids[0])["job_state"] == "queued":
            pass
    states = [client.poll(job_id)["job_state"] for job_id in ids]
    assert states[0] == "done"
    assert states[1] in ("done", "queued"), "what it took it finished"


@pytest.mark.parametrize("identity", [{"auth_key": "wrong"}, {"job_type": "nobody_knows"}])
def test_a_refusal_ends_the_worker_with_the_reason(server, make, identity):
    with pytest.raises(WorkerRefused, match="refuses this worker"):
        asyncio.run(make(server.url, "picture", **identity).run())


def test_an_unknown_model_ends_it_before_anything_is_asked(make):
    with pytest.raises(ModelNotFound):
        asyncio.run(make("http://127.0.0.1:9", "nobody").run())


# --- a server that misbehaves --------------------------------------------------------------------


class Moody(BaseHTTPRequestHandler):
    """Answers as its server's script says: for each route a status and a body after the other, the last for ever."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, answer = self.server.told(self.path, body)  # type: ignore[attr-defined]
        encoded = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *args):
        pass


class MoodyServer(ThreadingHTTPServer):
    def __init__(self, script: dict[str, list[tuple[int, Any]]]) -> None:
        super().__init__(("127.0.0.1", 0), Moody)
        self.script = script
        self.calls: list[tuple[str, Any]] = []
        self.results = threading.Semaphore(0)

    def told(self, path: str, body: Any) -> tuple[int, Any]:
        self.calls.append((path, body))
        left = self.script[path]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if path == "/worker_job_result" and answer[0] == 200:
            self.results.release()
        return answer


@contextlib.contextmanager
def moody(**script: list[tuple[int, Any]]) -> Iterator[MoodyServer]:
    routes = {f"/worker_job_{name}": answers for name, answers in script.items()}
    with MoodyServer({"/worker_job_progress": [(200, [])], **routes}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def assert_taken(server: MoodyServer, make: Callable[..., Worker], model: str, **more: Any) -> None:
    """Let a worker work until the server has taken a result."""
    with working(make(f"http://127.0.0.1:{server.server_port}", model, **more)):
        assert server.results.acquire(timeout=20)


JOB: dict[str, Any] = {
    "cmd": "job",
    "endpoint_name": "sums",
    "input_descriptions": {"numbers": {"type": "json"}},
    "progress_output_descriptions": {},
    "final_output_descriptions": {"features": {"type": "json"}},
    "job_data": [{"job_id": "a#1", "numbers": [1.0], "start_time": 1.0, "start_time_compute": 1.0}],
}
LATER = {"cmd": "warning", "msg": "come back"}


@pytest.fixture
def impatient(monkeypatch):
    for name in ("PAUSE_S", "LONGEST_PAUSE_S", "REPORT_S"):
        monkeypatch.setattr(f"stepscope.worker.worker.{name}", 0.01)


@pytest.mark.parametrize("trouble", [(500, {}), (503, b"<html>"), (200, None), (200, b"no JSON"), (200, LATER)])
def test_trouble_is_waited_out(make, impatient, trouble):
    with moody(request=[trouble, trouble, (200, JOB), (503, {})], result=[(200, {"cmd": "ok"})]) as server:
        assert_taken(server, make, "sum")
    [sent] = [body for path, body in server.calls if path == "/worker_job_result"]
    assert sent["job_id"] == "a#1"
    assert sent["features"][0]["type"] == "RAW"


def test_a_result_is_sent_until_it_is_taken(make, impatient):
    answers = [(500, {}), (502, b""), (200, {"cmd": "ok"})]
    with moody(request=[(200, JOB), (503, {})], result=answers) as server:
        assert_taken(server, make, "sum")
    sent = [body for path, body in server.calls if path == "/worker_job_result"]
    assert len(sent) == 3
    assert sent[0] == sent[1] == sent[2]


def test_a_job_that_is_offered_twice_runs_once(make, impatient):
    twice = JOB | {"job_data": JOB["job_data"] * 2}
    with moody(request=[(200, twice), (503, {})], result=[(200, {})]) as server:
        assert_taken(server, make, "slow", batch=2)
    assert sum(path == "/worker_job_result" for path, _ in server.calls) == 1


def test_a_cancelled_job_is_closed_with_a_result(make, impatient):
    cancelled = [{"success": True, "cmd": "ok", "job_id": "a#1", "canceled": True}]
    with moody(request=[(200, JOB), (503, {})], result=[(200, {})], progress=[(200, cancelled)]) as server:
        assert_taken(server, make, "slow")
    sent = [body for path, body in server.calls if path == "/worker_job_result"]
    assert sent[0]["error"] == "The job was cancelled."
