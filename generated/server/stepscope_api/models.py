"""A Struct for each object schema of the contract, an Enum for each enumeration.

Written by `make generate`. Decoding with `msgspec.json.Decoder(Struct)` checks every constraint.
An absent optional field is UNSET. Lengths of `format: byte` strings count base64 characters.
"""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType


class Agent(Struct, kw_only=True, gc=False):
    """A server with its devices."""

    # The address that the server listens on.
    host: Annotated[str, Meta(max_length=256)]
    # The port as text.
    port: Annotated[str, Meta(max_length=8)]
    # The machine's name.
    hostname: Annotated[str, Meta(max_length=256)]
    # The processor's architecture.
    architecture: Annotated[str, Meta(max_length=64)]
    # Whether a GPU is used.
    hasgpu: bool
    # The processor as a JSON document in a string.
    cpuinfo: str | UnsetType = UNSET
    # The GPU as a JSON document in a string; empty without one.
    gpuinfo: str | UnsetType = UNSET
    # The frameworks that run there.
    frameworks: list[FrameworkRef] | UnsetType = UNSET
    # Notes on the machine.
    metadata: dict[str, str] | UnsetType = UNSET


class Agents(Struct, kw_only=True, gc=False):
    """Machines."""

    # The machines that match.
    agents: list[Agent]


class AudioPayload(Struct, kw_only=True, gc=False):
    """A recording."""

    # The file as base64.
    data: str | UnsetType = UNSET
    # The file's format.
    format: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class BoundingBoxPayload(Struct, kw_only=True, gc=False):
    """A box in the image, in shares of its width and height."""

    # The class's index.
    index: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # The class's name.
    label: str | UnsetType = UNSET
    # The left edge.
    xmin: float | UnsetType = UNSET
    # The right edge.
    xmax: float | UnsetType = UNSET
    # The upper edge.
    ymin: float | UnsetType = UNSET
    # The lower edge.
    ymax: float | UnsetType = UNSET


class CandidateTiming(Struct, kw_only=True, gc=False):
    """How long one size of batch took."""

    # Inputs in the batch.
    batch_size: Annotated[int, Meta(ge=1, le=4096)]
    # The CPU threads of the run. 0 leaves them to torch.
    threads: Annotated[int, Meta(ge=0, le=1024)]
    # The median time of a batch in milliseconds.
    latency_ms: Annotated[float, Meta(ge=0)]
    # How many times as fast as eager fp32 it is.
    speedup: Annotated[float, Meta(ge=0)]


class CandidateVerdict(enum.StrEnum):
    """What became of a way that was tried: it runs (`chosen`), it is right but not worth it
    (`slower`), its answers differ (`wrong`), it can't run here (`failed`), or there was no time
    to try it (`skipped`).
    """

    CHOSEN = "chosen"
    SLOWER = "slower"
    WRONG = "wrong"
    FAILED = "failed"
    SKIPPED = "skipped"


class ChatCompletion(Struct, kw_only=True, gc=False):
    """A chat's answer."""

    # `chatcmpl-` and the job's id.
    id: str
    # Always `chat.completion`.
    object: str
    # Seconds since 1970.
    created: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # The model that answered.
    model: str
    # One, with its `message`.
    choices: list[dict[str, Any]]
    # Tokens that it took.
    usage: dict[str, Any] | UnsetType = UNSET


class ChatRequest(Struct, kw_only=True, gc=False):
    """A chat, as OpenAI's interface has it; what isn't known here is left out."""

    # A configured model.
    model: str
    # `role` and `content` of each.
    messages: list[dict[str, Any]]
    # Whether the answer comes in parts, as server-sent events.
    stream: bool = False
    # How free the answer is.
    temperature: Annotated[float, Meta(ge=0, le=100)] | UnsetType = UNSET
    # How long it may be.
    max_tokens: Annotated[int, Meta(ge=1, le=2147483647)] | UnsetType = UNSET


class ChromeEvent(Struct, kw_only=True, gc=False):
    """One event of a Chrome trace."""

    # What was done, or the kind of metadata.
    name: Annotated[str, Meta(max_length=1024)]
    # The span's level.
    cat: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    # X is a stretch of time, M metadata, C counters.
    ph: Literal["X", "M", "C"]
    # Microseconds since the trace began.
    ts: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    # Microseconds.
    dur: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    # The program.
    pid: Annotated[int, Meta(ge=0, le=2147483647)]
    # The row.
    tid: Annotated[int, Meta(ge=0, le=2147483647)]
    # Facts about it.
    args: dict[str, Any] | UnsetType = UNSET


class ChromeTrace(Struct, kw_only=True, gc=False):
    """A trace in the Trace Event Format, which Perfetto (ui.perfetto.dev) and chrome://tracing
    open.
    """

    # All events of the trace, none left out.
    traceEvents: list[ChromeEvent]
    # How times are shown.
    displayTimeUnit: Literal["ms", "ns"]


class ClassificationPayload(Struct, kw_only=True, gc=False):
    """A class."""

    # The class's index in the model's output.
    index: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # The class's name.
    label: str | UnsetType = UNSET


class ClientKeyCheck(Struct, kw_only=True, gc=False):
    """Whether a key opens any endpoint."""

    # Whether it does.
    success: bool
    error: Any | None | UnsetType = UNSET


class ClientLogin(Struct, kw_only=True, gc=False):
    """A session key, or why there is none."""

    # Whether the key may use the endpoint.
    success: bool
    ep_version: Any | None | UnsetType = UNSET
    # Stands for the key from now on.
    client_session_auth_key: str | UnsetType = UNSET
    # The key.
    key: str | UnsetType = UNSET
    # Why there is none.
    error: str | UnsetType = UNSET


class ContainerImages(Struct, kw_only=True, gc=False):
    """Container images of one architecture."""

    # The image for a machine without a GPU.
    cpu: str | UnsetType = UNSET
    # The image for a machine with a GPU.
    gpu: str | UnsetType = UNSET


class DatasetRef(Struct, kw_only=True, gc=False):
    """A dataset by category and name."""

    # The dataset's category.
    category: Annotated[str, Meta(min_length=1, max_length=128)]
    # The dataset's name.
    name: Annotated[str, Meta(min_length=1, max_length=128)]


class DatasetRequest(Struct, kw_only=True, gc=False):
    """A dataset of the server's to run."""

    # A predictor by its id. The whole answer of `open` may be sent; what isn't known is ignored.
    predictor: PredictorRef
    # A dataset by category and name.
    dataset: DatasetRef
    # How predictions are made. What `open` sets holds for the predictor; what a prediction sets
    # holds for it alone.
    options: PredictionOptions | UnsetType = UNSET


class DatasetSummary(Struct, kw_only=True, gc=False):
    """A dataset's result."""

    # How many elements were run.
    count: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # How many of them carry an error.
    failed: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # The share of labelled elements whose best class is right. Missing without labels.
    top1: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    # The share of labelled elements with the right class among the best five. Missing without
    # labels.
    top5: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    # How many elements were sent to the device together at most.
    batch_size: Annotated[int, Meta(ge=1, le=4096)]
    # A duration in decimal seconds followed by `s`.
    latency_p50: Annotated[str, Meta(max_length=32, pattern="^[0-9]+(\\.[0-9]{1,9})?s\\Z")]
    # A duration in decimal seconds followed by `s`.
    latency_p90: Annotated[str, Meta(max_length=32, pattern="^[0-9]+(\\.[0-9]{1,9})?s\\Z")]
    # A duration in decimal seconds followed by `s`.
    latency_p99: Annotated[str, Meta(max_length=32, pattern="^[0-9]+(\\.[0-9]{1,9})?s\\Z")]
    # Elements per second.
    throughput: Annotated[float, Meta(ge=0)]


class EndpointAnswer(Struct, kw_only=True, gc=False):
    """The result, its outputs by name beside these, or the job's id for those who don't wait."""

    # Whether there is a result, or a job.
    success: bool
    # The job.
    job_id: str | UnsetType = UNSET
    ep_version: Any | None | UnsetType = UNSET
    # Why the worker couldn't do it.
    error: str | UnsetType = UNSET


class EndpointCancelAnswer(Struct, kw_only=True, gc=False):
    """Whether the job was canceled; one that has ended stays as it is."""

    # Whether there is such a job.
    success: bool
    # The job.
    job_id: str
    ep_version: Any | None | UnsetType = UNSET
    # Whether it is canceled now.
    canceled: bool


class EndpointDetails(Struct, kw_only=True, gc=False):
    """An endpoint with its parameters, its queue and its workers."""

    # Its name, which is its path.
    name: str
    # What people call it.
    title: str
    # What it does.
    description: str | UnsetType = UNSET
    # How it is asked.
    http_methods: list[str]
    # Jobs that may wait.
    max_queue_length: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # How many more may.
    free_queue_slots: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # Workers that are online.
    num_active_workers: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # What they are.
    workers: list[dict[str, Any]]
    # Its `input`, `output` and `progress`.
    parameter_description: dict[str, Any]


class EndpointJobRef(Struct, kw_only=True, gc=False):
    """A job, and the key of the client that it is of."""

    # The job.
    job_id: str
    # The client's key.
    key: str | UnsetType = UNSET
    # A session key, in its place.
    client_session_auth_key: str | UnsetType = UNSET


class EndpointNames(Struct, kw_only=True, gc=False):
    """Endpoints by name."""

    # All of them, or those that a key opens.
    endpoints: list[str]


class EndpointProgress(Struct, kw_only=True, gc=False):
    """How far a job is; with its end, the result, as often as it is asked for."""

    # Whether there is such a job.
    success: bool
    # The job.
    job_id: str
    ep_version: Any | None | UnsetType = UNSET
    # `queued`, `processing` or `done`.
    job_state: str
    # `progress`, `progress_data`, `queue_position`, `estimate` in seconds, `num_workers_online`.
    progress: dict[str, Any] | UnsetType = UNSET
    # The result, as in `EndpointAnswer`.
    job_result: dict[str, Any] | UnsetType = UNSET


class EndpointRefusal(Struct, kw_only=True, gc=False):
    """Why a request isn't served. `error` is a text or a list of texts."""

    # Always false.
    success: bool | UnsetType = UNSET
    # The status, where the request isn't one at all.
    status: Annotated[int, Meta(ge=400, le=599)] | UnsetType = UNSET
    # What is wrong with it then.
    message: str | UnsetType = UNSET


class EndpointRequest(Struct, kw_only=True, gc=False):
    """What an endpoint is asked: its parameters by name beside these."""

    # The client's key.
    key: str | UnsetType = UNSET
    # A session key, in its place.
    client_session_auth_key: str | UnsetType = UNSET
    # Whether the answer is the result.
    wait_for_result: bool = True


class ExecutionCandidate(Struct, kw_only=True, gc=False):
    """A way that was tried, and what became of it."""

    # The way's name.
    way: Annotated[str, Meta(max_length=64)]
    # What became of a way that was tried: it runs (`chosen`), it is right but not worth it
    # (`slower`), its answers differ (`wrong`), it can't run here (`failed`), or there was no time
    # to try it (`skipped`).
    verdict: CandidateVerdict
    # Why it is out. Missing for one that is right.
    reason: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET
    # The largest difference from the answers of eager fp32, as a share of their largest
    # magnitude. Missing where there is no such number: it was never compared, or its answers are
    # of another kind.
    error: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    # How long it took, by rising size of the batch. Empty for one that wasn't timed.
    timings: Annotated[list[CandidateTiming], Meta(max_length=64)]


class ExecutionChoice(Struct, kw_only=True, gc=False):
    """What runs the batches up to a size."""

    # The way's name.
    way: Annotated[str, Meta(max_length=64)]
    # The CPU threads of one run. 0 leaves them to torch.
    threads: Annotated[int, Meta(ge=0, le=1024)]
    # The largest batch that it runs. Missing where it runs all that are larger.
    up_to: Annotated[int, Meta(ge=1, le=4096)] | UnsetType = UNSET


class ExecutionOptions(Struct, kw_only=True, gc=False):
    """Where and how predictions run, for how long, and how deep their trace looks."""

    # A trace.
    trace_id: TraceId | UnsetType = UNSET
    # How deep the trace looks; each level contains those before it: NO, APPLICATION (steps),
    # MODEL, FRAMEWORK (layers), ML_LIBRARY, SYSTEM_LIBRARY (kernels), HARDWARE (counters), FULL.
    # The names after FULL_TRACE are those of older clients: STEP_TRACE, STEP, PIPELINE_TRACE,
    # PIPELINE and APPLICATION mean APPLICATION_TRACE; LIBRARY_TRACE and LIBRARY mean
    # ML_LIBRARY_TRACE; CPU_ONLY_TRACE and HARDWARE mean HARDWARE_TRACE; SYSTEM means
    # SYSTEM_LIBRARY_TRACE; NONE, MODEL, FRAMEWORK and FULL mean what they say.
    trace_level: TraceLevel | UnsetType = UNSET
    # Milliseconds as a number, or as text the way 64-bit integers travel in older clients. 0
    # means no time-out of the caller's own.
    timeout_in_ms: Milliseconds | UnsetType = UNSET
    # A way of running a model: its form (`eager` where none is named, `frozen`, `native`,
    # `compiled`, `graphs`), then `channels_last` for that memory layout, then `tf32` or `bf16`
    # for that precision. `auto` is the fastest right one, found by measuring. A missing way is
    # the manifest's, and `auto` where that names none. It is chosen by `open`; in a prediction it
    # doesn't count. A way that can't run here, or whose answers differ from those of `eager` by
    # more than the model's tolerance, is refused.
    way: ExecutionWay | UnsetType = UNSET
    # A device by type and index: `{"GPU": 0}` asks for the first GPU and is served by the CPU
    # where there is none, `{"CPU": 0}` asks for the CPU.
    device_count: (
        Annotated[dict[str, Annotated[int, Meta(ge=0, le=1024)]], Meta(max_length=16)] | UnsetType
    ) = UNSET
    # Accepted for old clients, without effect.
    cpu_options: dict[str, Any] | UnsetType = UNSET
    # Accepted for old clients, without effect.
    gpu_options: dict[str, Any] | UnsetType = UNSET


class ExecutionOrigin(enum.StrEnum):
    """Where the choice of a way comes from: nobody chose (`default`), the manifest or `open` did
    (`pinned`), or measuring did, now (`measured`) or before (`remembered`).
    """

    DEFAULT = "default"
    PINNED = "pinned"
    MEASURED = "measured"
    REMEMBERED = "remembered"


class ExecutionState(enum.StrEnum):
    """Whether a loaded model still looks for a faster way: `tuning` answers eagerly and may change
    over, `ready` stays as it is.
    """

    TUNING = "tuning"
    READY = "ready"


class ExecutionWay(enum.StrEnum):
    """A way of running a model: its form (`eager` where none is named, `frozen`, `native`,
    `compiled`, `graphs`), then `channels_last` for that memory layout, then `tf32` or `bf16`
    for that precision. `auto` is the fastest right one, found by measuring. A missing way is
    the manifest's, and `auto` where that names none. It is chosen by `open`; in a prediction it
    doesn't count. A way that can't run here, or whose answers differ from those of `eager` by
    more than the model's tolerance, is refused.
    """

    AUTO = "auto"
    EAGER = "eager"
    TF32 = "tf32"
    BF16 = "bf16"
    CHANNELS_LAST = "channels_last"
    CHANNELS_LAST_TF32 = "channels_last_tf32"
    CHANNELS_LAST_BF16 = "channels_last_bf16"
    FROZEN = "frozen"
    FROZEN_TF32 = "frozen_tf32"
    FROZEN_BF16 = "frozen_bf16"
    FROZEN_CHANNELS_LAST = "frozen_channels_last"
    FROZEN_CHANNELS_LAST_TF32 = "frozen_channels_last_tf32"
    FROZEN_CHANNELS_LAST_BF16 = "frozen_channels_last_bf16"
    NATIVE = "native"
    COMPILED = "compiled"
    COMPILED_TF32 = "compiled_tf32"
    COMPILED_BF16 = "compiled_bf16"
    COMPILED_CHANNELS_LAST = "compiled_channels_last"
    COMPILED_CHANNELS_LAST_TF32 = "compiled_channels_last_tf32"
    COMPILED_CHANNELS_LAST_BF16 = "compiled_channels_last_bf16"
    GRAPHS = "graphs"
    GRAPHS_TF32 = "graphs_tf32"
    GRAPHS_BF16 = "graphs_bf16"
    GRAPHS_CHANNELS_LAST = "graphs_channels_last"
    GRAPHS_CHANNELS_LAST_TF32 = "graphs_channels_last_tf32"
    GRAPHS_CHANNELS_LAST_BF16 = "graphs_channels_last_bf16"


class Feature(Struct, kw_only=True, gc=False):
    """One thing that the model says of an input. Exactly the payload that `type` names is present."""

    # The feature's id, 24 hex digits.
    id: Annotated[str, Meta(max_length=64)]
    # The kind of a feature.
    type: FeatureType
    # How sure the model is.
    probability: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    # Notes on the feature.
    metadata: dict[str, str] | UnsetType = UNSET
    # An image file.
    image: ImagePayload | UnsetType = UNSET
    # The pixels of an image, row by row, channels last.
    raw_image: RawImagePayload | UnsetType = UNSET
    # A class.
    classification: ClassificationPayload | UnsetType = UNSET
    # A box in the image, in shares of its width and height.
    bounding_box: BoundingBoxPayload | UnsetType = UNSET
    # The class of each pixel.
    semantic_segment: SemanticSegmentPayload | UnsetType = UNSET
    # A box with the mask of the thing in it.
    instance_segment: InstanceSegmentPayload | UnsetType = UNSET
    # A place on earth.
    geolocation: GeolocationPayload | UnsetType = UNSET
    # A region in a format of the model's.
    region: RegionPayload | UnsetType = UNSET
    # A text.
    text: TextPayload | UnsetType = UNSET
    # A recording.
    audio: AudioPayload | UnsetType = UNSET
    # The model's output as it is.
    raw: RawPayload | UnsetType = UNSET


class FeatureResponse(Struct, kw_only=True, gc=False):
    """One input's answer, or the error that it met."""

    # This answer's id.
    id: Annotated[str, Meta(max_length=256)]
    # The request's id as sent, or a new one.
    request_id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # The input's id as sent.
    input_id: Annotated[str, Meta(max_length=256)]
    # What the model says of the input, best first.
    features: list[Feature] | UnsetType = UNSET
    # Notes on the answer.
    metadata: dict[str, str] | UnsetType = UNSET
    # Why one input has no features.
    error: InputProblem | UnsetType = UNSET


class FeatureType(enum.StrEnum):
    """The kind of a feature."""

    UNKNOWN = "UNKNOWN"
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


class FeaturesResponse(Struct, kw_only=True, gc=False):
    """Answers in the order of the inputs."""

    # The predictor's id.
    id: Annotated[str, Meta(max_length=256)]
    # A trace.
    trace_id: TraceId
    # One answer for each input.
    responses: list[FeatureResponse]
    # A duration in decimal seconds followed by `s`.
    duration: Annotated[str, Meta(max_length=32, pattern="^[0-9]+(\\.[0-9]{1,9})?s\\Z")]
    # A duration in decimal seconds followed by `s`.
    duration_for_inference: Annotated[
        str, Meta(max_length=32, pattern="^[0-9]+(\\.[0-9]{1,9})?s\\Z")
    ]
    # The device that the model ran on.
    device: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    # What answered.
    versions: Versions | UnsetType = UNSET
    # Where the time went, in the order of the way of a prediction.
    steps: list[StepDuration] | UnsetType = UNSET
    # A dataset's result.
    summary: DatasetSummary | UnsetType = UNSET


class FrameworkManifest(Struct, kw_only=True, gc=False):
    """A framework that runs here."""

    # The framework's name.
    name: Annotated[str, Meta(max_length=128)]
    # The framework's version.
    version: Annotated[str, Meta(max_length=128)]
    # Container images by architecture, then by device kind.
    container: dict[str, ContainerImages] | UnsetType = UNSET


class FrameworkManifestsResponse(Struct, kw_only=True, gc=False):
    """Frameworks."""

    # The frameworks that match, sorted by name and version.
    manifests: list[FrameworkManifest]


class FrameworkRef(Struct, kw_only=True, gc=False):
    """A framework by name and version."""

    # The framework's name.
    name: Annotated[str, Meta(max_length=128)]
    # The framework's version, or a constraint on it.
    version: Annotated[str, Meta(max_length=128)]


class GeolocationPayload(Struct, kw_only=True, gc=False):
    """A place on earth."""

    # The place's index in the model's output.
    index: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # Degrees north.
    latitude: float | UnsetType = UNSET
    # Degrees east.
    longitude: float | UnsetType = UNSET


class Health(Struct, kw_only=True, gc=False):
    """A sign of life."""

    # Always `ok`.
    status: Literal["ok"]


class ImageItem(Struct, kw_only=True, gc=False):
    """An image file."""

    # The caller's id; it comes back as `input_id`.
    id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # A JPEG, PNG or WebP file as standard base64.
    data: Annotated[str, Meta(max_length=67108864)] | UnsetType = UNSET


class ImagePayload(Struct, kw_only=True, gc=False):
    """An image file."""

    # The image's id.
    id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # The file as base64.
    data: str | UnsetType = UNSET


class ImagesRequest(Struct, kw_only=True, gc=False):
    """Image files to predict."""

    # A predictor by its id. The whole answer of `open` may be sent; what isn't known is ignored.
    predictor: PredictorRef
    # The files, each with an id of the caller's.
    images: Annotated[list[ImageItem], Meta(max_length=4096)]
    # How predictions are made. What `open` sets holds for the predictor; what a prediction sets
    # holds for it alone.
    options: PredictionOptions | UnsetType = UNSET


class InputProblem(Struct, kw_only=True, gc=False):
    """Why one input has no features."""

    # The kind of the error; it stays the same between versions.
    code: InputProblemCode
    # A sentence that says what to do.
    message: Annotated[str, Meta(max_length=1024)]


class InputProblemCode(enum.StrEnum):
    """The kind of the error; it stays the same between versions."""

    INPUT_FAILED = "input_failed"
    INPUT_EMPTY = "input_empty"
    BASE64_INVALID = "base64_invalid"
    IMAGE_UNREADABLE = "image_unreadable"
    IMAGE_TOO_LARGE = "image_too_large"
    TENSOR_INVALID = "tensor_invalid"
    URL_REFUSED = "url_refused"
    URL_FAILED = "url_failed"
    PREDICTION_FAILED = "prediction_failed"
    INPUT_CANCELLED = "input_cancelled"


class InstanceSegmentPayload(Struct, kw_only=True, gc=False):
    """A box with the mask of the thing in it."""

    # The class's index.
    index: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # The class's name.
    label: str | UnsetType = UNSET
    # The left edge.
    xmin: float | UnsetType = UNSET
    # The right edge.
    xmax: float | UnsetType = UNSET
    # The upper edge.
    ymin: float | UnsetType = UNSET
    # The lower edge.
    ymax: float | UnsetType = UNSET
    # Which of the masks is present.
    mask_type: Literal["int", "float"] | UnsetType = UNSET
    # Rows of the mask.
    height: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # Pixels in a row of the mask.
    width: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # The mask as integers, row by row.
    int_mask: list[int] | UnsetType = UNSET
    # The mask as shares, row by row.
    float_mask: list[float] | UnsetType = UNSET


class InstancesAnswer(Struct, kw_only=True, gc=False):
    """The method's outputs, or why there are none. A request that fails as a whole, or whose
    instances all fail alike, has `error_msg` alone; a failed instance among others has its own.
    """

    # An object of outputs by name for each instance, in the order of the request, or `error_msg`
    # in place of it.
    instances: list[dict[str, Any]] | UnsetType = UNSET
    # Why the request failed.
    error_msg: str | UnsetType = UNSET


class InstancesRequest(Struct, kw_only=True, gc=False):
    """Inputs of a method, for one instance or several. A value is a number, a bool, a text, nested
    lists of numbers or bools (a tensor), or an object `{"b64": ..., "type": ..., "shape": ...}`
    with little-endian bytes in C order as base64.
    """

    # An object of inputs by name for each instance. A server takes a single object in place of
    # the list as well.
    instances: Annotated[list[dict[str, Any]], Meta(min_length=1)]


class JaegerLog(Struct, kw_only=True, gc=False):
    """Something noted at one time within a span."""

    # Microseconds since 1970.
    timestamp: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # What was noted.
    fields: list[JaegerTag]


class JaegerNames(Struct, kw_only=True, gc=False):
    """Names, in the frame of Jaeger's query API."""

    # The names.
    data: list[Annotated[str, Meta(max_length=1024)]]
    # How many there are.
    total: Annotated[int, Meta(ge=0, le=2147483647)]
    # As Jaeger has it: 0.
    limit: Annotated[int, Meta(ge=0, le=2147483647)]
    # As Jaeger has it: 0.
    offset: Annotated[int, Meta(ge=0, le=2147483647)]


class JaegerProcess(Struct, kw_only=True, gc=False):
    """A program that took part."""

    # What it is called.
    serviceName: Annotated[str, Meta(max_length=256)]
    # Facts about it.
    tags: list[JaegerTag]


class JaegerReference(Struct, kw_only=True, gc=False):
    """A span that this one belongs to."""

    # CHILD_OF names the span above; FOLLOWS_FROM links a batch to the requests in it.
    refType: Literal["CHILD_OF", "FOLLOWS_FROM"]
    # The span's trace.
    traceID: Annotated[str, Meta(max_length=32)]
    # The span.
    spanID: Annotated[str, Meta(max_length=16)]


class JaegerSpan(Struct, kw_only=True, gc=False):
    """One named stretch of a trace."""

    # The trace, as the answer's `trace_id` names it.
    traceID: Annotated[str, Meta(max_length=32)]
    # The span, 16 hex digits.
    spanID: Annotated[str, Meta(max_length=16)]
    # What was done.
    operationName: Annotated[str, Meta(max_length=1024)]
    # The span above, and linked ones.
    references: list[JaegerReference]
    # Microseconds since 1970.
    startTime: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # Microseconds.
    duration: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # Facts about it.
    tags: list[JaegerTag]
    # What was noted meanwhile.
    logs: list[JaegerLog]
    # Its key in the trace's `processes`.
    processID: Annotated[str, Meta(max_length=16)]


class JaegerTag(Struct, kw_only=True, gc=False):
    """A fact about a span or a process."""

    # What it is about.
    key: Annotated[str, Meta(max_length=256)]
    # The type of the value.
    type: Literal["string", "bool", "int64", "float64"]
    # The value of a tag.
    value: TagValue


class JaegerTrace(Struct, kw_only=True, gc=False):
    """A trace as Jaeger's query API gives it."""

    # The trace.
    traceID: Annotated[str, Meta(max_length=32)]
    # Its spans by their start, bounded in number; `warnings` tells of those that are left out.
    spans: list[JaegerSpan]
    # The programs that took part, by their keys in the spans.
    processes: dict[str, JaegerProcess]
    # What isn't whole; missing when all is.
    warnings: list[Annotated[str, Meta(max_length=1024)]] | UnsetType = UNSET


class JaegerTraces(Struct, kw_only=True, gc=False):
    """Traces, in the frame of Jaeger's query API."""

    # The traces.
    data: list[JaegerTrace]
    # As Jaeger has it: 0 for traces.
    total: Annotated[int, Meta(ge=0, le=2147483647)]
    # As Jaeger has it: 0.
    limit: Annotated[int, Meta(ge=0, le=2147483647)]
    # As Jaeger has it: 0.
    offset: Annotated[int, Meta(ge=0, le=2147483647)]


class Job(Struct, kw_only=True, gc=False):
    """A job as it is now."""

    # The job's id.
    id: Annotated[str, Meta(max_length=256)]
    # The kind of predict request that a job carries, by the name of the property that holds its
    # inputs.
    kind: JobKind
    # Where a job is. `done`, `failed`, `lapsed` (its time was over) and `cancelled` are final.
    state: JobState
    # How much is done.
    percent: Annotated[float, Meta(ge=0, le=100)]
    # What is done at the moment.
    step: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # The job's place in the queue: 1 is next, 0 is not in the queue. Missing in lists.
    queue_place: Annotated[int, Meta(ge=0, le=9007199254740991)] | UnsetType = UNSET
    # How long until it has ended, as far as that can be told.
    estimate_in_ms: Annotated[int, Meta(ge=0, le=9007199254740991)] | UnsetType = UNSET
    # How often it was begun. It is begun again when the one who ran it was lost.
    attempts: Annotated[int, Meta(ge=0, le=1000000)]
    # As it was asked for.
    priority: Annotated[int, Meta(ge=-2147483648, le=2147483647)]
    # When it was taken.
    created_at: datetime.datetime
    # When it was begun last.
    started_at: datetime.datetime | UnsetType = UNSET
    # When it ended.
    ended_at: datetime.datetime | UnsetType = UNSET
    # When it lapses unless it has ended before; once it has ended, when it is forgotten.
    expires_at: datetime.datetime
    # Why it failed.
    error: Annotated[str, Meta(max_length=65536)] | UnsetType = UNSET
    # A trace.
    trace_id: TraceId


class JobKind(enum.StrEnum):
    """The kind of predict request that a job carries, by the name of the property that holds its
    inputs.
    """

    URLS = "urls"
    IMAGES = "images"
    TENSORS = "tensors"
    DATASET = "dataset"


class JobRequest(Struct, kw_only=True, gc=False):
    """A predict request that outlives its connection. Exactly the inputs that `kind` names are
    present.
    """

    # The kind of predict request that a job carries, by the name of the property that holds its
    # inputs.
    kind: JobKind
    # Which model to open, and how.
    model: PredictorOpenRequest | UnsetType = UNSET
    # A predictor by its id. The whole answer of `open` may be sent; what isn't known is ignored.
    predictor: PredictorRef | UnsetType = UNSET
    # Images to fetch and predict, each with an id of the caller's.
    urls: Annotated[list[UrlItem], Meta(max_length=4096)] | UnsetType = UNSET
    # Image files to predict, each with an id of the caller's.
    images: Annotated[list[ImageItem], Meta(max_length=4096)] | UnsetType = UNSET
    # Arrays to predict, each with an id of the caller's.
    tensors: Annotated[list[TensorItem], Meta(max_length=4096)] | UnsetType = UNSET
    # A dataset by category and name.
    dataset: DatasetRef | UnsetType = UNSET
    # How predictions are made. What `open` sets holds for the predictor; what a prediction sets
    # holds for it alone.
    options: PredictionOptions | UnsetType = UNSET
    # Jobs of a higher priority run first; among equal ones, callers take turns.
    priority: Annotated[int, Meta(ge=-9, le=9)] = 0
    # When the job lapses unless it has ended before, counted from now. Missing leaves it to the
    # server.
    timeout_in_ms: Annotated[int, Meta(ge=1, le=604800000)] | UnsetType = UNSET
    # Who is told when a job has ended.
    webhook: Webhook | UnsetType = UNSET


class JobState(enum.StrEnum):
    """Where a job is. `done`, `failed`, `lapsed` (its time was over) and `cancelled` are final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"
    LAPSED = "lapsed"
    CANCELLED = "cancelled"


class Jobs(Struct, kw_only=True, gc=False):
    """Jobs, the newest first."""

    # The caller's jobs.
    jobs: list[Job]


class LayerTime(Struct, kw_only=True, gc=False):
    """One layer of a model, with what its shapes allow to say."""

    # Its span.
    span_id: Annotated[str, Meta(max_length=16)]
    # Its place in the order of running.
    index: Annotated[int, Meta(ge=0, le=2147483647)]
    # Its name in the model.
    name: Annotated[str, Meta(max_length=1024)]
    # Its type.
    type: Annotated[str, Meta(max_length=256)]
    # The shape of its answer.
    shape: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET
    # Its time.
    duration_in_us: Annotated[float, Meta(ge=0)]
    # Of the time of all layers.
    share: Annotated[float, Meta(ge=0, le=1)]
    # Floating-point operations, a multiplication and an addition counted as two.
    flops: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    # Bytes of its inputs, weights and answers.
    memory_bytes: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    # Operations for each byte.
    intensity: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    # Operations a second.
    flops_per_s: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    # Of what a large matrix product reached on the same device.
    peak_share: Annotated[float, Meta(ge=0)] | UnsetType = UNSET


class LevelTime(Struct, kw_only=True, gc=False):
    """The time that one level measured itself, from batches that ran no deeper than it."""

    # How deep the trace looks; each level contains those before it: NO, APPLICATION (steps),
    # MODEL, FRAMEWORK (layers), ML_LIBRARY, SYSTEM_LIBRARY (kernels), HARDWARE (counters), FULL.
    # The names after FULL_TRACE are those of older clients: STEP_TRACE, STEP, PIPELINE_TRACE,
    # PIPELINE and APPLICATION mean APPLICATION_TRACE; LIBRARY_TRACE and LIBRARY mean
    # ML_LIBRARY_TRACE; CPU_ONLY_TRACE and HARDWARE mean HARDWARE_TRACE; SYSTEM means
    # SYSTEM_LIBRARY_TRACE; NONE, MODEL, FRAMEWORK and FULL mean what they say.
    level: TraceLevel
    # What was timed.
    name: Annotated[str, Meta(max_length=256)]
    # How many batches ran so.
    count: Annotated[int, Meta(ge=0, le=2147483647)]
    # The median of their times.
    duration_in_us: Annotated[float, Meta(ge=0)]
    # What this level adds to the one before in the list.
    overhead_in_us: float | UnsetType = UNSET


class ManifestFiles(Struct, kw_only=True, gc=False):
    """Where the model's files come from."""

    # What the paths are joined to.
    base_url: str | UnsetType = UNSET
    # The file of the graph, or of graph and weights.
    graph_path: str | UnsetType = UNSET
    # The file of the weights, where it is another one.
    weights_path: str | UnsetType = UNSET
    # MD5 or SHA-256 of the graph's file.
    graph_checksum: str | UnsetType = UNSET
    # MD5 or SHA-256 of the weights' file.
    weights_checksum: str | UnsetType = UNSET
    # Whether `base_url` is an archive that holds both files.
    is_archive: bool | UnsetType = UNSET


class ManifestParameter(Struct, kw_only=True, gc=False):
    """A parameter's value."""

    # The value as YAML text, whatever its type.
    value: str


class ManifestPort(Struct, kw_only=True, gc=False):
    """An input or the output of a model."""

    # The kind: image or raw for an input; classification, boundingbox and so on for the output.
    type: Annotated[str, Meta(max_length=64)]
    # What it holds.
    description: str | UnsetType = UNSET
    # The manifest's parameters.
    parameters: dict[str, ManifestParameter] | UnsetType = UNSET


class ModelChoice(Struct, kw_only=True, gc=False):
    """The model that was chosen."""

    # The model's name.
    name: Annotated[str, Meta(max_length=128)]
    # The model's version.
    version: Annotated[str, Meta(max_length=128)]
    # A framework by name and version.
    framework: FrameworkRef


class ModelExecution(Struct, kw_only=True, gc=False):
    """How a model runs that is loaded on a device. There is one for each device and each way that
    was pinned.
    """

    # The device that the model is loaded on.
    device: Annotated[str, Meta(max_length=64)]
    # Whether a loaded model still looks for a faster way: `tuning` answers eagerly and may change
    # over, `ready` stays as it is.
    state: ExecutionState
    # Where the choice of a way comes from: nobody chose (`default`), the manifest or `open` did
    # (`pinned`), or measuring did, now (`measured`) or before (`remembered`).
    origin: ExecutionOrigin
    # How far its answers may be from those of eager fp32. The distance counts as a share of the
    # largest magnitude.
    tolerance: Annotated[float, Meta(ge=0, le=1)]
    # Why nothing was measured. Missing where there is nothing to say.
    note: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET
    # What runs, by rising size of the batch.
    choices: Annotated[list[ExecutionChoice], Meta(min_length=1, max_length=64)]
    # What was measured. Empty while the model is tuned, and where nothing was measured.
    candidates: Annotated[list[ExecutionCandidate], Meta(max_length=256)]


class ModelManifest(Struct, kw_only=True, gc=False):
    """A model as its manifest describes it."""

    # The model's name.
    name: Annotated[str, Meta(max_length=128)]
    # The model's version.
    version: Annotated[str, Meta(max_length=128)]
    # A framework by name and version.
    framework: FrameworkRef
    # Container images by architecture, then by device kind.
    container: dict[str, ContainerImages] | UnsetType = UNSET
    # What the model does.
    description: str | UnsetType = UNSET
    # Where to read about the model.
    reference: list[str] | UnsetType = UNSET
    # The licence of the weights.
    license: str | UnsetType = UNSET
    # What the model takes.
    inputs: list[ManifestPort] | UnsetType = UNSET
    # An input or the output of a model.
    output: ManifestPort | UnsetType = UNSET
    # Code text of the manifest. Shown and never run.
    before_preprocess: str | UnsetType = UNSET
    # Code text of the manifest. Shown and never run.
    preprocess: str | UnsetType = UNSET
    # Code text of the manifest. Shown and never run.
    after_preprocess: str | UnsetType = UNSET
    # Code text of the manifest. Shown and never run.
    before_postprocess: str | UnsetType = UNSET
    # Code text of the manifest. Shown and never run.
    postprocess: str | UnsetType = UNSET
    # Code text of the manifest. Shown and never run.
    after_postprocess: str | UnsetType = UNSET
    # Where the model's files come from.
    model: ManifestFiles | UnsetType = UNSET
    # What else its author says of the model.
    attributes: dict[str, str] | UnsetType = UNSET
    # Whether the model is left out of the registry.
    hidden: bool | UnsetType = UNSET
    # How it runs where it is loaded now. Missing while it isn't loaded.
    execution: Annotated[list[ModelExecution], Meta(max_length=1024)] | UnsetType = UNSET


class ModelManifestsResponse(Struct, kw_only=True, gc=False):
    """Models."""

    # The models that match, sorted by framework, name and version.
    manifests: list[ModelManifest]


class OpenAiModels(Struct, kw_only=True, gc=False):
    """The models of the OpenAI-compatible layer."""

    # Always `list`.
    object: str
    # `id`, `object`, `created` and `owned_by` of each.
    data: list[dict[str, Any]]


class PredictionOptions(Struct, kw_only=True, gc=False):
    """How predictions are made. What `open` sets holds for the predictor; what a prediction sets
    holds for it alone.
    """

    # The caller's name for the request; it comes back in each answer.
    request_id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # How many features an answer holds at most, best first. 0 means all; missing means 10.
    feature_limit: Annotated[int, Meta(ge=0, le=1000000)] | UnsetType = UNSET
    # The largest batch that this predictor's inputs may run in. Missing leaves the choice to the
    # server.
    batch_size: Annotated[int, Meta(ge=1, le=4096)] | UnsetType = UNSET
    # The host of the agent to use; a single server has only itself.
    agent: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # GPU counters to sample, by name. Accepted for old clients; the trace level chooses.
    gpu_metrics: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET
    # Where and how predictions run, for how long, and how deep their trace looks.
    execution_options: ExecutionOptions | UnsetType = UNSET


class Predictor(Struct, kw_only=True, gc=False):
    """An open predictor."""

    # The predictor's id.
    id: Annotated[str, Meta(max_length=256)]
    # When the lease ends if the predictor isn't used before.
    expires_at: datetime.datetime
    # How long the predictor is kept without use.
    lease_in_ms: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # The model that was chosen.
    model: ModelChoice
    # The device that the model runs on.
    device: Annotated[str, Meta(max_length=64)]
    # What answered.
    versions: Versions
    # A trace.
    trace_id: TraceId
    # A duration in decimal seconds followed by `s`.
    duration: Annotated[str, Meta(max_length=32, pattern="^[0-9]+(\\.[0-9]{1,9})?s\\Z")]


class PredictorCloseRequest(Struct, kw_only=True, gc=False):
    """The predictor to close, in either of two forms."""

    # The predictor's id when `predictor` is missing.
    id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # A predictor by its id. The whole answer of `open` may be sent; what isn't known is ignored.
    predictor: PredictorRef | UnsetType = UNSET
    # Drop the model's memory even if it was opened to persist.
    force: bool | UnsetType = UNSET


class PredictorCloseResponse(Struct, kw_only=True, gc=False):
    """What the close gave back."""

    # The predictor's id.
    id: Annotated[str, Meta(max_length=256)]
    # Bytes of weights that were dropped; 0 while another predictor uses the model.
    freed_bytes: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # Bytes that the server held on the device before: resident memory for the CPU.
    memory_before_bytes: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # Bytes that the server holds on the device now.
    memory_after_bytes: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # A duration in decimal seconds followed by `s`.
    duration: Annotated[str, Meta(max_length=32, pattern="^[0-9]+(\\.[0-9]{1,9})?s\\Z")]


class PredictorOpenRequest(Struct, kw_only=True, gc=False):
    """Which model to open, and how."""

    # The framework's name, or `*`. Case, spaces and dashes don't matter.
    framework_name: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    # A semver constraint on the framework, `latest` or `*`.
    framework_version: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    # The model's name, or `*`. Case, spaces and dashes don't matter.
    model_name: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    # A semver constraint on the model, `latest` or `*`.
    model_version: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    # Keep the model loaded after its last predictor is closed.
    persist: bool | UnsetType = UNSET
    # How predictions are made. What `open` sets holds for the predictor; what a prediction sets
    # holds for it alone.
    options: PredictionOptions | UnsetType = UNSET


class PredictorRef(Struct, kw_only=True, gc=False):
    """A predictor by its id. The whole answer of `open` may be sent; what isn't known is ignored."""

    # The predictor's id.
    id: Annotated[str, Meta(min_length=1, max_length=256)]


class PredictorResetRequest(Struct, kw_only=True, gc=False):
    """The predictor to reset, in either of two forms."""

    # The predictor's id when `predictor` is missing; otherwise the caller's name for the request.
    id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # A predictor by its id. The whole answer of `open` may be sent; what isn't known is ignored.
    predictor: PredictorRef | UnsetType = UNSET


class PredictorResetResponse(Struct, kw_only=True, gc=False):
    """The predictor that was reset."""

    # A predictor by its id. The whole answer of `open` may be sent; what isn't known is ignored.
    predictor: PredictorRef


class Problem(Struct, kw_only=True, gc=False):
    """An error (RFC 9457)."""

    # The kind of the error as a URN; it stays the same between versions.
    type: str
    # The kind in words.
    title: str
    # The HTTP status.
    status: Annotated[int, Meta(ge=400, le=599)]
    # What happened, and what to do.
    detail: str
    # The trace of the request.
    trace_id: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    # Where in the body, as a JSON pointer, or the parameter's name.
    pointer: str | UnsetType = UNSET
    # The values or names that would have been taken.
    known: list[str] | UnsetType = UNSET
    # Answers in the order of the inputs.
    partial: FeaturesResponse | UnsetType = UNSET


class RawImagePayload(Struct, kw_only=True, gc=False):
    """The pixels of an image, row by row, channels last."""

    # The image's id.
    id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # Which of the lists holds the pixels.
    data_type: Literal["uint8", "float32"] | UnsetType = UNSET
    # Pixels from 0 to 255.
    char_list: list[Annotated[int, Meta(ge=0, le=255)]] | UnsetType = UNSET
    # Pixels as numbers.
    float_list: list[float] | UnsetType = UNSET
    # Pixels in a row.
    width: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # Rows.
    height: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # Numbers for a pixel.
    channels: Annotated[int, Meta(ge=0, le=65536)] | UnsetType = UNSET
    # The pixels compressed with snappy as base64.
    compressed_data: str | UnsetType = UNSET
    # The image as a JPEG file in base64.
    jpeg_data: str | UnsetType = UNSET


class RawPayload(Struct, kw_only=True, gc=False):
    """The model's output as it is."""

    # Little-endian numbers in C order, as base64.
    data: str | UnsetType = UNSET
    # The numbers' type and shape.
    format: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class RegionPayload(Struct, kw_only=True, gc=False):
    """A region in a format of the model's."""

    # The region as base64.
    data: str | UnsetType = UNSET
    # The data's format.
    format: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class SemanticSegmentPayload(Struct, kw_only=True, gc=False):
    """The class of each pixel."""

    # Rows.
    height: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # Pixels in a row.
    width: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # Classes, row by row.
    int_mask: list[int] | UnsetType = UNSET


class SpanItem(Struct, kw_only=True, gc=False):
    """A span that a client made itself."""

    # The span, 16 hex digits.
    span_id: Annotated[str, Meta(max_length=16, pattern="^[0-9a-f]{16}\\Z")]
    # The span above, if there is one.
    parent_id: Annotated[str, Meta(max_length=16, pattern="^[0-9a-f]{16}\\Z")] | UnsetType = UNSET
    # What was done.
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    # What the client is called.
    service: Annotated[str, Meta(min_length=1, max_length=128)]
    # Microseconds since 1970.
    start_in_us: Annotated[int, Meta(ge=0, le=4102444800000000)]
    # Microseconds.
    duration_in_us: Annotated[int, Meta(ge=0, le=86400000000)]
    # Facts about it.
    tags: (
        Annotated[dict[str, Annotated[str, Meta(max_length=4096)]], Meta(max_length=64)] | UnsetType
    ) = UNSET


class SpansRequest(Struct, kw_only=True, gc=False):
    """Spans of one trace."""

    # The trace, 16 or 32 hex digits.
    trace_id: Annotated[str, Meta(max_length=32, pattern="^([0-9a-f]{16}|[0-9a-f]{32})\\Z")]
    # The spans.
    spans: Annotated[list[SpanItem], Meta(min_length=1, max_length=256)]


class SpansResponse(Struct, kw_only=True, gc=False):
    """What was taken."""

    # How many spans were taken.
    taken: Annotated[int, Meta(ge=0, le=256)]


class StepDuration(Struct, kw_only=True, gc=False):
    """The time spent in one step, summed over its inputs. Inputs pass a step side by side, so that
    a sum can exceed the wall clock.
    """

    # The step: fetch, decode, preprocess, queue, predict or postprocess.
    name: Annotated[str, Meta(max_length=64)]
    # A duration in decimal seconds followed by `s`.
    duration: Annotated[str, Meta(max_length=32, pattern="^[0-9]+(\\.[0-9]{1,9})?s\\Z")]
    # How many inputs passed.
    count: Annotated[int, Meta(ge=0, le=9007199254740991)]


class TensorDtype(enum.StrEnum):
    """The type of an array's elements; missing means float32."""

    BOOL = "bool"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class TensorItem(Struct, kw_only=True, gc=False):
    """One input of the model."""

    # The caller's id; it comes back as `input_id`.
    id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # The array's shape, without a batch dimension.
    shape: Annotated[list[Annotated[int, Meta(ge=0, le=2147483647)]], Meta(max_length=16)]
    # The type of an array's elements; missing means float32.
    dtype: TensorDtype | UnsetType = UNSET
    # The numbers in C order.
    data: Annotated[list[float], Meta(max_length=16777216)]


class TensorsRequest(Struct, kw_only=True, gc=False):
    """Arrays to predict, as numbers."""

    # A predictor by its id. The whole answer of `open` may be sent; what isn't known is ignored.
    predictor: PredictorRef
    # The arrays, each with an id of the caller's.
    tensors: Annotated[list[TensorItem], Meta(max_length=4096)]
    # How predictions are made. What `open` sets holds for the predictor; what a prediction sets
    # holds for it alone.
    options: PredictionOptions | UnsetType = UNSET


class TextPayload(Struct, kw_only=True, gc=False):
    """A text."""

    # The UTF-8 text as base64.
    data: str | UnsetType = UNSET


class TimeShare(Struct, kw_only=True, gc=False):
    """The time of all spans of one kind, within those of the same level."""

    # The step, layer type or kernel.
    name: Annotated[str, Meta(max_length=1024)]
    # How many spans there are.
    count: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # Their time, added up.
    duration_in_us: Annotated[float, Meta(ge=0)]
    # Of the time of all in the list.
    share: Annotated[float, Meta(ge=0, le=1)]


class TraceId(Struct, kw_only=True, gc=False):
    """A trace."""

    # The trace's id, 16 or 32 hex digits.
    id: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class TraceLevel(enum.StrEnum):
    """How deep the trace looks; each level contains those before it: NO, APPLICATION (steps),
    MODEL, FRAMEWORK (layers), ML_LIBRARY, SYSTEM_LIBRARY (kernels), HARDWARE (counters), FULL.
    The names after FULL_TRACE are those of older clients: STEP_TRACE, STEP, PIPELINE_TRACE,
    PIPELINE and APPLICATION mean APPLICATION_TRACE; LIBRARY_TRACE and LIBRARY mean
    ML_LIBRARY_TRACE; CPU_ONLY_TRACE and HARDWARE mean HARDWARE_TRACE; SYSTEM means
    SYSTEM_LIBRARY_TRACE; NONE, MODEL, FRAMEWORK and FULL mean what they say.
    """

    NO_TRACE = "NO_TRACE"
    APPLICATION_TRACE = "APPLICATION_TRACE"
    MODEL_TRACE = "MODEL_TRACE"
    FRAMEWORK_TRACE = "FRAMEWORK_TRACE"
    ML_LIBRARY_TRACE = "ML_LIBRARY_TRACE"
    SYSTEM_LIBRARY_TRACE = "SYSTEM_LIBRARY_TRACE"
    HARDWARE_TRACE = "HARDWARE_TRACE"
    FULL_TRACE = "FULL_TRACE"
    STEP_TRACE = "STEP_TRACE"
    PIPELINE_TRACE = "PIPELINE_TRACE"
    LIBRARY_TRACE = "LIBRARY_TRACE"
    CPU_ONLY_TRACE = "CPU_ONLY_TRACE"
    NONE = "NONE"
    STEP = "STEP"
    APPLICATION = "APPLICATION"
    PIPELINE = "PIPELINE"
    MODEL = "MODEL"
    FRAMEWORK = "FRAMEWORK"
    LIBRARY = "LIBRARY"
    SYSTEM = "SYSTEM"
    HARDWARE = "HARDWARE"
    FULL = "FULL"


class TraceSummary(Struct, kw_only=True, gc=False):
    """Where the time of a trace went."""

    # The trace.
    trace_id: Annotated[str, Meta(max_length=32)]
    # From its first start to its last end.
    duration_in_us: Annotated[float, Meta(ge=0)]
    # How many spans it has, none left out.
    spans: Annotated[int, Meta(ge=0, le=9007199254740991)]
    # Time by step.
    steps: list[TimeShare]
    # Time by type of layer, the largest first.
    layer_types: list[TimeShare]
    # Time by kernel on a GPU, and by innermost operator on a CPU, the largest first.
    kernels: list[TimeShare]
    # The ten slowest layers.
    slowest_layers: list[LayerTime]
    # What a large matrix product reached on the device.
    peak_flops_per_s: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    # The time of a batch at each level that ran, so that what a level costs isn't taken for the
    # model's time.
    levels: list[LevelTime]


class UrlItem(Struct, kw_only=True, gc=False):
    """An image behind a URL."""

    # The caller's id; it comes back as `input_id`.
    id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    # The URL. An empty one gets an error of its own.
    data: Annotated[str, Meta(max_length=8192)] | UnsetType = UNSET


class UrlsRequest(Struct, kw_only=True, gc=False):
    """Images to fetch and predict."""

    # A predictor by its id. The whole answer of `open` may be sent; what isn't known is ignored.
    predictor: PredictorRef
    # The images, each with an id of the caller's.
    urls: Annotated[list[UrlItem], Meta(max_length=4096)]
    # How predictions are made. What `open` sets holds for the predictor; what a prediction sets
    # holds for it alone.
    options: PredictionOptions | UnsetType = UNSET


class Version(Struct, kw_only=True, gc=False):
    """What the server is made of."""

    # The server's version.
    server: Annotated[str, Meta(max_length=128)]
    # The contract's version.
    contract: Annotated[str, Meta(max_length=128)]
    # The frameworks that run here.
    frameworks: list[FrameworkRef]
    # The devices that are used, the best one first.
    devices: list[Annotated[str, Meta(max_length=64)]]


class Versions(Struct, kw_only=True, gc=False):
    """What answered."""

    # The server's version.
    server: Annotated[str, Meta(max_length=128)]
    # The contract's version.
    contract: Annotated[str, Meta(max_length=128)]
    # The framework's name and version.
    framework: Annotated[str, Meta(max_length=256)]
    # The model's name and version.
    model: Annotated[str, Meta(max_length=256)]


class Webhook(Struct, kw_only=True, gc=False):
    """Who is told when a job has ended."""

    # Where the ended job is sent, as getJob gives it, by POST. Only public addresses, and hosts
    # that the operator allows by name, are called.
    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    # With it, the header `X-Stepscope-Signature` holds `sha256=` and the body's HMAC-SHA256 under
    # it, in hex.
    secret: Annotated[str, Meta(min_length=8, max_length=256)] | UnsetType = UNSET


class WorkerCredentials(Struct, kw_only=True, gc=False):
    """Who a worker says that it is. The job type's key proves that it may; the name is its own
    choice.
    """

    # The worker's name.
    auth: str | UnsetType = UNSET
    # The queue that it works on.
    job_type: str
    # The job type's key.
    auth_key: str


class WorkerJobsAnswer(Struct, kw_only=True, gc=False):
    """Jobs of one endpoint (`cmd` is `job`), or that there are none (`no_job`), or what is wrong
    (`error`).
    """

    # `job`, `no_job`, `error` or `warning`.
    cmd: str
    # What is wrong.
    msg: str | UnsetType = UNSET
    # Where the jobs were asked for.
    endpoint_name: str | UnsetType = UNSET
    # The endpoint's parameters, as its configuration has them.
    input_descriptions: dict[str, Any] | UnsetType = UNSET
    # What progress may hold.
    progress_output_descriptions: dict[str, Any] | UnsetType = UNSET
    # What a result may hold.
    final_output_descriptions: dict[str, Any] | UnsetType = UNSET
    # For each job its id, its times and its parameters.
    job_data: list[dict[str, Any]] | UnsetType = UNSET


class WorkerJobsRequest(Struct, kw_only=True, gc=False):
    """A worker's wish for jobs. Beside these it says what it runs on; see `WorkerLoginRequest`."""

    # The worker's name.
    auth: str
    # The queue that it works on.
    job_type: str
    # The job type's key.
    auth_key: str
    # How many jobs it takes at most.
    max_job_batch: Annotated[int, Meta(ge=1, le=1024)] = 1
    # Seconds after which it gives up; it is answered before.
    request_timeout: Annotated[float, Meta(ge=0, le=86400)] | UnsetType = UNSET
    # Its interface and version.
    version: str | UnsetType = UNSET


class WorkerLoginAnswer(Struct, kw_only=True, gc=False):
    """Whether the worker is welcome."""

    # Whether the key and the job type are right.
    success: bool
    # Seconds that a request for jobs may wait.
    request_timeout: Annotated[int, Meta(ge=0, le=2147483647)] | UnsetType = UNSET
    # This server's version.
    api_server_version: str | UnsetType = UNSET
    # Why it isn't welcome.
    error_msg: str | UnsetType = UNSET


class WorkerLoginRequest(Struct, kw_only=True, gc=False):
    """What a worker says of itself before it asks for jobs. A worker needn't: each request for
    jobs says it too.
    """

    # `auth`, `job_type`, `auth_key`, and what it runs on.
    worker_parameters: dict[str, Any]
    # What its model is: `label`, `quantization`, `size`, `family`, `type`, `repo_name`.
    model_parameters: dict[str, Any] | UnsetType = UNSET


class WorkerProgress(Struct, kw_only=True, gc=False):
    """How far a job is. A server takes a single one in place of the list as well."""

    # The job.
    job_id: str
    # The worker's name; it may stand in `progress_data` instead.
    auth: str | UnsetType = UNSET
    # The job's queue.
    job_type: str
    # The job type's key.
    auth_key: str
    # Percent, or a count of tokens.
    progress: Annotated[float, Meta(ge=0, le=1000000000000000)] | UnsetType = UNSET
    # Outputs so far; those that the endpoint declares reach the client.
    progress_data: dict[str, Any] | UnsetType = UNSET


class WorkerProgressAnswer(Struct, kw_only=True, gc=False):
    """Whether the report counts, and whether the job is still wanted."""

    # Whether it counts.
    success: bool
    # `ok` or `warning`.
    cmd: str | UnsetType = UNSET
    # Why it doesn't count.
    msg: str | UnsetType = UNSET
    # The job, when it was canceled.
    job_id: str | UnsetType = UNSET
    # Whether it was.
    canceled: bool | UnsetType = UNSET


class WorkerResult(Struct, kw_only=True, gc=False):
    """What came out: beside these the outputs by name."""

    # The job.
    job_id: str
    # The worker's name; the job has to be its own.
    auth: str
    # The job's queue.
    job_type: str
    # The job type's key.
    auth_key: str


class WorkerResultAnswer(Struct, kw_only=True, gc=False):
    """That the result has come; the status is 200 whether or not it counts."""

    # `ok` or `warning`.
    cmd: str | UnsetType = UNSET
    # Whether it counts.
    success: bool | UnsetType = UNSET
    # Why it doesn't.
    msg: str | UnsetType = UNSET
    # The same.
    error_msg: str | UnsetType = UNSET


class WorkerStatusAnswer(Struct, kw_only=True, gc=False):
    """That the server is there, and what a worker would be told."""

    # `ok` or `warning`.
    cmd: str | UnsetType = UNSET
    # What is wrong.
    msg: str | UnsetType = UNSET
    # Whether a worker of this name was heard of lately.
    logged_in: bool | UnsetType = UNSET
    # Whether an endpoint has this job type.
    job_type_present: bool | UnsetType = UNSET
    # Whether the key is the job type's.
    key_valid: bool | UnsetType = UNSET


# Milliseconds as a number, or as text the way 64-bit integers travel in older clients. 0
# means no time-out of the caller's own.
Milliseconds: TypeAlias = (
    Annotated[int, Meta(ge=0, le=86400000)]
    | Annotated[str, Meta(max_length=8, pattern="^[0-9]{1,8}\\Z")]
)


# The value of a tag.
TagValue: TypeAlias = Annotated[str, Meta(max_length=65536)] | bool | float
