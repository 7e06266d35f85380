"""From msgspec's message to one that says where, why, and what would have been taken."""

from __future__ import annotations

import enum
import re
import types
import typing
from typing import Any

import msgspec

from stepscope.core.errors import InvalidField

_MESSAGE = re.compile(r"(?P<reason>.*?)(?: - at `(?P<key>key in )?(?P<path>\$.*)`)?", re.DOTALL)
_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[(\.\.\.)\]")


def explain(error: msgspec.ValidationError, kind: Any, parameter: str = "") -> InvalidField:
    """Return the error with a JSON pointer into the body, or the parameter's name, and the known values."""
    match = _MESSAGE.fullmatch(str(error))
    assert match is not None
    parts = _parts(match["path"] or "$")
    reason = match["reason"].rstrip(".")
    known = known_values(kind, parts) if "enum value" in reason else ()
    pointer = parameter or "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
    return InvalidField(pointer, _bounded(reason), known)


def _parts(path: str) -> list[str]:
    # msgspec writes `[...]` for any key of a map and `[0]` for the place in a list.
    return [name or index or "*" for name, index, _ in _PART.findall(path)]


def _bounded(reason: str) -> str:
    """A wrong value is quoted in the reason; a long one is cut."""
    return reason if len(reason) <= 300 else reason[:200] + "..." + reason[-60:]


def known_values(kind: Any, parts: list[str]) -> tuple[str, ...]:
    """Return the enum's values at a path into a type."""
    for part in parts:
        kind = _child(_bare(kind), part)
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return tuple(str(member.value) for member in kind)
    if typing.get_origin(kind) is typing.Literal:
        return tuple(str(value) for value in typing.get_args(kind))
    return ()


def _bare(kind: Any) -> Any:
    """Take the constraints and `UnsetType` or None off a type."""
    while True:
        origin = typing.get_origin(kind)
        if origin is typing.Annotated:
            kind = typing.get_args(kind)[0]
        elif origin in (typing.Union, types.UnionType):
            members = [a for a in typing.get_args(kind) if a not in (msgspec.UnsetType, type(None))]
            if len(members) != 1:
                return kind
            kind = members[0]
        else:
            return kind


def _child(kind: Any, part: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in msgspec.structs.fields(kind):
            if field.encode_name == part:
                return hints[field.name]
        return None
    arguments = typing.get_args(kind)
    return arguments[-1] if arguments else None
