import gc
import logging
import pickle
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stepscope.core.errors import ModelUnavailable
from stepscope.core.manifests import Manifest, ModelFiles, OutputSpec, WeightsSpec
from stepscope.core.ports import Arrays, LoadedModel, Runtime
from stepscope.core.predictions import DeviceRef, FeatureType
from stepscope.runtimes.torch import TorchRuntime

CPU = DeviceRef()
ARCHITECTURE = """
from __future__ import annotations
from dataclasses import dataclass
import torch

@dataclass
class Size:
    width: int

class Net(torch.nn.Module):
    def __init__(self, width=4, out=3):
        super().__init__()
        self.size = Size(width)
        self.linear = torch.nn.Linear(width, out)
        self.drop = torch.nn.Dropout(0.5)
    def forward(self, x):
        return self.drop(self.linear(x))

def number():
    return 5

def broken():
    raise ValueError("/secret/path")
"""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.drop(self.linear(x))
        return answer


class Two(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
        return {"sum": x + y, "more": (x.sum(1), [x.to(torch.bfloat16)])}


class Total(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum()


def manifest(path: Path, beside: Path | None = None, **weights: Any) -> Manifest:
    return Manifest(
        name="m",
        version="1.0.0",
        framework_name="PyTorch",
        framework_version="*",
        inputs=(),
        output=OutputSpec(type="raw", feature_type=FeatureType.RAW),
        weights=WeightsSpec(weights_path=path.name, **weights),
        files=ModelFiles(weights=path, architecture=beside),
        folder=path.parent,
    )


def load(wanted: Manifest) -> LoadedModel:
    runtime: Runtime = TorchRuntime()
    return runtime.load(wanted, CPU)


def refused(wanted: Manifest) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        load(wanted)
    assert str(wanted.folder) not in str(caught.value)
    assert "secret" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(1)
    return Net().eval()


@pytest.fixture
def architecture(tmp_path: Path) -> Path:
    path = tmp_path / "architecture.py"
    path.write_text(ARCHITECTURE)
    return path


def rows(count: int) -> list[Arrays]:
    random = np.random.default_rng(count)
    return [(random.standard_normal(4, dtype=np.float32),) for _ in range(count)]


def expected(net: nn.Module, batch: Sequence[Arrays]) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        answer: np.ndarray[Any, Any] = net(torch.from_numpy(np.stack([inputs[0] for inputs in batch]))).numpy()
    return answer


def exported(net: nn.Module, path: Path, batch: Any, example: int = 2) -> Path:
    dynamic = None if batch is None else ({0: batch},)
    torch.export.save(torch.export.export(net, (torch.zeros(example, 4),), dynamic_shapes=dynamic), path)
    return path


def check(net: nn.Module, model: LoadedModel) -> None:
    for count in (1, 2, 3, 8, 17):
        batch = rows(count)
        outputs = model.predict(batch)
        assert len(outputs) == count
        assert np.stack([output[0] for output in outputs]) == pytest.approx(expected(net, batch), abs=1e-6)
        singles = [model.predict([inputs])[0][0] for inputs in batch]
        assert np.stack(singles) == pytest.approx(expected(net, batch), abs=1e-5)


def test_the_framework_is_named_without_its_build() -> None:
    runtime = TorchRuntime()
    assert runtime.framework_name == "PyTorch"
    assert runtime.framework_version == torch.__version__.partition("+")[0]
    assert runtime.devices()[-1] == CPU
    assert runtime.memory_bytes(CPU) == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)


def test_the_number_of_threads_can_be_chosen(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(3, 4), "bias": torch.zeros(3)}, tmp_path / "m.safetensors")
    arguments = {"in_features": 4, "out_features": 3}
    wanted = manifest(tmp_path / "m.safetensors", architecture="torch.nn:Linear", arguments=arguments)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            model = TorchRuntime(threads=threads).load(wanted, CPU)
            model.predict(rows(1))
            assert torch.get_num_threads() == threads
            assert model.execution.choices[0].threads == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["safetensors", "state_dict"])
def test_parameters_go_into_the_architecture_beside_them(
    tmp_path: Path, net: nn.Module, architecture: Path, kind: str
) -> None:
    path = tmp_path / ("m.safetensors" if kind == "safetensors" else "m.pth")
    save_file(net.state_dict(), path) if kind == "safetensors" else torch.save(net.state_dict(), path)
    before = list(sys.path)
    model = load(manifest(path, architecture, architecture="architecture.py:Net", arguments={"width": 4}))
    check(net, model)
    assert model.size_bytes == 4 * (4 * 3 + 3)
    assert sys.path == before
    assert "architecture" not in sys.modules
    assert not (tmp_path / "__pycache__").exists()


def test_two_models_may_each_have_an_architecture_file(tmp_path: Path, net: nn.Module) -> None:
    models = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "architecture.py").write_text(ARCHITECTURE.replace("self.drop(", f"{number} * self.drop("))
        save_file(net.state_dict(), folder / "m.safetensors")
        wanted = manifest(folder / "m.safetensors", folder / "architecture.py", architecture="architecture.py:Net")
        models.append(load(wanted))
    batch = rows(3)
    first, second = (np.stack([output[0] for output in model.predict(batch)]) for model in models)
    assert second == pytest.approx(2 * first, abs=1e-6)


def test_an_architecture_may_come_from_a_package(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(3, 4), "bias": torch.zeros(3)}, tmp_path / "m.safetensors")
    arguments = {"in_features": 4, "out_features": 3}
    wanted = manifest(tmp_path / "m.safetensors", architecture="torch.nn:Linear", arguments=arguments)
    assert load(wanted).predict([(np.ones(4, dtype=np.float32),)])[0][0].tolist() == [4.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("batch", "example"),
    [
        (torch.export.Dim("batch", min=1, max=1024), 2),
        (torch.export.Dim("batch", min=1, max=5), 2),
        (torch.export.Dim("batch", min=2, max=5), 2),
        (torch.export.Dim.AUTO, 2),
        (None, 1),
        (None, 4),
    ],
    ids=["any", "to 5", "2 to 5", "auto", "only 1", "only 4"],
)
def test_exported_programs_take_any_number_of_inputs(tmp_path: Path, net: nn.Module, batch: Any, example: int) -> None:
    model = load(manifest(exported(net, tmp_path / "m.pt2", batch, example)))
    check(net, model)
    assert model.size_bytes == 4 * (4 * 3 + 3)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_runs(tmp_path: Path, net: nn.Module) -> None:
    torch.jit.script(net.train()).save(tmp_path / "m.pt")  # saved in training mode: eval is ours to call
    check(net.eval(), load(manifest(tmp_path / "m.pt")))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_the_manifest_may_name_the_format(tmp_path: Path, net: nn.Module) -> None:
    torch.jit.script(net).save(tmp_path / "m.model")
    check(net, load(manifest(tmp_path / "m.model", format="torchscript")))


def test_several_inputs_and_outputs_keep_their_order(tmp_path: Path) -> None:
    dimension = torch.export.Dim("batch", min=1, max=64)
    examples = (torch.zeros(2, 3), torch.ones(2, 3))
    program = torch.export.export(Two(), examples, dynamic_shapes=({0: dimension}, {0: dimension}))
    torch.export.save(program, tmp_path / "m.pt2")
    one = np.array([1, 2, 3], dtype=np.float32)
    outputs = load(manifest(tmp_path / "m.pt2")).predict([(one, one), (2 * one, one)])
    assert [array.tolist() for array in outputs[0]] == [[2, 4, 6], 6, [1, 2, 3]]
    assert [array.tolist() for array in outputs[1]] == [[3, 6, 9], 12, [2, 4, 6]]
    assert all(isinstance(array, np.ndarray) for array in outputs[0])
    assert outputs[0][2].dtype == np.float32


def test_an_answer_for_the_batch_as_a_whole_is_an_error(tmp_path: Path) -> None:
    dimension = torch.export.Dim("batch", min=1, max=64)
    torch.export.save(
        torch.export.export(Total(), (torch.zeros(2, 4),), dynamic_shapes=({0: dimension},)), tmp_path / "m.pt2"
    )
    with pytest.raises(ValueError, match="answered"):
        load(manifest(tmp_path / "m.pt2")).predict(rows(3))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "names no architecture"),
        ("architecture.py:Missing", "no 'Missing'"),
        ("architecture.py:number", "didn't make a torch module"),
        ("architecture.py:broken", "log says more"),
        ("nowhere.at_all:Net", "isn't installed"),
    ],
)
def test_architectures_that_cannot_be_had_say_so(
    tmp_path: Path, net: nn.Module, architecture: Path, name: str, reason: str
) -> None:
    save_file(net.state_dict(), tmp_path / "m.safetensors")
    assert reason in refused(manifest(tmp_path / "m.safetensors", architecture, architecture=name))


def test_weights_that_do_not_fit_say_so(tmp_path: Path, architecture: Path) -> None:
    save_file({"linear.weight": torch.zeros(3, 4), "other": torch.zeros(1)}, tmp_path / "m.safetensors")
    wanted = manifest(tmp_path / "m.safetensors", architecture, architecture="architecture.py:Net")
    assert "1 missing, 1 unknown" in refused(wanted)
    save_file({"linear.weight": torch.zeros(3, 5), "linear.bias": torch.zeros(3)}, tmp_path / "m.safetensors")
    assert "log says more" in refused(wanted)


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt2", "m.pt", "m.pth"])
def test_broken_files_say_no_more_than_that(tmp_path: Path, architecture: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x08\0\0\0\0\0\0\0secret!!")
    refused(manifest(tmp_path / name, architecture, architecture="architecture.py:Net"))


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    assert "format" in refused(manifest(tmp_path / "m.onnx"))


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def replaced(source: Path, target: Path, member: str, content: bytes, *, added: bool = False) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith(member) and not added else old.read(name))
        if added:
            new.writestr(f"{old.namelist()[0].partition('/')[0]}/{member}", content)
    return target


def test_pickled_code_is_never_run(tmp_path: Path, net: nn.Module, architecture: Path) -> None:
    trap = tmp_path / "trapped"
    bomb = pickle.dumps(Bomb(trap))
    good = exported(net, tmp_path / "good.pt2", None)
    torch.save(Bomb(trap), tmp_path / "bomb.pth")
    saved = (tmp_path / "bomb.pth").read_bytes()
    with zipfile.ZipFile(good) as archive:
        config = next(archive.read(name) for name in archive.namelist() if name.endswith("weights_config.json"))
    attacks = [
        tmp_path / "bomb.pth",
        replaced(good, tmp_path / "a.pt2", "sample_inputs/model.pt", saved),
        replaced(good, tmp_path / "b.pt2", "weights_config.json", config.replace(b"false", b"true")),
        replaced(good, tmp_path / "c.pt2", "data/constants/opaque_obj_0", bomb, added=True),
        replaced(good, tmp_path / "d.pt2", "data/weights/model.pt", saved, added=True),
        replaced(good, tmp_path / "e.pt2", "data/aotinductor/model/x.so", b"", added=True),
    ]
    for path in attacks:
        refused(manifest(path, architecture, architecture="architecture.py:Net"))
    assert not trap.exists()
    load(manifest(good))


def test_the_log_holds_the_cause(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "m.pt").write_bytes(b"nonsense")
    with caplog.at_level(logging.ERROR):
        refused(manifest(tmp_path / "m.pt"))
    assert "Traceback" in caplog.text


def test_closing_gives_the_memory_back(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1024, 4096), "bias": torch.zeros(1024)}, tmp_path / "m.safetensors")
    arguments = {"in_features": 4096, "out_features": 1024}
    wanted = manifest(tmp_path / "m.safetensors", architecture="torch.nn:Linear", arguments=arguments)
    resident = []
    for _ in range(10):
        model = load(wanted)
        model.predict([(np.zeros(4096, dtype=np.float32),)])
        model.close()
        resident.append(psutil.Process().memory_info().rss)
    gc.collect()
    assert model.size_bytes > 16 * 2**20
    assert resident[-1] - resident[2] < 4 * 2**20
    with pytest.raises(RuntimeError, match="closed"):
        model.predict([(np.zeros(4096, dtype=np.float32),)])
