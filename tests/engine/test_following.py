"""What a job's watcher is told: each change once, signs of life in between, nothing after the end."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from stepscope.core.jobs import JobState, NewJob, Report
from stepscope.engine import following
from stepscope.engine.following import follow
from stepscope.engine.jobs import Jobs
from stepscope.store.memory_jobs import MemoryJobs


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(following, "TICK_S", 0.01)


@pytest.fixture
async def jobs():
    jobs = Jobs(MemoryJobs())
    await jobs.start()
    async with asyncio.timeout(60):
        yield jobs
    await jobs.stop()


async def submitted(jobs, *names):
    now = datetime.now(UTC)
    for name in names:
        later = now + timedelta(hours=1)
        await jobs.submit(NewJob(id=name, owner="ada", kind="k", payload=b"", created_at=now, expires_at=later))


async def next_told(seen):
    """Return what is told next, without signs of life."""
    async for told in seen:
        if told is not None:
            return told
    return None


async def test_each_change_is_told_once_until_the_end(jobs):
    await submitted(jobs, "a")
    async with aclosing(follow(jobs, "a", lambda: True)) as seen:
        job, standing = await next_told(seen)
        assert (job.state, standing.place) == (JobState.QUEUED, 1)
        await jobs.claim("k", "w", 1, 1)
        assert (await next_told(seen))[0].state is JobState.PROCESSING
        now = datetime.now(UTC)
        for percent in (10.0, 10.0, 20.0):
            await jobs.report([Report(job_id="a", worker="w", now=now, percent=percent)])
        assert (await next_told(seen))[0].percent == 20, "the newest, whatever was between"
        await jobs.finish("a", "w", b"r")
        assert (await next_told(seen))[0].state is JobState.DONE
        assert await next_told(seen) is None


async def test_a_waiting_jobs_place_is_told_when_those_before_it_go(jobs):
    await submitted(jobs, "a", "b")
    async with aclosing(follow(jobs, "b", lambda: True)) as seen:
        assert (await next_told(seen))[1].place == 2
        await jobs.claim("k", "w", 1, 1)
        assert (await next_told(seen))[1].place == 1


async def test_a_quiet_job_shows_signs_of_life(jobs):
    await submitted(jobs, "a")
    async with aclosing(follow(jobs, "a", lambda: True)) as seen:
        assert (await anext(seen)) is not None
        assert (await anext(seen)) is None
        assert (await anext(seen)) is None


async def test_a_forgotten_job_is_told_no_more(jobs):
    async with aclosing(follow(jobs, "nobody", lambda: True)) as seen:
        assert await next_told(seen) is None


async def test_it_ends_when_the_server_stops(jobs):
    await submitted(jobs, "a")
    serves = True
    async with aclosing(follow(jobs, "a", lambda: serves)) as seen:
        await next_told(seen)
        serves = False
        assert await next_told(seen) is None


async def test_who_leaves_early_leaves_nothing_behind(jobs):
    await submitted(jobs, "a")
    for _ in range(3):
        async with aclosing(follow(jobs, "a", lambda: True)) as seen:
            await next_told(seen)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - {asyncio.current_task()} <= set(jobs._tasks)
