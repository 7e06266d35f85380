"""Between the native wire's Structs and the core's values. Pure."""

import base64
import io
import itertools
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from PIL import Image

from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import (
    Answer,
    Array,
    BoundingBox,
    DeviceRef,
    Encoded,
    Feature,
    FeatureType,
    Geolocation,
    InstanceSegment,
    ModelRef,
    Options,
    Prediction,
    RawImage,
    SemanticSegment,
    Summary,
    TraceLevel,
)
from stepscope_api import models as wire

ValueT = TypeVar("ValueT")

LEVELS: Mapping[wire.TraceLevel, TraceLevel] = {
    **{wire.TraceLevel(level.name): level for level in TraceLevel},
    wire.TraceLevel.STEP_TRACE: TraceLevel.APPLICATION_TRACE,
    wire.TraceLevel.PIPELINE_TRACE: TraceLevel.APPLICATION_TRACE,
    wire.TraceLevel.LIBRARY_TRACE: TraceLevel.ML_LIBRARY_TRACE,
    wire.TraceLevel.CPU_ONLY_TRACE: TraceLevel.HARDWARE_TRACE,
    wire.TraceLevel.NONE: TraceLevel.NO_TRACE,
    wire.TraceLevel.STEP: TraceLevel.APPLICATION_TRACE,
    wire.TraceLevel.APPLICATION: TraceLevel.APPLICATION_TRACE,
    wire.TraceLevel.PIPELINE: TraceLevel.APPLICATION_TRACE,
    wire.TraceLevel.MODEL: TraceLevel.MODEL_TRACE,
    wire.TraceLevel.FRAMEWORK: TraceLevel.FRAMEWORK_TRACE,
    wire.TraceLevel.LIBRARY: TraceLevel.ML_LIBRARY_TRACE,
    wire.TraceLevel.SYSTEM: TraceLevel.SYSTEM_LIBRARY_TRACE,
    wire.TraceLevel.HARDWARE: TraceLevel.HARDWARE_TRACE,
    wire.TraceLevel.FULL: TraceLevel.FULL_TRACE,
}
"""The old clients' names for levels, and ours."""

WIRE_TYPES: Mapping[FeatureType, wire.FeatureType] = {kind: wire.FeatureType(kind.value) for kind in FeatureType}


def given(value: ValueT | UnsetType, default: ValueT) -> ValueT:
    """Return a field's value, or the default when it wasn't sent."""
    return default if isinstance(value, UnsetType) else value


# --- requests ------------------------------------------------------------------------------------


def read_ref(request: wire.PredictorOpenRequest) -> ModelRef:
    """Return the model asked for; what is missing or empty means any."""
    return ModelRef(
        name=given(request.model_name, "") or "*",
        version=given(request.model_version, "") or "*",
        framework_name=given(request.framework_name, "") or "*",
        framework_version=given(request.framework_version, "") or "*",
    )


def read_options(options: wire.PredictionOptions | UnsetType, *, persist: bool = False) -> Options:
    """Return a caller's options; what it left open stays open."""
    if isinstance(options, UnsetType):
        return Options(persist=persist)
    execution = given(options.execution_options, wire.ExecutionOptions())
    level = execution.trace_level
    limit: int | str | UnsetType = execution.timeout_in_ms
    milliseconds = 0 if isinstance(limit, UnsetType) else int(limit)
    return Options(
        request_id=given(options.request_id, ""),
        batch_size=given(options.batch_size, 0) or None,
        feature_limit=None if isinstance(options.feature_limit, UnsetType) else options.feature_limit,
        timeout_s=milliseconds / 1000 or None,
        trace_level=None if isinstance(level, UnsetType) else LEVELS[level],
        device=_device(given(execution.device_count, {})),
        persist=persist,
        way=None if isinstance(execution.way, UnsetType) else execution.way.value.removeprefix("auto"),
    )


def _device(count: Mapping[str, int]) -> DeviceRef | None:
    """Read `{"GPU": 0}` as the first GPU, as the old server did, whatever its documents said."""
    for kind, index in count.items():
        return DeviceRef() if kind.lower() == "cpu" else DeviceRef(kind="cuda", index=index)
    return None


# --- answers -------------------------------------------------------------------------------------

_random = random.Random().getrandbits  # noqa: S311 - ids that needn't be secret
_boot = f"{int(time.time()):08x}{secrets.token_hex(4)}"
_features = itertools.count(secrets.randbelow(1 << 31))
_CLASSIFICATION = wire.FeatureType.CLASSIFICATION


def feature_id() -> str:
    """Return 24 hex digits: the start's time, a random part, and a count, as an ObjectId has them."""
    return f"{_boot}{next(_features) & 0xFFFFFFFF:08x}"


def write_duration(seconds: float) -> str:
    """Return a duration in proto3's JSON form, to the microsecond."""
    return "%.6fs" % (seconds if seconds > 0.0 else 0.0)


def write_expiry(record: PredictorRecord) -> datetime:
    """Return when the lease ends if the predictor isn't used before, to the millisecond."""
    ends = record.expires_at.astimezone(UTC)
    return ends.replace(microsecond=ends.microsecond // 1000 * 1000)


def write_answers(answers: Sequence[Answer], request_id: str) -> list[wire.FeatureResponse]:
    """Return an answer for each input, in order."""
    batch = f"{_random(128):032x}"
    return [_answer(answer, f"{batch}-{place}", request_id) for place, answer in enumerate(answers)]


def _answer(answer: Answer, answer_id: str, request_id: str) -> wire.FeatureResponse:
    if answer.error is not None:
        problem = wire.InputProblem(code=wire.InputProblemCode(answer.error.code), message=answer.error.message)
        return wire.FeatureResponse(id=answer_id, request_id=request_id, input_id=answer.input_id, error=problem)
    ranked = bool(answer.features) and answer.features[0].type is FeatureType.CLASSIFICATION
    write = _classification if ranked else write_feature  # by far the most frequent
    features = [write(feature) for feature in answer.features]
    return wire.FeatureResponse(id=answer_id, request_id=request_id, input_id=answer.input_id, features=features)


def write_feature(feature: Feature) -> wire.Feature:
    """Return a feature with the payload that its type names."""
    if feature.type is FeatureType.CLASSIFICATION:
        return _classification(feature)
    field, value = _payload(feature.type, feature.payload)
    written = wire.Feature(id=feature_id(), type=WIRE_TYPES[feature.type], probability=feature.probability)
    if feature.metadata:
        written.metadata = dict(feature.metadata)
    setattr(written, field, value)
    return written


def write_json_feature(feature: Feature) -> object:
    """Return a feature as JSON has it, with the payload that its type names."""
    return msgspec.to_builtins(write_feature(feature))


def _classification(feature: Feature) -> wire.Feature:
    payload: Any = feature.payload
    return wire.Feature(
        id=feature_id(),
        type=_CLASSIFICATION,
        probability=feature.probability,
        classification=wire.ClassificationPayload(index=payload.index, label=payload.label),
    )


def _payload(kind: FeatureType, payload: object) -> tuple[str, object]:
    writers: Mapping[type, Callable[..., tuple[str, object]]] = {
        BoundingBox: _box,
        SemanticSegment: _semantic,
        InstanceSegment: _instance,
        Geolocation: _geolocation,
        RawImage: _raw_image,
    }
    if isinstance(payload, Encoded):
        return _encoded(kind, payload)
    return writers[type(payload)](payload)


def _box(box: BoundingBox) -> tuple[str, object]:
    return "bounding_box", wire.BoundingBoxPayload(**_box_fields(box))


def _box_fields(box: BoundingBox) -> dict[str, Any]:
    return {name: getattr(box, name) for name in ("index", "label", "xmin", "xmax", "ymin", "ymax")}


def _semantic(segment: SemanticSegment) -> tuple[str, object]:
    height, width = segment.mask.shape
    mask = segment.mask.astype(np.int64).ravel().tolist()
    return "semantic_segment", wire.SemanticSegmentPayload(height=height, width=width, int_mask=mask)


def _instance(segment: InstanceSegment) -> tuple[str, object]:
    height, width = segment.mask.shape
    numbers: Sequence[float] = segment.mask.ravel().tolist()
    floats = np.issubdtype(segment.mask.dtype, np.floating)
    return "instance_segment", wire.InstanceSegmentPayload(
        **_box_fields(segment.box),
        mask_type="float" if floats else "int",
        height=height,
        width=width,
        int_mask=UNSET if floats else [int(number) for number in numbers],
        float_mask=list(numbers) if floats else UNSET,
    )


def _geolocation(place: Geolocation) -> tuple[str, object]:
    return "geolocation", wire.GeolocationPayload(index=place.index, latitude=place.latitude, longitude=place.longitude)


def _raw_image(image: RawImage) -> tuple[str, object]:
    height, width, channels = image.pixels.shape
    floats = image.pixels.dtype != np.uint8
    numbers = image.pixels.ravel().tolist()
    return "raw_image", wire.RawImagePayload(
        data_type="float32" if floats else "uint8",
        char_list=UNSET if floats else numbers,
        float_list=numbers if floats else UNSET,
        width=width,
        height=height,
        channels=channels,
        jpeg_data=_jpeg(image.pixels),
    )


def _jpeg(pixels: Array) -> str | UnsetType:
    """Return the picture as the old web page shows it; only one and three channels can be a JPEG."""
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3):
        return UNSET
    file = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(file, "JPEG", quality=90)
    return base64.b64encode(file.getvalue()).decode()


def _encoded(kind: FeatureType, payload: Encoded) -> tuple[str, object]:
    data = base64.b64encode(payload.data).decode()
    if kind is FeatureType.IMAGE:
        return "image", wire.ImagePayload(id=feature_id(), data=data)
    if kind is FeatureType.TEXT:
        return "text", wire.TextPayload(data=data)
    if kind is FeatureType.AUDIO:
        return "audio", wire.AudioPayload(data=data, format=payload.format)
    if kind is FeatureType.REGION:
        return "region", wire.RegionPayload(data=data, format=payload.format)
    return "raw", wire.RawPayload(data=data, format=payload.format)


def write_steps(prediction: Prediction) -> list[wire.StepDuration]:
    """Return where the time went."""
    return [
        wire.StepDuration(name=step.name, duration=write_duration(step.duration_s), count=step.count)
        for step in prediction.steps
    ]


def write_summary(summary: Summary) -> wire.DatasetSummary:
    """Return a dataset's result."""
    return wire.DatasetSummary(
        count=summary.count,
        failed=summary.failed,
        top1=UNSET if summary.top1 is None else summary.top1,
        top5=UNSET if summary.top5 is None else summary.top5,
        batch_size=summary.batch_size,
        latency_p50=write_duration(summary.latency_p50_s),
        latency_p90=write_duration(summary.latency_p90_s),
        latency_p99=write_duration(summary.latency_p99_s),
        throughput=summary.throughput,
    )
