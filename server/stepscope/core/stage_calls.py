"""Calling a stage's function: what it receives, what it may return, and who fails with it.

A plain function that raises fails its instance alone. A generator that raises at one instance fails that one, and is
called again with those behind it. A function that returns a list and raises fails all that it was given.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepscope.core.frames import Frame
from stepscope.core.servables import FunctionDeclaration, Listed, StageFailed, Value, Values

Outcome = Values | StageFailed
_NUMBERS = "biuf"
_INT64 = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """A function as a stage of a method calls it. `name` is what traces call it; stages count from 1."""

    function: FunctionDeclaration
    name: str
    method: str
    index: int
    outputs_count: int


def call(call: Call, batch: Sequence[Values]) -> list[Outcome]:
    """Return what the function makes of each instance, in order. Never raises what the function raises."""
    given = [tuple([_given(value) for value in values]) for values in batch]
    if call.function.batch_size is None:
        return [_one(call, inputs) for inputs in given]
    outcomes: list[Outcome] = []
    while len(outcomes) < len(given):
        outcomes += _several(call, given[len(outcomes) :])
    return outcomes


def _given(value: Value) -> Any:
    """Return a value as functions receive it: bytes as an array of uint8."""
    if isinstance(value, Frame):
        return value.array()
    if isinstance(value, Listed):
        value = value.item
    # A copy, since a function may write into what it gets.
    return np.frombuffer(bytearray(value), np.uint8) if isinstance(value, bytes) else value


def _one(call: Call, inputs: tuple[Any, ...]) -> Outcome:
    return _attempt(call, lambda: call.function.call(*inputs))


def _attempt(call: Call, produce: Callable[[], Any]) -> Outcome:
    try:
        return _outputs(call, produce())
    except StageFailed as failure:
        return failure
    except Exception as fault:
        return StageFailed(str(fault))


def _several(call: Call, instances: list[tuple[Any, ...]]) -> list[Outcome]:
    """Call once; the answer may be shorter than the instances when a generator raised."""
    try:
        results = call.function.call(instances)
    except Exception as fault:
        return [StageFailed(str(fault))] * len(instances)
    if isinstance(results, Iterator):
        return _generated(call, results, len(instances))
    if not isinstance(results, Sequence | np.ndarray) or isinstance(results, str | bytes):
        return [_unusable(results)] * len(instances)
    if len(results) < len(instances):
        return [_too_few(call, len(results), len(instances))] * len(instances)
    return [_attempt(call, lambda item=item: item) for item in _first(results, len(instances))]  # type: ignore[misc]


def _first(results: Iterable[Any], count: int) -> list[Any]:
    return [item for _, item in zip(range(count), results, strict=False)]


def _generated(call: Call, results: Iterator[Any], count: int) -> list[Outcome]:
    outcomes: list[Outcome] = []
    while len(outcomes) < count:
        try:
            item = next(results)
        except StopIteration:
            return outcomes + [_too_few(call, len(outcomes), count)] * (count - len(outcomes))
        except Exception as fault:
            return [*outcomes, StageFailed(str(fault))]
        outcomes.append(_attempt(call, lambda item=item: item))  # type: ignore[misc]
    return outcomes


def _outputs(call: Call, result: Any) -> Values:
    items = tuple(result) if isinstance(result, tuple | list) else (result,)
    if len(items) != call.outputs_count:
        raise StageFailed(
            f"The outputs number {len(items)} of one instance returned by function '{call.function.name}' is not equal "
            f"to the outputs number {call.outputs_count}  registered in method {call.method}"
        )
    return tuple([_taken(item) for item in items])


def _too_few(call: Call, returned: int, given: int) -> StageFailed:
    return StageFailed(
        f"The number {returned} of instances returned by function '{call.function.name}' is not equal to the number "
        f"{given} of instances provided to this function."
    )


def _taken(item: Any) -> Value:
    """Return what a function gave as a value. Raises `StageFailed` for what has no place on the wire."""
    if isinstance(item, bytes | Frame):
        return item
    if isinstance(item, str):
        return _text(item)
    if isinstance(item, int) and not isinstance(item, bool):
        if not _INT64[0] <= item <= _INT64[1]:
            raise _unusable(item)
        return np.asarray(item, np.int64)
    if not isinstance(item, bool | float | np.generic | np.ndarray) and not hasattr(item, "__array__"):
        raise _unusable(item)
    array = np.asarray(item)
    if array.dtype.kind not in _NUMBERS or array.dtype.itemsize > 8:
        raise _unusable(item)
    if not array.flags.c_contiguous or not array.dtype.isnative:
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return array


def _text(item: str) -> str:
    """Return a text that has a place in UTF-8; numpy's own are of another class."""
    try:
        item.encode()
    except UnicodeEncodeError:
        raise StageFailed("Push py task result cause exception: a str output isn't Unicode") from None
    return str(item)


def _unusable(item: object) -> StageFailed:
    return StageFailed(f"Push py task result cause exception: Get illegal result data with type {type(item)}")
