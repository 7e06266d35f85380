"""Traced runs answer what plain ones do, and note their layers and operators in order, each within what holds it."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.models import resnet50
from stepscope.core.manifests import OutputSpec
from stepscope.core.predictions import FeatureType, TraceLevel
from stepscope.core.recording import SETUP, BatchRecord, Recorder
from stepscope.core.trace_summary import CATEGORY, FLOPS, KERNEL, LAYER_INDEX, LAYER_TYPE, OUTPUT_SHAPE
from stepscope.core.tuning import Execution
from stepscope.runtimes.counters import Counters
from stepscope.runtimes.torch.batches import ANY_BATCH
from stepscope.runtimes.torch.loaded import TorchModel
from stepscope.runtimes.torch.tune import Tuned

CPU = torch.device("cpu")
OUTPUT = OutputSpec(type="classification", feature_type=FeatureType.CLASSIFICATION)
DEEP = [level for level in TraceLevel if level >= TraceLevel.FRAMEWORK_TRACE]


class Residual(nn.Module):
    """Modules and functions mixed, one module used twice, one without effect."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.act = nn.ReLU()
        self.same = nn.Identity()
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.body(x)) + self.same(x)
        answer: torch.Tensor = self.head(self.act(y).mean((2, 3)))
        return answer


def made(module: nn.Module, device: torch.device = CPU) -> TorchModel:
    module = module.eval().requires_grad_(False).to(device)
    return TorchModel(module, ANY_BATCH, device, OUTPUT, Execution(), lambda: module)


def traced(model: TorchModel, batch, level: TraceLevel) -> tuple[list, BatchRecord]:
    record = BatchRecord(len(batch), [Recorder(("1" * 32, "2" * 16, ""), level, "me", 0.0)])
    answers = model.trace(batch, record)
    return list(answers), record


def rows(*shape: int, count: int = 2) -> list[tuple[np.ndarray]]:
    random = np.random.default_rng(7)
    return [(random.standard_normal(shape).astype(np.float32),) for _ in range(count)]


def layers_of(record: BatchRecord) -> list:
    return [mark for mark in record.marks if LAYER_TYPE in mark[5]]


@pytest.mark.parametrize("level", [level for level in TraceLevel if level])
def test_a_traced_run_answers_as_a_plain_one(level):
    model, batch = made(Residual()), rows(1, 8, 8)
    plain = model.predict(batch)
    answers, _ = traced(model, batch, level)
    for given, wanted in zip(answers, plain, strict=True):
        np.testing.assert_allclose(np.asarray(given[0], float), np.asarray(wanted[0], float), rtol=1e-5)


@pytest.mark.parametrize("level", DEEP)
def test_layers_come_in_order_with_their_facts(level):
    _, record = traced(made(Residual()), rows(1, 8, 8), level)
    layers = layers_of(record)
    assert [mark[0] for mark in layers] == ["body.0", "body.1", "act", "add", "act", "mean", "head"]
    assert [mark[5][LAYER_INDEX] for mark in layers] == [str(place) for place in range(7)]
    types = [mark[5][LAYER_TYPE] for mark in layers]
    assert types == ["Conv2d", "BatchNorm2d", "ReLU", "add", "ReLU", "mean", "Linear"]
    first = layers[0][5]
    assert (first["input_shape"], first[OUTPUT_SHAPE], first["dtype"]) == ("2x1x8x8", "2x4x8x8", "float32")
    assert first["memory_allocated_bytes"] == 2 * 4 * 64 * 4
    assert first[FLOPS] == 2 * (2 * 4 * 64) * 9
    assert layers[-1][5][FLOPS] == 2 * (2 * 3) * 4


@pytest.mark.parametrize("level", [level for level in TraceLevel if level])
def test_marks_are_as_deep_as_asked_and_lie_within_what_holds_them(level):
    _, record = traced(made(Residual()), rows(1, 8, 8), level)
    assert all(mark[1] <= level for mark in record.marks)
    assert bool(layers_of(record)) == (level >= TraceLevel.FRAMEWORK_TRACE)
    assert any(mark[0] == "aten::conv2d" for mark in record.marks) == (level >= TraceLevel.ML_LIBRARY_TRACE)
    assert bool(record.samples) == (level >= TraceLevel.HARDWARE_TRACE)
    for name, _, started, ended, parent, _ in record.marks:
        assert started <= ended
        if parent >= 0:
            above = record.marks[parent]
            assert above[2] - 5e-5 <= started, (name, above[0])
            assert ended <= above[3] + 5e-5, (name, above[0])
        elif parent == -1:
            assert record.started <= started
            assert ended <= record.ended


def test_operators_lie_under_their_layers():
    _, record = traced(made(Residual()), rows(1, 8, 8), TraceLevel.SYSTEM_LIBRARY_TRACE)
    above = {mark[0]: record.marks[mark[4]][0] for mark in record.marks if mark[1] == TraceLevel.ML_LIBRARY_TRACE}
    assert above["aten::conv2d"] == "body.0"
    assert above["aten::batch_norm"] == "body.1"
    assert above["aten::linear"] == "head"
    inner = [mark for mark in record.marks if mark[0] == "aten::addmm"]
    assert record.marks[inner[0][4]][0] == "aten::linear"


def test_getting_ready_lies_outside_of_the_batch():
    _, record = traced(made(Residual()), rows(1, 8, 8), TraceLevel.FULL_TRACE)
    setup = [mark for mark in record.marks if mark[4] == SETUP]
    assert [mark[0] for mark in setup] == [
        *("load_eager", "warm_up", "leveled_run", "leveled_run", "profiler_start", "profiler_stop")
    ]
    assert all(mark[3] <= record.started or mark[2] >= record.ended for mark in setup)


def test_only_the_first_deep_trace_loads_and_warms_up():
    model = made(Residual())
    traced(model, rows(1, 8, 8), TraceLevel.FRAMEWORK_TRACE)
    _, again = traced(model, rows(1, 8, 8), TraceLevel.FRAMEWORK_TRACE)
    assert not [mark for mark in again.marks if mark[4] == SETUP]


def test_what_ran_is_told():
    model = made(Residual())
    model.adopt(Tuned(execution=Execution()), None)
    _, call = traced(model, rows(1, 8, 8), TraceLevel.MODEL_TRACE)
    assert [mark[0] for mark in call.marks] == ["copy_in", "run", "copy_out"]
    assert call.tags["execution"] == "eager"
    _, deep = traced(model, rows(1, 8, 8), TraceLevel.FRAMEWORK_TRACE)
    assert (deep.tags["execution"], deep.tags["tuned_execution"]) == ("eager", "eager")
    assert float(deep.tags["peak_flops_per_s"]) > 0


def test_a_model_that_cant_be_loaded_again_is_traced_as_one_call():
    def gone() -> nn.Module:
        raise FileNotFoundError("its file was removed")

    model = TorchModel(Residual().eval().requires_grad_(False), ANY_BATCH, CPU, OUTPUT, Execution(), gone)
    answers, record = traced(model, rows(1, 8, 8), TraceLevel.FRAMEWORK_TRACE)
    assert len(answers) == 2
    assert record.tags["layers"] == "unavailable"
    assert "run" in [mark[0] for mark in record.marks]


def test_an_exported_program_shows_its_functions():
    module = Residual().eval().requires_grad_(False)
    batch = rows(1, 8, 8)
    example = (torch.zeros(2, 1, 8, 8),)
    _, record = traced(made_of(torch.export.export(module, example).module()), batch, TraceLevel.FRAMEWORK_TRACE)
    types = [mark[5][LAYER_TYPE] for mark in layers_of(record)]
    assert types == ["conv2d", "batch_norm", "relu", "add", "relu", "mean", "linear"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_script_is_one_layer():
    script = torch.jit.trace(Residual().eval(), torch.zeros(2, 1, 8, 8))
    _, record = traced(made_of(script), rows(1, 8, 8), TraceLevel.FRAMEWORK_TRACE)
    assert len(layers_of(record)) == 1


def made_of(module) -> TorchModel:
    return TorchModel(module, ANY_BATCH, CPU, OUTPUT, Execution(), lambda: module)


def test_resnet50s_layers_add_up_to_the_run():
    model = made(resnet50.model())
    batch = rows(3, 224, 224, count=1)
    _, record = traced(model, batch, TraceLevel.FRAMEWORK_TRACE)
    layers = layers_of(record)
    assert 160 <= len(layers) <= 180
    assert sum(mark[3] - mark[2] for mark in layers) >= 0.9 * (record.ended - record.started)


def test_a_fault_within_a_layer_leaves_nothing_behind():
    class Failing(Residual):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() < 0:
                self.body(torch.zeros(1))
            return super().forward(x)

    model = made(Failing())
    bad = [(np.full((1, 8, 8), -1, np.float32),)]
    for _ in range(2):
        with pytest.raises(RuntimeError):
            traced(model, bad, TraceLevel.FRAMEWORK_TRACE)
        _, record = traced(model, [(np.ones((1, 8, 8), np.float32),)], TraceLevel.FRAMEWORK_TRACE)
        assert [mark[0] for mark in layers_of(record)][-1] == "head"


def test_counters_are_sampled_over_the_time():
    with Counters() as counters:
        total = sum(number * number for number in range(2_000_000))
    assert total
    assert len(counters.samples) >= 3
    times = [at for at, _ in counters.samples]
    assert times == sorted(times)
    assert all(values["memory.rss_bytes"] > 0 for _, values in counters.samples)
    assert max(values.get("process.cpu_percent", 0) for _, values in counters.samples) > 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_gpu_kernels_lie_under_their_layers():
    device = torch.device("cuda:0")
    model, batch = made(Residual(), device), rows(1, 8, 8)
    traced(model, batch, TraceLevel.FULL_TRACE)
    _, record = traced(model, batch, TraceLevel.FULL_TRACE)
    kernels = [mark for mark in record.marks if mark[5].get(CATEGORY) == KERNEL]
    assert kernels
    within = []
    for kernel in kernels:
        above = kernel
        while above[4] >= 0 and LAYER_TYPE not in above[5]:
            above = record.marks[above[4]]
        if LAYER_TYPE in above[5]:
            within.append(above[0])
            assert above[2] - 1e-4 <= kernel[2] <= kernel[3] <= above[3] + 1e-4
    assert {"body.0", "head"} <= set(within)
    assert any("gpu.utilization_percent" in values for _, values in record.samples)
