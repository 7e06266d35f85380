"""Large payloads and results: files beside the database by the SHA-256 of what is in them, or else rows of it.

Files are for processes that see one folder. Without such a folder, on several machines over one PostgreSQL, the
database holds them, so that every process can read what another one has kept.

A body is kept before the job that refers to it is written, so it is there when the job is; one that nothing refers to
goes after `UNUSED_S`. Both take hold of the body's row, so that none goes while it is being kept again.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from stepscope.core.errors import StoreUnavailable
from stepscope.store.desks import Desk
from stepscope.store.links import Link, statement
from stepscope.store.tables import microseconds

INLINE_BYTES = 64 * 1024
"""What is larger gets a body of its own."""
UNUSED_S = 600.0
"""How long a body stays that no job refers to: it may be kept for a job that isn't written yet."""
_LEFT_S = 3600.0
"""A file that wasn't finished by then never will be."""
_UNFINISHED = ".part"
T = TypeVar("T")

_WANT = statement(
    "INSERT INTO bodies (digest, wanted_us, data) VALUES (:digest, :now_us, :data) "
    "ON CONFLICT (digest) DO UPDATE SET wanted_us = excluded.wanted_us"
)
_DATA = statement("SELECT data FROM bodies WHERE digest = :digest")
_UNUSED = statement(
    "DELETE FROM bodies WHERE wanted_us < :before_us "
    "AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.payload_body = bodies.digest) "
    "AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.result_body = bodies.digest) RETURNING digest"
)


class BodyLost(Exception):
    """A body that a job refers to isn't there."""


class Bodies:
    """Where large payloads and results are: in a folder, or without one in the database."""

    def __init__(self, writer: Desk, reader: Desk, folder: Path | None) -> None:
        self._writer = writer
        self._reader = reader
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, for its owner's eyes alone, and remove what was never finished."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self._folder.glob(f"*{_UNFINISHED}"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _LEFT_S:
                    path.unlink()

    async def keep(self, data: bytes, now: datetime) -> str | None:
        """Keep what is too large for a row, and return its digest; None for what isn't. Raises `StoreUnavailable`."""
        if len(data) <= INLINE_BYTES:
            return None
        digest = await asyncio.to_thread(_digest, data)
        row = {"digest": digest, "now_us": microseconds(now), "data": data if self._folder is None else None}
        await self._writer.ask(lambda link: link.run(_WANT, **row))
        if self._folder is not None:
            await _answered(_write, self._folder / digest, data)
        return digest

    async def read(self, digest: str) -> bytes:
        """Return a body. Raises `BodyLost`, `StoreUnavailable`."""
        rows = await self._reader.ask(_get(digest))
        data: bytes | None = rows[0][0] if rows else None
        if data is None and self._folder is not None:
            data = await _answered(_read, self._folder / digest)
        if data is None:
            raise BodyLost(digest)
        return data

    def remove_unused(self, link: Link, now: datetime) -> None:
        """Remove the bodies that no job refers to, within a transaction that has hold of their rows."""
        before_us = microseconds(now - timedelta(seconds=UNUSED_S))
        for (digest,) in link.rows(_UNUSED, before_us=before_us):
            if self._folder is not None:
                (self._folder / digest).unlink(missing_ok=True)


def _get(digest: str) -> Callable[[Link], Sequence[tuple[bytes | None]]]:
    return lambda link: link.rows(_DATA, digest=digest)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def _answered(work: Callable[..., T], *arguments: Any) -> T:
    """Work on files in a thread. Raises `StoreUnavailable` when they can't be worked on."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except OSError as fault:
        raise StoreUnavailable from fault


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is whole, and on the disk, when it has its name."""
    if path.exists():
        return
    part = path.with_name(f"{path.name}-{secrets.token_hex(4)}{_UNFINISHED}")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
