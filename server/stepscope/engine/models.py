"""The registry of loaded models: loaded on use, shared, and dropped when memory or the last user asks for it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from stepscope.core.errors import ModelUnavailable
from stepscope.core.manifests import Manifest
from stepscope.core.ports import LoadedModel, Runtime
from stepscope.core.predictions import DeviceRef
from stepscope.core.tuning import Execution

log = logging.getLogger("stepscope.models")

Key = tuple[str, str, DeviceRef, str]
Prepare = Callable[[Manifest], Awaitable[Manifest]]
"""Finds a model's files, and fetches those that aren't there."""


def key_of(manifest: Manifest, device: DeviceRef) -> Key:
    """Return what identifies a loaded model: its name and version, its device, and the way that is pinned."""
    return (manifest.name, manifest.version, device, manifest.execution.way)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A loaded model, and how it runs now."""

    name: str
    version: str
    device: DeviceRef
    execution: Execution


@dataclass(slots=True, eq=False)
class _Entry:
    loading: asyncio.Task[LoadedModel]
    leases: int = 0
    users: set[str] = field(default_factory=set)
    persistent: bool = False
    dropped: bool = False


class Models:
    """Loaded models by name, version, device and pinned way, least recently used first."""

    def __init__(self, runtime: Runtime, prepare: Prepare, limit_bytes: Callable[[DeviceRef], int]) -> None:
        self._runtime = runtime
        self._prepare = prepare
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def lease(self, manifest: Manifest, device: DeviceRef, user: str = "") -> "Lease":
        """Lend a loaded model within `async with`; it isn't dropped while it is lent. Raises `ModelUnavailable`."""
        entry = self._entry(manifest, device)
        if user:
            entry.users.add(user)
        return Lease(self, manifest, device, entry)

    def loaded_bytes(self, device: DeviceRef) -> int:
        """Bytes of the weights that are loaded on a device."""
        return sum(_size(entry) for key, entry in self._entries.items() if key[2] == device)

    def running(self) -> Sequence[Running]:
        """Return the models whose loads are over, sorted by name, version, device and pinned way."""
        return [
            Running(name=key[0], version=key[1], device=key[2], execution=model.execution)
            for key in sorted(self._entries, key=_in_order)
            if (model := _model(self._entries[key])) is not None
        ]

    def users(self) -> set[str]:
        """Return everybody who uses a loaded model."""
        return {user for entry in self._entries.values() for user in entry.users}

    def keep(self, manifest: Manifest, device: DeviceRef) -> None:
        """Keep a model loaded after its last user left, as far as memory allows."""
        self._entry(manifest, device).persistent = True

    async def leave(self, user: str, *, force: bool = False) -> int:
        """Forget a user; drop the models that nobody uses any more. Returns the bytes of weights dropped."""
        freed = 0
        for key, entry in list(self._entries.items()):
            if user not in entry.users:
                continue
            entry.users.discard(user)
            if not entry.users and (force or not entry.persistent):
                freed += await self._drop(key)
        return freed

    async def close(self) -> None:
        """Drop everything."""
        for key in list(self._entries):
            await self._drop(key)

    def _entry(self, manifest: Manifest, device: DeviceRef) -> _Entry:
        key = key_of(manifest, device)
        entry = self._entries.get(key)
        if entry is None:
            entry = _Entry(asyncio.ensure_future(self._load(manifest, device)))
            self._entries[key] = entry
        self._entries.move_to_end(key)
        return entry

    async def loaded(self, manifest: Manifest, device: DeviceRef, entry: _Entry) -> LoadedModel:
        """Wait for an entry's model. Raises `ModelUnavailable`, and forgets the entry then."""
        if entry.loading.done() and not entry.loading.cancelled() and entry.loading.exception() is None:
            return entry.loading.result()
        try:
            # Shielded: others may wait for the same load when this caller gives up.
            return await asyncio.shield(entry.loading)
        except Exception:
            if self._entries.get(key_of(manifest, device)) is entry:
                del self._entries[key_of(manifest, device)]
            raise

    async def _load(self, manifest: Manifest, device: DeviceRef) -> LoadedModel:
        ready = await self._prepare(manifest)
        model = await asyncio.to_thread(self._runtime.load, ready, device)
        log.info("loaded %s on %s: %d bytes", manifest, device, model.size_bytes)
        limit_bytes = self._limit_bytes(device)
        if model.size_bytes > limit_bytes:
            await asyncio.to_thread(model.close)
            needs = f"it needs {model.size_bytes} bytes of the device, and models may take {limit_bytes}"
            raise ModelUnavailable(manifest.name, manifest.version, needs)
        await self._make_room(key_of(manifest, device), model.size_bytes)
        return model

    async def _make_room(self, newcomer: Key, size_bytes: int) -> None:
        device = newcomer[2]
        for key, entry in list(self._entries.items()):
            if self.loaded_bytes(device) + size_bytes <= self._limit_bytes(device):
                return
            if key != newcomer and key[2] == device and entry.leases == 0:
                log.info("dropping %s %s: memory is needed for %s %s", key[0], key[1], newcomer[0], newcomer[1])
                await self._drop(key)

    async def _drop(self, key: Key) -> int:
        entry = self._entries.pop(key)
        entry.dropped = True
        freed = _size(entry)
        if entry.leases == 0:
            await self.dispose(entry)
        return freed

    async def dispose(self, entry: _Entry) -> None:
        """Give an entry's memory back."""
        entry.loading.cancel()
        if (model := _model(entry)) is not None:
            await asyncio.to_thread(model.close)


class Lease:
    """A loaded model on loan. A class, since every prediction enters one: a generator costs ten times as much."""

    __slots__ = ("_device", "_entry", "_manifest", "_models")

    def __init__(self, models: Models, manifest: Manifest, device: DeviceRef, entry: _Entry) -> None:
        self._models = models
        self._manifest = manifest
        self._device = device
        self._entry = entry

    async def __aenter__(self) -> LoadedModel:
        self._entry.leases += 1
        try:
            return await self._models.loaded(self._manifest, self._device, self._entry)
        except BaseException:
            self._entry.leases -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self._entry.leases -= 1
        if self._entry.dropped and self._entry.leases == 0:
            await self._models.dispose(self._entry)


def _in_order(key: Key) -> tuple[str, str, str, str]:
    name, version, device, way = key
    return name, version, str(device), way


def _model(entry: _Entry) -> LoadedModel | None:
    task = entry.loading
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


def _size(entry: _Entry) -> int:
    model = _model(entry)
    return 0 if model is None else model.size_bytes
