"""What the predictions give back, as plain frozen values; `read_...` makes them of the contract's messages."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stepscope_generated import models as wire

from stepscope_client.errors import InputFailed

if TYPE_CHECKING:
    import numpy as np

TRACE_PORT = 16686
"""Where tracing servers are asked, by old custom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One thing that the model says of an input."""

    type: str
    """The contract's name of the kind, such as `CLASSIFICATION`."""
    probability: float
    """How sure the model is; 0 when it doesn't say."""
    label: str
    """The class's name; empty for kinds without one."""
    index: int | None
    """The class's place in the model's output."""
    payload: Any = field(repr=False)
    """All that the contract has for this kind: a `stepscope_generated` model such as `BoundingBoxPayload`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputError:
    """Why one input has no features."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One input's features, best first, or its error."""

    id: str
    input_id: str
    features: tuple[Feature, ...] = ()
    error: InputError | None = None

    @property
    def best(self) -> Feature:
        """The feature that the model is most sure of. Raises `InputFailed` when there is none."""
        if self.features:
            return self.features[0]
        error = self.error or InputError(code="no_features", message="The model found nothing.")
        raise InputFailed(self.input_id, error.code, error.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The time spent in one step, summed over its inputs, which pass side by side."""

    name: str
    duration_s: float
    count: int

    @property
    def each_s(self) -> float:
        """The time of one input on average."""
        return self.duration_s / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A dataset's result; accuracies are None without labels."""

    count: int
    failed: int
    top1: float | None
    top5: float | None
    batch_size: int
    latency_p50_s: float
    latency_p90_s: float
    latency_p99_s: float
    throughput: float
    """Elements per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The answers, in the order of the inputs; iterating over a result gives them too."""

    predictor_id: str
    trace_id: str
    answers: tuple[Answer, ...]
    duration_s: float
    inference_s: float
    device: str
    model: str
    """Name and version."""
    framework: str
    """Name and version."""
    steps: tuple[Step, ...] = ()
    summary: Summary | None = None

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def failed(self) -> tuple[Answer, ...]:
        """The answers that carry an error."""
        return tuple(answer for answer in self.answers if answer.error is not None)

    def trace_url(self, site: str) -> str:
        """Return the trace's address at a tracing server; see `trace_url`."""
        return trace_url(site, self.trace_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawOutputs:
    """The model's first output: little-endian numbers in C order; the first number of `shape` counts the inputs."""

    shape: tuple[int, ...]
    dtype: str
    data: bytes = field(repr=False)

    @property
    def array(self) -> "np.ndarray[Any, Any]":
        """The numbers as a read-only numpy array. Raises `ImportError` where numpy isn't installed."""
        import numpy as np

        return np.frombuffer(self.data, np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What a close gave back; memory is the server's on the predictor's device."""

    freed_bytes: int
    memory_before_bytes: int
    memory_after_bytes: int
    duration_s: float


def trace_url(site: str, trace_id: str) -> str:
    """Return a trace's address at a tracing server: a host or a URL, with port 16686 unless it names another."""
    site = site.strip("/")
    if "://" not in site:
        site = "http://" + site
    port = "" if urlsplit(site).port else f":{TRACE_PORT}"
    return f"{site}{port}/api/traces/{trace_id}"


def read_result(message: wire.FeaturesResponse) -> Result:
    """Return a prediction's answer as a value."""
    versions = message.versions
    return Result(
        predictor_id=message.id,
        trace_id=message.trace_id.id or "",
        answers=tuple(_read_answer(response) for response in message.responses),
        duration_s=read_seconds(message.duration),
        inference_s=read_seconds(message.duration_for_inference),
        device=message.device or "",
        model=versions.model if versions else "",
        framework=versions.framework if versions else "",
        steps=tuple(_read_step(step) for step in message.steps or ()),
        summary=_read_summary(message.summary) if message.summary else None,
    )


def read_closed(message: wire.PredictorCloseResponse) -> Closed:
    """Return a close's answer as a value."""
    return Closed(
        freed_bytes=message.freed_bytes,
        memory_before_bytes=message.memory_before_bytes,
        memory_after_bytes=message.memory_after_bytes,
        duration_s=read_seconds(message.duration),
    )


def read_seconds(duration: str) -> float:
    """Read a duration: decimal seconds followed by `s`, as protobuf writes them in JSON."""
    return float(duration.removesuffix("s"))


def _read_answer(message: wire.FeatureResponse) -> Answer:
    error = message.error
    return Answer(
        id=message.id,
        input_id=message.input_id,
        features=tuple(_read_feature(feature) for feature in message.features or ()),
        error=InputError(code=error.code.value, message=error.message) if error else None,
    )


def _read_feature(message: wire.Feature) -> Feature:
    kind = message.type.value
    payload = getattr(message, _PAYLOADS.get(kind, kind.lower()), None)
    return Feature(
        type=kind,
        probability=float(message.probability or 0.0),
        label=getattr(payload, "label", None) or "",
        index=getattr(payload, "index", None),
        payload=payload,
    )


_PAYLOADS = {
    "BOUNDINGBOX": "bounding_box",
    "SEMANTICSEGMENT": "semantic_segment",
    "INSTANCESEGMENT": "instance_segment",
}
"""The kinds whose payload isn't simply named after them."""


def _read_step(message: wire.StepDuration) -> Step:
    return Step(name=message.name, duration_s=read_seconds(message.duration), count=message.count)


def _read_summary(message: wire.DatasetSummary) -> Summary:
    return Summary(
        count=message.count,
        failed=message.failed,
        top1=_share(message.top1),
        top5=_share(message.top5),
        batch_size=message.batch_size,
        latency_p50_s=read_seconds(message.latency_p50),
        latency_p90_s=read_seconds(message.latency_p90),
        latency_p99_s=read_seconds(message.latency_p99),
        throughput=float(message.throughput),
    )


def _share(value: float | None) -> float | None:
    return None if value is None else float(value)
