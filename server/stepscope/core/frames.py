"""Images between preprocessing and the model: a byte for each sample until the whole batch is on the device.

What a manifest asks for beyond size (colour order, layout, mean, scale, element type) is done for a batch at once.
"""

import functools
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepscope.core.manifests import ImageSpec
from stepscope.core.predictions import Array

Bytes = NDArray[np.uint8]


class Frame(msgspec.Struct, frozen=True, eq=False):
    """One image, cut and sized for a model: `pixels` of shape (height, width, channels), RGB or grey, uint8."""

    pixels: Bytes
    spec: ImageSpec

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the model's input."""
        height, width, channels = self.pixels.shape
        return (channels, height, width) if self.spec.layout == "CHW" else (height, width, channels)

    def array(self) -> Array:
        """Return the model's input for this image alone."""
        (array,) = normalised(self.pixels[np.newaxis], self.spec)
        return array  # type: ignore[no-any-return]


def arrays_of(inputs: Sequence[Array | Frame]) -> tuple[Array, ...]:
    """Return a model's inputs as arrays, the frames among them normalised one by one."""
    return tuple([each.array() if isinstance(each, Frame) else each for each in inputs])


def normalised(images: Bytes, spec: ImageSpec) -> Array:
    """Return images of shape (batch, height, width, channels) as a model takes them: `(pixel - mean) / scale`.

    The result is contiguous and may be written to. Integer types are rounded and clipped.
    """
    values = arranged(images, spec)
    dtype = np.dtype(spec.element_type)
    mean, scale = per_channel(spec)
    if mean is None and scale is None and np.can_cast(np.uint8, dtype):
        return np.require(values, dtype, ("C", "W"))
    numbers = np.array(values, np.float64 if dtype == np.float64 else np.float32, order="C")
    if mean is not None:
        _apply(np.subtract, numbers, mean)
    if scale is not None:
        _apply(np.divide, numbers, scale)
    return _rounded(numbers, dtype) if dtype.kind in "iu" else numbers.astype(dtype, copy=False)


def arranged(images: Bytes, spec: ImageSpec) -> Bytes:
    """Return a view of images, (batch, height, width, channels), in a model's colour order and layout."""
    if spec.color_mode == "BGR":
        images = images[..., ::-1]
    return images.transpose(0, 3, 1, 2) if spec.layout == "CHW" else images


@functools.lru_cache(maxsize=64)
def per_channel(spec: ImageSpec) -> tuple[Array | None, Array | None]:
    """Return mean and scale, shaped for the layout; None where they change nothing.

    A manifest names them in RGB order, whatever the order of the model's channels.
    """
    return _shaped(spec.mean, spec, neutral=0.0), _shaped(spec.scale, spec, neutral=1.0)


def _shaped(values: tuple[float, ...], spec: ImageSpec, neutral: float) -> Array | None:
    if set(values) == {neutral}:
        return None
    if len(set(values)) == 1:
        values = values[:1]
    array = np.array(values[::-1] if spec.color_mode == "BGR" else values, np.float64)
    array = array if spec.element_type == "float64" else array.astype(np.float32)
    return array.reshape(-1, 1, 1) if spec.layout == "CHW" else array


def _apply(operation: np.ufunc, values: Array, operand: Array) -> None:
    """Apply an operation in place, with one operand for all or one for each channel."""
    if operand.ndim == 1 and operand.size > 1:  # HWC: a whole row at once is ten times as fast as three numbers
        rows = values.reshape(-1, values.shape[2] * values.shape[3])
        operation(rows, np.tile(operand, values.shape[2]), rows)
    else:
        operation(values, operand, values)


def _rounded(values: Array, dtype: np.dtype[np.generic]) -> Array:
    limits = np.iinfo(dtype.name)
    np.rint(values, values)
    np.clip(values, limits.min, limits.max, values)
    return values.astype(dtype)
