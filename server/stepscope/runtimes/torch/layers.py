"""The layers of a run: modules without parts of their own, and the torch functions that are called between them.

Modules are timed by hooks, functions by a `TorchFunctionMode`. A timed run notes names and times alone: asking tensors
for their shapes takes longer than many layers (70 of 100 us between two of them, on cold caches). Shapes, types and
bytes come from a surveying run over inputs of the same shapes. On a GPU the device is waited for after each layer: a
layer's time is then that of its kernels, and kernels lie within their layer.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.jit import ScriptModule
from torch.overrides import TorchFunctionMode

from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import BatchRecord, TagValue
from stepscope.core.trace_summary import FLOPS, LAYER_INDEX, LAYER_TYPE, MEMORY_TOUCHED, OUTPUT_SHAPE
from stepscope.runtimes.torch.batches import Module

Fact = tuple[tuple[int, ...], torch.dtype, int]
"""A tensor's shape, type and bytes."""
_MATRIX_PRODUCTS = ("matmul", "mm", "bmm", "__matmul__")
_WEIGHTED = ("conv1d", "conv2d", "conv3d", "linear", "Conv1d", "Conv2d", "Conv3d", "Linear")
_EACH: Mapping[str, int] = MappingProxyType(
    dict.fromkeys(("ReLU", "relu", "add", "sub", "mul", "__add__", "__mul__"), 1)
    | dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "batch_norm"), 2)
)
"""Operations for each number of the answer, where that is all there is to it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a layer beside its time. `weights` are a module's own tensors, which aren't among its inputs."""

    inputs: Sequence[Fact]
    outputs: Sequence[Fact]
    new_bytes: int
    weights: Sequence[Fact] = ()

    def tags(self, kind: str) -> dict[str, TagValue]:
        """Return what is told of a layer of some type."""
        shape, dtype, _ = self.outputs[0]
        touched = sum(size for facts in (self.inputs, self.outputs, self.weights) for _, _, size in facts)
        tags: dict[str, TagValue] = {
            "input_shape": ", ".join(_shown(each) for each, _, _ in self.inputs),
            OUTPUT_SHAPE: _shown(shape),
            "dtype": str(dtype).removeprefix("torch."),
            "memory_allocated_bytes": self.new_bytes,
            MEMORY_TOUCHED: touched,
        }
        if self.weights:
            tags["weight_bytes"] = sum(size for _, _, size in self.weights)
        operations = self._flops(kind, _numbers(shape))
        return tags | ({FLOPS: operations} if operations is not None else {})

    def _flops(self, kind: str, numbers: int) -> int | None:
        """Return the floating-point operations, a multiplication and an addition counted as two; None if unknown."""
        if kind in _WEIGHTED:
            shapes = [shape for shape, _, _ in (*self.weights, *self.inputs[1:]) if len(shape) > 1]
            return 2 * numbers * _numbers(shapes[0][1:]) if shapes else None
        if kind in _MATRIX_PRODUCTS and self.inputs:
            return 2 * numbers * self.inputs[0][0][-1]
        return numbers * _EACH[kind] if kind in _EACH else None


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that ran."""

    name: str
    type: str
    started: float
    ended: float
    facts: Facts | None = None


class LayerClock(TorchFunctionMode):
    """Times the layers of one model, or surveys them. Silent outside of `with`; not for two threads at once."""

    def __init__(self, model: Module, synchronize: Callable[[], None] | None) -> None:
        super().__init__()
        self.surveys = False
        """Whether facts are collected too; times say nothing then."""
        self.layers: list[tuple[str, str, float, float]] = []
        self.facts: list[Facts] = []
        self._synchronize = synchronize
        self._path: list[str] = []
        self._within = 0
        self._started = 0.0
        self._active = False
        if isinstance(model, nn.Module) and not isinstance(model, ScriptModule):
            for name, module in model.named_modules():
                self._watch(name, module)

    def __enter__(self) -> "LayerClock":
        self.layers, self.facts = [], []
        self._path, self._within, self._active = [], 0, True
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *fault: object) -> None:
        super().__exit__(*fault)  # type: ignore[no-untyped-call]
        self._active = False

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Time a function that is called outside of the modules that are layers themselves."""
        if self._within or func.__name__ == "__get__":
            return func(*args, **(kwargs or {}))
        started = time.perf_counter()
        answer = func(*args, **(kwargs or {}))
        kind = func.__name__.partition(".")[0]
        self._note(".".join((*self._path[-1:], kind)), kind, started, args, answer)
        return answer

    def _watch(self, name: str, module: nn.Module) -> None:
        if isinstance(module, nn.Identity):
            return
        if any(True for _ in module.children()) and not isinstance(module, nn.MultiheadAttention):
            if name:
                module.register_forward_pre_hook(lambda *_: self._path.append(name))
                module.register_forward_hook(lambda *_: self._up())
            return
        kind = type(module).__name__
        module.register_forward_pre_hook(self._enter)
        module.register_forward_hook(lambda owner, args, answer: self._leave(name or kind, kind, owner, args, answer))

    def _up(self) -> None:
        if self._path:  # it is emptied at the start of each run, since a run that failed leaves it as it was
            self._path.pop()

    def _enter(self, _module: nn.Module, _args: Any) -> None:
        self._within += 1
        if self._within == 1:
            self._started = time.perf_counter()

    def _leave(self, name: str, kind: str, module: nn.Module, args: Any, answer: Any) -> None:
        self._within -= 1
        if self._within == 0 and self._active:
            self._note(name, kind, self._started, args, answer, module)

    def _note(
        self, name: str, kind: str, started: float, args: Any, answer: Any, module: nn.Module | None = None
    ) -> None:
        if self._synchronize is not None:
            self._synchronize()
        ended = time.perf_counter()
        if not isinstance(answer, torch.Tensor) and not any(True for _ in tensors_in(answer)):
            return  # a question of its size, a check
        self.layers.append((name, kind, started, ended))
        if self.surveys:
            self.facts.append(survey(args, answer, module))


def survey(args: Any, answer: Any, module: nn.Module | None = None) -> Facts:
    """Collect the facts of a layer that ran."""
    given, answers = list(tensors_in(args)), list(tensors_in(answer))
    known = {tensor.untyped_storage().data_ptr() for tensor in given}
    made = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in answers}
    return Facts(
        inputs=[_fact(tensor) for tensor in given],
        outputs=[_fact(tensor) for tensor in answers],
        new_bytes=sum(size for address, size in made.items() if address not in known),
        weights=[_fact(tensor) for tensor in module.parameters()] if module is not None else (),
    )


def mark_layers(layers: Sequence[Layer], record: BatchRecord, above: int) -> list[int]:
    """Note layers below a mark; return their places."""
    places: list[int] = []
    for index, layer in enumerate(layers):
        # The index is a text, as old viewers of traces expect.
        tags: dict[str, TagValue] = {LAYER_INDEX: str(index), LAYER_TYPE: layer.type}
        if layer.facts is not None:
            tags |= layer.facts.tags(layer.type)
        places.append(record.mark(layer.name, TraceLevel.FRAMEWORK_TRACE, layer.started, layer.ended, above, tags))
    return places


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a value: itself, or those of sequences and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)


def _fact(tensor: torch.Tensor) -> Fact:
    return tuple(tensor.shape), tensor.dtype, tensor.numel() * tensor.element_size()


def _shown(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _numbers(shape: Sequence[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
