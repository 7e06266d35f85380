"""Running a model on a batch: numpy arrays in, numpy arrays out, an input's share of them apart."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.export import ExportedProgram

from stepscope.core.ports import Inputs, Outputs
from stepscope.core.predictions import Array

Module = Callable[..., object]
"""A loaded model: tensors of shape (batch, ...) to a tensor, or a sequence or mapping of them."""


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """How many inputs a model takes at once; `largest` of None is any number."""

    smallest: int = 1
    largest: int | None = None


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


def run(model: Module, sizes: BatchSizes, device: torch.device, batch: Sequence[Inputs]) -> list[Outputs]:
    """Run the inputs in as few calls as the model allows; the same length and order come back."""
    return [
        outputs
        for part in _parts(batch, sizes.largest or len(batch))
        for outputs in _run_once(model, _padded(part, sizes.smallest), device)[: len(part)]
    ]


def _parts(batch: Sequence[Inputs], largest: int) -> Iterator[Sequence[Inputs]]:
    for start in range(0, len(batch), largest):
        yield batch[start : start + largest]


def _padded(part: Sequence[Inputs], smallest: int) -> Sequence[Inputs]:
    """Repeat the last input until the model takes the batch; the caller drops what comes of it."""
    return [*part, *[part[-1]] * (smallest - len(part))]


def _run_once(model: Module, part: Sequence[Inputs], device: torch.device) -> list[Outputs]:
    with torch.inference_mode():
        tensors = [_tensor(arrays, device) for arrays in zip(*part, strict=True)]
        answers = [_array(tensor) for tensor in _flat(model(*tensors))]
    if any(answer.ndim == 0 or len(answer) != len(part) for answer in answers):
        raise ValueError(f"the model answered {[answer.shape for answer in answers]} for {len(part)} inputs")
    return [tuple(answer[place, ...] for answer in answers) for place in range(len(part))]


def _tensor(arrays: Sequence[Array], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)


def _array(tensor: torch.Tensor) -> Array:
    # numpy has no bfloat16.
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: Array = tensor.cpu().numpy()
    return array


def _flat(answer: object) -> Iterator[torch.Tensor]:
    """Yield the tensors of an answer in order: a tensor, or sequences and mappings of them."""
    if isinstance(answer, torch.Tensor):
        yield answer
    elif isinstance(answer, Mapping):
        for value in answer.values():
            yield from _flat(value)
    elif isinstance(answer, list | tuple):
        for value in answer:
            yield from _flat(value)
    elif answer is not None:
        raise TypeError(f"the model answered a {type(answer).__name__}, not tensors")
