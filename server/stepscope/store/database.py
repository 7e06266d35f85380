"""A SQL database, reached so that what is wrong with it becomes `StoreUnavailable`.

SQLite has one writer at a time. So each process writes through one connection, which asks for the write lock when a
transaction begins (it can't be had later, once another process has written), and reads through others, which the
write-ahead log lets go on meanwhile.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from stepscope.core.errors import SettingsInvalid, StoreUnavailable

log = logging.getLogger("stepscope.store")

ANSWER_S = 5.0
"""How long the database may take for one piece of work, waiting for its turn included."""
CONNECT_S = 3
BUSY_S = 4.0
"""How long SQLite waits for another process's transaction."""
READERS = 4
CONNECTIONS = 8
UNAVAILABLE = (OperationalError, InterfaceError, InternalError, PoolTimeout, OSError)
"""What drivers raise for a database that is away, locked, full or broken. `OSError` includes the time-out."""


def address(url: str) -> URL:
    """Return SQLAlchemy's form of `sqlite:PATH` or `postgresql://...`. Raises `SettingsInvalid`."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        path = rest[3:] if rest.startswith("///") else rest
        return URL.create("sqlite+aiosqlite", database=str(Path(path).expanduser().absolute()))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        # The text may hold a password, so it isn't repeated.
        raise SettingsInvalid("store.url is none of memory:, sqlite:PATH and postgresql://USER:PASSWORD@HOST/DATABASE.")
    return parsed.set(drivername="postgresql+psycopg")


class Database:
    """Connections to a database, made when they are needed."""

    def __init__(self, url: str) -> None:
        self.url = address(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._writer = _sqlite(self.url, connections=1)
            event.listen(self._writer.sync_engine, "begin", _take_write_lock)
            self._reader = _sqlite(self.url, connections=READERS)
        else:
            self._writer = self._reader = create_async_engine(
                self.url,
                pool_size=CONNECTIONS,
                max_overflow=0,
                pool_timeout=ANSWER_S,
                pool_pre_ping=True,
                connect_args={"connect_timeout": CONNECT_S, "application_name": "stepscope"},
            )

    def __str__(self) -> str:
        if self.is_sqlite:
            return str(self.url.database)
        return self.url.set(drivername="postgresql").render_as_string(hide_password=True)

    def prepare(self) -> None:
        """Make the folder and the file of a database that is a file, for its owner's eyes alone."""
        if self.is_sqlite:
            path = Path(str(self.url.database))
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection for statements that change nothing. Raises `StoreUnavailable`."""
        try:
            async with asyncio.timeout(ANSWER_S), self._reader.connect() as connection:
                yield connection
        except UNAVAILABLE as fault:
            raise unavailable(fault) from fault

    @asynccontextmanager
    async def writing(self, limit_s: float = ANSWER_S) -> AsyncIterator[AsyncConnection]:
        """Lend a connection for one transaction, committed at the end. Raises `StoreUnavailable`."""
        try:
            async with asyncio.timeout(limit_s), self._writer.begin() as connection:
                yield connection
        except UNAVAILABLE as fault:
            raise unavailable(fault) from fault

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[aiosqlite.Connection]:
        """Lend a SQLite connection for as long as it is wanted. Raises `StoreUnavailable`."""
        try:
            async with aiosqlite.connect(str(self.url.database)) as connection:
                yield connection
        except (aiosqlite.Error, *UNAVAILABLE) as fault:
            raise unavailable(fault) from fault

    async def close(self) -> None:
        """Close all connections."""
        await self._writer.dispose()
        await self._reader.dispose()


def unavailable(fault: BaseException) -> StoreUnavailable:
    """Return the error for a driver's fault, which the log holds."""
    cause = getattr(fault, "orig", None) or fault
    log.debug("the store doesn't answer: %s: %s", type(cause).__name__, cause)
    return StoreUnavailable()


def _sqlite(url: URL, *, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=connections, max_overflow=0, pool_timeout=ANSWER_S, connect_args={"timeout": BUSY_S}
    )
    event.listen(engine.sync_engine, "connect", _set_up)
    return engine


def _set_up(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
    cursor = connection.cursor()
    write_ahead(cursor.execute)
    cursor.close()


def write_ahead(execute: Callable[[str], object]) -> None:
    """Turn on SQLite's write-ahead log, synced at each commit: what is acknowledged outlives a power cut.

    Several that do it first to a new file get in each other's way, and SQLite doesn't wait here by itself.
    """
    until_s = time.monotonic() + BUSY_S
    while True:
        try:
            execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            if time.monotonic() >= until_s:
                raise
            time.sleep(0.01)
    execute("PRAGMA synchronous = FULL")


def _take_write_lock(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
