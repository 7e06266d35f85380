"""Arrays to try a model on: those in its folder, or random ones of the shapes that its manifest names.

A model's folder may hold `example.npy`, one input without a batch dimension, or `example.npz` with one array for each
input, in the order of their names. A model whose dimensions are open can't be tried without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stepscope.core.manifests import ImageSpec, Manifest, TensorSpec
from stepscope.core.ports import Arrays
from stepscope.core.predictions import Array
from stepscope.core.tensors import input_shape

_SPREAD = 0.1
"""How far, in shares of each number, the other examples are from the one in the folder."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Where examples come from. `is_exact` says that every input has these shapes."""

    manifest: Manifest
    given: Arrays | None
    is_exact: bool

    def rows(self, count: int, seed: int = 0) -> list[Arrays]:
        """Return different inputs, the same ones for a seed; the first is the folder's own if there is one."""
        random = np.random.default_rng([seed, count])
        return [self._row(random, own=seed == 0 and place == 0) for place in range(count)]

    def _row(self, random: np.random.Generator, *, own: bool) -> Arrays:
        if self.given is None:
            return tuple(_random(entry.spec, random) for entry in self.manifest.inputs)
        return self.given if own else tuple(_varied(array, random) for array in self.given)


def examples(manifest: Manifest) -> Examples | None:
    """Return a model's examples, or None where there can be none. A broken file counts as none."""
    shapes = [input_shape(entry.spec) for entry in manifest.inputs]
    known = bool(shapes) and all(
        _is_known(shape, entry.spec) for shape, entry in zip(shapes, manifest.inputs, strict=True)
    )
    given = _given(manifest.folder)
    if given is None and not known:
        return None
    return Examples(manifest, given, is_exact=known)


def _is_known(shape: Sequence[int | None] | None, spec: ImageSpec | TensorSpec) -> bool:
    if isinstance(spec, ImageSpec) and (spec.element_type == "raw_image" or spec.max_dimension is not None):
        return False
    return shape is not None and None not in shape


def _given(folder: Path) -> Arrays | None:
    try:
        if (path := folder / "example.npy").is_file():
            return (np.load(path, allow_pickle=False),)
        if (path := folder / "example.npz").is_file():
            with np.load(path, allow_pickle=False) as archive:
                return tuple(archive[name] for name in sorted(archive.files))
    except (OSError, ValueError):
        return None
    return None


def _random(spec: ImageSpec | TensorSpec, random: np.random.Generator) -> Array:
    shape = [length or 1 for length in input_shape(spec) or ()]
    dtype = np.dtype(spec.element_type)
    if isinstance(spec, ImageSpec):
        return _picture(spec, shape, random).astype(dtype)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    # Small numbers are in range for any vocabulary.
    return random.integers(0, 2, shape).astype(dtype)


def _picture(spec: ImageSpec, shape: Sequence[int], random: np.random.Generator) -> Array:
    """Return random pixels, normalised as the manifest says."""
    axes = (-1, 1, 1) if spec.layout == "CHW" else (-1,)
    mean, scale = (np.asarray(values, np.float32).reshape(axes) for values in (spec.mean, spec.scale))
    pixels = random.integers(0, 256, shape).astype(np.float32)
    return pixels if np.dtype(spec.element_type).kind in "iu" else (pixels - mean) / scale


def _varied(array: Array, random: np.random.Generator) -> Array:
    if array.dtype.kind != "f":
        return array
    noise = (1 + _SPREAD * random.standard_normal(array.shape)).astype(array.dtype)
    varied: Array = np.multiply(array, noise)
    return varied
