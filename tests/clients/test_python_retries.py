"""What the Python client does when it is refused: against a small server that answers what it is told."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from stepscope_client import (
    AnswerTimedOut,
    AnswerUnreadable,
    Client,
    ModelUnavailable,
    Overloaded,
    ProblemError,
    Retries,
    ServerUnreachable,
)
from stepscope_client.octets import to_octets
from stepscope_client.transport import read_retry_after

TRACE = {"X-B3-Traceid": "4bf92f3577b34da6a3ce929d0e0e4736", "X-B3-Spanid": "00f067aa0ba902b7", "X-B3-Sampled": "1"}
VERSIONS = {"server": "1", "contract": "1", "framework": "Echo 1", "model": "lenet 1"}
OPENED = {
    "id": "p-1",
    "expires_at": "2026-11-20T12:15:00.000Z",
    "lease_in_ms": 900000,
    "model": {"name": "lenet", "version": "1", "framework": {"name": "Echo", "version": "1"}},
    "device": "cpu",
    "versions": VERSIONS,
    "trace_id": {"id": TRACE["X-B3-Traceid"]},
    "duration": "0.1s",
}
ANSWERED = {
    "id": "p-1",
    "trace_id": {"id": TRACE["X-B3-Traceid"]},
    "responses": [],
    "duration": "1s",
    "duration_for_inference": "0.500s",
}
CLOSED = {"id": "p-1", "freed_bytes": 1, "memory_before_bytes": 2, "memory_after_bytes": 1, "duration": "0.1s"}

Said = tuple[int, dict[str, str], Any]


def problem(status: int, kind: str, **headers: str) -> Said:
    document = {"type": f"urn:stepscope:problem:{kind}", "title": kind, "status": status, "detail": "Not now."}
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, document


class Told(ThreadingHTTPServer):
    """Answers what is next in `answers`, and remembers the requests as (time, path, headers)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Said] = []
        self.requests: list[tuple[float, str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def paths(self) -> list[str]:
        return [path.rpartition("/")[2] for _, path, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Told

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((time.monotonic(), self.path, headers))
        status, extra, document = self.server.answers.pop(0)
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **extra}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def told() -> Iterator[Told]:
    with Told() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_refused_prediction_is_sent_again_after_the_wait(told):
    busy = problem(503, "overloaded", Retry_After="1")
    told.answers = [(200, TRACE, OPENED), busy, (200, {}, ANSWERED), (200, {}, CLOSED)]
    with Client(told.url) as client, client.open("lenet") as predictor:
        assert predictor.urls(["http://x"]).inference_s == 0.5
    assert told.paths == ["open", "urls", "urls", "close"]
    assert told.requests[2][0] - told.requests[1][0] >= 1


def test_open_is_sent_again_too(told):
    told.answers = [problem(429, "too-many-requests", Retry_After="0"), (200, TRACE, OPENED), (200, {}, CLOSED)]
    with Client(told.url) as client, client.open("lenet"):
        pass
    assert told.paths == ["open", "open", "close"]


def test_every_request_carries_the_trace_of_open(told):
    told.answers = [(200, TRACE, OPENED), (200, {}, ANSWERED), (200, {}, ANSWERED), (200, {}, CLOSED)]
    with Client(told.url, key="secret") as client, client.open("lenet") as predictor:
        predictor.urls([])
        predictor.tensors(bytes(4), shape=(1,), dtype="float32")
    for _, _, headers in told.requests[1:]:
        assert {name: headers[name.lower()] for name in TRACE} == TRACE
    assert {headers["authorization"] for _, _, headers in told.requests} == {"Bearer secret"}
    assert told.requests[2][1].endswith("/tensors?predictor_id=p-1&shape=1&dtype=float32")


def test_it_gives_up_after_so_many_tries(told):
    told.answers = [problem(503, "overloaded", Retry_After="0")] * 3
    with Client(told.url, retries=2) as client, pytest.raises(Overloaded) as caught:
        client.open("lenet")
    assert (len(told.requests), caught.value.retry_after_s) == (3, 0)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (problem(503, "overloaded", Retry_After="3600"), Overloaded),
        (problem(503, "overloaded"), Overloaded),
        (problem(503, "model-unavailable"), ModelUnavailable),
        ((502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>"), ProblemError),
        ((307, {"Location": "https://elsewhere.example/"}, b""), ProblemError),
        ((200, {}, {"id": 7}), AnswerUnreadable),
        ((200, {"Content-Type": "text/html"}, b"<h1>Hello</h1>"), AnswerUnreadable),
        ((200, {}, b"{"), AnswerUnreadable),
    ],
)
def test_other_failures_are_told_at_once(told, refusal, error):
    told.answers = [refusal]
    with Client(told.url) as client, pytest.raises(error) as caught:
        client.open("lenet")
    assert len(told.requests) == 1
    assert "\n" not in str(caught.value)


def test_a_close_is_never_repeated(told):
    told.answers = [(200, TRACE, OPENED), problem(503, "overloaded", Retry_After="0")]
    with Client(told.url) as client:
        predictor = client.open("lenet")
        with pytest.raises(Overloaded):
            predictor.close()
    assert told.paths == ["open", "close"]


def test_a_failed_close_does_not_hide_the_error_of_the_body(told):
    told.answers = [(200, TRACE, OPENED), problem(500, "internal-failure")]
    with Client(told.url) as client, pytest.raises(ZeroDivisionError), client.open("lenet"):
        _ = 1 / 0


def test_silence_and_a_broken_answer_are_told_apart(told):
    told.answers = [(200, {"Content-Length": "100"}, b"{")]
    with Client(told.url, timeout_s=0.3) as client, pytest.raises(AnswerTimedOut, match=r"within 0\.3 s"):
        client.open("lenet")
    told.answers = [(200, {"Content-Length": "100", "Connection": "close"}, b"{")]
    with Client(told.url) as client, pytest.raises(ServerUnreachable):
        client.open("lenet")


def test_the_wait_is_never_shorter_than_asked_for_and_bounded():
    retries = Retries(times=2, longest_wait_s=30)
    waits = [retries.wait_s(tried, 2.0) or 0.0 for tried in (1, 2) for _ in range(100)]
    assert 2 <= min(waits) < max(waits) <= 3
    assert retries.wait_s(3, 2.0) is None
    assert retries.wait_s(1, 31.0) is None
    assert retries.wait_s(1, None) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value, seconds):
    assert read_retry_after(value, datetime(2026, 11, 20, 12, tzinfo=UTC)) == seconds


def test_numbers_are_sent_with_the_lowest_byte_first():
    import numpy as np

    numbers = np.arange(6, dtype=">i4").reshape(2, 3).T
    octets = to_octets(numbers)
    assert (octets.shape, octets.dtype) == ((3, 2), "int32")
    assert octets.data == np.ascontiguousarray(numbers).astype("<i4").tobytes()
