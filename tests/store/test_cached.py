"""Several processes over one store: what each may believe, and for how long."""

import asyncio
from datetime import timedelta

import pytest

from stepscope.core.errors import StoreUnavailable
from stepscope.store.cached import CachedStore
from stepscope.store.memory import MemoryStore
from stepscope.store.sql import SqlStore
from tests.store.conftest import NOW, record


class Shared(MemoryStore):
    """A store in memory that counts what it is asked, can be away, and can be held up."""

    def __init__(self):
        super().__init__()
        self.reads = 0
        self.writes = []
        self.away = False
        self.held = asyncio.Event()
        self.held.set()
        self.told: asyncio.Queue[frozenset[str]] = asyncio.Queue()

    async def start(self): ...

    async def stop(self): ...

    async def get_predictor(self, predictor_id):
        self.check()
        self.reads += 1
        record = await super().get_predictor(predictor_id)
        await self.held.wait()
        return record

    async def touch_predictors(self, uses):
        self.check()
        self.writes.append(dict(uses))
        for key, now in uses.items():
            await super().touch_predictor(key, now)

    async def changes(self):
        self.check()
        yield None
        while True:
            told = await self.told.get()
            self.check()
            yield told

    def check(self):
        if self.away:
            raise StoreUnavailable

    async def fail(self):
        self.away = True
        self.told.put_nowait(frozenset())
        await asyncio.sleep(0.01)


@pytest.fixture
def below():
    return Shared()


@pytest.fixture
async def store(below, clock):
    store = CachedStore(below, 3600, clock)
    await store.start()
    yield store
    await store.stop()


async def test_a_known_record_is_read_once(store, below):
    await below.put_predictor(record())
    for _ in range(5):
        assert await store.get_predictor("p") == record()
    assert below.reads == 1


async def test_many_who_ask_at_once_share_one_reading(store, below):
    await below.put_predictor(record())
    assert await asyncio.gather(*(store.get_predictor("p") for _ in range(50))) == [record()] * 50
    assert below.reads == 1


async def test_who_gives_up_does_not_take_the_reading_along(store, below):
    await below.put_predictor(record())
    below.held.clear()
    first, second = (asyncio.ensure_future(store.get_predictor("p")) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    below.held.set()
    assert await second == record()


async def test_a_removal_during_a_reading_wins(store, below):
    await below.put_predictor(record())
    below.held.clear()
    reading = asyncio.ensure_future(store.get_predictor("p"))
    await asyncio.sleep(0.01)
    await below.remove_predictor("p")
    below.told.put_nowait(frozenset(["p"]))
    await asyncio.sleep(0.01)
    below.held.set()
    await reading
    assert await store.get_predictor("p") is None


async def test_uses_are_written_once_and_together(store, below):
    for key in "ab":
        await store.put_predictor(record(key))
    for second in range(10):
        await store.touch_predictor("a", NOW + timedelta(seconds=second))
    await store.touch_predictor("b", NOW + timedelta(seconds=1))
    assert below.writes == []
    await store.stop()
    assert below.writes == [{"a": NOW + timedelta(seconds=9), "b": NOW + timedelta(seconds=1)}]


async def test_a_lapsed_record_is_read_again(store, below, clock):
    await store.put_predictor(record())
    await below.touch_predictor("p", NOW + timedelta(seconds=50))  # by another process
    clock.now += timedelta(seconds=70)
    assert await store.get_predictor("p") == record(used_at=NOW + timedelta(seconds=50))


async def test_uses_that_are_not_written_yet_count(store, below):
    await below.put_predictor(record())
    await store.touch_predictor("p", NOW + timedelta(seconds=5))  # before it is known
    assert await store.get_predictor("p") == record(used_at=NOW + timedelta(seconds=5))


async def test_while_the_store_is_away_known_records_serve_on(store, below, clock):
    await store.put_predictor(record())
    await below.fail()
    assert not store.available
    assert await store.get_predictor("p") == record()
    await store.touch_predictor("p", NOW + timedelta(seconds=3))
    for refused in (
        store.get_predictor("q"),
        store.put_predictor(record("q")),
        store.remove_predictor("p"),
        store.purge_predictors(NOW),
    ):
        with pytest.raises(StoreUnavailable):
            await refused
    clock.now += timedelta(seconds=3 + 61)
    with pytest.raises(StoreUnavailable):  # somebody else may have used it: neither yes nor no
        await store.get_predictor("p")


async def test_after_the_store_comes_back_everything_is_read_again(store, below):
    for key in "pq":
        await store.put_predictor(record(key))
    await store.touch_predictor("q", NOW + timedelta(seconds=3))
    await below.fail()
    await below.remove_predictor("p")  # nobody was told
    below.away = False
    await asyncio.sleep(0.7)
    assert store.available
    assert await store.get_predictor("p") is None
    assert await store.get_predictor("q") == record("q", used_at=NOW + timedelta(seconds=3))


async def test_uses_during_an_outage_are_written_after_it(store, below):
    await store.put_predictor(record())
    await below.fail()
    await store.touch_predictor("p", NOW + timedelta(seconds=3))
    below.away = False
    await asyncio.sleep(0.7)
    await store.stop()
    assert below.writes == [{"p": NOW + timedelta(seconds=3)}]


async def test_only_what_others_remove_is_told(store, below):
    told: list[str] = []
    store.removed = told.append
    for key in "ab":
        await store.put_predictor(record(key))
    await store.remove_predictor("a")
    below.told.put_nowait(frozenset(["a", "b"]))
    await asyncio.sleep(0.01)
    assert told == ["b"]


async def test_a_close_elsewhere_is_seen_soon(cached):
    one, other = await cached(), await cached()
    told: list[str] = []
    other.removed = told.append
    await one.put_predictor(record())
    assert await other.get_predictor("p") == record()
    await one.remove_predictor("p")
    await until(lambda: told == ["p"], 1.0)
    assert await other.get_predictor("p") is None


async def test_a_use_elsewhere_keeps_the_lease(cached, clock):
    one, other = await cached(flush_s=0.01), await cached()
    await one.put_predictor(record())
    assert await other.get_predictor("p") == record()
    later = NOW + timedelta(seconds=50)
    await one.touch_predictor("p", later)
    await asyncio.sleep(0.2)
    clock.now += timedelta(seconds=70)
    assert await other.get_predictor("p") == record(used_at=later)


async def test_what_was_written_is_there_after_a_restart(cached):
    one = await cached()
    await one.put_predictor(record())
    await one.touch_predictor("p", NOW + timedelta(seconds=5))
    await one.stop()
    assert await (await cached()).get_predictor("p") == record(used_at=NOW + timedelta(seconds=5))


async def test_a_database_that_stops_and_starts_again(own_postgresql, clock):
    store = CachedStore(SqlStore(own_postgresql.new()), 0.01, clock)
    await store.start()
    await store.put_predictor(record())
    own_postgresql.stop()
    await until(lambda: not store.available, 5)
    assert await store.get_predictor("p") == record()
    with pytest.raises(StoreUnavailable):
        await store.put_predictor(record("q"))
    own_postgresql.start()
    await until(lambda: store.available, 10)
    await store.put_predictor(record("q"))
    assert await store.get_predictor("p") == record()
    await store.stop()


async def until(condition, limit_s):
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
