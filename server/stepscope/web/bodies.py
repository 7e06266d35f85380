"""Reading a request's body, and finding out what it is. Sizes are checked before memory is taken."""

from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from stepscope.core.errors import BodyTooLarge, UnsupportedMediaType
from stepscope.web.context import Headers


async def read_body(headers: Headers, receive: Receive, max_bytes: int) -> bytes:
    """Return a request's whole body. Raises `BodyTooLarge`, or `ClientDisconnect` when it is cut short."""
    declared = headers.get(b"content-length")
    if declared is not None and int(declared) > max_bytes:  # its digits were checked by the HTTP parser
        raise BodyTooLarge(max_bytes)
    message = await receive()
    part = _part(message)
    if not message.get("more_body") and len(part) <= max_bytes:
        return part
    parts, size = [part], len(part)
    while message.get("more_body") and size <= max_bytes:
        message = await receive()
        parts.append(_part(message))
        size += len(parts[-1])
    if size > max_bytes:
        raise BodyTooLarge(max_bytes)
    return b"".join(parts)


def media_type(headers: Headers, known: list[str]) -> str:
    """Return the body's media type without its parameters; empty when the header is missing.

    Raises `UnsupportedMediaType` for a body under a content encoding: what it unpacks to has no bound.
    """
    given = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    coding = headers.get(b"content-encoding")
    if coding is not None and coding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedMediaType(f"{given} with Content-Encoding {coding.decode('latin-1')[:64]}", known)
    return given


def _part(message: Any) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b"")  # type: ignore[no-any-return]
