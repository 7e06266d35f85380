"""What only a socket can show: requests that are cut short, drip, never end, or were never HTTP."""

import asyncio
import contextlib
import json
import threading
import time
from typing import Any

import httpx2
import psutil
import pytest

from stepscope.app.server import build
from stepscope.web.connection import Connection
from tests.web.served import listening, raw, received

OPEN = b"POST /api/predict/open HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


@pytest.fixture
def port(settings, runtime, contract):
    with listening(build(settings(limits={"body_mb": 64}), runtime)) as port:
        yield port
        alive(port)


def alive(port):
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        assert client.get("/livez").status_code == 200
        predictor = client.post("/api/predict/open", json={"model_name": "sum"}).json()["id"]
        body = {"predictor": {"id": predictor}, "tensors": [{"shape": [2], "data": [1, 2]}]}
        answer = client.post("/api/predict/tensors", json=body)
        assert answer.status_code == 200
        assert "error" not in answer.json()["responses"][0]
        assert client.post("/api/predict/close", json={"id": predictor}).status_code == 200


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    told: dict[str, Any] = json.loads(body)
    return told


def test_a_body_cut_short_ends_the_connection_and_nothing_else(port):
    for _ in range(20):
        with raw(port) as connection:
            connection.sendall(OPEN + b'content-length: 5000\r\n\r\n{"model_name": "sum"')


def test_a_chunked_body_cut_short(port):
    with raw(port) as connection:
        connection.sendall(OPEN + b'transfer-encoding: chunked\r\n\r\n10\r\n{"model')


def test_a_hundred_megabytes_declared_are_refused_at_once(port):
    with raw(port) as connection:
        connection.sendall(OPEN + b"content-length: 104857600\r\n\r\n")
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert problem(answer)["type"].endswith("body-too-large")


def test_a_hundred_megabytes_sent_do_not_stay_in_memory(port):
    before = psutil.Process().memory_info().rss
    with raw(port) as connection:
        connection.sendall(OPEN + b"content-length: 104857600\r\n\r\n")
        part = bytes(2**20)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(part)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert psutil.Process().memory_info().rss - before < 30 * 2**20


def test_a_hundred_megabytes_without_a_length_are_refused_early(port):
    """The parts up to the limit are held until it is passed, and given back."""
    part = b"100000\r\n" + bytes(2**20) + b"\r\n"
    sent = 0
    with raw(port) as connection:
        connection.sendall(OPEN + b"transfer-encoding: chunked\r\n\r\n")
        answer = b""
        while not answer and sent < 100:
            connection.settimeout(20)
            connection.sendall(part)
            sent += 1
            connection.settimeout(0.001)
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert 64 <= sent <= 80


def test_a_body_that_comes_whole_is_taken_up_to_the_limit(port):
    body = b'{"model_name": "sum", "unknown": "' + b"x" * (60 * 2**20) + b'"}'
    answer = httpx2.post(
        f"http://127.0.0.1:{port}/api/predict/open",
        content=body,
        headers={"content-type": "application/json"},
        timeout=60,
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost 127.0.0.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\n b: c\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nx: \x00\r\n\r\n",
        OPEN + b"content-length: -5\r\n\r\n{}",
        OPEN + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        OPEN + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        OPEN + b"content-length: 99999999999999999999999999\r\n\r\n{}",
        OPEN + b"content-length: two\r\n\r\n{}",
        OPEN + b"transfer-encoding: gzip, chunked\r\ntransfer-encoding: x\r\n\r\n0\r\n\r\n",
        OPEN + b"transfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"\x00" * 100,
        b"hello\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[-40:]),
)
def test_what_is_no_request_is_answered_or_closed(port, sent):
    with raw(port) as connection:
        connection.sendall(sent)
        connection.shutdown(1)
        answer = received(connection)
    assert not answer or answer.split(b" ")[1] in (b"400", b"404", b"405", b"403", b"501", b"411"), answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /livez HTTP/1.0\r\n\r\n", b"200"),
        (b"GET http://127.0.0.1/livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"200"),
        (b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", b"200"),
        (b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"x: y\r\n" * 2000 + b"\r\n", b"200"),
        (b"GET /livez?" + b"a=b&" * 8000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"200"),
        (b"GET /api/predict%2fopen HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"405"),
        (b"GET /ui/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"404"),
        (b"GET /livez%00 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"404"),
        (b"GET /%ff%fe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"404"),
        (b"GET //livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"404"),
        (b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nx-request-id: \xff\xfe\r\n\r\n", b"200"),
        (b"GET /livez HTTP/1.1\r\nhost: evil.example\r\n\r\n", b"403"),
        (b"OPTIONS * HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"404"),
        (b"HEAD /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n", b"200"),
        (
            OPEN + b'content-length: 21\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n{"model_name": "sum"}',
            b"100",
        ),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_odd_requests_are_answered(port, head, status):
    with raw(port) as connection:
        connection.sendall(head)
        answer = received(connection)
    assert answer.split(b" ")[1] == status, answer[:300]


@pytest.mark.parametrize("endless", [b"x: y\r\n", b"x: " + b"y" * 5000, b"y" * 5000])
def test_a_head_that_never_ends_is_bounded(port, endless):
    sent = 0
    with raw(port) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        while sent < 20 * 2**20:
            connection.sendall(endless * 10)
            sent += len(endless) * 10
        pytest.fail("twenty megabytes of head were taken")
    assert sent < 20 * 2**20


@pytest.fixture
def impatient(settings, runtime, contract, monkeypatch):
    monkeypatch.setattr(Connection, "head_s", 0.3)
    monkeypatch.setattr(Connection, "body_s", 0.3)
    with listening(build(settings(), runtime)) as port:
        yield port
        alive(port)


@pytest.mark.parametrize("sent", [b"", b"GET /livez HT", OPEN, OPEN + b"content-length: 50\r\n\r\n{"])
def test_a_connection_that_stands_still_is_closed(impatient, sent):
    started = time.monotonic()
    with raw(impatient) as connection:
        connection.sendall(sent)
        assert received(connection) == b""
    assert time.monotonic() - started < 5


def test_a_head_that_drips_is_closed_and_a_body_that_goes_on_is_not(impatient):
    with raw(impatient) as connection, pytest.raises(ConnectionError):  # noqa: PT012 - any send may be the one
        for byte in b"GET /livez HTTP/1.1\r\nx: " + b"y" * 50:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)
    body = b'{"model_name": "sum"}'
    with raw(impatient) as connection:
        connection.sendall(OPEN + b"content-length: %d\r\n\r\n" % len(body))
        for place in range(len(body)):
            connection.sendall(body[place : place + 1])
            time.sleep(0.05)
        assert received(connection).startswith(b"HTTP/1.1 200 ")


def test_a_slow_answer_is_waited_for(impatient):
    with httpx2.Client(base_url=f"http://127.0.0.1:{impatient}", timeout=20) as client:
        predictor = client.post("/api/predict/open", json={"model_name": "slow"}).json()["id"]
        tensors = [{"shape": [1], "data": [1]}] * 6
        body = {"predictor": {"id": predictor}, "tensors": tensors, "options": {"batch_size": 1}}
        assert client.post("/api/predict/tensors", json=body).status_code == 200


def test_requests_on_one_connection_follow_each_other(port):
    request = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    with raw(port) as connection:
        connection.sendall(request * 20)
        data = b""
        while data.count(b"HTTP/1.1 200 OK") < 20:
            part = connection.recv(65536)
            assert part
            data += part


def test_a_client_that_leaves_takes_its_inputs_along(port, runtime):
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        predictor = client.post("/api/predict/open", json={"model_name": "slow"}).json()["id"]
        item = {"shape": [1], "data": [1]}
        one = {"predictor": {"id": predictor}, "tensors": [item]}
        first = threading.Thread(target=client.post, args=("/api/predict/tensors",), kwargs={"json": one})
        first.start()
        time.sleep(0.15)  # it runs now, for 0.3 s
        body = json.dumps(one | {"tensors": [item] * 50}).encode()
        head = OPEN.replace(b"open", b"tensors") + b"content-length: %d\r\n\r\n" % len(body)
        with raw(port) as connection:
            connection.sendall(head + body)
            time.sleep(0.1)
        first.join()
        assert client.post("/api/predict/tensors", json=one).status_code == 200
    assert runtime.batches == [1, 1]


def test_many_connections_that_do_nothing_keep_nobody_waiting(port):
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(raw(port))
        alive(port)


class FileServer:
    """A web server whose files are a redirect to loopback, a drip, and a picture."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
                self.seen.append(path)
                await self._write(path, writer)
        finally:
            writer.close()

    async def _write(self, path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/redirect":
            writer.write(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/secret\r\ncontent-length: 0\r\n\r\n")
        elif path == "/drip":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            for _ in range(100):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()


async def test_urls_to_loopback_redirects_and_drips_fail_alone(serve):
    from tests.web.test_lifecycle import URLS, opened

    files = FileServer()
    listener = await asyncio.start_server(files.answer, "127.0.0.1", 0)
    own = listener.sockets[0].getsockname()[1]
    fetch = {"allow_hosts": [f"127.0.0.1:{own}"], "total_s": 0.5, "max_redirects": 3}
    async with listener, serve(fetch=fetch) as client:
        predictor = await opened(client, "picture")
        urls = [
            "http://127.0.0.1:1/x",
            "http://localhost:1/x",
            "http://[::1]/x",
            "http://169.254.169.254/latest/meta-data",
            "http://2130706433/",
            "http://0x7f.1/",
            "file:///etc/passwd",
            "data:image/png;base64,aGVsbG8=",
            "ftp://127.0.0.1/x",
            "http://user:pass@127.0.0.1/",
            "nonsense",
            f"http://127.0.0.1:{own}/redirect",
            f"http://127.0.0.1:{own}/drip",
            f"http://127.0.0.1:{own}/missing",
        ]
        started = time.monotonic()
        body = {"predictor": {"id": predictor}, "urls": [{"id": url, "data": url} for url in urls]}
        reply = await client.post(URLS, body)
        assert time.monotonic() - started < 5
        codes = {response["input_id"]: response["error"]["code"] for response in reply.json()["responses"]}
    assert set(list(codes.values())[:11]) == {"url_refused"}
    assert codes[f"http://127.0.0.1:{own}/redirect"] in ("url_refused", "url_failed")
    assert codes[f"http://127.0.0.1:{own}/drip"] == "url_failed"
    assert codes[f"http://127.0.0.1:{own}/missing"] == "url_failed"
    assert sorted(files.seen) == ["/drip", "/missing", "/redirect"]
    assert b"127.0.0.1:1/secret" not in reply.body
