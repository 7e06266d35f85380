"""Jobs as rows of their table, and the statements that find and change them, each by an index."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from stepscope.core.jobs import Job, JobState, NewJob, Worker
from stepscope.store import bulk
from stepscope.store.links import Row, statement
from stepscope.store.tables import JOBS, LANES, QUEUES, microseconds, time_of

_JOB = (
    "number, id, owner, kind, group_name, note, rank, state, attempts, max_attempts, worker, lease_s, keep_s, "
    "created_us, expires_us, start_by_us, claimed_us, lease_until_us, ended_us, error, percent, progress"
)
WIDTH = _JOB.count(",") + 1
"""Columns of a job; a statement may find more."""
_NEW = (
    *("id", "owner", "kind", "group_name", "key", "note", "rank", "turn", "state", "attempts", "max_attempts"),
    *("worker", "lease_s", "keep_s", "created_us", "expires_us", "start_by_us", "due_us", "error", "percent"),
    *("progress", "payload", "payload_body"),
)
_CHANGED = ("state", "attempts", "worker", "claimed_us", "lease_until_us", "due_us", "percent", "progress")
_ENDED = (*_CHANGED, "ended_us", "error", "payload", "payload_body", "result", "result_body")
_FRONT = "WHERE kind = :kind AND state = 'queued' AND due_us > :now_us"
_IN_LINE = "ORDER BY rank, turn, number LIMIT :count"

INSERT = bulk.insert(JOBS, _NEW)
CHANGE = bulk.update(JOBS, "number", _CHANGED)
END = bulk.update(JOBS, "number", _ENDED)
FORGET = statement("DELETE FROM jobs WHERE number IN {numbers}")

BY_ID = statement(f"SELECT {_JOB} FROM jobs WHERE id IN {{ids}}")  # noqa: S608
BY_KEY = statement(f"SELECT {_JOB}, key FROM jobs WHERE key IN {{keys}}")  # noqa: S608
OF_OWNER = statement(
    f"SELECT {_JOB} FROM jobs WHERE owner = :owner AND state = :state AND number < :before "  # noqa: S608
    "ORDER BY number DESC LIMIT :count"
)
HELD = statement(f"SELECT {_JOB} FROM jobs WHERE kind = :kind AND state = 'processing'")  # noqa: S608
DUE = statement(f"SELECT {_JOB} FROM jobs WHERE due_us <= :now_us ORDER BY due_us LIMIT :count")  # noqa: S608
FIRST_IN_LINE = statement(f"SELECT {_JOB}, payload, payload_body FROM jobs {_FRONT} {_IN_LINE}")  # noqa: S608
FIRST_OF_GROUP = statement(
    f"SELECT {_JOB}, payload, payload_body FROM jobs {_FRONT} AND group_name = "  # noqa: S608
    f"(SELECT group_name FROM jobs {_FRONT} ORDER BY rank, turn, number LIMIT 1) {_IN_LINE}"
)
NUMBER = statement("SELECT number FROM jobs WHERE id = :id")
RESULTS = statement("SELECT id, result, result_body FROM jobs WHERE id IN {ids}")
NUMBERS = statement("SELECT number, id FROM jobs WHERE id IN {ids}")
PLACES = statement(
    "SELECT number, place FROM (SELECT number, row_number() OVER (ORDER BY rank, turn, number) AS place "
    "FROM jobs WHERE kind = :kind AND state = 'queued') AS line WHERE number IN {numbers}"
)

HOLD = statement(
    "SELECT kind, waiting FROM queues WHERE kind IN {kinds} OR kind IN (SELECT kind FROM jobs WHERE id IN {ids}) "
    "ORDER BY kind {lock}"
)
KINDS_OF_ALL = statement("SELECT kind FROM queues")
ADD_QUEUE = bulk.insert(QUEUES, ("kind", "waiting"), "ON CONFLICT DO NOTHING")
COUNT = statement("UPDATE queues SET waiting = waiting + :more WHERE kind = :kind")
WAITING = statement("SELECT waiting FROM queues WHERE kind = :kind")

TURNS = statement(
    "SELECT 'first', '', turn FROM (SELECT turn FROM jobs WHERE kind = :kind AND rank = :rank AND state = 'queued' "
    "ORDER BY turn LIMIT 1) AS waiting "
    "UNION ALL SELECT 'last', '', turn FROM (SELECT turn FROM lanes WHERE kind = :kind AND rank = :rank "
    "ORDER BY turn DESC LIMIT 1) AS given "
    "UNION ALL SELECT 'own', owner, turn FROM lanes WHERE kind = :kind AND rank = :rank AND owner IN {owners}"
)
LAST_TURN = statement("SELECT turn FROM lanes WHERE kind = :kind AND rank = :rank ORDER BY turn DESC LIMIT 1")
KEEP_TURN = bulk.insert(
    LANES, ("kind", "rank", "owner", "turn"), "ON CONFLICT (kind, rank, owner) DO UPDATE SET turn = excluded.turn"
)

PUT_WORKER = statement(
    "INSERT INTO workers (kind, name, seen_us, offline_after_s, about, mean_s) "
    "VALUES (:kind, :name, :seen_us, :offline_after_s, :about, :mean_s) "
    "ON CONFLICT (kind, name) DO UPDATE SET seen_us = excluded.seen_us, offline_after_s = excluded.offline_after_s, "
    "about = excluded.about, mean_s = excluded.mean_s"
)
LIST_WORKERS = statement(
    "SELECT kind, name, seen_us, offline_after_s, about, mean_s FROM workers WHERE kind = :kind ORDER BY name"
)


def new_row(new: NewJob, job: Job, turn: int, payload_body: str | None) -> Mapping[str, Any]:
    """Return a new job as values of `INSERT`. Its payload is in the row or, by its digest, in a body."""
    return {
        "id": job.id,
        "owner": job.owner,
        "kind": job.kind,
        "group_name": job.group,
        "key": new.key,
        "note": job.note,
        "rank": -job.priority,
        "turn": turn,
        "state": job.state.value,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "worker": job.worker,
        "lease_s": job.lease_s,
        "keep_s": job.keep_s,
        "created_us": microseconds(job.created_at),
        "expires_us": microseconds(job.expires_at),
        "start_by_us": _us(job.start_by),
        "due_us": microseconds(job.due_at),
        "error": job.error,
        "percent": job.percent,
        "progress": job.progress,
        "payload": b"" if payload_body else new.payload,
        "payload_body": payload_body,
    }


def changed_row(number: int, job: Job) -> dict[str, Any]:
    """Return a job's changes as values of `CHANGE`."""
    return {
        "number": number,
        "state": job.state.value,
        "attempts": job.attempts,
        "worker": job.worker,
        "claimed_us": _us(job.claimed_at),
        "lease_until_us": _us(job.lease_until),
        "due_us": microseconds(job.due_at),
        "percent": job.percent,
        "progress": job.progress,
    }


def ended_row(number: int, job: Job, result: bytes | None, result_body: str | None) -> dict[str, Any]:
    """Return a job's end as values of `END`."""
    return changed_row(number, job) | {
        "ended_us": _us(job.ended_at),
        "error": job.error,
        "payload": b"",
        "payload_body": None,
        "result": result,
        "result_body": result_body,
    }


def job_of(row: Row) -> Job:
    """Return the job that a row holds."""
    (
        _,
        job_id,
        owner,
        kind,
        group,
        note,
        rank,
        state,
        attempts,
        max_attempts,
        worker,
        lease_s,
        keep_s,
        created_us,
        expires_us,
        start_by_us,
        claimed_us,
        lease_until_us,
        ended_us,
        error,
        percent,
        progress,
    ) = row[:WIDTH]
    return Job(
        id=job_id,
        owner=owner,
        kind=kind,
        created_at=time_of(created_us),
        expires_at=time_of(expires_us),
        start_by=_time(start_by_us),
        group=group,
        note=note,
        priority=-rank,
        max_attempts=max_attempts,
        lease_s=lease_s,
        keep_s=keep_s,
        state=JobState(state),
        attempts=attempts,
        worker=worker,
        claimed_at=_time(claimed_us),
        lease_until=_time(lease_until_us),
        ended_at=_time(ended_us),
        error=error,
        percent=percent,
        progress=progress,
    )


def worker_row(worker: Worker) -> dict[str, Any]:
    """Return a worker as values of `PUT_WORKER`."""
    return {
        "kind": worker.kind,
        "name": worker.name,
        "seen_us": microseconds(worker.seen_at),
        "offline_after_s": worker.offline_after_s,
        "about": worker.about,
        "mean_s": worker.mean_s,
    }


def worker_of(row: Row) -> Worker:
    """Return the worker that a row holds."""
    kind, name, seen_us, offline_after_s, about, mean_s = row
    return Worker(
        name=name, kind=kind, seen_at=time_of(seen_us), offline_after_s=offline_after_s, about=about, mean_s=mean_s
    )


def _us(time: datetime | None) -> int | None:
    return None if time is None else microseconds(time)


def _time(us: int | None) -> datetime | None:
    return None if us is None else time_of(us)
