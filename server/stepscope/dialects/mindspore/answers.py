"""Answers: instances of outputs by name as compact JSON, and errors.

Numbers are written as other servers of this wire write them: integers with all their digits, floats widened to double
and with the shortest text that reads back as the same double, a fraction or an exponent always, `null` for what isn't
finite.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pybase64

from stepscope.core.frames import Frame
from stepscope.core.predictions import Array
from stepscope.core.servables import Instance, Listed, StageFailed, Value
from stepscope.dialects.mindspore.refusals import Refusal, cut

_TINY, _WIDE = 1e-4, 1e15
"""Between these two, orjson writes floats as this wire does."""
# Each begins with plain characters, which is what makes a search through megabytes fast.
_SMALL = re.compile(rb"0\.0000\d+")
_SHORT = re.compile(rb"e-(\d)(?!\d)")
_LONG = re.compile(rb"(?<![\d.])(\d{16})\.(\d+)")
_ODD = re.compile(rb"0\.0000|e-|\d{16}\.")
FEW = 64
"""Up to so many floats their text is looked at, which is faster than looking at the array."""


def write_error(text: str) -> bytes:
    """Return the body that tells one text for the whole request."""
    return orjson.dumps({"error_msg": text})


def write_outcomes(outcomes: Sequence[Instance | StageFailed]) -> bytes:
    """Return the body for a request that ran. Raises `Refusal` with the text when all instances failed alike."""
    texts = {str(each) if isinstance(each, StageFailed) else None for each in outcomes}
    if len(texts) == 1 and (text := texts.pop()) is not None:
        raise Refusal(cut(text))
    instances = [
        {"error_msg": cut(str(each))}
        if isinstance(each, StageFailed)
        else {name: _json(value) for name, value in each.items()}
        for each in outcomes
    ]
    return orjson.dumps({"instances": instances}, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS)


def _json(value: Value) -> Any:
    if isinstance(value, np.ndarray):
        return _numbers(value)
    if isinstance(value, Frame):
        return _numbers(value.array())
    if isinstance(value, Listed):
        return [_json(value.item)]
    return value if isinstance(value, str) else {"b64": pybase64.b64encode(value).decode()}


def _numbers(array: Array) -> Any:
    if array.dtype.kind == "O":
        raise Refusal("Failed to construct the response: reply string or bytes, shape should be 1")
    if array.dtype.kind == "f":
        return _floats(np.asarray(array, np.float64, order="C"))
    if array.ndim == 0:
        return array.item()
    return np.ascontiguousarray(array) if array.size else array.tolist()


def _floats(wide: Array) -> Any:
    if wide.size <= FEW:
        text = orjson.dumps(wide.tolist())
        return orjson.Fragment(_rewritten(text) if _ODD.search(text) else text)
    sizes = np.abs(wide)
    if not (sizes >= _WIDE).any() and not ((sizes < _TINY) & (sizes > 0)).any():
        return wide
    return orjson.Fragment(_rewritten(orjson.dumps(wide, option=orjson.OPT_SERIALIZE_NUMPY)))


def _rewritten(text: bytes) -> bytes:
    return _LONG.sub(_as_large, _SHORT.sub(rb"e-0\1", _SMALL.sub(_as_small, text)))


def _as_small(match: re.Match[bytes]) -> bytes:
    """Write 0.00001 as 1e-05, unless it is the end of a larger number."""
    before = match.string[match.start() - 1 : match.start()]
    return match[0] if before.isdigit() else repr(float(match[0])).encode()


def _as_large(match: re.Match[bytes]) -> bytes:
    """Write 1000000000000000.0 as 1e+15."""
    digits = (match[1] + match[2]).rstrip(b"0")
    fraction = b"." + digits[1:] if len(digits) > 1 else b""
    return digits[:1] + fraction + b"e+15"
