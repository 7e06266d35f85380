"""The tag `predict`: open, predict, close. Implements the generated `PredictOperations`."""

import time
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import UNSET, Meta, UnsetType
from stepscope_api import models as wire
from stepscope_api.operations import Octets

from stepscope.codecs.arrays import from_numbers, from_octets, to_octets
from stepscope.core.access import RequestContext
from stepscope.core.errors import (
    DeadlineExceeded,
    InputFailed,
    InternalFailure,
    InvalidField,
    PredictionFailed,
    TensorInvalid,
)
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import (
    Answer,
    Array,
    ImageInput,
    Input,
    InputError,
    Options,
    Prediction,
    TensorInput,
    UrlInput,
)
from stepscope.core.tensors import split
from stepscope.dialects.mlmodelscope import wire as convert
from stepscope.engine.engine import Engine
from stepscope.engine.evaluations import Evaluations

OCTETS = "application/octet-stream"
MAX_INPUTS = 4096


class Predict:
    """Open, predict, close."""

    def __init__(self, engine: Engine, evaluations: Evaluations, server: str, contract: str) -> None:
        self._engine = engine
        self._evaluations = evaluations
        self._server = server
        self._contract = contract

    async def open_predictor(self, context: RequestContext, body: wire.PredictorOpenRequest) -> wire.Predictor:
        """Open a predictor on a model."""
        started = time.perf_counter()
        options = convert.read_options(body.options, persist=convert.given(body.persist, False))
        record, manifest = await self._engine.open(convert.read_ref(body), options, context.principal.name)
        framework = wire.FrameworkRef(
            name=self._engine.runtime.framework_name, version=self._engine.runtime.framework_version
        )
        return wire.Predictor(
            id=record.id,
            expires_at=convert.write_expiry(record),
            lease_in_ms=round(record.lease_s * 1000),
            model=wire.ModelChoice(name=manifest.name, version=manifest.version, framework=framework),
            device=str(record.device),
            versions=self._versions(framework.name, framework.version, manifest.name, manifest.version),
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
        if isinstance(body, bytes):
            if isinstance(predictor_id, UnsetType) or isinstance(shape, UnsetType):
                missing = "predictor_id" if isinstance(predictor_id, UnsetType) else "shape"
                raise InvalidField(missing, "it is missing; an octet-stream body needs it in the query")
            record = await self._engine.use(predictor_id, context.principal.name)
            array = from_octets(body, tuple(shape), convert.given(dtype, wire.TensorDtype.FLOAT32).value)
            spec = self._engine.manifest(record).inputs[0].spec
            inputs = [TensorInput(id=str(place), array=part) for place, part in enumerate(split(array, spec))]
            if len(inputs) > MAX_INPUTS:
                raise InvalidField("shape", f"it counts {len(inputs)} inputs, and {MAX_INPUTS} are taken at a time")
            options = Options(feature_limit=None if isinstance(feature_limit, UnsetType) else feature_limit)
            return await self._answer_tensors(context, record, inputs, [], options)
        record = await self._engine.use(body.predictor.id, context.principal.name)
        inputs, failures = _read_tensors(body.tensors)
        return await self._answer_tensors(context, record, inputs, failures, convert.read_options(body.options))

    async def predict_dataset(self, context: RequestContext, body: wire.DatasetRequest) -> wire.FeaturesResponse:
        """Predict a whole dataset."""
        record = await self._engine.use(body.predictor.id, context.principal.name)
        options = convert.read_options(body.options)
        try:
            prediction, summary = await self._evaluations.run(
                record, body.dataset.category, body.dataset.name, options
            )
        except DeadlineExceeded as late:
            raise self._late(late, context, record, options) from None
        response = self._response(context, record, prediction, options)
        response.summary = convert.write_summary(summary)
        return response

    async def reset_predictor(
        self, context: RequestContext, body: wire.PredictorResetRequest
    ) -> wire.PredictorResetResponse:
        """Clear a predictor's caches."""
        record = await self._engine.reset(_predictor_id(body), context.principal.name)
        return wire.PredictorResetResponse(predictor=wire.PredictorRef(id=record.id))

    async def close_predictor(
        self, context: RequestContext, body: wire.PredictorCloseRequest
    ) -> wire.PredictorCloseResponse:
        """Close a predictor."""
        predictor_id = _predictor_id(body)
        force = convert.given(body.force, False)
        freed = await self._engine.close(predictor_id, context.principal.name, force=force)
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
        try:
            prediction = await self._engine.predict(record, inputs, options)
        except DeadlineExceeded as late:
            raise self._late(late, context, record, options) from None
        return self._response(context, record, prediction, options)

    async def _answer_tensors(
        self,
        context: RequestContext,
        record: PredictorRecord,
        inputs: Sequence[Input],
        failures: Sequence[tuple[int, Answer]],
        options: Options,
    ) -> wire.FeaturesResponse | Octets:
        raw = context.accept == OCTETS
        try:
            prediction = await self._engine.predict(record, inputs, options, keep_outputs=raw)
        except DeadlineExceeded as late:
            raise self._late(late, context, record, options) from None
        answers = list(prediction.answers)
        for place, answer in failures:
            answers.insert(place, answer)
        if raw:
            return _octets(answers)
        return self._response(context, record, prediction, options, answers)

    def _response(
        self,
        context: RequestContext,
        record: PredictorRecord,
        prediction: Prediction,
        options: Options,
        answers: Sequence[Answer] | None = None,
    ) -> wire.FeaturesResponse:
        request_id = options.request_id or record.options.request_id or context.request_id
        return wire.FeaturesResponse(
            id=record.id,
            trace_id=wire.TraceId(id=context.trace.trace_id),
            responses=convert.write_answers(prediction.answers if answers is None else answers, request_id),
            duration=convert.write_duration(prediction.duration_s),
            duration_for_inference=convert.write_duration(prediction.inference_s),
            device=prediction.device,
            versions=self._versions(
                prediction.framework_name,
                prediction.framework_version,
                prediction.model_name,
                prediction.model_version,
            ),
            steps=convert.write_steps(prediction),
        )

    def _late(
        self, late: DeadlineExceeded, context: RequestContext, record: PredictorRecord, options: Options
    ) -> DeadlineExceeded:
        """Return the error with what was done in this wire's form."""
        if isinstance(late.partial, Prediction):
            late.partial = self._response(context, record, late.partial, options)
        return late

    def _versions(self, framework: str, framework_version: str, model: str, model_version: str) -> wire.Versions:
        return wire.Versions(
            server=self._server,
            contract=self._contract,
            framework=f"{framework} {framework_version}",
            model=f"{model} {model_version}",
        )


def _predictor_id(body: wire.PredictorCloseRequest | wire.PredictorResetRequest) -> str:
    if not isinstance(body.predictor, UnsetType):
        return body.predictor.id
    if not convert.given(body.id, ""):
        raise InvalidField("", 'it names no predictor: send {"predictor": {"id": ...}} or {"id": ...}')
    return convert.given(body.id, "")


def _read_tensors(tensors: Sequence[wire.TensorItem]) -> tuple[list[Input], list[tuple[int, Answer]]]:
    """Return the arrays, and the answers of those that can't be read with their places."""
    inputs: list[Input] = []
    failures: list[tuple[int, Answer]] = []
    for place, item in enumerate(tensors):
        input_id = convert.given(item.id, "")
        try:
            dtype = convert.given(item.dtype, wire.TensorDtype.FLOAT32).value
            inputs.append(TensorInput(id=input_id, array=from_numbers(item.data, tuple(item.shape), dtype)))
        except InputFailed as failure:
            error = InputError(code=failure.code, message=str(failure))
            failures.append((place, Answer(input_id=input_id, error=error)))
    return inputs, failures


def _octets(answers: Sequence[Answer]) -> Octets:
    """Return the first output of every input as one array. An array has no place for an error, so one fails all."""
    for answer in answers:
        if answer.error is not None:
            if answer.error.code == PredictionFailed.code:
                raise InternalFailure
            raise TensorInvalid(answer.error.message.rstrip("."))
    outputs: list[Array] = [answer.outputs[0] for answer in answers]
    if len({output.shape for output in outputs}) > 1:
        raise TensorInvalid("the outputs differ in shape, so that they are no single array; ask for features")
    stacked = np.stack(outputs) if outputs else np.empty((0,), np.float32)
    headers = {"X-Tensor-Shape": ",".join(map(str, stacked.shape)), "X-Tensor-Dtype": str(stacked.dtype)}
    return Octets(to_octets(stacked), headers)
