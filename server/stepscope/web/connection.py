"""One connection: uvicorn's protocol with the bounds that it leaves open.

uvicorn waits for ever for the rest of a request, and takes a head of any size. A head that grows beyond `HEAD_BYTES`
or isn't whole after `head_s` seconds ends the connection here, and so does a body that stands still for `body_s`.
"""

import asyncio
import enum

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024


class Awaited(enum.Enum):
    """What the client has to send next."""

    NOTHING = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()


class Connection(HttpToolsProtocol):
    """Closes a connection whose request doesn't come to its end."""

    head_s = 30.0
    body_s = 60.0

    _awaited = Awaited.HEAD
    _head_bytes = 0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first request."""
        super().connection_made(transport)
        self._wait(self.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and see what has to follow. A request that comes whole costs no timer."""
        before = self._awaited
        if before is Awaited.HEAD:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._awaited is Awaited.NOTHING:
            self._end_wait()
        elif self._awaited is Awaited.BODY:
            self._wait(self.body_s)
        elif self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")
        elif before is not Awaited.HEAD:
            self._wait(self.head_s)

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._awaited = Awaited.HEAD

    def on_headers_complete(self) -> None:
        """The request goes to the application; its body may follow."""
        self._awaited, self._head_bytes = Awaited.BODY, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._awaited = Awaited.NOTHING
        super().on_message_complete()

    def _wait(self, seconds: float) -> None:
        self._end_wait()
        self._patience = self.loop.call_later(seconds, self._give_up)

    def _end_wait(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if self.flow.read_paused:  # nothing is taken from the client at the moment
            self._wait(self.body_s)
        elif not self.transport.is_closing():
            self.transport.close()
