"""The traces that are kept: packed parts in one SQLite file, bounded in number, age and bytes.

One thread writes. Readers open connections of their own, which SQLite's write-ahead log lets them do side by side with
it. The file is a convenience, not a record: what can't be read is set aside, and without a usable file traces are kept
in memory.

The table has no index: an id is random, so each insert would write a page of its own for it, which took twice as long
as all the rest. Looking through ten thousand rows for an id takes milliseconds.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stepscope.core.recording import TagValue
from stepscope.core.spans import TraceQuery, full_id
from stepscope.tracing.recordings import Part, Recording, pack, unpack

log = logging.getLogger("stepscope.tracing")

VERSION = 1
Place = tuple[str, str]
"""An owner, and the program that spans are of."""
Names = Mapping[Place, set[str]]
"""Names of spans."""
BUSY_S = 5.0
MOST_PARTS = 2000
"""Requests of one trace that are read; a client may send thousands under one id."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS parts (
    id INTEGER PRIMARY KEY, trace TEXT NOT NULL, owner TEXT NOT NULL, start_ns INTEGER NOT NULL,
    came_s REAL NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS names (
    owner TEXT NOT NULL, service TEXT NOT NULL, operation TEXT NOT NULL, PRIMARY KEY (owner, service, operation)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS services (name TEXT PRIMARY KEY, tags BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """What is kept at most: traced requests, seconds since they came, and bytes."""

    requests: int = 10_000
    age_s: float = 3 * 86400.0
    size_bytes: int = 256 * 2**20


class Archive:
    """The file, or memory where there is none."""

    def __init__(self, path: Path | None, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._names: dict[Place, set[str]] = {}
        self._address = f"file:traces-{id(self)}?mode=memory&cache=shared"
        if path is not None:
            self._use(path)
        self._writing = self._connect()
        self._writing.executescript(_SCHEMA)
        self._writing.execute(f"PRAGMA user_version = {VERSION}")
        self._writing.commit()

    def close(self) -> None:
        """Close the file."""
        self._writing.close()

    def describe(self, service: str, tags: Mapping[str, TagValue]) -> None:
        """Note what a service is; called by the writing thread alone."""
        body = msgspec.msgpack.encode(dict(tags))
        self._writing.execute("INSERT OR REPLACE INTO services VALUES (?, ?)", (service, body))
        self._writing.commit()

    def put(self, parts: Iterable[Part], names: Names, now_s: float = 0.0) -> None:
        """Keep parts, and the names of their spans. For the writing thread alone."""
        came_s = now_s or time.time()
        rows = [_row(part, came_s) for part in parts]
        fresh = [(*place, name) for place, found in names.items() for name in found - self._names.get(place, set())]
        with self._writing:
            self._writing.executemany("INSERT INTO parts VALUES (NULL, ?, ?, ?, ?, ?, ?)", rows)
            self._writing.executemany("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", fresh)
        for owner, service, name in fresh:
            self._names.setdefault((owner, service), set()).add(name)

    def purge(self, now_s: float = 0.0) -> None:
        """Drop what is too much, the oldest first. For the writing thread alone."""
        oldest_s = (now_s or time.time()) - self._limits.age_s
        with self._writing:
            run = self._writing.execute
            first = run("SELECT id FROM parts WHERE came_s >= ? ORDER BY id LIMIT 1", (oldest_s,)).fetchone()
            run("DELETE FROM parts WHERE id < ?", first or (2**63 - 1,))
            last = run("SELECT id FROM parts ORDER BY id DESC LIMIT 1 OFFSET ?", (self._limits.requests,)).fetchone()
            if last is not None:
                run("DELETE FROM parts WHERE id <= ?", last)
            if run("SELECT total(size) FROM parts").fetchone()[0] > self._limits.size_bytes:
                newest = "SELECT id, sum(size) OVER (ORDER BY id DESC) AS total FROM parts"
                keep = (self._limits.size_bytes,)
                run(f"DELETE FROM parts WHERE id IN (SELECT id FROM ({newest}) WHERE total > ?)", keep)  # noqa: S608

    def parts(self, trace_id: str, owner: str | None) -> list[Part]:
        """Return the parts of a trace that an owner may see (None sees all), in the order in which they came."""
        with self._reading() as connection:
            return self._parts(connection, full_id(trace_id), owner)

    def search(self, query: TraceQuery, owner: str) -> Iterator[list[Part]]:
        """Yield the traces of an owner that began in the query's time, newest first, as their parts."""
        select = "SELECT trace, id, start_ns FROM parts WHERE owner = ? ORDER BY start_ns DESC"
        ids: dict[str, list[int]] = {}
        begun: set[str] = set()
        with self._reading() as connection:
            for trace, number, start_ns in connection.execute(select, (owner,)):
                ids.setdefault(trace, []).append(number)
                if query.start_ns <= start_ns <= query.end_ns:
                    begun.add(trace)
            for trace in (trace for trace in ids if trace in begun):
                yield [self._part(connection, number) for number in sorted(ids[trace])[:MOST_PARTS]]

    def names(self, owner: str) -> dict[str, list[str]]:
        """Return the operations of each service, as far as an owner may see them."""
        with self._reading() as connection:
            select = "SELECT service, operation FROM names WHERE owner = ? ORDER BY service, operation"
            names: dict[str, list[str]] = {}
            for service, operation in connection.execute(select, (owner,)):
                names.setdefault(service, []).append(operation)
            return names

    def processes(self) -> dict[str, dict[str, TagValue]]:
        """Return the tags of every service."""
        with self._reading() as connection:
            rows = connection.execute("SELECT name, tags FROM services").fetchall()
        return {name: msgspec.msgpack.decode(tags, type=dict[str, TagValue]) for name, tags in rows}

    def _parts(self, connection: sqlite3.Connection, trace: str, owner: str | None) -> list[Part]:
        select = "SELECT body FROM parts WHERE trace = ? AND owner = coalesce(?, owner) ORDER BY id LIMIT ?"
        return [unpack(body) for (body,) in connection.execute(select, (trace, owner, MOST_PARTS))]

    def _part(self, connection: sqlite3.Connection, number: int) -> Part:
        (body,) = connection.execute("SELECT body FROM parts WHERE id = ?", (number,)).fetchone()
        return unpack(body)

    def _use(self, path: Path) -> None:
        """Take a file that is there, or make it; fall back to memory."""
        address = f"{path.absolute().as_uri()}?mode=rwc"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _is_usable(address):
                path.replace(path.with_name(path.name + ".unreadable"))
                log.warning("%s can't be read as traces; it was set aside", path)
            with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            self._address = address
        except (OSError, sqlite3.Error) as fault:
            log.warning("traces can't be kept in %s (%s); they are kept in memory", path, fault)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._address, uri=True, timeout=BUSY_S, check_same_thread=False)
        connection.execute("PRAGMA synchronous = OFF")  # traces may be lost with the power, not with the process
        return connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(self._connect()) as connection:
            yield connection


def _is_usable(address: str) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            return connection.execute("PRAGMA user_version").fetchone()[0] in (0, VERSION)
    except sqlite3.DatabaseError:
        return False


def _row(part: Part, now_s: float) -> Sequence[object]:
    body = pack(part)
    return full_id(part.trace_id), part.owner, _start_ns(part), now_s, len(body), body


def _start_ns(part: Part) -> int:
    if isinstance(part, Recording):
        return part.epoch_ns + round(part.started * 1e9)
    return min(span.start_ns for span in part.spans)
