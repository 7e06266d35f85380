"""The workers that are known: those seen by this process, and those that others have written."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from stepscope.core.errors import StoreUnavailable
from stepscope.core.jobs import Worker
from stepscope.core.ports import JobStore

FRESH_S = 1.0
"""How old what others have written may be."""
CREW_S = 0.25
"""How old a queue's crew may be: thousands may ask for it in a second."""


@dataclass(frozen=True, slots=True)
class Crew:
    """A queue's workers in short."""

    online: int
    mean_s: float | None
    """How long they take for a job, on average."""
    measured: int
    """How many that average is of."""


class Workers:
    """Workers by queue. A sign of life is written with the next `write`; what is new of a worker, at once."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._seen: dict[tuple[str, str], Worker] = {}
        self._unwritten: set[tuple[str, str]] = set()
        self._read: dict[str, tuple[float, Sequence[Worker]]] = {}
        self._crews: dict[str, tuple[float, Crew]] = {}

    async def see(self, worker: Worker) -> None:
        """Note that a worker is there. Raises `StoreUnavailable`."""
        key = worker.kind, worker.name
        before = self._seen.get(key)
        self._seen[key] = worker
        if before is not None and before == replace(worker, seen_at=before.seen_at, mean_s=before.mean_s):
            self._unwritten.add(key)
        else:
            self._crews.pop(worker.kind, None)
            await self._store.put_worker(worker)

    async def online(self, kind: str, now: datetime) -> Sequence[Worker]:
        """Return the workers of a queue that are online, in the order of their names. Raises `StoreUnavailable`."""
        known = {worker.name: worker for worker in await self._known(kind)}
        for (of, name), worker in self._seen.items():
            if of == kind and (name not in known or known[name].seen_at < worker.seen_at):
                known[name] = worker
        return [worker for _, worker in sorted(known.items()) if not _is_offline(worker, now)]

    async def crew(self, kind: str, now: datetime) -> Crew:
        """Return how many workers of a queue are online, and how fast they are. Raises `StoreUnavailable`."""
        made_s, crew = self._crews.get(kind, (0.0, None))
        if crew is None or time.monotonic() - made_s >= CREW_S:
            online = await self.online(kind, now)
            means = [worker.mean_s for worker in online if worker.mean_s is not None]
            crew = Crew(len(online), sum(means) / len(means) if means else None, len(means))
            self._crews[kind] = time.monotonic(), crew
        return crew

    async def write(self, now: datetime) -> None:
        """Write the signs of life that wait, or keep them for the next time. Raises `StoreUnavailable`."""
        for key in sorted(self._unwritten):
            await self._store.put_worker(self._seen[key])
            self._unwritten.discard(key)
        self._seen = {key: worker for key, worker in self._seen.items() if not _is_offline(worker, now)}

    async def _known(self, kind: str) -> Sequence[Worker]:
        read_s, workers = self._read.get(kind, (0.0, None))
        if workers is not None and time.monotonic() - read_s < FRESH_S:
            return workers
        if workers is not None:
            self._read[kind] = time.monotonic(), workers  # who asks meanwhile doesn't read as well
        try:
            found = await self._store.list_workers(kind)
        except StoreUnavailable:
            if workers is None:
                raise
            return workers
        self._read[kind] = time.monotonic(), found
        return found


def _is_offline(worker: Worker, now: datetime) -> bool:
    return (now - worker.seen_at).total_seconds() >= worker.offline_after_s
