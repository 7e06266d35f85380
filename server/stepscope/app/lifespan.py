"""A server's start and stop in its process."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, field

from stepscope.app.backend import Backend
from stepscope.web.tallies import WRITE_S

COLLECT_AFTER = 20_000
"""Objects made, less those gone, after which the collector looks for cycles among the young ones."""


@dataclass(slots=True)
class Lifespan:
    """The start and the stop, and between them what is told to other processes."""

    backend: Backend
    publish: Callable[[], None] | None
    """Tells the other processes what was counted here; None where there are none."""
    _publishing: asyncio.Task[None] | None = field(default=None, init=False)

    async def start(self) -> None:
        """Start before the first request."""
        await self.backend.start()
        if self.publish is not None:
            self._publishing = asyncio.create_task(_repeat(self.publish))
        # What start-up made stays for good; a collection after each close (200 ms otherwise) needn't look at it.
        gc.freeze()
        # A prediction makes hundreds of objects that live until its answer: by default each would cause a collection.
        gc.set_threshold(COLLECT_AFTER)

    async def stop(self) -> None:
        """Stop after the last request."""
        if self._publishing is not None:
            self._publishing.cancel()
        await self.backend.stop()


async def _repeat(publish: Callable[[], None]) -> None:
    while True:
        publish()
        await asyncio.sleep(WRITE_S)
