"""What every store does alike with jobs: nothing is lost, nothing is done twice in sight, and owners take turns."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from stepscope.core.jobs import LOST, Claim, Ending, JobEvent, JobState, NewJob
from stepscope.store.database import Database
from stepscope.store.memory_jobs import MemoryJobs
from stepscope.store.migration import migrate
from stepscope.store.sql_jobs import SqlJobs

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE_S, KEPT = 10, timedelta(seconds=1000)


def seconds(count):
    return NOW + timedelta(seconds=count)


def new(job_id, owner="ada", kind="echo", life_s=100, payload=b"\x00in", **more):
    return NewJob(
        id=job_id, owner=owner, kind=kind, payload=payload, created_at=NOW, expires_at=seconds(life_s), **more
    )


def claim(worker="w", count=1, at_s=0, kind="echo"):
    return Claim(kind=kind, worker=worker, count=count, now=seconds(at_s), until=seconds(at_s + LEASE_S))


def ending(event=JobEvent.FINISH, worker="w", result=b"out", at_s=5, error=""):
    return Ending(
        event=event, at=seconds(at_s), forget_at=seconds(at_s) + KEPT, worker=worker, result=result, error=error
    )


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def jobs(request, tmp_path):
    if request.param == "memory":
        yield MemoryJobs()
        return
    sqlite = request.param == "sqlite"
    opened = Database(f"sqlite:{tmp_path}/store" if sqlite else request.getfixturevalue("postgresql").new())
    await migrate(opened)
    yield SqlJobs(opened)
    await opened.close()


async def claimed(jobs, **wish):
    return [job.id for job, _ in await jobs.claim_jobs(claim(**wish))]


async def test_a_job_is_queued_claimed_and_done(jobs):
    queued = await jobs.add_job(new("a", priority=2, max_attempts=5))
    assert (queued.state, queued.priority, queued.max_attempts) == (JobState.QUEUED, 2, 5)
    assert await jobs.get_job("a") == queued
    [(held, payload)] = await jobs.claim_jobs(claim())
    assert (held.state, held.worker, held.attempts, held.lease_until) == (JobState.PROCESSING, "w", 1, seconds(10))
    assert payload == b"\x00in"
    assert await claimed(jobs) == []
    done = await jobs.end_job("a", ending())
    assert (done.state, done.ended_at, done.lease_until) == (JobState.DONE, seconds(5), None)
    assert [await jobs.get_result("a") for _ in range(3)] == [b"out"] * 3
    assert await jobs.get_job("a") == done


async def test_what_is_not_there(jobs):
    assert await jobs.get_job("x") is None
    assert await jobs.get_result("x") is None
    assert await jobs.end_job("x", ending()) is None
    assert list(await jobs.renew_jobs(["x"], "w", NOW, b"")) == []
    assert await claimed(jobs, kind="other") == []


async def test_a_key_makes_one_job_of_two_submissions(jobs):
    first = await jobs.add_job(new("a", key="k"))
    assert await jobs.add_job(new("b", key="k")) == first
    assert (await jobs.add_job(new("c", key="k", owner="bob"))).id == "c"
    assert (await jobs.add_job(new("a"))).id == "a"
    assert await claimed(jobs, count=9) == ["a", "c"]


async def test_a_repeated_or_late_result_changes_nothing(jobs):
    await jobs.add_job(new("a"))
    await jobs.claim_jobs(claim())
    first = await jobs.end_job("a", ending(result=b"first"))
    for event in (JobEvent.FINISH, JobEvent.FAIL, JobEvent.CANCEL):
        assert await jobs.end_job("a", ending(event, result=b"second", at_s=9)) == first
    assert await jobs.get_result("a") == b"first"


async def test_a_lost_job_goes_to_another_worker_at_most_so_often(jobs):
    await jobs.add_job(new("a"))
    for attempt in range(3):
        at_s = attempt * 11
        assert await claimed(jobs, worker=f"w{attempt}", at_s=at_s) == ["a"]
        assert await jobs.sweep_jobs(seconds(at_s + 9), KEPT) == []
        [swept] = await jobs.sweep_jobs(seconds(at_s + 10), KEPT)
        assert swept.attempts == attempt + 1
    assert (swept.state, swept.error) == (JobState.FAILED, f"{LOST}3")
    assert await jobs.get_job("a") == swept
    assert await claimed(jobs, at_s=50) == []


async def test_a_sign_of_life_keeps_a_job(jobs):
    await jobs.add_job(new("a"))
    await jobs.claim_jobs(claim())
    assert list(await jobs.renew_jobs(["a"], "w", seconds(19), b"40 %")) == ["a"]
    assert await jobs.sweep_jobs(seconds(15), KEPT) == []
    assert (await jobs.get_job("a")).progress == b"40 %"
    assert list(await jobs.renew_jobs(["a"], "other", seconds(99), b"")) == []
    assert [job.state for job in await jobs.sweep_jobs(seconds(19), KEPT)] == [JobState.QUEUED]
    assert list(await jobs.renew_jobs(["a"], "w", seconds(99), b"")) == []


async def test_who_lost_a_job_may_still_finish_it_but_not_fail_it(jobs):
    for key in "ab":
        await jobs.add_job(new(key))
    await jobs.claim_jobs(claim("first", count=2))
    await jobs.sweep_jobs(seconds(10), KEPT)
    await jobs.claim_jobs(claim("second", count=1, at_s=11))
    assert (await jobs.end_job("a", ending(JobEvent.FAIL, "first"))).state is JobState.PROCESSING
    for key in "ab":  # one is in other hands, one in nobody's
        assert (await jobs.end_job(key, ending(worker="first"))).state is JobState.DONE
    assert await claimed(jobs, at_s=12) == []


async def test_a_failure_and_a_cancel_end_a_job(jobs):
    for key in "abc":
        await jobs.add_job(new(key))
    await jobs.claim_jobs(claim(count=2))
    failed = await jobs.end_job("a", ending(JobEvent.FAIL, error="no such colour"))
    assert (failed.state, failed.error) == (JobState.FAILED, "no such colour")
    for key in "bc":
        assert (await jobs.end_job(key, ending(JobEvent.CANCEL, worker=""))).state is JobState.CANCELLED
    assert await claimed(jobs) == []
    assert await jobs.get_result("a") is None


async def test_time_ends_jobs_and_forgets_them(jobs):
    await jobs.add_job(new("waiting"))
    await jobs.add_job(new("done", kind="other"))
    await jobs.claim_jobs(claim(kind="other"))
    await jobs.end_job("done", ending())
    assert await claimed(jobs, at_s=100) == []  # whether or not it was swept
    assert [(job.id, job.state) for job in await jobs.sweep_jobs(seconds(100), KEPT)] == [("waiting", JobState.LAPSED)]
    await jobs.sweep_jobs(seconds(1005), KEPT)
    assert await jobs.get_job("done") is None
    assert await jobs.get_job("waiting") is not None
    await jobs.sweep_jobs(seconds(1100), KEPT)
    assert await jobs.get_job("waiting") is None


async def test_priorities_then_turns_then_age(jobs):
    for number in range(4):
        await jobs.add_job(new(f"a{number}", owner="ada"))
    await jobs.add_job(new("b0", owner="bob"))
    await jobs.add_job(new("c0", owner="eve", priority=1))
    assert await claimed(jobs, count=3) == ["c0", "a0", "b0"]
    await jobs.add_job(new("b1", owner="bob"))
    assert await claimed(jobs, count=9) == ["a1", "b1", "a2", "a3"]


async def test_many_who_claim_at_once_get_each_job_once(jobs):
    for number in range(60):
        await jobs.add_job(new(str(number), owner=f"o{number % 3}"))
    taken = await asyncio.gather(*(jobs.claim_jobs(claim(f"w{number}", count=7)) for number in range(12)))
    ids = [job.id for some in taken for job, _ in some]
    ids += await claimed(jobs, count=100)  # those that were locked while somebody looked
    assert sorted(ids) == sorted(str(number) for number in range(60))


async def test_nothing_is_lost_or_done_twice_whatever_workers_do(jobs):
    """Workers that crash, answer late, answer twice: with a seed, every job ends once, with its own result."""
    drawn = random.Random(5)
    done: set[str] = set()
    for number in range(40):
        await jobs.add_job(new(str(number), owner=f"o{number % 5}", life_s=10_000, max_attempts=100))
    late = []
    at_s = 0
    while len(done) < 40:
        at_s += 3
        assert at_s < 9_000
        await jobs.sweep_jobs(seconds(at_s), timedelta(days=1))
        for job, _ in await jobs.claim_jobs(claim(f"w{at_s}", count=4, at_s=at_s)):
            if drawn.random() < 0.4:
                late.append(job)
                continue
            await jobs.end_job(job.id, ending(worker=job.worker, result=job.id.encode(), at_s=at_s))
            done.add(job.id)
        if late and drawn.random() < 0.5:
            job = late.pop(drawn.randrange(len(late)))
            before = await jobs.get_job(job.id)
            after = await jobs.end_job(job.id, ending(worker=job.worker, result=job.id.encode(), at_s=at_s))
            assert after == before or not before.state.is_final
            done.add(job.id)
    for number in range(40):
        assert (await jobs.get_job(str(number))).state is JobState.DONE
        assert await jobs.get_result(str(number)) == str(number).encode()


async def test_a_long_queue_costs_no_more_than_a_short_one(jobs):
    if isinstance(jobs, MemoryJobs):
        pytest.skip("jobs in memory are searched one by one")

    async def cycle_s(count):
        started = time.perf_counter()
        for number in range(count):
            await jobs.add_job(new(f"{time.time_ns()}-{number}", owner=f"o{number % 7}"))
            [(job, _)] = await jobs.claim_jobs(claim())
            await jobs.end_job(job.id, ending())
        return (time.perf_counter() - started) / count

    await cycle_s(20)
    short_s = min([await cycle_s(30) for _ in range(3)])
    for number in range(3000):
        await jobs.add_job(new(f"long-{number}", owner=f"o{number % 7}"))
    long_s = min([await cycle_s(30) for _ in range(3)])
    assert long_s < 3 * short_s
