"""Jobs as the dialects see them: submit, watch and end them, and hand them to workers, over any `JobStore`.

Who waits here is woken by what changes, here or in another process; nobody asks the store again and again. What is
asked often is answered from memory (`job_cache`, `job_lines`, `job_workers`). A change that was begun is brought to its
end even when its caller goes away, so that what the store knows is always told here.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from stepscope.core.errors import JobTooLarge, StepscopeError, StoreUnavailable
from stepscope.core.jobs import Claim, Ending, Job, JobChanges, JobEvent, JobState, NewJob, Report, Standing, Worker
from stepscope.core.ports import JobStore
from stepscope.engine.job_cache import JobCache
from stepscope.engine.job_callers import Callers
from stepscope.engine.job_lines import Lines
from stepscope.engine.job_workers import Crew, Workers
from stepscope.engine.signals import Signal

log = logging.getLogger("stepscope.jobs")

SWEEP_S = 1.0
"""How often the time is told to the jobs."""
RETRY_S = 0.5
"""How often a store that is away is tried."""
COUNTED_S = 0.1
"""How long a queue's count is believed that other processes may change."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """What a job may hold."""

    payload_bytes: int = 100 * 2**20
    result_bytes: int = 100 * 2**20


class Jobs:
    """The one door to jobs. Every call raises `StoreUnavailable` when the store is away."""

    def __init__(
        self, store: JobStore, now: Callable[[], datetime] | None = None, limits: JobLimits | None = None
    ) -> None:
        self._store = store
        self._now = now or _utc_now
        self._limits = limits or JobLimits()
        self._cache = JobCache(store.get_job, self._now)
        self._callers = Callers()
        self._lines = Lines(store.places)
        self._workers = Workers(store)
        self._counts: dict[str, tuple[float, int]] = {}
        self._away = False
        self._watched = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._under_way: set[asyncio.Task[Any]] = set()
        self.lapsed: Callable[[Job], Awaitable[None]] | None = None
        """Is called with each job that the time is about to end."""

    async def start(self) -> None:
        """Begin to look after the jobs' time, and to hear what other processes do. Raises `SettingsInvalid`."""
        await self._store.start()
        self._tasks = [asyncio.create_task(self._watch_on()), asyncio.create_task(self._sweep_on())]
        await self._watched.wait()

    async def stop(self) -> None:
        """Bring to an end what was begun, and leave the jobs to others."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        while self._under_way:
            await asyncio.gather(*self._under_way, return_exceptions=True)
        with suppress(StoreUnavailable):
            await self._workers.write(self._now())
        await self._store.stop()

    # --- for who wants something done ------------------------------------------------------------

    async def submit(self, new: NewJob) -> Job:
        """Queue a job for good; return the one of the same owner and key, if there is one.

        Raises `JobQueueFull`, `JobTooLarge`.
        """
        if len(new.payload) > self._limits.payload_bytes:
            raise JobTooLarge("input", self._limits.payload_bytes)
        with self._cache.adding(new.id) as keep:
            job = await self._told(self._store.add_job(new), self._tell_added)
            keep(job)
            return job

    async def get(self, job_id: str) -> Job | None:
        """Return a job as it is now, or None."""
        return await self._cache.get(job_id)

    async def find(self, owner: str, key: str) -> Job | None:
        """Return the job to which its owner gave a key, or None."""
        return await self._store.find_job(owner, key)

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
        last = None
        try:
            async with asyncio.timeout(timeout_s), aclosing(self._states(job_id, for_end=True)) as states:
                async for job in states:
                    last = job
        except TimeoutError:
            return await self._cache.get(job_id)
        return last

    def watch(self, job_id: str) -> AsyncGenerator[Job, None]:
        """Yield a job as it is, and again whenever it has changed, until it has ended or is forgotten.

        Once it has begun it outlasts the store's being away. Close it (`contextlib.aclosing`) when leaving early.
        """
        return self._states(job_id)

    async def _states(self, job_id: str, *, for_end: bool = False) -> AsyncGenerator[Job, None]:
        last = None
        with self._cache.listening(job_id, for_end=for_end) as changed:
            while True:
                changed.clear()
                try:
                    job = await self._cache.get(job_id)
                except StoreUnavailable:
                    if last is None:
                        raise
                    await _soon(changed)
                    continue
                if job is None:
                    return
                if job != last:
                    yield job
                if job.state.is_final:
                    return
                last = job
                await changed.wait()

    async def standing(self, job: Job) -> Standing:
        """Return where a job stands in its queue."""
        place = await self._lines.place(job.kind, job.id) if job.state is JobState.QUEUED else 0
        now = self._now()
        crew = await self._workers.crew(job.kind, now)
        return Standing(place=place, estimate_s=_estimate_s(job, place, crew, now), workers_online=crew.online)

    async def waiting(self, kind: str) -> int:
        """Return how many jobs wait in a queue."""
        now_s = asyncio.get_running_loop().time()
        counted_s, count = self._counts.get(kind, (-COUNTED_S, 0))
        if now_s - counted_s >= COUNTED_S:
            count = await self._store.count_waiting(kind)
            self._counts[kind] = now_s, count
        return count

    async def cancel(self, job_id: str) -> Job | None:
        """End a job that nobody wants any more; return it as it is then, None when there is no such job."""
        return await self._end(job_id, Ending(event=JobEvent.CANCEL, at=self._now()))

    # --- for workers -----------------------------------------------------------------------------

    async def claim(self, kind: str, worker: str, count: int, wait_s: float) -> Sequence[tuple[Job, bytes]]:
        """Take up to `count` jobs of one group, with their payloads; none when none came within `wait_s`."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        is_first = True
        with self._callers.waiting(kind) as called:
            while True:
                called.clear()
                try:
                    if claimed := await self._claim_now(kind, worker, count):
                        return claimed
                except StoreUnavailable:
                    if is_first:
                        raise
                is_first = False
                try:
                    async with asyncio.timeout_at(until_s):
                        await called.wait()
                except TimeoutError:
                    return []

    async def held(self, kind: str) -> Sequence[Job]:
        """Return the jobs of a queue that workers hold. Looks at the whole queue."""
        return await self._store.held_jobs(kind)

    async def release(self, job_id: str, worker: str) -> None:
        """Put back a job that the worker never got, as if it hadn't been claimed."""
        await self._told(self._store.release_job(job_id, worker), self._tell)

    async def report(self, reports: Sequence[Report]) -> Sequence[Job | None]:
        """Note signs of life; return the jobs as they are. One that isn't the worker's, or is over, stays as it is."""
        return await self._told(self._store.report_jobs(reports), self._tell_all)

    async def finish(self, job_id: str, worker: str, result: bytes) -> Job | None:
        """End a job with its result, unless it is over; return it as it is then, None when there is no such job.

        Raises `JobTooLarge`.
        """
        if len(result) > self._limits.result_bytes:
            raise JobTooLarge("result", self._limits.result_bytes)
        return await self._end(job_id, Ending(event=JobEvent.FINISH, at=self._now(), worker=worker, result=result))

    async def fail(self, job_id: str, worker: str, error: str) -> Job | None:
        """End a job that its worker can't do; return it as it is then, None when there is no such job."""
        ending = Ending(event=JobEvent.FAIL, at=self._now(), worker=worker, error=_kept(error))
        return await self._end(job_id, ending)

    async def see(self, worker: Worker) -> None:
        """Note that a worker is there."""
        await self._workers.see(worker)

    async def workers(self, kind: str) -> Sequence[Worker]:
        """Return the workers of a queue that are online."""
        return await self._workers.online(kind, self._now())

    # --- what changes ----------------------------------------------------------------------------

    async def _end(self, job_id: str, ending: Ending) -> Job | None:
        return await self._told(self._store.end_job(job_id, ending), self._tell)

    async def _claim_now(self, kind: str, worker: str, count: int) -> Sequence[tuple[Job, bytes]]:
        wish = Claim(kind=kind, worker=worker, count=count, now=self._now())
        task = self._begin(self._store.claim_jobs(wish), lambda claimed: self._tell_all([job for job, _ in claimed]))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: self._give_back(done, worker))
            raise

    def _give_back(self, task: "asyncio.Task[Sequence[tuple[Job, bytes]]]", worker: str) -> None:
        """Release what was claimed for a worker that has gone meanwhile."""
        if not task.cancelled() and task.exception() is None:
            for job, _ in task.result():
                self._begin(self._store.release_job(job.id, worker), self._tell)

    async def _told(self, doing: Coroutine[Any, Any, T], tell: Callable[[T], None]) -> T:
        """Do something in the store and tell what came of it, whether or not the caller waits for it."""
        return await asyncio.shield(self._begin(doing, tell))

    def _begin(self, doing: Coroutine[Any, Any, T], tell: Callable[[T], None]) -> "asyncio.Task[T]":
        async def do() -> T:
            done = await doing
            tell(done)
            return done

        task = asyncio.create_task(do())
        self._under_way.add(task)
        task.add_done_callback(self._is_over)
        return task

    def _is_over(self, task: "asyncio.Task[Any]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone

    def _tell_all(self, jobs: Sequence[Job | None]) -> None:
        for job in jobs:
            self._tell(job)

    def _tell(self, job: Job | None) -> None:
        if job is None:
            return
        self._counts.pop(job.kind, None)
        if job.state.is_final:
            self._cache.end(job)
        else:
            self._cache.change([job.id], may_end=False)
        if job.state is JobState.QUEUED:
            self._callers.wake(job.kind, 1)

    def _tell_added(self, job: Job) -> None:
        """Tell of a job that was added now, or before; nobody knows another state of a new one."""
        self._counts.pop(job.kind, None)
        if job.state is JobState.QUEUED:
            self._callers.wake(job.kind, 1)

    async def _watch_on(self) -> None:
        """Hear what other processes do, for as long as it is told, and again when it is told again."""
        while True:
            try:
                async with aclosing(self._store.changes()) as changes:
                    async for change in changes:
                        self._take(change)
                self._cache.distrust()
            except StoreUnavailable as fault:
                self._lose(fault)
            except Exception as fault:
                log.exception("jobs can't be watched")
                self._lose(fault)
            await asyncio.sleep(RETRY_S)

    def _take(self, change: JobChanges | None) -> None:
        if change is None:
            if self._away:
                log.warning("the jobs' store answers again")
            self._away = False
            self._counts.clear()
            self._cache.trust()
            self._cache.wake_all()
            self._callers.wake_all()
            self._watched.set()
            return
        self._cache.change(change.job_ids)
        for kind, count in change.queued.items():
            self._callers.wake(kind, count)

    def _lose(self, fault: Exception) -> None:
        if not self._away:
            log.warning("the jobs' store doesn't answer: %s", fault.__cause__ or fault)
        self._away = True
        self._cache.distrust()

    async def _before_end(self, job: Job) -> None:
        """Tell of a job that will end. While that can't be written, it doesn't end."""
        try:
            if self.lapsed is not None:
                await self.lapsed(job)
        except StoreUnavailable:
            raise
        except Exception:
            log.exception("nobody can be told of the end of job %s", job.id)

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S * random.uniform(0.8, 1.2))  # noqa: S311 - so that processes take turns
            try:
                self._tell_all(await self._store.sweep_jobs(self._now(), self._before_end))
                await self._workers.write(self._now())
            except StepscopeError as fault:
                log.debug("jobs can't be looked after: %s", fault)
            except Exception:
                log.exception("jobs can't be looked after")


async def _soon(changed: Signal) -> None:
    """Wait for a change, or until it is time to try again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RETRY_S):
            await changed.wait()


def _kept(text: str) -> str:
    """Return a text as every database takes it: PostgreSQL refuses NUL, and none can write half of a pair."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _estimate_s(job: Job, place: int, crew: Crew, now: datetime) -> float | None:
    if crew.mean_s is None or job.state.is_final:
        return None
    if job.state is JobState.QUEUED:
        return crew.mean_s * (place + 1) / crew.measured
    assert job.claimed_at is not None
    return max(0.0, crew.mean_s - (now - job.claimed_at).total_seconds())


def _utc_now() -> datetime:
    return datetime.now(UTC)
