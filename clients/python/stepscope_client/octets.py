"""Arrays as bytes, and the one operation that carries them, which the generated client knows only as JSON."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stepscope_generated import ApiClient
from stepscope_generated.api_response import ApiResponse

from stepscope_client.errors import ArgumentInvalid

OCTETS = "application/octet-stream"
JSON = "application/json"

DTYPES = {
    **dict.fromkeys("bhilqn", "int"),
    **dict.fromkeys("BHILQN", "uint"),
    **dict.fromkeys("efd", "float"),
}
"""The kinds of number by the `struct` module's letters; the width comes from the item's size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Octets:
    """Little-endian numbers in C order; the first number of `shape` counts the inputs."""

    shape: tuple[int, ...]
    dtype: str
    data: bytes


def to_octets(values: object, shape: Sequence[int] | None = None, dtype: str | None = None) -> Octets:
    """Return any buffer's numbers. Raises `ArgumentInvalid`.

    A buffer with a shape and a type, such as a numpy array, speaks for itself. Plain bytes need `shape` and `dtype`.
    What is no buffer is made an array by numpy, if numpy is installed.
    """
    view = _view(values)
    octets = _swapped(view)
    own = Octets(
        shape=tuple(shape if shape is not None else view.shape or ()),
        dtype=dtype or _dtype(view),
        data=octets,
    )
    if not own.shape:
        raise ArgumentInvalid("The array has no shape; the first number of a shape counts the inputs.")
    if math.prod(own.shape) * width(own.dtype) != len(own.data):
        raise ArgumentInvalid(f"{len(own.data)} bytes aren't {own.dtype} numbers of shape {own.shape}.")
    return own


def width(dtype: str) -> int:
    """Return how many bytes one number takes."""
    if dtype == "bool":
        return 1
    digits = dtype.lstrip("abcdefghijklmnopqrstuvwxyz")
    if not digits.isdecimal() or int(digits) % 8:
        raise ArgumentInvalid(f"dtype: It is {dtype!r}; known ones are such as float32, int64, uint8, bool.")
    return int(digits) // 8


def predict_octets(
    api: ApiClient,
    query: dict[str, Any],
    body: bytes,
    accept: str,
    *,
    _headers: dict[str, str],
    _request_timeout: tuple[float, float],
) -> ApiResponse[Any]:
    """Send `predictTensors` as bytes, with the keywords of a generated method."""
    method, url, headers, content, form = api.param_serialize(
        method="POST",
        resource_path="/api/predict/tensors",
        query_params=list(query.items()),
        header_params={**_headers, "Accept": f"{accept}, application/problem+json", "Content-Type": OCTETS},
        body=body,
        auth_settings=["bearerAuth"],
        collection_formats={"shape": "csv"},
    )
    answer = api.call_api(method, url, headers, content, form, _request_timeout=_request_timeout)
    answer.read()  # type: ignore[no-untyped-call]
    types = {"200": "FeaturesResponse"} if accept == JSON else {}
    return api.response_deserialize(response_data=answer, response_types_map=types)


def _view(values: object) -> memoryview:
    try:
        return memoryview(values)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        pass
    try:
        import numpy as np
    except ImportError:
        raise ArgumentInvalid(f"A {type(values).__name__} isn't a buffer, and numpy isn't installed.") from None
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ArgumentInvalid(f"A {type(values).__name__} of {array.dtype} is no array of numbers.")
    return memoryview(array.data)


def _dtype(view: memoryview) -> str:
    letter = view.format.lstrip("@=<>!")
    if letter == "?":
        return "bool"
    if letter not in DTYPES:
        raise ArgumentInvalid(f"Numbers of the format {view.format!r} can't be sent.")
    return f"{DTYPES[letter]}{view.itemsize * 8}"


def _swapped(view: memoryview) -> bytes:
    """Return the view's bytes in C order, each number with its lowest byte first."""
    order = view.format[:1]
    big = order in (">", "!") or (order != "<" and sys.byteorder == "big")
    data, size = view.tobytes(), view.itemsize
    if not big or size == 1:
        return data
    turned = bytearray(len(data))
    for place in range(size):
        turned[place::size] = data[size - 1 - place :: size]
    return bytes(turned)
