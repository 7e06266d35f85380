"""Values as lists of JSON. The first elements tell shape and type, and everything else has to agree with them."""

import array
import itertools
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from stepscope.core.predictions import Array
from stepscope.core.servables import Value
from stepscope.dialects.mindspore import objects
from stepscope.dialects.mindspore.refusals import Refusal, parser

_LEAVES = (bool, int, float, str)
FEW = 64
"""Up to so many elements a plain loop is faster than making sets and arrays."""
_INT32 = (-(2**31), 2**31 - 1)


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
    if kind is float and len(level) <= FEW:
        with np.errstate(over="ignore"):  # too large becomes infinite
            return np.array(items, np.float32)
    return _converted(level, kind, wrap=wrap).reshape(shape)


def _are_all(items: list[Any], kind: type) -> bool:
    if len(items) <= FEW:
        for item in items:  # noqa: SIM110 - a generator costs twice as much as all that is looked at
            if type(item) is not kind:
                return False
        return True
    return set(map(type, items)) == {kind}


def _have_length(lists: list[list[Any]], length: int) -> bool:
    if len(lists) <= FEW:
        for each in lists:  # noqa: SIM110 - as above
            if len(each) != length:
                return False
        return True
    return set(map(len, lists)) == {length}


def _check_depth(shape: list[int]) -> None:
    if len(shape) > objects.MOST_DIMENSIONS:
        raise parser(f"invalid json array: the dims are {len(shape)}, expected to be at most {objects.MOST_DIMENSIONS}")


def _converted(numbers: list[Any], kind: type, *, wrap: bool) -> Array:
    if kind is bool:
        return np.array(numbers, np.bool_)
    if kind is float:
        # Four times as fast as numpy's own reading of a list. Too large becomes infinite, too small 0.
        return np.frombuffer(array.array("f", numbers), np.float32)
    if not wrap and not (_INT32[0] <= min(numbers) and max(numbers) <= _INT32[1]):
        raise parser("json value is out of the range of int32")
    try:
        return np.frombuffer(array.array("q", numbers), np.int64).astype(np.int32)
    except OverflowError:  # beyond int64, up to uint64
        return np.array([number & 0xFFFFFFFF for number in numbers], np.uint32).view(np.int32)


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
