"""The one door for every dialect: open, predict, close."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stepscope.core.admission import Admission, AdmissionLimits
from stepscope.core.errors import DeadlineExceeded, ShuttingDown, StoreUnavailable
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.manifests import Manifest
from stepscope.core.ports import Runtime
from stepscope.core.predictions import (
    DEFAULT_FEATURE_LIMIT,
    DeviceRef,
    Freed,
    Input,
    ModelRef,
    Options,
    Prediction,
)
from stepscope.core.recording import Recorder
from stepscope.core.steps import Step
from stepscope.engine.catalog import Catalog
from stepscope.engine.device import Device
from stepscope.engine.models import Lease, Models, Running
from stepscope.engine.pipeline import Pipeline, Plan, Work
from stepscope.engine.plans import Plans
from stepscope.engine.predictors import Predictors

log = logging.getLogger("stepscope.engine")

SWEEP_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What the engine takes at most: inputs under way, inputs in one batch, and seconds without a caller's time-out."""

    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    batch_size: int = 64
    timeout_s: float = 600.0


class Engine:
    """Opens predictors on models, runs their predictions, closes them."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        runtime: Runtime,
        predictors: Predictors,
        models: Models,
        plans: Plans,
        pipeline: Pipeline,
        limits: EngineLimits,
    ) -> None:
        self.catalog = catalog
        self.runtime = runtime
        self.admission = Admission(limits.admission)
        self._predictors = predictors
        self._models = models
        self._plans = plans
        self._pipeline = pipeline
        self._limits = limits
        self._devices: Mapping[DeviceRef, Device] = {ref: Device(str(ref)) for ref in runtime.devices()}
        self._sweeper: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def timeout_s(self) -> float:
        """How long a request may take when its caller says nothing."""
        return self._limits.timeout_s

    @property
    def batch_size(self) -> int:
        """How many inputs run together at most."""
        return self._limits.batch_size

    @property
    def ready(self) -> bool:
        """Whether predictions are taken."""
        return self._sweeper is not None and not self._draining

    async def start(self) -> None:
        """Start the devices' threads and the sweep of expired predictors."""
        for device in self._devices.values():
            device.start()
        self._sweeper = asyncio.create_task(self._sweep_on())

    def drain(self) -> None:
        """Take nothing new from now on."""
        self._draining = True

    async def stop(self) -> None:
        """Give everything back."""
        self.drain()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for device in self._devices.values():
            await asyncio.to_thread(device.stop)
        await self._models.close()
        self._pipeline.close()

    async def open(
        self, ref: ModelRef, options: Options, owner: str, *, recorder: Recorder | None = None
    ) -> tuple[PredictorRecord, Manifest]:
        """Open a predictor on the best match and load its model, in the way that the options name.

        Raises `ModelNotFound`, `ModelUnavailable`, `DeadlineExceeded`, `ShuttingDown`.
        """
        self._check_open()
        manifest = self.catalog.resolve(ref).pinned(options.way)
        device = self._device(options.device)
        record = await self._predictors.open(manifest, device, options, owner)
        limit_s = options.timeout_s or self._limits.timeout_s
        started = time.perf_counter()
        try:
            async with asyncio.timeout(limit_s), self._models.lease(manifest, device, record.id):
                if recorder is not None:
                    told = {"model_name": manifest.name, "model_version": manifest.version, "device": str(device)}
                    recorder.note("load_model", started, time.perf_counter(), detail=told)
                if options.persist:
                    self._models.keep(manifest, device)
        except BaseException as fault:
            with contextlib.suppress(StoreUnavailable):  # nobody knows its id, and its lease will end
                await self._predictors.close(record.id, owner)
            await self._models.leave(record.id)
            if isinstance(fault, TimeoutError):
                raise DeadlineExceeded(limit_s) from None
            raise
        return record, manifest

    def running(self) -> Sequence[Running]:
        """Return the models that are loaded now, and how each of them runs."""
        return self._models.running()

    async def use(self, predictor_id: str, owner: str) -> PredictorRecord:
        """Return an owner's predictor and start its lease again. Raises `PredictorNotFound`, `PredictorExpired`."""
        self._check_open()
        return await self._predictors.use(predictor_id, owner)

    def manifest(self, record: PredictorRecord) -> Manifest:
        """Return the manifest of a predictor's model."""
        return self._plans.manifest(record)

    async def predict(
        self,
        record: PredictorRecord,
        inputs: Sequence[Input],
        options: Options,
        *,
        keep_outputs: bool = False,
        recorder: Recorder | None = None,
    ) -> Prediction:
        """Answer every input, a bad one with its own error.

        Raises `Overloaded`, `TooManyRequests`, `ShuttingDown`, `ModelUnavailable` before any work, and
        `DeadlineExceeded` with the `Prediction` so far in `partial`.
        """
        self._check_open()
        self.admission.enter(record.owner, len(inputs))
        try:
            return await self._predict(record, inputs, options.over(record.options), keep_outputs, recorder)
        finally:
            self.admission.leave(record.owner, len(inputs))

    async def admitted(self, owner: str, inputs: int, work: Callable[[], Awaitable[None]]) -> None:
        """Do work that isn't a predictor's: count its inputs in meanwhile, and bound its time.

        Raises `Overloaded`, `TooManyRequests`, `TooManyInputs`, `ShuttingDown` before it, `DeadlineExceeded` after it.
        """
        self._check_open()
        self.admission.enter(owner, inputs)
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                await work()
        except TimeoutError:
            raise DeadlineExceeded(self._limits.timeout_s, 0, inputs) from None
        finally:
            self.admission.leave(owner, inputs)

    def lend(self, manifest: Manifest, wanted: DeviceRef | None = None) -> tuple[Lease, Device]:
        """Lend a model on a device, or the best one, loading it if need be, and that device. See `Models.lease`."""
        device = self._device(wanted)
        return self._models.lease(manifest, device), self._devices[device]

    async def reset(self, predictor_id: str, owner: str) -> PredictorRecord:
        """Forget what is kept for a predictor beside its record."""
        record = await self.use(predictor_id, owner)
        self._plans.forget(predictor_id)
        return record

    async def close(self, predictor_id: str, owner: str, *, force: bool = False) -> Freed:
        """Close a predictor; its model goes when it was the last one on it. Raises as `use` does."""
        started = time.perf_counter()
        record = await self._predictors.close(predictor_id, owner)
        before = self.runtime.memory_bytes(record.device)
        self._plans.forget(predictor_id)
        freed = await self._models.leave(predictor_id, force=force)
        after = self.runtime.memory_bytes(record.device)
        took_s = time.perf_counter() - started
        return Freed(
            freed_bytes=freed,
            before_bytes=before,
            after_bytes=after,
            duration_s=took_s,
            trace_level=record.options.trace_level,
        )

    def dismiss(self, predictor_id: str) -> None:
        """Give back what is held for a predictor that another process closed."""
        task = asyncio.ensure_future(self._leave(predictor_id))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, predictor_id: str) -> None:
        self._plans.forget(predictor_id)
        await self._models.leave(predictor_id)

    async def _predict(
        self,
        record: PredictorRecord,
        inputs: Sequence[Input],
        options: Options,
        keep_outputs: bool,
        recorder: Recorder | None,
    ) -> Prediction:
        started = time.perf_counter()
        limit_s = options.timeout_s or self._limits.timeout_s
        work: Work | None = None
        try:
            async with asyncio.timeout(limit_s):
                plan = await self._plans.get(record)
                async with self._models.lease(plan.manifest, record.device, record.id) as model:
                    work = Work(
                        plan=plan,
                        model=model,
                        device=self._devices[record.device],
                        inputs=inputs,
                        owner=record.owner,
                        cap=min(options.batch_size or self._limits.batch_size, self._limits.batch_size),
                        limit=DEFAULT_FEATURE_LIMIT if options.feature_limit is None else options.feature_limit,
                        keep_outputs=keep_outputs,
                        recorder=recorder,
                    )
                    await self._pipeline.run(work)
        except TimeoutError:
            if work is None:
                raise DeadlineExceeded(limit_s, 0, len(inputs)) from None
            partial = self._prediction(record, plan, work, started)
            raise DeadlineExceeded(limit_s, work.done, len(inputs), partial) from None
        return self._prediction(record, plan, work, started)

    def _prediction(self, record: PredictorRecord, plan: Plan, work: Work, started: float) -> Prediction:
        return Prediction(
            answers=work.finished(),
            steps=work.clock.times(),
            duration_s=time.perf_counter() - started,
            inference_s=work.clock.seconds(Step.PREDICT),
            model_name=plan.manifest.name,
            model_version=plan.manifest.version,
            framework_name=self.runtime.framework_name,
            framework_version=self.runtime.framework_version,
            device=str(record.device),
        )

    def _device(self, wanted: DeviceRef | None) -> DeviceRef:
        """Return the device asked for; the best one instead of one that isn't here."""
        refs = list(self._devices)
        if wanted is None:
            return refs[0]
        return wanted if wanted in self._devices else next((ref for ref in refs if ref.kind == "cpu"), refs[0])

    def _check_open(self) -> None:
        if self._draining:
            raise ShuttingDown

    async def sweep(self) -> None:
        """Give back what expired predictors hold, and forget those that expired long ago."""
        for user in self._models.users():
            if await self._predictors.expired(user):
                await self._leave(user)
        await self._predictors.purge()

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except StoreUnavailable:
                log.debug("the sweep waits for the store")
            except Exception:
                log.exception("the sweep of expired predictors failed; it goes on")
