"""uvicorn with a stop that loses nothing: new requests get 503 while those under way are finished."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

import uvicorn
import uvloop
from starlette.types import ASGIApp

from stepscope.core.errors import SettingsInvalid
from stepscope.processes import Member
from stepscope.web.connection import Connection
from stepscope.web.root import Root

log = logging.getLogger("stepscope.web")

ResultT = TypeVar("ResultT")

POLL_S = 0.05
BACKLOG = 2048
"""Connections that wait to be taken; the system may allow fewer."""
HANDSHAKE_S = 10.0
"""How long a client may take to agree on TLS; `Connection` has the bounds of what follows."""


class Loop(uvloop.Loop):
    """uvloop, with its bound of 60 s for handshakes lowered. uvicorn has no option for it."""

    async def create_server(  # type: ignore[override]
        self, *arguments: Any, ssl: ssl.SSLContext | None = None, **options: Any
    ) -> asyncio.AbstractServer:
        """Listen."""
        if ssl is not None:
            options.setdefault("ssl_handshake_timeout", HANDSHAKE_S)
        return await super().create_server(*arguments, ssl=ssl, **options)


class Server(uvicorn.Server):
    """Drains before it closes the listener."""

    def __init__(
        self,
        config: uvicorn.Config,
        root: Root,
        drain: Callable[[], None],
        shutdown_s: float,
        member: Member | None = None,
    ) -> None:
        super().__init__(config)
        self._member = member
        self._root = root
        self._drain = drain
        self._shutdown_s = shutdown_s
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run something on the server's loop, from another thread, and wait for it."""
        assert self._loop is not None, "the server has to run"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve on one more socket."""

        def connection() -> asyncio.Protocol:
            return Connection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

        loop = asyncio.get_running_loop()
        server = await loop.create_server(connection, sock=sock, ssl=tls, backlog=BACKLOG)
        self.servers.append(server)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Note the loop on which signals are handled; tell the parent that all is ready, and watch it."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._member is not None and self.started:
            self._loop.add_reader(self._member.parent, self._orphan, self._member.parent)
            self._member.tell_ready()

    def _orphan(self, parent: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(parent)
        log.warning("the parent process is gone")
        self._start_draining()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal; stop at once at the second."""
        if self._draining is not None:
            self.force_exit = True
        if self._loop is None or self._draining is not None:
            super().handle_exit(sig, frame)
            return
        # uvicorn would raise the signal again at the end; a stop that was asked for is no failure.
        self._loop.call_soon_threadsafe(self._start_draining)

    def _start_draining(self) -> None:
        if self._draining is None:
            log.info("asked to stop: nothing new is taken, %d requests are under way", self._root.under_way)
            self._draining = asyncio.ensure_future(self._finish())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is open; when there is no time left, without waiting for answers."""
        if self.force_exit:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        await super().shutdown(sockets)

    async def _finish(self) -> None:
        self._drain()
        try:
            async with asyncio.timeout(self._shutdown_s):
                # A moment for whoever was told of this server just now to hear the 503.
                await asyncio.sleep(10 * POLL_S)
                while self._root.under_way:  # noqa: ASYNC110 - an event would be set and cleared by every request
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            log.warning("%d requests were not finished in %g s", self._root.under_way, self._shutdown_s)
            self.force_exit = True  # a model may still run, and nothing waits for it
        self.should_exit = True


def make_server(
    asgi: ASGIApp,
    root: Root,
    *,
    drain: Callable[[], None],
    shutdown_s: float,
    tls: ssl.SSLContext | None = None,
    member: Member | None = None,
) -> Server:
    """Build the server around an app. `drain` is called when the app shall take nothing new.

    With `tls` it speaks TLS and nothing else, on all its sockets. `member` is this process where it is one of several.
    """
    config = uvicorn.Config(
        asgi,
        loop=f"{__name__}:Loop",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,  # nothing here depends on a caller's address
        backlog=BACKLOG,
        timeout_graceful_shutdown=max(1, round(shutdown_s)),
        timeout_keep_alive=75,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    return Server(config, root, drain, shutdown_s, member)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket: before anything is loaded, so that an address in use is told at once.

    Raises `SettingsInvalid`.
    """
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise SettingsInvalid(f"{host}:{port} can't be listened on: {reason}.") from fault


def listen_where_free(host: str, port: int) -> list[socket.socket]:
    """Return a second listening socket; none for port 0, or where another program has it (a Jaeger, mostly)."""
    if not port:
        return []
    try:
        return [listen(host, port)]
    except SettingsInvalid as fault:
        log.info("traces aren't served there: %s", fault)
        return []
