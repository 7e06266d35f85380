"""Running a batch so that one can look inside: the call, its layers, their operators, and the machine's counters.

Layers are seen in an eager module alone, whatever way the model was tuned to: a frozen program has no modules. So what
looks deeper than the call runs another copy of the model, loaded when it is first asked for and kept until the model
is closed. What that takes, warming up included, is noted outside of the batch's time.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import torch

from stepscope.core.ports import Inputs, Outputs
from stepscope.core.predictions import TraceLevel
from stepscope.core.rankings import Ranking
from stepscope.core.recording import SETUP, BatchRecord
from stepscope.core.trace_summary import RAN_AT
from stepscope.runtimes.counters import Counters
from stepscope.runtimes.torch.batches import Module, Run, Tensors, flat
from stepscope.runtimes.torch.layers import Facts, Layer, LayerClock, mark_layers, survey
from stepscope.runtimes.torch.profiled import Profiler

PEAK_SIZE = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the matrices whose product says what the device can do."""
PEAK_RUNS = 3
KEPT_SHAPES = 256
"""Batches of so many different shapes are remembered."""


Answers = Sequence[Outputs] | Sequence[Ranking]
RunOnce = Callable[[Run], Answers]
"""Runs one batch by what it is given: stacks and copies before it, copies back or ranks behind it."""


class Watched:
    """The eager copy that is watched, what is known of its layers, and what its device can do."""

    def __init__(self, model: Module, device: torch.device) -> None:
        self.device = device
        self.gpu = f"GPU-{torch.cuda.get_device_properties(device).uuid}" if device.type == "cuda" else ""
        self.peak_flops_per_s = _peak(device)
        self._model = model
        self._clock = LayerClock(model, partial(torch.cuda.synchronize, device) if device.type == "cuda" else None)
        self._shapes: set[object] = set()
        self._facts: dict[object, list[Facts]] = {}

    def is_new(self, batch: Sequence[Inputs]) -> bool:
        """Say whether a batch has shapes that never ran before: it is to be surveyed first."""
        shapes = len(batch), tuple((array.shape, getattr(array, "dtype", None)) for array in batch[0])
        if shapes in self._shapes:
            return False
        if len(self._shapes) >= KEPT_SHAPES:
            self._shapes.clear()
            self._facts.clear()
        self._shapes.add(shapes)
        return True

    def plain(self, tensors: Tensors) -> Tensors:
        """Run without looking."""
        return tuple(flat(self._model(*tensors)))

    def survey(self, tensors: Tensors) -> Tensors:
        """Run to learn of the layers what doesn't depend on the time. Warms the model up, too."""
        self._clock.surveys = True
        try:
            with self._clock:
                answer = self.plain(tensors)
        finally:
            self._clock.surveys = False
        self._facts[_shapes(tensors)] = self._clock.facts or [survey(tensors, answer)]
        return answer

    def layered(self, tensors: Tensors) -> tuple[Tensors, list[Layer]]:
        """Run, and return the layers too; a model that shows none, such as a TorchScript, is one layer itself."""
        started = time.perf_counter()
        with self._clock:
            answer = self.plain(tensors)
        kind = type(self._model).__name__
        timed = self._clock.layers or [(kind, kind, started, time.perf_counter())]
        facts = self._facts.get(_shapes(tensors), [])
        # A model whose code decides by values may run other layers than those that were surveyed.
        known: Sequence[Facts | None] = facts if len(facts) == len(timed) else [None] * len(timed)
        return answer, [Layer(*each, about) for each, about in zip(timed, known, strict=True)]

    def layers_unseen(self, tensors: Tensors) -> Tensors:
        """Run as `layered` does, for its time alone."""
        return self.layered(tensors)[0]


def run_call(run: Run, run_once: RunOnce, record: BatchRecord) -> Answers:
    """Run a batch as ever, and note the call with what is copied before and behind it."""
    calls: list[tuple[float, float]] = []

    def timed(tensors: Tensors) -> Tensors:
        started = time.perf_counter()
        answer = run(tensors)
        if answer and answer[0].device.type == "cuda":
            torch.cuda.synchronize(answer[0].device)
        calls.append((started, time.perf_counter()))
        return answer

    record.started = time.perf_counter()
    outputs = run_once(timed)
    record.ended = time.perf_counter()
    _mark_calls(record, calls)
    return outputs


def run_watched(watched: Watched, run_once: RunOnce, batch: Sequence[Inputs], record: BatchRecord) -> Answers:
    """Run a batch by the watched copy, and note layers, operators and counters as deep as the record asks."""
    _prepare(watched, run_once, batch, record)
    seen: list[tuple[float, float, list[Layer]]] = []
    with ExitStack() as around:
        profiler = None
        if record.level >= TraceLevel.ML_LIBRARY_TRACE:
            profiler = around.enter_context(Profiler(record, watched.device))
        if record.level >= TraceLevel.HARDWARE_TRACE:
            record.samples = around.enter_context(Counters(watched.gpu)).samples
        record.started = time.perf_counter()
        outputs = run_once(partial(_seen, watched, seen))
        record.ended = time.perf_counter()
    places = _mark_calls(record, [(started, ended) for started, ended, _ in seen])
    for place, (_, _, layers) in zip(places, seen, strict=True):
        marked = mark_layers(layers, record, place)
        if profiler is not None:
            profiler.mark(place, marked)
    return outputs


def _seen(watched: Watched, seen: list[tuple[float, float, list[Layer]]], tensors: Tensors) -> Tensors:
    started = time.perf_counter()
    answer, layers = watched.layered(tensors)
    seen.append((started, time.perf_counter(), layers))
    return answer


def _prepare(watched: Watched, run_once: RunOnce, batch: Sequence[Inputs], record: BatchRecord) -> None:
    """Warm up for new shapes; for FULL_TRACE, run at the levels whose own times are wanted."""
    if watched.is_new(batch):
        started = time.perf_counter()
        run_once(watched.survey)
        record.mark("warm_up", TraceLevel.FRAMEWORK_TRACE, started, time.perf_counter(), SETUP)
    if record.level < TraceLevel.FULL_TRACE:
        return
    for level, run in ((TraceLevel.MODEL_TRACE, watched.plain), (TraceLevel.FRAMEWORK_TRACE, watched.layers_unseen)):
        started = time.perf_counter()
        run_once(run)
        tags = {RAN_AT: level.name}
        record.mark("leveled_run", TraceLevel.FULL_TRACE, started, time.perf_counter(), SETUP, tags)


def _mark_calls(record: BatchRecord, calls: Sequence[tuple[float, float]]) -> list[int]:
    """Note the calls of the model, and what lies between them: copies to the device and back."""
    level = TraceLevel.MODEL_TRACE
    places: list[int] = []
    before, copied = record.started, "copy_in"
    for started, ended in calls:
        record.mark(copied, level, before, started)
        places.append(record.mark("run", level, started, ended))
        before, copied = ended, "copy_between"
    record.mark("copy_out", level, before, record.ended)
    return places


def _shapes(tensors: Tensors) -> object:
    return tuple((tensor.shape, tensor.dtype) for tensor in tensors)


def _peak(device: torch.device) -> float:
    """Return the floating-point operations a second of a large float32 matrix product, the best of a few."""
    size = PEAK_SIZE[device.type]
    with torch.inference_mode():
        matrix = torch.ones(size, size, device=device)
        best_s = min(_product_s(matrix) for _ in range(PEAK_RUNS))
    return float(2 * size**3 / best_s)


def _product_s(matrix: torch.Tensor) -> float:
    synchronize = partial(torch.cuda.synchronize, matrix.device) if matrix.is_cuda else _nothing
    synchronize()
    started = time.perf_counter()
    matrix @ matrix
    synchronize()
    return time.perf_counter() - started


def _nothing() -> None:
    """Wait for nothing: the CPU has finished when it returns."""
