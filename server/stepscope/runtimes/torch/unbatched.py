"""A loaded model whose inputs can't all be stacked: an input is the whole call, or some inputs have no batch dimension.

Inputs that share a call agree byte for byte on what isn't stacked, so that nobody's answer is made with a stranger's
value. Graphs of `torch.export` whose lengths are all fixed run frozen: their Python costs ten times as much as a small
model's work.
"""

import logging
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from stepscope.core.frames import arrays_of
from stepscope.core.manifests import BatchSpec, OutputSpec, TensorSpec
from stepscope.core.ports import Arrays, Inputs, Outputs
from stepscope.core.predictions import TraceLevel
from stepscope.core.rankings import Ranking, ranked
from stepscope.core.recording import BatchRecord
from stepscope.core.tuning import EAGER, Choice, Execution, Form, Way
from stepscope.runtimes.torch.background import Job
from stepscope.runtimes.torch.batches import Module, Run, as_array
from stepscope.runtimes.torch.executions import Example, build, eager
from stepscope.runtimes.torch.faults import LoadFault
from stepscope.runtimes.torch.memory import give_back, size_bytes
from stepscope.runtimes.torch.signatures import signature

log = logging.getLogger(__name__)

FROZEN = Way(Form.FROZEN)


class UnbatchedModel:
    """Runs a model input by input, or by groups that agree on the inputs without a batch dimension."""

    def __init__(self, model: Module, device: torch.device, batch: BatchSpec, output: OutputSpec) -> None:
        self.size_bytes = size_bytes(model)
        specs = _inputs(model, batch)
        self._size = _batch_size(model, batch)
        frozen = _frozen(model, device, specs, batch)
        self.execution = Execution(choices=(Choice(way=str(EAGER if frozen is None else FROZEN)),))
        self.inputs: Sequence[TensorSpec] = specs
        self.tuning: Job | None = None
        self._run_model: Run | None = frozen or eager(model)
        self._device = device
        self._batch = batch
        self._output = output

    def predict(self, batch: Sequence[Inputs]) -> Sequence[Outputs]:
        """Run inputs; the same length and order come back."""
        with torch.inference_mode():
            return self._predict([arrays_of(inputs) for inputs in batch])

    def rank(self, batch: Sequence[Inputs], count: int) -> Sequence[Ranking]:
        """Run inputs as `predict` does, and keep the `count` best classes of each; 0 means all."""
        layer, softmax = self._output.probabilities_layer, self._output.softmax
        return [ranked(outputs[layer].reshape(1, -1), count, softmax=softmax)[0] for outputs in self.predict(batch)]

    def trace(
        self, batch: Sequence[Inputs], record: BatchRecord, count: int | None = None
    ) -> Sequence[Outputs] | Sequence[Ranking]:
        """Run as `predict` or `rank` does, and note the whole as one call: what lies in it isn't looked at."""
        record.tags |= {"execution": self.execution.choices[0].way, "device": str(self._device)}
        started = time.perf_counter()
        answers = self.predict(batch) if count is None else self.rank(batch, count)
        record.mark("run", TraceLevel.MODEL_TRACE, started, time.perf_counter())
        return answers

    def _predict(self, batch: Sequence[Arrays]) -> Sequence[Outputs]:
        if not self._batch.is_counted:
            return [self._run(inputs) for inputs in batch]
        found: dict[int, Outputs] = {}
        for places in _groups(batch, self._batch.shared, self._size):
            group = [batch[place] for place in places]
            group += group[:1] * ((self._size or 0) - len(group))  # the rows of these are dropped
            outputs = self._run(self._stacked(group))
            if any(layer.ndim == 0 or len(layer) != len(group) for layer in outputs):
                shapes = [layer.shape for layer in outputs]
                raise ValueError(f"the model answered {shapes} for {len(group)} inputs")
            found |= {place: tuple([layer[row, ...] for layer in outputs]) for row, place in enumerate(places)}
        return [found[place] for place in range(len(batch))]

    def close(self) -> None:
        """Drop the weights and give their memory back."""
        self._run_model = None
        give_back(cuda=self._device.type == "cuda")

    def _stacked(self, group: Sequence[Arrays]) -> Arrays:
        shared = self._batch.shared
        columns = zip(*group, strict=True)
        return tuple([column[0] if place in shared else np.stack(column) for place, column in enumerate(columns)])

    def _run(self, inputs: Arrays) -> Outputs:
        if self._run_model is None:
            raise RuntimeError("the model was closed")
        # A copy: what the caller holds may be read-only, and the model may answer with its own input.
        tensors = [torch.from_numpy(np.array(array)) for array in inputs]
        if self._device.type != "cpu":
            tensors = [tensor.to(self._device) for tensor in tensors]
        return tuple([as_array(tensor) for tensor in self._run_model(tuple(tensors))])


def _frozen(model: Module, device: torch.device, inputs: tuple[TensorSpec, ...], batch: BatchSpec) -> Run | None:
    """Return a graph frozen for the one shape that it takes, None where it takes others or can't be frozen."""
    shapes = [spec.dimensions for spec in inputs]
    if batch.is_counted or not inputs or any(shape is None or None in shape for shape in shapes):
        return None
    tensors = tuple(
        [torch.zeros(spec.dimensions, dtype=getattr(torch, spec.element_type), device=device) for spec in inputs]  # type: ignore[arg-type]
    )
    try:
        with torch.inference_mode():
            return build(model, FROZEN, Example(tensors=tensors))
    except (LoadFault, RuntimeError):
        log.warning("a graph can't be frozen; it runs eager", exc_info=True)
        return None


def _inputs(model: Module, batch: BatchSpec) -> tuple[TensorSpec, ...]:
    whole = signature(model, is_batched=False)
    if not batch.is_counted or not whole:
        return whole
    apart = signature(model, is_batched=True)
    if len(apart) != len(whole):
        return ()
    return tuple([whole[place] if place in batch.shared else spec for place, spec in enumerate(apart)])


def _batch_size(model: Module, batch: BatchSpec) -> int | None:
    """Return how many inputs each call takes, by the first that is stacked; None for any number."""
    stacked = [spec for place, spec in enumerate(signature(model, is_batched=False)) if place not in batch.shared]
    return stacked[0].dimensions[0] if batch.is_counted and stacked and stacked[0].dimensions else None


def _groups(batch: Sequence[Arrays], shared: tuple[int, ...], size: int | None) -> Iterator[list[int]]:
    """Yield the places of inputs that may share a call, at most `size` of them at a time."""
    groups: dict[tuple[bytes, ...], list[int]] = {}
    for place, inputs in enumerate(batch):
        groups.setdefault(tuple([inputs[each].tobytes() for each in shared]), []).append(place)
    for places in groups.values():
        for start in range(0, len(places), size or len(places)):
            yield places[start : start + (size or len(places))]
