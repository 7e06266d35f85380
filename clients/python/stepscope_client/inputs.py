"""Inputs as callers give them."""

import base64
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stepscope_client.errors import ArgumentInvalid

Image = str | os.PathLike[str] | bytes
"""A file's path, or its bytes."""


def named(inputs: Iterable[Any]) -> list[tuple[str, Any]]:
    """Return the inputs with their ids: their places, unless a pair names another."""
    if isinstance(inputs, str | bytes | os.PathLike):
        raise ArgumentInvalid(f"A list of inputs is expected, not a single {type(inputs).__name__}.")
    return [item if isinstance(item, tuple) else (str(place), item) for place, item in enumerate(inputs)]


def base64_of(image: Image) -> str:
    """Return a file's bytes as base64. Raises `OSError` for a path that can't be read."""
    data = image if isinstance(image, bytes | bytearray | memoryview) else Path(image).read_bytes()
    return base64.b64encode(data).decode("ascii")
