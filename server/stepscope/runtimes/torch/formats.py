"""Weights files: from a manifest with its files to a torch module on a device, in evaluation mode."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.export.passes import move_to_device_pass

from stepscope.core.manifests import Manifest
from stepscope.runtimes.torch.architectures import build
from stepscope.runtimes.torch.archives import refuse_code
from stepscope.runtimes.torch.batches import ANY_BATCH, BatchSizes, Module, batch_sizes
from stepscope.runtimes.torch.faults import LoadFault

Loaded = tuple[Module, BatchSizes]
Load = Callable[[Manifest, Path, torch.device], Loaded]

_SUFFIXES = {
    ".safetensors": "safetensors",
    ".pt2": "torch.export",
    ".pt": "torchscript",
    ".ts": "torchscript",
    ".pth": "state_dict",
    ".bin": "state_dict",
}


def load(manifest: Manifest, device: torch.device) -> Loaded:
    """Load a model, and say which batch sizes it takes. Raises `LoadFault`, and what torch raises."""
    path = manifest.files.main if manifest.files else None
    if path is None:
        raise LoadFault("its manifest names no weights")
    named = manifest.weights.weights_path or manifest.weights.graph_path
    kind = manifest.weights.format or _SUFFIXES.get(Path(named).suffix.lower(), "")
    if kind not in _LOADS:
        raise LoadFault(f"its weights aren't in a format that is loaded here ({', '.join(_LOADS)})")
    return _LOADS[kind](manifest, path, device)


def _safetensors(manifest: Manifest, path: Path, device: torch.device) -> Loaded:
    return _with_parameters(build(manifest), load_file(path), device)


def _state_dict(manifest: Manifest, path: Path, device: torch.device) -> Loaded:
    parameters = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(parameters, Mapping):
        raise LoadFault("its weights file holds no parameters by name")
    return _with_parameters(build(manifest), parameters, device)


def _with_parameters(model: nn.Module, parameters: Mapping[str, torch.Tensor], device: torch.device) -> Loaded:
    """Copy the parameters into the model, so that no file stays mapped (it may be replaced under us)."""
    missing, unexpected = model.load_state_dict(parameters, strict=False)
    if missing or unexpected:
        raise LoadFault(f"its weights don't fit its architecture ({len(missing)} missing, {len(unexpected)} unknown)")
    return model.requires_grad_(False).eval().to(device), ANY_BATCH


def _export(_manifest: Manifest, path: Path, device: torch.device) -> Loaded:
    refuse_code(path)
    with path.open("rb") as file:
        program = torch.export.load(file)
    sizes = batch_sizes(program)
    return move_to_device_pass(program, device).module().requires_grad_(False), sizes


def _torchscript(_manifest: Manifest, path: Path, device: torch.device) -> Loaded:
    with path.open("rb") as file:
        return torch.jit.load(file, map_location=device).eval(), ANY_BATCH  # type: ignore[no-untyped-call]


_LOADS: dict[str, Load] = {
    "safetensors": _safetensors,
    "torch.export": _export,
    "torchscript": _torchscript,
    "state_dict": _state_dict,
}
