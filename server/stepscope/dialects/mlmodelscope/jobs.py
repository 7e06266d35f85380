"""The tag `jobs`: predict requests as jobs. Implements the generated `JobsOperations`."""

import uuid
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from stepscope.core.access import RequestContext
from stepscope.core.errors import (
    JobNotEnded,
    JobNotFound,
    JobWithoutResult,
    KeyReused,
    NotFound,
    ShuttingDown,
    StoreUnavailable,
)
from stepscope.core.jobs import Job, JobState, NewJob
from stepscope.core.ports import Begin
from stepscope.dialects.mlmodelscope import wire as convert
from stepscope.dialects.mlmodelscope.job_notices import JobNotices
from stepscope.dialects.mlmodelscope.job_records import (
    KIND,
    Note,
    check_request,
    encode_request,
    event_id,
    read_note,
    read_webhook,
    write_job,
)
from stepscope.engine.engine import Engine
from stepscope.engine.following import follow
from stepscope.engine.jobs import Jobs
from stepscope_api import models as wire
from stepscope_api.operations import Event, Events

JobId = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^/]+\Z")]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTerms:
    """What holds for every native job."""

    max_waiting: int
    attempts: int
    lease_s: float
    timeout_s: float
    keep_s: float


class JobQueue:
    """Submit, watch, read and cancel jobs."""

    def __init__(self, engine: Engine, jobs: Jobs, notices: JobNotices, begin: Begin, terms: JobTerms) -> None:
        self._engine = engine
        self._jobs = jobs
        self._notices = notices
        self._begin = begin
        self._terms = terms

    async def submit_job(
        self,
        context: RequestContext,
        body: wire.JobRequest,
        *,
        idempotency_key: Annotated[str, Meta(min_length=1, max_length=256)] | UnsetType = UNSET,
    ) -> wire.Job:
        """Queue a predict request."""
        if not self._engine.ready:
            raise ShuttingDown
        check_request(body)
        key = convert.given(idempotency_key, None)
        payload, digest = encode_request(body)
        try:
            await self._check_names(context, body)
        except NotFound:
            # It was there when the request came first; who sends it again wants to know of the job.
            same = None if key is None else await self._jobs.find(context.principal.name, key)
            if same is None:
                raise
            return await self._submitted(context, same, key, digest)
        self._trace(context, body)
        note = Note(
            kind=body.kind,
            digest=digest,
            trace=context.trace,
            request_id=context.request_id,
            webhook=read_webhook(body),
        )
        job = await self._jobs.submit(self._new(context.principal.name, body, payload, note, key))
        return await self._submitted(context, job, key, digest)

    async def get_job(self, context: RequestContext, *, job_id: JobId) -> wire.Job:
        """Look at a job."""
        job = await self._own(context, job_id)
        return write_job(job, await self._jobs.standing(job))

    async def get_job_result(self, context: RequestContext, *, job_id: JobId) -> wire.FeaturesResponse:
        """Read a job's result."""
        job = await self._own(context, job_id)
        if not job.state.is_final:
            raise JobNotEnded(job.state.value)
        result = await self._jobs.result(job.id) if job.state is JobState.DONE else None
        if result is None:
            raise JobWithoutResult(_ended(job.state), job.error)
        # It was encoded when the job was done: it goes out as it is.
        return cast(wire.FeaturesResponse, msgspec.Raw(result))

    async def stream_job_events(
        self,
        context: RequestContext,
        *,
        job_id: JobId,
        last_event_id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET,
    ) -> Events:
        """Follow a job."""
        job = await self._own(context, job_id)
        return self._events(job.id, convert.given(last_event_id, ""))

    async def cancel_job(self, context: RequestContext, *, job_id: JobId) -> wire.Job:
        """Cancel a job."""
        job = await self._own(context, job_id)
        if not job.state.is_final:
            await self._notices.promise(job)
            job = await self._jobs.cancel(job.id) or job
        return write_job(job, await self._jobs.standing(job))

    async def list_jobs(
        self,
        context: RequestContext,
        *,
        state: wire.JobState | UnsetType = UNSET,
        limit: Annotated[int, Meta(ge=1, le=1000)] = 100,
        before: Annotated[str, Meta(min_length=1, max_length=256)] | UnsetType = UNSET,
    ) -> wire.Jobs:
        """List jobs."""
        wanted = None if isinstance(state, UnsetType) else JobState(state.value)
        found = await self._page(context.principal.name, wanted, limit, convert.given(before, None))
        return wire.Jobs(jobs=[write_job(job) for job in found])

    async def _submitted(self, context: RequestContext, job: Job, key: str | None, digest: str) -> wire.Job:
        """Show a job that is queued for good, whatever becomes of the store now. Raises `KeyReused`."""
        if key is not None and (job.kind != KIND or read_note(job).digest != digest):
            raise KeyReused(key)
        context.location = f"/api/jobs/{job.id}"
        try:
            now = await self._jobs.get(job.id) or job  # it may have been begun meanwhile
            return write_job(now, await self._jobs.standing(now))
        except StoreUnavailable:
            return write_job(job)

    async def _check_names(self, context: RequestContext, body: wire.JobRequest) -> None:
        """Raise what the request would end with at once: an unknown model, predictor or host."""
        if not isinstance(body.predictor, UnsetType):
            await self._engine.use(body.predictor.id, context.principal.name)
        else:
            self._engine.catalog.resolve(convert.read_ref(convert.given(body.model, wire.PredictorOpenRequest())))
        self._notices.check(read_webhook(body))

    def _new(self, owner: str, body: wire.JobRequest, payload: bytes, note: Note, key: str | None) -> NewJob:
        asked_ms = convert.given(body.timeout_in_ms, None)
        timeout_s = self._terms.timeout_s if asked_ms is None else asked_ms / 1000
        now = datetime.now(UTC)
        return NewJob(
            id=str(uuid.uuid4()),
            owner=owner,
            kind=KIND,
            payload=payload,
            created_at=now,
            expires_at=now + timedelta(seconds=timeout_s),
            note=msgspec.json.encode(note),
            priority=body.priority,
            key=key,
            max_attempts=self._terms.attempts,
            max_waiting=self._terms.max_waiting,
            lease_s=self._terms.lease_s,
            keep_s=self._terms.keep_s,
        )

    def _trace(self, context: RequestContext, body: wire.JobRequest) -> None:
        level = convert.read_options(body.options).trace_level
        context.recorder = self._begin(context.trace, level, context.principal.name, context.started)
        if context.recorder is not None:
            context.recorder.tags["request_id"] = context.request_id

    async def _own(self, context: RequestContext, job_id: str) -> Job:
        """Return a caller's native job. Raises `JobNotFound` for all others."""
        job = await self._jobs.get(job_id)
        if job is None or job.kind != KIND or job.owner != context.principal.name:
            raise JobNotFound(job_id[:64])
        return job

    async def _page(self, owner: str, state: JobState | None, limit: int, before: str | None) -> Sequence[Job]:
        """Return native jobs alone: an owner may have others beside them."""
        found: list[Job] = []
        while len(found) < limit:
            part = await self._jobs.list(owner, state, limit, before)
            found += [job for job in part if job.kind == KIND]
            if len(part) < limit:
                break
            before = part[-1].id
        return found[:limit]

    async def _events(self, job_id: str, last: str) -> Events:
        try:
            async with aclosing(follow(self._jobs, job_id, lambda: self._engine.ready)) as seen:
                async for told in seen:
                    if told is None:
                        yield None
                        continue
                    shown = write_job(*told)
                    name, number = ("end" if told[0].state.is_final else "job"), event_id(shown)
                    if name == "end" or number != last:
                        yield Event(name, number, shown)
        except StoreUnavailable:
            return  # the stream ends, and whoever reads it comes back


def _ended(state: JobState) -> str:
    return "was cancelled" if state is JobState.CANCELLED else state.value
