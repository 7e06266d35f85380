"""Runs the steps of a prediction for a list of inputs; a bad input fails alone.

Images and tensors go in windows: while one window is on the device, the next is decoded. URLs go one by one,
side by side, since the network takes the longest.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import msgspec

from stepscope.codecs import octets
from stepscope.codecs.features import classes, features
from stepscope.codecs.images import decode, preprocess
from stepscope.core.addresses import redacted
from stepscope.core.errors import InputCancelled, InputEmpty, InputFailed, TensorInvalid
from stepscope.core.manifests import ImageSpec, Manifest
from stepscope.core.ports import Inputs, LoadedModel
from stepscope.core.predictions import Answer, FeatureType, ImageInput, Input, InputError, TensorInput, UrlInput
from stepscope.core.rankings import Ranking
from stepscope.core.recording import Recorder
from stepscope.core.steps import NAMES, Step, StepClock
from stepscope.core.tensors import fit
from stepscope.engine.device import Device, Outcome, Run

WINDOW = 64
"""Inputs that one request has decoded, or under way to a file server, at a time, at least."""
INLINE_BYTES = 32 * 1024
"""Encoded bytes up to which decoding here costs less than handing it to another thread."""


class Fetch(Protocol):
    """The one way out to other servers."""

    async def fetch(self, url: str, *, owner: str = "") -> bytes:
        """Return what is behind a URL. Raises `UrlRefused` or `UrlFailed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a predictor's predictions need beside the loaded model. `manifest` has its files."""

    manifest: Manifest
    labels: Sequence[str]


class Work(msgspec.Struct, kw_only=True, eq=False):
    """One request's inputs on their way. `answers` fills up in the order of the inputs."""

    plan: Plan
    model: LoadedModel
    device: Device
    inputs: Sequence[Input]
    owner: str
    cap: int
    limit: int
    keep_outputs: bool = False
    recorder: Recorder | None = None
    before: int = 0
    """Inputs that the recorder knew already: a dataset's earlier batches."""
    clock: StepClock = msgspec.field(default_factory=StepClock)
    answers: list[Answer | None] = []
    runs: list[Run] = []

    @property
    def classes(self) -> int | None:
        """How many classes the device keeps of each input, 0 for all; None where the model's outputs are wanted."""
        ranks = self.plan.manifest.output.feature_type is FeatureType.CLASSIFICATION and not self.keep_outputs
        return self.limit if ranks else None

    def finished(self) -> list[Answer]:
        """Return an answer for every input, those that were never run included."""
        return [
            answer or _failed(item.id, InputCancelled()) for item, answer in zip(self.inputs, self.answers, strict=True)
        ]

    @property
    def done(self) -> int:
        """How many inputs have their answer."""
        return sum(answer is not None for answer in self.answers)


class _Prepared(msgspec.Struct, eq=False):
    """An input ready for the device, or why it isn't, and what it took."""

    arrays: Inputs | None = None
    failure: InputFailed | None = None
    started: float = 0.0
    decode_s: float = 0.0
    preprocess_s: float = 0.0


class Pipeline:
    """Fetch, decode, preprocess, queue, predict, postprocess."""

    def __init__(self, fetch: Fetch, workers: int) -> None:
        self._fetch = fetch
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    def close(self) -> None:
        """End the decode threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Work) -> None:
        """Fill `work.answers`. When cancelled, what waits for the device never reaches it."""
        work.answers = [None] * len(work.inputs)
        if work.recorder is not None:
            _introduce(work, work.recorder)
        try:
            if any(isinstance(item, UrlInput) for item in work.inputs):
                await self._run_side_by_side(work)
            else:
                await self._run_windows(work)
        finally:
            for run in work.runs:
                run.cancelled = True

    async def _run_side_by_side(self, work: Work) -> None:
        slots = asyncio.Semaphore(max(WINDOW, work.cap))

        async def one(place: int) -> None:
            async with slots:
                await self._run_one(work, place)

        async with asyncio.TaskGroup() as group:
            for place in range(len(work.inputs)):
                group.create_task(one(place))

    async def _run_one(self, work: Work, place: int) -> None:
        item = work.inputs[place]
        if isinstance(item, UrlInput):
            started, url = time.perf_counter(), item.url
            try:
                if not item.url.strip():
                    raise InputEmpty
                item = ImageInput(id=item.id, data=await self._fetch.fetch(item.url.strip(), owner=work.owner))
            except InputFailed as failure:
                work.answers[place] = _failed(item.id, failure)
                return
            finally:
                ended = time.perf_counter()
                work.clock.add(Step.FETCH, ended - started)
                if work.recorder is not None:
                    work.recorder.note(NAMES[Step.FETCH], started, ended, work.before + place, {"url": redacted(url)})
        await self._collect(work, [place], await self._submit(work, [place], [item]))

    async def _run_windows(self, work: Work) -> None:
        size = max(WINDOW, work.cap)
        if len(work.inputs) <= size:
            places = list(range(len(work.inputs)))
            await self._collect(work, places, await self._submit(work, places, work.inputs))
            return
        ahead: deque[tuple[list[int], Run]] = deque()
        for first in range(0, len(work.inputs), size):
            places = list(range(first, min(first + size, len(work.inputs))))
            ahead.append((places, await self._submit(work, places, work.inputs[first : first + size])))
            if len(ahead) == 2:
                await self._collect(work, *ahead.popleft())
        while ahead:
            await self._collect(work, *ahead.popleft())

    async def _submit(self, work: Work, places: list[int], items: Sequence[Input]) -> Run:
        """Prepare inputs and queue the good ones; the bad ones get their answers, and leave `places`."""
        prepared = await self._prepare(items, work.plan.manifest)
        good: list[Inputs] = []
        kept: list[int] = []
        for place, ready in zip(places, prepared, strict=True):
            _count(work, ready)
            if work.recorder is not None:
                _note(work.recorder, ready, work.before + place)
            if ready.arrays is None:
                assert ready.failure is not None
                work.answers[place] = _failed(work.inputs[place].id, ready.failure)
            else:
                good.append(ready.arrays)
                kept.append(place)
        places[:] = kept
        run = work.device.submit(
            work.model,
            good,
            owner=work.owner,
            cap=work.cap,
            classes=work.classes,
            recorder=work.recorder,
            places=[work.before + place for place in kept] if work.recorder is not None else (),
        )
        work.runs.append(run)
        return run

    async def _prepare(self, items: Sequence[Input], manifest: Manifest) -> list[_Prepared]:
        if sum([len(item.data) for item in items if isinstance(item, ImageInput)]) <= INLINE_BYTES:
            return [_prepare(item, manifest) for item in items]
        loop = asyncio.get_running_loop()
        shares = [items[start :: self._workers] for start in range(min(self._workers, len(items)))]
        parts = await asyncio.gather(
            *[loop.run_in_executor(self._pool, _prepare_all, share, manifest) for share in shares]
        )
        prepared = [_Prepared()] * len(items)
        for start, part in enumerate(parts):
            prepared[start :: self._workers] = part
        return prepared

    async def _collect(self, work: Work, places: Sequence[int], run: Run) -> None:
        await run.future
        if not places:
            return
        work.clock.add(Step.QUEUE, run.queued_s, len(places))
        work.clock.add(Step.PREDICT, run.predicted_s, len(places))
        started = time.perf_counter()
        for place, outcome in zip(places, run.outcomes, strict=True):
            input_id = work.inputs[place].id
            work.answers[place] = _answer(work, input_id, outcome)
        ended = time.perf_counter()
        work.clock.add(Step.POSTPROCESS, ended - started, len(places))
        if work.recorder is not None:
            _note_postprocess(work.recorder, [work.before + place for place in places], started, ended)


def _answer(work: Work, input_id: str, outcome: Outcome | None) -> Answer:
    assert outcome is not None, "the run is over"
    if isinstance(outcome, InputFailed):
        return _failed(input_id, outcome)
    if isinstance(outcome, Ranking):
        return Answer(input_id=input_id, features=classes(outcome, work.plan.labels, work.limit))
    if work.keep_outputs:
        return Answer(input_id=input_id, outputs=outcome)
    try:
        found = features(outcome, work.plan.manifest.output, work.plan.labels, work.limit)
    except InputFailed as failure:  # the model gives something else than its manifest says
        return _failed(input_id, failure)
    return Answer(input_id=input_id, features=found)


def _failed(input_id: str, failure: InputFailed) -> Answer:
    return Answer(input_id=input_id, error=InputError(code=failure.code, message=str(failure)))


def _introduce(work: Work, recorder: Recorder) -> None:
    """Tell the recorder the names of the inputs; when it is full, this part of its request isn't noted."""
    work.before = len(recorder.inputs)
    if recorder.has_room:
        recorder.inputs += [item.id for item in work.inputs]
    else:
        work.recorder = None


def _note(recorder: Recorder, ready: _Prepared, place: int) -> None:
    decoded = ready.started + ready.decode_s
    if ready.decode_s:
        recorder.note(NAMES[Step.DECODE], ready.started, decoded, place)
    if ready.preprocess_s:
        recorder.note(NAMES[Step.PREPROCESS], decoded, decoded + ready.preprocess_s, place)


def _note_postprocess(recorder: Recorder, places: Sequence[int], started: float, ended: float) -> None:
    """Inputs are postprocessed one after another, too briefly to be timed one by one: each gets its share."""
    share = (ended - started) / len(places)
    for count, place in enumerate(places):
        recorder.note(NAMES[Step.POSTPROCESS], started + count * share, started + (count + 1) * share, place)


def _count(work: Work, ready: _Prepared) -> None:
    if ready.decode_s:
        work.clock.add(Step.DECODE, ready.decode_s)
    if ready.preprocess_s:
        work.clock.add(Step.PREPROCESS, ready.preprocess_s)


def _prepare_all(items: Sequence[Input], manifest: Manifest) -> list[_Prepared]:
    return [_prepare(item, manifest) for item in items]


def _prepare(item: Input, manifest: Manifest, clock: Callable[[], float] = time.perf_counter) -> _Prepared:
    spec = manifest.inputs[0].spec
    ready = _Prepared()
    started = ready.started = clock()
    try:
        if isinstance(item, TensorInput):
            ready.arrays = (fit(item.array, spec),)
            ready.preprocess_s = clock() - started
            return ready
        assert isinstance(item, ImageInput), "URLs are fetched before"
        if not isinstance(spec, ImageSpec):
            raise TensorInvalid(f"{manifest} takes tensors, not images; send them to /api/predict/tensors")
        data = item.data if isinstance(item.data, bytes) else octets.decode(item.data)
        if not data:
            raise InputEmpty
        image = decode(data, spec)
        decoded = clock()
        ready.decode_s = decoded - started
        ready.arrays = (preprocess(image, spec),)
        ready.preprocess_s = clock() - decoded
    except InputFailed as failure:
        ready.failure = failure
        ready.decode_s = ready.decode_s or clock() - started
    return ready
