"""The code of a model whose weights file holds only parameters."""

import hashlib
import importlib
import sys
from pathlib import Path
from types import ModuleType

from torch import nn

from stepscope.core.manifests import Manifest
from stepscope.runtimes.torch.faults import LoadFault


def build(manifest: Manifest) -> nn.Module:
    """Call the architecture that the manifest names with its arguments. Raises `LoadFault`."""
    source, _, name = manifest.weights.architecture.partition(":")
    if not name:
        raise LoadFault("its manifest names no architecture, and its weights file holds only parameters")
    module = _from_file(manifest) if source.endswith(".py") else _from_package(source)
    make = getattr(module, name, None)
    if not callable(make):
        raise LoadFault(f"its architecture has no {name!r} to call")
    model = make(**manifest.weights.arguments)
    if not isinstance(model, nn.Module):
        raise LoadFault("its architecture didn't make a torch module")
    return model


def _from_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as fault:
        raise LoadFault(f"its architecture's package {name!r} isn't installed") from fault


def _from_file(manifest: Manifest) -> ModuleType:
    path = manifest.files.architecture if manifest.files else None
    if path is None:
        raise LoadFault("its architecture file isn't there")
    return _run(path)


def _run(path: Path) -> ModuleType:
    """Run a Python file as a module of its own name, so that two models may both have an `architecture.py`.

    It is compiled here and not imported: `sys.path` stays as it is and no `__pycache__` enters the model's folder. It
    stays among `sys.modules`, where dataclasses and torch look modules up, until the same file is loaded again.
    """
    name = f"stepscope_architecture_{hashlib.sha256(bytes(path)).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    code = compile(path.read_bytes(), path, "exec", dont_inherit=True)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - the operator's own file
    except BaseException:
        del sys.modules[name]
        raise
    return module
