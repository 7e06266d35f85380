"""The seams of the engine: each Protocol is narrow, and a small honest fake of it ships with the package."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from stepscope.core.access import Trace
from stepscope.core.frames import Frame
from stepscope.core.jobs import Claim, Ending, Job, JobChanges, JobState, NewJob, Report, Worker
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.manifests import Manifest, TensorSpec
from stepscope.core.predictions import Array, DeviceRef, TraceLevel
from stepscope.core.rankings import Ranking
from stepscope.core.recording import BatchRecord, Recorder
from stepscope.core.spans import Span, TraceQuery
from stepscope.core.spans import Trace as KeptTrace
from stepscope.core.tuning import Execution

Inputs = tuple[Array | Frame, ...]
"""A model's input arrays for one input, without a batch dimension; an image may come as a `Frame`."""
Arrays = tuple[Array, ...]
"""Arrays of one input, without a batch dimension."""
Outputs = Arrays
"""A model's output arrays for one input, without a batch dimension."""


Begin = Callable[[Trace, TraceLevel | None, str, float], Recorder | None]
"""Begins to trace a request, by its ids, its level (None for what asks for nothing), its owner and its start."""


Counts = Mapping[str, tuple[str, float]]
"""Counters by name, each with what it counts and how many so far."""
ReadCounts = Callable[[], Counts]


class LoadedModel(Protocol):
    """A model's weights on one device. Runs on that device's thread; never async."""

    size_bytes: int
    """Bytes that its weights take on the device; it may change when `execution` does."""
    execution: Execution
    """How it runs now."""
    inputs: Sequence[TensorSpec]
    """What its file says that it takes for each input, without a batch dimension; empty where it says nothing."""

    def predict(self, batch: Sequence[Inputs]) -> Sequence[Outputs]:
        """Run inputs of equal shapes and types together; the same length and order come back."""

    def rank(self, batch: Sequence[Inputs], count: int) -> Sequence[Ranking]:
        """Run a classifier as `predict` does, and keep the `count` best classes of each input; 0 means all."""

    def trace(
        self, batch: Sequence[Inputs], record: BatchRecord, count: int | None = None
    ) -> Sequence[Outputs] | Sequence[Ranking]:
        """Run as `predict` does, or with a `count` as `rank`, and note what happens as deep as the record's level."""

    def close(self) -> None:
        """Give the memory back to the device and the system."""


class Runtime(Protocol):
    """A framework that can load models: torch, or the echo that ships for tests."""

    framework_name: str
    framework_version: str

    def devices(self) -> Sequence[DeviceRef]:
        """List the devices, the best one first."""

    def load(self, manifest: Manifest, device: DeviceRef) -> LoadedModel:
        """Load a model's weights. Raises `ModelUnavailable` with a reason that a client may read."""

    def memory_bytes(self, device: DeviceRef) -> int:
        """Bytes that this process holds on the device: resident memory for the CPU."""

    def capacity_bytes(self, device: DeviceRef) -> int:
        """Bytes that the device has in all."""


class Store(Protocol):
    """Predictor records. Any process that shares the store can serve any predictor."""

    async def put_predictor(self, record: PredictorRecord) -> None:
        """Add or replace a record."""

    async def get_predictor(self, predictor_id: str) -> PredictorRecord | None:
        """Return a record, lapsed or not, or None."""

    async def touch_predictor(self, predictor_id: str, now: datetime) -> None:
        """Note a use, so that the lease starts again."""

    async def remove_predictor(self, predictor_id: str) -> PredictorRecord | None:
        """Take a record out and return it, or None when another caller was faster."""

    async def purge_predictors(self, before: datetime) -> Sequence[str]:
        """Take out the records whose lease ended before a time; return their ids."""


BeforeEnd = Callable[[Job], Awaitable[None]]
"""Is called with a job before the time ends it."""


class JobStore(Protocol):
    """Jobs, as `core.jobs` says what may happen to them. Any process that shares the store can serve any job.

    Every call raises `StoreUnavailable` when the store is away. What a call has changed is kept when it returns.
    """

    async def start(self) -> None:
        """Make it ready for use."""

    async def stop(self) -> None:
        """Give it up."""

    def changes(self) -> AsyncGenerator[JobChanges | None, None]:
        """Yield what other processes change; None at first, and whenever anything may have been."""

    async def add_job(self, new: NewJob) -> Job:
        """Queue a job; return the one of the same owner and key instead, if there is one. Raises `JobQueueFull`."""

    async def get_job(self, job_id: str) -> Job | None:
        """Return a job, or None."""

    async def find_job(self, owner: str, key: str) -> Job | None:
        """Return the job to which its owner gave a key, or None."""

    async def get_result(self, job_id: str) -> bytes | None:
        """Return the result of a job that is done, as often as it is asked for."""

    async def list_jobs(self, owner: str, state: JobState | None, count: int, before: str | None) -> Sequence[Job]:
        """Return an owner's jobs, the newest first, from the one after `before` on."""

    async def held_jobs(self, kind: str) -> Sequence[Job]:
        """Return the jobs of a queue that workers hold. Looks at the whole queue."""

    async def claim_jobs(self, claim: Claim) -> Sequence[tuple[Job, bytes]]:
        """Give a worker the jobs whose turn it is, with their payloads; each job to one worker alone."""

    async def report_jobs(self, reports: Sequence[Report]) -> Sequence[Job | None]:
        """Note signs of life of workers that hold their jobs; return the jobs as they are afterwards."""

    async def end_job(self, job_id: str, ending: Ending) -> Job | None:
        """End a job, if the ending changes anything; return it as it is afterwards, None when there is no such job."""

    async def release_job(self, job_id: str, worker: str) -> Job | None:
        """Put back what a worker was given but never got, as if it hadn't been taken."""

    async def sweep_jobs(self, now: datetime, before_end: BeforeEnd | None = None) -> Sequence[Job]:
        """Do what the time does to jobs: end, queue again, forget. Returns those that changed and are still there.

        `before_end` is called with each that is about to end; what it raises leaves the jobs as they are.
        """

    async def count_waiting(self, kind: str) -> int:
        """Return how many jobs wait in a queue."""

    async def places(self, kind: str, job_ids: Sequence[str]) -> Sequence[int]:
        """Return the jobs' places in their queue: 1 is next, 0 is none."""

    async def put_worker(self, worker: Worker) -> None:
        """Add or replace a worker's record, by its name and kind."""

    async def list_workers(self, kind: str) -> Sequence[Worker]:
        """Return the workers of a queue that were seen lately, in the order of their names."""


class SessionStore(Protocol):
    """What clients were given to come back with. `digest` is a SHA-256 in hex: what they hold isn't kept itself."""

    async def put_session(self, digest: str, value: bytes, expires_at: datetime | None) -> None:
        """Add or replace what belongs to a session."""

    async def get_session(self, digest: str) -> bytes | None:
        """Return what belongs to a session that hasn't expired, or None."""


class Traces(Protocol):
    """The traces that are kept. Every call may wait for the disk."""

    def find(self, trace_id: str, owner: str, *, whole: bool = False) -> KeptTrace | None:
        """Return a trace as far as an owner may see it: with bounded spans, or `whole`."""

    def search(self, query: TraceQuery, owner: str) -> Sequence[KeptTrace]:
        """Return the newest traces that fit."""

    def names(self, owner: str) -> Mapping[str, Sequence[str]]:
        """Return the names of spans by the service that they are of."""

    def add(self, trace_id: str, spans: Sequence[Span], owner: str) -> None:
        """Keep spans that a caller made itself."""
