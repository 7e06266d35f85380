"""What every store does alike."""

import asyncio
from datetime import timedelta

from tests.store.conftest import NOW, record


async def test_a_record_comes_back_as_it_was_put(store):
    await store.put_predictor(record())
    assert await store.get_predictor("p") == record()


async def test_a_second_put_replaces_the_first(store):
    await store.put_predictor(record())
    await store.put_predictor(record(lease_s=5))
    assert await store.get_predictor("p") == record(lease_s=5)


async def test_what_was_never_put_is_not_there(store):
    for odd in ("q", "", "a" * 10_000, "nul\x00", "\ud800", "%", "' OR 1=1"):
        assert await store.get_predictor(odd) is None
        await store.touch_predictor(odd, NOW)
        assert await store.remove_predictor(odd) is None


async def test_a_use_moves_the_end_of_the_lease_and_never_back(store):
    await store.put_predictor(record())
    later = NOW + timedelta(seconds=50)
    await store.touch_predictor("p", later)
    await store.touch_predictor("p", later - timedelta(seconds=10))
    found = await store.get_predictor("p")
    assert found == record(used_at=later)
    await asyncio.sleep(0.1)  # a store that writes uses behind has written it by now
    assert await store.purge_predictors(NOW + timedelta(seconds=100)) == []
    assert list(await store.purge_predictors(NOW + timedelta(seconds=111))) == ["p"]


async def test_a_use_of_a_record_that_is_gone_does_not_bring_it_back(store):
    await store.put_predictor(record())
    await store.remove_predictor("p")
    await store.touch_predictor("p", NOW + timedelta(seconds=1))
    await asyncio.sleep(0.05)
    assert await store.get_predictor("p") is None


async def test_of_two_who_remove_one_gets_the_record(store):
    await store.put_predictor(record())
    removed = await asyncio.gather(*(store.remove_predictor("p") for _ in range(8)))
    assert [each for each in removed if each is not None] == [record()]
    assert await store.get_predictor("p") is None


async def test_a_purge_takes_what_ended_before(store, clock):
    for seconds in range(5):
        await store.put_predictor(record(str(seconds), lease_s=1.0 + seconds))
    assert sorted(await store.purge_predictors(NOW + timedelta(seconds=3))) == ["0", "1"]
    assert await store.get_predictor("1") is None
    assert await store.get_predictor("2") is not None


async def test_a_lapsed_record_is_still_told(store, clock):
    await store.put_predictor(record(lease_s=1))
    clock.now += timedelta(seconds=2)
    assert await store.get_predictor("p") == record(lease_s=1)


async def test_many_at_once(store):
    await asyncio.gather(*(store.put_predictor(record(str(n))) for n in range(100)))
    await asyncio.gather(*(store.touch_predictor(str(n), NOW + timedelta(seconds=n)) for n in range(100)))
    found = await asyncio.gather(*(store.get_predictor(str(n)) for n in range(100)))
    assert found == [record(str(n), used_at=NOW + timedelta(seconds=n)) for n in range(100)]
