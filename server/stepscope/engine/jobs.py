"""Jobs as the dialects see them: submit, watch and end them, and hand them to workers, over any `JobStore`.

Who waits here is woken by what changes; nobody asks the store again and again.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from stepscope.core.errors import StepscopeError
from stepscope.core.jobs import Claim, Ending, Job, JobEvent, JobState, NewJob, Report, Standing, Worker
from stepscope.core.ports import JobStore

log = logging.getLogger("stepscope.jobs")

SWEEP_S = 1.0
"""How often the time is told to the jobs."""


class Jobs:
    """The one door to jobs. Every call raises `StoreUnavailable` when the store is away."""

    def __init__(self, store: JobStore, now: Callable[[], datetime] | None = None) -> None:
        self._store = store
        self._now = now or _utc_now
        self._changed: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._queued: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self.lapsed: Callable[[Job], Awaitable[None]] | None = None
        """Is called with each job that the time has ended."""

    async def start(self) -> None:
        """Begin to look after the jobs' time."""
        self._task = asyncio.create_task(self._sweep_on())

    async def stop(self) -> None:
        """Leave the jobs to others."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    # --- for who wants something done ------------------------------------------------------------

    async def submit(self, new: NewJob) -> Job:
        """Queue a job for good; return the one of the same owner and key, if there is one. Raises `JobQueueFull`."""
        job = await self._store.add_job(new)
        self._tell(job)
        return job

    async def get(self, job_id: str) -> Job | None:
        """Return a job as it is now, or None."""
        return await self._store.get_job(job_id)

    async def result(self, job_id: str) -> bytes | None:
        """Return the result of a job that is done, as often as it is asked for."""
        return await self._store.get_result(job_id)

    async def list(
        self, owner: str, state: JobState | None = None, count: int = 100, before: str | None = None
    ) -> Sequence[Job]:
        """Return an owner's jobs, the newest first, from the one after `before` on."""
        return await self._store.list_jobs(owner, state, count, before)

    async def ended(self, job_id: str, timeout_s: float | None = None) -> Job | None:
        """Wait until a job has ended and return it; as it is after `timeout_s`; None when there is no such job."""
        job = None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                async for job in self.watch(job_id):
                    pass
        return job

    async def watch(self, job_id: str) -> AsyncGenerator[Job, None]:
        """Yield a job as it is, and again whenever it has changed, until it has ended or is forgotten."""
        with _listening(self._changed, job_id) as changed:
            while True:
                changed.clear()
                job = await self._store.get_job(job_id)
                if job is None:
                    return
                yield job
                if job.state.is_final:
                    return
                await changed.wait()

    async def standing(self, job: Job) -> Standing:
        """Return where a job stands in its queue."""
        [place] = await self._store.places(job.kind, [job.id])
        online = await self.workers(job.kind)
        means = [worker.mean_s for worker in online if worker.mean_s is not None]
        return Standing(place=place, estimate_s=_estimate_s(job, place, means, self._now()), workers_online=len(online))

    async def waiting(self, kind: str) -> int:
        """Return how many jobs wait in a queue."""
        return await self._store.count_waiting(kind)

    async def cancel(self, job_id: str) -> Job | None:
        """End a job that nobody wants any more; return it as it is then, None when there is no such job."""
        return await self._end(job_id, Ending(event=JobEvent.CANCEL, at=self._now()))

    # --- for workers -----------------------------------------------------------------------------

    async def claim(self, kind: str, worker: str, count: int, wait_s: float) -> Sequence[tuple[Job, bytes]]:
        """Take up to `count` jobs of one group, with their payloads; none when none came within `wait_s`."""
        with _listening(self._queued, kind) as queued, suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while True:
                    queued.clear()
                    wish = Claim(kind=kind, worker=worker, count=count, now=self._now())
                    claimed = await self._store.claim_jobs(wish)
                    if claimed:
                        for job, _ in claimed:
                            self._tell(job)
                        return claimed
                    await queued.wait()
        return []

    async def release(self, job_id: str, worker: str) -> None:
        """Put back a job that the worker never got, as if it hadn't been claimed."""
        job = await self._store.release_job(job_id, worker)
        if job is not None:
            self._tell(job)

    async def report(self, reports: Sequence[Report]) -> Sequence[Job | None]:
        """Note signs of life; return the jobs as they are. One that isn't the worker's, or is over, stays as it is."""
        jobs = await self._store.report_jobs(reports)
        for job in jobs:
            if job is not None:
                self._tell(job)
        return jobs

    async def finish(self, job_id: str, worker: str, result: bytes) -> Job | None:
        """End a job with its result, unless it is over; return it as it is then, None when there is no such job."""
        return await self._end(job_id, Ending(event=JobEvent.FINISH, at=self._now(), worker=worker, result=result))

    async def fail(self, job_id: str, worker: str, error: str) -> Job | None:
        """End a job that its worker can't do; return it as it is then, None when there is no such job."""
        return await self._end(job_id, Ending(event=JobEvent.FAIL, at=self._now(), worker=worker, error=error))

    async def see(self, worker: Worker) -> None:
        """Note that a worker is there."""
        await self._store.put_worker(worker)

    async def workers(self, kind: str) -> Sequence[Worker]:
        """Return the workers of a queue that are online."""
        now = self._now()
        known = await self._store.list_workers(kind)
        return [each for each in known if (now - each.seen_at).total_seconds() < each.offline_after_s]

    async def _end(self, job_id: str, ending: Ending) -> Job | None:
        job = await self._store.end_job(job_id, ending)
        if job is not None:
            self._tell(job)
        return job

    def _tell(self, job: Job) -> None:
        for event in self._changed.get(job.id, ()):
            event.set()
        if job.state is JobState.QUEUED:
            for event in self._queued.get(job.kind, ()):
                event.set()

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                for job in await self._store.sweep_jobs(self._now()):
                    self._tell(job)
                    if job.state.is_final and self.lapsed is not None:
                        await self.lapsed(job)
            except StepscopeError as fault:
                log.warning("jobs can't be looked after: %s", fault)


@contextmanager
def _listening(listeners: dict[str, set[asyncio.Event]], name: str) -> Iterator[asyncio.Event]:
    event = asyncio.Event()
    listeners[name].add(event)
    try:
        yield event
    finally:
        listeners[name].discard(event)
        if not listeners[name]:
            del listeners[name]


def _estimate_s(job: Job, place: int, means: Sequence[float], now: datetime) -> float | None:
    if not means or job.state.is_final:
        return None
    mean_s = sum(means) / len(means)
    if job.state is JobState.QUEUED:
        return mean_s * (place + 1) / len(means)
    assert job.claimed_at is not None
    return max(0.0, mean_s - (now - job.claimed_at).total_seconds())


def _utc_now() -> datetime:
    return datetime.now(UTC)
