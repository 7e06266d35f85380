"""One connection to a database by its driver, for statements that were prepared once.

Jobs change thousands of times a second, where SQLAlchemy's way to a statement costs more than the statement. So those
statements are written out, once for both databases: `:name` is a value, `IN {names}` is in a list of values, `{lock}`
locks the rows that are found, where there is more than one writer.
"""

import json
import math
import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
import psycopg

from stepscope.store.bulk import Bulk, Values
from stepscope.store.database import ANSWER_S, BUSY_S, CONNECT_S, Database, write_ahead

Row = tuple[Any, ...]
AWAY = (sqlite3.DatabaseError, psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, OSError)
"""What the drivers raise for a database that is away, locked, full or broken."""
REFUSED = (sqlite3.IntegrityError, sqlite3.ProgrammingError, psycopg.errors.DeadlockDetected)
"""What is a kind of the above, though the database is there: it doesn't take what it was given, or not now."""
NOTICED = timedelta(seconds=1)
"""Clocks that differ by less are taken for one."""
MEASURE_S = 60.0
"""How often clocks are compared."""
_KEPT_STATEMENTS = 64
_IN_LIST = re.compile(r"IN \{(\w+)\}")
_VALUE = re.compile(r":(\w+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as each database takes it."""

    sqlite: str
    postgresql: str


def statement(text: str) -> Statement:
    """Return a statement, as the head of this file tells it, for both databases."""
    sqlite = _IN_LIST.sub(r"IN (SELECT value FROM json_each(:\1))", text).replace("{lock}", "")
    postgresql = _IN_LIST.sub(r"= ANY(:\1)", text).replace("{lock}", "FOR UPDATE")
    return Statement(sqlite, _VALUE.sub(r"%(\1)s", postgresql))


class Link(Protocol):
    """A connection that one thread uses. What goes wrong with the database is one of `AWAY`."""

    is_sqlite: bool
    ahead: timedelta
    """How much the database's clock is ahead of this machine's: leases are by one clock, whoever looks at them."""

    def compare_clocks(self) -> None:
        """Look at the database's clock, if that is some time ago. Not within a transaction."""

    def begin(self) -> None:
        """Begin a transaction that writes."""

    def commit(self) -> None:
        """Keep what the transaction did."""

    def rollback(self) -> bool:
        """Undo what the transaction did; return whether the connection is still open."""

    def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """Execute a statement; return its rows."""

    def run(self, statement: Statement, **values: Any) -> None:
        """Execute a statement that has no rows, or whose rows don't matter.

        What is wrong may be told by a later call, at the latest by `commit`.
        """

    def many(self, bulk: Bulk, rows: Sequence[Values]) -> None:
        """Execute a statement for many rows; as `run` does."""

    def close(self) -> None:
        """Close the connection."""


class SqliteLink:
    """A connection to SQLite."""

    is_sqlite = True
    ahead = timedelta(0)

    def __init__(self, database: Database) -> None:
        path = str(database.url.database)
        self._connection = sqlite3.connect(
            path, BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=_KEPT_STATEMENTS
        )
        write_ahead(self._connection.execute)

    def compare_clocks(self) -> None:
        """Its clock is this machine's."""

    def begin(self) -> None:
        """Begin a transaction, with the write lock: it can't be had later, once another process has written."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Keep what the transaction did; it is on the disk then."""
        self._connection.execute("COMMIT")

    def rollback(self) -> bool:
        """Undo what the transaction did."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        return True

    def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """Execute a statement; return its rows."""
        return self._connection.execute(statement.sqlite, _with_lists(values)).fetchall()

    def run(self, statement: Statement, **values: Any) -> None:
        """Execute a statement that has no rows."""
        self._connection.execute(statement.sqlite, _with_lists(values))

    def many(self, bulk: Bulk, rows: Sequence[Values]) -> None:
        """Execute a statement for many rows."""
        self._connection.executemany(bulk.sqlite, rows)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


_SETTINGS = (
    # A process that hangs in a transaction holds a queue: not for longer than the others wait for it.
    f"idle_in_transaction_session_timeout = {round(ANSWER_S * 1000)}",
    f"lock_timeout = {round(BUSY_S * 1000)}",
    # Every statement here finds its rows by an index. While a table is new, its statistics say otherwise, and a plan
    # that was made then would be kept while the table grows.
    "enable_seqscan = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "jit = off",
)


class PostgresqlLink:
    """A connection to PostgreSQL. A transaction's statements are sent on without waiting for each one's answer."""

    is_sqlite = False

    def __init__(self, database: Database) -> None:
        self._connection = psycopg.connect(
            database.url.set(drivername="postgresql").render_as_string(hide_password=False),
            autocommit=True,
            connect_timeout=CONNECT_S,
            application_name="stepscope",
            keepalives_idle=round(ANSWER_S),
            tcp_user_timeout=round(ANSWER_S * 1000),
        )
        for setting in _SETTINGS:
            self._connection.execute(f"SET {setting}".encode())
        self._pipeline = ExitStack()
        self.ahead = timedelta(0)
        self._measured_s = -math.inf

    def compare_clocks(self) -> None:
        """Look at the database's clock, if that is some time ago."""
        if time.monotonic() - self._measured_s < MEASURE_S:
            return
        sent_at = utc_now()
        [(at,)] = self._connection.execute(b"SELECT clock_timestamp()").fetchall()
        took = utc_now() - sent_at
        if took < NOTICED:  # else it was read nobody knows when
            ahead: timedelta = at - (sent_at + took / 2)
            self.ahead = ahead if abs(ahead) >= NOTICED else timedelta(0)
            self._measured_s = time.monotonic()

    def begin(self) -> None:
        """Begin a transaction."""
        self._pipeline.enter_context(self._connection.pipeline())
        self._connection.execute(b"BEGIN")

    def commit(self) -> None:
        """Keep what the transaction did."""
        self._connection.execute(b"COMMIT")
        self._pipeline.close()  # waits for the answers

    def rollback(self) -> bool:
        """Undo what the transaction did, by closing the connection.

        The driver takes statements for prepared that came after the one that failed, and that the server passed over.
        """
        with suppress(psycopg.Error):
            self._pipeline.close()  # tells again what went wrong
        self._connection.close()
        return False

    def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """Execute a statement; return its rows."""
        return self._cursor().execute(statement.postgresql, values).fetchall()

    def run(self, statement: Statement, **values: Any) -> None:
        """Execute a statement that has no rows."""
        self._cursor().execute(statement.postgresql, values)

    def many(self, bulk: Bulk, rows: Sequence[Values]) -> None:
        """Execute a statement for many rows."""
        self._cursor().execute(bulk.postgresql, {"rows": msgspec.json.encode(rows).decode()})

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _cursor(self) -> "psycopg.Cursor[Row]":
        """Return a cursor of a statement's own: its answer may come after the next one is sent."""
        return self._connection.cursor(binary=True)


def _with_lists(values: Values) -> Values:
    """Return values as SQLite takes them: lists as JSON."""
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in values.items()}


def utc_now() -> datetime:
    """Return the time by this machine's clock."""
    return datetime.now(UTC)


def connect(database: Database) -> Link:
    """Open a connection."""
    return SqliteLink(database) if database.is_sqlite else PostgresqlLink(database)
