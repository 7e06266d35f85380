"""The models that are measured, each with its pictures as the bytes that every side gets."""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stepscope.core.manifest_documents import parse_manifest
from stepscope.core.manifests import ImageSpec, Manifest, ModelFiles
from stepscope.engine.manifest_files import read_yaml
from stepscope.settings import BUILTIN

BF16_TOLERANCE = 2e-2
PHOTOS = 8
PHOTO_SIZE = (500, 375)
"""Common among ImageNet's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model in a repository, and encoded pictures for it."""

    key: str
    """What it is called here."""
    repository: Path
    cache: Path
    """Where our server keeps what tuning found: this run's own, so that nothing measured elsewhere counts."""
    manifest: Manifest
    pictures: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def texts(self) -> list[str]:
        """The pictures in base64."""
        return [base64.b64encode(picture).decode() for picture in self.pictures]

    @property
    def spec(self) -> ImageSpec:
        """How its pictures are prepared."""
        spec = self.manifest.inputs[0].spec
        assert isinstance(spec, ImageSpec), "the subjects take pictures"
        return spec

    def task(self) -> dict[str, Any]:
        """Describe it to the peers, who can't read manifests."""
        files, spec = self.manifest.files, self.spec
        assert files is not None
        assert files.labels is not None
        assert spec.dimensions is not None
        return {
            "architecture": str(files.architecture),
            "class_name": self.manifest.weights.architecture.partition(":")[2],
            "weights": str(files.weights),
            "labels": files.labels.read_text().splitlines(),
            "mode": spec.color_mode,
            "size": [spec.dimensions[2], spec.dimensions[1]],
            "mean": list(spec.mean),
            "scale": list(spec.scale),
        }

    def write_task(self, path: Path) -> Path:
        """Write the description for the peers."""
        path.write_text(json.dumps(self.task()))
        return path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest whose files lie beside it."""
    manifest = parse_manifest(read_yaml(path), path)
    weights, output = manifest.weights, manifest.output
    files = ModelFiles(
        weights=path.parent / weights.weights_path,
        architecture=path.parent / weights.architecture.partition(":")[0],
        labels=path.parent / output.labels_path if output.labels_path else None,
    )
    return replace(manifest, files=files)


def lenet(scratch: Path) -> Subject:
    """LeNet as it ships, with its sample digits."""
    manifest = read_manifest(next((BUILTIN / "lenet").glob("*/manifest.yaml")))
    pictures = tuple(path.read_bytes() for path in sorted((BUILTIN / "lenet" / "samples").glob("*.png")))
    return Subject(key="lenet", repository=BUILTIN, cache=scratch / "cache", manifest=manifest, pictures=pictures)


def resnet50(scratch: Path) -> Subject:
    """A ResNet-50 of our own with random weights, and JPEGs that look like nothing."""
    return _resnet50("resnet50", scratch, None)


def resnet50_bf16(scratch: Path) -> Subject:
    """The same, but its manifest allows results as far from float32 as bfloat16's are."""
    return _resnet50("resnet50_bf16", scratch, BF16_TOLERANCE)


def _resnet50(key: str, scratch: Path, tolerance: float | None) -> Subject:
    from benchmarks.models import resnet50 as definition

    repository = scratch / key
    path = repository / "resnet50" / definition.VERSION / "manifest.yaml"
    if not path.exists():
        definition.write(repository, tolerance)
    manifest = read_manifest(path)
    return Subject(key=key, repository=repository, cache=scratch / f"{key}-cache", manifest=manifest, pictures=photos())


def photos() -> tuple[bytes, ...]:
    """Make JPEGs with the detail of photographs: soft shapes, some grain; the same ones in every run."""
    random = np.random.default_rng(7)
    made = []
    for _ in range(PHOTOS):
        shapes = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        soft = np.asarray(shapes.resize(PHOTO_SIZE, Image.Resampling.BICUBIC), np.float32)
        grainy = np.clip(soft + random.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(grainy).save(out, "JPEG", quality=90)
        made.append(out.getvalue())
    return tuple(made)


SUBJECTS: dict[str, Callable[[Path], Subject]] = {"lenet": lenet, "resnet50": resnet50, "resnet50_bf16": resnet50_bf16}
