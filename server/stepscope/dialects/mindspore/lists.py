"""Values as lists of JSON. The first elements tell shape and type, and everything else has to agree with them."""

import array
import itertools
import struct
from collections.abc import Mapping
from math import prod
from operator import countOf
from typing import Any

import numpy as np

from stepscope.core.predictions import Array
from stepscope.core.servables import Value
from stepscope.dialects.mindspore import objects
from stepscope.dialects.mindspore.refusals import Refusal, parser

_LEAVES = (bool, int, float, str)
FEW = 64
"""Up to so many floats an `array` is faster than all that a `struct` needs besides."""
_INT32 = (-(2**31), 2**31 - 1)
_LOW = 2**32 - 1
"""The bits that wrapping keeps."""


def read_list(items: list[Any], *, wrap: bool) -> Value:
    """Return the array, text or bytes that nested lists hold. Raises `Refusal`.

    `wrap` keeps the low 32 bits of integers that don't fit an int32; otherwise they are refused.
    """
    shape, leaf = _walk(items)
    if not shape:
        raise parser("json array, shape is empty")
    if leaf is None or isinstance(leaf, list):
        raise parser("json array, data type is unknown")
    if isinstance(leaf, str | dict):
        return _single(shape, leaf)
    return _numbers(items, shape, type(leaf), wrap=wrap)


def scalar(number: bool | int | float, *, wrap: bool) -> Array:
    """Return a number as an array of shape (). Raises `Refusal`."""
    if isinstance(number, bool):
        return np.asarray(number, np.bool_)
    return _converted([number], type(number), wrap=wrap).reshape(())


def _walk(items: list[Any]) -> tuple[list[int], Any]:
    """Return the lengths of the first elements, level by level, and the first leaf."""
    shape: list[int] = []
    level: Any = items
    while isinstance(level, list) and level:
        shape.append(len(level))
        level = level[0]
    return shape, level


def _single(shape: list[int], leaf: str | Mapping[str, Any]) -> Value:
    """Return the one text or the one object that nested lists hold."""
    kind = "str" if isinstance(leaf, str) else objects.kind_of(leaf)
    if kind is None:
        raise parser("json array, data type is unknown")
    if kind in objects.OCTETS and prod(shape) != 1:
        raise parser("json array, string or bytes type only support one item")
    if kind not in objects.OCTETS:
        raise parser("json array, item is object type, object only support string or bytes type")
    _check_depth(shape)
    value = leaf if isinstance(leaf, str) else objects.read_octets(leaf.get("b64"), kind)
    return objects.shaped(value, tuple(shape))


def _numbers(items: list[Any], shape: list[int], kind: type, *, wrap: bool) -> Array:
    _check_depth(shape)
    level: list[Any] = items
    for length in shape[1:]:
        if not _are_all(level, list) or not _have_length(level, length):
            raise _disagreement(items, shape, kind)
        level = list(itertools.chain.from_iterable(level))
    if not _are_all(level, kind):
        raise _disagreement(items, shape, kind)
    return _converted(level, kind, wrap=wrap).reshape(shape)


def _are_all(items: list[Any], kind: type) -> bool:
    return countOf(map(type, items), kind) == len(items)


def _have_length(lists: list[list[Any]], length: int) -> bool:
    return countOf(map(len, lists), length) == len(lists)


def _check_depth(shape: list[int]) -> None:
    if len(shape) > objects.MOST_DIMENSIONS:
        raise parser(f"invalid json array: the dims are {len(shape)}, expected to be at most {objects.MOST_DIMENSIONS}")


def _converted(numbers: list[Any], kind: type, *, wrap: bool) -> Array:
    """Return numbers of one kind as an array. `array` and `struct` read lists several times as fast as numpy does."""
    if kind is bool:
        return np.array(numbers, np.bool_)
    if kind is float and len(numbers) <= FEW:
        return np.frombuffer(array.array("f", numbers), np.float32)
    if kind is float:
        with np.errstate(over="ignore", under="ignore"):  # too large becomes infinite, too small 0
            return np.frombuffer(struct.pack(f"{len(numbers)}d", *numbers), np.float64).astype(np.float32)
    return _integers(numbers, wrap=wrap)


def _integers(numbers: list[int], *, wrap: bool) -> Array:
    try:
        wide = np.frombuffer(struct.pack(f"{len(numbers)}q", *numbers), np.int64)
        fits = wrap or (wide.min() >= _INT32[0] and wide.max() <= _INT32[1])
    except struct.error:  # beyond int64, up to uint64
        wide = np.array([number & _LOW for number in numbers], np.int64)
        fits = wrap
    if not fits:
        raise parser("json value is out of the range of int32")
    return wide.astype(np.int32)


def _disagreement(items: list[Any], shape: list[int], kind: type) -> Refusal:
    """Return what is wrong where the lists first differ from the first elements, depth first."""
    found = _look(items, shape, 0, kind)
    assert found is not None, "something differs"
    return found


def _look(items: Any, shape: list[int], depth: int, kind: type) -> Refusal | None:
    if not isinstance(items, list):
        return parser("invalid json array: json type is not array")
    if len(items) != shape[depth]:
        return parser(f"invalid json array: json size is {len(items)}, the dim {depth} expected to be {shape[depth]}")
    if depth + 1 < len(shape):
        found = (_look(item, shape, depth + 1, kind) for item in items)
        return next((refusal for refusal in found if refusal is not None), None)
    for item in items:
        if not isinstance(item, _LEAVES):
            return parser("json array, data should be number, bool, string or bytes")
        if type(item) is not kind:
            return parser("json array, elements type is not equal")
    return None
