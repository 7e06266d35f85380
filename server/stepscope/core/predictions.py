"""The values of a prediction: what is asked for, of which model, and what comes back.

Arrays are numpy arrays without a batch dimension, unless said otherwise. What every request makes anew is a Struct: a
frozen dataclass takes six times as long to make.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
"""Any numpy array."""

DEFAULT_FEATURE_LIMIT = 10


class TraceLevel(enum.IntEnum):
    """How deep a trace looks; each level contains those before it."""

    NO_TRACE = 0
    APPLICATION_TRACE = 1
    MODEL_TRACE = 2
    FRAMEWORK_TRACE = 3
    ML_LIBRARY_TRACE = 4
    SYSTEM_LIBRARY_TRACE = 5
    HARDWARE_TRACE = 6
    FULL_TRACE = 7


class FeatureType(enum.Enum):
    """The kinds of answer that a model can give, by their names on the native wire."""

    IMAGE = "IMAGE"
    RAW_IMAGE = "RAW_IMAGE"
    CLASSIFICATION = "CLASSIFICATION"
    BOUNDINGBOX = "BOUNDINGBOX"
    SEMANTICSEGMENT = "SEMANTICSEGMENT"
    INSTANCESEGMENT = "INSTANCESEGMENT"
    GEOLOCATION = "GEOLOCATION"
    REGION = "REGION"
    TEXT = "TEXT"
    AUDIO = "AUDIO"
    RAW = "RAW"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model as a caller names it: names as typed, versions as semver constraints, `*` or `latest`."""

    name: str = "*"
    version: str = "*"
    framework_name: str = "*"
    framework_version: str = "*"


class DeviceRef(msgspec.Struct, frozen=True, kw_only=True):
    """A device by kind (`cpu` or `cuda`) and index."""

    kind: str = "cpu"
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a caller wants its predictions. What is None is the server's choice.

    `way` is one of `tuning.WAYS`, empty for the fastest, None for what the manifest says. It is the predictor's: what
    a prediction says of it doesn't count.
    """

    request_id: str = ""
    batch_size: int | None = None
    feature_limit: int | None = None
    timeout_s: float | None = None
    trace_level: TraceLevel | None = None
    device: DeviceRef | None = None
    persist: bool = False
    way: str | None = None

    def over(self, defaults: "Options") -> "Options":
        """Return these options, with what they leave open taken from `defaults`."""
        return Options(
            request_id=self.request_id or defaults.request_id,
            batch_size=defaults.batch_size if self.batch_size is None else self.batch_size,
            feature_limit=defaults.feature_limit if self.feature_limit is None else self.feature_limit,
            timeout_s=defaults.timeout_s if self.timeout_s is None else self.timeout_s,
            trace_level=defaults.trace_level if self.trace_level is None else self.trace_level,
            device=defaults.device if self.device is None else self.device,
            persist=self.persist or defaults.persist,
            way=defaults.way,
        )


class UrlInput(msgspec.Struct, frozen=True, kw_only=True):
    """An image to fetch over HTTP."""

    id: str
    url: str


class ImageInput(msgspec.Struct, frozen=True, kw_only=True):
    """An encoded image file: base64 text as it came, or its bytes."""

    id: str
    data: str | bytes


class TensorInput(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One input of the model as an array, past preprocessing."""

    id: str
    array: Array


Input = UrlInput | ImageInput | TensorInput


class Classification(msgspec.Struct, frozen=True):
    """A class and its name."""

    index: int
    label: str


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A box in the image; coordinates are shares of its width and height, 0 to 1."""

    index: int
    label: str
    xmin: float
    xmax: float
    ymin: float
    ymax: float


@dataclass(frozen=True, slots=True)
class SemanticSegment:
    """The class of each pixel, `mask` of shape (height, width), integers."""

    mask: Array


@dataclass(frozen=True, slots=True)
class InstanceSegment:
    """A box with the mask of what it holds, `mask` of shape (height, width), integers or floats 0 to 1."""

    box: BoundingBox
    mask: Array


@dataclass(frozen=True, slots=True)
class Geolocation:
    """A place on earth, in degrees."""

    index: int
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class RawImage:
    """Pixels of shape (height, width, channels), uint8 or float32."""

    pixels: Array


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes in a named format: an image file, text, audio, a region, or a raw array."""

    data: bytes
    format: str


Payload = Classification | BoundingBox | SemanticSegment | InstanceSegment | Geolocation | RawImage | Encoded


_NOTHING: Mapping[str, str] = MappingProxyType({})


class Feature(msgspec.Struct, frozen=True):
    """One thing that the model says of an input, with how sure it is (0 to 1)."""

    type: FeatureType
    probability: float
    payload: Payload
    metadata: Mapping[str, str] = _NOTHING


class InputError(msgspec.Struct, frozen=True, kw_only=True):
    """Why one input has no answer: a stable code and a sentence."""

    code: str
    message: str


class Answer(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one input came to: features best first, or an error; and the model's arrays when they were asked for."""

    input_id: str
    features: Sequence[Feature] = ()
    outputs: tuple[Array, ...] = ()
    error: InputError | None = None


class StepTime(msgspec.Struct, frozen=True):
    """Time spent in one step, summed over `count` inputs (side by side, so sums can exceed the wall clock)."""

    name: str
    duration_s: float
    count: int


class Prediction(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Answers in the order of their inputs, and what it took to get them."""

    answers: Sequence[Answer]
    steps: Sequence[StepTime]
    duration_s: float
    inference_s: float
    model_name: str
    model_version: str
    framework_name: str
    framework_version: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A dataset's result: shares 0 to 1 of the labelled inputs, latencies of batches in seconds, inputs a second."""

    count: int
    failed: int
    top1: float | None
    top5: float | None
    batch_size: int
    latency_p50_s: float
    latency_p90_s: float
    latency_p99_s: float
    throughput: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What a close gave back: bytes of weights dropped, and the device's memory around it."""

    freed_bytes: int
    before_bytes: int
    after_bytes: int
    duration_s: float
    trace_level: TraceLevel | None = None
    """How deep the predictor's traces looked."""
