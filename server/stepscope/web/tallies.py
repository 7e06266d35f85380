"""Counters of several processes: each keeps its own in a file that the others read, so that any can tell all."""

import contextlib
from pathlib import Path

import msgspec

from stepscope.core.ports import Counts

WRITE_S = 1.0
"""How old what is told of the other processes may be."""


class Tallies:
    """One process's place in a folder of counters."""

    def __init__(self, folder: Path, index: int) -> None:
        self._folder = folder
        self._index = index
        self._written: Counts = {}

    def put(self, counts: Counts) -> None:
        """Write this process's counters, if they have changed."""
        if counts == self._written:
            return
        part = self._folder / f"{self._index}.part"
        with contextlib.suppress(OSError):  # others then see older ones
            part.write_bytes(msgspec.json.encode(counts))
            part.replace(self._folder / f"{self._index}.json")
            self._written = dict(counts)

    def read(self) -> dict[str, Counts]:
        """Return every process's counters by its number."""
        found: dict[str, Counts] = {}
        for path in sorted(self._folder.glob("*.json"), key=lambda path: int(path.stem)):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                found[path.stem] = msgspec.json.decode(path.read_bytes(), type=dict[str, tuple[str, float]])
        return found
