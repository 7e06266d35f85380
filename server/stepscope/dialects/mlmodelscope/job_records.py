"""What a native job carries beside its request, and how it is shown. Pure."""

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import UNSET

from stepscope.core.access import Trace
from stepscope.core.errors import InvalidField
from stepscope.core.jobs import Job, JobState, Standing
from stepscope.dialects.mlmodelscope.wire import given
from stepscope.engine.webhooks import Webhook
from stepscope_api import models as wire

KIND = "predict"
"""The queue that native jobs stand in."""

STATES = {state: wire.JobState(state.value) for state in JobState}


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a job as long as the job is."""

    kind: wire.JobKind
    digest: str
    """Of the request, so that another one under the same key is seen."""
    trace: Trace
    request_id: str
    webhook: Webhook | None = None


def encode_request(request: wire.JobRequest) -> tuple[bytes, str]:
    """Return a request as a job's payload, and its digest, the same for all ways to write the same request."""
    payload = msgspec.json.encode(request)
    return payload, hashlib.sha256(payload).hexdigest()


def read_note(job: Job) -> Note:
    """Return what was noted when the job was submitted."""
    return msgspec.json.decode(job.note, type=Note)


def read_webhook(request: wire.JobRequest) -> Webhook | None:
    """Return where the job's end shall be told."""
    asked = given(request.webhook, None)
    return None if asked is None else Webhook(url=asked.url, secret=given(asked.secret, ""))


def check_request(request: wire.JobRequest) -> None:
    """Raise `InvalidField` unless there are the inputs that `kind` names, no others, and not two models."""
    for kind in wire.JobKind:
        there = getattr(request, kind.value) is not UNSET
        if there and kind is not request.kind:
            raise InvalidField(f"/{kind.value}", f"it doesn't belong to a job of the kind {request.kind.value}")
        if not there and kind is request.kind:
            raise InvalidField(f"/{kind.value}", "it is missing, and `kind` names it")
    if request.model is not UNSET and request.predictor is not UNSET:
        raise InvalidField("/predictor", "a job takes a model or a predictor, not both")


def write_job(job: Job, standing: Standing | None = None) -> wire.Job:
    """Return a job as its owner reads it; without a standing, as it is in lists."""
    note = read_note(job)
    ended = job.ended_at is not None
    shown = wire.Job(
        id=job.id,
        kind=note.kind,
        state=STATES[job.state],
        percent=100.0 if job.state is JobState.DONE else min(100.0, max(0.0, job.percent)),
        attempts=job.attempts,
        priority=job.priority,
        created_at=_time(job.created_at),
        expires_at=_time(job.ended_at + timedelta(seconds=job.keep_s) if job.ended_at else job.expires_at),
        trace_id=wire.TraceId(id=note.trace.trace_id),
    )
    if job.progress and not ended:
        shown.step = job.progress.decode()
    if job.claimed_at is not None:
        shown.started_at = _time(job.claimed_at)
    if job.ended_at is not None:
        shown.ended_at = _time(job.ended_at)
    if job.error:
        shown.error = job.error
    if standing is not None:
        shown.queue_place = standing.place
        if standing.estimate_s is not None:
            shown.estimate_in_ms = round(standing.estimate_s * 1000)
    return shown


def render(job: Job) -> bytes:
    """Return a job as its webhook is told of it."""
    return msgspec.json.encode(write_job(job))


def event_id(shown: wire.Job) -> str:
    """Return an id of what an event tells, the same in every process; the estimate changes all the time."""
    told = (shown.state.value, shown.percent, shown.step, shown.queue_place, shown.attempts)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _time(when: datetime) -> datetime:
    """Return a time to the millisecond."""
    utc = when.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)
