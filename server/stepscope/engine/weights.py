"""A model's files: found beside its manifest, or fetched once into a cache, and checked before anyone loads them."""

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit
from uuid import uuid4
from weakref import WeakValueDictionary

from stepscope.core.errors import InputFailed, ModelUnavailable
from stepscope.core.manifests import Manifest, ModelFiles
from stepscope.engine.archives import extract

log = logging.getLogger(__name__)

LIMIT_BYTES = 16 * 2**30
_BLOCK_BYTES = 2**20


class Download(Protocol):
    """Fetches large files (`engine/fetch.py`)."""

    async def download(self, url: str, path: Path, limit_bytes: int) -> None:
        """Write what a URL holds to a file. Raises `UrlRefused` or `UrlFailed`."""


class _Fault(Exception):
    """A file can't be used, in words that a client may read."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file that the manifest names: by a path or URL, with a checksum or none."""

    path: str
    checksum: str = ""
    what: str = "weights"


class Weights:
    """Finds the files of models. `cache` is the folder for what is fetched; it may be shared and outlive us."""

    def __init__(self, download: Download, cache: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._download = download
        self._cache = cache
        self._limit_bytes = limit_bytes
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        self._checked: dict[Path, tuple[int, int, str]] = {}

    async def find(self, manifest: Manifest) -> Manifest:
        """Return the manifest with its files, fetched if need be and checked. Raises `ModelUnavailable`."""
        weights, output = manifest.weights, manifest.output
        architecture = weights.architecture.partition(":")[0]
        try:
            files = ModelFiles(
                graph=await self._file(manifest, _Wanted(weights.graph_path, weights.graph_checksum)),
                weights=await self._file(manifest, _Wanted(weights.weights_path, weights.weights_checksum)),
                architecture=_beside(manifest, architecture) if architecture.endswith(".py") else None,
                labels=await self._labels(manifest, _Wanted(output.labels_path, output.labels_checksum, "labels")),
            )
        except _Fault as fault:
            raise ModelUnavailable(manifest.name, manifest.version, str(fault)) from fault
        except (InputFailed, OSError) as fault:
            log.warning("model %s: %s", manifest, fault)
            reason = "its files can't be fetched or kept; the server's log says more"
            raise ModelUnavailable(manifest.name, manifest.version, reason) from fault
        return replace(manifest, files=files)

    async def _labels(self, manifest: Manifest, wanted: _Wanted) -> Path | None:
        if wanted.path:
            return await self._file(manifest, wanted)
        url = manifest.output.labels_url
        return await self._fetched(url, replace(wanted, path=url)) if url else None

    async def _file(self, manifest: Manifest, wanted: _Wanted) -> Path | None:
        """Return the file beside the manifest, or the one in the cache."""
        if not wanted.path:
            return None
        remote = "://" in wanted.path
        if not remote and (path := _beside(manifest, wanted.path)):
            return await self._right(path, wanted)
        base = manifest.weights.base_url
        if not remote and not base:
            raise _Fault(f"its {wanted.what} file isn't there")
        if manifest.weights.is_archive and wanted.what == "weights":
            return await self._member(base, wanted)
        url = wanted.path if remote else f"{base.rstrip('/')}/{quote(wanted.path)}"
        return await self._fetched(url, wanted)

    async def _member(self, url: str, wanted: _Wanted) -> Path:
        """Return one file out of an archive that is fetched once."""
        archive = await self._fetched(url, _Wanted(url))
        target = self._place(f"{url}!{wanted.path}", wanted)
        async with self._lock(target):
            if not target.exists():
                part = _part_of(target)
                found = await asyncio.to_thread(extract, archive, wanted.path, part, self._limit_bytes)
                if not found:
                    raise _Fault("its archive doesn't hold the files that its manifest names")
                await asyncio.to_thread(self._keep, part, target, wanted)
            return await self._right(target, wanted)

    async def _fetched(self, url: str, wanted: _Wanted) -> Path:
        """Return the file in the cache; callers at the same time share one download."""
        target = self._place(url, wanted)
        async with self._lock(target):
            if not target.exists():
                log.info("fetching %s from %s", wanted.what, urlsplit(url).hostname)
                part = _part_of(target)
                await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
                await self._download.download(url, part, self._limit_bytes)
                await asyncio.to_thread(self._keep, part, target, wanted)
            return await self._right(target, wanted)

    def _place(self, source: str, wanted: _Wanted) -> Path:
        """Where a source is kept: under a name that only it and its checksum give."""
        suffix = Path(wanted.path).suffix
        digest = hashlib.sha256(f"{source}\n{wanted.checksum}".encode()).hexdigest()[:40]
        return self._cache / (digest + (suffix if re.fullmatch(r"\.\w{1,16}", suffix) else ""))

    def _lock(self, target: Path) -> asyncio.Lock:
        return self._locks.setdefault(target, asyncio.Lock())

    def _keep(self, part: Path, target: Path, wanted: _Wanted) -> None:
        """Give a new file its name once it is known to be right, so that no one ever sees another."""
        try:
            self._check(part, wanted)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
            self._checked.pop(part, None)

    async def _right(self, path: Path, wanted: _Wanted) -> Path:
        """Return the path of a file that is as the manifest says."""
        await asyncio.to_thread(self._check, path, wanted)
        return path

    def _check(self, path: Path, wanted: _Wanted) -> None:
        """Compare the checksum, if there is one; a file that hasn't changed since is not read again."""
        if not wanted.checksum:
            return
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size, wanted.checksum)
        if self._checked.get(path) == stamp:
            return
        if checksum(path, wanted.checksum.partition(":")[0]) != wanted.checksum:
            log.error("%s hasn't the checksum %s of its manifest", path, wanted.checksum)
            raise _Fault(f"its {wanted.what} file isn't the one that its manifest names (the checksum differs)")
        self._checked[path] = stamp


def checksum(path: Path, kind: str) -> str:
    """Return `md5:HEX` or `sha256:HEX` of a file, read block by block."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def _beside(manifest: Manifest, name: str) -> Path | None:
    """Return a file in the model's folder, or None; a link that leads out of it is a fault."""
    folder = manifest.folder.resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise _Fault("one of its files is a link out of the model's folder")
    return path if path.is_file() else None


def _part_of(target: Path) -> Path:
    return target.with_name(f".{uuid4().hex}.part")
