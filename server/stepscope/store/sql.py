"""Records in a SQL database, SQLite or PostgreSQL, which any number of processes may share."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from stepscope.core.lifecycle import PredictorRecord
from stepscope.store.changes import KEPT_S, watch_postgresql, watch_sqlite
from stepscope.store.database import Database
from stepscope.store.migration import migrate
from stepscope.store.tables import CHANGES, PREDICTORS, microseconds, predictor_record, predictor_row

_GET = select(PREDICTORS).where(PREDICTORS.c.id == bindparam("key"))
_REMOVE = delete(PREDICTORS).where(PREDICTORS.c.id == bindparam("key")).returning(PREDICTORS)
_PURGE = delete(PREDICTORS).where(PREDICTORS.c.expires_us < bindparam("before_us")).returning(PREDICTORS.c.id)
_TOUCH = (
    update(PREDICTORS)
    .where(PREDICTORS.c.id == bindparam("key"), PREDICTORS.c.used_us < bindparam("now_us"))
    .values(used_us=bindparam("now_us"), expires_us=bindparam("now_us") + PREDICTORS.c.lease_us)
)
CHANNEL = "stepscope_removed"
_LONGEST_ID = 64


class SqlStore:
    """The `SharedStore` in a database. Every call waits for it, and raises `StoreUnavailable` when it is away."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    async def start(self) -> None:
        """Bring the tables up to date. Raises `SettingsInvalid` when they can't be, `StoreUnavailable`."""
        await migrate(self._database)

    async def stop(self) -> None:
        """Close the connections."""
        await self._database.close()

    async def put_predictor(self, record: PredictorRecord) -> None:
        """Add or replace a record."""
        row = predictor_row(record)
        upsert = (sqlite.insert if self._database.is_sqlite else postgresql.insert)(PREDICTORS).values(row)
        async with self._database.writing() as connection:
            await connection.execute(upsert.on_conflict_do_update(index_elements=["id"], set_=row))

    async def get_predictor(self, predictor_id: str) -> PredictorRecord | None:
        """Return a record, lapsed or not, or None."""
        if not _is_id(predictor_id):
            return None
        async with self._database.reading() as connection:
            row = (await connection.execute(_GET, {"key": predictor_id})).mappings().one_or_none()
        return None if row is None else predictor_record(row)

    async def touch_predictor(self, predictor_id: str, now: datetime) -> None:
        """Note a use; a record that is gone stays gone."""
        await self.touch_predictors({predictor_id: now})

    async def touch_predictors(self, uses: Mapping[str, datetime]) -> None:
        """Note the last uses of several; a use before one that is known changes nothing."""
        # In one order everywhere: two processes that lock each other's rows would wait for ever.
        values = [{"key": key, "now_us": microseconds(uses[key])} for key in sorted(uses) if _is_id(key)]
        if values:
            async with self._database.writing() as connection:
                await connection.execute(_TOUCH, values)

    async def remove_predictor(self, predictor_id: str) -> PredictorRecord | None:
        """Take a record out and return it, or None when another caller was faster. Watchers are told."""
        if not _is_id(predictor_id):
            return None
        async with self._database.writing() as connection:
            row = (await connection.execute(_REMOVE, {"key": predictor_id})).mappings().one_or_none()
            if row is None:
                return None
            await self._tell(connection, predictor_id)
        return predictor_record(row)

    async def purge_predictors(self, before: datetime) -> Sequence[str]:
        """Take out the records whose lease ended before a time; return their ids. Nobody is told."""
        async with self._database.writing() as connection:
            ids = (await connection.execute(_PURGE, {"before_us": microseconds(before)})).scalars().all()
            if self._database.is_sqlite:
                told_us = microseconds(datetime.now(UTC) - timedelta(seconds=KEPT_S))
                await connection.execute(delete(CHANGES).where(CHANGES.c.at_us < told_us))
        return ids

    async def changes(self) -> AsyncGenerator[frozenset[str] | None, None]:
        """Yield what any process removes; None at first, for all that came before. Raises `StoreUnavailable`."""
        database = self._database
        watching = (
            watch_sqlite(database, CHANGES.c.predictor_id)
            if database.is_sqlite
            else watch_postgresql(database, CHANNEL)
        )
        async with aclosing(watching) as changes:
            async for removed in changes:
                yield None if removed is None else frozenset(removed)

    async def _tell(self, connection: AsyncConnection, predictor_id: str) -> None:
        if self._database.is_sqlite:
            row = {"predictor_id": predictor_id, "at_us": microseconds(datetime.now(UTC))}
            await connection.execute(insert(CHANGES).values(row))
        else:
            await connection.execute(select(func.pg_notify(CHANNEL, predictor_id)))


def _is_id(text: str) -> bool:
    """Say whether a text can be an id at all; PostgreSQL refuses some that can't."""
    return len(text) <= _LONGEST_ID and text.isascii() and text.isprintable()
