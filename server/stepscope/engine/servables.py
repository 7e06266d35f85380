"""Servables at work: a method's stages, one after the other, for all instances of a request.

At each stage an instance meets those of other requests: models run on their device's thread, functions on the
servable's own. An instance that fails at a stage goes no further; the others do.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from stepscope.core.errors import InputFailed, PredictionFailed
from stepscope.core.manifests import Manifest
from stepscope.core.model_inputs import Wanted, as_inputs, wanted
from stepscope.core.ports import Inputs, LoadedModel
from stepscope.core.predictions import DeviceRef
from stepscope.core.rankings import Ranking
from stepscope.core.recording import Recorder
from stepscope.core.servables import (
    FunctionDeclaration,
    Instance,
    Method,
    ModelDeclaration,
    Servable,
    Stage,
    StageFailed,
    Values,
)
from stepscope.core.stage_calls import Call, Outcome
from stepscope.engine.device import Outcome as DeviceOutcome
from stepscope.engine.engine import Engine
from stepscope.engine.stage_threads import StageThreads

TOGETHER = 8
"""Instances that a function for single ones is called for between two looks at who else waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a servable: the manifest of each model that it declares.

    Its models run on the `devices` in turn, on the best one where there are none.
    """

    number: int
    servable: Servable
    manifests: Mapping[ModelDeclaration, Manifest]
    threads: int = 1
    devices: tuple[DeviceRef, ...] = ()


@dataclass(slots=True, kw_only=True, eq=False)
class Served:
    """A version with the threads of its functions, each stage as it is called, and what its models take."""

    version: Version
    threads: StageThreads
    calls: dict[tuple[str, int], Call] = field(default_factory=dict)
    wanted: dict[ModelDeclaration, tuple[Wanted, ...]] = field(default_factory=dict)
    under_way: int = 0
    replaced: bool = False
    turns: int = 0

    @property
    def servable(self) -> Servable:
        """What its configuration declares."""
        return self.version.servable

    def next_device(self) -> DeviceRef | None:
        """Return the device whose turn it is; None for the best one."""
        devices = self.version.devices
        if not devices:
            return None
        self.turns += 1
        return devices[self.turns % len(devices)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls a method, and what the call is traced with, if it is."""

    owner: str
    recorder: Recorder | None = None


class Servables:
    """The servables by name and version."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._served: dict[str, dict[int, Served]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(self, version: Version) -> None:
        """Serve a version, in place of one with the same name and number, which answers what it has begun."""
        name = version.servable.name
        threads = StageThreads(name, version.threads, lambda *call: self._call(served, *call))
        served = Served(version=version, threads=threads, calls=_calls(version.servable))
        before = self._served.setdefault(name, {}).get(version.number)
        self._served[name][version.number] = served
        if before is not None:
            before.replaced = True
            if not before.under_way:
                before.threads.stop()

    def find(self, name: str, number: int = 0) -> Served | None:
        """Return a version, 0 meaning the highest; None when there is no such servable or version."""
        versions = self._served.get(name)
        if not versions:
            return None
        return versions.get(number or max(versions))

    async def load(self, version: Version) -> None:
        """Load the models of a version, on each of its devices. Raises `ModelUnavailable`."""
        for manifest in version.manifests.values():
            for device in version.devices or (None,):
                lease, _ = self._engine.lend(manifest, device)
                async with lease:
                    pass

    def stop(self) -> None:
        """End the functions' threads."""
        for versions in self._served.values():
            for served in versions.values():
                served.threads.stop()

    async def run(
        self, served: Served, method: Method, instances: Sequence[Instance], caller: Caller
    ) -> list[Instance | StageFailed]:
        """Return the outputs of every instance in its order, or a bad one's own text.

        Raises `Overloaded`, `TooManyRequests`, `TooManyInputs`, `ShuttingDown`, `ModelUnavailable`,
        `DeadlineExceeded`.
        """
        self._loop = asyncio.get_running_loop()
        work = _Work(method, instances, caller)
        served.under_way += 1
        try:
            await self._engine.admitted(caller.owner, len(instances), partial(self._stages, served, work))
        finally:
            served.under_way -= 1
            if served.replaced and not served.under_way:
                served.threads.stop()
        return work.outcomes()

    async def _stages(self, served: Served, work: "_Work") -> None:
        for index, stage in enumerate(work.method.stages, 1):
            if work.alive:
                await self._stage(served, stage, index, work)

    async def _stage(self, served: Served, stage: Stage, index: int, work: "_Work") -> None:
        if isinstance(stage.runs, FunctionDeclaration):
            await self._function_stage(served, stage, stage.runs, index, work)
            return
        started = time.perf_counter()
        outcomes = await self._predict(served, stage.runs, work.given(stage), work.caller, work.alive)
        recorder = work.caller.recorder
        if recorder is not None:
            told = {"stage": index, "instances": len(outcomes)}
            recorder.note(stage.name, started, time.perf_counter(), detail=told)
        work.take([_counted(outcome, stage) for outcome in outcomes])

    async def _function_stage(
        self, served: Served, stage: Stage, function: FunctionDeclaration, index: int, work: "_Work"
    ) -> None:
        call = served.calls[work.method.name, index]
        run = served.threads.submit(
            call,
            work.given(stage),
            owner=work.caller.owner,
            cap=self._cap(stage, function, work.method),
            recorder=work.caller.recorder,
            places=work.alive,
        )
        try:
            await run.future
        finally:
            run.cancelled = True
        work.take([_told(outcome, stage, work.method, index) for outcome in run.outcomes if outcome is not None])

    def _cap(self, stage: Stage, function: FunctionDeclaration, method: Method) -> int:
        """Return how many instances a function gets at once at most."""
        size = function.batch_size
        if size is None:
            return TOGETHER
        if size:
            return size
        models = [each.runs for each in method.stages if isinstance(each.runs, ModelDeclaration)]
        sizes = [self._engine.batch_size if model.with_batch_dim else 1 for model in models] or [1]
        return min(sizes) if all(source.stage == 0 for source in stage.inputs) else max(sizes)

    async def _predict(
        self,
        served: Served,
        declared: ModelDeclaration,
        instances: Sequence[Values],
        caller: Caller,
        places: Sequence[int],
    ) -> list[Outcome]:
        """Return what a model makes of each instance; `places` are those of the instances in the request."""
        manifest = served.version.manifests[declared]
        lease, device = self._engine.lend(manifest, served.next_device())
        async with lease as model:
            inputs = served.wanted.get(declared)
            if inputs is None:
                inputs = served.wanted[declared] = _wanted(manifest, model)
            ready = _Ready(instances, inputs, places)
            run = device.submit(
                model,
                ready.inputs,
                owner=caller.owner,
                cap=self._engine.batch_size,
                recorder=caller.recorder,
                places=ready.places,
            )
            try:
                await run.future
            finally:
                run.cancelled = True
        answers = iter(run.outcomes)
        return [outcome or _answer(next(answers)) for outcome in ready.outcomes]

    def _call(self, served: Served, model: ModelDeclaration, instances: Sequence[Values]) -> Sequence[Values]:
        """Run a model for a function, from the function's thread."""
        assert self._loop is not None, "a function runs for a request"
        itself = Caller(owner=f"{served.servable.name} itself")
        work = self._predict(served, model, instances, itself, range(len(instances)))
        outcomes = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        for outcome in outcomes:
            if isinstance(outcome, StageFailed):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, StageFailed)]


class _Work:
    """One request's instances on their way: what each stage gave, or why an instance goes no further.

    `alive` are the places of those that are under way.
    """

    def __init__(self, method: Method, instances: Sequence[Instance], caller: Caller) -> None:
        self.method = method
        self.caller = caller
        self.alive: Sequence[int] = range(len(instances))
        self._values: list[list[Values]] = [[tuple([each[name] for name in method.inputs])] for each in instances]
        self._failures: list[StageFailed | None] = [None] * len(instances)

    def given(self, stage: Stage) -> list[Values]:
        """Return a stage's inputs for each instance that is still under way."""
        known = self._values
        return [tuple([known[each][at][place] for at, place in stage.inputs]) for each in self.alive]

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Note what a stage made of the instances under way, in their order."""
        failed = False
        for place, outcome in zip(self.alive, outcomes, strict=True):
            if isinstance(outcome, StageFailed):
                self._failures[place] = outcome
                failed = True
            else:
                self._values[place].append(outcome)
        if failed:
            self.alive = [place for place in self.alive if self._failures[place] is None]

    def outcomes(self) -> list[Instance | StageFailed]:
        """Return the method's outputs by name for each instance, or its failure."""
        outputs = self.method.outputs
        return [
            failure or {name: values[at][place] for name, (at, place) in outputs}
            for values, failure in zip(self._values, self._failures, strict=True)
        ]


class _Ready:
    """Instances as a model takes them, with their places; the bad ones have their outcome already."""

    def __init__(self, instances: Sequence[Values], inputs: tuple[Wanted, ...], places: Sequence[int]) -> None:
        self.outcomes: list[Outcome | None] = []
        self.inputs: list[Inputs] = []
        self.places: list[int] = []
        for place, values in zip(places, instances, strict=True):
            try:
                self.inputs.append(as_inputs(values, inputs, place))
                self.places.append(place)
                self.outcomes.append(None)
            except StageFailed as failure:
                self.outcomes.append(failure)


def _answer(outcome: DeviceOutcome | None) -> Outcome:
    assert outcome is not None, "the run is over"
    assert not isinstance(outcome, Ranking), "outputs are asked for"
    if isinstance(outcome, PredictionFailed):
        return StageFailed("Predict Failed")
    return StageFailed(str(outcome)) if isinstance(outcome, InputFailed) else outcome


def _wanted(manifest: Manifest, model: LoadedModel) -> tuple[Wanted, ...]:
    """Return what a model takes by its manifest, or else by its file."""
    return tuple([wanted(entry.spec) for entry in manifest.inputs] or [wanted(spec) for spec in model.inputs])


def _counted(outcome: Outcome, stage: Stage) -> Outcome:
    if isinstance(outcome, StageFailed) or len(outcome) == stage.outputs_count:
        return outcome
    return StageFailed(f"The outputs count {len(outcome)} of the model is not equal to {stage.outputs_count}")


def _told(outcome: Outcome, stage: Stage, method: Method, index: int) -> Outcome:
    if not isinstance(outcome, StageFailed):
        return outcome
    where = f"method: '{method.name}', stage index(begin with 1): {index}"
    return StageFailed(f"Call {stage.called} Failed, {where}, error msg: {outcome}")


def _calls(servable: Servable) -> dict[tuple[str, int], Call]:
    """Make each function stage's call once: what waits for the same one runs together."""
    return {
        (method.name, index): Call(
            function=stage.runs, name=stage.name, method=method.name, index=index, outputs_count=stage.outputs_count
        )
        for method in servable.methods.values()
        for index, stage in enumerate(method.stages, 1)
        if isinstance(stage.runs, FunctionDeclaration)
    }
