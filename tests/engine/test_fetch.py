"""The one way out, against real servers on 127.0.0.1; names are resolved by tables."""

import asyncio
import gzip
import logging
import os
import pathlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from stepscope.core.addresses import AddressRefused
from stepscope.core.errors import UrlFailed, UrlRefused
from stepscope.engine import fetch as fetch_module
from stepscope.engine.fetch import Fetcher, FetchLimits

pytestmark = pytest.mark.asyncio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Speaker = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names(AbstractResolver):
    """Resolves names by a table whose entries are used up one look-up after another, the last one for good."""

    def __init__(self, **table: list[list[str]]) -> None:
        self.table = {name.replace("_", "."): answers for name, answers in table.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self.table.get(host)
        if not answers:
            raise OSError("no such name")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serve every GET by `handler`; gives the port."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def speaking(speak: Speaker) -> AsyncIterator[int]:
    """Answer each connection by `speak`, which may break every rule of HTTP; gives the port."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def own(port: int, **limits: object) -> FetchLimits:
    return FetchLimits(allow_hosts=(f"127.0.0.1:{port}",), **limits)  # type: ignore[arg-type]


def says(data: bytes) -> Speaker:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return speak


def answers(body: bytes = b"body", status: int = 200, **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return handler


# --- what works ----------------------------------------------------------------------------------


async def test_an_allowed_server_is_fetched() -> None:
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(body=b"\x89PNG")

    async with serving(handler) as port, Fetcher(own(port)) as fetcher:
        assert await fetcher.fetch(f"http://127.0.0.1:{port}/a%20b.png?x=%2F&y=1") == b"\x89PNG"
    [request] = seen
    assert request.raw_path == "/a%20b.png?x=%2F&y=1"
    assert request.headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in request.headers


async def test_an_allowed_name_may_resolve_to_a_private_address() -> None:
    async with serving(answers()) as port:
        limits = FetchLimits(allow_hosts=(f"files.lan:{port}",))
        async with Fetcher(limits, resolver=Names(files_lan=[["127.0.0.1"]])) as fetcher:
            assert await fetcher.fetch(f"http://files.lan:{port}/") == b"body"


async def test_the_systems_own_name_look_up_works() -> None:
    async with serving(answers()) as port, Fetcher(FetchLimits(allow_hosts=(f"localhost:{port}",))) as fetcher:
        assert await fetcher.fetch(f"http://localhost:{port}/") == b"body"


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with serving(answers()) as port, Fetcher(own(port)) as fetcher:
        assert await fetcher.fetch(f"http://127.0.0.1:{port}/") == b"body"


async def test_cookies_are_not_kept() -> None:
    cookies: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with serving(handler) as port, Fetcher(FetchLimits(allow_hosts=(f"localhost:{port}",))) as fetcher:
        await fetcher.fetch(f"http://localhost:{port}/")
        await fetcher.fetch(f"http://localhost:{port}/")
    assert cookies == [None, None]


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://{}/", "http://localhost:{}/", "file:///etc/passwd", "data:,x", "ftp://a/", ""])
async def test_loopback_and_other_schemes_are_refused(url: str) -> None:
    async with serving(answers()) as port, Fetcher() as fetcher:
        with pytest.raises(UrlRefused):
            await fetcher.fetch(url.format(f"127.0.0.1:{port}"))
        with pytest.raises(UrlRefused):
            await fetcher.download(url.format(port), pathlib.Path("never"), 10)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["169.254.169.254", "8.8.8.8"], ["::1"], ["::ffff:127.0.0.1"]]
)
async def test_a_name_with_one_private_address_is_never_dialled(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled = note_dials(monkeypatch)
    async with Fetcher(resolver=Names(mixed_example=[addresses])) as fetcher:
        with pytest.raises(UrlFailed):
            await fetcher.fetch("http://mixed.example/")
    assert dialled == []


async def test_a_name_that_changes_after_the_check_does_not_change_the_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled = note_dials(monkeypatch)
    names = Names(rebind_example=[["8.8.8.8", "1.1.1.1"], ["127.0.0.1"]])
    async with Fetcher(resolver=names) as fetcher:
        with pytest.raises(UrlFailed):
            await fetcher.fetch("http://rebind.example/")
        assert names.asked == ["rebind.example"]  # looked up once: what was checked is what was dialled
        assert set(dialled) == {("8.8.8.8", 80), ("1.1.1.1", 80)}
        with pytest.raises(UrlFailed):
            await fetcher.fetch("http://rebind.example/")
        assert names.asked == ["rebind.example"] * 2
    assert set(dialled) == {("8.8.8.8", 80), ("1.1.1.1", 80)}


async def test_literals_reach_the_guard_of_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the text's check out of the way, a literal, which no resolver sees, is still not dialled."""
    dialled = note_dials(monkeypatch)
    monkeypatch.setattr("stepscope.core.addresses._check_public", lambda host: None)
    async with Fetcher() as fetcher:
        for url in ("http://127.0.0.1/", "http://[::1]/", "http://localhost/"):
            with pytest.raises(UrlFailed):
                await fetcher.fetch(url)
    assert dialled == []
    with pytest.raises(AddressRefused):
        fetch_module._public_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80)))


async def test_a_public_literal_is_dialled_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled = note_dials(monkeypatch)
    async with Fetcher() as fetcher:
        with pytest.raises(UrlFailed):
            await fetcher.fetch("http://8.8.8.8/")
        with pytest.raises(UrlFailed):
            await fetcher.fetch("https://[2606:4700:4700::1111]/")
    assert [address[:2] for address in dialled] == [("8.8.8.8", 80), ("2606:4700:4700::1111", 443)]


def note_dials(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Note the addresses that the loop is told to dial, and refuse them all: no test leaves this machine."""
    dialled: list[tuple[str, int]] = []

    async def sock_connect(_: object, address: tuple[str, int]) -> None:
        dialled.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
    return dialled


# --- redirects -----------------------------------------------------------------------------------


async def test_a_redirect_is_not_followed_by_default() -> None:
    async with serving(answers(status=302, Location="/b")) as port, Fetcher(own(port)) as fetcher:
        with pytest.raises(UrlFailed):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:{}/", "http://localhost:{}/", "http://inside.example/", "file:///etc/passwd"]
)
async def test_a_redirect_to_a_private_place_is_not_followed(location: str) -> None:
    hits: list[web.Request] = []

    async def inside(request: web.Request) -> web.Response:
        hits.append(request)
        return web.Response()

    async def outside(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location.format(secret_port)})

    async with serving(inside) as secret_port, serving(outside) as port:
        names = Names(inside_example=[["127.0.0.1"]])
        async with Fetcher(own(port, max_redirects=3), resolver=names) as fetcher:
            with pytest.raises(UrlFailed):
                await fetcher.fetch(f"http://127.0.0.1:{port}/")
    assert hits == []


async def count_down(request: web.Request) -> web.Response:
    """Redirect from /3 to /2 to /1 to /0, which answers."""
    left = int(request.match_info["path"])
    return web.Response(status=302, headers={"Location": f"/{left - 1}"}) if left else web.Response(body=b"there")


async def test_at_most_three_redirects_are_followed() -> None:
    async with serving(count_down) as port, Fetcher(own(port, max_redirects=50)) as fetcher:
        assert await fetcher.fetch(f"http://127.0.0.1:{port}/3") == b"there"
        with pytest.raises(UrlFailed):
            await fetcher.fetch(f"http://127.0.0.1:{port}/4")
    async with serving(count_down) as port, Fetcher(own(port, max_redirects=1)) as fetcher:
        assert await fetcher.fetch(f"http://127.0.0.1:{port}/1") == b"there"
        with pytest.raises(UrlFailed):
            await fetcher.fetch(f"http://127.0.0.1:{port}/2")


# --- limits --------------------------------------------------------------------------------------


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def test_an_endless_body_is_cut_off() -> None:
    async with serving(endless) as port, Fetcher(own(port, max_bytes=1_000_000)) as fetcher:
        with pytest.raises(UrlFailed):
            await fetcher.fetch(f"http://127.0.0.1:{port}/")


async def unannounced(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b"x" * 1000)
    return response


@pytest.mark.parametrize("handler", [answers(b"x" * 1000), unannounced], ids=["announced", "unannounced"])
async def test_the_limit_is_exact(handler: Handler) -> None:
    async with serving(handler) as port:
        async with Fetcher(own(port, max_bytes=1000)) as fetcher:
            assert len(await fetcher.fetch(f"http://127.0.0.1:{port}/")) == 1000
        async with Fetcher(own(port, max_bytes=999)) as fetcher:
            with pytest.raises(UrlFailed):
                await fetcher.fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodymore",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nxxxxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[/\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
)
async def test_odd_answers_fail(answer: bytes) -> None:
    async with speaking(says(answer)) as port, Fetcher(own(port, total_s=2.0, max_redirects=3)) as fetcher:
        with pytest.raises(UrlFailed):
            await fetcher.fetch(f"http://127.0.0.1:{port}/")


async def test_a_gzip_bomb_stays_packed() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb
    async with speaking(says(answer)) as port, Fetcher(own(port, max_bytes=100_000)) as fetcher:
        assert await fetcher.fetch(f"http://127.0.0.1:{port}/") == bomb


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\n"]
)
async def test_a_slow_drip_ends_in_time(head: bytes) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with speaking(drip) as port, Fetcher(own(port, total_s=0.3)) as fetcher:
        began = time.monotonic()
        with pytest.raises(UrlFailed):
            await fetcher.fetch(f"http://127.0.0.1:{port}/")
        assert 0.25 < time.monotonic() - began < 2


async def test_a_slow_name_server_counts_as_connecting() -> None:
    class Hanging(Names):
        async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
            await asyncio.sleep(30)
            return []

    async with Fetcher(FetchLimits(connect_s=0.2), resolver=Hanging()) as fetcher:
        began = time.monotonic()
        with pytest.raises(UrlFailed):
            await fetcher.fetch("http://slow.example/")
        assert time.monotonic() - began < 2


# --- turns ---------------------------------------------------------------------------------------


class Crowd:
    """A handler that counts how many requests it has at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.03)
        finally:
            self.now -= 1
        return web.Response(body=request.path.encode())


async def test_one_owner_has_so_many_at_once() -> None:
    crowd = Crowd()
    async with serving(crowd.answer) as port, Fetcher(own(port, per_owner=3)) as fetcher:
        got = await asyncio.gather(*(fetcher.fetch(f"http://127.0.0.1:{port}/{n}", owner="a") for n in range(12)))
    assert got == [f"/{n}".encode() for n in range(12)]
    assert crowd.most == 3


async def test_all_owners_together_have_so_many_at_once() -> None:
    crowd = Crowd()
    async with serving(crowd.answer) as port, Fetcher(own(port, per_owner=3, in_all=5)) as fetcher:
        urls = [f"http://127.0.0.1:{port}/{n}" for n in range(20)]
        await asyncio.gather(*(fetcher.fetch(url, owner=str(n % 4)) for n, url in enumerate(urls)))
        assert crowd.most == 5
        assert not fetcher._owners


async def test_waiting_for_a_turn_takes_nothing_of_the_time() -> None:
    async with serving(Crowd().answer) as port, Fetcher(own(port, per_owner=1, total_s=0.2)) as fetcher:
        await asyncio.gather(*(fetcher.fetch(f"http://127.0.0.1:{port}/") for _ in range(15)))


async def test_a_cancelled_fetch_leaves_its_turn_and_its_connection() -> None:
    gone = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        gone.set()

    async with speaking(hang) as port, Fetcher(own(port, per_owner=1)) as fetcher:
        first = asyncio.create_task(fetcher.fetch(f"http://127.0.0.1:{port}/"))
        second = asyncio.create_task(fetcher.fetch(f"http://127.0.0.1:{port}/"))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.wait_for(gone.wait(), 1)
        second.cancel()
        for task in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert fetcher._turns._value == FetchLimits().in_all


async def test_close_ends_what_is_under_way() -> None:
    async with serving(endless) as port:
        fetcher = Fetcher(own(port, max_bytes=1 << 40))
        await fetcher.start()
        task = asyncio.create_task(fetcher.fetch(f"http://127.0.0.1:{port}/"))
        await asyncio.sleep(0.05)
        await fetcher.close()
        with pytest.raises(UrlFailed):
            await asyncio.wait_for(task, 2)
        with pytest.raises(UrlFailed):
            await fetcher.fetch(f"http://127.0.0.1:{port}/")


# --- what is said --------------------------------------------------------------------------------


async def test_clients_read_one_sentence_and_the_log_holds_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "stepscope.fetch")
    sentences = set()
    async with serving(answers(status=404)) as port:
        names = Names(inside_example=[["10.1.2.3"]])
        async with Fetcher(own(port), resolver=names) as fetcher:
            for url in (
                f"http://127.0.0.1:{port}/a?token=SECRET",
                "http://inside.example/?SECRET",
                "http://no.example/?SECRET",
            ):
                with pytest.raises(UrlFailed) as failure:
                    await fetcher.fetch(url)
                assert failure.value.__cause__ is None
                sentences.add(str(failure.value))
            with pytest.raises(UrlRefused):
                await fetcher.fetch("http://me:SECRET@127.0.0.1/")
    assert len(sentences) == 1
    assert "SECRET" not in caplog.text
    assert "status 404" in caplog.text
    assert "10.1.2.3" in caplog.text


# --- downloads -----------------------------------------------------------------------------------


async def test_a_download_is_whole_or_not_there(tmp_path: pathlib.Path) -> None:
    weights = bytes(range(256)) * 20_000
    async with serving(answers(weights)) as port, Fetcher(own(port, max_bytes=10)) as fetcher:
        await fetcher.download(f"http://127.0.0.1:{port}/", tmp_path / "w", len(weights))
        assert (tmp_path / "w").read_bytes() == weights
        with pytest.raises(UrlFailed):
            await fetcher.download(f"http://127.0.0.1:{port}/", tmp_path / "x", len(weights) - 1)
    async with serving(endless) as port, Fetcher(own(port)) as fetcher:
        with pytest.raises(UrlFailed):
            await fetcher.download(f"http://127.0.0.1:{port}/", tmp_path / "x", 3_000_000)
    assert os.listdir(tmp_path) == ["w"]


async def test_a_cancelled_download_leaves_no_file(tmp_path: pathlib.Path) -> None:
    async with serving(endless) as port, Fetcher(own(port)) as fetcher:
        task = asyncio.create_task(fetcher.download(f"http://127.0.0.1:{port}/", tmp_path / "x", 1 << 40))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert os.listdir(tmp_path) == []


async def test_a_stalled_download_fails(tmp_path: pathlib.Path) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        await reader.read()

    async with speaking(stall) as port, Fetcher(own(port, stall_s=0.2)) as fetcher:
        with pytest.raises(UrlFailed):
            await fetcher.download(f"http://127.0.0.1:{port}/", tmp_path / "x", 100)
