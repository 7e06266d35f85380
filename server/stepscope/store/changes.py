"""What other processes changed: told by PostgreSQL's NOTIFY, or looked for in one of SQLite's tables of changes.

SQLite tells nobody, but every connection has a counter of others' commits, `PRAGMA data_version`, that costs some
microseconds to read. Only when it has moved is the table read.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

import psycopg
from sqlalchemy import Column, func, select

from stepscope.store.database import ANSWER_S, CONNECT_S, UNAVAILABLE, Database, unavailable

Told = Sequence[str] | None
"""What was told; None when anything may have been."""

LOOK_S = 0.05
"""How often SQLite's counter is read."""
HEARTBEAT_S = 1.0
"""How often PostgreSQL is asked whether it is there while it has nothing to tell."""
KEPT_S = 60.0
"""How long a table of changes keeps one; who didn't look for half of that starts anew."""


async def watch_sqlite(database: Database, column: Column[str]) -> AsyncGenerator[Told, None]:
    """Yield what is added to a column of a numbered table, within some `LOOK_S`. Raises `StoreUnavailable`."""
    number = column.table.c.number
    async with database.reading() as connection:
        last = (await connection.execute(select(func.coalesce(func.max(number), 0)))).scalar_one()
    yield None
    version, looked_s = -1, time.monotonic()
    async with database.watching() as watcher:
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = time.monotonic()
            if now_s - looked_s > KEPT_S / 2:
                return  # what was told meanwhile may be forgotten by now
            looked_s, before = now_s, version
            [(version,)] = await watcher.execute_fetchall("PRAGMA data_version")
            if version == before:
                continue
            async with database.reading() as connection:
                rows = (await connection.execute(select(number, column).where(number > last))).all()
            if rows:
                last = max(row[0] for row in rows)
                yield [row[1] for row in rows]


async def watch_postgresql(database: Database, channel: str) -> AsyncGenerator[Told, None]:
    """Yield what a channel is told, at once. Raises `StoreUnavailable`, within some seconds of its going away."""
    conninfo = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connecting = psycopg.AsyncConnection.connect(conninfo, autocommit=True, connect_timeout=CONNECT_S)
        async with await connecting as connection:
            await connection.execute(f"LISTEN {channel}")
            yield None
            while True:
                async for told in connection.notifies(timeout=HEARTBEAT_S):
                    yield [told.payload]
                async with asyncio.timeout(ANSWER_S):
                    await connection.execute("SELECT 1")
    except (psycopg.Error, *UNAVAILABLE) as fault:
        raise unavailable(fault) from fault
