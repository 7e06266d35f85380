"""What workers say: that they are there, that they want jobs, how far they are, and what came out.

A worker is known by the key of its job type, and what it says of a job counts only if it is the one that holds it.
Workers take many answers badly (they stop reporting, hang, or ask again without a pause), so each answer here has the
form that is right for them on every path.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stepscope.core.errors import JobTooLarge, MalformedBody, StoreUnavailable
from stepscope.core.jobs import Job, JobState, Report
from stepscope.dialects.aime.endpoints import KIND, Configuration, Endpoint
from stepscope.dialects.aime.keys import digest, is_among
from stepscope.dialects.aime.records import kept_progress, kept_result, number, read_object
from stepscope.dialects.aime.roster import Roster
from stepscope.dialects.aime.undelivered import Undelivered
from stepscope.engine.jobs import Jobs

Values = Mapping[str, Any]
Claimed = Sequence[tuple[Job, bytes]]

RENEW_S = 2.0
"""How often a worker's requests are taken as signs of life of its jobs, at most."""
MOST_RENEWED = 10_000
MOST_HANDED_IN = 10_000
AWAY_S = 2.0
"""How long a worker is kept waiting while the database is away; it asks again at once."""
RESULT_S = 20.0
"""How long a result is held while the database is away, before its worker is asked to send it again."""
MOST_JOBS = 1024
"""Jobs that one request is answered with at most."""
PATIENCE = 0.9
"""The part of a worker's own time-out after which it is answered."""

NAMELESS = "The worker's name (auth) is missing, or can't be printed"
NO_JOB = {"cmd": "no_job"}
OK = {"success": True, "cmd": "ok"}


class Stopping(Exception):
    """The server is about to stop: the worker shall come back when it is there again."""


class NotWelcome(Exception):
    """A worker without the right key, or of an unknown job type; the text says which."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An answer to a worker's request, and the jobs in it: put back if it can't be delivered."""

    answer: dict[str, Any]
    worker: str = ""
    job_ids: tuple[str, ...] = ()


class Workers:
    """The workers' side of all endpoints."""

    def __init__(
        self,
        configuration: Configuration,
        jobs: Jobs,
        roster: Roster,
        version: str,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._configuration = configuration
        self._jobs = jobs
        self._roster = roster
        self._version = version
        self._now = now or (lambda: datetime.now(UTC))
        self._undelivered = Undelivered(jobs, self._now)
        self._stopping = asyncio.Event()
        self._renewed_s: dict[tuple[str, str], float] = {}
        self._handed_in: set[str] = set()
        """Canceled jobs that their workers have closed by a result."""

    def drain(self) -> None:
        """Give out no more jobs."""
        self._stopping.set()

    async def login(self, body: Any) -> dict[str, Any]:
        """Welcome a worker."""
        told = _object(_object(body).get("worker_parameters"))
        model = _object(_object(body).get("model_parameters"))
        try:
            endpoint = self._welcome(told)
        except NotWelcome as fault:
            return {"success": False, "error_msg": str(fault)}
        if not _name(told):
            return {"success": False, "error_msg": NAMELESS}
        facts = {**told, **{f"model_{key}": value for key, value in model.items()}}
        kinds = {each.kind for each in self._configuration.endpoints.values()} - {endpoint.kind}
        await self._roster.leave(kinds, _name(told))
        await self._roster.see(endpoint, _name(told), facts, size=_count(told.get("max_batch_size")))
        return {"success": True, "request_timeout": endpoint.request_timeout_s, "api_server_version": self._version}

    async def status(self, body: Any) -> dict[str, Any]:
        """Say whether the server is there, and what a worker would be told. Raises `StoreUnavailable`, `Stopping`."""
        if self._stopping.is_set():
            raise Stopping
        if not isinstance(body, dict):
            return {"error": "The body has to be an object", "cmd": "warning", "msg": "The body has to be an object"}
        endpoint = self._configuration.of_job_type(str(body.get("job_type")))
        valid = endpoint is not None and _has_key(endpoint, body)
        seen = await self._roster.is_online(endpoint, _name(body)) if endpoint is not None else False
        told = {"logged_in": seen, "job_type_present": endpoint is not None, "key_valid": valid}
        return {"cmd": "ok", **told} if valid else {"cmd": "warning", "msg": _trouble(endpoint), **told}

    async def request(self, body: Any) -> Offer:
        """Offer jobs as soon as there are any. Raises `Stopping`; everything else is told in the answer."""
        told = _object(body)
        try:
            endpoint = self._welcome(told)
        except NotWelcome as fault:
            return Offer({"cmd": "error", "msg": str(fault)})
        name = _name(told)
        if not name:
            return Offer({"cmd": "error", "msg": NAMELESS})
        try:
            await self._roster.see(endpoint, name, told, free=_count(told.get("max_job_batch")))
            at_work = self._roster.at_work(endpoint.kind, name)
            await self._undelivered.settle(endpoint.kind, name, is_idle=not at_work)
            await self._renew(endpoint, name, at_work)
            return await self._offer(endpoint, name, await self._claim(endpoint, name, told))
        except StoreUnavailable:
            await asyncio.sleep(AWAY_S)
            return Offer(NO_JOB)

    async def put_back(self, offer: Offer) -> None:
        """Take back what a worker never got."""
        for job_id in offer.job_ids:
            await self._jobs.release(job_id, offer.worker)

    async def progress(self, body: Any) -> list[dict[str, Any]] | dict[str, Any]:
        """Note how far jobs are; one object comes back for each."""
        entries = body if isinstance(body, list) else [body]
        for entry in entries:
            try:
                self._welcome(_object(entry))
            except NotWelcome as fault:
                return {"success": False, "cmd": "warning", "msg": str(fault), "error_msg": str(fault)}
        try:
            reports = [await self._report(entry) for entry in entries]
            jobs = await self._jobs.report(reports)
        except StoreUnavailable as fault:
            return [warning(str(fault)) for _ in entries]
        names = {(entry["job_type"], report.worker) for entry, report in zip(entries, reports, strict=True)}
        for job_type, name in names:
            await self._roster.hear(KIND + job_type, name)
        return [self._reply(job, report) for job, report in zip(jobs, reports, strict=True)]

    async def result(self, body: Any) -> dict[str, Any]:
        """Keep a result, if it is from the job's worker and the first. It isn't kept when this raises.

        Raises `StoreUnavailable`.
        """
        told = _object(body)
        try:
            self._welcome(told)
        except NotWelcome as fault:
            return {"success": False, "error_msg": str(fault)}
        deadline = asyncio.get_running_loop().time() + RESULT_S
        while True:
            try:
                return await self._keep_result(told)
            except StoreUnavailable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(AWAY_S)

    # --- the inside ------------------------------------------------------------------------------

    def _welcome(self, told: Values) -> Endpoint:
        """Return the endpoint whose key and wait count for a worker. Raises `NotWelcome`."""
        endpoint = self._configuration.of_job_type(str(told.get("job_type")))
        if endpoint is None or not _has_key(endpoint, told):
            raise NotWelcome(_trouble(endpoint))
        return endpoint

    async def _renew(self, endpoint: Endpoint, name: str, at_work: Sequence[str]) -> None:
        """Take a request as a sign of life of the jobs that its worker is at, unless there was one just now."""
        now_s = asyncio.get_running_loop().time()
        pause_s = min(RENEW_S, endpoint.job_inactivity_timeout_s / 4)
        if not at_work or now_s - self._renewed_s.get((endpoint.kind, name), -RENEW_S) < pause_s:
            return
        if len(self._renewed_s) > MOST_RENEWED:
            self._renewed_s.clear()
        self._renewed_s[endpoint.kind, name] = now_s
        jobs = [job for job_id in at_work if (job := await self._jobs.get(job_id)) is not None]
        await self._jobs.report([_same_again(job, self._now()) for job in jobs if job.worker == name])

    async def _claim(self, endpoint: Endpoint, name: str, told: Values) -> Claimed:
        count, wait_s = _count(told.get("max_job_batch")), _wait_s(endpoint, told)
        if self._stopping.is_set():
            raise Stopping
        claim = asyncio.ensure_future(self._jobs.claim(endpoint.kind, name, count, wait_s))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([claim, stop], return_when=asyncio.FIRST_COMPLETED)
            if not claim.done():
                raise Stopping
            return claim.result()
        except asyncio.CancelledError:
            await self._give_back(claim, name)
            raise
        finally:
            stop.cancel()
            claim.cancel()  # puts back what it is given at this very moment

    async def _give_back(self, claim: "asyncio.Future[Claimed]", name: str) -> None:
        """Put back what was claimed in the moment in which the worker went away."""
        if claim.done() and not claim.cancelled() and claim.exception() is None:
            for job, _ in claim.result():
                await self._jobs.release(job.id, name)

    async def _offer(self, endpoint: Endpoint, name: str, claimed: Claimed) -> Offer:
        if not claimed:
            return Offer(NO_JOB)
        offered = self._configuration.endpoints.get(claimed[0][0].group)
        if offered is None:
            for job, _ in claimed:
                await self._jobs.fail(job.id, name, f"The endpoint {job.group} isn't there any more")
            return Offer(NO_JOB)
        job_ids = tuple(job.id for job, _ in claimed)
        self._roster.give(endpoint.kind, name, job_ids)
        answer = {
            "cmd": "job",
            "endpoint_name": offered.name,
            "input_descriptions": offered.input_descriptions,
            "progress_output_descriptions": offered.progress_outputs,
            "final_output_descriptions": offered.outputs,
            "job_data": [_job_data(job, payload) for job, payload in claimed],
        }
        return Offer(answer, name, job_ids)

    async def _report(self, entry: Values) -> Report:
        job_id, name = str(entry.get("job_id")), _reporter(entry)
        if not name:  # a batch's entries without data don't name their worker
            job = await self._jobs.get(job_id)
            name = job.worker if job is not None else ""
        endpoints = [e for e in self._configuration.endpoints.values() if e.job_type == entry["job_type"]]
        progress = kept_progress({name for each in endpoints for name in each.progress_outputs}, entry)
        percent = min(100.0, max(0.0, float(number(entry.get("progress")))))
        return Report(job_id=job_id, worker=name, now=self._now(), percent=percent, progress=progress)

    def _reply(self, job: Job | None, report: Report) -> dict[str, Any]:
        """Return what a worker is told of its report. It stops all reports when a job is named that it has closed."""
        if job is None:
            return warning("There is no such job; it may have expired")
        if job.worker != report.worker:
            return warning("The job is another worker's")
        if job.state is JobState.CANCELLED and job.id not in self._handed_in:
            return {**OK, "job_id": job.id, "canceled": True}
        return dict(OK)

    def _note_handed_in(self, job_id: str) -> None:
        if len(self._handed_in) >= MOST_HANDED_IN:
            self._handed_in.clear()
        self._handed_in.add(job_id)

    async def _keep_result(self, told: Values) -> dict[str, Any]:
        job = await self._job_of(str(told.get("job_id")), _name(told))
        if job is None or job.kind != KIND + str(told["job_type"]):
            return warning("There is no such job; it may have expired")
        if _name(told) != job.worker:
            return warning("The job is another worker's")
        endpoint = self._configuration.endpoints.get(job.group)
        if endpoint is None:
            return warning("The job's endpoint isn't there any more")
        was_open = not job.state.is_final
        if was_open:
            job = await self._finish(job, endpoint, told)
        if job.state is JobState.CANCELLED:
            self._note_handed_in(job.id)
        took_s = (
            (job.ended_at - job.claimed_at).total_seconds() if was_open and job.ended_at and job.claimed_at else None
        )
        await self._roster.take_back(job.kind, job.worker, job.id, took_s)
        return dict(OK)

    async def _job_of(self, job_id: str, name: str) -> Job | None:
        """Return a job whose result has come.

        What is known here of a job that was given out by another process can be some milliseconds old. So before a
        worker is told that a job isn't its own, the store is asked: by a sign of life, which is answered from there.
        """
        job = await self._jobs.get(job_id)
        if job is not None and job.worker == name:
            return job
        [job] = await self._jobs.report([Report(job_id=job_id, worker=name, now=self._now())])
        return job

    async def _finish(self, job: Job, endpoint: Endpoint, told: Values) -> Job:
        try:
            return await self._jobs.finish(job.id, job.worker, kept_result(endpoint, told)) or job
        except (JobTooLarge, MalformedBody) as fault:  # sent again, it would be the same
            return await self._jobs.fail(job.id, job.worker, str(fault)) or job


def _job_data(job: Job, payload: bytes) -> dict[str, Any]:
    started = job.claimed_at or job.created_at
    own = {"start_time": job.created_at.timestamp(), "start_time_compute": started.timestamp()}
    return {**read_object(payload), "job_id": job.id, **own}


def _same_again(job: Job, now: datetime) -> Report:
    return Report(job_id=job.id, worker=job.worker, now=now, percent=job.percent, progress=job.progress)


def warning(reason: str) -> dict[str, Any]:
    """Return what a worker is told of what can't be done, under the names of all versions."""
    return {"success": False, "cmd": "warning", "msg": reason, "error_msg": reason}


def _trouble(endpoint: Endpoint | None) -> str:
    return "The job type is unknown here" if endpoint is None else "The worker's key isn't valid here"


def _has_key(endpoint: Endpoint, told: Values) -> bool:
    key = told.get("auth_key")
    return isinstance(key, str) and bool(endpoint.worker_key) and is_among(digest(key), [endpoint.worker_key])


def _wait_s(endpoint: Endpoint, told: Values) -> float:
    """Return how long a request may wait: the server's time, but less than the worker's own."""
    own = told.get("request_timeout")
    patience_s = PATIENCE * own if isinstance(own, int | float) and own > 0 else endpoint.request_timeout_s
    return float(min(endpoint.request_timeout_s, patience_s))


def _reporter(entry: Values) -> str:
    return _name(entry) or _name(_object(entry.get("progress_data")))


def _name(told: Values) -> str:
    name = told.get("auth")
    return name if isinstance(name, str) and name.isprintable() else ""


def _count(value: Any) -> int:
    return min(MOST_JOBS, max(1, value)) if isinstance(value, int) else 1


def _object(value: Any) -> Values:
    return value if isinstance(value, dict) else {}
