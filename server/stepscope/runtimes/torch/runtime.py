"""The torch runtime: devices, loaded models and the memory that they take."""

import contextlib
import ctypes
import gc
import logging
from collections.abc import Iterator, Sequence

import psutil
import torch

from stepscope.core.errors import ModelUnavailable
from stepscope.core.manifests import Manifest
from stepscope.core.ports import Inputs, Outputs
from stepscope.core.predictions import DeviceRef
from stepscope.runtimes.torch.batches import BatchSizes, Module, run
from stepscope.runtimes.torch.faults import LoadFault
from stepscope.runtimes.torch.formats import load

log = logging.getLogger(__name__)


class TorchRuntime:
    """Runs models on PyTorch, on the CPU and on CUDA devices."""

    framework_name = "PyTorch"
    framework_version = torch.__version__.partition("+")[0]

    def __init__(self, threads: int | None = None) -> None:
        """Prepare; `threads` is how many a CPU model runs on, torch's own choice where it is None.

        Fewer than there are cores can be much faster when the cores have other work: torch's threads wait for the
        slowest of them. It holds for the threads of this process that run a model for the first time after this.
        """
        if threads is not None:
            torch.set_num_threads(threads)

    def devices(self) -> Sequence[DeviceRef]:
        """List CUDA devices first, then the CPU."""
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return [*(DeviceRef(kind="cuda", index=index) for index in range(count)), DeviceRef()]

    def load(self, manifest: Manifest, device: DeviceRef) -> "TorchModel":
        """Load a model whose files were found. Raises `ModelUnavailable`; the log holds the cause."""
        with _as_unavailable(manifest):
            where = torch.device(str(device))
            model, sizes = load(manifest, where)
            return TorchModel(model, sizes, where)

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


@contextlib.contextmanager
def _as_unavailable(manifest: Manifest) -> Iterator[None]:
    """Turn whatever goes wrong into an error that is safe to show."""
    try:
        yield
    except LoadFault as fault:
        log.warning("model %s: %s", manifest, fault, exc_info=fault.__cause__)
        raise ModelUnavailable(manifest.name, manifest.version, str(fault)) from fault
    except torch.OutOfMemoryError as fault:
        _give_back(cuda=True)
        raise ModelUnavailable(manifest.name, manifest.version, "the device has too little memory") from fault
    except Exception as fault:
        log.exception("model %s can't be loaded", manifest)
        reason = "its files can't be read by this version of PyTorch; the server's log says more"
        raise ModelUnavailable(manifest.name, manifest.version, reason) from fault


class TorchModel:
    """A model's weights on one device. Not for use by two threads at once."""

    def __init__(self, model: Module, sizes: BatchSizes, device: torch.device) -> None:
        self._model: Module | None = model
        self._sizes = sizes
        self._device = device
        self.size_bytes = _size_bytes(model)

    def predict(self, batch: Sequence[Inputs]) -> Sequence[Outputs]:
        """Run inputs of equal shapes and types together; the same length and order come back."""
        if self._model is None:
            raise RuntimeError("the model was closed")
        return run(self._model, self._sizes, self._device, batch)

    def close(self) -> None:
        """Drop the weights and give their memory back to the device and the system."""
        self._model = None
        _give_back(cuda=self._device.type == "cuda")


def _size_bytes(model: Module) -> int:
    """Add up what the parameters and buffers take, shared ones once."""
    if not isinstance(model, torch.nn.Module):
        return 0
    tensors = [*model.parameters(), *model.buffers()]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _give_back(*, cuda: bool) -> None:
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
    # glibc keeps freed memory in its arenas; other C libraries have no malloc_trim.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
