"""The torch runtime: devices, loaded models and the memory that they take."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from stepscope.core.errors import ModelUnavailable
from stepscope.core.manifests import BatchSpec, InputSpec, Manifest, TensorSpec
from stepscope.core.predictions import DeviceRef
from stepscope.core.tuning import Execution, TuningOptions
from stepscope.runtimes.torch.faults import LoadFault
from stepscope.runtimes.torch.formats import load
from stepscope.runtimes.torch.loaded import TorchModel
from stepscope.runtimes.torch.memory import give_back, keep_one_arena
from stepscope.runtimes.torch.signatures import signature
from stepscope.runtimes.torch.tuner import Fresh, Tuner
from stepscope.runtimes.torch.unbatched import UnbatchedModel

log = logging.getLogger(__name__)


class TorchRuntime:
    """Runs models on PyTorch, on the CPU and on CUDA devices."""

    framework_name = "PyTorch"
    framework_version = torch.__version__.partition("+")[0]

    def __init__(
        self, threads: int | None = None, tuning: TuningOptions | None = None, folder: Path | None = None
    ) -> None:
        """Prepare; `threads` is how many a CPU model runs on before it is tuned, torch's own choice where it is None.

        Fewer than there are cores can be much faster when the cores have other work: torch's threads wait for the
        slowest of them. Without `tuning` models run eager, unless their manifest pins another way. `folder` keeps
        what tuning found.
        """
        keep_one_arena()
        self._tuner = Tuner(tuning or TuningOptions(enabled=False), folder, threads or torch.get_num_threads())
        if torch.cuda.is_available():
            # float32 means float32; TF32 is one of the ways that are tried.
            torch.backends.cudnn.allow_tf32 = False

    def devices(self) -> Sequence[DeviceRef]:
        """List CUDA devices first, then the CPU."""
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return [*(DeviceRef(kind="cuda", index=index) for index in range(count)), DeviceRef()]

    def load(self, manifest: Manifest, device: DeviceRef) -> TorchModel | UnbatchedModel:
        """Load a model whose files were found. Raises `ModelUnavailable`; the log holds the cause.

        It can run at once. Where tuning is on, it changes over to the fastest way by itself.
        """
        with _as_unavailable(manifest):
            where = torch.device(str(device))
            model, sizes = load(manifest, where)
            if manifest.batch != BatchSpec():
                return UnbatchedModel(model, where, manifest.batch, manifest.output)
            known = _with_inputs(manifest, signature(model, is_batched=True))
            return self._tuner.start(Fresh(manifest=known, model=model, sizes=sizes, device=where))

    def tune(self, manifest: Manifest, device: DeviceRef, *, force: bool = False) -> Execution:
        """Load a model, wait until it is tuned, close it, and say what was found; `force` forgets what was before."""
        if force:
            self._tuner.forget(manifest, torch.device(str(device)))
        loaded = self.load(manifest, device)
        try:
            if loaded.tuning is not None:
                loaded.tuning.wait()
            return loaded.execution
        finally:
            loaded.close()

    def memory_bytes(self, device: DeviceRef) -> int:
        """Bytes that torch holds on a CUDA device, or the resident memory of this process."""
        if device.kind == "cuda":
            return torch.cuda.memory_reserved(device.index)
        return int(psutil.Process().memory_info().rss)

    def capacity_bytes(self, device: DeviceRef) -> int:
        """Bytes of a CUDA device's memory, or of this machine's."""
        if device.kind == "cuda":
            return int(torch.cuda.get_device_properties(device.index).total_memory)
        return int(psutil.virtual_memory().total)


def _with_inputs(manifest: Manifest, found: tuple[TensorSpec, ...]) -> Manifest:
    """Return the manifest with what the model's file says of its inputs, where the manifest itself says nothing."""
    if manifest.inputs:
        return manifest
    return replace(manifest, inputs=tuple([InputSpec(type="raw", spec=spec) for spec in found]))


@contextlib.contextmanager
def _as_unavailable(manifest: Manifest) -> Iterator[None]:
    """Turn whatever goes wrong into an error that is safe to show."""
    try:
        yield
    except LoadFault as fault:
        log.warning("model %s: %s", manifest, fault, exc_info=fault.__cause__)
        raise ModelUnavailable(manifest.name, manifest.version, str(fault)) from fault
    except torch.OutOfMemoryError as fault:
        give_back(cuda=True)
        raise ModelUnavailable(manifest.name, manifest.version, "the device has too little memory") from fault
    except Exception as fault:
        log.exception("model %s can't be loaded", manifest)
        reason = "its files can't be read by this version of PyTorch; the server's log says more"
        raise ModelUnavailable(manifest.name, manifest.version, reason) from fault
