"""Jobs in a SQL database. `core.jobs` decides what may happen; here it happens to one process at a time.

SQLite's transactions have the write lock from their beginning; PostgreSQL's lock the rows that they look at, and a
claim skips those that another one has locked. Every statement finds its rows by an index, so its cost doesn't grow
with the queue.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Text, bindparam, cast, delete, func, literal, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from stepscope.core.jobs import LOST, Claim, Ending, Job, JobEvent, JobState, NewJob, after, ended, fair_turn
from stepscope.store.database import Database
from stepscope.store.tables import JOBS, LANES, microseconds, time_of

# Written out, not bound: only so do they name the partial indexes.
_WAITING = JOBS.c.state == literal_column("'queued'")
_HELD = JOBS.c.state == literal_column("'processing'")
_OPEN = JOBS.c.state.in_([literal_column("'queued'"), literal_column("'processing'")])
_IN_LINE = (JOBS.c.rank, JOBS.c.turn, JOBS.c.number)


class SqlJobs:
    """The `JobStore` in a database. Every call waits for it, and raises `StoreUnavailable` when it is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert

    async def add_job(self, new: NewJob) -> Job:
        """Queue a job; return the one of the same owner and key instead, if there is one."""
        lane = {"kind": new.kind, "rank": -new.priority, "owner": new.owner}
        async with self._database.writing() as connection:
            own, first, last = (await connection.execute(_TURNS, {f"own_{key}": lane[key] for key in lane})).one()
            turn = fair_turn(own or 0, first, last or 0)
            row = _row_of(new) | {"turn": turn}
            insert = self._insert(JOBS).values(row).on_conflict_do_nothing().returning(JOBS)
            found = (await connection.execute(insert)).mappings().one_or_none()
            if found is None:
                same = (JOBS.c.id == new.id) | ((JOBS.c.owner == new.owner) & (JOBS.c.key == new.key))
                return _job((await connection.execute(select(JOBS).where(same))).mappings().first())
            upsert = self._insert(LANES).values(lane | {"turn": turn})
            await connection.execute(
                upsert.on_conflict_do_update(index_elements=list(lane), set_={"turn": turn}, where=LANES.c.turn < turn)
            )
        return _job(found)

    async def get_job(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(JOBS).where(JOBS.c.id == job_id))).mappings().one_or_none()
        return None if row is None else _job(row)

    async def get_result(self, job_id: str) -> bytes | None:
        """Return the result of a job that is done, as often as it is asked for."""
        async with self._database.reading() as connection:
            found: bytes | None = (await connection.execute(select(JOBS.c.result).where(JOBS.c.id == job_id))).scalar()
        return found

    async def claim_jobs(self, claim: Claim) -> Sequence[tuple[Job, bytes]]:
        """Give a worker the jobs whose turn it is, with their payloads."""
        wanted = (
            select(JOBS.c.number)
            .where(JOBS.c.kind == claim.kind, _WAITING, JOBS.c.expires_us > microseconds(claim.now))
            .order_by(*_IN_LINE)
            .limit(claim.count)
            .with_for_update(skip_locked=True)  # SQLite leaves it out: it has one writer
            .cte("wanted")
        )
        values = {
            "state": after(JobState.QUEUED, JobEvent.CLAIM).value,  # type: ignore[union-attr]
            "attempts": JOBS.c.attempts + 1,
            "worker": claim.worker,
            "lease_us": microseconds(claim.until),
            "progress": b"",
        }
        statement = update(JOBS).where(JOBS.c.number.in_(select(wanted.c.number)), _WAITING).values(values)
        async with self._database.writing() as connection:
            rows = (await connection.execute(statement.returning(JOBS))).mappings().all()
        rows = sorted(rows, key=lambda row: (row["rank"], row["turn"], row["number"]))
        return [(_job(row), row["payload"]) for row in rows]

    async def renew_jobs(self, job_ids: Sequence[str], worker: str, until: datetime, progress: bytes) -> Sequence[str]:
        """Note a sign of life; return the ids of those jobs that are still the worker's."""
        held = update(JOBS).where(JOBS.c.id.in_(job_ids), JOBS.c.worker == worker, _HELD)
        statement = held.values(lease_us=microseconds(until), progress=progress).returning(JOBS.c.id)
        async with self._database.writing() as connection:
            renewed: Sequence[str] = (await connection.execute(statement)).scalars().all()
        return renewed

    async def end_job(self, job_id: str, ending: Ending) -> Job | None:
        """End a job, if the ending changes anything; return it as it is afterwards, None when there is no such job."""
        async with self._database.writing() as connection:
            found = select(JOBS).where(JOBS.c.id == job_id).with_for_update()
            row = (await connection.execute(found)).mappings().one_or_none()
            if row is None:
                return None
            job = _job(row)
            changed = ended(job, ending)
            if changed is None:
                return job
            values = {
                "state": changed.state.value,
                "ended_us": microseconds(ending.at),
                "forget_us": microseconds(ending.forget_at),
                "lease_us": None,
                "error": changed.error,
                "result": ending.result if changed.state is JobState.DONE else None,
                "payload": b"",
            }
            await connection.execute(update(JOBS).where(JOBS.c.number == row["number"]).values(values))
        return changed

    async def sweep_jobs(self, now: datetime, keep: timedelta) -> Sequence[Job]:
        """Do what the time does to jobs: end, queue again, forget. Returns those that changed and are still there."""
        at_us = microseconds(now)
        over = {"ended_us": at_us, "forget_us": microseconds(now + keep), "lease_us": None, "payload": b""}
        lost_now = _HELD & (JOBS.c.lease_us <= at_us)
        told = literal(LOST) + cast(JOBS.c.attempts, Text)
        statements = (
            update(JOBS).where(_OPEN, JOBS.c.expires_us <= at_us).values(state=JobState.LAPSED.value, **over),
            update(JOBS)
            .where(lost_now, JOBS.c.attempts >= JOBS.c.max_attempts)
            .values(state=JobState.FAILED.value, error=told, **over),
            update(JOBS).where(lost_now).values(state=JobState.QUEUED.value, lease_us=None),
        )
        changed: list[Job] = []
        async with self._database.writing() as connection:
            for statement in statements:
                rows = (await connection.execute(statement.returning(JOBS))).mappings()
                changed += [_job(row) for row in rows]
            await connection.execute(delete(JOBS).where(JOBS.c.forget_us <= at_us))
        return changed


_TURNS = select(
    select(LANES.c.turn)
    .where(LANES.c.kind == bindparam("own_kind"), LANES.c.rank == bindparam("own_rank"))
    .where(LANES.c.owner == bindparam("own_owner"))
    .scalar_subquery(),
    select(func.min(JOBS.c.turn))
    .where(JOBS.c.kind == bindparam("own_kind"), JOBS.c.rank == bindparam("own_rank"), _WAITING)
    .scalar_subquery(),
    select(func.max(LANES.c.turn))
    .where(LANES.c.kind == bindparam("own_kind"), LANES.c.rank == bindparam("own_rank"))
    .scalar_subquery(),
)
"""An owner's last turn in a queue, the first that waits there, and the last that anybody was given."""


def _row_of(new: NewJob) -> dict[str, Any]:
    return {
        "id": new.id,
        "owner": new.owner,
        "kind": new.kind,
        "key": new.key,
        "rank": -new.priority,
        "state": JobState.QUEUED.value,
        "attempts": 0,
        "max_attempts": new.max_attempts,
        "worker": "",
        "created_us": microseconds(new.created_at),
        "expires_us": microseconds(new.expires_at),
        "error": "",
        "progress": b"",
        "payload": new.payload,
    }


def _job(row: RowMapping | None) -> Job:
    assert row is not None
    return Job(
        id=row["id"],
        owner=row["owner"],
        kind=row["kind"],
        created_at=time_of(row["created_us"]),
        expires_at=time_of(row["expires_us"]),
        priority=-row["rank"],
        max_attempts=row["max_attempts"],
        state=JobState(row["state"]),
        attempts=row["attempts"],
        worker=row["worker"],
        lease_until=None if row["lease_us"] is None else time_of(row["lease_us"]),
        ended_at=None if row["ended_us"] is None else time_of(row["ended_us"]),
        error=row["error"],
        progress=row["progress"],
    )
