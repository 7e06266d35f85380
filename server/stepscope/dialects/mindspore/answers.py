"""Answers: instances of outputs by name as compact JSON, and errors.

Numbers are written as other servers of this wire write them: integers with all their digits, floats widened to double
and with the shortest text that reads back as the same double, a fraction or an exponent always, `null` for what isn't
finite.
"""

import itertools
import math
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
_ODD = re.compile(rb"0\.0000|e-|\d{16}\.")
"""What the text of a float beyond them may hold."""
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
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            wide = np.asarray(array, np.float64, order="C")
        return _floats(wide)
    if array.ndim == 0:
        return array.item()
    return np.ascontiguousarray(array) if array.size else array.tolist()


def _floats(wide: Array) -> Any:
    if wide.size <= FEW:
        text = orjson.dumps(wide.tolist())
        if not _ODD.search(text):
            return orjson.Fragment(text)
    sizes = np.abs(wide)
    odd = ((sizes < _TINY) & (sizes > 0)) | ((sizes >= _WIDE) & (sizes < np.inf))
    return orjson.Fragment(_with_odd(wide, odd)) if odd.any() else _plain(wide)


def _with_odd(wide: Array, odd: Array) -> bytes:
    """Write an array some of whose numbers orjson writes otherwise: those are null at first, and filled in."""
    text = orjson.dumps(_plain(np.where(odd, np.nan, wide)), option=orjson.OPT_SERIALIZE_NUMPY)
    first, *others = text.split(b"n")  # by one letter: three times as fast as by the word
    parts = [first, *[part.removeprefix(b"ull") for part in others]]
    nulls = ~np.isfinite(wide) | odd
    texts = [_text(number) for number in wide[nulls].tolist()]
    return b"".join(itertools.chain.from_iterable(zip(parts, [*texts, b""], strict=True)))


def _plain(wide: Array) -> Any:
    """Return an array as orjson takes it: those of shape () it doesn't."""
    return wide if wide.ndim else wide.item()


def _text(number: float) -> bytes:
    """Write a number as Python does, but for an exponent from 1e15 on: 1e+15 for 1000000000000000.0."""
    if not math.isfinite(number):
        return b"null"
    if not _WIDE <= abs(number) < 1e16:
        return repr(number).encode()
    digits = str(int(abs(number))) + repr(number).partition(".")[2]
    digits = digits.rstrip("0")
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{'-' if number < 0 else ''}{digits[0]}{fraction}e+15".encode()
