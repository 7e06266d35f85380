"""Jobs that were given out by a server that was killed before its answer reached the worker.

Nobody works on them, and their workers would be waited for as long as a worker may be silent. But a worker that asks a
new server for jobs, and has room for as many as ever, has none: what it was given and never spoke of goes back.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from stepscope.core.jobs import Job
from stepscope.engine.jobs import Jobs

_ROUNDING = timedelta(milliseconds=1)


class Undelivered:
    """What may not have reached its worker before this server began, by queue and worker."""

    def __init__(self, jobs: Jobs, now: Callable[[], datetime]) -> None:
        self._jobs = jobs
        self._began = now()
        self._in_doubt: dict[str, dict[str, Sequence[str]]] = {}

    async def settle(self, kind: str, worker: str, *, is_idle: bool) -> None:
        """Queue again what an idle worker didn't get; one that has work may have it all. Raises `StoreUnavailable`."""
        if kind not in self._in_doubt:
            found = self._by_worker(await self._jobs.held(kind))
            self._in_doubt.setdefault(kind, found)
        in_doubt = self._in_doubt[kind].pop(worker, ())
        for job_id in in_doubt if is_idle else ():
            job = await self._jobs.get(job_id)
            if job is not None and self._is_in_doubt(job):
                await self._jobs.release(job_id, worker)

    def _by_worker(self, jobs: Sequence[Job]) -> dict[str, Sequence[str]]:
        found = defaultdict(list)
        for job in filter(self._is_in_doubt, jobs):
            found[job.worker].append(job.id)
        return dict(found)

    def _is_in_doubt(self, job: Job) -> bool:
        """Say whether a job was given out before this server began, and never heard of since."""
        if job.claimed_at is None or job.lease_until is None or job.claimed_at >= self._began:
            return False
        return job.lease_until - job.claimed_at <= timedelta(seconds=job.lease_s) + _ROUNDING
