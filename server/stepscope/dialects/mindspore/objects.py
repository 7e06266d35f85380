"""Values as objects of JSON: `{"b64": ..., "type": ..., "shape": ...}`, little-endian bytes in C order."""

import binascii
import re
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import orjson
import pybase64

from stepscope.core.servables import Listed, Value
from stepscope.dialects.mindspore.refusals import Refusal, parser

TYPES = {
    name: name
    for name in (
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "bool", "str", "bytes"),
    )
} | {"fp16": "float16", "fp32": "float32", "fp64": "float64"}
"""The names that a request may use, and the type that each one means."""
OCTETS = ("str", "bytes")
LARGEST_LENGTH = 2**31 - 1
MOST_DIMENSIONS = 32
_FOREIGN = re.compile(r"[^A-Za-z0-9+/=]")


def read_object(item: Mapping[str, Any]) -> Value:
    """Return what an object holds; a text or bytes of another shape than () and (1,) as an array of objects.

    Raises `Refusal`, for the first fault in the order of the keys' bytes.
    """
    _check_keys(item)
    kind = TYPES[item.get("type", "bytes")]
    shape = tuple(item.get("shape", ()))
    if kind in OCTETS:
        if prod(shape) != 1:
            raise parser(
                "json object, only support scalar when data type is string or bytes, please check 'type' or 'shape'"
            )
        return shaped(read_octets(item["b64"], kind), shape)
    return _numbers(_decoded(item["b64"]), kind, shape)


def shaped(value: str | bytes, shape: tuple[int, ...]) -> Value:
    """Return a text or bytes in a shape of one element."""
    if not shape:
        return value
    if shape == (1,):
        return Listed(value)
    array = np.empty(shape, object)
    array.fill(value)
    return array


def read_octets(text: Any, kind: str) -> str | bytes:
    """Return the bytes, or the text, that base64 holds. Raises `Refusal`."""
    octets = _decoded(text)
    if kind == "bytes":
        return octets
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise parser("decode str failed, the decoded base64 is not UTF-8") from None


def kind_of(item: Mapping[str, Any]) -> str | None:
    """Return the type that an object names, bytes where it names none, None where there is no such type."""
    name = item.get("type", "bytes")
    if not isinstance(name, str):
        raise parser("json object, key is 'type', value should be string type")
    return TYPES.get(name)


def _check_keys(item: Mapping[str, Any]) -> None:
    if not item:
        raise parser("json object, value is empty")
    if len(item) > 3:
        raise parser("json object, items size is more than 3, only support specified ['b64', 'type', 'shape']")
    for key in sorted(item):
        if key == "type":
            if kind_of(item) is None:
                raise parser(f"json object, specified type:'{item['type']}' is illegal")
        elif key == "shape":
            _check_shape(item["shape"])
        elif key != "b64":
            raise parser(f"json object, key is not ['b64', 'type', 'shape'], fail key:{key}")
    if "b64" not in item:
        raise parser("json object, 'b64' should be specified only one time")


def _check_shape(shape: Any) -> None:
    if not isinstance(shape, list):
        raise parser("json object, key is 'shape', value should be array type")
    ended = False
    for length in shape:
        if ended:
            raise parser(f"json object, key is 'shape', invalid shape value {_shown(shape)}")
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise parser("json object, key is 'shape', array value should be unsigned integer")
        if LARGEST_LENGTH < length < 2**32:
            reason = "number value should not be negative number"
            raise parser(f"json object, key is 'shape', {reason}, shape value: {_shown(shape)}")
        ended = length == 0
    if len(shape) > MOST_DIMENSIONS:
        raise parser(f"json object, key is 'shape', invalid shape value {_shown(shape)}")


def _shown(shape: list[Any]) -> str:
    return orjson.dumps(shape).decode()


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise parser("get scalar data failed, type is string, but json is not string type")
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _undecodable(text) from None


def _undecodable(text: str) -> Refusal:
    """Say what is wrong with base64: its length or characters, or padding before the end."""
    padding = text.find("=")
    early = padding >= 0 and padding % 4 < 2
    if len(text.encode("utf-8", "replace")) % 4 or _FOREIGN.search(text) or early:
        return parser(f"'{text}' is illegal b64 encode string")
    return parser("decode base64 failed, size is not matched.")


def _numbers(octets: bytes, kind: str, shape: tuple[int, ...]) -> Value:
    dtype = np.dtype(kind).newbyteorder("<")
    count = prod(shape)
    if len(octets) != count * dtype.itemsize:
        given = f"type:{kind}; type size:{dtype.itemsize}; element nums:{count}"
        raise parser(f"size is not matched, decode base64 size:{len(octets)}; Given info: {given}")
    if kind == "bool":
        return np.frombuffer(octets, np.uint8).reshape(shape).astype(np.bool_)
    # A copy: a stage may change it in place, and memory of bytes is read-only.
    return np.frombuffer(octets, dtype).astype(np.dtype(kind)).reshape(shape)
