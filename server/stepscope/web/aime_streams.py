"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), with signs of life between."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

EventT = TypeVar("EventT")

PING_S = 15.0
"""After so long a silence a stream says that it is still there: what stands between would cut it."""
LOOK_S = 1.0
"""How often a silent stream looks whether the server is about to stop."""
PING = b": still here\n\n"
HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]


async def with_pings(
    events: AsyncGenerator[EventT, None], is_stopping: Callable[[], bool]
) -> AsyncGenerator[EventT | None, None]:
    """Yield events, and None after each silence, until there are no more or the server stops."""
    coming: asyncio.Future[EventT | None] | None = None
    silent_s = 0.0
    try:
        while not is_stopping():
            coming = coming or asyncio.ensure_future(_next(events))
            if not (await asyncio.wait([coming], timeout=LOOK_S))[0]:
                silent_s += LOOK_S
                if silent_s >= PING_S:
                    silent_s = 0.0
                    yield None
                continue
            event, coming, silent_s = coming.result(), None, 0.0
            if event is None:
                return
            yield event
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
        await events.aclose()


async def _next(events: AsyncGenerator[EventT, None]) -> EventT | None:
    return await anext(events, None)
