"""What other processes removed: told by PostgreSQL's NOTIFY, or looked for in SQLite's table of changes.

SQLite tells nobody, but every connection has a counter of others' commits, `PRAGMA data_version`, that costs some
microseconds to read. Only when it has moved is the table read.
"""

import asyncio
import time
from collections.abc import AsyncGenerator

import psycopg
from sqlalchemy import func, select

from stepscope.store.database import ANSWER_S, CONNECT_S, UNAVAILABLE, Database, unavailable
from stepscope.store.tables import CHANGES

Removed = frozenset[str] | None
"""Ids of predictors that were removed; None when any may have been."""

CHANNEL = "stepscope_removed"
LOOK_S = 0.05
"""How often SQLite's counter is read."""
HEARTBEAT_S = 1.0
"""How often PostgreSQL is asked whether it is there while it has nothing to tell."""
KEPT_S = 60.0
"""How long the table of changes keeps one; who didn't look for half of that starts anew."""


async def watch_sqlite(database: Database) -> AsyncGenerator[Removed, None]:
    """Yield what is removed, within some `LOOK_S`. Raises `StoreUnavailable`."""
    newest = select(func.coalesce(func.max(CHANGES.c.number), 0))
    async with database.reading() as connection:
        last = (await connection.execute(newest)).scalar_one()
    yield None
    version, looked_s = -1, time.monotonic()
    async with database.watching() as watcher:
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = time.monotonic()
            if now_s - looked_s > KEPT_S / 2:
                return  # what was removed meanwhile may be forgotten by now
            looked_s, before = now_s, version
            [(version,)] = await watcher.execute_fetchall("PRAGMA data_version")
            if version == before:
                continue
            found = select(CHANGES.c.number, CHANGES.c.predictor_id).where(CHANGES.c.number > last)
            async with database.reading() as connection:
                rows = (await connection.execute(found)).all()
            if rows:
                last = max(row.number for row in rows)
                yield frozenset(row.predictor_id for row in rows)


async def watch_postgresql(database: Database) -> AsyncGenerator[Removed, None]:
    """Yield what is removed, as soon as it is. Raises `StoreUnavailable`, within some seconds of its going away."""
    conninfo = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connecting = psycopg.AsyncConnection.connect(conninfo, autocommit=True, connect_timeout=CONNECT_S)
        async with await connecting as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            yield None
            while True:
                async for told in connection.notifies(timeout=HEARTBEAT_S):
                    yield frozenset([told.payload])
                async with asyncio.timeout(ANSWER_S):
                    await connection.execute("SELECT 1")
    except (psycopg.Error, *UNAVAILABLE) as fault:
        raise unavailable(fault) from fault
