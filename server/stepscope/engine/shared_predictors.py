"""Predictors that jobs share: opened for the first that asks, closed when none has used it for a while.

Without them each job would load its model, and the last one of a moment would drop it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from stepscope.core.errors import NotFound, StepscopeError
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import ModelRef, Options
from stepscope.core.recording import Recorder
from stepscope.engine.engine import Engine

LINGER_S = 30.0
"""How long a predictor is kept that no job uses."""

Key = tuple[str, ModelRef, Options]


class _Shared:
    def __init__(self) -> None:
        self.opening = asyncio.Lock()
        self.record: PredictorRecord | None = None
        self.users = 0
        self.end: asyncio.TimerHandle | None = None


class SharedPredictors:
    """Lends predictors by owner, model and options."""

    def __init__(self, engine: Engine, linger_s: float = LINGER_S) -> None:
        self._engine = engine
        self._linger_s = linger_s
        self._shared: dict[Key, _Shared] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lend(
        self, ref: ModelRef, options: Options, owner: str, recorder: Recorder | None = None
    ) -> AsyncIterator[PredictorRecord]:
        """Lend a predictor on a model. Raises what `Engine.open` raises."""
        key = (owner, ref, options)
        shared = self._shared.setdefault(key, _Shared())
        shared.users += 1
        if shared.end is not None:
            shared.end.cancel()
        try:
            async with shared.opening:
                if shared.record is None or not await self._is_open(shared.record):
                    shared.record, _ = await self._engine.open(ref, options, owner, recorder=recorder)
            yield shared.record
        finally:
            shared.users -= 1
            if not shared.users:
                shared.end = asyncio.get_running_loop().call_later(self._linger_s, self._end, key)

    async def stop(self) -> None:
        """Close what is open."""
        for key in list(self._shared):
            self._end(key)
        await asyncio.gather(*self._closing)

    async def _is_open(self, record: PredictorRecord) -> bool:
        try:
            await self._engine.use(record.id, record.owner)
        except NotFound:
            return False
        return True

    def _end(self, key: Key) -> None:
        shared = self._shared.pop(key)
        if shared.end is not None:
            shared.end.cancel()
        if shared.record is not None:
            task = asyncio.ensure_future(self._close(shared.record))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, record: PredictorRecord) -> None:
        with suppress(StepscopeError):  # its lease will end
            await self._engine.close(record.id, record.owner)
