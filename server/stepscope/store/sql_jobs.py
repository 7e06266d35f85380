"""Jobs in a SQL database that any number of processes may share.

What changes jobs waits for one thread, which does all that is asked for at the same time in one transaction
(`job_batches`); what reads them waits for another one. An answer means that the change is on the disk.
"""

import asyncio
import json
import logging
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stepscope.core.errors import StoreUnavailable
from stepscope.core.jobs import (
    Claim,
    Ending,
    Job,
    JobChanges,
    JobEvent,
    JobState,
    NewJob,
    Report,
    Worker,
    ends_in_time,
)
from stepscope.core.ports import BeforeEnd
from stepscope.store import housekeeping, job_rows
from stepscope.store.bodies import Bodies, BodyLost
from stepscope.store.changes import watch_postgresql, watch_sqlite
from stepscope.store.database import Database
from stepscope.store.desks import Desk
from stepscope.store.job_batches import (
    CHANNEL,
    AddJob,
    Claimed,
    EndJob,
    ReleaseJob,
    ReportJobs,
    SweepJobs,
    TidyTurns,
    perform,
)
from stepscope.store.links import Link, Row, Statement
from stepscope.store.migration import migrate
from stepscope.store.tables import JOB_CHANGES, microseconds

log = logging.getLogger("stepscope.store")

LOST_PAYLOAD = "What it was to work on isn't there any more."
_LONGEST_ID = 256
_LAST = 2**62
"""Above every job's number."""
SWEPT = 500
"""Jobs that one transaction sweeps at most."""


@dataclass(frozen=True, slots=True)
class GetJob:
    """To read a job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class GetResult:
    """To read a result, or its digest."""

    job_id: str


class SqlJobs:
    """The `JobStore` in a database.

    Large payloads and results are in the folder `files`; without it beside SQLite's file, or in PostgreSQL itself.
    """

    def __init__(self, url: str, files: Path | None = None) -> None:
        database = self._database = Database(url)
        if files is None and database.is_sqlite:
            files = Path(f"{database.url.database}-files")
        self._name = secrets.token_hex(8)
        self.writer = Desk(database, self._write, writes=True)
        self.reader = Desk(database, _read, writes=False)
        self._surveyor = Desk(database, _read, writes=False)  # looks at whole queues, while others read
        self._bodies = Bodies(self.writer, self.reader, files)
        self._releases: set[asyncio.Task[None]] = set()
        self._tidied_at = datetime.min.replace(tzinfo=UTC)

    async def start(self) -> None:
        """Bring the tables up to date. Raises `SettingsInvalid` when they can't be."""
        await migrate(self._database)
        self._bodies.prepare()
        self.writer.start()
        self.reader.start()
        self._surveyor.start()

    async def stop(self) -> None:
        """Finish what was asked for, and close the connections."""
        await asyncio.gather(*self._releases)
        await self.writer.stop()
        await self.reader.stop()
        await self._surveyor.stop()
        await self._database.close()

    async def changes(self) -> AsyncGenerator[JobChanges | None, None]:
        """Yield what other processes change; None at first, and whenever anything may have been."""
        database = self._database
        watching = (
            watch_sqlite(database, JOB_CHANGES.c.told) if database.is_sqlite else watch_postgresql(database, CHANNEL)
        )
        async with aclosing(watching) as tellings:
            async for told in tellings:
                if told is None:
                    yield None
                elif others := [each for each in map(json.loads, told) if self._is_news(each[0])]:
                    yield _changes_of(others)

    def _is_news(self, teller: str) -> bool:
        """Say whether this process doesn't know: it was another, or didn't wait for what it had asked for."""
        return teller != self._name or self.writer.left

    async def add_job(self, new: NewJob) -> Job:
        """Queue a job; return the one of the same owner and key instead, if there is one. Raises `JobQueueFull`."""
        body = await self._bodies.keep(new.payload, datetime.now(UTC))
        job: Job = await self.writer.ask(AddJob(new, body))
        return job

    async def get_job(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        if not _is_id(job_id):
            return None
        job: Job | None = await self.reader.ask(GetJob(job_id))
        return job

    async def find_job(self, owner: str, key: str) -> Job | None:
        """Return the job to which its owner gave a key, or None."""
        rows = await self.reader.ask(lambda link: link.rows(job_rows.BY_KEY, keys=[key]))
        return next((job for job in map(job_rows.job_of, rows) if job.owner == owner), None)

    async def get_result(self, job_id: str) -> bytes | None:
        """Return the result of a job that is done, as often as it is asked for."""
        if not _is_id(job_id):
            return None
        result, body = await self.reader.ask(GetResult(job_id))
        if body is None:
            found: bytes | None = result
            return found
        try:
            return await self._bodies.read(body)
        except BodyLost:
            log.error("the result of job %s is lost: there is no %s", job_id, body)
            return None

    async def list_jobs(self, owner: str, state: JobState | None, count: int, before: str | None) -> Sequence[Job]:
        """Return an owner's jobs, the newest first, from the one after `before` on."""
        states = list(JobState) if state is None else [state]

        def read(link: Link) -> Sequence[Job]:
            numbers = link.rows(job_rows.NUMBER, id=before) if before and _is_id(before) else []
            wish = {"owner": owner, "before": numbers[0][0] if numbers else _LAST, "count": count}
            found = [row for each in states for row in link.rows(job_rows.OF_OWNER, state=each.value, **wish)]
            return [job_rows.job_of(row) for row in sorted(found, key=_number, reverse=True)[:count]]

        jobs: Sequence[Job] = await self.reader.ask(read)
        return jobs

    async def held_jobs(self, kind: str) -> Sequence[Job]:
        """Return the jobs of a queue that workers hold. Looks at the whole queue."""
        rows = await self._surveyor.ask(lambda link: link.rows(job_rows.HELD, kind=kind))
        return [job_rows.job_of(row) for row in rows]

    async def claim_jobs(self, claim: Claim) -> Sequence[tuple[Job, bytes]]:
        """Give a worker the jobs whose turn it is, with their payloads; each job to one worker alone."""
        given = []
        taken = await self.writer.ask(claim, late=lambda taken: self._put_back(taken, claim.worker))
        for claimed in taken:
            try:
                given.append((claimed.job, await self._payload(claimed)))
            except StoreUnavailable:
                self._put_back(taken, claim.worker)
                raise
            except BodyLost:
                log.error("the payload of job %s is lost: there is no %s", claimed.job.id, claimed.payload_body)
                end = Ending(event=JobEvent.FAIL, at=claim.now, worker=claim.worker, error=LOST_PAYLOAD)
                await self.end_job(claimed.job.id, end)
        return given

    async def report_jobs(self, reports: Sequence[Report]) -> Sequence[Job | None]:
        """Note signs of life of workers that hold their jobs; return the jobs as they are afterwards."""
        known = [report for report in reports if _is_id(report.job_id)]
        jobs = iter(await self.writer.ask(ReportJobs(known)) if known else ())
        return [next(jobs) if _is_id(report.job_id) else None for report in reports]

    async def end_job(self, job_id: str, ending: Ending) -> Job | None:
        """End a job, if the ending changes anything; return it as it is afterwards, None when there is no such job."""
        if not _is_id(job_id):
            return None
        body = await self._bodies.keep(ending.result, datetime.now(UTC))
        job: Job | None = await self.writer.ask(EndJob(job_id, ending, body))
        return job

    async def release_job(self, job_id: str, worker: str) -> Job | None:
        """Put back what a worker was given but never got, as if it hadn't been taken."""
        job: Job | None = await self.writer.ask(ReleaseJob(job_id, worker)) if _is_id(job_id) else None
        return job

    async def sweep_jobs(self, now: datetime, before_end: BeforeEnd | None = None) -> Sequence[Job]:
        """Do what the time does to jobs: end, queue again, forget. Returns those that changed and are still there."""
        swept: list[Job] = []
        last: list[str] = []
        while due := await self._due(now):
            ids = [job.id for job, _ in due]
            if ids == last:
                break  # they aren't due by the writer's measure of the database's clock
            if before_end is not None:
                await asyncio.gather(*(before_end(job) for job, ends in due if ends))
            # These alone: others that are due by now weren't announced.
            swept += await self.writer.ask(SweepJobs(now, ids))
            if len(ids) < SWEPT:
                break
            last = ids
        if now - self._tidied_at >= timedelta(seconds=housekeeping.EVERY_S):
            self._tidied_at = now
            await self.writer.ask(TidyTurns())
            await self.writer.ask(lambda link: housekeeping.tidy(link, self._bodies, now))
        return swept

    def _put_back(self, taken: Sequence[Claimed], worker: str) -> None:
        """Release what its worker won't get."""

        async def release(job_id: str) -> None:
            with suppress(StoreUnavailable):  # its lease will end
                await self.release_job(job_id, worker)

        for claimed in taken:
            task = asyncio.create_task(release(claimed.job.id))
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)

    async def count_waiting(self, kind: str) -> int:
        """Return how many jobs wait in a queue."""
        rows = await self.reader.ask(lambda link: link.rows(job_rows.WAITING, kind=kind))
        return int(rows[0][0]) if rows else 0

    async def places(self, kind: str, job_ids: Sequence[str]) -> Sequence[int]:
        """Return the jobs' places in their queue: 1 is next, 0 is none. Looks at the whole queue, once for all."""
        known = [job_id for job_id in job_ids if _is_id(job_id)]

        def read(link: Link) -> dict[str, int]:
            ids: dict[int, str] = dict(link.rows(job_rows.NUMBERS, ids=known))
            places = link.rows(job_rows.PLACES, kind=kind, numbers=list(ids))
            return {ids[number]: place for number, place in places}

        places = await self._surveyor.ask(read)
        return [places.get(job_id, 0) for job_id in job_ids]

    async def put_worker(self, worker: Worker) -> None:
        """Add or replace a worker's record, by its name and kind."""
        await self.writer.ask(_put(worker))

    async def list_workers(self, kind: str) -> Sequence[Worker]:
        """Return the workers of a queue that were seen lately, in the order of their names."""

        def read(link: Link) -> Sequence[Worker]:
            workers = map(job_rows.worker_of, link.rows(job_rows.LIST_WORKERS, kind=kind))
            return [replace(worker, seen_at=worker.seen_at - link.ahead) for worker in workers]

        workers: Sequence[Worker] = await self.reader.ask(read)
        return workers

    async def _due(self, now: datetime) -> Sequence[tuple[Job, bool]]:
        """Return the jobs to which the time does something, and whether it ends them."""

        def read(link: Link) -> Sequence[tuple[Job, bool]]:
            at = now + link.ahead
            jobs = map(job_rows.job_of, link.rows(job_rows.DUE, now_us=microseconds(at), count=SWEPT))
            return [(job, ends_in_time(job, at)) for job in jobs]

        due: Sequence[tuple[Job, bool]] = await self.reader.ask(read)
        return due

    async def _payload(self, claimed: Claimed) -> bytes:
        return await self._bodies.read(claimed.payload_body) if claimed.payload_body else claimed.payload

    def _write(self, link: Link, requests: Sequence[Any]) -> Sequence[Any]:
        return perform(link, requests, self._name, datetime.now(UTC))


def _read(link: Link, requests: Sequence[Any]) -> Sequence[Any]:
    """Answer what is asked at the same time: jobs by one statement for all, results by another."""
    jobs = {row[1]: job_rows.job_of(row) for row in _named(link, job_rows.BY_ID, requests, GetJob)}
    results = {row[0]: row[1:] for row in _named(link, job_rows.RESULTS, requests, GetResult)}

    def answer(request: Any) -> Any:
        match request:
            case GetJob(job_id):
                return jobs.get(job_id)
            case GetResult(job_id):
                return results.get(job_id, (None, None))
            case _:
                return request(link)

    return [answer(request) for request in requests]


def _named(link: Link, statement: Statement, requests: Sequence[Any], kind: type[GetJob | GetResult]) -> Sequence[Row]:
    ids = list({request.job_id for request in requests if isinstance(request, kind)})
    return link.rows(statement, ids=ids) if ids else []


def _put(worker: Worker) -> Callable[[Link], None]:
    def put(link: Link) -> None:
        seen = replace(worker, seen_at=worker.seen_at + link.ahead)
        link.run(job_rows.PUT_WORKER, **job_rows.worker_row(seen))

    return put


def _changes_of(tellings: Sequence[Any]) -> JobChanges | None:
    queued: Counter[str] = Counter()
    ids: set[str] = set()
    for _, changed, more in tellings:
        if not changed:
            return None
        ids.update(changed)
        queued.update(more)
    return JobChanges(job_ids=frozenset(ids), queued=queued)


def _number(row: Sequence[Any]) -> int:
    return int(row[0])


def _is_id(text: str) -> bool:
    """Say whether a text can be an id at all; PostgreSQL refuses some that can't."""
    return len(text) <= _LONGEST_ID and text.isascii() and text.isprintable()
