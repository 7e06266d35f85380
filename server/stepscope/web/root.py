"""The outermost app: a small dispatcher between the contract's operations and what stands beside them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from stepscope.core.errors import AccessDenied
from stepscope.core.recording import Recorder
from stepscope.web.context import HEADERS, KEY, read_context
from stepscope.web.gate import Gate
from stepscope.web.pages import is_page
from stepscope.web.problems import send_problem

Hook = Callable[[], Awaitable[None]]
Finish = Callable[[Recorder], None]
"""Takes what was recorded of a request, once it is answered."""


class Wire(Protocol):
    """A dialect that answers HTTP by itself, because its errors and paths have rules of their own."""

    guarded: bool
    """Whether the gate stands before it; otherwise any page may call, and keys alone decide."""

    def owns(self, method: str, path: str) -> bool:
        """Say whether a request is its own."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""


class Root:
    """Sends each connection to its place. Counts the requests under way, so that a stop can wait for them."""

    def __init__(
        self,
        *,
        contract: ASGIApp,
        pages: ASGIApp,
        gate: Gate,
        start: Hook,
        stop: Hook,
        finish: Finish,
        wires: Sequence[Wire] = (),
    ) -> None:
        self._contract = contract
        self._wires = tuple(wires)
        self._pages = pages
        self._gate = gate
        self._start = start
        self._stop = stop
        self._finish = finish
        self.under_way = 0
        self.answered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "http":
            self.under_way += 1
            try:
                await self._answer(scope, receive, send)
            finally:
                self.under_way -= 1
                self.answered += 1
                if (recorder := scope[KEY].recorder) is not None:
                    recorder.operation = f"{scope['method']} {scope['path']}"
                    self._finish(recorder)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 4404})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope[HEADERS] = dict(scope["headers"])
        scope[KEY] = read_context(headers)
        wire = self._wire(scope["method"], scope["path"])
        if wire is None or wire.guarded:
            try:
                self._gate.check(headers)
            except AccessDenied as refused:
                await send_problem(send, refused, scope[KEY])
                return
        place = wire or (self._pages if is_page(scope["path"]) else self._contract)
        await place(scope, receive, send)

    def is_open(self, method: str, path: str) -> bool:
        """Say whether any page may call: the wire that answers has keys of its own for what matters."""
        wire = self._wire(method, path)
        return wire is not None and not wire.guarded

    def _wire(self, method: str, path: str) -> Wire | None:
        for wire in self._wires:
            if wire.owns(method, path):
                return wire
        return None

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            # Connexion builds its stack at the first call, which would be some user's request.
            await self._contract({"type": "lifespan"}, receive, send)
            await self._start()
        except Exception as fault:
            await send({"type": "lifespan.startup.failed", "message": str(fault)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})
