"""A Protocol for each tag of the contract, and the table of all operations.

Written by `make generate`. A server implements the Protocols; `ContextT_contra` is whatever it
passes along with each request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal, Protocol, TypeVar

from msgspec import UNSET, Meta, UnsetType

from .models import (
    Agents,
    ChromeTrace,
    DatasetRequest,
    FeaturesResponse,
    FrameworkManifestsResponse,
    Health,
    ImagesRequest,
    JaegerNames,
    JaegerTraces,
    Job,
    JobRequest,
    Jobs,
    JobState,
    ModelManifestsResponse,
    Predictor,
    PredictorCloseRequest,
    PredictorCloseResponse,
    PredictorOpenRequest,
    PredictorResetRequest,
    PredictorResetResponse,
    Problem,
    SpansRequest,
    SpansResponse,
    TensorDtype,
    TensorsRequest,
    TraceSummary,
    UrlsRequest,
    Version,
)

ContextT_contra = TypeVar("ContextT_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Octets:
    """An answer of raw bytes, with the headers that describe them."""

    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: its kind, its id, and what it tells, which is encoded as JSON."""

    name: str
    id: str
    data: Any


Events = AsyncGenerator[Event | None, None]
"""An answer of server-sent events; None is a sign of life between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter: `type` is what `msgspec.convert(..., strict=False)` checks it against."""

    name: str
    python_name: str
    location: Literal["path", "query", "header", "cookie"]
    type: Any
    required: bool = False
    default: Any = UNSET
    is_list: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation: its route, and the type of each body by media type and status."""

    operation_id: str
    name: str
    tag: str
    method: str
    path: str
    secured: bool
    responses: Mapping[str, Mapping[str, Any]]
    requests: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = False
    parameters: tuple[Parameter, ...] = ()


class JobsOperations(Protocol[ContextT_contra]):
    """Predictions that outlive their requests: queued for good, run when their turn comes, watched
    meanwhile, read until they are forgotten.
    """

    async def cancel_job(
        self,
        context: ContextT_contra,
        *,
        job_id: Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^/]+\\Z")],
    ) -> Job:
        """Cancel a job."""
        ...

    async def get_job(
        self,
        context: ContextT_contra,
        *,
        job_id: Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^/]+\\Z")],
    ) -> Job:
        """Look at a job."""
        ...

    async def get_job_result(
        self,
        context: ContextT_contra,
        *,
        job_id: Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^/]+\\Z")],
    ) -> FeaturesResponse:
        """Read a job's result."""
        ...

    async def list_jobs(
        self,
        context: ContextT_contra,
        *,
        state: JobState | UnsetType = UNSET,
        limit: Annotated[int, Meta(ge=1, le=1000)] = 100,
        before: Annotated[str, Meta(min_length=1, max_length=256)] | UnsetType = UNSET,
    ) -> Jobs:
        """List jobs."""
        ...

    async def stream_job_events(
        self,
        context: ContextT_contra,
        *,
        job_id: Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^/]+\\Z")],
        last_event_id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET,
    ) -> Events:
        """Follow a job."""
        ...

    async def submit_job(
        self,
        context: ContextT_contra,
        body: JobRequest,
        *,
        idempotency_key: Annotated[
            str, Meta(min_length=1, max_length=256, pattern="^[!-~]([ -~]*[!-~])?\\Z")
        ]
        | UnsetType = UNSET,
    ) -> Job:
        """Queue a predict request."""
        ...


class PredictOperations(Protocol[ContextT_contra]):
    """The life cycle of a prediction: open a predictor, predict, close it."""

    async def close_predictor(
        self, context: ContextT_contra, body: PredictorCloseRequest
    ) -> PredictorCloseResponse:
        """Close a predictor."""
        ...

    async def open_predictor(
        self, context: ContextT_contra, body: PredictorOpenRequest
    ) -> Predictor:
        """Open a predictor on a model."""
        ...

    async def predict_dataset(
        self, context: ContextT_contra, body: DatasetRequest
    ) -> FeaturesResponse:
        """Predict a whole dataset."""
        ...

    async def predict_images(
        self, context: ContextT_contra, body: ImagesRequest
    ) -> FeaturesResponse:
        """Predict images sent as base64."""
        ...

    async def predict_tensors(
        self,
        context: ContextT_contra,
        body: TensorsRequest | bytes,
        *,
        predictor_id: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET,
        shape: Annotated[
            list[Annotated[int, Meta(ge=0, le=2147483647)]], Meta(min_length=1, max_length=16)
        ]
        | UnsetType = UNSET,
        dtype: TensorDtype | UnsetType = UNSET,
        feature_limit: Annotated[int, Meta(ge=0, le=1000000)] | UnsetType = UNSET,
    ) -> FeaturesResponse | Octets:
        """Predict arrays that are ready for the model."""
        ...

    async def predict_urls(self, context: ContextT_contra, body: UrlsRequest) -> FeaturesResponse:
        """Predict images that the server fetches."""
        ...

    async def reset_predictor(
        self, context: ContextT_contra, body: PredictorResetRequest
    ) -> PredictorResetResponse:
        """Clear a predictor's caches."""
        ...


class RegistryOperations(Protocol[ContextT_contra]):
    """What can be served here, and where."""

    async def list_framework_agents(
        self,
        context: ContextT_contra,
        *,
        framework_name: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
        framework_version: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
    ) -> Agents:
        """List the machines that run a framework."""
        ...

    async def list_frameworks(
        self,
        context: ContextT_contra,
        *,
        framework_name: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
        framework_version: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
    ) -> FrameworkManifestsResponse:
        """List the frameworks that run here."""
        ...

    async def list_model_agents(
        self,
        context: ContextT_contra,
        *,
        framework_name: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
        framework_version: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
        model_name: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
        model_version: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
    ) -> Agents:
        """List the machines that can run a model."""
        ...

    async def list_models(
        self,
        context: ContextT_contra,
        *,
        framework_name: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
        framework_version: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
        model_name: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
        model_version: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET,
    ) -> ModelManifestsResponse:
        """List the models that can be opened here."""
        ...


class SystemOperations(Protocol[ContextT_contra]):
    """Whether the server lives, is ready, and what it is made of."""

    async def get_liveness(self, context: ContextT_contra) -> Health:
        """Say that the process lives."""
        ...

    async def get_readiness(self, context: ContextT_contra) -> Health:
        """Say whether predictions are taken."""
        ...

    async def get_version(self, context: ContextT_contra) -> Version:
        """Say what the server is made of."""
        ...


class TracesOperations(Protocol[ContextT_contra]):
    """What happened in a request, step by step: traces as Jaeger's query API gives them, and what
    they come to.
    """

    async def add_spans(self, context: ContextT_contra, body: SpansRequest) -> SpansResponse:
        """Add a client's own spans to a trace."""
        ...

    async def find_traces(
        self,
        context: ContextT_contra,
        *,
        service: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET,
        operation: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET,
        tags: Annotated[str, Meta(max_length=4096)] | UnsetType = UNSET,
        start: Annotated[int, Meta(ge=0, le=9007199254740991)] | UnsetType = UNSET,
        end: Annotated[int, Meta(ge=0, le=9007199254740991)] | UnsetType = UNSET,
        limit: Annotated[int, Meta(ge=1, le=1000)] = 20,
        min_duration: Annotated[
            str, Meta(max_length=32, pattern="^[0-9]{1,12}(\\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h)\\Z")
        ]
        | UnsetType = UNSET,
        max_duration: Annotated[
            str, Meta(max_length=32, pattern="^[0-9]{1,12}(\\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h)\\Z")
        ]
        | UnsetType = UNSET,
    ) -> JaegerTraces:
        """Find traces."""
        ...

    async def get_chrome_trace(
        self,
        context: ContextT_contra,
        *,
        trace_id: Annotated[str, Meta(max_length=32, pattern="^[0-9a-fA-F]{1,32}\\Z")],
    ) -> ChromeTrace:
        """Return a trace for Perfetto."""
        ...

    async def get_trace(
        self,
        context: ContextT_contra,
        *,
        trace_id: Annotated[str, Meta(max_length=32, pattern="^[0-9a-fA-F]{1,32}\\Z")],
    ) -> JaegerTraces:
        """Return a trace."""
        ...

    async def get_trace_summary(
        self,
        context: ContextT_contra,
        *,
        trace_id: Annotated[str, Meta(max_length=32, pattern="^[0-9a-fA-F]{1,32}\\Z")],
    ) -> TraceSummary:
        """Say where the time of a trace went."""
        ...

    async def list_service_operations(
        self, context: ContextT_contra, *, service: Annotated[str, Meta(max_length=256)]
    ) -> JaegerNames:
        """List what a program does in traces."""
        ...

    async def list_services(self, context: ContextT_contra) -> JaegerNames:
        """List the programs that traces tell of."""
        ...


_ALL = (
    Operation(
        operation_id="cancelJob",
        name="cancel_job",
        tag="jobs",
        method="POST",
        path="/api/jobs/{job_id}/cancel",
        secured=True,
        parameters=(
            Parameter(
                name="job_id",
                python_name="job_id",
                location="path",
                type=Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^/]+\\Z")],
                required=True,
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": Job}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="getJob",
        name="get_job",
        tag="jobs",
        method="GET",
        path="/api/jobs/{job_id}",
        secured=True,
        parameters=(
            Parameter(
                name="job_id",
                python_name="job_id",
                location="path",
                type=Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^/]+\\Z")],
                required=True,
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": Job}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="getJobResult",
        name="get_job_result",
        tag="jobs",
        method="GET",
        path="/api/jobs/{job_id}/result",
        secured=True,
        parameters=(
            Parameter(
                name="job_id",
                python_name="job_id",
                location="path",
                type=Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^/]+\\Z")],
                required=True,
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": FeaturesResponse}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "409": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="listJobs",
        name="list_jobs",
        tag="jobs",
        method="GET",
        path="/api/jobs",
        secured=True,
        parameters=(
            Parameter(name="state", python_name="state", location="query", type=JobState),
            Parameter(
                name="limit",
                python_name="limit",
                location="query",
                type=Annotated[int, Meta(ge=1, le=1000)],
                default=100,
            ),
            Parameter(
                name="before",
                python_name="before",
                location="query",
                type=Annotated[str, Meta(min_length=1, max_length=256)],
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": Jobs}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="streamJobEvents",
        name="stream_job_events",
        tag="jobs",
        method="GET",
        path="/api/jobs/{job_id}/events",
        secured=True,
        parameters=(
            Parameter(
                name="job_id",
                python_name="job_id",
                location="path",
                type=Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^/]+\\Z")],
                required=True,
            ),
            Parameter(
                name="Last-Event-ID",
                python_name="last_event_id",
                location="header",
                type=Annotated[str, Meta(max_length=256)],
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"text/event-stream": Events}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="submitJob",
        name="submit_job",
        tag="jobs",
        method="POST",
        path="/api/jobs",
        secured=True,
        parameters=(
            Parameter(
                name="Idempotency-Key",
                python_name="idempotency_key",
                location="header",
                type=Annotated[
                    str, Meta(min_length=1, max_length=256, pattern="^[!-~]([ -~]*[!-~])?\\Z")
                ],
            ),
        ),
        body_required=True,
        requests=MappingProxyType({"application/json": JobRequest}),
        responses=MappingProxyType(
            {
                "202": MappingProxyType({"application/json": Job}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "413": MappingProxyType({"application/problem+json": Problem}),
                "415": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "429": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="closePredictor",
        name="close_predictor",
        tag="predict",
        method="POST",
        path="/api/predict/close",
        secured=True,
        body_required=True,
        requests=MappingProxyType({"application/json": PredictorCloseRequest}),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": PredictorCloseResponse}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "413": MappingProxyType({"application/problem+json": Problem}),
                "415": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="openPredictor",
        name="open_predictor",
        tag="predict",
        method="POST",
        path="/api/predict/open",
        secured=True,
        body_required=True,
        requests=MappingProxyType({"application/json": PredictorOpenRequest}),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": Predictor}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "413": MappingProxyType({"application/problem+json": Problem}),
                "415": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
                "504": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="predictDataset",
        name="predict_dataset",
        tag="predict",
        method="POST",
        path="/api/predict/dataset",
        secured=True,
        body_required=True,
        requests=MappingProxyType({"application/json": DatasetRequest}),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": FeaturesResponse}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "413": MappingProxyType({"application/problem+json": Problem}),
                "415": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "429": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
                "504": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="predictImages",
        name="predict_images",
        tag="predict",
        method="POST",
        path="/api/predict/images",
        secured=True,
        body_required=True,
        requests=MappingProxyType({"application/json": ImagesRequest}),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": FeaturesResponse}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "413": MappingProxyType({"application/problem+json": Problem}),
                "415": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "429": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
                "504": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="predictTensors",
        name="predict_tensors",
        tag="predict",
        method="POST",
        path="/api/predict/tensors",
        secured=True,
        parameters=(
            Parameter(
                name="predictor_id",
                python_name="predictor_id",
                location="query",
                type=Annotated[str, Meta(max_length=256)],
            ),
            Parameter(
                name="shape",
                python_name="shape",
                location="query",
                type=Annotated[
                    list[Annotated[int, Meta(ge=0, le=2147483647)]],
                    Meta(min_length=1, max_length=16),
                ],
                is_list=True,
            ),
            Parameter(name="dtype", python_name="dtype", location="query", type=TensorDtype),
            Parameter(
                name="feature_limit",
                python_name="feature_limit",
                location="query",
                type=Annotated[int, Meta(ge=0, le=1000000)],
            ),
        ),
        body_required=True,
        requests=MappingProxyType(
            {"application/json": TensorsRequest, "application/octet-stream": bytes}
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType(
                    {"application/json": FeaturesResponse, "application/octet-stream": Octets}
                ),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "406": MappingProxyType({"application/problem+json": Problem}),
                "413": MappingProxyType({"application/problem+json": Problem}),
                "415": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "429": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
                "504": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="predictUrls",
        name="predict_urls",
        tag="predict",
        method="POST",
        path="/api/predict/urls",
        secured=True,
        body_required=True,
        requests=MappingProxyType({"application/json": UrlsRequest}),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": FeaturesResponse}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "413": MappingProxyType({"application/problem+json": Problem}),
                "415": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "429": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
                "504": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="resetPredictor",
        name="reset_predictor",
        tag="predict",
        method="POST",
        path="/api/predict/reset",
        secured=True,
        body_required=True,
        requests=MappingProxyType({"application/json": PredictorResetRequest}),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": PredictorResetResponse}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "413": MappingProxyType({"application/problem+json": Problem}),
                "415": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="listFrameworkAgents",
        name="list_framework_agents",
        tag="registry",
        method="GET",
        path="/api/registry/frameworks/agent",
        secured=True,
        parameters=(
            Parameter(
                name="framework_name",
                python_name="framework_name",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
            Parameter(
                name="framework_version",
                python_name="framework_version",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": Agents}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="listFrameworks",
        name="list_frameworks",
        tag="registry",
        method="GET",
        path="/api/registry/frameworks/manifest",
        secured=True,
        parameters=(
            Parameter(
                name="framework_name",
                python_name="framework_name",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
            Parameter(
                name="framework_version",
                python_name="framework_version",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": FrameworkManifestsResponse}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="listModelAgents",
        name="list_model_agents",
        tag="registry",
        method="GET",
        path="/api/registry/models/agent",
        secured=True,
        parameters=(
            Parameter(
                name="framework_name",
                python_name="framework_name",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
            Parameter(
                name="framework_version",
                python_name="framework_version",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
            Parameter(
                name="model_name",
                python_name="model_name",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
            Parameter(
                name="model_version",
                python_name="model_version",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": Agents}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="listModels",
        name="list_models",
        tag="registry",
        method="GET",
        path="/api/registry/models/manifest",
        secured=True,
        parameters=(
            Parameter(
                name="framework_name",
                python_name="framework_name",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
            Parameter(
                name="framework_version",
                python_name="framework_version",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
            Parameter(
                name="model_name",
                python_name="model_name",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
            Parameter(
                name="model_version",
                python_name="model_version",
                location="query",
                type=Annotated[str, Meta(max_length=128)],
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": ModelManifestsResponse}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="getLiveness",
        name="get_liveness",
        tag="system",
        method="GET",
        path="/livez",
        secured=False,
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": Health}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="getReadiness",
        name="get_readiness",
        tag="system",
        method="GET",
        path="/readyz",
        secured=False,
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": Health}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="getVersion",
        name="get_version",
        tag="system",
        method="GET",
        path="/version",
        secured=True,
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": Version}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
                "503": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="addSpans",
        name="add_spans",
        tag="traces",
        method="POST",
        path="/api/spans",
        secured=True,
        body_required=True,
        requests=MappingProxyType({"application/json": SpansRequest}),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": SpansResponse}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "413": MappingProxyType({"application/problem+json": Problem}),
                "415": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="findTraces",
        name="find_traces",
        tag="traces",
        method="GET",
        path="/api/traces",
        secured=True,
        parameters=(
            Parameter(
                name="service",
                python_name="service",
                location="query",
                type=Annotated[str, Meta(max_length=256)],
            ),
            Parameter(
                name="operation",
                python_name="operation",
                location="query",
                type=Annotated[str, Meta(max_length=1024)],
            ),
            Parameter(
                name="tags",
                python_name="tags",
                location="query",
                type=Annotated[str, Meta(max_length=4096)],
            ),
            Parameter(
                name="start",
                python_name="start",
                location="query",
                type=Annotated[int, Meta(ge=0, le=9007199254740991)],
            ),
            Parameter(
                name="end",
                python_name="end",
                location="query",
                type=Annotated[int, Meta(ge=0, le=9007199254740991)],
            ),
            Parameter(
                name="limit",
                python_name="limit",
                location="query",
                type=Annotated[int, Meta(ge=1, le=1000)],
                default=20,
            ),
            Parameter(
                name="minDuration",
                python_name="min_duration",
                location="query",
                type=Annotated[
                    str,
                    Meta(
                        max_length=32, pattern="^[0-9]{1,12}(\\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h)\\Z"
                    ),
                ],
            ),
            Parameter(
                name="maxDuration",
                python_name="max_duration",
                location="query",
                type=Annotated[
                    str,
                    Meta(
                        max_length=32, pattern="^[0-9]{1,12}(\\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h)\\Z"
                    ),
                ],
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": JaegerTraces}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="getChromeTrace",
        name="get_chrome_trace",
        tag="traces",
        method="GET",
        path="/api/traces/{trace_id}/chrome",
        secured=True,
        parameters=(
            Parameter(
                name="trace_id",
                python_name="trace_id",
                location="path",
                type=Annotated[str, Meta(max_length=32, pattern="^[0-9a-fA-F]{1,32}\\Z")],
                required=True,
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": ChromeTrace}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="getTrace",
        name="get_trace",
        tag="traces",
        method="GET",
        path="/api/traces/{trace_id}",
        secured=True,
        parameters=(
            Parameter(
                name="trace_id",
                python_name="trace_id",
                location="path",
                type=Annotated[str, Meta(max_length=32, pattern="^[0-9a-fA-F]{1,32}\\Z")],
                required=True,
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": JaegerTraces}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="getTraceSummary",
        name="get_trace_summary",
        tag="traces",
        method="GET",
        path="/api/traces/{trace_id}/summary",
        secured=True,
        parameters=(
            Parameter(
                name="trace_id",
                python_name="trace_id",
                location="path",
                type=Annotated[str, Meta(max_length=32, pattern="^[0-9a-fA-F]{1,32}\\Z")],
                required=True,
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": TraceSummary}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "404": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="listServiceOperations",
        name="list_service_operations",
        tag="traces",
        method="GET",
        path="/api/services/{service}/operations",
        secured=True,
        parameters=(
            Parameter(
                name="service",
                python_name="service",
                location="path",
                type=Annotated[str, Meta(max_length=256)],
                required=True,
            ),
        ),
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": JaegerNames}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "422": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
    Operation(
        operation_id="listServices",
        name="list_services",
        tag="traces",
        method="GET",
        path="/api/services",
        secured=True,
        responses=MappingProxyType(
            {
                "200": MappingProxyType({"application/json": JaegerNames}),
                "400": MappingProxyType({"application/problem+json": Problem}),
                "401": MappingProxyType({"application/problem+json": Problem}),
                "403": MappingProxyType({"application/problem+json": Problem}),
                "500": MappingProxyType({"application/problem+json": Problem}),
            }
        ),
    ),
)

OPERATIONS: Mapping[str, Operation] = MappingProxyType({o.operation_id: o for o in _ALL})

PROTOCOLS: Mapping[str, type] = MappingProxyType(
    {
        "jobs": JobsOperations,
        "predict": PredictOperations,
        "registry": RegistryOperations,
        "system": SystemOperations,
        "traces": TracesOperations,
    }
)
