"""What models take of memory, and giving it back."""

import contextlib
import ctypes
import gc
from collections.abc import Iterator

import torch

from stepscope.runtimes.torch.batches import Module

_M_ARENA_MAX = -8
"""From glibc's malloc.h."""


def size_bytes(model: Module) -> int:
    """Add up what the parameters and buffers take, shared ones once."""
    if not isinstance(model, torch.nn.Module):
        return 0
    tensors = [*model.parameters(), *model.buffers()]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def keep_one_arena() -> None:
    """Let all threads allocate from one arena, from now on.

    glibc gives threads arenas of their own, and never gives back what is free at the end of one: 40 MB stayed behind
    after a ResNet-50, or didn't, as it happened.
    """
    with _glibc() as libc:
        libc.mallopt(_M_ARENA_MAX, 1)


def give_back(*, cuda: bool) -> None:
    """Return freed memory to the device and the system."""
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
    with _glibc() as libc:
        libc.malloc_trim(0)


@contextlib.contextmanager
def _glibc() -> Iterator[ctypes.CDLL]:
    """Yield the C library; what only glibc has is passed over elsewhere."""
    with contextlib.suppress(OSError, AttributeError):
        yield ctypes.CDLL(None)
