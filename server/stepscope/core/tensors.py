"""Whether an array can be a model's input as it is."""

import numpy as np

from stepscope.core.errors import TensorInvalid
from stepscope.core.manifests import ImageSpec, TensorSpec
from stepscope.core.predictions import Array

Dimensions = tuple[int | None, ...] | None
"""The shape of one input; a dimension of None takes any length, None takes any shape."""


def input_shape(spec: ImageSpec | TensorSpec) -> Dimensions:
    """Return the shape that the model takes for one input."""
    if isinstance(spec, TensorSpec) or spec.dimensions is None:
        return spec.dimensions
    channels, height, width = spec.dimensions
    return (channels, height, width) if spec.layout == "CHW" else (height, width, channels)


def fit(array: Array, spec: ImageSpec | TensorSpec) -> Array:
    """Return the array in the model's element type; a leading dimension of one is dropped when the rest fits.

    Raises `TensorInvalid` when the shape is another one.
    """
    shape = input_shape(spec)
    if shape is not None:
        if not _same(array.shape, shape) and array.shape[:1] == (1,) and _same(array.shape[1:], shape):
            array = array[0]
        if not _same(array.shape, shape):
            raise TensorInvalid(f"its shape is {list(array.shape)}, and the model takes {_shown(shape)}")
    wanted = "float32" if spec.element_type == "raw_image" else spec.element_type
    return array if array.dtype == wanted else array.astype(np.dtype(wanted))


def split(array: Array, spec: ImageSpec | TensorSpec) -> list[Array]:
    """Return the inputs in an array whose first dimension counts them, or the array itself if it is one input."""
    shape = input_shape(spec)
    if array.ndim == 0 or (shape is not None and len(array.shape) == len(shape)):
        return [array]
    return list(array)


def _same(given: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(given) == len(wanted) and all(b is None or a == b for a, b in zip(given, wanted, strict=True))


def _shown(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if length is None else str(length) for length in shape) + "]"
