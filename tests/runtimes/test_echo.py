import time
from pathlib import Path

import numpy as np
import pytest

from stepscope.core.errors import ModelUnavailable
from stepscope.core.manifests import Manifest, OutputSpec
from stepscope.core.ports import LoadedModel, Runtime
from stepscope.core.predictions import DeviceRef, FeatureType
from stepscope.core.tuning import Execution
from stepscope.runtimes.echo import EchoModel, EchoRuntime


def described(**attributes: str) -> Manifest:
    output = OutputSpec(type="raw", feature_type=FeatureType.RAW)
    return Manifest(
        name="echo",
        version="1.0.0",
        framework_name="Echo",
        framework_version="*",
        inputs=(),
        output=output,
        folder=Path(),
        attributes=attributes,
    )


def load(**attributes: str) -> EchoModel:
    runtime: Runtime = EchoRuntime()
    assert runtime.devices() == [DeviceRef()]
    assert runtime.memory_bytes(DeviceRef()) > 0
    model = EchoRuntime().load(described(**attributes), DeviceRef())
    loaded: LoadedModel = model
    assert loaded.size_bytes == int(attributes.get("size_bytes", 0))
    return model


def test_inputs_come_back() -> None:
    inputs = (np.arange(3), np.ones((2, 2)))
    model = load(size_bytes="10")
    assert model.predict([inputs, inputs]) == [inputs, inputs]
    assert model.batches == [2]


def test_a_pinned_way_is_told_and_changes_nothing() -> None:
    model = EchoRuntime().load(described().pinned("frozen"), DeviceRef())
    assert [choice.way for choice in model.execution.choices] == ["frozen"]
    assert (model.execution.origin, model.execution.note) == ("pinned", "the echo runs alike in every way")
    assert model.predict([(np.ones(1),)]) == [(np.ones(1),)]
    assert load().execution == Execution()


def test_sums_are_of_each_input() -> None:
    outputs = load(echo="sum").predict([(np.array([1, 2]), np.array([3.5])), (np.zeros(4),)])
    assert [output[0].tolist() for output in outputs] == [[6.5], [0.0]]


def test_a_delay_is_for_the_whole_batch() -> None:
    started = time.perf_counter()
    load(delay_s="0.05").predict([(np.zeros(1),)] * 10)
    assert 0.05 <= time.perf_counter() - started < 3


def test_failures_come_where_they_are_asked_for() -> None:
    with pytest.raises(ModelUnavailable):
        load(fail="load")
    with pytest.raises(RuntimeError):
        load(fail="predict").predict([(np.zeros(1),)])
    model = load(fail="negative")
    assert len(model.predict([(np.zeros(1),)])) == 1
    with pytest.raises(RuntimeError):
        model.predict([(np.zeros(1),), (np.array([-1.0]),)])


def test_a_closed_model_does_not_run() -> None:
    model = load()
    model.close()
    with pytest.raises(RuntimeError):
        model.predict([(np.zeros(1),)])
