"""One connection to a database by its driver, for statements that were prepared once.

Jobs change thousands of times a second, where SQLAlchemy's way to a statement costs more than the statement. So those
statements are written out, once for both databases: `:name` is a value, `IN {names}` is in a list of values, `{lock}`
locks the rows that are found, where there is more than one writer.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg

from stepscope.store.database import ANSWER_S, BUSY_S, CONNECT_S, Database

Row = tuple[Any, ...]
AWAY = (sqlite3.DatabaseError, psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, OSError)
"""What the drivers raise for a database that is away, locked, full or broken."""
REFUSED = (sqlite3.IntegrityError, sqlite3.ProgrammingError, psycopg.errors.DeadlockDetected)
"""What is a kind of the above, though the database is there: it doesn't take what it was given, or not now."""
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

    def begin(self) -> None:
        """Begin a transaction that writes."""

    def commit(self) -> None:
        """Keep what the transaction did."""

    def rollback(self) -> None:
        """Undo what the transaction did."""

    def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """Execute a statement; return its rows, or none."""

    def many(self, statement: Statement, values: Iterable[Mapping[str, Any]]) -> None:
        """Execute a statement once for each set of values."""

    def close(self) -> None:
        """Close the connection."""


class SqliteLink:
    """A connection to SQLite."""

    is_sqlite = True

    def __init__(self, database: Database) -> None:
        path = str(database.url.database)
        self._connection = sqlite3.connect(
            path, BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=_KEPT_STATEMENTS
        )
        # What is acknowledged outlives a power cut.
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")

    def begin(self) -> None:
        """Begin a transaction, with the write lock: it can't be had later, once another process has written."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Keep what the transaction did; it is on the disk then."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what the transaction did."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """Execute a statement; return its rows, or none."""
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = json.dumps(value)
        return self._connection.execute(statement.sqlite, values).fetchall()

    def many(self, statement: Statement, values: Iterable[Mapping[str, Any]]) -> None:
        """Execute a statement once for each set of values."""
        self._connection.executemany(statement.sqlite, values)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class PostgresqlLink:
    """A connection to PostgreSQL."""

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
        self._cursor = self._connection.cursor(binary=True)
        # A process that hangs in a transaction holds a queue: not for longer than the others wait for it.
        self._cursor.execute(f"SET idle_in_transaction_session_timeout = {round(ANSWER_S * 1000)}")
        self._cursor.execute(f"SET lock_timeout = {round(BUSY_S * 1000)}")

    def begin(self) -> None:
        """Begin a transaction."""
        self._cursor.execute("BEGIN")

    def commit(self) -> None:
        """Keep what the transaction did."""
        self._cursor.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what the transaction did."""
        self._cursor.execute("ROLLBACK")

    def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """Execute a statement; return its rows, or none."""
        self._cursor.execute(statement.postgresql, values)
        return self._cursor.fetchall() if self._cursor.description else []

    def many(self, statement: Statement, values: Iterable[Mapping[str, Any]]) -> None:
        """Execute a statement once for each set of values, all of them sent at once."""
        self._cursor.executemany(statement.postgresql, values)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def connect(database: Database) -> Link:
    """Open a connection."""
    return SqliteLink(database) if database.is_sqlite else PostgresqlLink(database)
