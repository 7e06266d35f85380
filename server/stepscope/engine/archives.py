"""One file out of a zip or tar archive, whatever else the archive holds."""

import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

_BLOCK_BYTES = 2**20


def extract(archive: Path, name: str, target: Path, limit_bytes: int) -> bool:
    """Write the member `name` to `target`; False when there is none, or it is larger than the limit.

    A single folder around everything may be left out of the name.
    """
    try:
        if zipfile.is_zipfile(archive):
            return _from_zip(archive, name, target, limit_bytes)
        return _from_tar(archive, name, target, limit_bytes)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, NotImplementedError):
        return False


def _from_zip(archive: Path, name: str, target: Path, limit_bytes: int) -> bool:
    with zipfile.ZipFile(archive) as opened:
        member = _chosen(opened.namelist(), name)
        if member is None:
            return False
        with opened.open(member) as source:
            return _copy(source, target, limit_bytes)


def _from_tar(archive: Path, name: str, target: Path, limit_bytes: int) -> bool:
    with tarfile.open(archive) as opened:
        files = {member.name: member for member in opened if member.isfile()}
        chosen = _chosen(list(files), name)
        source = opened.extractfile(files[chosen]) if chosen is not None else None
        return source is not None and _copy(source, target, limit_bytes)


def _chosen(names: list[str], name: str) -> str | None:
    """Return the member of that name, at the top or in the one folder around everything."""
    wanted = PurePosixPath(name).parts
    within = [member for member in names if PurePosixPath(member).parts[1:] == wanted]
    exact = [member for member in names if PurePosixPath(member).parts == wanted]
    return exact[0] if exact else within[0] if len(within) == 1 else None


def _copy(source: IO[bytes], target: Path, limit_bytes: int) -> bool:
    """Copy block by block, and stop past the limit: what a member says of its size may be a lie."""
    written = 0
    with target.open("wb") as file:
        while block := source.read(_BLOCK_BYTES):
            written += len(block)
            if written > limit_bytes:
                break
            file.write(block)
    if written > limit_bytes:
        target.unlink()
    return written <= limit_bytes
