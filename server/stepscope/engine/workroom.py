"""A bounded room for work that holds a thread up: so many at it, so many waiting, and no more."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from stepscope.core.errors import Overloaded

ResultT = TypeVar("ResultT")


class Workroom:
    """Runs functions on a few threads."""

    def __init__(self, name: str, most: int = 64) -> None:
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix=name)
        self._most = most
        self._inside = 0

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Return what a function returns. Raises `Overloaded` when too many wait already."""
        if self._inside >= self._most:
            raise Overloaded(self._most)
        self._inside += 1
        loop = asyncio.get_running_loop()
        future = self._threads.submit(work)
        # Who asked may be gone by then: the thread is in use until the work itself is over.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        return await asyncio.wrap_future(future)

    def stop(self) -> None:
        """Take nothing more; what runs is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        self._inside -= 1
