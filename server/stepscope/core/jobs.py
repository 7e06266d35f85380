"""A job's life: its states, what leads from one to another, and what happens when its worker is lost.

One table holds the transitions; what it doesn't name changes nothing. A final state never changes again, so a result
that comes late, twice, or for a job that is over does no harm.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

ATTEMPTS = 3
"""How often a job is given to a worker, unless its submitter says otherwise."""
LEASE_S = 60.0
KEEP_S = 86_400.0
LOST = "No worker brought it to an end. Workers that were lost over it: "
"""Why a job fails that was tried often enough; their number follows."""


class JobState(enum.Enum):
    """Where a job is. The last four are final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"
    LAPSED = "lapsed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the job."""
        return self not in (JobState.QUEUED, JobState.PROCESSING)


class JobEvent(enum.Enum):
    """What happens to a job."""

    CLAIM = "a worker takes it"
    RENEW = "its worker shows a sign of life"
    FINISH = "a result comes, from its worker or from one that had lost it"
    FAIL = "its worker says that it can't be done"
    LOSE = "its worker's lease is over, and it may be tried again"
    GIVE_UP = "its worker's lease is over, and it was tried often enough"
    CANCEL = "its owner doesn't want it any more"
    EXPIRE = "its time is over"


_QUEUED, _PROCESSING = JobState.QUEUED, JobState.PROCESSING

TRANSITIONS: Mapping[tuple[JobState, JobEvent], JobState] = {
    (_QUEUED, JobEvent.CLAIM): _PROCESSING,
    (_QUEUED, JobEvent.FINISH): JobState.DONE,  # by a worker that had lost it: the work is done all the same
    (_QUEUED, JobEvent.CANCEL): JobState.CANCELLED,
    (_QUEUED, JobEvent.EXPIRE): JobState.LAPSED,
    (_PROCESSING, JobEvent.RENEW): _PROCESSING,
    (_PROCESSING, JobEvent.FINISH): JobState.DONE,
    (_PROCESSING, JobEvent.FAIL): JobState.FAILED,
    (_PROCESSING, JobEvent.LOSE): _QUEUED,
    (_PROCESSING, JobEvent.GIVE_UP): JobState.FAILED,
    (_PROCESSING, JobEvent.CANCEL): JobState.CANCELLED,
    (_PROCESSING, JobEvent.EXPIRE): JobState.LAPSED,
}
"""Every change of state that there is."""

HOLDERS_ALONE = (JobEvent.RENEW, JobEvent.FAIL)
"""Events that count only from the worker that holds the job: another one may be at it by now."""


def after(state: JobState, event: JobEvent) -> JobState | None:
    """Return the state that an event leads to, None when it changes nothing."""
    return TRANSITIONS.get((state, event))


def states_before(event: JobEvent) -> tuple[JobState, ...]:
    """Return the states in which an event changes something."""
    return tuple(state for state, known in TRANSITIONS if known is event)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as it is submitted. `key` is the owner's own name for it, so that sending it twice makes one job."""

    id: str
    owner: str
    kind: str
    """The queue that it stands in: which workers may take it."""
    payload: bytes
    """What a worker needs; forgotten when the job has ended."""
    created_at: datetime
    expires_at: datetime
    """When it lapses unless it has ended before."""
    start_by: datetime | None = None
    """When it lapses unless a worker has taken it before."""
    group: str = ""
    """A worker that takes several jobs at once gets jobs of one group."""
    note: bytes = b""
    """What its submitter wants to know of it later; kept as long as the job."""
    priority: int = 0
    """The higher ones first."""
    key: str | None = None
    max_attempts: int = ATTEMPTS
    max_waiting: int | None = None
    """It is refused when so many wait in its queue."""
    lease_s: float = LEASE_S
    """How long its worker may be silent before another one gets it."""
    keep_s: float = KEEP_S
    """How long it can be read after its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is known."""

    id: str
    owner: str
    kind: str
    created_at: datetime
    expires_at: datetime
    start_by: datetime | None = None
    group: str = ""
    note: bytes = b""
    priority: int = 0
    max_attempts: int = ATTEMPTS
    lease_s: float = LEASE_S
    keep_s: float = KEEP_S
    state: JobState = JobState.QUEUED
    attempts: int = 0
    worker: str = ""
    """Who holds it, or held it last."""
    claimed_at: datetime | None = None
    """When its worker took it."""
    lease_until: datetime | None = None
    """When its worker has lost it without a sign of life; in the queue again, when it was lost."""
    ended_at: datetime | None = None
    error: str = ""
    """Why it failed."""
    percent: float = 0.0
    progress: bytes = b""
    """What its worker told last, beside the percentage."""

    def claimed(self, worker: str, now: datetime) -> "Job":
        """Return the job in the hands of a worker."""
        return replace(
            self,
            state=TRANSITIONS[self.state, JobEvent.CLAIM],
            attempts=self.attempts + 1,
            worker=worker,
            claimed_at=now,
            lease_until=now + timedelta(seconds=self.lease_s),
            percent=0.0,
            progress=b"",
        )

    def overdue(self, now: datetime) -> JobEvent | None:
        """Return what the time does to it."""
        if not self.state.is_final and now >= self.expires_at:
            return JobEvent.EXPIRE
        if self.state is JobState.QUEUED and now >= self.due_at:
            return JobEvent.EXPIRE
        if self.state is JobState.PROCESSING and self.lease_until is not None and now >= self.lease_until:
            return JobEvent.GIVE_UP if self.attempts >= self.max_attempts else JobEvent.LOSE
        return None

    @property
    def due_at(self) -> datetime:
        """When the time does something to it next: ends it, queues it again, or lets it be forgotten."""
        if self.ended_at is not None:
            return self.ended_at + timedelta(seconds=self.keep_s)
        if self.state is JobState.PROCESSING and self.lease_until is not None:
            return min(self.expires_at, self.lease_until)
        if self.start_by is None:
            return self.expires_at
        # What was lost may wait once more as long as at first: with no worker left it would wait for ever.
        waits_since = self.lease_until or self.created_at
        return min(self.expires_at, self.start_by + (waits_since - self.created_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker's wish for jobs: up to `count` of one group."""

    kind: str
    worker: str
    count: int
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A sign of life of a job's worker."""

    job_id: str
    worker: str
    now: datetime
    percent: float = 0.0
    progress: bytes = b""
    lease_s: float | None = None
    """How long the worker will be silent now, if that isn't the job's lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What shall end a job: `FINISH`, `FAIL` or `CANCEL`."""

    event: JobEvent
    at: datetime
    worker: str = ""
    result: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a job stands in its queue."""

    place: int = 0
    """1 is next; 0 is not in the queue."""
    estimate_s: float | None = None
    """When it will be done, as far as that can be told."""
    workers_online: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as it told of itself. One that was silent for longer than `offline_after_s` is offline."""

    name: str
    kind: str
    seen_at: datetime
    offline_after_s: float
    about: bytes = b""
    """What the dialect wants to know of it."""
    mean_s: float | None = None
    """How long it takes for a job, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChanges:
    """What another process did to jobs: which changed, and in which queues how many wait anew."""

    job_ids: frozenset[str] = frozenset()
    queued: Mapping[str, int] = field(default_factory=dict)


def queued(new: NewJob) -> Job:
    """Return a job as it stands in its queue at first."""
    return Job(**{name: getattr(new, name) for name in Job.__slots__ if hasattr(new, name)})


def reported(job: Job, report: Report) -> Job | None:
    """Return the job as a sign of life leaves it, None when it changes nothing."""
    if report.worker != job.worker or after(job.state, JobEvent.RENEW) is None:
        return None
    until = report.now + timedelta(seconds=job.lease_s if report.lease_s is None else report.lease_s)
    return replace(job, lease_until=until, percent=report.percent, progress=report.progress)


def ended(job: Job, ending: Ending) -> Job | None:
    """Return the job as an ending leaves it, None when it changes nothing."""
    state = after(job.state, ending.event)
    if state is None or (ending.event in HOLDERS_ALONE and ending.worker != job.worker):
        return None
    return replace(job, state=state, ended_at=ending.at, lease_until=None, error=ending.error)


def timed(job: Job, now: datetime) -> Job | None:
    """Return the job as the time leaves it, None when it changes nothing."""
    event = job.overdue(now)
    state = after(job.state, event) if event is not None else None
    if state is None:
        return None
    error = f"{LOST}{job.attempts}" if event is JobEvent.GIVE_UP else ""
    if not state.is_final:
        return replace(job, state=state, lease_until=now)
    return replace(job, state=state, lease_until=None, error=error, ended_at=now)


def ends_in_time(job: Job, now: datetime) -> bool:
    """Say whether the time ends a job."""
    swept = timed(job, now)
    return swept is not None and swept.state.is_final


def released(job: Job, worker: str) -> Job | None:
    """Return the job as if its worker hadn't taken it, None when it isn't the worker's."""
    if job.worker != worker or after(job.state, JobEvent.LOSE) is None:
        return None
    return replace(job, state=JobState.QUEUED, attempts=job.attempts - 1, worker="", claimed_at=None, lease_until=None)


def fair_turn(own_last: int, first_waiting: int | None, last_of_all: int) -> int:
    """Return a new job's place in line: owners take turns, however many jobs each of them has waiting.

    This is start-time fair queueing (Goyal, Vin and Cheng, 1996) with jobs of one size: an owner's jobs stand one turn
    apart, and the first of an owner that has none waiting stands with those that are next.
    """
    current = last_of_all if first_waiting is None else first_waiting
    return max(own_last + 1, current)
