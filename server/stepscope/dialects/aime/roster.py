"""The workers of all job types, as they told of themselves.

What this process hears goes to the store at most twice a second for each worker, and at once for a new one.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
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
TEXT = 200
"""Characters that are kept of what a worker says."""


class Roster:
    """Knows who is there."""

    def __init__(self, jobs: Jobs, now: Callable[[], datetime] | None = None) -> None:
        self._jobs = jobs
        self._now = now or (lambda: datetime.now(UTC))
        self._known: dict[tuple[str, str], Worker] = {}
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
        known = self._known.get((endpoint.kind, name)) or await self._stored(endpoint.kind, name)
        facts = facts_of(known) if known is not None else WorkerFacts()
        size = max(size or free or 1, facts.max_batch_size if known is not None else 1)
        facts = WorkerFacts(size, size if free is None else free, _kept(told) or facts.told, facts.held)
        offline_after_s = float(SILENT_WAITS * endpoint.request_timeout_s)
        worker = Worker(name=name, kind=endpoint.kind, seen_at=self._now(), offline_after_s=offline_after_s)
        worker = replace(worker, about=facts.encoded(), mean_s=known.mean_s if known is not None else None)
        await self._note(worker, at_once=(endpoint.kind, name) not in self._known)

    async def leave(self, kinds: Collection[str], name: str) -> None:
        """Note that a worker isn't there any more for some queues: it works for another one now."""
        for kind in kinds:
            worker = self._known.get((kind, name)) or await self._stored(kind, name)
            if worker is not None:
                await self._note(replace(worker, seen_at=self._now(), offline_after_s=0.0), at_once=True)

    async def hear(self, kind: str, name: str) -> None:
        """Note that a worker is there."""
        worker = self._known.get((kind, name))
        if worker is not None:
            await self._note(replace(worker, seen_at=self._now()))

    def give(self, kind: str, name: str, job_ids: Sequence[str]) -> None:
        """Note that a worker got jobs."""
        worker = self._known.get((kind, name))
        if worker is not None:
            held = (*facts_of(worker).held, *job_ids)[-MOST_HELD:]
            self._put(_holding(worker, held, -len(job_ids)))

    async def take_back(self, kind: str, name: str, job_id: str, took_s: float | None) -> None:
        """Note that a worker has brought a job to its end, and how long it took, unless that is known already."""
        worker = self._known.get((kind, name))
        if worker is None:
            return
        held = tuple(each for each in facts_of(worker).held if each != job_id)
        worker = replace(_holding(worker, held, +1), seen_at=self._now())
        if took_s is not None:
            mean_s = took_s if worker.mean_s is None else (1 - WEIGHT) * worker.mean_s + WEIGHT * took_s
            worker = replace(worker, mean_s=mean_s)
        await self._note(worker)

    def at_work(self, kind: str, name: str) -> Sequence[str]:
        """Return the jobs that a worker is at: of those it was given, the last ones, as many as it has no room for.

        A worker that was started anew has room for all, and has forgotten what it was given before.
        """
        worker = self._known.get((kind, name))
        facts = WorkerFacts() if worker is None else facts_of(worker)
        count = facts.max_batch_size - facts.free_slots
        return facts.held[-count:] if count > 0 else ()

    async def is_online(self, endpoint: Endpoint, name: str) -> bool:
        """Say whether a worker was heard of lately."""
        return any(worker.name == name for worker in await self.online(endpoint))

    async def online(self, endpoint: Endpoint) -> Sequence[Worker]:
        """Return the workers of an endpoint that are online, by name."""
        stored = await self._jobs.workers(endpoint.kind)
        found = {worker.name: worker for worker in stored}
        for (kind, name), worker in self._known.items():
            if kind == endpoint.kind and self._is_online(worker) and not _is_newer(found.get(name), worker):
                found[name] = worker
        return [found[name] for name in sorted(found)]

    def count_known(self, endpoint: Endpoint, online: Sequence[Worker]) -> int:
        """Return how many workers were ever heard of here, online or not."""
        return len({worker.name for worker in online} | {name for kind, name in self._known if kind == endpoint.kind})

    async def _stored(self, kind: str, name: str) -> Worker | None:
        """Return what other processes, or this one before its last start, know of a worker."""
        return next((each for each in await self._jobs.workers(kind) if each.name == name), None)

    def _is_online(self, worker: Worker) -> bool:
        return (self._now() - worker.seen_at).total_seconds() < worker.offline_after_s

    async def _note(self, worker: Worker, *, at_once: bool = False) -> None:
        self._put(worker)
        if at_once:
            self._unwritten.discard((worker.kind, worker.name))
            await self._jobs.see(worker)

    def _put(self, worker: Worker) -> None:
        if len(self._known) >= MOST_KNOWN:
            self._known = {key: each for key, each in self._known.items() if self._is_online(each)}
        self._known[worker.kind, worker.name] = worker
        self._unwritten.add((worker.kind, worker.name))

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(WRITE_S)
            try:
                for key in list(self._unwritten):
                    self._unwritten.discard(key)
                    if key in self._known:
                        await self._jobs.see(self._known[key])
            except StoreUnavailable as fault:
                log.warning("workers can't be noted: %s", fault)


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


def _holding(worker: Worker, held: tuple[str, ...], more_room: int) -> Worker:
    facts = facts_of(worker)
    free = min(facts.max_batch_size, max(0, facts.free_slots + more_room))
    return replace(worker, about=replace(facts, free_slots=free, held=held).encoded())


def _is_newer(one: Worker | None, other: Worker) -> bool:
    return one is not None and one.seen_at > other.seen_at
