"""What a model's file says of its inputs. Graphs of `torch.export` know; TorchScript and parameters alone don't."""

import torch

from stepscope.core.manifests import TensorSpec
from stepscope.runtimes.torch.batches import Module

_DTYPES = {
    getattr(torch, name): name
    for name in (
        *("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    )
}


def signature(model: Module, *, is_batched: bool) -> tuple[TensorSpec, ...]:
    """Return what the model takes for one input, without dimension 0 where that counts inputs; () if it isn't known."""
    if not isinstance(model, torch.fx.GraphModule):
        return ()
    found = [node.meta.get("val") for node in model.graph.nodes if node.op == "placeholder"]
    specs = [_spec(value, is_batched=is_batched) for value in found if isinstance(value, torch.Tensor)]
    return tuple([spec for spec in specs if spec is not None]) if None not in specs and len(specs) == len(found) else ()


def _spec(value: torch.Tensor, *, is_batched: bool) -> TensorSpec | None:
    name = _DTYPES.get(value.dtype)
    if name is None or (is_batched and value.ndim == 0):
        return None
    lengths = tuple([length if isinstance(length, int) else None for length in value.shape])
    return TensorSpec(element_type=name, dimensions=lengths[1:] if is_batched else lengths)
