"""Runs of one kind of jobs: bounded, kept alive, given up when they are lost, put back when the server stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepscope.core.errors import InputEmpty, ShuttingDown, StoreUnavailable
from stepscope.core.jobs import Claim, Job, JobState, NewJob
from stepscope.engine import runner as module
from stepscope.engine.jobs import JobLimits, Jobs
from stepscope.engine.runner import Runner
from stepscope.store.memory_jobs import MemoryJobs

SOON_S = 20.0
"""Far beyond what anything here takes."""


class Away(MemoryJobs):
    """A store that can be away for those who end jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    async def end_job(self, *arguments: Any) -> Job | None:
        if self.away:
            raise StoreUnavailable
        return await super().end_job(*arguments)


class Faulty(MemoryJobs):
    """A store in which every kind of call goes wrong once, as nobody expects."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: set[str] = set()

    def _fail_once(self, what: str) -> None:
        if what not in self.failed:
            self.failed.add(what)
            raise RuntimeError(what)

    async def claim_jobs(self, *arguments: Any) -> Any:
        self._fail_once("claim")
        return await super().claim_jobs(*arguments)

    async def report_jobs(self, *arguments: Any) -> Any:
        self._fail_once("report")
        return await super().report_jobs(*arguments)

    async def get_job(self, *arguments: Any) -> Job | None:
        self._fail_once("get")
        return await super().get_job(*arguments)

    async def put_worker(self, *arguments: Any) -> None:
        self._fail_once("see")
        await super().put_worker(*arguments)


class Work:
    """Work that waits to be let go, and counts itself."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.began: asyncio.Queue[str] = asyncio.Queue()
        self.at_once = 0
        self.most = 0
        self.cancelled: list[str] = []
        self.fault: Exception | None = None

    async def __call__(self, job: Job, payload: bytes, tell: Callable[[float, bytes], None]) -> bytes:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.began.put_nowait(job.id)
        tell(50.0, b"half")
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(job.id)
            raise
        finally:
            self.at_once -= 1
        if self.fault is not None:
            raise self.fault
        return b"done " + payload


@pytest.fixture
def store() -> Away:
    return Away()


@pytest.fixture
async def jobs(store) -> AsyncIterator[Jobs]:
    jobs = Jobs(store, limits=JobLimits(result_bytes=100))
    await jobs.start()
    async with asyncio.timeout(60):
        yield jobs
    await jobs.stop()


@pytest.fixture
def work() -> Work:
    return Work()


@contextlib.asynccontextmanager
async def running(jobs: Jobs, work: Work, **more: Any) -> AsyncIterator[Runner]:
    runner = Runner(jobs, "k", work, **({"at_once": 2} | more))
    runner.start()
    try:
        yield runner
    finally:
        await runner.stop()


async def submitted(jobs: Jobs, *names: str, **more: Any) -> None:
    now = datetime.now(UTC)
    given: dict[str, Any] = {"owner": "ada", "kind": "k", "expires_at": now + timedelta(hours=1)} | more
    for name in names:
        await jobs.submit(NewJob(id=name, payload=name.encode(), created_at=now, **given))


async def ended(jobs: Jobs, name: str) -> Job:
    job = await jobs.ended(name, SOON_S)
    assert job is not None
    assert job.state.is_final
    return job


async def until(jobs: Jobs, name: str, is_so: Callable[[Job], bool]) -> Job:
    async with asyncio.timeout(SOON_S), contextlib.aclosing(jobs.watch(name)) as states:
        async for job in states:
            if is_so(job):
                return job
    raise AssertionError("it never was")


def lease_s(job: Job) -> float:
    return job.lease_until.timestamp() if job.lease_until is not None else 0.0


async def test_jobs_run_and_their_results_are_kept(jobs, work):
    work.go.set()
    await submitted(jobs, "a", "b", "c")
    async with running(jobs, work):
        for name in ("a", "b", "c"):
            assert (await ended(jobs, name)).state is JobState.DONE
            assert await jobs.result(name) == b"done " + name.encode()


async def test_no_more_run_at_once_than_may(jobs, work):
    await submitted(jobs, *"abcdef")
    async with running(jobs, work, at_once=2):
        await work.began.get()
        await work.began.get()
        assert work.began.empty()
        assert await jobs.waiting("k") == 4
        work.go.set()
        for name in "abcdef":
            await ended(jobs, name)
    assert work.most == 2


async def test_what_is_told_is_written_while_it_runs(jobs, work):
    await submitted(jobs, "a")
    async with running(jobs, work):
        job = await until(jobs, "a", lambda job: job.percent == 50)
        assert (job.progress, job.state) == (b"half", JobState.PROCESSING)


async def test_a_long_job_keeps_its_lease(jobs, work):
    await submitted(jobs, "a", lease_s=0.6)
    async with running(jobs, work):
        first = await until(jobs, "a", lambda job: job.percent == 50)
        later = await until(jobs, "a", lambda job: lease_s(job) > lease_s(first) + 1)
        assert (later.attempts, later.state) == (1, JobState.PROCESSING)


async def test_work_that_was_cancelled_ends_at_once(jobs, work):
    await submitted(jobs, "a", "b")
    async with running(jobs, work, at_once=1):
        await work.began.get()
        await jobs.cancel("a")
        assert await asyncio.wait_for(work.began.get(), SOON_S) == "b"
        assert work.cancelled == ["a"]
    assert (await ended(jobs, "a")).state is JobState.CANCELLED


async def test_a_stop_puts_back_what_runs_as_if_it_hadnt_begun(jobs, work):
    await submitted(jobs, "a", "b", "c")
    async with running(jobs, work):
        await work.began.get()
        await work.began.get()
    for name in ("a", "b", "c"):
        job = await jobs.get(name)
        assert job is not None
        assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert sorted(work.cancelled) == ["a", "b"]


async def test_work_that_the_stop_refuses_goes_back_and_nothing_more_is_taken(jobs, work):
    work.fault = ShuttingDown()
    work.go.set()
    await submitted(jobs, "a", "b")
    async with running(jobs, work, at_once=1):
        await work.began.get()
        job = await until(jobs, "a", lambda job: job.state is JobState.QUEUED)
        assert job.attempts == 0
        await asyncio.sleep(0)
    assert work.began.qsize() == 0


async def test_an_errors_text_is_why_it_failed(jobs, work):
    work.fault = InputEmpty()
    work.go.set()
    await submitted(jobs, "a")
    async with running(jobs, work):
        job = await ended(jobs, "a")
    assert (job.state, job.error) == (JobState.FAILED, "The input is empty.")


async def test_a_faults_text_stays_in_the_log(jobs, work, caplog):
    work.fault = ValueError("/a/secret/path")
    work.go.set()
    await submitted(jobs, "a")
    async with running(jobs, work):
        job = await ended(jobs, "a")
    assert job.state is JobState.FAILED
    assert "secret" not in job.error
    assert "secret" in caplog.text


async def test_a_result_that_is_too_large_fails_the_job(jobs, work):
    work.go.set()
    now = datetime.now(UTC)
    large = NewJob(
        id="a", owner="ada", kind="k", payload=b"x" * 100, created_at=now, expires_at=now + timedelta(hours=1)
    )
    await jobs.submit(large)
    async with running(jobs, work):
        job = await ended(jobs, "a")
    assert job.state is JobState.FAILED
    assert "100 bytes" in job.error


async def test_a_result_outlasts_the_stores_absence(jobs, work, store, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    await submitted(jobs, "a")
    async with running(jobs, work):
        await work.began.get()
        store.away = True
        work.go.set()
        await asyncio.sleep(0.05)
        job = await jobs.get("a")
        assert job is not None
        assert job.state is JobState.PROCESSING
        store.away = False
        assert (await ended(jobs, "a")).state is JobState.DONE


async def test_a_fault_that_nobody_expects_stops_no_runner(work, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    monkeypatch.setattr(module, "SHOW_S", 0.01)
    store = Faulty()
    jobs = Jobs(store)
    await jobs.start()
    await submitted(jobs, "a", lease_s=0.3)
    async with asyncio.timeout(SOON_S), running(jobs, work):
        await work.began.get()
        while len(store.failed) < 4:  # noqa: ASYNC110 - it is the store's, which has no event
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.5)  # longer than the lease, and long enough for a sweep
        work.go.set()
        job = await ended(jobs, "a")
        assert (job.state, job.attempts) == (JobState.DONE, 1)
        assert await jobs.workers("k")
    await jobs.stop()


async def test_work_that_somebody_else_has_by_now_is_given_up(jobs, work, store):
    await submitted(jobs, "a", lease_s=30)
    async with running(jobs, work, at_once=1):
        await work.began.get()
        later = datetime.now(UTC) + timedelta(seconds=3600 - 60)
        await store.sweep_jobs(later)  # its lease is over
        await store.claim_jobs(Claim(kind="k", worker="another", count=1, now=later))
        jobs._cache.wake_all()  # what another process's notification does
        async with asyncio.timeout(SOON_S):
            while not work.cancelled:  # noqa: ASYNC110 - it is cancelled, and can set nothing
                await asyncio.sleep(0.01)
        job = await jobs.get("a")
        assert job is not None
        assert (job.worker, job.state) == ("another", JobState.PROCESSING)


async def test_a_runner_is_seen_with_the_time_that_it_takes(jobs, work, monkeypatch):
    monkeypatch.setattr(module, "SHOW_S", 0.01)
    work.go.set()
    await submitted(jobs, "a")
    async with running(jobs, work, at_once=4):
        await ended(jobs, "a")
        async with asyncio.timeout(SOON_S):
            while not (seen := await jobs.workers("k")) or seen[0].mean_s is None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
    [worker] = seen
    assert worker.mean_s is not None
    assert 0 < worker.mean_s < SOON_S


async def test_what_shall_happen_before_an_end_happens_before_it(jobs, work):
    states: list[JobState] = []

    async def ending(job: Job) -> None:
        now = await jobs.get(job.id)
        assert now is not None
        states.append(now.state)

    work.go.set()
    await submitted(jobs, "a")
    async with running(jobs, work, ending=ending):
        await ended(jobs, "a")
    assert states == [JobState.PROCESSING]
