"""Models whose inputs can't all be stacked: nobody's answer is made with a stranger's value."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stepscope.core.frames import Frame
from stepscope.core.manifests import BatchSpec, ImageSpec, Manifest, ModelFiles, OutputSpec, WeightsSpec
from stepscope.core.ports import Arrays, LoadedModel
from stepscope.core.predictions import DeviceRef, FeatureType, TraceLevel
from stepscope.core.recording import BatchRecord, Recorder
from stepscope.runtimes.torch import TorchRuntime


class Scaled(nn.Module):
    """Rows times one factor, and the rows themselves."""

    def forward(self, rows: torch.Tensor, factor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return rows * factor, rows


def exported(folder: Path, rows: int, *, is_open: bool = False, row: tuple[int, ...] = (3,)) -> Path:
    length = torch.export.Dim("length", min=1, max=64)
    shapes: tuple[dict[int, object], ...] | None = ({0: length}, {}) if is_open else None
    program = torch.export.export(Scaled(), (torch.ones(rows, *row), torch.ones(3)), dynamic_shapes=shapes)
    path = folder / "scaled.pt2"
    torch.export.save(program, path)
    return path


def load(path: Path, batch: BatchSpec) -> LoadedModel:
    manifest = Manifest(
        name="scaled",
        version="1.0.0",
        framework_name="PyTorch",
        framework_version="*",
        inputs=(),
        output=OutputSpec(type="raw", feature_type=FeatureType.RAW),
        weights=WeightsSpec(weights_path=path.name),
        files=ModelFiles(weights=path),
        batch=batch,
    )
    model: LoadedModel = TorchRuntime().load(manifest, DeviceRef())
    return model


def inputs(number: float, factor: float) -> Arrays:
    return np.full(3, number, np.float32), np.full(3, factor, np.float32)


SHARED = BatchSpec(shared=(1,))


@pytest.mark.parametrize("is_open", [True, False], ids=["any number of rows", "two rows at a time"])
def test_strangers_with_other_values_never_share_a_call(tmp_path: Path, is_open: bool) -> None:
    model = load(exported(tmp_path, 2, is_open=is_open), SHARED)
    asked = [(float(place), float(place % 3 + 1)) for place in range(10)]
    answers = model.predict([inputs(*each) for each in asked])
    for (number, factor), (scaled, rows) in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(scaled, np.full(3, number * factor, np.float32))
        np.testing.assert_array_equal(rows, np.full(3, number, np.float32))


def test_the_file_tells_the_inputs_of_one_instance(tmp_path: Path) -> None:
    shapes = [spec.dimensions for spec in load(exported(tmp_path, 2), SHARED).inputs]
    assert shapes == [(3,), (3,)]
    assert [spec.dimensions for spec in load(tmp_path / "scaled.pt2", BatchSpec(is_counted=False)).inputs] == [
        (2, 3),
        (3,),
    ]


def test_an_instance_may_be_the_whole_call(tmp_path: Path) -> None:
    model = load(exported(tmp_path, 2), BatchSpec(is_counted=False))
    assert model.execution.choices[0].way == "frozen"
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    rows.flags.writeable = False
    answers = model.predict([(rows, np.full(3, factor, np.float32)) for factor in (1.0, 2.0)])
    for factor, (scaled, same) in zip((1.0, 2.0), answers, strict=True):
        np.testing.assert_array_equal(scaled, rows * factor)
        np.testing.assert_array_equal(same, rows)
        assert not np.shares_memory(same, rows)


def test_it_takes_frames(tmp_path: Path) -> None:
    model = load(exported(tmp_path, 2, row=(1, 1, 3)), SHARED)
    pixels = Frame(np.full((1, 1, 3), 5, np.uint8), ImageSpec(dimensions=(3, 1, 1)))
    (answer,) = model.predict([(pixels, np.full(3, 2.0, np.float32))])
    np.testing.assert_array_equal(answer[0].reshape(-1), [10.0, 10.0, 10.0])


def test_it_ranks_and_traces(tmp_path: Path) -> None:
    model = load(exported(tmp_path, 2, is_open=True), SHARED)
    assert model.rank([inputs(1.0, 2.0)], 1)[0].classes == [0]
    record = BatchRecord(1, [Recorder(("1" * 32, "2" * 16, ""), TraceLevel.MODEL_TRACE, "", 0.0)])
    (traced,) = model.trace([inputs(3.0, 2.0)], record)
    np.testing.assert_array_equal(traced[0], np.full(3, 6.0, np.float32))  # type: ignore[index]
    assert [mark[0] for mark in record.marks] == ["run"]
    assert record.tags["execution"] == "eager"
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        model.predict([inputs(1.0, 1.0)])
