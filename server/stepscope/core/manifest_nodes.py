"""A mapping inside a document that an operator wrote, read key by key with faults that name the field."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from stepscope.core.errors import ManifestInvalid

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A mapping of the document in the file `path`, reached by the dotted `name`."""

    path: Path
    name: str
    values: Mapping[object, object]

    def invalid(self, key: str, reason: str) -> ManifestInvalid:
        """Return the error for a field of this mapping."""
        return ManifestInvalid(self.path, f"{self.name}.{key}" if self.name else key, reason)

    def check_keys(self, known: Sequence[str]) -> None:
        """Refuse keys that are nearly, but not quite, known ones; leave foreign keys alone."""
        for key in self.values:
            near = [] if key in known else get_close_matches(str(key).lower(), known, n=1, cutoff=0.8)
            if near:
                raise self.invalid(str(key), f"isn't known; did you mean {near[0]!r}?")

    def node(self, key: str, known: Sequence[str] = ()) -> "Node":
        """Return the mapping at `key`, empty when it isn't there."""
        return self._child(key, self.values.get(key) or {}, known)

    def nodes(self, key: str) -> list["Node"]:
        """Return the mappings in the list at `key`."""
        entries = self.values.get(key) or []
        if not isinstance(entries, Sequence) or isinstance(entries, str):
            raise self.invalid(key, "must be a list")
        known = ("type", "description", "parameters")
        return [self._child(f"{key}[{position}]", entry, known) for position, entry in enumerate(entries)]

    def _child(self, key: str, values: object, known: Sequence[str]) -> "Node":
        if not isinstance(values, Mapping):
            raise self.invalid(key, "must be a mapping of keys to values")
        child = Node(path=self.path, name=f"{self.name}.{key}" if self.name else key, values=values)
        child.check_keys(known)
        return child

    def text(self, key: str) -> str:
        """Return the scalar at `key` as text, empty when it isn't there."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, Scalar):
            raise self.invalid(key, "must be a text")
        return str(value)

    def required_text(self, key: str) -> str:
        """Return the text at `key`, which must be there."""
        text = self.text(key).strip()
        if not text:
            raise self.invalid(key, "is missing")
        return text

    def texts(self, key: str) -> dict[str, str]:
        """Return the mapping at `key` with its values as texts."""
        node = self.node(key)
        return {str(name): node.text(str(name)) for name in node.values}

    def text_list(self, key: str) -> tuple[str, ...]:
        """Return the list of texts at `key`; one text is a list of one."""
        value = self.values.get(key) or ()
        entries = (value,) if isinstance(value, str) else value
        if not isinstance(entries, Sequence) or not all(isinstance(entry, Scalar) for entry in entries):
            raise self.invalid(key, "must be a list of texts")
        return tuple(str(entry) for entry in entries)

    def flag(self, key: str, default: bool = False) -> bool:
        """Return the truth value at `key`."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.invalid(key, "must be true or false")
        return value

    def choice(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        """Return the text at `key`, which must be one of `known` in any case of letters."""
        text = self.text(key)
        if not text and default is not None:
            return default
        found = [name for name in known if name.lower() == text.lower()]
        if not found:
            problem = f"{text!r} isn't known" if text else "is missing"
            raise self.invalid(key, f"{problem}; known are {', '.join(name for name in known if name)}")
        return found[0]

    def index(self, key: str, default: int) -> int:
        """Return the index of an output at `key`."""
        text = self.text(key)
        if text and not (text.isascii() and text.isdecimal()):
            raise self.invalid(key, "must be the index of an output, 0 or more")
        return int(text) if text else default

    def numbers(self, key: str, default: float) -> tuple[float, ...]:
        """Return the number or list of numbers at `key`."""
        value = self.values.get(key)
        if value is None:
            return (default,)
        entries = value if isinstance(value, list) else [value]
        numbers = tuple(float(entry) for entry in entries if isinstance(entry, int | float) and entry is not True)
        if not entries or len(numbers) != len(entries) or not all(math.isfinite(number) for number in numbers):
            raise self.invalid(key, "must be a number or a list of numbers")
        return numbers

    def whole_numbers(self, key: str) -> list[int | None] | None:
        """Return the list of whole numbers at `key` (null stays None); one number is a list of one."""
        value = self.values.get(key)
        if value is None:
            return None
        entries = value if isinstance(value, list) else [value]
        numbers = [entry for entry in entries if entry is None or (isinstance(entry, int) and entry is not True)]
        if not entries or len(numbers) != len(entries):
            raise self.invalid(key, "must be a whole number or a list of them")
        return numbers
