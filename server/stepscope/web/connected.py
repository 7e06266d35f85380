"""Cancelling what nobody waits for any more."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

ResultT = TypeVar("ResultT")

WATCH_AFTER_S = 0.05
"""How long a request runs before its connection is watched, so that short ones don't pay for it."""


async def while_connected(call: Awaitable[ResultT], receive: Receive) -> ResultT:
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
    # A body that nobody read may come first.
    for _ in range(2):
        if (await receive())["type"] == "http.disconnect":
            task.cancel()
            return
