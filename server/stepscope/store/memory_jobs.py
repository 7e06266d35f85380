"""Jobs in this process's memory: lost on a restart, honest otherwise."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stepscope.core.errors import JobQueueFull
from stepscope.core.jobs import (
    Claim,
    Ending,
    Job,
    JobChanges,
    JobState,
    NewJob,
    Report,
    Worker,
    ended,
    ends_in_time,
    fair_turn,
    queued,
    released,
    reported,
    timed,
)
from stepscope.core.ports import BeforeEnd

Lane = tuple[str, int, str]
"""A queue's kind and priority, and an owner."""


@dataclass(slots=True)
class _Entry:
    job: Job
    key: str | None
    number: int
    turn: int
    payload: bytes
    result: bytes | None = None


class MemoryJobs:
    """The `JobStore` that needs nothing. Its cost grows with the number of jobs."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._turns: dict[Lane, int] = {}
        self._workers: dict[tuple[str, str], Worker] = {}
        self._count = 0

    async def start(self) -> None:
        """Nothing is needed."""

    async def stop(self) -> None:
        """Nothing is held."""

    async def changes(self) -> AsyncGenerator[JobChanges | None, None]:
        """Yield None, and nothing more: no other process has this memory."""
        yield None
        await asyncio.Event().wait()

    async def add_job(self, new: NewJob) -> Job:
        """Queue a job; return the one of the same owner and key instead, if there is one. Raises `JobQueueFull`."""
        for entry in self._entries.values():
            same_key = new.key is not None and (entry.job.owner, entry.key) == (new.owner, new.key)
            if same_key or entry.job.id == new.id:
                return entry.job
        if new.max_waiting is not None and len(self._waiting(new.kind)) >= new.max_waiting:
            raise JobQueueFull(new.max_waiting)
        job = queued(new)
        self._count += 1
        self._entries[new.id] = _Entry(job, new.key, self._count, self._turn(new), new.payload)
        return job

    async def get_job(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        entry = self._entries.get(job_id)
        return None if entry is None else entry.job

    async def find_job(self, owner: str, key: str) -> Job | None:
        """Return the job to which its owner gave a key, or None."""
        named = (entry.job for entry in self._entries.values() if (entry.job.owner, entry.key) == (owner, key))
        return next(named, None)

    async def get_result(self, job_id: str) -> bytes | None:
        """Return the result of a job that is done, as often as it is asked for."""
        entry = self._entries.get(job_id)
        return None if entry is None else entry.result

    async def list_jobs(self, owner: str, state: JobState | None, count: int, before: str | None) -> Sequence[Job]:
        """Return an owner's jobs, the newest first, from the one after `before` on."""
        last = self._entries.get(before or "")
        found = [
            entry.job
            for entry in reversed(self._entries.values())
            if entry.job.owner == owner
            and (state is None or entry.job.state is state)
            and (last is None or entry.number < last.number)
        ]
        return found[:count]

    async def held_jobs(self, kind: str) -> Sequence[Job]:
        """Return the jobs of a queue that workers hold."""
        jobs = [entry.job for entry in self._entries.values()]
        return [job for job in jobs if job.kind == kind and job.state is JobState.PROCESSING]

    async def claim_jobs(self, claim: Claim) -> Sequence[tuple[Job, bytes]]:
        """Give a worker the jobs whose turn it is, with their payloads."""
        waiting = [entry for entry in self._in_line(claim.kind) if entry.job.overdue(claim.now) is None]
        wanted = [entry for entry in waiting if entry.job.group == waiting[0].job.group][: claim.count]
        for entry in wanted:
            entry.job = entry.job.claimed(claim.worker, claim.now)
        return [(entry.job, entry.payload) for entry in wanted]

    async def report_jobs(self, reports: Sequence[Report]) -> Sequence[Job | None]:
        """Note signs of life of workers that hold their jobs; return the jobs as they are afterwards."""
        return [self._report(report) for report in reports]

    async def end_job(self, job_id: str, ending: Ending) -> Job | None:
        """End a job, if the ending changes anything; return it as it is afterwards, None when there is no such job."""
        entry = self._entries.get(job_id)
        if entry is None:
            return None
        changed = ended(entry.job, ending)
        if changed is not None:
            entry.job, entry.payload = changed, b""
            entry.result = ending.result if changed.state is JobState.DONE else None
        return entry.job

    async def release_job(self, job_id: str, worker: str) -> Job | None:
        """Put back what a worker was given but never got, as if it hadn't been taken."""
        entry = self._entries.get(job_id)
        if entry is None:
            return None
        entry.job = released(entry.job, worker) or entry.job
        return entry.job

    async def sweep_jobs(self, now: datetime, before_end: BeforeEnd | None = None) -> Sequence[Job]:
        """Do what the time does to jobs: end, queue again, forget. Returns those that changed and are still there."""
        if before_end is not None:
            for entry in list(self._entries.values()):
                if ends_in_time(entry.job, now):
                    await before_end(entry.job)
        changed = []
        for job_id, entry in list(self._entries.items()):
            job = timed(entry.job, now)
            if job is not None:
                entry.job = job
                entry.payload = b"" if job.state.is_final else entry.payload
                changed.append(job)
            elif entry.job.ended_at is not None and entry.job.due_at <= now:
                del self._entries[job_id]
        return changed

    async def count_waiting(self, kind: str) -> int:
        """Return how many jobs wait in a queue."""
        return len(self._waiting(kind))

    async def places(self, kind: str, job_ids: Sequence[str]) -> Sequence[int]:
        """Return the jobs' places in their queue: 1 is next, 0 is none."""
        places = {entry.job.id: place for place, entry in enumerate(self._in_line(kind), 1)}
        return [places.get(job_id, 0) for job_id in job_ids]

    async def put_worker(self, worker: Worker) -> None:
        """Add or replace a worker's record, by its name and kind."""
        self._workers[worker.kind, worker.name] = worker

    async def list_workers(self, kind: str) -> Sequence[Worker]:
        """Return the workers of a queue that were seen lately, in the order of their names."""
        return [worker for key, worker in sorted(self._workers.items()) if key[0] == kind]

    def _report(self, report: Report) -> Job | None:
        entry = self._entries.get(report.job_id)
        if entry is None:
            return None
        entry.job = reported(entry.job, report) or entry.job
        return entry.job

    def _waiting(self, kind: str) -> list[_Entry]:
        return [one for one in self._entries.values() if one.job.kind == kind and one.job.state is JobState.QUEUED]

    def _in_line(self, kind: str) -> list[_Entry]:
        return sorted(self._waiting(kind), key=lambda entry: (-entry.job.priority, entry.turn, entry.number))

    def _turn(self, new: NewJob) -> int:
        lane = (new.kind, new.priority, new.owner)
        waiting = [entry.turn for entry in self._waiting(new.kind) if entry.job.priority == new.priority]
        last_of_all = max((turn for key, turn in self._turns.items() if key[:2] == lane[:2]), default=0)
        turn = fair_turn(self._turns.get(lane, 0), min(waiting, default=None), last_of_all)
        self._turns[lane] = turn
        return turn
