"""A loaded model: it runs eager at once, and changes over when a faster way is known to be right."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from stepscope.core.manifests import OutputSpec, TensorSpec
from stepscope.core.ports import Inputs, Outputs
from stepscope.core.predictions import TraceLevel
from stepscope.core.rankings import Ranking
from stepscope.core.recording import SETUP, BatchRecord
from stepscope.core.trace_summary import PEAK
from stepscope.core.tuning import EAGER, Execution
from stepscope.runtimes.torch.background import Job
from stepscope.runtimes.torch.batches import BatchSizes, Module, Run, Staging, rank_batch, run_batch
from stepscope.runtimes.torch.executions import eager
from stepscope.runtimes.torch.memory import give_back, size_bytes
from stepscope.runtimes.torch.signatures import signature
from stepscope.runtimes.torch.traced import RunOnce, Watched, run_call, run_watched
from stepscope.runtimes.torch.trials import use_threads
from stepscope.runtimes.torch.tune import Tuned

log = logging.getLogger(__name__)

STOP_S = 15.0
"""How long a close waits for tuning to stop: it looks up between two runs and after a way was built."""
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What runs batches of up to `up_to` inputs, None for any number."""

    run: Run
    way: str = str(EAGER)
    threads: int = 0
    up_to: int | None = None


class TorchModel:
    """A model's weights on one device. Not for use by two threads at once, but for `close`."""

    def __init__(
        self,
        model: Module,
        sizes: BatchSizes,
        device: torch.device,
        output: OutputSpec,
        execution: Execution,
        reload: Callable[[], Module],
    ) -> None:
        """Take the model; `reload` gives another copy of it, for looking inside."""
        self.size_bytes = self._copy_bytes = size_bytes(model)
        self.execution = execution
        self.inputs: Sequence[TensorSpec] = signature(model, is_batched=True)
        self.tuning: Job | None = None
        self._sizes = sizes
        self._device = device
        self._output = output
        self._reload = reload
        self._watched: Watched | None = None
        self._staging = Staging(device)
        self._eager: Program | None = Program(run=eager(model), threads=execution.choices[0].threads)
        self._programs: tuple[Program, ...] = (self._eager,)
        self._shapes: Shapes | None = None
        self._closed = False

    def predict(self, batch: Sequence[Inputs]) -> Sequence[Outputs]:
        """Run inputs of equal shapes and types together; the same length and order come back."""
        program = self._program(batch)
        use_threads(program.threads)
        return run_batch(program.run, self._sizes, self._staging, batch)

    def rank(self, batch: Sequence[Inputs], count: int) -> Sequence[Ranking]:
        """Run inputs as `predict` does, and keep the `count` best classes of each; 0 means all."""
        program = self._program(batch)
        use_threads(program.threads)
        return rank_batch(program.run, self._sizes, self._staging, batch, self._output, count)

    def trace(
        self, batch: Sequence[Inputs], record: BatchRecord, count: int | None = None
    ) -> Sequence[Outputs] | Sequence[Ranking]:
        """Run as `predict` does, or with a `count` as `rank`, and note what happens as deep as the record's level.

        What looks at layers runs eager, whatever way was tuned; the tags `execution` and `tuned_execution` tell.
        """
        program = self._program(batch)
        use_threads(program.threads)
        record.tags |= {"execution": program.way, "device": str(self._device), "threads": program.threads}
        run_once = self._run_once(batch, count)
        if record.level < TraceLevel.MODEL_TRACE:
            return run_once(program.run)
        watched = self._watch(record) if record.level >= TraceLevel.FRAMEWORK_TRACE else None
        if watched is None:
            return run_call(program.run, run_once, record)
        record.tags["execution"], record.tags["tuned_execution"] = str(EAGER), program.way
        record.tags[PEAK] = round(watched.peak_flops_per_s)
        return run_watched(watched, run_once, batch, record)

    def adopt(self, tuned: Tuned, shapes: Shapes | None) -> None:
        """Change over to what tuning chose: for inputs of the given shapes alone, if any are given."""
        programs = [
            Program(
                run=self._run_of(choice.way, tuned.runs), way=choice.way, threads=choice.threads, up_to=choice.up_to
            )
            for choice in tuned.execution.choices
        ]
        self._shapes = shapes
        self._programs = tuple(programs)
        self.execution = tuned.execution
        if shapes is None and all(choice.way != str(EAGER) for choice in tuned.execution.choices):
            self._eager = None
        elif self._eager is not None:
            self._eager = replace(self._eager, threads=programs[-1].threads)
        # Each way has weights of its own; eager has them as well.
        copies = max(1, len(tuned.runs) + (self._eager is not None)) + (self._watched is not None)
        self.size_bytes = self._copy_bytes * copies
        if self._closed:
            self._drop()

    def close(self) -> None:
        """Drop the weights and give their memory back to the device and the system."""
        self._closed = True
        if self.tuning is not None and not self.tuning.cancel(STOP_S):
            log.warning("tuning goes on after its model was closed: a run takes longer than %g s", STOP_S)
        self._drop()
        give_back(cuda=self._device.type == "cuda")

    def _program(self, batch: Sequence[Inputs]) -> Program:
        programs, other = self._programs, self._eager
        if not programs:
            raise RuntimeError("the model was closed")
        if other is not None and self._shapes and batch and tuple(each.shape for each in batch[0]) != self._shapes:
            return other
        for program in programs:
            if program.up_to is None or len(batch) <= program.up_to:
                return program
        return programs[-1]

    def _run_once(self, batch: Sequence[Inputs], count: int | None) -> RunOnce:
        if count is None:
            return partial(run_batch, sizes=self._sizes, staging=self._staging, batch=batch)
        ranked = partial(rank_batch, sizes=self._sizes, staging=self._staging, batch=batch)
        return partial(ranked, output=self._output, count=count)

    def _watch(self, record: BatchRecord) -> Watched | None:
        """Return the copy that is watched, loaded now if it wasn't; None when it can't be."""
        if self._watched is None and not self._closed:
            started = time.perf_counter()
            try:
                self._watched = Watched(self._reload(), self._device)
                self.size_bytes += self._copy_bytes
            except Exception:
                log.exception("a model can't be loaded once more to look at its layers")
                record.tags["layers"] = "unavailable"
            record.mark("load_eager", TraceLevel.FRAMEWORK_TRACE, started, time.perf_counter(), SETUP)
        return self._watched

    def _run_of(self, way: str, runs: Mapping[str, Run]) -> Run:
        if way != str(EAGER):
            return runs[way]
        assert self._eager is not None, "it is dropped with the last choice that needs it"
        return self._eager.run

    def _drop(self) -> None:
        self._programs = ()
        self._eager = None
        self._watched = None
        self._staging = Staging(self._device)
