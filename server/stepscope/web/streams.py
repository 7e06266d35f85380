"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A client that reads slowly holds up its own stream alone: the next event is made when the last one was taken, and is
the newest then, so nothing piles up for it.
"""

import asyncio
from contextlib import aclosing, suppress

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Send

from stepscope.web.connected import while_connected
from stepscope_api.operations import Event, Events

RETRY = b"retry: 1000\n\n"
"""When to come back after the stream broke, in milliseconds."""
ALIVE = b":\n\n"
"""A comment, which keeps proxies and readers from giving a quiet connection up."""
PATIENCE_S = 60.0
"""How long a client may take nothing."""
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]

Headers = list[tuple[bytes, bytes]]


async def send_events(send: Send, receive: Receive, headers: Headers, events: Events) -> None:
    """Answer with events until there are no more, or nobody takes them."""
    with suppress(ClientDisconnect, TimeoutError):
        await while_connected(_send_all(send, headers, events), receive)


def encode(event: Event | None) -> bytes:
    """Return an event as it stands in the stream."""
    if event is None:
        return ALIVE
    data = msgspec.json.encode(event.data)  # has no line ends
    return b"event: %b\nid: %b\ndata: %b\n\n" % (event.name.encode(), event.id.encode(), data)


async def _send_all(send: Send, headers: Headers, events: Events) -> None:
    async with aclosing(events):
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, *HEADERS]})
        await send({"type": "http.response.body", "body": RETRY, "more_body": True})
        async for event in events:
            async with asyncio.timeout(PATIENCE_S):
                await send({"type": "http.response.body", "body": encode(event), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
