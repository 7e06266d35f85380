"""Jobs through a worker that does nothing, on each store: submitted, claimed, ended with a result, and read.

Once without HTTP: clients, workers and the door to jobs (`stepscope.engine.jobs.Jobs`) share one process, as in a
server. Then with it, from one server process and from as many as there are cores (`job_wire`). Both databases sync
each commit to the disk.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import resource
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import uvloop
from rich.console import Console

from benchmarks import job_wire
from benchmarks.plan import Plan
from benchmarks.results import write
from stepscope.core.jobs import JobState, NewJob
from stepscope.engine.jobs import Jobs
from stepscope.store.sql_jobs import SqlJobs
from tests.store.postgresql import programs, running

KIND, LONG = "null", "long"
CLIENTS, WORKERS = 128, 32
OWNERS = 7
PAYLOAD, RESULT = b"\x01" * 200, b"\x02" * 100
SHORT_QUEUE, LONG_QUEUE, QUICK_LONG_QUEUE = 100, 200_000, 20_000
POLLERS, POLL_S = 1000, 0.3
WAITING = 20_000
TOGETHER = 2000
"""Jobs that are submitted at a time where it isn't measured."""


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Measure all stores that there are."""
    found: dict[str, Any] = {"clients": CLIENTS, "workers": WORKERS, "stores": {}}
    for store, fresh in _stores(plan.scratch).items():
        with fresh() as address:
            found["stores"][store] = row = _alone(address, plan)
        for processes in sorted({1, os.cpu_count() or 1}):
            with fresh() as address:
                row[f"processes {processes}"] = job_wire.measure(address, processes, plan)
        console.print(store, row)
    write("jobs-quick" if plan.quick else "jobs", plan.machine, found)
    return found


def _alone(url: str, plan: Plan) -> dict[str, Any]:
    """Measure in a process of its own: memory that was used before would be used again."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, url, plan.seconds, quick=plan.quick).result()


def _measured(url: str, seconds: float, *, quick: bool) -> dict[str, Any]:
    return uvloop.run(_measure(url, seconds, QUICK_LONG_QUEUE if quick else LONG_QUEUE))


def _stores(scratch: Path) -> dict[str, Callable[[], contextlib.AbstractContextManager[str]]]:
    """Return what makes a store, empty each time, and yields its address."""
    stores: dict[str, Callable[[], contextlib.AbstractContextManager[str]]] = {"sqlite": lambda: _sqlite(scratch)}
    if (folder := programs()) is not None:
        stores["postgresql"] = lambda: _postgresql(folder)
    return stores


@contextlib.contextmanager
def _sqlite(scratch: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        yield f"sqlite:{folder}/jobs.sqlite"


@contextlib.contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    with running(folder, settings=()) as server:
        yield server.new()


async def _measure(url: str, seconds: float, long_queue: int) -> dict[str, Any]:
    jobs = Jobs(SqlJobs(url))
    await jobs.start()
    try:
        await _through(jobs, 1.0)
        row = await _through(jobs, seconds)
        row["waiting_bytes"] = await _waited_for(jobs)
        await _fill(jobs, SHORT_QUEUE)
        row["short_queue_cpu_ms"] = await _beside_a_queue(jobs, seconds)
        row["pollers_cores"] = await _polled(jobs, seconds)
        await _fill(jobs, long_queue - SHORT_QUEUE)
        row |= {"short_queue": SHORT_QUEUE, "long_queue": long_queue}
        row["long_queue_cpu_ms"] = await _beside_a_queue(jobs, seconds)
        row["long_queue_pollers_cores"] = await _polled(jobs, seconds)
    finally:
        await jobs.stop()
    return row


async def _through(jobs: Jobs, seconds: float) -> dict[str, Any]:
    """Drive jobs through as fast as they go."""
    until_s = time.monotonic() + seconds
    took: list[float] = []

    async def client(number: int) -> None:
        while time.monotonic() < until_s:
            started_s = time.monotonic()
            job = await jobs.submit(_new(KIND, number))
            done = await jobs.ended(job.id, 60)
            assert done is not None
            assert done.state is JobState.DONE
            assert await jobs.result(job.id) == RESULT
            took.append(time.monotonic() - started_s)

    workers = [asyncio.create_task(_worker(jobs, f"w{number}")) for number in range(WORKERS)]
    started_s, cpu_s = time.monotonic(), _cpu_s()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    wall_s, cpu_s = time.monotonic() - started_s, _cpu_s() - cpu_s
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    took.sort()
    return {
        "jobs_per_s": len(took) / wall_s,
        "cpu_ms": cpu_s / len(took) * 1e3,
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[len(took) * 99 // 100] * 1e3,
    }


async def _worker(jobs: Jobs, name: str) -> None:
    while True:
        for job, _ in await jobs.claim(KIND, name, 1, 1.0):
            await jobs.finish(job.id, name, RESULT)


async def _beside_a_queue(jobs: Jobs, seconds: float) -> float:
    """Drive jobs through the long queue itself: its head is taken while others line up. Return CPU ms a job."""
    until_s = time.monotonic() + seconds
    count = 0

    async def turn(number: int) -> None:
        nonlocal count
        while time.monotonic() < until_s:
            await jobs.submit(_new(LONG, number))
            [(job, _)] = await jobs.claim(LONG, f"w{number}", 1, 1.0)
            await jobs.finish(job.id, f"w{number}", RESULT)
            await jobs.result(job.id)
            count += 1

    cpu_s = _cpu_s()
    await asyncio.gather(*(turn(number) for number in range(WORKERS)))
    return (_cpu_s() - cpu_s) / count * 1e3


async def _polled(jobs: Jobs, seconds: float) -> float:
    """Let many clients ask for their jobs' state and place, again and again. Return the cores that it takes."""
    ids = [job.id for job in await jobs.list("o0", JobState.QUEUED, POLLERS)]
    until_s = time.monotonic() + seconds

    async def poller(number: int) -> None:
        await asyncio.sleep(number / POLLERS * POLL_S)
        while time.monotonic() < until_s:
            next_s = time.monotonic() + POLL_S
            job = await jobs.get(ids[number % len(ids)])
            assert job is not None
            await jobs.standing(job)
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    cpu_s, started_s = _cpu_s(), time.monotonic()
    await asyncio.gather(*(poller(number) for number in range(POLLERS)))
    return (_cpu_s() - cpu_s) / (time.monotonic() - started_s)


async def _waited_for(jobs: Jobs) -> float:
    """Return the memory that a job takes which a caller waits for."""
    gc.collect()
    before = psutil.Process().memory_full_info().uss
    submitted = await _fill(jobs, WAITING, kind="waited for")
    waiters = [asyncio.create_task(jobs.ended(job_id)) for job_id in submitted]
    await asyncio.sleep(1.0)
    after = psutil.Process().memory_full_info().uss
    await asyncio.gather(*(jobs.cancel(job_id) for job_id in submitted))
    await asyncio.gather(*waiters)
    return (after - before) / WAITING


async def _fill(jobs: Jobs, count: int, kind: str = LONG) -> list[str]:
    ids = []
    for begun in range(0, count, TOGETHER):
        numbers = range(begun, min(begun + TOGETHER, count))
        ids += [job.id for job in await asyncio.gather(*(jobs.submit(_new(kind, number)) for number in numbers))]
    return ids


def _new(kind: str, number: int) -> NewJob:
    now = datetime.now(UTC)
    return NewJob(
        id=uuid.uuid4().hex,
        owner=f"o{number % OWNERS}",
        kind=kind,
        payload=PAYLOAD,
        created_at=now,
        expires_at=now + timedelta(hours=1),
    )


def _cpu_s() -> float:
    """Return the CPU time of this process; PostgreSQL's own isn't in it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
