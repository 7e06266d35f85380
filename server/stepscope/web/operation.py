"""One operation, compiled: bytes in, the handler's typed call, bytes out."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from stepscope.core.access import RequestContext
from stepscope.core.errors import InvalidField, MalformedBody, UnsupportedMediaType
from stepscope.web.bodies import media_type, read_body
from stepscope.web.connected import while_connected
from stepscope.web.context import HEADERS, KEY, trace_headers
from stepscope.web.explain import explain
from stepscope.web.negotiation import acceptable
from stepscope.web.streams import send_events
from stepscope_api.operations import Octets, Operation, Parameter

log = logging.getLogger("stepscope.web")

JSON = "application/json"
OCTETS = "application/octet-stream"
LIKE_JSON = ("", "application/x-www-form-urlencoded")
"""Old clients send JSON under no type, or under a form's (curl's default)."""

Decode = Callable[[bytes], Any]


class CompiledOperation:
    """An ASGI app for one operation."""

    def __init__(self, operation: Operation, handle: Callable[..., Awaitable[Any]], max_body_bytes: int) -> None:
        self._handle = handle
        self._max_body_bytes = max_body_bytes
        self._kinds = operation.requests
        self._media = list(operation.requests)
        self._decoders = {media: _decoder(kind) for media, kind in operation.requests.items()}
        self._encode = msgspec.json.Encoder().encode
        self._parameters = operation.parameters
        success = next(code for code in operation.responses if code.startswith("2"))
        self._status = int(success)
        self._answers = list(operation.responses[success])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises the errors that `problems.py` knows."""
        context: RequestContext = scope[KEY]
        arguments = self._read_parameters(scope) if self._parameters else {}
        if len(self._answers) > 1:
            context.accept = acceptable(context.accept, self._answers)
        if self._decoders:
            headers = scope[HEADERS]
            media = media_type(headers, self._media)
            decode = self._decoder_of(media)  # before the body is read
            arguments["body"] = decode(await read_body(headers, receive, self._max_body_bytes))
        result = await while_connected(self._handle(context, **arguments), receive)
        if isinstance(result, AsyncGenerator):
            await send_events(send, receive, trace_headers(context), result)
        else:
            await self._send(send, context, result)

    def _decoder_of(self, media: str) -> Decode:
        found = self._decoders.get(media)
        if found is None and media in LIKE_JSON:
            found = self._decoders.get(JSON)
        if found is None:
            raise UnsupportedMediaType(media[:200], self._media)
        return found

    def _read_parameters(self, scope: Scope) -> dict[str, Any]:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        arguments: dict[str, Any] = {}
        for parameter in self._parameters:
            arguments[parameter.python_name] = _convert(parameter, _find(parameter, scope, query))
        return arguments

    async def _send(self, send: Send, context: RequestContext, result: Any) -> None:
        headers = trace_headers(context)
        if isinstance(result, Octets):
            media, body = OCTETS, result.data
            headers += [(name.lower().encode(), value.encode()) for name, value in result.headers.items()]
        else:
            media, body = JSON, self._encode(result)
        headers += [(b"content-type", media.encode()), (b"content-length", b"%d" % len(body))]
        if context.location:
            headers.append((b"location", context.location.encode("latin-1")))
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _decoder(kind: Any) -> Decode:
    """Return the function that makes a body the value of a type, or raises what is wrong with it."""
    if kind is bytes:
        return bytes
    decode = msgspec.json.Decoder(kind).decode

    def read(body: bytes) -> Any:
        try:
            if not body.isascii():
                body.decode()  # msgspec checks the texts that it keeps, not those of unknown fields
            return decode(body)
        except msgspec.ValidationError as error:
            raise explain(error, kind) from None
        except RecursionError:
            raise MalformedBody("it is nested too deep") from None
        except UnicodeDecodeError:
            raise MalformedBody("it is not UTF-8") from None
        except msgspec.DecodeError as error:
            raise MalformedBody(str(error)) from None

    return read


def _find(parameter: Parameter, scope: Scope, query: dict[str, str]) -> str | None:
    """Return what a request says of a parameter, None when it says nothing."""
    if parameter.location == "path":
        return str(scope["path_params"][parameter.name])
    if parameter.location == "header":
        given: bytes | None = scope[HEADERS].get(parameter.name.lower().encode())
        return None if given is None else given.decode("latin-1")
    return query.get(parameter.name)


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
