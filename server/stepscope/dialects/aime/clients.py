"""What clients ask: to be let in, to have something done, and how far it is."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stepscope.core.errors import JobQueueFull, StoreUnavailable
from stepscope.core.jobs import Job, JobState, Standing
from stepscope.dialects.aime import validation
from stepscope.dialects.aime.endpoints import KIND, Configuration, Endpoint
from stepscope.dialects.aime.keys import digest, is_among
from stepscope.dialects.aime.records import TIMES, new_job, number, read_object, times
from stepscope.dialects.aime.refusals import Kind, Refusal, not_permitted, unknown_job, unknown_key
from stepscope.dialects.aime.sessions import Sessions
from stepscope.engine.jobs import Jobs
from stepscope.engine.workroom import Workroom

Values = Mapping[str, Any]

CANCELED = "The job was canceled"
LAPSED = "The job has lapsed: no worker brought it to an end in time"
RETRY_S = 1.0
"""How long a wait pauses when the database is away."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told. `cookie` is to be set where its session variables have changed."""

    body: dict[str, Any]
    cookie: str | None = None


class Clients:
    """The clients' side of all endpoints."""

    def __init__(
        self,
        configuration: Configuration,
        jobs: Jobs,
        sessions: Sessions,
        media: validation.MediaChecker,
        workroom: Workroom,
        attempts: int,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._endpoints = configuration.endpoints
        self._jobs = jobs
        self._sessions = sessions
        self._media = media
        self._workroom = workroom
        self._attempts = attempts
        self._now = now or (lambda: datetime.now(UTC))
        self._keys = tuple({key for each in self._endpoints.values() for key in each.client_keys})

    # --- who they are ----------------------------------------------------------------------------

    async def login(self, endpoint: Endpoint, query: Values) -> dict[str, Any]:
        """Give a session key for a client's own key. A wrong one is told in the body."""
        key = query.get("key") or ""
        client = digest(key)
        if not is_among(client, endpoint.client_keys):
            return {"success": False, "error": f"The key isn't permitted to use the endpoint {endpoint.name!r}"}
        session = await self._sessions.open(client)
        return {"success": True, "ep_version": endpoint.version, "client_session_auth_key": session, "key": key}

    def validate_key(self, query: Values) -> dict[str, Any]:
        """Say whether a key is good for any endpoint."""
        known = is_among(digest(query.get("key") or ""), self._keys)
        return {"success": known, "error": None if known else "The key isn't valid here"}

    def list_endpoints(self, query: Values) -> dict[str, Any]:
        """Name all endpoints, or those that a key opens."""
        key = query.get("key")
        if not key:
            return {"endpoints": list(self._endpoints)}
        if not is_among(client := digest(key), self._keys):
            raise Refusal("The key isn't valid here", Kind.KEY)
        return {"endpoints": [each.name for each in self._endpoints.values() if is_among(client, each.client_keys)]}

    async def identify(self, key: Any, session: Any) -> str:
        """Return the digest of a client's own key, by the key or by a session's. Raises `Refusal`."""
        client = await self._identified(key, session)
        if client is None:
            raise unknown_key()
        return client

    async def _identified(self, key: Any, session: Any) -> str | None:
        if isinstance(key, str) and is_among(client := digest(key), self._keys):
            return client
        if isinstance(session, str) and session:
            found = await self._sessions.client(session)
            if found is not None and is_among(found, self._keys):  # the key may have been taken away since
                return found
        return None

    # --- jobs ------------------------------------------------------------------------------------

    async def request(self, endpoint: Endpoint, given: Values, cookie: str) -> Answer:
        """Have something done, and wait for it unless the request says otherwise. Raises `Refusal`."""
        waits = self._waits(given)
        job = await self.submit(endpoint, given, cookie, waits=waits)
        if not waits:
            return Answer({"success": True, "job_id": job.id, "ep_version": endpoint.version})
        return await self._outcome(endpoint, await self._ended(job), cookie)

    async def submit(self, endpoint: Endpoint, given: Values, cookie: str, *, waits: bool) -> Job:
        """Queue a job. Raises `Refusal`."""
        client = await self.identify(given.get("key"), given.get("client_session_auth_key"))
        if not is_among(client, endpoint.client_keys):
            raise not_permitted(endpoint.name)
        values = await self._validated(endpoint, given)
        variables = await self._sessions.variables(endpoint, cookie)
        whole = {**variables, **values, "wait_for_result": waits}
        try:
            return await self._jobs.submit(new_job(endpoint, client, whole, attempts=self._attempts, now=self._now()))
        except JobQueueFull:
            raise _full(endpoint) from None

    async def progress(self, endpoint: Endpoint, given: Values, cookie: str) -> Answer:
        """Tell how far a job is, or its result, as often as it is asked for. Raises `Refusal`."""
        job = await self.find(endpoint, given)
        if job.state.is_final:
            ended = await self._outcome(endpoint, job, cookie, polled=True)
            return Answer(_told(endpoint, job, "done", job_result=ended.body), ended.cookie)
        return Answer(_told(endpoint, job, job.state.value, progress=await self._progress(endpoint, job)))

    async def cancel(self, endpoint: Endpoint, given: Values) -> dict[str, Any]:
        """End a job that its client doesn't want any more. Raises `Refusal`."""
        job = await self.find(endpoint, given)
        client = await self.identify(given.get("key"), given.get("client_session_auth_key"))
        if not is_among(client, [job.owner]):
            raise unknown_job()
        job = await self._jobs.cancel(job.id) or job
        return {"success": True, "job_id": job.id, "ep_version": endpoint.version, "canceled": _is_canceled(job)}

    async def events(self, given: Values, cookie: str) -> AsyncGenerator[dict[str, Any], None]:
        """Tell how far a job is whenever that has changed, the result at last. Raises `Refusal`."""
        job = await self._job(given.get("job_id"))
        endpoint = self._endpoints.get(job.group)
        client = await self.identify(given.get("key"), given.get("client_session_auth_key"))
        if endpoint is None or not is_among(client, [job.owner]):
            raise unknown_job()
        return self._events(endpoint, job.id, cookie)

    async def find(self, endpoint: Endpoint, given: Values) -> Job:
        """Return a job of an endpoint: the client has to tell its id, and no key but its own. Raises `Refusal`."""
        job = await self._job(given.get("job_id"))
        if job.group != endpoint.name:
            raise unknown_job()
        key, session = given.get("key"), given.get("client_session_auth_key")
        if (key or session) and await self.identify(key, session) != job.owner:
            raise unknown_job()
        return job

    async def watch(self, job_id: str) -> AsyncGenerator[Job, None]:
        """Yield a job whenever it has changed, also when the database was away in between."""
        while True:
            try:
                async with aclosing(self._jobs.watch(job_id)) as states:
                    async for job in states:
                        yield job
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def outcome(self, endpoint: Endpoint, job: Job) -> dict[str, Any]:
        """Return the result of a job that has ended. Raises `Refusal` when there is none."""
        return (await self._outcome(endpoint, job, "")).body

    # --- the inside ------------------------------------------------------------------------------

    async def _validated(self, endpoint: Endpoint, given: Values) -> dict[str, Any]:
        if not validation.holds_media(endpoint.inputs, given):
            return validation.validate(endpoint.inputs, given, self._media)
        if await self._jobs.waiting(endpoint.kind) >= endpoint.max_queue_length:
            raise _full(endpoint)  # before the work on what wouldn't be taken
        return await self._workroom.run(lambda: validation.validate(endpoint.inputs, given, self._media))

    def _waits(self, given: Values) -> bool:
        value = given.get("wait_for_result")
        if isinstance(value, str):  # in a query everything is a text
            value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
        if not isinstance(value, bool | None):
            raise Refusal(["Parameter wait_for_result: it has to be true or false"])
        return value is not False

    async def _job(self, job_id: Any) -> Job:
        job = await self._jobs.get(job_id) if isinstance(job_id, str) and job_id else None
        if job is None or not job.kind.startswith(KIND):
            raise unknown_job()
        return job

    async def _ended(self, job: Job) -> Job:
        """Wait for a job's end, however long that takes; the job goes on when the client doesn't."""
        while True:
            try:
                ended = await self._jobs.ended(job.id)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            if ended is None or not ended.state.is_final:
                raise unknown_job()
            return ended

    async def _outcome(self, endpoint: Endpoint, job: Job, cookie: str, *, polled: bool = False) -> Answer:
        if job.state is JobState.LAPSED:
            told: dict[str, Any] = {"job_id": job.id, "job_state": "lapsed"}
            if polled:
                told["progress"] = await self._progress(endpoint, job)
            raise Refusal(LAPSED, told=told)
        identity = {"job_id": job.id, "ep_version": endpoint.version}
        if job.state is not JobState.DONE:
            error = CANCELED if _is_canceled(job) else job.error
            return Answer({"success": False, **identity, "error": error, **times(job)})
        kept = read_object(await self._jobs.result(job.id))
        values = kept.get("values", {})
        body = {"success": True, **_public(endpoint, kept), **times(job), **identity}
        return Answer(body, await self._sessions.update(endpoint, cookie, values))

    async def _progress(self, endpoint: Endpoint, job: Job) -> dict[str, Any]:
        standing = await self._jobs.standing(job) if not job.state.is_final else Standing()
        return progress_object(endpoint, job, standing)

    async def _events(self, endpoint: Endpoint, job_id: str, cookie: str) -> AsyncGenerator[dict[str, Any], None]:
        last: dict[str, Any] = {}
        async with aclosing(_again_and_again(self.watch(job_id), every_s=0.5)) as jobs:
            async for job in jobs:
                event = await self._event(endpoint, job, cookie)
                if event != last:
                    yield event
                last = event

    async def _event(self, endpoint: Endpoint, job: Job, cookie: str) -> dict[str, Any]:
        if job.state is JobState.LAPSED:
            return {**_told(endpoint, job, "lapsed"), "success": False, "error": LAPSED}
        if job.state.is_final:
            ended = await self._outcome(endpoint, job, cookie)
            return _told(endpoint, job, "done", progress=100, queue_position=0, job_result=ended.body)
        return _told(endpoint, job, job.state.value, **(await self._progress(endpoint, job)))


def progress_object(endpoint: Endpoint, job: Job, standing: Standing) -> dict[str, Any]:
    """Return how far a job is, for clients: always whole, and nothing of its worker's own."""
    kept = read_object(job.progress)
    told = kept.get("progress_data") or {}
    declared = endpoint.progress_outputs
    return {
        "job_id": job.id,
        "progress": number(kept.get("progress")),
        "progress_data": {name: value for name, value in told.items() if name in declared},
        "queue_position": standing.place,
        "estimate": -1 if standing.estimate_s is None else round(standing.estimate_s, 1),
        "num_workers_online": standing.workers_online,
    }


def _public(endpoint: Endpoint, kept: Values) -> dict[str, Any]:
    names = {*endpoint.outputs, *TIMES, "error"}
    told = {name: value for name, value in kept.get("values", {}).items() if name in names}
    if endpoint.provide_worker_meta_data and kept.get("auth") is not None:
        told |= {"auth": kept["auth"], "worker_interface_version": kept.get("version")}
    return told


def _told(endpoint: Endpoint, job: Job, state: str, **more: Any) -> dict[str, Any]:
    return {"success": True, "ep_version": endpoint.version, "job_state": state, **more, "job_id": job.id}


def _is_canceled(job: Job) -> bool:
    return job.state is JobState.CANCELLED


def _full(endpoint: Endpoint) -> Refusal:
    return Refusal(f"The queue of the endpoint {endpoint.name} is full: {endpoint.max_queue_length} jobs wait")


async def _again_and_again(jobs: AsyncGenerator[Job, None], every_s: float) -> AsyncGenerator[Job, None]:
    """Yield a job when it changes, and after a while although it hasn't: its place in the queue may have."""
    last: Job | None = None
    coming: asyncio.Future[Job | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(jobs))
            if (await asyncio.wait([coming], timeout=every_s))[0]:
                last, coming = coming.result(), None
                if last is None:
                    return
            if last is not None:
                yield last
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
        await jobs.aclose()


async def _next(jobs: AsyncGenerator[Job, None]) -> Job | None:
    return await anext(jobs, None)
