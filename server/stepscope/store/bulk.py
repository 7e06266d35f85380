"""Statements for many rows at once: SQLite executes them row by row, PostgreSQL takes all rows as one JSON text.

For PostgreSQL each row by itself would cost more in the driver than in the database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, Table, Text

Values = Mapping[str, Any]

_TYPES = {Text: "text", BigInteger: "bigint", Integer: "integer", Double: "double precision", LargeBinary: "text"}


@dataclass(frozen=True, slots=True)
class Bulk:
    """A statement for many rows; bytes come to PostgreSQL in base64."""

    sqlite: str
    postgresql: str


def insert(table: Table, names: Sequence[str], conflict: str = "") -> Bulk:
    """Return a statement that adds rows; `conflict` is its clause for those that are there."""
    columns = [table.c[name] for name in names]
    into = f"INSERT INTO {table.name} ({', '.join(names)})"
    values = ", ".join(f":{name}" for name in names)
    found = f"SELECT {', '.join(map(_value, columns))} FROM {_given(columns)}"  # noqa: S608 - names of ours
    return Bulk(f"{into} VALUES ({values}) {conflict}", f"{into} {found} {conflict}")


def update(table: Table, key: str, names: Sequence[str]) -> Bulk:
    """Return a statement that changes rows, found by a key."""
    columns = [table.c[name] for name in names]
    sqlite = ", ".join(f"{name} = :{name}" for name in names)
    postgresql = ", ".join(f"{column.name} = {_value(column)}" for column in columns)
    given = _given([table.c[key], *columns])
    return Bulk(
        f"UPDATE {table.name} SET {sqlite} WHERE {key} = :{key}",  # noqa: S608 - names of ours
        f"UPDATE {table.name} SET {postgresql} FROM {given} WHERE {table.name}.{key} = given.{key}",  # noqa: S608
    )


def _value(column: Column[Any]) -> str:
    name = f"given.{column.name}"
    return f"decode({name}, 'base64')" if isinstance(column.type, LargeBinary) else name


def _given(columns: Sequence[Column[Any]]) -> str:
    fields = ", ".join(f"{column.name} {_TYPES[type(column.type)]}" for column in columns)
    return f"json_to_recordset(%(rows)s) AS given({fields})"
