"""The layers of a run: modules without parts of their own, and the torch functions that are called between them.

Modules are timed by hooks, functions by a `TorchFunctionMode`. Hooks note numbers alone and keep no tensor; tags are
made of the notes after the run. On a GPU the device is waited for after each layer: a layer's time is then that of
its kernels, and kernels lie within their layer.
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


@dataclass(slots=True)
class Layer:
    """One layer that ran. `weights` are a module's own tensors, which aren't among its inputs."""

    name: str
    type: str
    started: float
    ended: float
    inputs: list[Fact]
    outputs: list[Fact]
    new_bytes: int
    weights: Sequence[Fact]

    def tags(self, index: int) -> dict[str, TagValue]:
        """Return what is told of the layer at a place in the order of running."""
        shape, dtype, _ = self.outputs[0]
        touched = sum(size for facts in (self.inputs, self.outputs, self.weights) for _, _, size in facts)
        tags: dict[str, TagValue] = {
            LAYER_INDEX: str(index),  # a text, as old viewers of traces expect
            LAYER_TYPE: self.type,
            "input_shape": ", ".join(_shown(each) for each, _, _ in self.inputs),
            OUTPUT_SHAPE: _shown(shape),
            "dtype": str(dtype).removeprefix("torch."),
            "memory_allocated_bytes": self.new_bytes,
            MEMORY_TOUCHED: touched,
        }
        if self.weights:
            tags["weight_bytes"] = sum(size for _, _, size in self.weights)
        operations = self._flops(_numbers(shape))
        return tags | ({FLOPS: operations} if operations is not None else {})

    def _flops(self, numbers: int) -> int | None:
        """Return the floating-point operations, a multiplication and an addition counted as two; None if unknown."""
        if self.type in _WEIGHTED:
            shapes = [shape for shape, _, _ in (*self.weights, *self.inputs[1:]) if len(shape) > 1]
            return 2 * numbers * _numbers(shapes[0][1:]) if shapes else None
        if self.type in _MATRIX_PRODUCTS and self.inputs:
            return 2 * numbers * self.inputs[0][0][-1]
        return numbers * _EACH[self.type] if self.type in _EACH else None


class LayerClock(TorchFunctionMode):
    """Times the layers of one model. Silent outside of `with`; not for use by two threads at once."""

    def __init__(self, model: Module, synchronize: Callable[[], None] | None) -> None:
        super().__init__()
        self.layers: list[Layer] = []
        self._synchronize = synchronize
        self._weights: dict[str, list[Fact]] = {}
        self._path: list[str] = []
        self._within = 0
        self._started = 0.0
        self._active = False
        if isinstance(model, nn.Module) and not isinstance(model, ScriptModule):
            for name, module in model.named_modules():
                self._watch(name, module)

    def __enter__(self) -> "LayerClock":
        self.layers = []
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
        self._note(".".join(filter(None, (*self._path[-1:], kind))), kind, started, args, answer)
        return answer

    def _watch(self, name: str, module: nn.Module) -> None:
        if isinstance(module, nn.Identity):
            return
        if any(True for _ in module.children()) and not isinstance(module, nn.MultiheadAttention):
            module.register_forward_pre_hook(lambda *_: self._path.append(name))
            module.register_forward_hook(lambda *_: self._up())
            return
        kind = type(module).__name__
        self._weights[name] = [fact(tensor) for tensor in module.parameters()]
        module.register_forward_pre_hook(self._enter)
        module.register_forward_hook(lambda _module, args, answer: self._leave(name, kind, args, answer))

    def _up(self) -> None:
        if self._path:  # it is emptied at the start of each run, since a run that failed leaves it as it was
            self._path.pop()

    def _enter(self, _module: nn.Module, _args: Any) -> None:
        self._within += 1
        if self._within == 1:
            self._started = time.perf_counter()

    def _leave(self, name: str, kind: str, args: Any, answer: Any) -> None:
        self._within -= 1
        if self._within == 0 and self._active:
            self._note(name or kind, kind, self._started, args, answer, self._weights[name])

    def _note(self, name: str, kind: str, started: float, args: Any, answer: Any, weights: Sequence[Fact] = ()) -> None:
        if self._synchronize is not None:
            self._synchronize()
        ended = time.perf_counter()
        answers = list(_tensors(answer))
        if not answers:
            return
        given = list(_tensors(args))
        known = {tensor.untyped_storage().data_ptr() for tensor in given}
        made = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in answers}
        new_bytes = sum(size for address, size in made.items() if address not in known)
        facts = [fact(tensor) for tensor in given], [fact(tensor) for tensor in answers]
        self.layers.append(Layer(name, kind, started, ended, *facts, new_bytes, weights))


def mark_layers(layers: Sequence[Layer], record: BatchRecord, above: int) -> list[int]:
    """Note layers below a mark; return their places."""
    return [
        record.mark(layer.name, TraceLevel.FRAMEWORK_TRACE, layer.started, layer.ended, above, layer.tags(index))
        for index, layer in enumerate(layers)
    ]


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)


def fact(tensor: torch.Tensor) -> Fact:
    """Return what is told of a tensor."""
    return tuple(tensor.shape), tensor.dtype, tensor.numel() * tensor.element_size()


def _shown(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _numbers(shape: Sequence[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
