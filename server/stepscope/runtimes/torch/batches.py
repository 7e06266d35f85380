"""Running a model on a batch: numpy arrays in, numpy arrays out, an input's share of them apart.

An input array is copied once, into a buffer that is used again for the next batch (page-locked for a GPU). Answers
never share memory with it: an output that does is copied.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.export import ExportedProgram

from stepscope.core.frames import Frame
from stepscope.core.manifests import ImageSpec, OutputSpec
from stepscope.core.ports import Inputs, Outputs
from stepscope.core.predictions import Array
from stepscope.core.rankings import Ranking
from stepscope.runtimes.torch import frames
from stepscope.runtimes.torch.ranks import rank

Module = Callable[..., object]
"""A loaded model: tensors of shape (batch, ...) to a tensor, or a sequence or mapping of them."""
Tensors = tuple[torch.Tensor, ...]
Run = Callable[[Tensors], Tensors]
"""A model made ready to run in one way: its input tensors of shape (batch, ...) to its output tensors in order."""

JOINED_BYTES = 256 * 1024
"""Batches up to this size are copied through one string of bytes."""
KEPT_BYTES = 64 * 2**20
"""Larger batches get a buffer of their own that isn't kept."""
_KEPT_VIEWS = 256


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """How many inputs a model takes at once; `largest` of None is any number."""

    smallest: int = 1
    largest: int | None = None

    def nearest(self, count: int) -> int:
        """Return the size nearest to a count."""
        return max(self.smallest, min(count, self.largest or count))


ANY_BATCH = BatchSizes()


def batch_sizes(program: ExportedProgram) -> BatchSizes:
    """Say which batch sizes an exported program takes, from the first dimension of its first input."""
    wanted = program.graph_signature.user_inputs[:1]
    for node in program.graph.nodes:
        if node.name in wanted and (shape := getattr(node.meta.get("val"), "shape", None)):
            return _sizes_of(shape[0], program)
    return ANY_BATCH


def _sizes_of(dimension: int | torch.SymInt, program: ExportedProgram) -> BatchSizes:
    if isinstance(dimension, int):
        return BatchSizes(dimension, dimension)
    bounds = program.range_constraints.get(dimension.node.expr)
    if bounds is None:
        return ANY_BATCH
    largest = int(bounds.upper) if bounds.upper.is_Integer else None
    return BatchSizes(max(1, int(bounds.lower)), largest)


class Staging:
    """The buffers through which batches go to a device, one for each input of the model."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: dict[int, torch.Tensor] = {}
        self._views: dict[tuple[object, ...], tuple[Array, torch.Tensor]] = {}

    def put(self, place: int, inputs: Sequence[Array | Frame]) -> torch.Tensor:
        """Copy what goes to the input at `place` side by side; the tensor on the device is (batch, ...)."""
        arrays: list[Array] = []
        spec: ImageSpec | None = None
        for each in inputs:
            if isinstance(each, Frame):
                spec = each.spec
                arrays.append(each.pixels)
            else:
                arrays.append(each)
        if spec is None:
            return self._staged(place, arrays)
        if frames.on_device(spec):
            return frames.to_inputs(self._staged(place, arrays), spec)
        return self._staged(place, list(frames.on_host(arrays, spec)))

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor lies in one of the buffers."""
        address = tensor.untyped_storage().data_ptr()
        return any(address == buffer.untyped_storage().data_ptr() for buffer in self._buffers.values())

    def _staged(self, place: int, arrays: Sequence[Array]) -> torch.Tensor:
        first = arrays[0]
        array, tensor = self._view(place, (len(arrays), *first.shape), first.dtype)
        if array.nbytes > JOINED_BYTES or not _join(arrays, array):
            np.stack(arrays, out=array, casting="no")
        return tensor if self._device.type == "cpu" else tensor.to(self._device, non_blocking=True)

    def _view(self, place: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> tuple[Array, torch.Tensor]:
        key = (place, shape, dtype.num)
        view = self._views.get(key)
        if view is None:
            view = self._new_view(place, shape, dtype)
            if len(self._views) >= _KEPT_VIEWS:
                self._views.clear()
            if self.holds(view[1]):
                self._views[key] = view
        return view

    def _new_view(self, place: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> tuple[Array, torch.Tensor]:
        needed = int(np.prod(shape)) * dtype.itemsize
        buffer = self._buffers.get(place)
        if buffer is None or buffer.numel() < needed:
            buffer = torch.empty(max(needed, 1), dtype=torch.uint8, pin_memory=self._device.type == "cuda")
            if needed <= KEPT_BYTES:
                self._views = {key: view for key, view in self._views.items() if key[0] != place}
                self._buffers[place] = buffer
        array: Array = buffer.numpy()[:needed].view(dtype).reshape(shape)
        return array, torch.from_numpy(array)


def _join(arrays: Sequence[Array], into: Array) -> bool:
    """Copy small arrays side by side in one go; say whether it could be done.

    numpy lets go of the interpreter for each array that it copies, and may wait long for it to come back.
    """
    if any(array.dtype != into.dtype or not array.flags.c_contiguous for array in arrays):
        return False
    memoryview(into.reshape(-1).view(np.uint8))[:] = b"".join(arrays)  # type: ignore[arg-type]
    return True


def run_batch(run: Run, sizes: BatchSizes, staging: Staging, batch: Sequence[Inputs]) -> list[Outputs]:
    """Run the inputs in as few calls as the model allows; the same length and order come back."""
    found: list[Outputs] = []
    for part, layers in _run_parts(run, sizes, staging, batch):
        arrays = [as_array(tensor) for tensor in layers]
        found += [tuple([array[place, ...] for array in arrays]) for place in range(len(part))]
    return found


def rank_batch(
    run: Run, sizes: BatchSizes, staging: Staging, batch: Sequence[Inputs], output: OutputSpec, count: int
) -> list[Ranking]:
    """Run the inputs as `run_batch` does, and keep the `count` best classes of each; 0 means all."""
    found: list[Ranking] = []
    for part, layers in _run_parts(run, sizes, staging, batch):
        scores = layers[output.probabilities_layer][: len(part)].reshape(len(part), -1)
        found += rank(scores, count, softmax=output.softmax)
    return found


def _run_parts(
    run: Run, sizes: BatchSizes, staging: Staging, batch: Sequence[Inputs]
) -> Iterator[tuple[Sequence[Inputs], Tensors]]:
    for part in _parts(batch, sizes.largest or len(batch)):
        yield part, _run_once(run, _padded(part, sizes.smallest), staging)


def _parts(batch: Sequence[Inputs], largest: int) -> Iterator[Sequence[Inputs]]:
    for start in range(0, len(batch), largest):
        yield batch[start : start + largest]


def _padded(part: Sequence[Inputs], smallest: int) -> Sequence[Inputs]:
    """Repeat the last input until the model takes the batch; the caller drops what comes of it."""
    return [*part, *[part[-1]] * (smallest - len(part))] if len(part) < smallest else part


def _run_once(run: Run, part: Sequence[Inputs], staging: Staging) -> Tensors:
    """Return the outputs of one call, (batch, ...) each."""
    with torch.inference_mode():
        tensors = tuple([staging.put(place, arrays) for place, arrays in enumerate(zip(*part, strict=True))])
        layers = tuple([tensor.clone() if staging.holds(tensor) else tensor for tensor in run(tensors)])
    if any(layer.ndim == 0 or len(layer) != len(part) for layer in layers):
        raise ValueError(f"the model answered {[tuple(layer.shape) for layer in layers]} for {len(part)} inputs")
    return layers


def as_array(tensor: torch.Tensor) -> Array:
    """Return a tensor of any device as an array; bfloat16, which numpy doesn't have, as float32."""
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: Array = (tensor if tensor.device.type == "cpu" else tensor.cpu()).numpy()
    return array


def flat(answer: object) -> Iterator[torch.Tensor]:
    """Yield the tensors of an answer in order: a tensor, or sequences and mappings of them."""
    if isinstance(answer, torch.Tensor):
        yield answer
    elif isinstance(answer, Mapping):
        for value in answer.values():
            yield from flat(value)
    elif isinstance(answer, list | tuple):
        for value in answer:
            yield from flat(value)
    elif answer is not None:
        raise TypeError(f"the model answered a {type(answer).__name__}, not tensors")
