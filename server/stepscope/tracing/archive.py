"""The traces that are kept: packed parts in one SQLite file, bounded in number, age and bytes.

One thread writes. Readers open connections of their own, which SQLite's write-ahead log lets them do side by side with
it. The file is a convenience, not a record: what can't be read is set aside, and without a usable file traces are kept
in memory.

What comes together is one row, a chunk, with the ids of its traces side by side and no index: an id is random, so an
index would be written a page for each, and a row for each request takes twice as long as all the rest. Looking through
ten thousand ids takes milliseconds.
"""

import contextlib
import logging
import re
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

VERSION = 2
Place = tuple[str, str]
"""An owner, and the program that spans are of."""
Names = Mapping[Place, set[str]]
"""Names of spans."""
BUSY_S = 5.0
_ID = re.compile("[0-9a-f]{32}")
MOST_PARTS = 2000
"""Requests of one trace that are read; a client may send thousands under one id."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, came_s REAL NOT NULL, first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL, count INTEGER NOT NULL, size INTEGER NOT NULL, traces BLOB NOT NULL, body BLOB NOT NULL
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
        by_owner: dict[str, list[Part]] = {}
        for part in parts:
            by_owner.setdefault(part.owner, []).append(part)
        rows = [_row(owner, some, now_s or time.time()) for owner, some in by_owner.items()]
        fresh = [(*place, name) for place, found in names.items() for name in found - self._names.get(place, set())]
        with self._writing:
            self._writing.executemany("INSERT INTO chunks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._writing.executemany("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", fresh)
        for owner, service, name in fresh:
            self._names.setdefault((owner, service), set()).add(name)

    def purge(self, now_s: float = 0.0) -> None:
        """Drop what is too much, the oldest first. For the writing thread alone."""
        oldest_s = (now_s or time.time()) - self._limits.age_s
        with self._writing:
            run = self._writing.execute
            first = run("SELECT id FROM chunks WHERE came_s >= ? ORDER BY id LIMIT 1", (oldest_s,)).fetchone()
            run("DELETE FROM chunks WHERE id < ?", first or (2**63 - 1,))
            for column, limit in (("count", self._limits.requests), ("size", self._limits.size_bytes)):
                newer = f"SELECT id, sum({column}) OVER (ORDER BY id DESC) - {column} AS newer FROM chunks"  # noqa: S608
                run(f"DELETE FROM chunks WHERE id IN (SELECT id FROM ({newer}) WHERE newer >= ?)", (limit,))  # noqa: S608

    def parts(self, trace_id: str, owner: str | None) -> list[Part]:
        """Return the parts of a trace that an owner may see (None sees all), in the order in which they came."""
        if not _ID.fullmatch(full_id(trace_id)):
            return []
        with self._reading() as connection:
            return self._parts(connection, full_id(trace_id), owner)

    def search(self, query: TraceQuery, owner: str) -> Iterator[list[Part]]:
        """Yield the traces of an owner that began in the query's time, newest first, as their parts."""
        select = "SELECT body FROM chunks WHERE owner = ? AND last_ns >= ? AND first_ns <= ? ORDER BY last_ns DESC"
        seen: set[str] = set()
        with self._reading() as connection:
            for (body,) in connection.execute(select, (owner, query.start_ns, query.end_ns)):
                for trace, parts in _by_trace(_unpacked(body)).items():
                    if trace in seen or not any(query.start_ns <= _start_ns(part) <= query.end_ns for part in parts):
                        continue
                    seen.add(trace)
                    yield parts if self._is_whole(connection, trace, owner) else self._parts(connection, trace, owner)

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

    def _is_whole(self, connection: sqlite3.Connection, trace: str, owner: str) -> bool:
        """Say whether all parts of a trace lie in one chunk."""
        count = "SELECT count(*) FROM (SELECT 1 FROM chunks WHERE owner = ? AND instr(traces, ?) LIMIT 2)"
        return bool(connection.execute(count, (owner, bytes.fromhex(trace))).fetchone()[0] == 1)

    def _parts(self, connection: sqlite3.Connection, trace: str, owner: str | None) -> list[Part]:
        select = "SELECT body FROM chunks WHERE owner = coalesce(?, owner) AND instr(traces, ?) ORDER BY id LIMIT ?"
        chunks = connection.execute(select, (owner, bytes.fromhex(trace), MOST_PARTS))
        found = [part for (body,) in chunks for part in _unpacked(body) if full_id(part.trace_id) == trace]
        return found[:MOST_PARTS]

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


def _row(owner: str, parts: Sequence[Part], came_s: float) -> Sequence[object]:
    body = msgspec.msgpack.encode([pack(part) for part in parts])
    starts = [_start_ns(part) for part in parts]
    traces = bytes.fromhex("".join([full_id(part.trace_id) for part in parts]))
    return owner, came_s, min(starts), max(starts), len(parts), len(body), traces, body


def _by_trace(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """Return the parts of each trace in their order; the trace that began last stands first."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(full_id(part.trace_id), []).append(part)
    return dict(sorted(found.items(), key=lambda item: -_start_ns(item[1][0])))


def _unpacked(body: bytes) -> list[Part]:
    return [unpack(packed) for packed in msgspec.msgpack.decode(body, type=list[bytes])]


def _start_ns(part: Part) -> int:
    if isinstance(part, Recording):
        return part.epoch_ns + round(part.started * 1e9)
    return min(span.start_ns for span in part.spans)
