"""What tuning found, kept on disk: one JSON file for each model, hardware and version, replaced as a whole."""

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import msgspec
import torch

from stepscope.core.manifests import Manifest
from stepscope.core.tuning import WAYS, Execution
from stepscope.runtimes.torch.trials import Stopped

log = logging.getLogger(__name__)

FORMAT = 1
"""Raised when the files, or what the ways mean, change."""
_LARGEST_BYTES = 2**20
TURN_S = 0.2
"""How often a process looks whether it may measure."""


class Remembered:
    """A folder of results. Files that can't be read count as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Execution | None:
        """Return what was found."""
        try:
            content = self._path(key).read_bytes()
            known = msgspec.json.decode(content[:_LARGEST_BYTES], type=Execution)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as fault:
            log.warning("what was found for a model can't be read: %s", fault)
            return None
        return known if known.candidates and known.choices else None

    def put(self, key: str, execution: Execution) -> None:
        """Keep what was found; a folder that can't be written to costs another tuning, no more."""
        path = self._path(key)
        part = path.with_name(f".{uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(execution))
            part.replace(path)
        except OSError as fault:
            log.warning("what was found for a model can't be kept: %s", fault.strerror)
            part.unlink(missing_ok=True)

    def forget(self, key: str) -> None:
        """Drop what was found."""
        self._path(key).unlink(missing_ok=True)

    @contextlib.contextmanager
    def turn(self, stopped: Callable[[], bool]) -> Iterator[None]:
        """Wait until no other process measures: two at once would measure each other. Raises `Stopped`."""
        with contextlib.ExitStack() as held:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                lock = held.enter_context((self._folder / ".turn").open("wb"))
            except OSError as fault:
                log.warning("processes that tune at once can't wait for each other: %s", fault.strerror)
            else:
                while not _locked(lock):
                    if stopped():
                        raise Stopped
                    time.sleep(TURN_S)
            yield

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _locked(file: BinaryIO) -> bool:
    """Lock a file until it is closed, or the process ends; False while another one has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def key_of(manifest: Manifest, device: torch.device, asked: str) -> str:
    """Return the key of a model's result: its files, its manifest's wishes, what else was asked, and the machine."""
    weights, files = manifest.weights, manifest.files
    paths = [files.weights, files.graph, files.architecture] if files else []
    inputs = [[entry.type, repr(entry.spec)] for entry in manifest.inputs]
    facts = {
        "format": FORMAT,
        "ways": sorted(WAYS),
        "files": [_digest(path) for path in [*paths, *_examples(manifest)] if path is not None],
        "architecture": [weights.architecture, repr(sorted(weights.arguments.items()))],
        "inputs": inputs,
        "output": [manifest.output.type, manifest.output.probabilities_layer],
        "execution": repr(manifest.execution),
        "asked": asked,
        "torch": torch.__version__,
        "machine": hardware(device.type, device.index or 0),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def hardware(kind: str, index: int) -> tuple[str, ...]:
    """Return what the speed of a device depends on."""
    host = (platform.machine(), str(cores()), *_processor())
    if kind != "cuda":
        return host
    major, minor = torch.cuda.get_device_capability(index)
    # Only CUDA builds of torch have it.
    driver = getattr(torch._C, "_cuda_getDriverVersion", lambda: 0)()
    return (*host, torch.cuda.get_device_name(index), f"{major}.{minor}", str(torch.version.cuda), str(driver))


def _processor() -> Iterator[str]:
    """Yield the first processor's model and its instruction sets, as Linux tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        lines = []
    yield from (line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))


def _examples(manifest: Manifest) -> list[Path]:
    return [path for name in ("example.npy", "example.npz") if (path := manifest.folder / name).is_file()]


def _digest(path: Path) -> str:
    status = path.stat()
    return _digest_of(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _digest_of(path: Path, _changed_ns: int, _size_bytes: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
