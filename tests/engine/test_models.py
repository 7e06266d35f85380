"""Loaded models: one load for many, leases hold, the least recently used goes first, the last user frees."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from stepscope.core.errors import ModelUnavailable
from stepscope.core.manifests import InputSpec, Manifest, OutputSpec, TensorSpec
from stepscope.core.predictions import DeviceRef, FeatureType
from stepscope.engine.models import Models
from stepscope.runtimes.echo import EchoRuntime

CPU = DeviceRef()


class Counting(EchoRuntime):
    """The echo runtime, with what it loaded."""

    def __init__(self):
        self.loaded = []

    def load(self, manifest, device):
        model = super().load(manifest, device)
        self.loaded.append(model)
        return model


async def as_it_is(manifest):
    await asyncio.sleep(0.01)
    return manifest


def model(name, size=100, **attributes):
    return Manifest(
        name=name,
        version="1.0.0",
        framework_name="Echo",
        framework_version="*",
        inputs=(InputSpec(type="raw", spec=TensorSpec()),),
        output=OutputSpec(type="raw", feature_type=FeatureType.RAW),
        attributes={"size_bytes": str(size), **attributes},
    )


@pytest.fixture
def runtime():
    return Counting()


@pytest.fixture
def models(runtime):
    return Models(runtime, as_it_is, lambda device: 250)


async def use(models, manifest, user=""):
    async with models.lease(manifest, CPU, user) as loaded:
        return loaded


async def test_a_hundred_callers_load_once(models, runtime):
    found = await asyncio.gather(*[use(models, model("a")) for _ in range(100)])
    assert len(runtime.loaded) == 1
    assert set(map(id, found)) == {id(runtime.loaded[0])}


async def test_each_pinned_way_has_a_model_of_its_own(models, runtime):
    plain, frozen = model("a"), model("a").pinned("frozen")
    found = [await use(models, manifest) for manifest in (plain, frozen, plain, frozen)]
    assert len(runtime.loaded) == 2
    assert (found[0], found[1]) == (found[2], found[3])
    assert [loaded.execution.origin for loaded in runtime.loaded] == ["default", "pinned"]
    assert await use(models, frozen.pinned(None)) is found[1]
    assert await use(models, frozen.pinned("")) is found[0]


async def test_what_is_loaded_is_listed_in_order(models):
    assert models.running() == []
    for manifest in (model("b", 1), model("a", 1).pinned("frozen"), model("a", 1).pinned("channels_last")):
        await use(models, manifest)
    listed = models.running()
    assert [(each.name, each.version, each.device) for each in listed] == [(name, "1.0.0", CPU) for name in "aab"]
    assert [each.execution.choices[0].way for each in listed] == ["channels_last", "frozen", "eager"]


async def test_what_is_loading_or_failed_is_not_listed(models):
    loading = asyncio.ensure_future(use(models, model("a")))
    failing = asyncio.ensure_future(use(models, model("b", fail="load")))
    await asyncio.sleep(0)
    assert models.running() == []
    with pytest.raises(ModelUnavailable):
        await failing
    await loading
    assert [each.name for each in models.running()] == ["a"]


async def test_the_least_recently_used_goes_when_memory_is_needed(models, runtime):
    await use(models, model("a"))
    await use(models, model("b"))
    await use(models, model("a"))
    await use(models, model("c"))
    a, b, c = runtime.loaded
    assert (a.closed, b.closed, c.closed) == (False, True, False)
    await use(models, model("b"))
    assert len(runtime.loaded) == 4
    assert models.loaded_bytes(CPU) <= 250


async def test_a_lent_model_stays(models, runtime):
    async with models.lease(model("a"), CPU), models.lease(model("b"), CPU):
        await use(models, model("c"))
        assert not runtime.loaded[0].closed
        assert not runtime.loaded[1].closed


async def test_the_last_user_frees(models, runtime):
    await use(models, model("a"), "one")
    await use(models, model("a"), "two")
    assert await models.leave("one") == 0
    assert await models.leave("two") == 100
    assert runtime.loaded[0].closed


async def test_a_model_dropped_while_lent_closes_after(models, runtime):
    async with models.lease(model("a"), CPU, "one"):
        await models.leave("one")
        assert not runtime.loaded[0].closed
    assert runtime.loaded[0].closed


async def test_a_kept_model_stays_until_it_is_forced(models, runtime):
    await use(models, model("a"), "one")
    models.keep(model("a"), CPU)
    assert await models.leave("one") == 0
    await use(models, model("a"), "two")
    assert len(runtime.loaded) == 1
    assert await models.leave("two", force=True) == 100


async def test_a_failed_load_is_tried_again(models, runtime):
    broken = model("a", fail="load")
    with pytest.raises(ModelUnavailable):
        await use(models, broken)
    assert await use(models, replace(broken, attributes={})) is runtime.loaded[0]


async def test_a_failed_load_fails_all_who_wait(models):
    results = await asyncio.gather(*[use(models, model("a", fail="load")) for _ in range(5)], return_exceptions=True)
    assert all(isinstance(result, ModelUnavailable) for result in results)


async def test_a_model_larger_than_memory_is_refused_and_others_stay(models, runtime):
    await use(models, model("a"))
    with pytest.raises(ModelUnavailable, match="251 bytes"):
        await use(models, model("giant", size=251))
    assert not runtime.loaded[0].closed


async def test_a_caller_who_gives_up_doesnt_take_the_load_along(models, runtime):
    first = asyncio.ensure_future(use(models, model("a")))
    second = asyncio.ensure_future(use(models, model("a")))
    await asyncio.sleep(0)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert await second is runtime.loaded[0]


async def test_close_drops_everything(models, runtime):
    await use(models, model("a"))
    await use(models, model("b"))
    await models.close()
    assert all(loaded.closed for loaded in runtime.loaded)


async def test_a_model_without_weights_is_closed_too(models, runtime):
    await use(models, model("a", size=0), "one")
    assert await models.leave("one") == 0
    assert runtime.loaded[0].closed
