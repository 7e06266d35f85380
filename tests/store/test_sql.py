"""What a database does for several processes: migrations, removals that are told, an end and a new beginning."""

import asyncio
import time
from contextlib import aclosing
from datetime import timedelta

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from stepscope.core.errors import SettingsInvalid, StoreUnavailable
from stepscope.store import database, migration
from stepscope.store.database import Database, address
from stepscope.store.sql import SqlStore
from stepscope.store.tables import METADATA, SQLITE_ALONE
from tests.store.conftest import NOW, record


def test_the_newest_version_is_the_last_migration():
    assert ScriptDirectory("server/stepscope/store/migrations").get_heads() == [migration.NEWEST]


async def test_the_migrations_make_the_tables_that_are_used(url, shared):
    await shared()
    opened = Database(url)
    try:
        async with opened.reading() as connection:
            found = await connection.run_sync(_described)
    finally:
        await opened.close()
    tables = [table for table in METADATA.tables.values() if table not in SQLITE_ALONE or opened.is_sqlite]
    assert found == {
        table.name: (
            {column.name: column.nullable for column in table.columns},
            {index.name: [column.name for column in index.columns] for index in table.indexes},
        )
        for table in tables
    }


def _described(connection):
    seen = inspect(connection)
    return {
        table: (
            {column["name"]: column["nullable"] for column in seen.get_columns(table)},
            {index["name"]: index["column_names"] for index in seen.get_indexes(table)},
        )
        for table in seen.get_table_names()
        if table != "alembic_version"
    }


async def test_several_that_start_at_once_migrate_once(url):
    stores = [SqlStore(url) for _ in range(6)]
    await asyncio.gather(*(store.start() for store in stores))
    await stores[0].put_predictor(record())
    assert [await store.get_predictor("p") for store in stores] == [record()] * 6
    await asyncio.gather(*(store.stop() for store in stores))


async def test_a_database_of_a_newer_version_is_refused(url, shared):
    await shared()
    opened = Database(url)
    async with opened.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await opened.close()
    store = SqlStore(url)
    with pytest.raises(SettingsInvalid, match=r"newer version of Stepscope: it is at 9999, .* knows 0"):
        await store.start()
    await store.stop()


@pytest.mark.parametrize("bad", ["", "mysql://a:secret@b/c", "store.sqlite", "http://secret", "postgresql+asyncpg://a"])
def test_another_address_is_refused_without_repeating_it(bad):
    with pytest.raises(SettingsInvalid) as error:
        address(bad)
    assert "secret" not in str(error.value)


async def test_a_database_that_is_not_there_is_told_without_its_password(tmp_path):
    (tmp_path / "file").write_text("no database, and longer than the header of one " * 10)
    folder = tmp_path / "folder"
    folder.mkdir()
    for url in ("postgresql://ada:secret@127.0.0.1:1/x", f"sqlite:{tmp_path}/file", f"sqlite:{folder}"):
        store = SqlStore(url)
        with pytest.raises(SettingsInvalid, match=r"can't be used: .+") as error:
            await store.start()
        await store.stop()
        assert "secret" not in str(error.value)


async def test_what_one_removes_others_are_told(shared):
    one, other = await shared(), await shared()
    for key in ("a", "b", "c"):
        await one.put_predictor(record(key))
    async with aclosing(other.changes()) as changes:
        assert await anext(changes) is None
        await one.touch_predictor("a", NOW + timedelta(seconds=1))
        await one.remove_predictor("a")
        started = time.monotonic()
        assert await asyncio.wait_for(anext(changes), 5) == {"a"}
        assert time.monotonic() - started < 1
        await one.remove_predictor("b")
        await one.remove_predictor("c")
        told = await asyncio.wait_for(anext(changes), 5)
        if told == {"b"}:
            told |= await asyncio.wait_for(anext(changes), 5)
        assert told == {"b", "c"}


async def test_removals_between_two_looks_are_told(shared):
    """Whoever watches is away for a while: nothing that happens meanwhile is lost."""
    one, other = await shared(), await shared()
    for number in range(50):
        await one.put_predictor(record(str(number)))
    async with aclosing(other.changes()) as changes:
        assert await anext(changes) is None
        told = set()
        for number in range(50):
            await one.remove_predictor(str(number))
            if number % 10 == 0:
                told |= await asyncio.wait_for(anext(changes), 5)
        while len(told) < 50:
            told |= await asyncio.wait_for(anext(changes), 5)


async def test_a_locked_database_is_unavailable_for_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    url = f"sqlite:{tmp_path / 'store.sqlite'}"
    one, holder = SqlStore(url), Database(url)
    await one.start()
    await one.put_predictor(record())
    async with holder.writing():
        with pytest.raises(StoreUnavailable):
            await one.put_predictor(record("q"))
        assert await one.get_predictor("p") == record()  # readers go on
    await one.put_predictor(record("q"))
    await holder.close()
    await one.stop()
