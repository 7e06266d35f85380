"""The tag `predict`: open, predict, close. Implements the generated `PredictOperations`."""

import time
from collections.abc import Sequence
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from stepscope.codecs.arrays import from_octets
from stepscope.core.access import RequestContext
from stepscope.core.errors import DeadlineExceeded, InvalidField
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.ports import Begin
from stepscope.core.predictions import ImageInput, Input, Options, Prediction, UrlInput
from stepscope.core.recording import Recorder
from stepscope.dialects.mlmodelscope import tensors
from stepscope.dialects.mlmodelscope import wire as convert
from stepscope.dialects.mlmodelscope.responses import Asked, Responses
from stepscope.engine.engine import Engine
from stepscope.engine.evaluations import Evaluations
from stepscope_api import models as wire
from stepscope_api.operations import Octets

OCTETS = "application/octet-stream"


class Predict:
    """Open, predict, close."""

    def __init__(self, engine: Engine, evaluations: Evaluations, begin: Begin, responses: Responses) -> None:
        self._engine = engine
        self._begin = begin
        self._evaluations = evaluations
        self._responses = responses

    async def open_predictor(self, context: RequestContext, body: wire.PredictorOpenRequest) -> wire.Predictor:
        """Open a predictor on a model."""
        started = time.perf_counter()
        options = convert.read_options(body.options, persist=convert.given(body.persist, False))
        recorder = self._trace(context, options)
        record, manifest = await self._engine.open(
            convert.read_ref(body), options, context.principal.name, recorder=recorder
        )
        framework = wire.FrameworkRef(
            name=self._engine.runtime.framework_name, version=self._engine.runtime.framework_version
        )
        return wire.Predictor(
            id=record.id,
            expires_at=convert.write_expiry(record),
            lease_in_ms=round(record.lease_s * 1000),
            model=wire.ModelChoice(name=manifest.name, version=manifest.version, framework=framework),
            device=str(record.device),
            versions=self._responses.versions(framework.name, framework.version, manifest.name, manifest.version),
            trace_id=wire.TraceId(id=context.trace.trace_id),
            duration=convert.write_duration(time.perf_counter() - started),
        )

    async def predict_urls(self, context: RequestContext, body: wire.UrlsRequest) -> wire.FeaturesResponse:
        """Predict images that the server fetches."""
        inputs = [UrlInput(id=convert.given(item.id, ""), url=convert.given(item.data, "")) for item in body.urls]
        return await self._predict(context, body.predictor, inputs, convert.read_options(body.options))

    async def predict_images(self, context: RequestContext, body: wire.ImagesRequest) -> wire.FeaturesResponse:
        """Predict images sent as base64."""
        inputs = [ImageInput(id=convert.given(item.id, ""), data=convert.given(item.data, "")) for item in body.images]
        return await self._predict(context, body.predictor, inputs, convert.read_options(body.options))

    async def predict_tensors(
        self,
        context: RequestContext,
        body: wire.TensorsRequest | bytes,
        *,
        predictor_id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET,
        shape: Annotated[list[Annotated[int, Meta(ge=0, le=2147483647)]], Meta(min_length=1, max_length=16)]
        | UnsetType = UNSET,
        dtype: wire.TensorDtype | UnsetType = UNSET,
        feature_limit: Annotated[int, Meta(ge=0, le=1000000)] | UnsetType = UNSET,
    ) -> wire.FeaturesResponse | Octets:
        """Predict arrays that are ready for the model."""
        limit = None if isinstance(feature_limit, UnsetType) else feature_limit
        if not isinstance(body, bytes):
            record = await self._engine.use(body.predictor.id, context.principal.name)
            inputs, failures = tensors.read_tensors(body.tensors)
            options = convert.read_options(body.options)
            options = options if limit is None else replace(options, feature_limit=limit)
            return await self._answer(context, record, inputs, options, failures, raw=context.accept == OCTETS)
        if isinstance(predictor_id, UnsetType) or isinstance(shape, UnsetType):
            missing = "predictor_id" if isinstance(predictor_id, UnsetType) else "shape"
            raise InvalidField(missing, "it is missing; an octet-stream body needs it in the query")
        record = await self._engine.use(predictor_id, context.principal.name)
        array = from_octets(body, tuple(shape), convert.given(dtype, wire.TensorDtype.FLOAT32).value)
        inputs = tensors.read_rows(array, self._engine.manifest(record).inputs[0].spec)
        return await self._answer(context, record, inputs, Options(feature_limit=limit), raw=context.accept == OCTETS)

    async def predict_dataset(self, context: RequestContext, body: wire.DatasetRequest) -> wire.FeaturesResponse:
        """Predict a whole dataset."""
        record = await self._engine.use(body.predictor.id, context.principal.name)
        options = convert.read_options(body.options)
        try:
            recorder = self._trace(context, options, record)
            dataset = body.dataset
            prediction, summary = await self._evaluations.run(
                record, dataset.category, dataset.name, options, recorder=recorder
            )
        except DeadlineExceeded as late:
            raise self._late(late, context, record, options) from None
        return self._responses.features(record, prediction, _asked(context, record, options), summary)

    async def reset_predictor(
        self, context: RequestContext, body: wire.PredictorResetRequest
    ) -> wire.PredictorResetResponse:
        """Clear a predictor's caches."""
        record = await self._engine.reset(_predictor_id(body), context.principal.name)
        self._trace(context, Options(), record)
        return wire.PredictorResetResponse(predictor=wire.PredictorRef(id=record.id))

    async def close_predictor(
        self, context: RequestContext, body: wire.PredictorCloseRequest
    ) -> wire.PredictorCloseResponse:
        """Close a predictor."""
        predictor_id = _predictor_id(body)
        force = convert.given(body.force, False)
        freed = await self._engine.close(predictor_id, context.principal.name, force=force)
        self._trace(context, Options(trace_level=freed.trace_level))
        return wire.PredictorCloseResponse(
            id=predictor_id,
            freed_bytes=freed.freed_bytes,
            memory_before_bytes=freed.before_bytes,
            memory_after_bytes=freed.after_bytes,
            duration=convert.write_duration(freed.duration_s),
        )

    async def _predict(
        self, context: RequestContext, predictor: wire.PredictorRef, inputs: Sequence[Input], options: Options
    ) -> wire.FeaturesResponse:
        record = await self._engine.use(predictor.id, context.principal.name)
        response = await self._answer(context, record, inputs, options)
        assert isinstance(response, wire.FeaturesResponse), "nothing else is asked for"
        return response

    async def _answer(
        self,
        context: RequestContext,
        record: PredictorRecord,
        inputs: Sequence[Input],
        options: Options,
        failures: tensors.Failures = (),
        *,
        raw: bool = False,
    ) -> wire.FeaturesResponse | Octets:
        try:
            recorder = self._trace(context, options, record)
            prediction = await self._engine.predict(record, inputs, options, keep_outputs=raw, recorder=recorder)
        except DeadlineExceeded as late:
            raise self._late(late, context, record, options, failures) from None
        if raw:
            return tensors.write_octets(tensors.merged(prediction.answers, failures))
        return self._responses.features(record, prediction, _asked(context, record, options, failures))

    def _trace(
        self, context: RequestContext, options: Options, record: PredictorRecord | None = None
    ) -> Recorder | None:
        """Begin to trace a request, if it asks for it or is one of the samples."""
        level = options.trace_level
        if level is None and record is not None:
            level = record.options.trace_level
        recorder = self._begin(context.trace, level, context.principal.name, context.started)
        if recorder is not None:
            recorder.tags["request_id"] = context.request_id
            context.recorder = recorder
        return recorder

    def _late(
        self,
        late: DeadlineExceeded,
        context: RequestContext,
        record: PredictorRecord,
        options: Options,
        failures: tensors.Failures = (),
    ) -> DeadlineExceeded:
        """Return the error with what was done in this wire's form."""
        if isinstance(late.partial, Prediction):
            asked = _asked(context, record, options, failures)
            late.partial = self._responses.features(record, late.partial, asked)
        return late


def _asked(
    context: RequestContext, record: PredictorRecord, options: Options, failures: tensors.Failures = ()
) -> Asked:
    request_id = options.request_id or record.options.request_id or context.request_id
    return Asked(trace_id=context.trace.trace_id, request_id=request_id, failures=failures)


def _predictor_id(body: wire.PredictorCloseRequest | wire.PredictorResetRequest) -> str:
    if not isinstance(body.predictor, UnsetType):
        return body.predictor.id
    if not convert.given(body.id, ""):
        raise InvalidField("", 'it names no predictor: send {"predictor": {"id": ...}} or {"id": ...}')
    return convert.given(body.id, "")
