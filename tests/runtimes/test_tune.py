"""Tuning: whatever is chosen answers as eager fp32 does, and what can't is dropped with its reason."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from stepscope.core.errors import ModelUnavailable
from stepscope.core.manifests import (
    ExecutionSpec,
    ImageSpec,
    InputSpec,
    Manifest,
    ModelFiles,
    OutputSpec,
    TensorSpec,
    WeightsSpec,
)
from stepscope.core.ports import Arrays
from stepscope.core.predictions import DeviceRef, FeatureType
from stepscope.core.tuning import Candidate, Execution, Form, TuningOptions, Verdict
from stepscope.runtimes.torch import TorchRuntime, executions
from stepscope.runtimes.torch.background import Background, Job
from stepscope.runtimes.torch.checks import compare
from stepscope.runtimes.torch.loaded import TorchModel
from stepscope.runtimes.torch.remembered import Remembered

CPU = DeviceRef()
QUICK = TuningOptions(budget_s=5, compile="never", cap=8)
SHAPE = (3, 8, 8)
ARCHITECTURE = """
import torch
from torch import nn
from torch.nn import functional as F

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.head = nn.Linear(4, 5)
    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))

class InPlace(Plain):
    def forward(self, x):
        x.mul_(2).add_(1)
        return super().forward(x)

class Several(Plain):
    def forward(self, x):
        scores = super().forward(x)
        return {"scores": scores, "more": (scores.argmax(1), [x.flatten(1)[:, :2].to(torch.float64)])}

class Identity(Plain):
    def forward(self, x):
        return x, x[:, :1]

class ByValue(Plain):
    def forward(self, x):
        scores = super().forward(x)
        return scores * 100 if x.sum() > 0 else scores

class ByItem(Plain):
    def forward(self, x):
        return super().forward(x) * float(x.max().item())

class ByBatch(Plain):
    def forward(self, x):
        scores = super().forward(x)
        return scores * 100 if len(x) > 1 else scores

class Counting(Plain):
    calls = 0
    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (1 + self.calls % 3)

class Random(Plain):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.5, training=True)

class Lucky(Plain):
    # Only TorchScript would answer wrongly: the tracer sees another branch than everybody else.
    def forward(self, x):
        scores = super().forward(x)
        return scores + 1 if torch._C._get_tracing_state() is not None else scores
"""
RIGHT = ["Plain", "InPlace", "Several", "Identity", "ByValue", "ByItem", "ByBatch"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "architecture.py").write_text(ARCHITECTURE)
    namespace: dict[str, Any] = {}
    exec(ARCHITECTURE, namespace)
    torch.manual_seed(3)
    save_file(namespace["Plain"]().state_dict(), tmp_path / "m.safetensors")
    return tmp_path


def described(folder: Path, name: str = "Plain", **changes: Any) -> Manifest:
    spec = ImageSpec(dimensions=SHAPE, layout="CHW", mean=(127.5,), scale=(127.5,))
    return Manifest(
        name=name.lower(),
        version="1.0.0",
        framework_name="PyTorch",
        framework_version="*",
        inputs=(changes.pop("input", InputSpec(type="image", spec=spec)),),
        output=OutputSpec(type="classification", feature_type=FeatureType.CLASSIFICATION)
        if name not in ("Several", "Identity")
        else OutputSpec(type="raw", feature_type=FeatureType.RAW),
        weights=WeightsSpec(weights_path="m.safetensors", architecture=f"architecture.py:{name}"),
        files=ModelFiles(weights=folder / "m.safetensors", architecture=folder / "architecture.py"),
        folder=folder,
        execution=ExecutionSpec(**changes),
    )


def images(count: int, seed: int = 5) -> list[Arrays]:
    random = np.random.default_rng(seed)
    return [(random.uniform(-1, 1, SHAPE).astype(np.float32),) for _ in range(count)]


def tuned(manifest: Manifest, folder: Path | None = None, options: TuningOptions = QUICK) -> TorchModel:
    model = TorchRuntime(tuning=options, folder=folder).load(manifest, CPU)
    if model.tuning is not None:
        assert model.tuning.wait(60)
    assert isinstance(model, TorchModel)
    return model


def by_way(execution: Execution) -> dict[str, Candidate]:
    return {candidate.way: candidate for candidate in execution.candidates}


def assert_same(one: Sequence[Any], other: Sequence[Any]) -> None:
    assert len(one) == len(other)
    assert compare(one, other, 1e-4).reason == ""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", RIGHT)
def test_a_tuned_model_answers_as_eager_does(folder: Path, name: str) -> None:
    eager, model = TorchRuntime().load(described(folder, name), CPU), tuned(described(folder, name))
    assert not model.execution.tuning
    assert by_way(model.execution)["eager"].speedup(1) == 1.0
    for count in (1, 2, 3, 8, 11):
        assert_same(eager.predict(images(count)), model.predict(images(count)))
    model.close()


@pytest.mark.parametrize("convolution", ["", "dilation=2", "groups=3", "transposed"])
def test_what_plain_products_cannot_do_is_refused(tmp_path: Path, convolution: str) -> None:
    kind = "ConvTranspose2d" if convolution == "transposed" else "Conv2d"
    options = "" if convolution == "transposed" else ", " + convolution
    layer = f"nn.{kind}(3, 3, 3{options})" if convolution else "nn.ReLU()"
    (tmp_path / "architecture.py").write_text(
        f"from torch import nn\n\n\nclass Plain(nn.Sequential):\n"
        f"    def __init__(self):\n        super().__init__({layer}, nn.Flatten())\n"
    )
    namespace: dict[str, Any] = {}
    exec((tmp_path / "architecture.py").read_text(), namespace)
    save_file(namespace["Plain"]().state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(ModelUnavailable, match="plain products"):
        TorchRuntime().load(described(tmp_path, way="native"), CPU)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        (name, way)
        for name in ("Plain", "InPlace", "Several", "Identity")
        for way in ("channels_last", "frozen", "frozen_channels_last", "native")
        if (name, way) != ("Identity", "native")
    ],
)
def test_every_way_answers_as_eager_does(folder: Path, name: str, way: str) -> None:
    eager = TorchRuntime().load(described(folder, name), CPU)
    model = TorchRuntime().load(described(folder, name, way=way), CPU)
    assert [choice.way for choice in model.execution.choices] == [way]
    assert model.execution.origin == "pinned"
    for count in (1, 3, 8):
        batch = images(count)
        before = [array.copy() for (array,) in batch]
        answers = model.predict(batch)
        assert_same(eager.predict(batch), answers)
        assert_same([model.predict([inputs])[0] for inputs in batch], answers)
        assert all(np.array_equal(array, kept) for (array,), kept in zip(batch, before, strict=True))


@pytest.mark.parametrize("name", ["ByValue", "ByItem", "ByBatch"])
def test_a_trace_that_would_be_wrong_is_dropped(folder: Path, name: str) -> None:
    candidate = by_way(tuned(described(folder, name)).execution)["frozen"]
    assert candidate.verdict is Verdict.FAILED
    assert "decisions by the values" in candidate.reason
    with pytest.raises(ModelUnavailable, match="can't run frozen here: its code takes decisions"):
        TorchRuntime().load(described(folder, name, way="frozen"), CPU)


def test_a_wrong_answer_is_dropped_with_its_difference(folder: Path) -> None:
    candidates = by_way(tuned(described(folder, "Lucky")).execution)
    assert candidates["frozen"].verdict is Verdict.WRONG
    assert candidates["frozen"].error is not None
    assert candidates["frozen"].error > 1e-3
    assert "is allowed" in candidates["frozen"].reason
    assert candidates["channels_last"].verdict is not Verdict.WRONG


@pytest.mark.parametrize("name", ["Random", "Counting"])
def test_a_model_whose_answers_change_is_left_alone(folder: Path, name: str) -> None:
    execution = tuned(described(folder, name)).execution
    assert [choice.way for choice in execution.choices] == ["eager"]
    assert execution.note == "its answers differ from run to run"


def test_a_way_that_fails_is_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("/secret/path")

    monkeypatch.setitem(executions._BUILDERS, Form.FROZEN, broken)
    candidate = by_way(tuned(described(folder)).execution)["frozen"]
    assert (candidate.verdict, candidate.reason) == (Verdict.FAILED, "RuntimeError, see the log")


def test_answers_never_share_memory_with_the_buffers(folder: Path) -> None:
    for way in ("", "frozen"):
        model = TorchRuntime().load(described(folder, "Identity", way=way), CPU)
        first = model.predict(images(3, seed=1))
        kept = [[array.copy() for array in outputs] for outputs in first]
        model.predict(images(3, seed=2))
        assert all(
            np.array_equal(a, b) for one, own in zip(first, kept, strict=True) for a, b in zip(one, own, strict=True)
        )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 1000))
def test_batches_are_never_mixed_up(tuned_identity: TorchModel, counts: list[int], seed: int) -> None:
    for count in counts:
        batch = images(count, seed)
        answers = tuned_identity.predict(batch)
        assert all(np.array_equal(whole, inputs[0]) for inputs, (whole, _) in zip(batch, answers, strict=True))


@pytest.fixture(scope="module")
def tuned_identity(tmp_path_factory: pytest.TempPathFactory) -> TorchModel:
    folder = tmp_path_factory.mktemp("identity")
    (folder / "architecture.py").write_text(ARCHITECTURE)
    namespace: dict[str, Any] = {}
    exec(ARCHITECTURE, namespace)
    save_file(namespace["Plain"]().state_dict(), folder / "m.safetensors")
    return tuned(described(folder, "Identity"))


def test_it_runs_while_it_is_tuned(folder: Path) -> None:
    eager = TorchRuntime().load(described(folder), CPU)
    model = TorchRuntime(tuning=QUICK).load(described(folder), CPU)
    assert model.tuning is not None
    assert model.execution.tuning or model.execution.candidates
    batch = images(3)
    right = eager.predict(batch)
    while not model.tuning.wait(0):
        assert_same(right, model.predict(batch))
    assert_same(right, model.predict(batch))


def test_what_was_found_is_remembered(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = tuned(described(folder), kept)
    again = TorchRuntime(tuning=QUICK, folder=kept).load(described(folder), CPU)
    assert again.tuning is None
    assert again.execution == replace(first.execution, origin="remembered")
    assert_same(first.predict(images(3)), again.predict(images(3)))
    assert TorchRuntime(tuning=QUICK, folder=kept).load(described(folder, tolerance=0.01), CPU).tuning is not None


def test_other_weights_are_tuned_anew(folder: Path, tmp_path: Path) -> None:
    tuned(described(folder), tmp_path / "kept")
    namespace: dict[str, Any] = {}
    exec(ARCHITECTURE, namespace)
    save_file(namespace["Plain"]().state_dict(), folder / "m.safetensors")
    assert tuned(described(folder), tmp_path / "kept").execution.origin == "measured"


@pytest.mark.parametrize("damage", ["nonsense", "{}", "[1", '{"choices": [{"way": 5}]}'])
def test_damaged_files_count_as_absent(folder: Path, tmp_path: Path, damage: str) -> None:
    tuned(described(folder), tmp_path / "kept")
    (path,) = (tmp_path / "kept").glob("*.json")
    path.write_text(damage)
    model = tuned(described(folder), tmp_path / "kept")
    assert model.execution.origin == "measured"
    assert json.loads(path.read_text())
    assert len(list((tmp_path / "kept").glob("*.json"))) == 1


def test_what_is_remembered_is_checked(folder: Path, tmp_path: Path) -> None:
    tuned(described(folder, "Lucky"), tmp_path / "kept")
    (path,) = (tmp_path / "kept").glob("*.json")
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"choices": [{"way": "frozen", "threads": 1}]}))
    model = tuned(described(folder, "Lucky"), tmp_path / "kept")
    assert model.execution.origin == "measured"
    assert all(choice.way != "frozen" for choice in model.execution.choices)


def test_a_folder_that_cannot_be_written_to_costs_nothing_else(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert tuned(described(folder), tmp_path / "file").execution.origin == "measured"
    assert Remembered(tmp_path / "file").get("key") is None


def test_open_dimensions_need_an_example(folder: Path) -> None:
    open_input = InputSpec(type="raw", spec=TensorSpec(dimensions=(3, None, None)))
    model = tuned(described(folder, input=open_input))
    assert model.tuning is None
    assert "example.npy" in model.execution.note
    with pytest.raises(ModelUnavailable, match=r"example\.npy"):
        TorchRuntime().load(described(folder, input=open_input, way="frozen"), CPU)
    np.save(folder / "example.npy", np.ones(SHAPE, np.float32))
    frozen = TorchRuntime().load(described(folder, input=open_input, way="frozen"), CPU)
    eager = TorchRuntime().load(described(folder), CPU)
    larger: list[Arrays] = [(np.ones((3, 11, 9), np.float32),)] * 2
    assert_same(eager.predict(images(2)), frozen.predict(images(2)))
    assert_same(eager.predict(larger), frozen.predict(larger))


def test_threads_are_those_of_the_model_that_runs(folder: Path) -> None:
    one = TorchRuntime().load(described(folder, way="frozen", threads=1), CPU)
    two = TorchRuntime().load(described(folder, threads=2), CPU)
    seen = []
    for model in (one, two, one, two):
        model.predict(images(1))
        seen.append(torch.get_num_threads())
    assert seen == [1, 2, 1, 2]


def test_bf16_is_tried_only_where_the_manifest_allows_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "has_fast_bf16", lambda device: True)
    assert not [way for way in by_way(tuned(described(folder)).execution) if "bf16" in way]
    candidates = by_way(tuned(described(folder, tolerance=0.05)).execution)
    assert {"frozen_bf16", "channels_last_bf16", "bf16"} <= set(candidates)
    assert all(candidates[way].verdict is not Verdict.FAILED for way in candidates)
    assert candidates["bf16"].error != 0.0


def test_a_pinned_bf16_has_its_own_tolerance(folder: Path) -> None:
    eager = TorchRuntime().load(described(folder), CPU)
    model = TorchRuntime().load(described(folder, way="channels_last_bf16"), CPU)
    assert model.execution.tolerance == 0.02
    answers = model.predict(images(3))
    assert answers[0][0].dtype == np.float32
    assert 0 < compare(eager.predict(images(3)), answers, 1.0).error < 0.02
    with pytest.raises(ModelUnavailable, match="differ by"):
        TorchRuntime().load(described(folder, way="bf16", tolerance=1e-6), CPU)


def test_ways_of_other_devices_say_so(folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match="need a CUDA device"):
        TorchRuntime().load(described(folder, way="graphs"), CPU)


@pytest.mark.parametrize("way", ["tf32", "channels_last_tf32", "frozen_tf32", "compiled_tf32"])
def test_no_way_but_graphs_claims_tf32(folder: Path, way: str) -> None:
    with pytest.raises(ModelUnavailable, match="TF32 is a switch of the whole process"):
        TorchRuntime().load(described(folder, way=way), CPU)


def test_a_pinned_compiler_must_be_there_and_allowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = TorchRuntime(tuning=TuningOptions(enabled=False, compile="never"))
    with pytest.raises(ModelUnavailable, match=r"can't run compiled here: torch\.compile is switched off"):
        never.load(described(folder, way="compiled"), CPU)
    monkeypatch.setattr(executions, "has_compiler", lambda device: False)
    with pytest.raises(ModelUnavailable, match=r"can't run compiled here: torch\.compile needs a C\+\+ compiler"):
        never.load(described(folder, way="compiled", compile=True), CPU)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_is_frozen_as_it_is(folder: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(ARCHITECTURE, namespace)
    torch.jit.trace(namespace["Plain"]().eval(), torch.zeros(1, *SHAPE)).save(folder / "m.pt")
    wanted = replace(
        described(folder), weights=WeightsSpec(weights_path="m.pt"), files=ModelFiles(weights=folder / "m.pt")
    )
    eager = TorchRuntime().load(wanted, CPU)
    frozen = TorchRuntime().load(replace(wanted, execution=ExecutionSpec(way="frozen")), CPU)
    assert_same(eager.predict(images(5)), frozen.predict(images(5)))


@pytest.mark.parametrize("batch", [torch.export.Dim("batch", min=1, max=64), None], ids=["any", "only 4"])
def test_exported_programs_are_tuned(folder: Path, batch: Any) -> None:
    namespace: dict[str, Any] = {}
    exec(ARCHITECTURE, namespace)
    dynamic = None if batch is None else ({0: batch},)
    program = torch.export.export(namespace["Plain"]().eval(), (torch.zeros(4, *SHAPE),), dynamic_shapes=dynamic)
    torch.export.save(program, folder / "m.pt2")
    wanted = replace(
        described(folder), weights=WeightsSpec(weights_path="m.pt2"), files=ModelFiles(weights=folder / "m.pt2")
    )
    model = tuned(wanted)
    assert by_way(model.execution)["frozen"].verdict in (Verdict.CHOSEN, Verdict.SLOWER)
    assert_same(TorchRuntime().load(wanted, CPU).predict(images(7)), model.predict(images(7)))


def test_closing_calls_tuning_off(folder: Path) -> None:
    runtime = TorchRuntime(tuning=TuningOptions(budget_s=60, compile="never", cap=64))
    models = [runtime.load(described(folder), CPU) for _ in range(5)]
    started = time.monotonic()
    for model in reversed(models):
        model.close()
    assert time.monotonic() - started < 10
    assert all(model.tuning is not None and model.tuning.wait(0) for model in models)
    with pytest.raises(RuntimeError, match="closed"):
        models[0].predict(images(1))


def test_the_background_thread_ends_when_nothing_is_left() -> None:
    seen: list[tuple[str, bool]] = []
    background = Background("testing")
    gate = threading.Event()

    def wait(job: Job) -> None:
        gate.wait(10)
        seen.append(("first", job.cancelled))

    def fail(job: Job) -> None:
        raise ValueError

    first = background.submit(wait)
    second = background.submit(lambda job: seen.append(("second", job.cancelled)))
    third = background.submit(fail)
    assert second.cancel(0)
    gate.set()
    assert third.wait(10)
    assert first.wait(0)
    assert seen == [("first", False)]
    while any(thread.name == "testing" for thread in threading.enumerate()):
        time.sleep(0.01)


def test_classes_must_stay_unless_they_are_equal_within_the_tolerance() -> None:
    wanted = [(np.array([1.0, 0.5, 0.999], np.float32),)]
    assert compare(wanted, [(np.array([0.999, 0.5, 1.0], np.float32),)], 1e-2, 0).reason == ""
    near = [(np.array([1.0, 1.0 - 1e-7, 0.0], np.float32),)]
    assert compare(near, near[::-1], 1e-6, 0).reason == ""
    assert "differ" in compare(wanted, [(np.array([0.5, 1.0, 0.5], np.float32),)], 1e-2, 0).reason
    assert "other shapes" in compare(wanted, [(np.zeros(2, np.float32),)], 1e-2).reason
    whole = [(np.array([1, 2]),)]
    assert "differ" in compare(whole, [(np.array([1, 3]),)], 0.9).reason
    odd = [(np.array([np.nan, np.inf, 1.0]),)]
    assert compare(odd, odd, 1e-3).reason == ""
    assert "differ" in compare(odd, [(np.array([np.nan, 1.0, 1.0]),)], 1e-3).reason


def test_memory_comes_back_after_each_way(folder: Path) -> None:
    (folder / "heavy.py").write_text(
        "from torch import nn\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(192, 12000), nn.ReLU(), nn.Linear(12000, 200))\n"
    )
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(192, 12000), torch.nn.ReLU(), torch.nn.Linear(12000, 200)
    )
    save_file(net.state_dict(), folder / "heavy.safetensors")
    wanted = replace(
        described(folder, way="frozen"),
        weights=WeightsSpec(weights_path="heavy.safetensors", architecture="heavy.py:Net"),
        files=ModelFiles(weights=folder / "heavy.safetensors", architecture=folder / "heavy.py"),
    )
    resident = []
    for _ in range(12):
        model = TorchRuntime().load(wanted, CPU)
        model.predict(images(4))
        model.close()
        resident.append(psutil.Process().memory_info().rss)
    assert model.size_bytes > 17 * 2**20
    assert resident[-1] < 1.05 * resident[4]
