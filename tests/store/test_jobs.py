"""What every store does alike with jobs: nothing is lost, nothing is done twice in sight, and owners take turns."""

import asyncio
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stepscope.core.errors import JobQueueFull, StoreUnavailable
from stepscope.core.jobs import LOST, Claim, Ending, JobEvent, JobState, NewJob, Report, Worker
from stepscope.store.job_batches import TidyTurns
from stepscope.store.links import statement
from stepscope.store.memory_jobs import MemoryJobs
from stepscope.store.sql_jobs import SqlJobs

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE_S, KEPT_S = 10, 1000


def seconds(count):
    return NOW + timedelta(seconds=count)


def new(job_id, owner="ada", kind="echo", life_s=100, payload=b"\x00in", **more):
    times = {"created_at": NOW, "expires_at": seconds(life_s)}
    lengths = {"lease_s": LEASE_S, "keep_s": KEPT_S}
    return NewJob(id=job_id, owner=owner, kind=kind, payload=payload, **times, **(lengths | more))


def claim(worker="w", count=1, at_s=0, kind="echo"):
    return Claim(kind=kind, worker=worker, count=count, now=seconds(at_s))


def ending(event=JobEvent.FINISH, worker="w", result=b"out", at_s=5, error=""):
    return Ending(event=event, at=seconds(at_s), worker=worker, result=result, error=error)


def report(job_id="a", worker="w", at_s=9, **more):
    return Report(job_id=job_id, worker=worker, now=seconds(at_s), **more)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def jobs(request, tmp_path):
    if request.param == "memory":
        yield MemoryJobs()
        return
    sqlite = request.param == "sqlite"
    url = f"sqlite:{tmp_path}/store" if sqlite else request.getfixturevalue("postgresql").new()
    opened = SqlJobs(url)
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def own_url(request, tmp_path):
    return f"sqlite:{tmp_path}/store" if request.param == "sqlite" else request.getfixturevalue("postgresql").new()


LANES = statement("SELECT owner FROM lanes")


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
    assert await jobs.end_job("no id\0", ending()) is None
    assert await jobs.get_job("\N{SNOWMAN}" * 1000) is None
    assert await jobs.release_job("x", "w") is None
    assert list(await jobs.report_jobs([report("x"), report("\0")])) == [None, None]
    assert list(await jobs.report_jobs([])) == []
    assert await jobs.count_waiting("other") == 0
    assert list(await jobs.places("other", ["x"])) == [0]
    assert await claimed(jobs, kind="other") == []


async def test_a_key_makes_one_job_of_two_submissions(jobs):
    first = await jobs.add_job(new("a", key="k"))
    assert await jobs.add_job(new("b", key="k")) == first
    assert (await jobs.add_job(new("c", key="k", owner="bob"))).id == "c"
    assert (await jobs.add_job(new("a"))).id == "a"
    assert [(await jobs.find_job(owner, "k")).id for owner in ("ada", "bob")] == ["a", "c"]
    assert await jobs.find_job("eve", "k") is None
    assert await jobs.find_job("ada", "other") is None
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
        assert await jobs.sweep_jobs(seconds(at_s + 9)) == []
        [swept] = await jobs.sweep_jobs(seconds(at_s + 10))
        assert swept.attempts == attempt + 1
    assert (swept.state, swept.error) == (JobState.FAILED, f"{LOST}3")
    assert await jobs.get_job("a") == swept
    assert await claimed(jobs, at_s=50) == []


async def test_a_sign_of_life_keeps_a_job(jobs):
    await jobs.add_job(new("a"))
    await jobs.claim_jobs(claim())
    [job] = await jobs.report_jobs([report(percent=40.5, progress=b"a step")])
    assert (job.percent, job.progress, job.lease_until) == (40.5, b"a step", seconds(19))
    assert await jobs.get_job("a") == job
    assert await jobs.sweep_jobs(seconds(15)) == []
    assert list(await jobs.report_jobs([report(worker="other", at_s=99)])) == [job]
    [swept] = await jobs.sweep_jobs(seconds(19))
    assert swept.state is JobState.QUEUED
    assert list(await jobs.report_jobs([report(at_s=99)])) == [swept]


async def test_who_lost_a_job_may_still_finish_it_but_not_fail_it(jobs):
    for key in "ab":
        await jobs.add_job(new(key))
    await jobs.claim_jobs(claim("first", count=2))
    await jobs.sweep_jobs(seconds(10))
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
    assert [(job.id, job.state) for job in await jobs.sweep_jobs(seconds(100))] == [("waiting", JobState.LAPSED)]
    await jobs.sweep_jobs(seconds(1005))
    assert await jobs.get_job("done") is None
    assert await jobs.get_job("waiting") is not None
    await jobs.sweep_jobs(seconds(1100))
    assert await jobs.get_job("waiting") is None


async def test_an_end_by_time_is_announced_before_it_comes(jobs):
    for key in ("lapses", "lost", "lost again"):
        await jobs.add_job(new(key, kind=key, life_s=10 if key == "lapses" else 100, max_attempts=1 + ("again" in key)))
    for key in ("lost", "lost again"):
        await jobs.claim_jobs(claim(kind=key))
    told = []

    async def refuse(job):
        raise StoreUnavailable

    async def tell(job):
        told.append((job.id, (await jobs.get_job(job.id)).state))

    with pytest.raises(StoreUnavailable):
        await jobs.sweep_jobs(seconds(10), refuse)
    assert (await jobs.get_job("lapses")).state is JobState.QUEUED
    ended = await jobs.sweep_jobs(seconds(10), tell)
    assert sorted(told) == [("lapses", JobState.QUEUED), ("lost", JobState.PROCESSING)]
    assert {job.id: job.state for job in ended} == {
        "lapses": JobState.LAPSED,
        "lost": JobState.FAILED,
        "lost again": JobState.QUEUED,
    }


async def test_every_end_by_time_is_announced_however_many_come(jobs, monkeypatch):
    monkeypatch.setattr("stepscope.store.sql_jobs.SWEPT", 3)
    for number in range(10):
        await jobs.add_job(new(str(number), life_s=10))
    told = []

    async def tell(job):
        told.append(job.id)

    assert len(await jobs.sweep_jobs(seconds(10), tell)) == 10
    assert sorted(told) == [str(number) for number in range(10)]


async def test_priorities_then_turns_then_age(jobs):
    for number in range(4):
        await jobs.add_job(new(f"a{number}", owner="ada"))
    await jobs.add_job(new("b0", owner="bob"))
    await jobs.add_job(new("c0", owner="eve", priority=1))
    assert await claimed(jobs, count=3) == ["c0", "a0", "b0"]
    await jobs.add_job(new("b1", owner="bob"))
    assert await claimed(jobs, count=9) == ["a1", "b1", "a2", "a3"]


async def test_a_job_that_nobody_takes_in_time_lapses(jobs):
    await jobs.add_job(new("late", start_by=seconds(5)))
    await jobs.add_job(new("taken", kind="other", start_by=seconds(5)))
    await jobs.claim_jobs(claim(kind="other", at_s=4))
    assert await claimed(jobs, at_s=5) == []
    assert [(job.id, job.state) for job in await jobs.sweep_jobs(seconds(5))] == [("late", JobState.LAPSED)]
    [lost] = await jobs.sweep_jobs(seconds(14))  # in time it was
    assert (lost.id, lost.state) == ("taken", JobState.QUEUED)
    assert await claimed(jobs, kind="other", at_s=15) == ["taken"]


async def test_all_that_was_told_of_a_job_is_known(jobs):
    queued = await jobs.add_job(new("a", group="g", note=b"\x00note", start_by=seconds(50), lease_s=7.5, keep_s=8.5))
    assert await jobs.get_job("a") == queued
    assert (queued.group, queued.note, queued.start_by) == ("g", b"\x00note", seconds(50))
    [(held, _)] = await jobs.claim_jobs(claim(at_s=3))
    assert (held.claimed_at, held.lease_until) == (seconds(3), seconds(10.5))
    done = await jobs.end_job("a", ending(at_s=6))
    assert await jobs.get_job("a") == done
    await jobs.sweep_jobs(seconds(14))
    assert await jobs.get_job("a") is not None
    await jobs.sweep_jobs(seconds(14.5))
    assert await jobs.get_job("a") is None


async def test_a_claim_takes_the_head_of_the_line_and_what_is_of_its_group(jobs):
    for number, group in enumerate("xyxxyx"):
        await jobs.add_job(new(str(number), group=group))
    assert await claimed(jobs, count=3) == ["0", "2", "3"]
    assert await claimed(jobs, count=9) == ["1", "4"]
    wishes = await asyncio.gather(*(jobs.claim_jobs(claim(f"w{number}", count=number)) for number in (1, 2)))
    assert [job.id for some in wishes for job, _ in some] == ["5"]


async def test_a_full_queue_takes_nothing_more(jobs):
    for job_id in "abc":
        await jobs.add_job(new(job_id, max_waiting=3, key=job_id))
    with pytest.raises(JobQueueFull, match="3 jobs wait"):
        await jobs.add_job(new("d", max_waiting=3))
    assert (await jobs.add_job(new("e", max_waiting=3, key="a"))).id == "a"  # it is there already
    assert (await jobs.add_job(new("other", kind="other", max_waiting=1))).id == "other"
    await jobs.claim_jobs(claim())
    answers = await asyncio.gather(
        *(jobs.add_job(new(f"f{number}", max_waiting=3)) for number in range(5)), return_exceptions=True
    )
    assert sum(isinstance(answer, JobQueueFull) for answer in answers) == 4
    assert await jobs.count_waiting("echo") == 3


async def test_waiting_jobs_are_counted_through_all_that_happens(jobs):
    for job_id in "abcdef":
        await jobs.add_job(new(job_id, kind="other" if job_id == "f" else "echo"))
    assert [await jobs.count_waiting(kind) for kind in ("echo", "other")] == [5, 1]
    await jobs.claim_jobs(claim(count=2))  # a, b
    assert await jobs.count_waiting("echo") == 3
    await jobs.end_job("c", ending(JobEvent.CANCEL))
    await jobs.end_job("d", ending())
    assert await jobs.count_waiting("echo") == 1
    await jobs.release_job("a", "w")
    assert await jobs.count_waiting("echo") == 2
    await jobs.sweep_jobs(seconds(10))  # b is lost
    assert await jobs.count_waiting("echo") == 3
    await jobs.sweep_jobs(seconds(100))
    assert [await jobs.count_waiting(kind) for kind in ("echo", "other")] == [0, 0]


async def test_a_job_that_never_reached_its_worker_is_put_back(jobs):
    await jobs.add_job(new("a"))
    await jobs.add_job(new("b"))
    await jobs.claim_jobs(claim())
    assert (await jobs.release_job("a", "other")).state is JobState.PROCESSING
    back = await jobs.release_job("a", "w")
    assert (back.state, back.attempts, back.worker, back.claimed_at) == (JobState.QUEUED, 0, "", None)
    assert await jobs.get_job("a") == back
    assert await claimed(jobs, worker="v", count=2) == ["a", "b"]


async def test_places_in_line(jobs):
    for job_id, priority in zip("abcd", (0, 0, 2, 1), strict=True):
        await jobs.add_job(new(job_id, priority=priority))
    assert list(await jobs.places("echo", ["a", "b", "c", "d", "x"])) == [3, 4, 1, 2, 0]
    await jobs.claim_jobs(claim(count=2))
    assert list(await jobs.places("echo", ["d", "b", "c", "a"])) == [0, 2, 0, 1]


async def test_an_owners_jobs_are_listed_page_by_page(jobs):
    for job_id in "abcde":
        await jobs.add_job(new(job_id))
    await jobs.add_job(new("other", owner="bob"))
    await jobs.claim_jobs(claim(count=2))
    await jobs.end_job("a", ending())

    async def listed(state=None, count=9, before=None):
        return [job.id for job in await jobs.list_jobs("ada", state, count, before)]

    assert await listed() == ["e", "d", "c", "b", "a"]
    assert await listed(count=2) == ["e", "d"]
    assert await listed(count=2, before="d") == ["c", "b"]
    assert await listed(JobState.QUEUED, before="e") == ["d", "c", "b"]
    assert await listed(JobState.DONE) == ["a"]
    assert await listed(JobState.FAILED) == []


async def test_what_is_known_of_workers(jobs):
    first = Worker(name="w", kind="echo", seen_at=NOW, offline_after_s=60.5, about=b"\x00", mean_s=1.5)
    other = Worker(name="v", kind="echo", seen_at=seconds(1), offline_after_s=9)
    for worker in (first, other, replace(first, kind="other")):
        await jobs.put_worker(worker)
    assert list(await jobs.list_workers("echo")) == [other, first]
    changed = replace(first, seen_at=seconds(5), about=b"more", mean_s=None)
    await jobs.put_worker(changed)
    assert list(await jobs.list_workers("echo")) == [other, changed]


@pytest.mark.parametrize("size", [0, 64 * 1024, 64 * 1024 + 1, 3_000_000])
async def test_payloads_and_results_of_any_size(jobs, size):
    payload, result = bytes(range(256)) * (size // 256) + b"\0" * (size % 256), b"\xff" * size
    await jobs.add_job(new("a", payload=payload))
    await jobs.add_job(new("same", payload=payload))
    got = [await jobs.claim_jobs(claim()) for _ in range(2)]
    assert [(job.id, given) for [(job, given)] in got] == [("a", payload), ("same", payload)]
    await jobs.end_job("a", ending(result=result))
    await jobs.end_job("a", ending(result=b"another"))
    assert await jobs.get_result("a") == result
    assert await jobs.get_result("same") is None


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
        await jobs.sweep_jobs(seconds(at_s))
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


async def test_two_processes_that_add_one_key_to_two_queues_make_one_job(own_url):
    stores = [SqlJobs(own_url) for _ in range(2)]
    for store in stores:
        await store.start()
    for number in range(20):
        both = [
            store.add_job(new(f"{kind}{number}", kind=kind, key=str(number)))
            for store, kind in zip(stores, "xy", strict=True)
        ]
        first, second = await asyncio.gather(*both)
        assert first == second
    assert sum([await stores[0].count_waiting(kind) for kind in "xy"]) == 20
    for store in stores:
        await store.stop()


async def test_turns_that_are_over_are_forgotten(jobs):
    if isinstance(jobs, MemoryJobs):
        pytest.skip("jobs in memory go with their process")
    for number in range(5):
        await jobs.add_job(new(str(number), owner=f"o{number}"))
        await jobs.add_job(new(f"again {number}", owner="last"))
    await jobs.claim_jobs(claim(count=9))
    await jobs.writer.ask(TidyTurns())
    assert await jobs.reader.ask(lambda link: link.rows(LANES)) == [("last",)]
    await jobs.add_job(new("new", owner="o1"))
    assert await claimed(jobs, count=2) == ["again 4", "new"]
