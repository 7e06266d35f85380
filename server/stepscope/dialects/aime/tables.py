"""Reading TOML tables key by key: wrong values are refused with file and key, unknown keys are warned of."""

import logging
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from stepscope.core.errors import SettingsInvalid

log = logging.getLogger("stepscope.aime")

Values = Mapping[str, Any]


def read_file(file: Path) -> dict[str, Any]:
    """Return a file's tables. Raises `SettingsInvalid`."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise SettingsInvalid(f"{file} can't be read: {fault.strerror}") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise SettingsInvalid(f"{file} isn't TOML: {fault}") from fault


class Table:
    """A table of a file. What was never asked for is unknown."""

    def __init__(self, file: Path, path: str, values: Values) -> None:
        self.file = file
        self.path = path
        self.values = values
        self._asked: set[str] = set()

    def section(self, key: str) -> "Table":
        """Return a table below this one; an empty one if it isn't there."""
        return Table(self.file, self._named(key), self.mapping(key))

    def sections(self) -> dict[str, "Table"]:
        """Return all tables below this one, by name."""
        return {key: self.section(key) for key in self.values}

    def mapping(self, key: str) -> Values:
        """Return a table's values."""
        value: Values = self._take(key, {})
        if not isinstance(value, dict):
            self._refuse(key, "a table", value)
        return value

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        value: str = self._take(key, default)
        if not isinstance(value, str):
            self._refuse(key, "a text", value)
        return value

    def required_text(self, key: str) -> str:
        """Return a text that must be there."""
        text = self.text(key)
        if not text:
            raise SettingsInvalid(f"{self.file}: {self._named(key)} is missing.")
        return text

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a truth value."""
        value: bool = self._take(key, default)
        if not isinstance(value, bool):
            self._refuse(key, "true or false", value)
        return value

    def integer(self, key: str, default: int | None, least: int = 0) -> int | None:
        """Return a whole number."""
        value: int | None = self._take(key, default)
        is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
        if value is not default and not is_whole:
            self._refuse(key, f"a whole number from {least} on", value)
        return value

    def count(self, key: str, default: int, least: int = 0) -> int:
        """Return a whole number that has a default."""
        value = self.integer(key, default, least)
        assert value is not None
        return value

    def texts(self, key: str, default: Iterable[str] = ()) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self._take(key, list(default))
        if not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            self._refuse(key, "a list of texts", value)
        return tuple(value)

    def names_and_texts(self, key: str) -> dict[str, str]:
        """Return a table of texts by name."""
        value = self.mapping(key)
        if not all(isinstance(each, str) and each for each in value.values()):
            self._refuse(key, "a table of texts", "...")  # the values may be secrets
        return dict(value)

    def anything(self, key: str, default: Any = None) -> Any:
        """Return a value of any type."""
        return self._take(key, default)

    def skip(self, *keys: str) -> None:
        """Take keys for known that mean nothing here."""
        self._asked.update(keys)

    def warn_of_unknown(self) -> None:
        """Log the keys that nobody asked for."""
        for key in self.values:
            if key not in self._asked:
                log.warning("%s: %s is unknown, and means nothing here", self.file, self._named(key))

    def refuse(self, key: str, reason: str) -> SettingsInvalid:
        """Return the refusal of a key."""
        return SettingsInvalid(f"{self.file}: {self._named(key)}: {reason}.")

    def _take(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        return self.values.get(key, default)

    def _named(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _refuse(self, key: str, wanted: str, value: Any) -> NoReturn:
        shown = "" if "key" in key.lower() or "password" in key.lower() else f", not {value!r}"
        raise self.refuse(key, f"it has to be {wanted}{shown}")
