"""Runs one kind of jobs in this server: takes them as there is room, and keeps hold of each while it runs.

A job that runs here is a task of its own. Beside it, one task reports how far it is, which renews its lease, and one
watches the job, so that work that was cancelled, or given to somebody else, ends at once. What a stop of the server
interrupts goes back to its queue.
"""

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

from stepscope.core.errors import InternalFailure, JobTooLarge, ShuttingDown, StepscopeError, StoreUnavailable
from stepscope.core.jobs import Job, JobState, Report, Worker
from stepscope.engine.jobs import Jobs

log = logging.getLogger("stepscope.runner")

CLAIM_S = 10.0
"""How long the queue is asked for jobs at a time."""
SHOW_S = 10.0
"""How often the runner shows that it is there; after three times as long it counts as offline."""
REPORT_S = 0.2
"""How often a job's progress is written at most."""
RETRY_S = 1.0
"""How long the store is given when it is away."""
NEWEST = 0.2
"""How much the newest job counts in the mean of their times."""

Tell = Callable[[float, bytes], None]
"""Is told how far a job is: a percentage, and what else its kind has to tell."""
Work = Callable[[Job, bytes, Tell], Awaitable[bytes]]
"""Does a job, given its payload, and returns its result. A `StepscopeError`'s text is why it failed."""
Ending = Callable[[Job], Awaitable[None]]
"""Is called before a job ends."""


class Later(Exception):
    """Raised by work that is to be tried again after a pause, during which it takes no place. The try counts."""

    def __init__(self, pause_s: float) -> None:
        super().__init__(f"in {pause_s:g} s")
        self.pause_s = pause_s


class Runner:
    """Runs jobs of one kind, some at once."""

    def __init__(self, jobs: Jobs, kind: str, work: Work, *, at_once: int, ending: Ending | None = None) -> None:
        self._jobs = jobs
        self._kind = kind
        self._work = work
        self._at_once = at_once
        self._ending = ending
        # Machines may share a name, and containers a process number.
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._running: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._mean_s: float | None = None

    def start(self) -> None:
        """Begin to take jobs."""
        self._tasks = [asyncio.create_task(self._claim_on()), asyncio.create_task(self._show_on())]

    async def stop(self) -> None:
        """Take no more, and put back what runs."""
        await _cancel(*self._tasks)
        await _cancel(*self._running)

    async def _claim_on(self) -> None:
        while True:
            self._left.clear()
            room = self._at_once - len(self._running)
            if room <= 0:
                await self._left.wait()
                continue
            try:
                claimed = await self._jobs.claim(self._kind, self._name, room, CLAIM_S)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            except Exception:
                log.exception("no %s jobs can be taken", self._kind)
                await asyncio.sleep(RETRY_S)
                continue
            for job, payload in claimed:
                task = asyncio.create_task(self._run(job, payload))
                self._running.add(task)
                task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._left.set()

    async def _run(self, job: Job, payload: bytes) -> None:
        told = _Told()
        working = asyncio.ensure_future(self._work(job, payload, told.tell))
        losing = asyncio.create_task(self._until_lost(job))
        reporting = asyncio.create_task(self._report_on(job, told))
        try:
            await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await self._conclude(job, working, told)
        except asyncio.CancelledError:
            await _cancel(working)
            await self._release(job)
            raise
        except Exception:  # its lease will end, and it is tried again
            log.exception("the end of job %s can't be written", job.id)
        finally:
            await _cancel(working, losing, reporting)

    async def _conclude(self, job: Job, working: "asyncio.Future[bytes]", told: "_Told") -> None:
        """End a job as its work ended."""
        try:
            result = working.result()
        except Later as later:
            told.lease_s = later.pause_s  # when that is over, the job goes back to its queue
            await self._surely(lambda: self._report(job, told))
        except ShuttingDown:
            await self._release(job)
            self._tasks[0].cancel()  # the next job would go the same way
        except StepscopeError as fault:
            await self._fail(job, str(fault))
        except (Exception, asyncio.CancelledError) as fault:
            log.error("job %s failed", job.id, exc_info=fault)
            await self._fail(job, str(InternalFailure()))
        else:
            self._count(time.monotonic() - told.begun_s)
            try:
                await self._end(job, lambda: self._jobs.finish(job.id, self._name, result))
            except JobTooLarge as fault:
                await self._fail(job, str(fault))

    async def _fail(self, job: Job, error: str) -> None:
        await self._end(job, lambda: self._jobs.fail(job.id, self._name, error))

    async def _end(self, job: Job, end: Callable[[], Awaitable[object]]) -> None:
        if self._ending is not None:
            ending = self._ending
            await self._surely(lambda: ending(job))
        await self._surely(end)

    async def _surely(self, do: Callable[[], Awaitable[object]]) -> None:
        """Do something as soon as the store is there."""
        while True:
            try:
                await do()
                return
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)

    async def _release(self, job: Job) -> None:
        with suppress(StoreUnavailable):  # its lease will end
            await self._jobs.release(job.id, self._name)

    async def _until_lost(self, job: Job) -> None:
        """Return when a job isn't this runner's any more: it was cancelled, has lapsed, or somebody else has it."""
        while True:
            try:
                async with aclosing(self._jobs.watch(job.id)) as states:
                    async for now in states:
                        if now.state is not JobState.PROCESSING or now.worker != self._name:
                            break
                return
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("job %s can't be watched", job.id)
                await asyncio.sleep(RETRY_S)

    async def _report_on(self, job: Job, told: "_Told") -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(job.lease_s / 3):
                    await told.news.wait()
            told.news.clear()
            await self._tried(self._report(job, told))
            await asyncio.sleep(REPORT_S)

    async def _report(self, job: Job, told: "_Told") -> None:
        report = Report(
            job_id=job.id,
            worker=self._name,
            now=datetime.now(UTC),
            percent=told.percent,
            progress=told.progress,
            lease_s=told.lease_s,
        )
        await self._jobs.report([report])

    async def _show_on(self) -> None:
        while True:
            worker = Worker(
                name=self._name,
                kind=self._kind,
                seen_at=datetime.now(UTC),
                offline_after_s=3 * SHOW_S,
                mean_s=None if self._mean_s is None else self._mean_s / self._at_once,
            )
            await self._tried(self._jobs.see(worker))
            await asyncio.sleep(SHOW_S)

    async def _tried(self, telling: Awaitable[object]) -> None:
        """Tell the store what is told again soon; whatever goes wrong mustn't end the telling."""
        try:
            await telling
        except StoreUnavailable:
            log.debug("the store is away")
        except Exception:
            log.exception("%s can't be told of", self._name)

    def _count(self, took_s: float) -> None:
        self._mean_s = took_s if self._mean_s is None else (1 - NEWEST) * self._mean_s + NEWEST * took_s


class _Told:
    """What a job's work told last."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.percent = 0.0
        self.progress = b""
        self.lease_s: float | None = None
        self.begun_s = time.monotonic()

    def tell(self, percent: float, progress: bytes) -> None:
        """Note how far it is."""
        self.percent, self.progress = percent, progress
        self.news.set()


async def _cancel(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
