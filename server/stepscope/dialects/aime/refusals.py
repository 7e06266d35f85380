"""How this wire says no to a client: one text or a list of them, and a kind that HTTP makes a status of."""

import enum
from collections.abc import Mapping, Sequence
from typing import Any

from stepscope.core.errors import StepscopeError

UNKNOWN_KEY = "Client session authentication key not registered in API Server"
"""Clients look for exactly this text, as the whole or as one element of a list, and log in again."""


class Kind(enum.Enum):
    """What is wrong, by the status that clients know it by."""

    REQUEST = 400
    KEY = 401
    FORBIDDEN = 402
    """Keys that don't open this, and jobs that aren't there."""
    NOT_FOUND = 404
    STOPPING = 503


class Refusal(StepscopeError):
    """A request that isn't served. `error` is a text where the wire has one, otherwise a list."""

    def __init__(
        self, error: str | Sequence[str], kind: Kind = Kind.REQUEST, told: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(error if isinstance(error, str) else "; ".join(error))
        self.error = error if isinstance(error, str) else list(error)
        self.kind = kind
        self.told = told or {}
        """What else stands in the answer."""


def unknown_key() -> Refusal:
    """Return the refusal of a client that isn't known; its own code acts on the text."""
    return Refusal([UNKNOWN_KEY], Kind.KEY)


def not_permitted(endpoint: str) -> Refusal:
    """Return the refusal of a known client to whom an endpoint isn't open."""
    return Refusal([f"The key isn't permitted to use the endpoint {endpoint!r}"], Kind.FORBIDDEN)


def unknown_job() -> Refusal:
    """Return the refusal of a job that isn't there, or isn't the caller's."""
    return Refusal(["There is no such job: its id is wrong, it is another client's, or it has expired"], Kind.FORBIDDEN)
