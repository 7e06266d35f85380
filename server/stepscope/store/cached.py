"""A shared store as one process sees it: records are read from memory, and uses are written behind.

A prediction doesn't wait for the database. What is held against is this:

- A removal by another process is seen when the store tells it: `changes` says how soon. When the store stops telling,
  every record is read again after it has come back.
- A record whose lease is over is read again before anybody believes it, since another process may have used it.
- A use is written after `flush_s` at most, once for all uses in between; with the process, the last ones are lost. So
  to other processes, and after a crash, a lease may seem to have started again that much earlier than it did.
- While the database is away, the records that are known serve on, and everything else raises `StoreUnavailable`.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from stepscope.core.errors import StoreUnavailable
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.ports import Store

log = logging.getLogger("stepscope.store")

RETRY_S = 0.5
"""How often a database that is away is tried."""


class SharedStore(Store, Protocol):
    """A store that several processes share."""

    async def start(self) -> None:
        """Make it ready for use."""

    async def stop(self) -> None:
        """Give it up."""

    async def touch_predictors(self, uses: Mapping[str, datetime]) -> None:
        """Note the last uses of several predictors."""

    def changes(self) -> AsyncGenerator[frozenset[str] | None, None]:
        """Yield the ids that are removed; None at first, and whenever any may have been."""


@dataclass(frozen=True, slots=True)
class _Known:
    record: PredictorRecord
    ends_at: datetime
    era: int
    """How often the store had begun to tell of changes when the record was read."""


class CachedStore:
    """The `Store` of a process that shares another one. `removed` is told what other processes take out."""

    def __init__(self, shared: SharedStore, flush_s: float, now: Callable[[], datetime] | None = None) -> None:
        self.removed: Callable[[str], None] = lambda _: None
        self._shared = shared
        self._flush_s = flush_s
        self._now = now or _utc_now
        self._known: dict[str, _Known] = {}
        self._uses: dict[str, datetime] = {}
        self._reads: dict[str, asyncio.Task[PredictorRecord | None]] = {}
        self._own: set[str] = set()
        self._era = 0
        self._watched = asyncio.Event()
        self._away = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def available(self) -> bool:
        """Whether the database answered last time."""
        return self._watched.is_set()

    async def start(self) -> None:
        """Begin to watch for changes and to write uses. Raises `SettingsInvalid`."""
        await self._shared.start()
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._flush_on())]
        await self._watched.wait()

    async def stop(self) -> None:
        """Write the uses that are left, and let go of the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._flush()
        await self._shared.stop()

    async def put_predictor(self, record: PredictorRecord) -> None:
        """Add or replace a record."""
        self._check_available()
        era = self._era
        await self._shared.put_predictor(record)
        self._keep(record, era)

    async def get_predictor(self, predictor_id: str) -> PredictorRecord | None:
        """Return a record, lapsed or not, or None."""
        known = self._known.get(predictor_id)
        if known is None:
            return await self._read(predictor_id)
        lapsed = self._now() >= known.ends_at
        if not lapsed and (known.era == self._era or not self.available):
            return known.record
        try:
            return await self._read(predictor_id)
        except StoreUnavailable:
            if lapsed:  # by what is known here, which isn't all
                raise
            return known.record

    async def touch_predictor(self, predictor_id: str, now: datetime) -> None:
        """Note a use, to be written soon."""
        self._uses[predictor_id] = max(now, self._uses.get(predictor_id, now))
        known = self._known.get(predictor_id)
        if known is not None:
            self._keep(known.record.used(now), known.era)

    async def remove_predictor(self, predictor_id: str) -> PredictorRecord | None:
        """Take a record out and return it, or None."""
        self._check_available()
        self._own.add(predictor_id)
        record = await self._shared.remove_predictor(predictor_id)
        if record is None:
            self._own.discard(predictor_id)
        self._forget(predictor_id)
        return record

    async def purge_predictors(self, before: datetime) -> Sequence[str]:
        """Take out the records whose lease ended before a time; return their ids."""
        self._check_available()
        await self._flush()
        ids = await self._shared.purge_predictors(before)
        for predictor_id in [key for key, known in self._known.items() if known.ends_at < before]:
            self._forget(predictor_id)
        return ids

    def _check_available(self) -> None:
        if not self.available:
            raise StoreUnavailable

    async def _read(self, predictor_id: str) -> PredictorRecord | None:
        """Read a record from the store; callers at the same time share one reading."""
        self._check_available()
        task = self._reads.get(predictor_id)
        if task is None:
            task = self._reads[predictor_id] = asyncio.create_task(self._read_anew(predictor_id))
            task.add_done_callback(lambda done: self._read_is_over(predictor_id, done))
        return await asyncio.shield(task)

    async def _read_anew(self, predictor_id: str) -> PredictorRecord | None:
        era = self._era
        record = await self._shared.get_predictor(predictor_id)
        if record is not None and (used := self._uses.get(predictor_id)) is not None:
            record = record.used(used)
        # A record that was removed meanwhile isn't kept: its reading was forgotten then.
        if self._reads.get(predictor_id) is asyncio.current_task():
            if record is None:
                self._forget(predictor_id)
            else:
                self._keep(record, era)
        return record

    def _read_is_over(self, predictor_id: str, task: asyncio.Task[PredictorRecord | None]) -> None:
        if self._reads.get(predictor_id) is task:
            del self._reads[predictor_id]
        if not task.cancelled():
            task.exception()  # its waiters may all be gone

    def _keep(self, record: PredictorRecord, era: int) -> None:
        self._known[record.id] = _Known(record, record.expires_at, era)

    def _forget(self, predictor_id: str) -> None:
        self._known.pop(predictor_id, None)
        self._uses.pop(predictor_id, None)
        self._reads.pop(predictor_id, None)

    async def _watch(self) -> None:
        while True:
            try:
                async with aclosing(self._shared.changes()) as changes:
                    async for removed in changes:
                        self._take(removed)
            except StoreUnavailable as fault:
                self._lose(fault)
            except Exception as fault:
                log.exception("the store can't be watched")
                self._lose(fault)
            await asyncio.sleep(RETRY_S)

    def _lose(self, fault: Exception) -> None:
        if not self._away:
            log.warning("the store doesn't answer (%s); what is known serves on", fault.__cause__ or fault)
        self._away = True
        self._watched.clear()

    def _take(self, removed: frozenset[str] | None) -> None:
        if removed is None:
            if self._away:
                log.warning("the store answers again")
            self._away = False
            self._era += 1
            self._own.clear()
            self._watched.set()
            return
        for predictor_id in removed:
            self._forget(predictor_id)
            if predictor_id in self._own:
                self._own.discard(predictor_id)
            else:
                self.removed(predictor_id)

    async def _flush_on(self) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            try:
                await self._flush()
            except Exception:
                log.exception("the last uses of predictors can't be written")

    async def _flush(self) -> None:
        """Write the uses that wait, or keep them for the next time."""
        if not self._uses or not self.available:
            return
        uses, self._uses = self._uses, {}
        try:
            await self._shared.touch_predictors(uses)
        except StoreUnavailable:
            self._uses = {**uses, **self._uses}


def _utc_now() -> datetime:
    return datetime.now(UTC)
