"""The device's thread: each input gets its own answer, bad ones fail alone, cancelled ones never run."""

import asyncio
import random
import threading

import numpy as np
import pytest

from stepscope.core.errors import InputFailed, PredictionFailed
from stepscope.core.manifests import InputSpec, Manifest, OutputSpec, TensorSpec
from stepscope.core.predictions import FeatureType
from stepscope.engine.device import Device
from stepscope.runtimes.echo import EchoModel


def echo(**attributes):
    manifest = Manifest(
        name="echo",
        version="1.0.0",
        framework_name="Echo",
        framework_version="*",
        inputs=(InputSpec(type="raw", spec=TensorSpec()),),
        output=OutputSpec(type="raw", feature_type=FeatureType.RAW),
        attributes={key: str(value) for key, value in attributes.items()},
    )
    return EchoModel(manifest)


@pytest.fixture
async def device():
    device = Device("test")
    device.start()
    yield device
    await asyncio.to_thread(device.stop)


async def ask(device, model, values, *, owner="a", cap=8):
    run = device.submit(model, [(np.asarray([value], np.float32),) for value in values], owner=owner, cap=cap)
    await run.future
    return [o if isinstance(o, InputFailed) else float(o[0][0]) for o in run.outcomes]


@pytest.mark.parametrize("cap", [1, 3, 64])
async def test_thousands_of_callers_each_get_their_own_answer(device, cap):
    model = echo()
    values = [[random.random() for _ in range(random.randint(1, 7))] for _ in range(2000)]
    answers = await asyncio.gather(
        *[ask(device, model, group, owner=str(n % 5), cap=cap) for n, group in enumerate(values)]
    )
    assert answers == [[float(np.float32(value)) for value in group] for group in values]
    assert max(model.batches) <= cap


async def test_what_arrives_while_the_device_is_busy_runs_together(device):
    model = echo(delay_s=0.05)
    await asyncio.gather(*[ask(device, model, [n], cap=8) for n in range(9)])
    assert sum(model.batches) == 9
    assert max(model.batches) == 8


async def test_the_smallest_cap_in_a_batch_holds(device):
    model = echo(delay_s=0.02)
    await asyncio.gather(*[ask(device, model, [n], cap=2 if n % 2 else 8) for n in range(20)])
    assert sum(model.batches) == 20


async def test_a_bad_input_fails_alone(device):
    answers = await ask(device, echo(fail="negative"), [1, -1, 2], cap=8)
    assert answers[0] == 1
    assert isinstance(answers[1], PredictionFailed)
    assert answers[2] == 2


async def test_shapes_dont_mix(device):
    model = echo(delay_s=0.02)
    arrays = [np.zeros((n % 3 + 1,), np.float32) for n in range(12)]
    runs = [device.submit(model, [(array,)], owner="a", cap=8) for array in arrays]
    await asyncio.gather(*[run.future for run in runs])
    assert [run.outcomes[0][0].shape for run in runs] == [array.shape for array in arrays]


async def test_a_cancelled_run_never_reaches_the_model(device):
    model = echo(delay_s=0.05)
    first = asyncio.ensure_future(ask(device, model, [1]))
    await asyncio.sleep(0.01)
    run = device.submit(model, [(np.asarray([2], np.float32),)], owner="a", cap=8)
    run.cancelled = True
    await first
    await ask(device, model, [3])
    assert sum(model.batches) == 2
    assert run.outcomes == [None]


async def test_nothing_to_run_is_done_at_once(device):
    assert await ask(device, echo(), []) == []


async def test_the_thread_ends(device):
    other = Device("ends")
    other.start()
    await ask(other, echo(), [1])
    await asyncio.to_thread(other.stop)
    assert "device-ends" not in [thread.name for thread in threading.enumerate()]
