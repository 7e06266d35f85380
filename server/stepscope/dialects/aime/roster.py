"""The workers of all job types, as they told of themselves.

What this process hears goes to the store at most twice a second for each worker, and at once for a new one.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stepscope.core.errors import StoreUnavailable
from stepscope.core.jobs import Worker
from stepscope.dialects.aime.endpoints import Endpoint
from stepscope.dialects.aime.records import WorkerFacts, facts_of
from stepscope.engine.jobs import Jobs

log = logging.getLogger("stepscope.aime")

WRITE_S = 0.5
SILENT_WAITS = 2
"""How many waits for jobs a worker may be silent before it counts as offline."""
WEIGHT = 0.2
"""How much the last job counts for a worker's mean time."""
MOST_KNOWN = 10_000
MOST_HELD = 1024
MODEL = ("label", "quantization", "size", "family", "type", "repo_name")
ABOUT = ("gpu_name", "num_gpus", "framework", "framework_version", "pytorch_version")
NEVER = datetime.min.replace(tzinfo=UTC)
TEXT = 200
"""Characters that are kept of what a worker says."""


class Roster:
    """Knows who is there."""

    def __init__(self, jobs: Jobs, now: Callable[[], datetime] | None = None) -> None:
        self._jobs = jobs
        self._now = now or (lambda: datetime.now(UTC))
        self._known: dict[tuple[str, str], _Known] = {}
        self._unwritten: set[tuple[str, str]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write what was heard."""
        self._task = asyncio.create_task(self._write_on())

    async def stop(self) -> None:
        """Stop writing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def see(
        self,
        endpoint: Endpoint,
        name: str,
        told: Mapping[str, Any],
        *,
        size: int | None = None,
        free: int | None = None,
    ) -> None:
        """Note what a worker says of itself, with the room that it has, in all or free."""
        kind, is_new = endpoint.kind, (endpoint.kind, name) not in self._known
        known = self._known.get((kind, name)) or await self._stored(kind, name) or _Known(name, kind)
        facts = known.facts
        facts.max_batch_size = max(size or free or 1, facts.max_batch_size)
        facts.free_slots = facts.max_batch_size if free is None else free
        facts.told = _kept(told) or facts.told
        known.offline_after_s = float(SILENT_WAITS * endpoint.request_timeout_s)
        await self._note(known, at_once=is_new)

    async def leave(self, kinds: Collection[str], name: str) -> None:
        """Note that a worker isn't there any more for some queues: it works for another one now."""
        for kind in kinds:
            known = self._known.get((kind, name)) or await self._stored(kind, name)
            if known is not None:
                known.offline_after_s = 0.0
                await self._note(known, at_once=True)

    async def hear(self, kind: str, name: str) -> None:
        """Note that a worker is there."""
        if (known := self._known.get((kind, name))) is not None:
            await self._note(known)

    def give(self, kind: str, name: str, job_ids: Sequence[str]) -> None:
        """Note that a worker got jobs."""
        if (known := self._known.get((kind, name))) is not None:
            known.hold((*known.facts.held, *job_ids)[-MOST_HELD:], -len(job_ids))
            self._put(known)

    async def take_back(self, kind: str, name: str, job_id: str, took_s: float | None) -> None:
        """Note that a worker has brought a job to its end, and how long it took, unless that is known already."""
        known = self._known.get((kind, name))
        if known is None:
            return
        known.hold(tuple(each for each in known.facts.held if each != job_id), +1)
        if took_s is not None:
            known.mean_s = took_s if known.mean_s is None else (1 - WEIGHT) * known.mean_s + WEIGHT * took_s
        await self._note(known)

    def at_work(self, kind: str, name: str) -> Sequence[str]:
        """Return the jobs that a worker is at: of those it was given, the last ones, as many as it has no room for.

        A worker that was started anew has room for all, and has forgotten what it was given before.
        """
        known = self._known.get((kind, name))
        if known is None:
            return ()
        count = known.facts.max_batch_size - known.facts.free_slots
        return known.facts.held[-count:] if count > 0 else ()

    async def is_online(self, endpoint: Endpoint, name: str) -> bool:
        """Say whether a worker was heard of lately."""
        return any(worker.name == name for worker in await self.online(endpoint))

    async def online(self, endpoint: Endpoint) -> Sequence[Worker]:
        """Return the workers of an endpoint that are online, by name."""
        found = {worker.name: worker for worker in await self._jobs.workers(endpoint.kind)}
        for (kind, name), known in self._known.items():
            if kind == endpoint.kind and known.is_online(self._now()) and not known.is_older(found.get(name)):
                found[name] = known.worker()
        return [found[name] for name in sorted(found)]

    def count_known(self, endpoint: Endpoint, online: Sequence[Worker]) -> int:
        """Return how many workers were ever heard of here, online or not."""
        return len({worker.name for worker in online} | {name for kind, name in self._known if kind == endpoint.kind})

    async def _stored(self, kind: str, name: str) -> "_Known | None":
        """Return what other processes, or this one before its last start, know of a worker."""
        found = next((each for each in await self._jobs.workers(kind) if each.name == name), None)
        return None if found is None else _Known(name, kind, facts_of(found), mean_s=found.mean_s)

    async def _note(self, known: "_Known", *, at_once: bool = False) -> None:
        known.seen_at = self._now()
        self._put(known)
        if at_once:
            self._unwritten.discard((known.kind, known.name))
            await self._jobs.see(known.worker())

    def _put(self, known: "_Known") -> None:
        if len(self._known) >= MOST_KNOWN:
            now = self._now()
            self._known = {key: each for key, each in self._known.items() if each.is_online(now)}
        self._known[known.kind, known.name] = known
        self._unwritten.add((known.kind, known.name))

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(WRITE_S)
            try:
                for key in list(self._unwritten):
                    self._unwritten.discard(key)
                    if key in self._known:
                        await self._jobs.see(self._known[key].worker())
            except StoreUnavailable as fault:
                log.warning("workers can't be noted: %s", fault)


@dataclass(slots=True)
class _Known:
    """A worker as this process knows it."""

    name: str
    kind: str
    facts: WorkerFacts = field(default_factory=WorkerFacts)
    mean_s: float | None = None
    seen_at: datetime = NEVER
    offline_after_s: float = 0.0

    def hold(self, held: tuple[str, ...], more_room: int) -> None:
        """Take note of the jobs that it has, and of its room."""
        self.facts.held = held
        self.facts.free_slots = min(self.facts.max_batch_size, max(0, self.facts.free_slots + more_room))

    def is_online(self, now: datetime) -> bool:
        return (now - self.seen_at).total_seconds() < self.offline_after_s

    def is_older(self, stored: Worker | None) -> bool:
        return stored is not None and stored.seen_at > self.seen_at

    def worker(self) -> Worker:
        """Return it as it is kept."""
        return Worker(
            name=self.name,
            kind=self.kind,
            seen_at=self.seen_at,
            offline_after_s=self.offline_after_s,
            about=self.facts.encoded(),
            mean_s=self.mean_s,
        )


def describe(worker: Worker) -> dict[str, Any]:
    """Return what clients may know of a worker."""
    facts = facts_of(worker)
    told = facts.told
    return {
        "name": worker.name,
        "state": "waiting" if facts.free_slots >= facts.max_batch_size else "processing",
        "max_batch_size": facts.max_batch_size,
        "free_slots": facts.free_slots,
        **{name: told.get(name) for name in ABOUT},
        "model": {name: told.get(f"model_{name}", "Unknown") for name in MODEL},
    }


def _kept(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of what a worker says: known facts alone, and not more than a line of each."""
    names = (*ABOUT, *(f"model_{name}" for name in MODEL))
    kept = {name: told[name] for name in names if told.get(name) is not None}
    return {name: value[:TEXT] if isinstance(value, str) else value for name, value in kept.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)
