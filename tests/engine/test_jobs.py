"""The door to jobs, over every store: who waits is woken, here and in another process, and nothing is left behind."""

import asyncio
import contextlib
import gc
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepscope.core.errors import JobQueueFull, JobTooLarge, StoreUnavailable
from stepscope.core.jobs import Job, JobState, NewJob, Report, Worker
from stepscope.core.ports import JobStore
from stepscope.engine.jobs import JobLimits, Jobs
from stepscope.store.memory_jobs import MemoryJobs
from stepscope.store.sql_jobs import SqlJobs

SOON_S = 20.0
"""Far beyond what waking takes on a busy machine; far below what a test may take."""
Open = Callable[[], Awaitable[Jobs]]


def new(job_id="a", **more):
    now = datetime.now(UTC)
    given: dict[str, Any] = {"owner": "ada", "kind": "echo", "payload": b"in", "expires_at": now + timedelta(hours=1)}
    return NewJob(id=job_id, created_at=now, **(given | more))


class Counted:
    """A store that counts its calls, and that can be away or slow."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.calls: dict[str, int] = {}
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    def __getattr__(self, name):
        def call(*arguments):
            self.calls[name] = self.calls.get(name, 0) + 1
            return self._call(name, *arguments)

        return call if name != "changes" else self.store.changes

    async def _call(self, name, *arguments):
        if self.away:
            raise StoreUnavailable
        done = await getattr(self.store, name)(*arguments)
        await self.gate.wait()
        return done


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def door(request, tmp_path) -> AsyncIterator[Open]:
    """Opens the jobs once more, as another process would; in memory there is only one."""
    opened: list[Jobs] = []
    url = f"sqlite:{tmp_path / 'store.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").new()

    async def start() -> Jobs:
        if request.param == "memory" and opened:
            return opened[0]
        jobs = Jobs(MemoryJobs() if request.param == "memory" else SqlJobs(url))
        await jobs.start()
        opened.append(jobs)
        return jobs

    async with asyncio.timeout(60):
        yield start
        for jobs in opened:
            await jobs.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def own_url(request, tmp_path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'store.sqlite'}"
    return str(request.getfixturevalue("postgresql").new())


@pytest.fixture
async def counted() -> AsyncIterator[tuple[Jobs, Counted]]:
    store = Counted(MemoryJobs())
    jobs = Jobs(store)
    await jobs.start()
    yield jobs, store
    await jobs.stop()


async def _takes(jobs: Jobs, new: NewJob) -> bool:
    try:
        await jobs.submit(new)
    except StoreUnavailable:
        return False
    return True


async def state_of(jobs: Jobs, job_id: str) -> JobState | None:
    job = await jobs.get(job_id)
    return None if job is None else job.state


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON_S):
        while not await condition():  # noqa: ASYNC110 - it is the store's, which has no event
            await asyncio.sleep(0.005)


async def asleep(task: "asyncio.Task") -> None:
    """Let a task come to where it waits."""
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not task.done()


async def test_a_job_goes_through_two_processes(door):
    here, there = await door(), await door()
    worker = asyncio.create_task(there.claim("echo", "w", 1, SOON_S))
    await asleep(worker)
    await here.submit(new())
    caller = asyncio.create_task(here.ended("a"))
    [(job, payload)] = await worker
    assert (job.id, job.worker, payload) == ("a", "w", b"in")
    await asleep(caller)
    await there.finish("a", "w", b"out")
    ended = await caller
    assert ended.state is JobState.DONE
    assert await here.result("a") == await there.result("a") == b"out"


async def test_every_change_in_another_process_is_seen(door):
    here, there = await door(), await door()
    await here.submit(new())
    seen: list[Job] = []

    async def follow() -> None:
        async with aclosing(here.watch("a")) as states:
            async for job in states:
                seen.append(job)  # noqa: PERF401 - it is looked at meanwhile

    follower = asyncio.create_task(follow())
    await until(lambda: _is(seen, JobState.QUEUED))
    await there.claim("echo", "w", 1, 0)
    await until(lambda: _is(seen, JobState.PROCESSING))
    await there.report([Report(job_id="a", worker="w", now=datetime.now(UTC), percent=50, progress=b"half")])
    await until(lambda: _told(seen, b"half"))
    assert (await here.get("a")).percent == 50
    await there.cancel("a")
    await follower
    assert [job.state for job in seen] == [
        JobState.QUEUED,
        JobState.PROCESSING,
        JobState.PROCESSING,
        JobState.CANCELLED,
    ]
    assert (await here.get("a")).state is JobState.CANCELLED


async def _is(seen: list[Job], state: JobState) -> bool:
    return bool(seen) and seen[-1].state is state


async def _told(seen: list[Job], progress: bytes) -> bool:
    return seen[-1].progress == progress


async def test_polls_are_answered_from_memory_and_are_as_new_as_what_was_told(door):
    here, there = await door(), await door()
    await here.submit(new())
    assert (await there.get("a")).state is JobState.QUEUED
    await here.claim("echo", "w", 1, 0)
    await until(lambda: _state_is(there, "a", JobState.PROCESSING))
    await here.finish("a", "w", b"")
    await until(lambda: _state_is(there, "a", JobState.DONE))


async def _state_is(jobs: Jobs, job_id: str, state: JobState) -> bool:
    job = await jobs.get(job_id)
    return job is not None and job.state is state


async def test_a_poll_costs_the_store_nothing(counted):
    jobs, store = counted
    await jobs.submit(new())
    for _ in range(100):
        job = await jobs.get("a")
        assert (await jobs.standing(job)).place == 1
    assert "get_job" not in store.calls
    assert store.calls["places"] <= 10
    assert store.calls["list_workers"] <= 10


async def test_as_many_workers_are_woken_as_there_are_jobs(counted):
    jobs, store = counted
    workers = [asyncio.create_task(jobs.claim("echo", f"w{number}", 1, SOON_S)) for number in range(10)]
    await asleep(workers[-1])
    before = store.calls["claim_jobs"]
    await jobs.submit(new("a"))
    await jobs.submit(new("b"))
    done, waiting = await asyncio.wait(workers, timeout=0.2)
    assert sorted(task.result()[0][0].id for task in done) == ["a", "b"]
    assert store.calls["claim_jobs"] == before + 2
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not jobs._callers._waiting


async def test_a_worker_that_leaves_as_it_is_woken_wakes_the_next(counted):
    jobs, _ = counted
    first, second = (asyncio.create_task(jobs.claim("echo", name, 1, SOON_S)) for name in ("first", "second"))
    await asleep(second)
    jobs._callers.wake("echo", 1)
    first.cancel()
    jobs._store.store._entries.clear()
    await jobs._store.store.add_job(new())  # of which nobody was told but the first
    [(job, _)] = await asyncio.wait_for(second, SOON_S)
    assert job.worker == "second"


async def test_a_claim_that_was_cancelled_keeps_no_job(counted):
    jobs, store = counted
    await jobs.submit(new())
    store.gate.clear()
    worker = asyncio.create_task(jobs.claim("echo", "w", 1, SOON_S))
    await asleep(worker)
    worker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await worker
    assert (await store.store.get_job("a")).state is JobState.PROCESSING
    store.gate.set()
    [(job, _)] = await jobs.claim("echo", "v", 1, SOON_S)
    assert (job.worker, job.attempts) == ("v", 1)


async def test_a_change_whose_caller_has_gone_is_told_all_the_same(counted):
    jobs, store = counted
    await jobs.submit(new())
    waiter = asyncio.create_task(jobs.ended("a"))
    await asleep(waiter)
    store.gate.clear()
    canceller = asyncio.create_task(jobs.cancel("a"))
    await asleep(canceller)
    canceller.cancel()
    store.gate.set()
    assert (await asyncio.wait_for(waiter, SOON_S)).state is JobState.CANCELLED


async def test_a_wait_outlasts_the_stores_being_away(counted):
    jobs, store = counted
    await jobs.submit(new())
    waiter = asyncio.create_task(jobs.ended("a"))
    worker = asyncio.create_task(jobs.claim("other", "w", 1, SOON_S))
    await asleep(waiter)
    store.away = True
    jobs._cache.distrust()
    jobs._cache.wake_all()
    jobs._callers.wake_all()
    await asleep(waiter)
    await asleep(worker)
    with pytest.raises(StoreUnavailable):
        await jobs.submit(new("b"))
    with pytest.raises(StoreUnavailable):
        await jobs.get("a")
    store.away = False
    await jobs.submit(new("c", kind="other"))
    await jobs.claim("echo", "w", 1, 0)
    await jobs.finish("a", "w", b"")
    assert (await asyncio.wait_for(waiter, SOON_S)).state is JobState.DONE
    assert len(await asyncio.wait_for(worker, SOON_S)) == 1


async def test_a_wait_has_an_end_and_leaves_nothing_behind(door):
    jobs = await door()
    await jobs.submit(new())
    assert (await jobs.ended("a", 0.05)).state is JobState.QUEUED
    assert await jobs.ended("unknown", 0.05) is None
    assert not await jobs.claim("other", "w", 1, 0.05)
    assert not jobs._cache._listeners
    assert not jobs._callers._waiting
    gc.collect()  # an unclosed generator would tell now


async def test_time_is_told_to_jobs_without_anybody_asking(door):
    jobs = await door()
    lapsing = new("a", expires_at=datetime.now(UTC) + timedelta(seconds=0.5))
    await jobs.submit(lapsing)
    await jobs.submit(new("b", kind="lost", lease_s=0.3, max_attempts=1))
    await jobs.claim("lost", "w", 1, 0)
    assert (await jobs.ended("a", SOON_S)).state is JobState.LAPSED
    failed = await jobs.ended("b", SOON_S)
    assert failed.state is JobState.FAILED
    assert failed.error.endswith("1")


async def test_a_lost_job_goes_to_a_worker_that_waits_in_another_process(door):
    here, there = await door(), await door()
    await here.submit(new(lease_s=0.3))
    await here.claim("echo", "lost", 1, 0)
    [(job, _)] = await there.claim("echo", "w", 1, SOON_S)
    assert (job.id, job.attempts) == ("a", 2)


async def test_standing_and_counts(door):
    jobs = await door()
    for job_id in "abc":
        await jobs.submit(new(job_id))
    assert await jobs.waiting("echo") == 3
    standings = [await jobs.standing(await jobs.get(job_id)) for job_id in "abc"]
    assert [standing.place for standing in standings] == [1, 2, 3]
    assert standings[0].workers_online == 0
    assert standings[0].estimate_s is None
    await jobs.claim("echo", "w", 1, 0)
    assert await jobs.waiting("echo") == 2
    assert (await jobs.standing(await jobs.get("a"))).place == 0
    await asyncio.sleep(1.1)  # a place may be so old
    assert [(await jobs.standing(await jobs.get(job_id))).place for job_id in "bc"] == [1, 2]


async def test_workers_are_known_to_other_processes(door):
    here, there = await door(), await door()
    worker = Worker(name="w", kind="echo", seen_at=datetime.now(UTC), offline_after_s=60, mean_s=2.0)
    await here.see(worker)
    assert list(await there.workers("echo")) == [worker]
    later = replace(worker, seen_at=worker.seen_at + timedelta(seconds=5), mean_s=4.0)
    await here.see(later)
    assert list(await here.workers("echo")) == [later]

    async def is_seen_there() -> bool:
        return list(await there.workers("echo")) == [later]

    await until(is_seen_there)
    gone = replace(worker, name="gone", seen_at=worker.seen_at - timedelta(seconds=99))
    await here.see(gone)
    assert [each.name for each in await here.workers("echo")] == ["w"]


async def test_limits(door):
    jobs = await door()
    await jobs.submit(new(max_waiting=1))
    with pytest.raises(JobQueueFull):
        await jobs.submit(new("b", max_waiting=1))
    small = Jobs(MemoryJobs(), limits=JobLimits(payload_bytes=3, result_bytes=4))
    with pytest.raises(JobTooLarge, match="input is larger than 3 bytes"):
        await small.submit(new(payload=b"1234"))
    await small.submit(new(payload=b"123"))
    with pytest.raises(JobTooLarge, match="result is larger than 4 bytes"):
        await small.finish("a", "w", b"12345")


async def test_a_reason_that_no_database_takes_is_told_all_the_same(door):
    jobs = await door()
    for job_id, reason in (("a", "no\0thing"), ("b", "half\ud800")):
        await jobs.submit(new(job_id))
        await jobs.claim("echo", "w", 1, 0)
        job = await jobs.fail(job_id, "w", reason)
        assert job is not None
        assert (job.state, job.error) == (
            JobState.FAILED,
            reason.replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\ud800", "?"),
        )
        assert await jobs.get(job_id) == job


async def test_a_database_that_goes_away_and_comes_back(own_postgresql):
    here, there = Jobs(SqlJobs(url := own_postgresql.new())), Jobs(SqlJobs(url))
    await here.start()
    await there.start()
    await here.submit(new())
    waiter = asyncio.create_task(here.ended("a"))
    worker = asyncio.create_task(there.claim("later", "w", 1, 60))
    await asleep(waiter)
    await asyncio.to_thread(own_postgresql.stop)
    with pytest.raises(StoreUnavailable):
        await here.submit(new("b"))
    with pytest.raises(StoreUnavailable):
        await there.get("unknown")
    with pytest.raises(StoreUnavailable):
        await there.claim("echo", "w", 1, 0)
    assert not waiter.done()
    await asyncio.to_thread(own_postgresql.start)
    await until(lambda: _takes(here, new("c", kind="later")))
    [(job, _)] = await asyncio.wait_for(worker, SOON_S)
    assert job.id == "c"
    [(job, _)] = await there.claim("echo", "w", 1, SOON_S)
    await there.finish(job.id, "w", b"out")
    ended = await asyncio.wait_for(waiter, SOON_S)
    assert ended is not None
    assert ended.state is JobState.DONE
    await here.stop()
    await there.stop()


@pytest.mark.parametrize("ahead_s", [-3600, 3600])
async def test_a_server_whose_clock_is_wrong_takes_no_job_from_others(postgresql, monkeypatch, ahead_s):
    def wrong():
        return datetime.now(UTC) + timedelta(seconds=ahead_s)

    url = postgresql.new()
    right, wrong_one = Jobs(SqlJobs(url)), Jobs(SqlJobs(url), wrong)
    with monkeypatch.context() as patch:
        patch.setattr("stepscope.store.links.utc_now", wrong)
        await wrong_one.start()
        await wrong_one.see(Worker(name="w", kind="echo", seen_at=wrong(), offline_after_s=30))
        await wrong_one.workers("echo")  # it has looked at the clocks for reading and for writing
    await right.start()
    for job_id in "ab":
        await right.submit(new(job_id, lease_s=5, expires_at=datetime.now(UTC) + timedelta(seconds=1800)))
    [(job, _)] = await right.claim("echo", "here", 1, 0)
    [(other, _)] = await wrong_one.claim("echo", "there", 1, SOON_S)
    await asyncio.sleep(2.5)  # both have swept
    for job_id in (job.id, other.id):
        now = await right.get(job_id)
        assert now is not None
        assert (now.state, now.attempts) == (JobState.PROCESSING, 1)
    assert [worker.name for worker in await right.workers("echo")] == ["w"]
    done = await wrong_one.finish(other.id, "there", b"")
    assert done is not None
    assert done.ended_at is not None
    assert abs((done.ended_at - datetime.now(UTC)).total_seconds()) < 60
    await right.stop()
    await wrong_one.stop()


async def test_a_database_that_was_started_again_between_two_requests(own_postgresql):
    jobs = Jobs(SqlJobs(own_postgresql.new()))
    await jobs.start()
    await jobs.submit(new("a"))
    await asyncio.to_thread(own_postgresql.stop)
    await asyncio.to_thread(own_postgresql.start)
    await jobs.submit(new("b"))
    assert [job.id for job in await jobs.list("ada")] == ["b", "a"]
    await jobs.stop()


async def test_what_is_done_after_its_caller_gave_up_is_seen_all_the_same(own_url, monkeypatch):
    store = SqlJobs(own_url)
    jobs = Jobs(store)
    await jobs.start()
    for job_id in "ab":
        await jobs.submit(new(job_id))
    waiter = asyncio.create_task(jobs.ended("a", SOON_S))
    assert await state_of(jobs, "a") is JobState.QUEUED
    with monkeypatch.context() as patch:
        perform = store.writer._perform

        def perform_slowly(*given: Any) -> Any:
            done = perform(*given)
            time.sleep(1)
            return done

        patch.setattr("stepscope.store.desks.ANSWER_S", 0.2)
        patch.setattr(store.writer, "_perform", perform_slowly)
        with pytest.raises(StoreUnavailable):
            await jobs.cancel("a")
        await asyncio.sleep(1.5)
        with pytest.raises(StoreUnavailable):
            await jobs.claim("echo", "gone", 1, 0)
    ended = await waiter
    assert ended is not None
    assert ended.state is await state_of(jobs, "a") is JobState.CANCELLED
    [(job, _)] = await jobs.claim("echo", "w", 1, SOON_S)
    assert (job.id, job.attempts) == ("b", 1)
    await jobs.stop()


async def test_a_claim_whose_payload_cant_be_read_now_costs_no_attempt(tmp_path):
    jobs = Jobs(SqlJobs(f"sqlite:{tmp_path / 'store.sqlite'}", tmp_path / "files"))
    await jobs.start()
    await jobs.submit(new(payload=b"x" * 100_000))
    [path] = (tmp_path / "files").iterdir()
    path.rename(tmp_path / "kept")
    path.mkdir()  # nobody can read it as a file
    with pytest.raises(StoreUnavailable):
        await jobs.claim("echo", "w", 1, 0)
    path.rmdir()
    (tmp_path / "kept").rename(path)
    [(job, payload)] = await jobs.claim("echo", "w", 1, SOON_S)
    assert (job.attempts, len(payload)) == (1, 100_000)
    await jobs.stop()


async def test_a_file_that_another_process_holds_for_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr("stepscope.store.links.BUSY_S", 0.1)
    url = f"sqlite:{tmp_path / 'store.sqlite'}"
    jobs = Jobs(SqlJobs(url))
    await jobs.start()
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await jobs.submit(new())
        assert await jobs.get("a") is None  # reading goes on
        other.execute("ROLLBACK")
    await jobs.submit(new())
    await jobs.stop()
