"""The engine's one door, over the echo runtime: leases, deadlines, admission, sharing, reset, close."""

import asyncio
from datetime import timedelta

import numpy as np
import pytest

from stepscope.core.admission import AdmissionLimits
from stepscope.core.errors import (
    DeadlineExceeded,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    PredictorExpired,
    PredictorNotFound,
    ShuttingDown,
    TooManyInputs,
)
from stepscope.core.predictions import ImageInput, ModelRef, Options, Prediction, TensorInput, UrlInput
from stepscope.engine import predictors as predictors_module
from stepscope.engine.catalog import Catalog
from stepscope.engine.engine import Engine, EngineLimits
from stepscope.engine.models import Models
from stepscope.engine.pipeline import Pipeline
from stepscope.engine.plans import Plans
from stepscope.engine.predictors import Predictors
from stepscope.runtimes.echo import EchoRuntime
from stepscope.store.memory import MemoryStore


class Loading(EchoRuntime):
    """The echo runtime, with what it loaded."""

    def __init__(self):
        self.loaded = []

    def load(self, manifest, device):
        self.loaded.append(super().load(manifest, device))
        return self.loaded[-1]


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = predictors_module.utc_now()

    def __call__(self):
        return self.now


class NoWay:
    """Fetches nothing."""

    async def fetch(self, url, *, owner=""):
        raise AssertionError("no test here fetches")


def write(folder, name, **attributes):
    path = folder / name / "1.0.0" / "manifest.yaml"
    path.parent.mkdir(parents=True)
    shown = "".join(f"  {key}: '{value}'\n" for key, value in attributes.items())
    path.write_text(
        f"name: {name}\nversion: 1.0.0\nframework: {{name: Echo, version: '1'}}\n"
        "inputs: [{type: raw, parameters: {element_type: float32}}]\noutput: {type: raw}\n"
        f"attributes:\n  kind: test\n{shown}"
    )


@pytest.fixture
def runtime():
    return Loading()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def engine(tmp_path, runtime, clock):
    write(tmp_path, "echo", size_bytes=100)
    write(tmp_path, "slow", delay_s=0.1)
    write(tmp_path, "picky", fail="negative")
    catalog = Catalog([tmp_path], [("Echo", "1.0.0")])
    catalog.scan()

    async def found(manifest):
        return manifest

    engine = Engine(
        catalog=catalog,
        runtime=runtime,
        predictors=Predictors(MemoryStore(), 60, clock),
        models=Models(runtime, found, lambda device: 2**30),
        plans=Plans(catalog, found),
        pipeline=Pipeline(NoWay(), workers=2),
        limits=EngineLimits(admission=AdmissionLimits(in_flight=100, per_owner=50), batch_size=4),
    )
    await engine.start()
    yield engine
    await engine.stop()


def tensors(*values):
    return [TensorInput(id=str(n), array=np.asarray([value], np.float32)) for n, value in enumerate(values)]


async def opened(engine, name="echo", owner="ada", **options):
    record, _ = await engine.open(ModelRef(name=name), Options(**options), owner)
    return record


async def outputs(engine, record, *values, **options):
    prediction = await engine.predict(record, tensors(*values), Options(**options), keep_outputs=True)
    return [answer.error.code if answer.error else float(answer.outputs[0][0]) for answer in prediction.answers]


async def test_answers_come_in_the_order_of_their_inputs(engine):
    values = list(range(50))
    assert await outputs(engine, await opened(engine), *values) == values


async def test_many_callers_at_once_each_get_their_own(engine):
    records = [await opened(engine, owner=f"o{n}", batch_size=n % 4 + 1) for n in range(4)]
    jobs = [outputs(engine, records[n % 4], n, n + 0.5) for n in range(40)]
    assert await asyncio.gather(*jobs) == [[n, n + 0.5] for n in range(40)]


async def test_a_bad_input_has_its_own_error(engine):
    assert await outputs(engine, await opened(engine, "picky"), 1, -2, 3) == [1, "prediction_failed", 3]


async def test_images_for_a_model_of_tensors_are_told_apart(engine):
    record = await opened(engine)
    prediction = await engine.predict(record, [ImageInput(id="i", data="AAAA")], Options())
    assert prediction.answers[0].error.code == "tensor_invalid"


async def test_an_empty_url_fails_alone(engine):
    prediction = await engine.predict(await opened(engine), [UrlInput(id="u", url=" ")], Options())
    assert prediction.answers[0].error.code == "input_empty"


async def test_predictors_share_a_model_and_the_last_close_frees_it(engine, runtime):
    one, two = await opened(engine), await opened(engine)
    assert len(runtime.loaded) == 1
    assert (await engine.close(one.id, "ada")).freed_bytes == 0
    assert (await engine.close(two.id, "ada")).freed_bytes == 100
    with pytest.raises(PredictorNotFound):
        await engine.close(two.id, "ada")


def running(engine):
    return [choice.way for each in engine.running() for choice in each.execution.choices]


async def test_a_predictor_keeps_the_way_that_was_opened(engine, runtime):
    plain, frozen = await opened(engine), await opened(engine, way="frozen")
    assert running(engine) == ["eager", "frozen"]
    assert await outputs(engine, frozen, 1, 2) == [1, 2]
    assert await outputs(engine, frozen, 3, way="channels_last") == [3]
    assert [sum(model.batches) for model in runtime.loaded] == [0, 3]
    await engine.reset(frozen.id, "ada")
    assert await outputs(engine, frozen, 4) == [4]
    assert running(engine) == ["eager", "frozen"]
    assert (await engine.close(frozen.id, "ada")).freed_bytes == 100
    assert running(engine) == ["eager"]
    assert await outputs(engine, plain, 5) == [5]


async def test_a_dropped_model_comes_back_in_its_way(engine, runtime):
    record = await opened(engine, way="frozen")
    await engine._models.close()
    assert running(engine) == []
    assert await outputs(engine, record, 1) == [1]
    assert running(engine) == ["frozen"]
    assert [model.closed for model in runtime.loaded] == [True, False]


async def test_a_callers_way_goes_before_the_manifests(engine, tmp_path):
    manifest = tmp_path / "pinned" / "1.0.0" / "manifest.yaml"
    write(tmp_path, "pinned")
    manifest.write_text(manifest.read_text() + "execution: {way: frozen}\n")
    engine.catalog.scan()
    for way in (None, "frozen", "eager"):
        await opened(engine, "pinned", way=way)
    assert running(engine) == ["eager", "frozen"]
    await opened(engine, "pinned", way="")
    assert [each.execution.origin for each in engine.running()] == ["default", "pinned", "pinned"]


async def test_a_way_that_fails_leaves_nothing(engine, tmp_path):
    write(tmp_path, "unable", fail="load")
    engine.catalog.scan()
    with pytest.raises(ModelUnavailable):
        await opened(engine, "unable", way="frozen")
    assert running(engine) == []


async def test_a_persistent_model_stays_loaded(engine, runtime):
    record = await opened(engine, persist=True)
    assert (await engine.close(record.id, "ada")).freed_bytes == 0
    await opened(engine)
    assert len(runtime.loaded) == 1


async def test_an_owner_sees_only_its_own(engine):
    record = await opened(engine)
    with pytest.raises(PredictorNotFound):
        await engine.use(record.id, "bob")
    with pytest.raises(PredictorNotFound):
        await engine.close(record.id, "bob")


async def test_the_lease_runs_out_without_use(engine, clock):
    record = await opened(engine)
    clock.now += timedelta(seconds=59)
    await engine.use(record.id, "ada")
    clock.now += timedelta(seconds=59)
    await engine.use(record.id, "ada")
    clock.now += timedelta(seconds=60)
    with pytest.raises(PredictorExpired):
        await engine.use(record.id, "ada")


async def test_the_sweep_gives_back_what_expired(engine, clock, runtime):
    record = await opened(engine)
    clock.now += timedelta(seconds=61)
    await engine.sweep()
    assert runtime.loaded[0].closed
    with pytest.raises(PredictorExpired):
        await engine.use(record.id, "ada")
    clock.now += timedelta(hours=2)
    await engine.sweep()
    with pytest.raises(PredictorNotFound):
        await engine.use(record.id, "ada")


async def test_a_deadline_tells_what_was_done(engine):
    record = await opened(engine, "slow", batch_size=1)
    with pytest.raises(DeadlineExceeded) as late:
        await engine.predict(record, tensors(*range(50)), Options(timeout_s=0.35))
    assert isinstance(late.value.partial, Prediction)
    answers = late.value.partial.answers
    assert len(answers) == 50
    assert {answer.error.code for answer in answers if answer.error} == {"input_cancelled"}
    assert late.value.total == 50


async def test_what_missed_its_deadline_never_reaches_the_device(engine, runtime):
    record = await opened(engine, "slow", batch_size=1)
    with pytest.raises(DeadlineExceeded):
        await engine.predict(record, tensors(*range(20)), Options(timeout_s=0.15))
    await asyncio.sleep(0.3)
    assert sum(runtime.loaded[0].batches) <= 3


async def test_too_many_inputs_are_refused_and_nothing_is_kept(engine):
    record = await opened(engine)
    with pytest.raises(TooManyInputs, match="101 inputs, and 50"):
        await engine.predict(record, tensors(*range(101)), Options())
    engine.admission.enter("others", 50)
    engine.admission.enter("more", 10)
    with pytest.raises(Overloaded):
        await engine.predict(record, tensors(*range(41)), Options())
    engine.admission.leave("others", 50)
    engine.admission.leave("more", 10)
    assert engine.admission.total == 0
    assert await outputs(engine, record, 1) == [1]


async def test_the_owners_options_hold_unless_a_request_sets_its_own(engine, runtime):
    record = await opened(engine, batch_size=2)
    await outputs(engine, record, *range(10))
    assert max(runtime.loaded[0].batches) <= 2
    await outputs(engine, record, *range(10), batch_size=1)
    assert runtime.loaded[0].batches[-10:] == [1] * 10


async def test_reset_keeps_the_predictor(engine):
    record = await opened(engine)
    await outputs(engine, record, 1)
    await engine.reset(record.id, "ada")
    assert await outputs(engine, record, 2) == [2]


async def test_a_failed_open_leaves_nothing(engine):
    with pytest.raises(ModelNotFound):
        await opened(engine, "nothing")


async def test_a_draining_engine_takes_nothing_new_and_finishes_what_it_has(engine):
    record = await opened(engine, "slow")
    under_way = asyncio.ensure_future(outputs(engine, record, 5))
    await asyncio.sleep(0.03)
    engine.drain()
    assert not engine.ready
    with pytest.raises(ShuttingDown):
        await engine.use(record.id, "ada")
    assert await under_way == [5]
