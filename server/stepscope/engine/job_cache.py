"""What this process knows of jobs: as they were read, until it is told that they have changed.

A job is kept only from a reading that began after the last change that was told of it. So what is kept is as new as
what the process was told, which is at once over PostgreSQL, and within some milliseconds over SQLite.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from stepscope.core.jobs import Job
from stepscope.engine.signals import Signal

MOST_BYTES = 64 * 2**20
"""What is kept in all, about."""
JOB_BYTES = 1500
"""What a job takes, without what its submitter and its worker told."""

Read = Callable[[str], Awaitable[Job | None]]


class JobCache:
    """Jobs by id, and who waits for changes of them."""

    def __init__(self, read: Read, now: Callable[[], datetime]) -> None:
        self._read = read
        self._now = now
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._bytes = 0
        self._reads: dict[str, asyncio.Task[Job | None]] = {}
        self._adding: dict[str, object] = {}
        self._listeners: dict[str, set[Signal]] = {}
        self._enders: dict[str, set[Signal]] = {}
        self._told = False

    async def get(self, job_id: str) -> Job | None:
        """Return a job as it is now, or None. Raises `StoreUnavailable`."""
        job = self._jobs.get(job_id)
        if job is not None and (job.ended_at is None or self._now() < job.due_at):
            self._jobs.move_to_end(job_id)
            return job
        task = self._reads.get(job_id)
        if task is None:
            task = self._reads[job_id] = asyncio.create_task(self._read_anew(job_id))
            task.add_done_callback(_seen)
        return await asyncio.shield(task)

    def trust(self) -> None:
        """Keep what is read from now on: changes are told."""
        self._told = True
        self._forget_all()

    def distrust(self) -> None:
        """Keep nothing: changes aren't told any more."""
        self._told = False
        self._forget_all()

    def change(self, job_ids: Iterable[str], *, may_end: bool = True) -> None:
        """Take note that jobs have changed; by what may have ended them, or not."""
        for job_id in job_ids:
            self._outdate(job_id)
            self._drop(job_id)
            self._wake(job_id, may_end=may_end)

    def end(self, job: Job) -> None:
        """Take note of a job as it is for good."""
        self._outdate(job.id)
        self._keep(job)
        self._wake(job.id)

    @contextmanager
    def adding(self, job_id: str) -> Iterator[Callable[[Job], None]]:
        """Lend a function that keeps a job as it was added, unless it has changed since."""
        mark = self._adding[job_id] = object()

        def keep(job: Job) -> None:
            if job.id == job_id and self._adding.get(job_id) is mark:
                self._keep(job)

        try:
            yield keep
        finally:
            if self._adding.get(job_id) is mark:
                del self._adding[job_id]

    def wake_all(self) -> None:
        """Let all who wait for changes look again."""
        for job_id in {*self._listeners, *self._enders}:
            self._wake(job_id)

    @contextmanager
    def listening(self, job_id: str, *, for_end: bool = False) -> Iterator[Signal]:
        """Lend an event that is set whenever a job has changed; or only when it may have ended."""
        listeners = self._enders if for_end else self._listeners
        event = Signal()
        listeners.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            listeners[job_id].discard(event)
            if not listeners[job_id]:
                del listeners[job_id]

    async def _read_anew(self, job_id: str) -> Job | None:
        try:
            job = await self._read(job_id)
            # What has changed meanwhile isn't kept: its reading was forgotten then.
            if job is not None and self._reads.get(job_id) is asyncio.current_task():
                self._keep(job)
            return job
        finally:
            if self._reads.get(job_id) is asyncio.current_task():
                del self._reads[job_id]

    def _outdate(self, job_id: str) -> None:
        self._reads.pop(job_id, None)
        self._adding.pop(job_id, None)

    def _wake(self, job_id: str, *, may_end: bool = True) -> None:
        for event in self._listeners.get(job_id, ()):
            event.set()
        if may_end:
            for event in self._enders.get(job_id, ()):
                event.set()

    def _keep(self, job: Job) -> None:
        self._drop(job.id)
        if not self._told:
            return
        self._jobs[job.id] = job
        self._bytes += _size(job)
        while self._bytes > MOST_BYTES:
            _, oldest = self._jobs.popitem(last=False)
            self._bytes -= _size(oldest)

    def _drop(self, job_id: str) -> None:
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._bytes -= _size(job)

    def _forget_all(self) -> None:
        self._jobs.clear()
        self._reads.clear()
        self._adding.clear()
        self._bytes = 0


def _size(job: Job) -> int:
    return JOB_BYTES + len(job.note) + len(job.progress) + len(job.error)


def _seen(task: "asyncio.Task[Job | None]") -> None:
    if not task.cancelled():
        task.exception()  # those who waited for it may all be gone
