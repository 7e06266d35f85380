"""Runs native jobs: a job's request is answered as `Predict` would, part after part."""

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from msgspec import UnsetType
from msgspec.structs import replace

from stepscope.core.access import Trace
from stepscope.core.jobs import Job
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.ports import Begin
from stepscope.core.predictions import ImageInput, Input, Options, UrlInput
from stepscope.core.recording import Recorder
from stepscope.dialects.mlmodelscope import tensors
from stepscope.dialects.mlmodelscope import wire as convert
from stepscope.dialects.mlmodelscope.job_records import Note, read_note
from stepscope.dialects.mlmodelscope.responses import Asked, Responses
from stepscope.engine.engine import Engine
from stepscope.engine.evaluations import Evaluations
from stepscope.engine.parts import Done, predict_in_parts
from stepscope.engine.runner import Tell
from stepscope.engine.shared_predictors import SharedPredictors
from stepscope_api import models as wire

OPENING = b"open"
PREDICTING = b"predict"
"""The steps of a job."""

_random = random.Random().getrandbits  # noqa: S311 - ids that needn't be secret


class JobWork:
    """Does the work of a `Runner` for predict requests."""

    def __init__(
        self,
        engine: Engine,
        evaluations: Evaluations,
        begin: Begin,
        finish: Callable[[Recorder], None],
        responses: Responses,
    ) -> None:
        self._engine = engine
        self._evaluations = evaluations
        self._begin = begin
        self._finish = finish
        self._responses = responses
        self._predictors = SharedPredictors(engine)

    async def stop(self) -> None:
        """Close the predictors that are kept for jobs to come."""
        await self._predictors.stop()

    async def __call__(self, job: Job, payload: bytes, tell: Tell) -> bytes:
        """Return the encoded answer. Raises what a predict request would be refused with."""
        request = msgspec.json.decode(payload, type=wire.JobRequest)
        note = read_note(job)
        options = convert.read_options(request.options)
        if options.timeout_s is None:  # the job's own time is what counts then
            begun_at = job.claimed_at or datetime.now(UTC)  # by the same clock, which needn't be this machine's
            left_s = (job.expires_at - begun_at).total_seconds()
            options = replace(options, timeout_s=max(left_s, 0.001))
        recorder = self._trace(note, options, job)
        try:
            tell(0.0, OPENING)
            async with self._predictor(request, job.owner, recorder) as record:
                tell(0.0, PREDICTING)
                response = await self._answer(request, record, options, note, _percents(tell), recorder)
            return msgspec.json.encode(response)
        finally:
            if recorder is not None:
                self._finish(recorder)

    @asynccontextmanager
    async def _predictor(
        self, request: wire.JobRequest, owner: str, recorder: Recorder | None
    ) -> AsyncIterator[PredictorRecord]:
        if not isinstance(request.predictor, UnsetType):
            yield await self._engine.use(request.predictor.id, owner)
            return
        opened = convert.given(request.model, wire.PredictorOpenRequest())
        options = convert.read_options(opened.options, persist=convert.given(opened.persist, False))
        async with self._predictors.lend(convert.read_ref(opened), options, owner, recorder) as record:
            yield record

    async def _answer(
        self,
        request: wire.JobRequest,
        record: PredictorRecord,
        options: Options,
        note: Note,
        done: Done,
        recorder: Recorder | None,
    ) -> wire.FeaturesResponse:
        request_id = options.request_id or record.options.request_id or note.request_id
        asked = Asked(trace_id=note.trace.trace_id, request_id=request_id)
        if not isinstance(request.dataset, UnsetType):
            prediction, summary = await self._evaluations.run(
                record, request.dataset.category, request.dataset.name, options, recorder=recorder, done=done
            )
            return self._responses.features(record, prediction, asked, summary)
        inputs, failures = _inputs(request)
        prediction = await predict_in_parts(self._engine, record, inputs, options, done, recorder)
        return self._responses.features(record, prediction, replace(asked, failures=failures))

    def _trace(self, note: Note, options: Options, job: Job) -> Recorder | None:
        submitted = note.trace
        ids = Trace(
            trace_id=submitted.trace_id,
            span_id=f"{_random(64) or 1:016x}",
            parent_id=submitted.span_id,
            sampled=submitted.sampled,
        )
        recorder = self._begin(ids, options.trace_level, job.owner, time.perf_counter())
        if recorder is not None:
            recorder.operation = f"job {note.kind.value}"
            recorder.tags.update(job_id=job.id, request_id=note.request_id)
        return recorder


def _inputs(request: wire.JobRequest) -> tuple[list[Input], tensors.Failures]:
    """Return a request's inputs, and the answers of those that can't be read."""
    given = convert.given
    if not isinstance(request.tensors, UnsetType):
        return tensors.read_tensors(request.tensors)
    if not isinstance(request.urls, UnsetType):
        return [UrlInput(id=given(item.id, ""), url=given(item.data, "")) for item in request.urls], ()
    return [ImageInput(id=given(item.id, ""), data=given(item.data, "")) for item in given(request.images, [])], ()


def _percents(tell: Tell) -> Done:
    def done(count: int, total: int) -> None:
        tell(100.0 * count / total if total else 100.0, PREDICTING)

    return done
