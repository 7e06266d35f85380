"""What is asked at the same time, done in one transaction: rows are read, `core.jobs` decides, rows are written.

A queue is changed by one transaction at a time: SQLite's holds the whole file, PostgreSQL's the rows of its queues in
`queues`, in the order of their names, so that none waits for another that waits for it.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from stepscope.core.errors import JobQueueFull
from stepscope.core.jobs import Claim, Ending, Job, JobState, NewJob, Report, ended, queued, released, reported, timed
from stepscope.store import job_rows, job_turns
from stepscope.store.bulk import Bulk, Values
from stepscope.store.links import Link, Row, Statement, statement
from stepscope.store.tables import microseconds

CHANNEL = "stepscope_jobs"
TOLD_BYTES = 7000
"""A notification of PostgreSQL has fewer than 8000."""

_TELL_SQLITE = statement("INSERT INTO job_changes (told, at_us) VALUES (:told, :at_us)")
_TELL_POSTGRESQL = statement(f"SELECT pg_notify('{CHANNEL}', :told)")


@dataclass(frozen=True, slots=True)
class AddJob:
    """To queue a job; with a large payload's digest."""

    new: NewJob
    payload_body: str | None = None


@dataclass(frozen=True, slots=True)
class EndJob:
    """To end a job; with a large result's digest."""

    job_id: str
    ending: Ending
    result_body: str | None = None


@dataclass(frozen=True, slots=True)
class ReportJobs:
    """To note signs of life."""

    reports: Sequence[Report]


@dataclass(frozen=True, slots=True)
class ReleaseJob:
    """To put a job back."""

    job_id: str
    worker: str


@dataclass(frozen=True, slots=True)
class SweepJobs:
    """To do what the time does to jobs."""

    now: datetime
    job_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class TidyTurns:
    """To forget the turns that count no more."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that a worker was given; its payload, or its digest."""

    job: Job
    payload: bytes
    payload_body: str | None


@dataclass(slots=True)
class _Held:
    number: int
    job: Job
    result: bytes | None = None
    result_body: str | None = None
    changed: bool = False


def perform(link: Link, requests: Sequence[Any], teller: str, at: datetime) -> Sequence[Any]:
    """Do requests within a transaction; return their answers, some of which may be errors.

    A request that is a function is called with the connection. `teller` is this process, to the others.
    """
    if link.ahead:
        requests = [_by_clock_of(link, request) for request in requests]
    batch = _Batch(link, requests)
    answers = [request(link) if callable(request) else None for request in requests]
    batch.open()
    for kind in (AddJob, ReportJobs, EndJob, ReleaseJob, SweepJobs, TidyTurns):
        for place, request in enumerate(requests):
            if isinstance(request, kind):
                answers[place] = batch.do(request)
    batch.write()
    wishes = [(place, request) for place, request in enumerate(requests) if isinstance(request, Claim)]
    for place, claimed in zip((place for place, _ in wishes), batch.claim([wish for _, wish in wishes]), strict=True):
        answers[place] = claimed
    batch.close(teller, at)
    return answers


class _Batch:
    def __init__(self, link: Link, requests: Sequence[Any]) -> None:
        self._link = link
        self._requests = requests
        self._waiting: dict[str, int] = {}
        self._more: Counter[str] = Counter()
        self._queued: Counter[str] = Counter()
        self._changed: dict[str, None] = {}
        self._held: dict[str, _Held] = {}
        self._known: dict[str, Job] = {}
        self._keys: dict[tuple[str, str], Job] = {}
        self._added: list[tuple[NewJob, Job, int, str | None]] = []
        self._turns = job_turns.Turns(link)

    def open(self) -> None:
        """Take hold of all queues that may change, and read the jobs that are named."""
        adds = [request.new for request in self._requests if isinstance(request, AddJob)]
        named = self._named()
        kinds = {new.kind for new in adds} | {each.kind for each in self._requests if isinstance(each, Claim)}
        if any(isinstance(request, TidyTurns) for request in self._requests):
            kinds |= {kind for (kind,) in self._link.rows(job_rows.KINDS_OF_ALL)}
        self._hold(sorted(kinds), named)
        if named:
            self._held = {row[1]: _Held(row[0], job_rows.job_of(row)) for row in self._find(named)}
        if adds:
            self._look_for_same(adds)
            self._turns.read(adds)

    def do(self, request: Any) -> Any:
        """Do one request, all but the writing."""
        match request:
            case AddJob():
                return self._add(request)
            case ReportJobs():
                return [self._report(report) for report in request.reports]
            case EndJob():
                return self._end(request)
            case ReleaseJob():
                return self._change(request.job_id, lambda job: released(job, request.worker))
            case SweepJobs():
                return self._sweep(request)
            case _:
                return job_turns.tidy(self._link)

    def write(self) -> None:
        """Write what was done."""
        rows = [job_rows.new_row(new, job, turn, body) for new, job, turn, body in self._added]
        self._many(job_rows.INSERT, rows)
        self._turns.write()
        changed = [held for held in self._held.values() if held.changed]
        self._many(
            job_rows.CHANGE, [job_rows.changed_row(held.number, held.job) for held in changed if _is_open(held.job)]
        )
        ends = [held for held in changed if not _is_open(held.job)]
        self._many(
            job_rows.END,
            [job_rows.ended_row(held.number, held.job, held.result, held.result_body) for held in ends],
        )
        for held in changed:
            held.changed = False

    def claim(self, wishes: Sequence[Claim]) -> Sequence[Sequence[Claimed]]:
        """Give workers the jobs whose turn it is, in the order of the wishes."""
        by_kind = defaultdict(list)
        for place, wish in enumerate(wishes):
            by_kind[wish.kind].append(place)
        answers: list[Sequence[Claimed]] = [[] for _ in wishes]
        for kind, places in by_kind.items():
            if self._waiting.get(kind, 0) + self._more[kind] > 0:
                found = self._serve([wishes[place] for place in places])
                for place, claimed in zip(places, found, strict=False):
                    answers[place] = claimed
        return answers

    def close(self, teller: str, at: datetime) -> None:
        """Count, and tell the other processes."""
        for kind, more in self._more.items():
            if more:
                self._link.run(job_rows.COUNT, kind=kind, more=more)
        if not self._changed:
            return
        for told in _tellings(teller, list(self._changed), self._queued):
            if self._link.is_sqlite:
                self._link.run(_TELL_SQLITE, told=told, at_us=microseconds(at))
            else:
                self._link.run(_TELL_POSTGRESQL, told=told)

    # --- reading ---------------------------------------------------------------------------------

    def _named(self) -> list[str]:
        """Return the ids of the jobs that may change."""
        ids: dict[str, None] = {}
        for request in self._requests:
            match request:
                case EndJob() | ReleaseJob():
                    ids[request.job_id] = None
                case ReportJobs():
                    ids |= dict.fromkeys(report.job_id for report in request.reports)
                case SweepJobs():
                    ids |= dict.fromkeys(request.job_ids)
        return list(ids)

    def _hold(self, kinds: list[str], named: list[str]) -> None:
        if not kinds and not named:
            return
        self._waiting = dict(self._link.rows(job_rows.HOLD, kinds=kinds, ids=named))
        missing = [{"kind": kind, "waiting": 0} for kind in kinds if kind not in self._waiting]
        if missing:
            self._many(job_rows.ADD_QUEUE, missing)
            self._waiting = dict(self._link.rows(job_rows.HOLD, kinds=kinds, ids=named))

    def _find(self, ids: list[str]) -> Sequence[Row]:
        return self._link.rows(job_rows.BY_ID, ids=ids)

    def _look_for_same(self, adds: Sequence[NewJob]) -> None:
        self._known = {row[1]: job_rows.job_of(row) for row in self._find([new.id for new in adds])}
        if keys := [new.key for new in adds if new.key is not None]:
            rows = self._link.rows(job_rows.BY_KEY, keys=keys)
            self._keys = {(row[2], row[-1]): job_rows.job_of(row) for row in rows}

    # --- deciding --------------------------------------------------------------------------------

    def _add(self, request: AddJob) -> Job | JobQueueFull:
        new = request.new
        name = None if new.key is None else (new.owner, new.key)
        same = self._known.get(new.id) or (self._keys.get(name) if name else None)
        if same is not None:
            return same
        waiting = self._waiting[new.kind] + self._more[new.kind]
        if new.max_waiting is not None and waiting >= new.max_waiting:
            return JobQueueFull(new.max_waiting)
        job = self._known[new.id] = queued(new)
        if name:
            self._keys[name] = job
        self._added.append((new, job, self._turns.next(new), request.payload_body))
        self._note(job, 1)
        return job

    def _report(self, report: Report) -> Job | None:
        return self._change(report.job_id, lambda job: reported(job, report))

    def _end(self, request: EndJob) -> Job | None:
        ending = request.ending
        job = self._change(request.job_id, lambda job: ended(job, ending))
        held = self._held.get(request.job_id)
        if held is not None and held.job.state is JobState.DONE and held.changed and held.result is None:
            held.result = b"" if request.result_body else ending.result
            held.result_body = request.result_body
        return job

    def _sweep(self, request: SweepJobs) -> Sequence[Job]:
        """Return what changed."""
        changed, forgotten = [], []
        for job_id in request.job_ids:
            held = self._held.get(job_id)
            if held is None or held.job.due_at > request.now:
                continue  # another process was faster
            if held.job.state.is_final:
                if not held.changed:
                    forgotten.append(held.number)
            else:
                self._change(job_id, lambda job: timed(job, request.now))
                changed.append(held.job)
        if forgotten:
            self._link.run(job_rows.FORGET, numbers=forgotten)
        return changed

    def _change(self, job_id: str, rule: Callable[[Job], Job | None]) -> Job | None:
        held = self._held.get(job_id)
        if held is None:
            return None
        after = rule(held.job)
        if after is not None:
            more = (after.state is JobState.QUEUED) - (held.job.state is JobState.QUEUED)
            held.job, held.changed = after, True
            self._note(after, more)
        return held.job

    # --- claiming --------------------------------------------------------------------------------

    def _serve(self, wishes: Sequence[Claim]) -> Sequence[Sequence[Claimed]]:
        """Take jobs of one queue: at once where every worker wants one, else one group after another."""
        if all(wish.count == 1 for wish in wishes):
            rows = self._first_in_line(job_rows.FIRST_IN_LINE, wishes[0], len(wishes))
            found = [self._hand_over([row], wish) for row, wish in zip(rows, wishes, strict=False)]
            self._write_claims()
            return found
        found = []
        for wish in wishes:
            rows = self._first_in_line(job_rows.FIRST_OF_GROUP, wish, wish.count)
            found.append(self._hand_over(rows, wish))
            self._write_claims()
        return found

    def _first_in_line(self, statement: Statement, wish: Claim, count: int) -> Sequence[Row]:
        return self._link.rows(statement, kind=wish.kind, now_us=microseconds(wish.now), count=count)

    def _hand_over(self, rows: Sequence[Row], wish: Claim) -> Sequence[Claimed]:
        claimed = []
        for row in rows:
            job = job_rows.job_of(row).claimed(wish.worker, wish.now)
            self._held[job.id] = _Held(row[0], job, changed=True)
            self._note(job, -1)
            claimed.append(Claimed(job, row[-2], row[-1]))
        return claimed

    def _write_claims(self) -> None:
        claims = [held for held in self._held.values() if held.changed and held.job.state is JobState.PROCESSING]
        self._many(job_rows.CHANGE, [job_rows.changed_row(held.number, held.job) for held in claims])
        for held in claims:
            held.changed = False

    # --- writing ---------------------------------------------------------------------------------

    def _note(self, job: Job, more: int) -> None:
        self._changed[job.id] = None
        self._more[job.kind] += more
        self._queued[job.kind] += max(0, more)

    def _many(self, bulk: Bulk, rows: Sequence[Values]) -> None:
        if rows:
            self._link.many(bulk, rows)


def _by_clock_of(link: Link, request: Any) -> Any:
    """Return a request with its times as the database's clock has them."""
    ahead = link.ahead
    match request:
        case AddJob(new):
            start_by = None if new.start_by is None else new.start_by + ahead
            created_at, expires_at = new.created_at + ahead, new.expires_at + ahead
            return replace(request, new=replace(new, created_at=created_at, expires_at=expires_at, start_by=start_by))
        case ReportJobs(reports):
            return ReportJobs([replace(report, now=report.now + ahead) for report in reports])
        case EndJob(_, ending):
            return replace(request, ending=replace(ending, at=ending.at + ahead))
        case SweepJobs() | Claim():
            return replace(request, now=request.now + ahead)
        case _:
            return request


def _is_open(job: Job) -> bool:
    return not job.state.is_final


def _tellings(teller: str, ids: Sequence[str], queued: Counter[str]) -> Iterable[str]:
    """Pack what has changed into texts that aren't too long; a text without ids means that anything may have."""
    told = json.dumps([teller, ids, {kind: count for kind, count in queued.items() if count}])
    if len(told) <= TOLD_BYTES:
        yield told
    elif len(ids) > 1:
        half = len(ids) // 2
        yield from _tellings(teller, ids[:half], queued)
        yield from _tellings(teller, ids[half:], Counter())
    else:
        yield json.dumps([teller, [], {}])
