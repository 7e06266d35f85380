"""The model that ships, through the real parts: catalog, files, runtime, image codec, features."""

from pathlib import Path

import numpy as np
import pytest

import stepscope
from stepscope.codecs.features import features
from stepscope.codecs.images import decode, preprocess
from stepscope.codecs.labels import read_labels
from stepscope.core.manifests import ImageSpec, Manifest
from stepscope.core.ports import Inputs, LoadedModel
from stepscope.core.predictions import Classification, DeviceRef, ModelRef
from stepscope.engine.catalog import Catalog
from stepscope.engine.datasets import Datasets
from stepscope.engine.weights import Weights
from stepscope.runtimes.torch import TorchRuntime

BUILTIN = Path(stepscope.__file__).parent / "builtin"


class NoDownload:
    async def download(self, url: str, path: Path, limit_bytes: int) -> None:
        raise AssertionError("everything ships")


@pytest.fixture
async def lenet(tmp_path: Path) -> Manifest:
    catalog = Catalog([BUILTIN], [(TorchRuntime.framework_name, TorchRuntime.framework_version)])
    catalog.scan()
    return await Weights(NoDownload(), tmp_path).find(catalog.resolve(ModelRef(name="LeNet")))


@pytest.fixture
def model(lenet: Manifest) -> LoadedModel:
    return TorchRuntime().load(lenet, DeviceRef())


def labels(lenet: Manifest) -> tuple[str, ...]:
    assert lenet.files is not None
    assert lenet.files.labels is not None
    return read_labels(lenet.files.labels.read_bytes())


def prepared(lenet: Manifest, data: bytes) -> Inputs:
    spec = lenet.inputs[0].spec
    assert isinstance(spec, ImageSpec)
    return (preprocess(decode(data, spec), spec),)


def test_the_weights_are_small(lenet: Manifest) -> None:
    assert lenet.files is not None
    assert lenet.files.weights is not None
    assert lenet.files.weights.stat().st_size < 300_000


def test_the_samples_are_recognised(lenet: Manifest, model: LoadedModel) -> None:
    samples = sorted((BUILTIN / "lenet" / "samples").glob("*.png"))
    assert len(samples) == 20
    outputs = model.predict([prepared(lenet, path.read_bytes()) for path in samples])
    right = 0
    for path, output in zip(samples, outputs, strict=True):
        (best,) = features(output, lenet.output, labels(lenet), 1)
        assert isinstance(best.payload, Classification)
        right += path.stem.endswith(f"label{best.payload.label}")
    assert right >= 18


def test_the_held_out_digits_are_recognised(lenet: Manifest, model: LoadedModel) -> None:
    datasets = Datasets([BUILTIN])
    datasets.scan()
    digits = list(datasets.find("vision", "digits"))
    rankings = model.rank([prepared(lenet, item.data) for item in digits], 1)
    found = [ranking.classes for ranking in rankings]
    share = sum(classes == [item.label] for classes, item in zip(found, digits, strict=True)) / len(digits)
    assert share >= 0.98
    assert lenet.attributes["top1"] == f"{share * 100:.2f}"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 33])
def test_a_batch_answers_as_its_inputs_alone(lenet: Manifest, model: LoadedModel, size: int) -> None:
    random = np.random.default_rng(size)
    batch = [(random.random((1, 28, 28), dtype=np.float32),) for _ in range(size)]
    together = np.stack([output[0] for output in model.predict(batch)])
    alone = np.stack([model.predict([inputs])[0][0] for inputs in batch])
    assert together == pytest.approx(alone, abs=1e-4)
