"""The aime wire over HTTP: paths, methods, streams. What is said stands in `dialects.aime`.

It stands beside the contract's operations, since its errors, its methods and its keys are its own: whoever may do
something here is known by a key of the configuration, so any page may ask, and by any name.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from stepscope.core.errors import BodyTooLarge, MethodNotAllowed, RouteNotFound, StepscopeError
from stepscope.dialects.aime.aime import Aime
from stepscope.dialects.aime.clients import Answer
from stepscope.dialects.aime.endpoints import Endpoint
from stepscope.dialects.aime.openai import not_implemented
from stepscope.dialects.aime.records import write_json
from stepscope.dialects.aime.workers import Offer, Stopping, warning
from stepscope.web import aime_streams as streams
from stepscope.web.aime_calls import Body, Call, Headers, preflight, set_cookie, told
from stepscope.web.aime_pages import AimePages
from stepscope.web.connected import while_connected
from stepscope.web.context import KEY, trace_headers
from stepscope.web.operation import log

BOTH = ("GET", "POST")
FAULT_PAUSE_S = 1.0
"""Workers repeat what failed without a pause; so a failure takes its time."""
ANY_PAGE = [(b"access-control-allow-origin", b"*")]
JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Stream:
    """Events to send, each as JSON; `last` is text for the end."""

    events: AsyncGenerator[Mapping[str, Any], None]
    last: str = ""


Reply = Body | Answer | Offer | Stream


@dataclass(frozen=True, slots=True)
class Route:
    """What answers at a path, and to which methods."""

    methods: Collection[str]
    answer: Callable[[Call], Awaitable[Reply]]
    endpoint: Endpoint | None = None
    waits: bool = False
    """Whether an answer may take long, so that it is given up when its client goes away."""


class AimeApp:
    """Answers what is this wire's. `taken` are the contract's paths, which it leaves alone."""

    guarded = False

    def __init__(self, aime: Aime, pages: AimePages, taken: Collection[str]) -> None:
        self._aime = aime
        self._pages = pages
        self._max_body_bytes = aime.configuration.server.max_body_bytes
        self._taken = frozenset(taken)
        # What isn't served anywhere is refused in this wire's form, unless its path begins like one of another's.
        self._others = frozenset(path.split("/")[1] for path in taken)
        self._routes = self._make_routes()

    def owns(self, method: str, path: str) -> bool:  # noqa: ARG002
        """Say whether a request is this wire's."""
        plain = _plain(path)
        if plain in self._routes or plain.startswith("/api/endpoints/"):
            return True
        if plain not in ("/", "/favicon.ico"):
            return plain.split("/")[1] not in self._others
        return self._pages.has(plain)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = _plain(scope["path"])
        route = self._routes.get(path)
        call = Call(scope, receive, self._max_body_bytes, route.endpoint if route else None)
        try:
            if scope["method"] == "OPTIONS":
                await _send(send, scope, 204, b"", preflight(call))
            elif route is None:
                await self._send_page(path, call, send)
            else:
                await self._deliver(await self._reply(route, call), call, send)
        except ClientDisconnect:
            return
        except Exception as fault:
            if not isinstance(fault, StepscopeError | Stopping) and path.startswith("/worker_"):
                await asyncio.sleep(FAULT_PAUSE_S)
            status, body, headers = told(fault, call)
            await _send(send, scope, status, write_json(body), [JSON, *headers])

    async def _reply(self, route: Route, call: Call) -> Reply:
        _check_method(call.scope["method"], route.methods)
        answer = route.answer(call)
        return await while_connected(answer, call.receive) if route.waits else await answer

    # --- what there is ---------------------------------------------------------------------------

    def _make_routes(self) -> dict[str, Route]:
        routes = {
            "/worker_login": Route(("POST",), self._worker_login),
            "/worker_check_server_status": Route(("POST",), self._worker_status),
            "/worker_job_request": Route(("POST",), self._worker_request, waits=True),
            "/worker_job_progress": Route(BOTH, self._worker_progress),
            "/worker_job_result": Route(("POST",), self._worker_result),
            "/api/validate_key": Route(BOTH, self._validate_key),
            "/api/endpoints": Route(BOTH, self._list_endpoints),
            "/stream_progress": Route(BOTH, self._stream_progress),
        }
        if self._aime.configuration.server.openai.enabled:
            routes |= self._openai_routes()
        for endpoint in self._aime.configuration.endpoints.values():
            own = dict(self._endpoint_routes(endpoint))
            routes |= {path: own[path] for path in own.keys() - self._taken - routes.keys()}
        return routes

    def _endpoint_routes(self, endpoint: Endpoint) -> list[tuple[str, Route]]:
        own = f"/{endpoint.name}"
        return [
            (own, Route(endpoint.methods, self._request, endpoint, waits=True)),
            (f"{own}/progress", Route(BOTH, self._progress, endpoint)),
            (f"{own}/login", Route(BOTH, self._login, endpoint)),
            (f"{own}/cancel", Route(BOTH, self._cancel, endpoint)),
            (f"/api/endpoints{own}", Route(BOTH, self._details, endpoint)),
            (f"/api{own}", Route(BOTH, self._details, endpoint)),
        ]

    def _openai_routes(self) -> dict[str, Route]:
        missing = ("responses", "audio/speech", "audio/transcriptions", "images/generations")
        return {
            "/v1/models": Route(BOTH, self._models),
            "/v1/chat/completions": Route(BOTH, self._chat, waits=True),
            **{f"/v1/{each}": Route(BOTH, self._not_implemented) for each in missing},
        }

    # --- workers ---------------------------------------------------------------------------------

    async def _worker_login(self, call: Call) -> Reply:
        return await self._aime.workers.login(await call.body())

    async def _worker_status(self, call: Call) -> Reply:
        return await self._aime.workers.status(await call.body())

    async def _worker_request(self, call: Call) -> Reply:
        return await self._aime.workers.request(await call.body())

    async def _worker_progress(self, call: Call) -> Reply:
        return await self._aime.workers.progress(await call.body() if call.scope["method"] == "POST" else None)

    async def _worker_result(self, call: Call) -> Reply:
        try:
            body = await call.body()
        except BodyTooLarge as fault:  # refused with a status, it would be sent again and again
            log.warning("a worker's result is lost: %s", fault)
            return warning(str(fault))
        return await self._aime.workers.result(body)

    # --- clients ---------------------------------------------------------------------------------

    async def _request(self, call: Call) -> Reply:
        return await self._aime.clients.request(_endpoint(call), await call.given(), call.cookie)

    async def _progress(self, call: Call) -> Reply:
        return await self._aime.clients.progress(_endpoint(call), await call.given(), call.cookie)

    async def _login(self, call: Call) -> Reply:
        return await self._aime.clients.login(_endpoint(call), call.query)

    async def _cancel(self, call: Call) -> Reply:
        return await self._aime.clients.cancel(_endpoint(call), await call.given())

    async def _details(self, call: Call) -> Reply:
        return await self._aime.details(_endpoint(call))

    async def _validate_key(self, call: Call) -> Reply:
        return self._aime.clients.validate_key(call.query)

    async def _list_endpoints(self, call: Call) -> Reply:
        return self._aime.clients.list_endpoints(call.query)

    async def _stream_progress(self, call: Call) -> Reply:
        return Stream(await self._aime.clients.events(await call.given(), call.cookie))

    # --- the OpenAI layer ------------------------------------------------------------------------

    async def _models(self, call: Call) -> Reply:
        return await self._aime.chats.models(call.bearer)

    async def _chat(self, call: Call) -> Reply:
        body = await call.body() if call.scope["method"] == "POST" else None
        if isinstance(body, dict) and body.get("stream"):
            return Stream(await self._aime.chats.stream(call.bearer, body), "data: [DONE]\n\n")
        return await self._aime.chats.complete(call.bearer, body)

    async def _not_implemented(self, call: Call) -> Reply:
        await self._aime.chats.identify(call.bearer)
        raise not_implemented()

    # --- answers ---------------------------------------------------------------------------------

    async def _deliver(self, reply: Reply, call: Call, send: Send) -> None:
        headers = [JSON]
        match reply:
            case Stream():
                await while_connected(self._send_stream(reply, call.scope, send), call.receive)
                return
            case Offer():
                if reply.job_ids and await _is_gone(call.receive):
                    await self._aime.workers.put_back(reply)
                    return
                body: Body = reply.answer
            case Answer():
                headers += set_cookie(reply.cookie, call.scope)
                body = reply.body
            case _:
                body = reply
        await _send(send, call.scope, 200, write_json(body), headers)

    async def _send_stream(self, stream: Stream, scope: Scope, send: Send) -> None:
        headers = [*streams.HEADERS, *ANY_PAGE, *trace_headers(scope[KEY])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with aclosing(streams.with_pings(stream.events, self._aime.is_stopping)) as events:
            async for event in events:
                text = streams.PING if event is None else b"data: " + write_json(event) + b"\n\n"
                await send({"type": "http.response.body", "body": text, "more_body": True})
        await send({"type": "http.response.body", "body": stream.last.encode()})

    async def _send_page(self, path: str, call: Call, send: Send) -> None:
        page: ASGIApp | None = await self._pages.answer(path)
        if page is None:
            raise RouteNotFound(path)
        _check_method(call.scope["method"], ("GET", "HEAD"))
        await page(call.scope, call.receive, send)


def _plain(path: str) -> str:
    """Return a path without what clients put around it: a slash at its end, or one too many at its head."""
    return "/" + path.strip("/")


def _endpoint(call: Call) -> Endpoint:
    assert call.endpoint is not None, "its route has one"
    return call.endpoint


def _check_method(method: str, allowed: Collection[str]) -> None:
    if method not in allowed:
        raise MethodNotAllowed(method, tuple(allowed))


async def _is_gone(receive: Receive) -> bool:
    """Say whether a client that has sent its whole request has gone away."""
    message = asyncio.ensure_future(receive())
    try:
        for _ in range(2):  # a turn for the task to begin, and one to end
            await asyncio.sleep(0)
        return message.done() and message.result()["type"] == "http.disconnect"
    finally:
        message.cancel()


async def _send(send: Send, scope: Scope, status: int, body: bytes, headers: Headers) -> None:
    length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
    whole = [*headers, *length, *ANY_PAGE, *trace_headers(scope[KEY])]
    await send({"type": "http.response.start", "status": status, "headers": whole})
    await send({"type": "http.response.body", "body": body})
