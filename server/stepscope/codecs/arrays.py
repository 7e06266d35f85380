"""Tensors on the wire: bytes in little-endian C order, or JSON numbers."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepscope.core.errors import TensorInvalid

DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
)
"""Element types by their numpy names. No bfloat16: numpy has none."""

_PACKED = np.dtype([("tag", np.uint8), ("value", ">f8")])
_FLOAT_TAG = 0xCB  # https://github.com/msgpack/msgpack/blob/master/spec.md
_LONG_HEAD = 5
"""Bytes before the elements of a MessagePack array of at least `_MANY` elements."""
_MANY = 1 << 16

MAX_ELEMENTS = 1 << 28
MAX_RANK = 32


def from_octets(data: bytes | memoryview, shape: Sequence[int], dtype: str) -> NDArray[Any]:
    """Return the array that `data` holds, without a copy where the machine's byte order allows: read-only then.

    Floats may be NaN or infinite. Raises `TensorInvalid`.
    """
    wire = _wire_type(dtype)
    size_bytes = _count(shape) * wire.itemsize
    if len(data) != size_bytes:
        raise TensorInvalid(f"shape {_written(shape)} of {dtype} takes {size_bytes} bytes, and {len(data)} came")
    flat = np.frombuffer(data, wire) if size_bytes else np.empty(0, wire)
    if wire.kind == "b" and flat.size and flat.view(np.uint8).max() > 1:
        raise TensorInvalid("a bool is a byte of 0 or 1")
    return flat.reshape(shape).astype(wire.newbyteorder("="), copy=False)


def to_octets(array: NDArray[Any]) -> bytes:
    """Return the bytes of an array: what `from_octets` reads. Raises `TensorInvalid` for other element types."""
    return array.astype(_wire_type(array.dtype.name), copy=False).tobytes()


def from_numbers(values: Sequence[int | float | bool], shape: Sequence[int], dtype: str) -> NDArray[Any]:
    """Return the array of a flat list of JSON numbers in C order.

    Every value must fit: integers in range and without a fraction, finite floats that stay finite, and for bool
    true, false, 0 or 1. Floats are rounded to the nearest. Raises `TensorInvalid`.
    """
    target = _wire_type(dtype).newbyteorder("=")
    count = _count(shape)
    if len(values) != count:
        raise TensorInvalid(f"shape {_written(shape)} takes {count} numbers, and {len(values)} came")
    try:
        if target.kind == "f":
            flat = _floats(values, target)
        elif target.kind == "b":
            flat = _bools(values)
        else:
            flat = _integers(values, target)
    except (OverflowError, ValueError):
        raise TensorInvalid(f"a value doesn't fit {dtype}") from None
    return flat.reshape(shape)


def _floats(values: Sequence[int | float], target: np.dtype[Any]) -> NDArray[Any]:
    wide = _packed_floats(values)
    if wide is None:
        checked = msgspec.convert(values, list[float])  # raises a ValueError for what is no number
        wide = np.fromiter(checked, np.float64, len(checked))
    with np.errstate(over="ignore", under="ignore"):
        flat = wide.astype(target, copy=False)
    if not np.isfinite(flat).all():
        raise OverflowError
    return flat


def _packed_floats(values: Sequence[int | float]) -> NDArray[Any] | None:
    """Return a list of floats as an array, None where something else is in it.

    MessagePack lays floats out one after the other, each behind a byte that says what it is; to ask numpy for an array
    of the list takes four times as long.
    """
    if len(values) < _MANY:
        return None
    try:
        packed = msgspec.msgpack.encode(values)
    except (TypeError, OverflowError):  # not a number, or an integer of more than 64 bits
        return None
    if len(packed) != _LONG_HEAD + len(values) * _PACKED.itemsize:
        return None
    table = np.frombuffer(packed, _PACKED, offset=_LONG_HEAD)
    return table["value"] if (table["tag"] == _FLOAT_TAG).all() else None


def _integers(values: Sequence[int | float], target: np.dtype[Any]) -> NDArray[Any]:
    kinds = set(map(type, values))
    if not kinds <= {int, float}:
        raise ValueError
    return np.array([_whole(value) for value in values] if float in kinds else values, target)


def _bools(values: Sequence[int | float | bool]) -> NDArray[Any]:
    if not set(values) <= {0, 1}:
        raise OverflowError
    return np.array(values, np.bool_)


def _whole(value: int | float) -> int:
    if value != int(value):  # int() raises for NaN and infinities
        raise ValueError
    return int(value)


def _wire_type(dtype: str) -> np.dtype[Any]:
    if dtype not in DTYPES:
        raise TensorInvalid(f"element type {dtype[:32]!r} isn't known; known: {', '.join(DTYPES)}")
    return np.dtype(dtype).newbyteorder("<")


def _count(shape: Sequence[int]) -> int:
    """Return how many elements a shape has; 1 for the empty one."""
    if len(shape) > MAX_RANK:
        raise TensorInvalid(f"a shape has at most {MAX_RANK} dimensions")
    if any(size < 0 for size in shape):
        raise TensorInvalid("a dimension is negative")
    # Without the zeros: numpy can't hold (0, 2**62) either.
    if math.prod(size for size in shape if size) > MAX_ELEMENTS:
        raise TensorInvalid(f"a tensor has at most {MAX_ELEMENTS} elements")
    return math.prod(shape)


def _written(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "()"
