"""The only outgoing HTTP of the server: calls what clients and manifests name, within the rules of `core/addresses`.

Every address is checked twice: all that a name resolves to before one is dialled, and the dialled one when its socket
is made, which is the only place that sees IP literals too (aiohttp asks no resolver for them). Nothing is cached or
looked up again in between, so a name can't change its address after the check.

What is wrong with a URL's text raises `UrlRefused`. Everything that the network answers, a name with a private address
included, raises `UrlFailed`, always in the same words: otherwise a client could map the names of our network.
"""

import asyncio
import contextlib
import logging
import pathlib
import socket
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from stepscope.core.addresses import AddressRefused, Target, UrlRules, is_public, redacted
from stepscope.core.errors import UrlFailed, UrlRefused

_log = logging.getLogger("stepscope.fetch")

_HEADERS = {"Accept-Encoding": "identity", "Accept": "image/*, */*;q=0.5", "User-Agent": "stepscope"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3
_DNS_THREADS = 16
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What is fetched, and how much of it. Times in seconds; `per_owner` and `in_all` count fetches under way.

    `total_s` runs from the first look-up to the last byte, all redirects together, without the wait for a turn.
    `stall_s` and `download_s` are for downloads, which have no `total_s`.
    """

    allow_hosts: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ("https", "http")
    ports: tuple[int, ...] = (80, 443)
    connect_s: float = 3.0
    total_s: float = 10.0
    stall_s: float = 30.0
    download_s: float = 3600.0
    max_bytes: int = 20 * 1024 * 1024
    max_redirects: int = 0
    per_owner: int = 16
    in_all: int = 64


class Fetcher:
    """Fetches URLs over HTTP. An async context manager, or `start` and `close`."""

    def __init__(self, limits: FetchLimits | None = None, *, resolver: AbstractResolver | None = None) -> None:
        """Prepare; `resolver` replaces the system's name look-up. Raises `SettingsInvalid` for a bad allow list."""
        self._limits = limits or FetchLimits()
        self._rules = UrlRules.of(self._limits.allow_hosts, self._limits.schemes, self._limits.ports)
        self._given_resolver = resolver
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._turns = asyncio.Semaphore(self._limits.in_all)
        # An owner's semaphore lives as long as one of its fetches holds it.
        self._owners: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def start(self) -> None:
        """Open the two sessions: one for the public network, one for the operator's own servers."""
        resolver = self._given_resolver or _SystemResolver()
        self._sessions = {
            False: _session(_CheckedResolver(resolver), _public_socket),
            True: _session(resolver, None),
        }
        self._resolver = resolver

    async def close(self) -> None:
        """Close every connection; fetches under way raise `UrlFailed`."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()
        if sessions:
            await self._resolver.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def fetch(self, url: str, *, owner: str = "") -> bytes:
        """Return the body of a GET, as it was sent: a Content-Encoding is left as it is.

        Waits for its turn among `owner`'s fetches, then among all. Raises `UrlRefused` or `UrlFailed`.
        """
        target = self._target(url)
        mine = self._owners.setdefault(owner, asyncio.Semaphore(self._limits.per_owner))
        async with mine, self._turns:
            with _one_error(url):
                async with asyncio.timeout(self._limits.total_s):
                    return await self._body(target)

    def check(self, url: str) -> None:
        """Raise `UrlRefused` for a URL that would never be called. Asks no network."""
        self._target(url)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, owner: str = "") -> int:
        """Send a body, and return the status that answers it; what else the answer says isn't read.

        Waits for its turn as `fetch` does. Follows no redirect. Raises `UrlRefused` or `UrlFailed`.
        """
        target = self._target(url)
        mine = self._owners.setdefault(owner, asyncio.Semaphore(self._limits.per_owner))
        async with mine, self._turns:
            with _one_error(url):
                async with asyncio.timeout(self._limits.total_s):
                    return await self._send(target, body, headers)

    async def download(self, url: str, path: pathlib.Path, limit_bytes: int) -> None:
        """Write the body of a GET to `path`, which appears only when it is whole. Raises `UrlRefused` or `UrlFailed`.

        A file that can't be made is an `OSError`; a disk that gets full on the way counts as failed, and is logged.
        """
        target = self._target(url)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            await self._write(url, target, part, limit_bytes)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _target(self, url: str) -> Target:
        try:
            return self._rules.check(url)
        except AddressRefused as refusal:
            _log.warning("refused %s: %s", redacted(url), refusal)
            raise UrlRefused from None

    async def _send(self, target: Target, body: bytes, headers: Mapping[str, str]) -> int:
        if not self._sessions:
            raise _Unanswered("the fetcher isn't running")
        session = self._sessions[target.trusted]
        times = _times(self._limits, stall_s=None)
        async with session.post(
            target.url, data=body, headers=headers, allow_redirects=False, timeout=times
        ) as response:
            return response.status

    async def _body(self, target: Target) -> bytes:
        times = _times(self._limits, stall_s=None)
        async with self._answer(target, times) as response:
            return b"".join([chunk async for chunk in _counted(response, self._limits.max_bytes)])

    async def _write(self, url: str, target: Target, part: pathlib.Path, limit_bytes: int) -> None:
        times = _times(self._limits, self._limits.stall_s)
        with part.open("xb") as file, _one_error(url):
            async with asyncio.timeout(self._limits.download_s), self._answer(target, times) as response:
                async for block in _blocks(_counted(response, limit_bytes)):
                    await asyncio.to_thread(file.write, block)

    @contextlib.asynccontextmanager
    async def _answer(self, target: Target, times: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the response with status 200 at the end of the redirects that are allowed."""
        for _ in range(min(self._limits.max_redirects, _MOST_REDIRECTS) + 1):
            if not self._sessions:
                raise _Unanswered("the fetcher isn't running")
            session = self._sessions[target.trusted]
            async with session.get(target.url, allow_redirects=False, timeout=times) as response:
                if response.status == 200:
                    yield response
                    return
                if response.status not in _REDIRECTS:
                    raise _Unanswered(f"status {response.status}")
                target = self._rules.follow(target, response.headers.get("Location", ""))
        raise _Unanswered("a redirect too many")


class _Unanswered(Exception):
    """Something answered, but not with what was asked for. The text is for the log."""


class _CheckedResolver(AbstractResolver):
    """Resolves a name only if every one of its addresses is public."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            if not is_public(result["host"]):
                raise AddressRefused(f"it resolves to {result['host']}")
        return found

    async def close(self) -> None:
        """Leave the resolver underneath to its owner."""


class _SystemResolver(AbstractResolver):
    """`getaddrinfo` on threads of its own: a name server that hangs mustn't hold the loop's shared ones."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_DNS_THREADS, "stepscope-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG
        )
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
            for kind, _, _, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _public_socket(info: tuple[Any, ...]) -> socket.socket:
    """Make the socket for one address that is about to be dialled, if it is public."""
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise AddressRefused(f"{address[0]} was about to be dialled")
    return socket.socket(family, kind, protocol)


def _session(resolver: AbstractResolver, socket_factory: Any) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        socket_factory=socket_factory,
        use_dns_cache=False,
        force_close=True,
        limit=0,  # turns are taken before
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


def _times(limits: FetchLimits, stall_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=limits.connect_s, sock_read=stall_s)


async def _counted(response: aiohttp.ClientResponse, limit_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body, as long as it has at most `limit_bytes`."""
    if (response.content_length or 0) > limit_bytes:
        raise _Unanswered(f"{response.content_length} bytes announced, {limit_bytes} allowed")
    size_bytes = 0
    async for chunk in response.content.iter_any():
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise _Unanswered(f"more than {limit_bytes} bytes")
        yield chunk


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join chunks to blocks of about a megabyte: a write costs a change of threads."""
    block = bytearray()
    async for chunk in chunks:
        block += chunk
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)


@contextlib.contextmanager
def _one_error(url: str) -> Iterator[None]:
    """Turn whatever the network did into `UrlFailed`, and log it."""
    try:
        yield
    except (AddressRefused, _Unanswered) as error:
        _log.warning("failed %s: %s", redacted(url), error)
    except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:  # aiohttp's closed streams: RuntimeError
        # `str(error)` may hold the whole URL.
        reason = getattr(error, "strerror", None) or ""
        _log.info("failed %s: %s %s", redacted(url), type(error).__name__, reason)
    else:
        return
    raise UrlFailed
