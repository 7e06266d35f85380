"""What this dialect keeps in jobs, sessions and records of workers, as JSON bytes."""

import itertools
import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson

from stepscope.core.errors import MalformedBody
from stepscope.core.jobs import Job, NewJob, Worker
from stepscope.dialects.aime.endpoints import Endpoint

Values = Mapping[str, Any]

TIMES = ("arrival_time", "finished_time", "pending_duration", "preprocessing_duration")
"""What workers measure, and clients get."""
RUN_S = 86_400
"""How long a job may run at most, however often its worker reports."""
LEVELS = 254
"""How deeply what is kept may be nested: as deeply as orjson writes it."""
TOO_DEEP = "it is nested too deeply"

_numbers = itertools.count(1)


def new_id() -> str:
    """Return a job's id: nobody guesses it, and logs can name its end."""
    return f"{uuid.uuid4()}#{next(_numbers)}"


def read_json(body: bytes) -> Any:
    """Read a body. Workers write NaN, which JSON doesn't know: it becomes null. Raises `MalformedBody`."""
    try:
        return orjson.loads(body)
    except ValueError:
        pass
    try:
        return json.loads(body, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise MalformedBody("it isn't JSON") from None


def write_json(value: Any) -> bytes:
    """Write a value, with whatever a client or worker put into it. Raises `MalformedBody`."""
    written = _write_quickly(value)
    return _write_any(value) if written is None else written


def keep_json(value: Any) -> bytes:
    """Write what came from outside, if it can still be written with more around it. Raises `MalformedBody`."""
    written = _write_quickly(value)
    if written is None and _is_deeper(value, LEVELS):
        raise MalformedBody(TOO_DEEP)
    return _write_any(value) if written is None else written


def _write_quickly(value: Any) -> bytes | None:
    """Return a value's JSON; None for halves of surrogate pairs, integers beyond 64 bits, more than 254 levels."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return None


def _write_any(value: Any) -> bytes:
    try:
        return json.dumps(value, default=str).encode()
    except RecursionError:
        raise MalformedBody(TOO_DEEP) from None


def _is_deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        inner = (part for each in level for part in (each.values() if isinstance(each, dict) else each))
        level = [part for part in inner if isinstance(part, dict | list)]
        if not level:
            return False
    return True


def read_object(data: bytes | None) -> dict[str, Any]:
    """Return what is kept, an empty object when there is nothing."""
    found = read_json(data) if data else {}
    return found if isinstance(found, dict) else {}


def new_job(endpoint: Endpoint, owner: str, values: Values, *, attempts: int, now: Any) -> NewJob:
    """Return a job of an endpoint as it is submitted. Raises `MalformedBody`."""
    queueing = timedelta(seconds=endpoint.max_time_in_queue_s)
    return NewJob(
        id=new_id(),
        owner=owner,
        kind=endpoint.kind,
        group=endpoint.name,
        payload=keep_json(values),
        created_at=now,
        start_by=now + queueing,
        expires_at=now + queueing + timedelta(seconds=RUN_S),
        max_attempts=attempts,
        max_waiting=endpoint.max_queue_length,
        lease_s=endpoint.job_inactivity_timeout_s,
        keep_s=endpoint.result_lifetime_s,
    )


def kept_result(endpoint: Endpoint, body: Values) -> bytes:
    """Return what is kept of a worker's result: what clients may get, and session variables. Raises `MalformedBody`."""
    names = {*endpoint.outputs, *endpoint.session_variables, *TIMES}
    values = {name: value for name, value in body.items() if name in names}
    # A failure has to reach the client whether or not its endpoint declares it.
    if body.get("error") is not None:
        values["error"] = body["error"]
    return keep_json({"values": values, "auth": body.get("auth"), "version": body.get("version")})


def kept_progress(declared: Collection[str], entry: Values) -> bytes:
    """Return what is kept of a progress report: the declared outputs, and nothing of its worker's own.

    Raises `MalformedBody`.
    """
    data = entry.get("progress_data")
    told = {name: value for name, value in data.items() if name in declared} if isinstance(data, dict) else {}
    return keep_json({"progress": number(entry.get("progress")), "progress_data": told})


def number(value: Any) -> float:
    """Return a number as it is, and 0 for anything else: clients calculate with it."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


@dataclass(slots=True)
class WorkerFacts:
    """What a worker told of itself."""

    max_batch_size: int = 1
    free_slots: int = 1
    told: Values = field(default_factory=dict)
    held: tuple[str, ...] = ()
    """The jobs that it was given and hasn't brought to an end, in the order in which it got them."""

    def encoded(self) -> bytes:
        """Return what is kept of it."""
        room = {"max": self.max_batch_size, "free": self.free_slots}
        return write_json({**room, "told": dict(self.told), "held": self.held})


def facts_of(worker: Worker) -> WorkerFacts:
    """Return what is known of a worker."""
    kept = read_object(worker.about)
    return WorkerFacts(kept.get("max", 1), kept.get("free", 1), kept.get("told", {}), tuple(kept.get("held", ())))


def times(job: Job) -> dict[str, float]:
    """Return when what happened to a job, in seconds since 1970, and how long it took."""
    told = {"start_time": job.created_at.timestamp()}
    if job.claimed_at is not None:
        told["start_time_compute"] = job.claimed_at.timestamp()
    if job.ended_at is not None:
        told["result_received_time"] = job.ended_at.timestamp()
        told["total_duration"] = round((job.ended_at - job.created_at).total_seconds(), 3)
    if job.ended_at is not None and job.claimed_at is not None:
        told["compute_duration"] = round((job.ended_at - job.claimed_at).total_seconds(), 3)
    return told
