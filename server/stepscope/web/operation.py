"""One operation, compiled: bytes in, the handler's typed call, bytes out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from stepscope_api.operations import Octets, Operation, Parameter

from stepscope.core.access import RequestContext
from stepscope.core.errors import BodyTooLarge, InvalidField, MalformedBody, NotAcceptable, UnsupportedMediaType
from stepscope.web.context import KEY, trace_headers
from stepscope.web.explain import explain

log = logging.getLogger("stepscope.web")

JSON = "application/json"
OCTETS = "application/octet-stream"
WATCH_AFTER_S = 0.05
"""How long an operation runs before its connection is watched, so that short ones don't pay for it."""

Decode = Callable[[bytes], Any]


class CompiledOperation:
    """An ASGI app for one operation."""

    def __init__(self, operation: Operation, handle: Callable[..., Awaitable[Any]], max_body_bytes: int) -> None:
        self._operation = operation
        self._handle = handle
        self._max_body_bytes = max_body_bytes
        self._decoders = {media: _decoder(kind) for media, kind in operation.requests.items()}
        self._encode = msgspec.json.Encoder().encode
        self._parameters = operation.parameters
        self._answers = [media for media in operation.responses["200"]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises the errors that `problems.py` knows."""
        context: RequestContext = scope[KEY]
        arguments = self._read_parameters(scope) if self._parameters else {}
        if len(self._answers) > 1:
            context.accept = acceptable(context.accept, self._answers)
        if self._decoders:
            body = await self._read_body(scope, receive)
            arguments["body"] = self._decode(_media_type(scope), body)
        result = await _while_connected(self._handle(context, **arguments), receive)
        await self._send(send, context, result)

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise BodyTooLarge(self._max_body_bytes)
        message = await receive()
        if not message.get("more_body"):
            return _part(message)
        parts = [_part(message)]
        size = len(parts[0])
        while message.get("more_body"):
            message = await receive()
            parts.append(_part(message))
            size += len(parts[-1])
            if size > self._max_body_bytes:
                raise BodyTooLarge(self._max_body_bytes)
        return b"".join(parts)

    def _decode(self, media_type: str, body: bytes) -> Any:
        decode = self._decoders.get(media_type)
        if decode is None:
            # Old clients send JSON under no type or under a form's (curl's default).
            if media_type not in ("", "application/x-www-form-urlencoded") or JSON not in self._decoders:
                raise UnsupportedMediaType(media_type, list(self._decoders))
            media_type = JSON
            decode = self._decoders[JSON]
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            raise explain(error, self._operation.requests[media_type]) from None
        except RecursionError:
            raise MalformedBody("it is nested too deep") from None
        except UnicodeDecodeError:
            raise MalformedBody("it is not UTF-8") from None
        except msgspec.DecodeError as error:
            raise MalformedBody(str(error)) from None

    def _read_parameters(self, scope: Scope) -> dict[str, Any]:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        arguments: dict[str, Any] = {}
        for parameter in self._parameters:
            found = scope["path_params"].get(parameter.name) if parameter.location == "path" else None
            text = query.get(parameter.name) if found is None else str(found)
            arguments[parameter.python_name] = _convert(parameter, text)
        return arguments

    async def _send(self, send: Send, context: RequestContext, result: Any) -> None:
        if isinstance(result, Octets):
            media, body = OCTETS, result.data
            extra = [(name.lower().encode(), value.encode()) for name, value in result.headers.items()]
        else:
            media, body, extra = JSON, self._encode(result), []
        headers = [
            (b"content-type", media.encode()),
            (b"content-length", b"%d" % len(body)),
            *extra,
            *trace_headers(context),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def acceptable(accept: str, answers: list[str]) -> str:
    """Return the answer's media type that an Accept header asks for first (RFC 9110, section 12.5.1)."""
    if not accept:
        return answers[0]
    ranges = [_weighted(part) for part in accept.split(",")]
    for media_range, _ in sorted(ranges, key=lambda found: -found[1]):
        for answer in answers:
            if media_range in (answer, "*/*", answer.split("/")[0] + "/*"):
                return answer
    raise NotAcceptable(accept[:200], answers)


def _weighted(part: str) -> tuple[str, float]:
    media_range, _, rest = part.partition(";")
    weight = rest.partition("q=")[2].split(";")[0].strip()
    try:
        return media_range.strip().lower(), float(weight) if weight else 1.0
    except ValueError:
        return media_range.strip().lower(), 1.0


def _decoder(kind: Any) -> Decode:
    return bytes if kind is bytes else msgspec.json.Decoder(kind).decode


def _convert(parameter: Parameter, text: str | None) -> Any:
    if text is None:
        if parameter.required:
            raise InvalidField(parameter.name, "it is missing")
        return parameter.default
    value = text.split(",") if parameter.is_list else text
    try:
        return msgspec.convert(value, parameter.type, strict=False)
    except msgspec.ValidationError as error:
        raise explain(error, parameter.type, parameter.name) from None


async def _while_connected(call: Awaitable[Any], receive: Receive) -> Any:
    """Await a handler; cancel it when the client goes away."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    watcher: list[asyncio.Task[None]] = []
    timer = loop.call_later(WATCH_AFTER_S, lambda: watcher.append(loop.create_task(_watch(receive, task))))
    try:
        return await call
    except asyncio.CancelledError:
        if watcher and watcher[0].done() and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        for watch in watcher:
            watch.cancel()


async def _watch(receive: Receive, task: asyncio.Task[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()


def _part(message: Any) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b"")  # type: ignore[no-any-return]


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")  # type: ignore[no-any-return]
    return ""


def _media_type(scope: Scope) -> str:
    return _header(scope, b"content-type").partition(";")[0].strip().lower()
