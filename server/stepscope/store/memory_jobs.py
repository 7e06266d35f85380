"""Jobs in this process's memory: lost on a restart, honest otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stepscope.core.jobs import LOST, Claim, Ending, Job, JobEvent, JobState, NewJob, after, ended, fair_turn

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
    forget_at: datetime | None = None


class MemoryJobs:
    """The `JobStore` that needs nothing. Its cost grows with the number of jobs."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._turns: dict[Lane, int] = {}
        self._count = 0

    async def add_job(self, new: NewJob) -> Job:
        """Queue a job; return the one of the same owner and key instead, if there is one."""
        for entry in self._entries.values():
            same_key = new.key is not None and (entry.job.owner, entry.key) == (new.owner, new.key)
            if same_key or entry.job.id == new.id:
                return entry.job
        job = Job(
            id=new.id,
            owner=new.owner,
            kind=new.kind,
            created_at=new.created_at,
            expires_at=new.expires_at,
            priority=new.priority,
            max_attempts=new.max_attempts,
        )
        self._count += 1
        self._entries[new.id] = _Entry(job, new.key, self._count, self._turn(new), new.payload)
        return job

    async def get_job(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        entry = self._entries.get(job_id)
        return None if entry is None else entry.job

    async def get_result(self, job_id: str) -> bytes | None:
        """Return the result of a job that is done, as often as it is asked for."""
        entry = self._entries.get(job_id)
        return None if entry is None else entry.result

    async def claim_jobs(self, claim: Claim) -> Sequence[tuple[Job, bytes]]:
        """Give a worker the jobs whose turn it is, with their payloads."""
        waiting = [entry for entry in self._waiting(claim.kind) if entry.job.expires_at > claim.now]
        waiting.sort(key=lambda entry: (-entry.job.priority, entry.turn, entry.number))
        for entry in waiting[: claim.count]:
            entry.job = entry.job.claimed(claim.worker, claim.until)
        return [(entry.job, entry.payload) for entry in waiting[: claim.count]]

    async def renew_jobs(self, job_ids: Sequence[str], worker: str, until: datetime, progress: bytes) -> Sequence[str]:
        """Note a sign of life; return the ids of those jobs that are still the worker's."""
        renewed = []
        for job_id in job_ids:
            entry = self._entries.get(job_id)
            if entry and entry.job.worker == worker and after(entry.job.state, JobEvent.RENEW) is not None:
                entry.job = replace(entry.job, lease_until=until, progress=progress)
                renewed.append(job_id)
        return renewed

    async def end_job(self, job_id: str, ending: Ending) -> Job | None:
        """End a job, if the ending changes anything; return it as it is afterwards, None when there is no such job."""
        entry = self._entries.get(job_id)
        if entry is None:
            return None
        changed = ended(entry.job, ending)
        if changed is not None:
            entry.job, entry.forget_at, entry.payload = changed, ending.forget_at, b""
            entry.result = ending.result if changed.state is JobState.DONE else None
        return entry.job

    async def sweep_jobs(self, now: datetime, keep: timedelta) -> Sequence[Job]:
        """Do what the time does to jobs: end, queue again, forget. Returns those that changed and are still there."""
        changed = []
        for job_id, entry in list(self._entries.items()):
            event = entry.job.overdue(now)
            if event is not None:
                state = after(entry.job.state, event)
                assert state is not None
                error = f"{LOST}{entry.job.attempts}" if event is JobEvent.GIVE_UP else ""
                entry.job = replace(entry.job, state=state, lease_until=None, error=error)
                if state.is_final:
                    entry.job, entry.forget_at, entry.payload = replace(entry.job, ended_at=now), now + keep, b""
                changed.append(entry.job)
            elif entry.forget_at is not None and entry.forget_at <= now:
                del self._entries[job_id]
        return changed

    def _waiting(self, kind: str) -> list[_Entry]:
        return [one for one in self._entries.values() if one.job.kind == kind and one.job.state is JobState.QUEUED]

    def _turn(self, new: NewJob) -> int:
        lane = (new.kind, new.priority, new.owner)
        waiting = [entry.turn for entry in self._waiting(new.kind) if entry.job.priority == new.priority]
        last_of_all = max((turn for key, turn in self._turns.items() if key[:2] == lane[:2]), default=0)
        turn = fair_turn(self._turns.get(lane, 0), min(waiting, default=None), last_of_all)
        self._turns[lane] = turn
        return turn
