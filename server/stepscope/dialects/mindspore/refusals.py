"""Why a request as a whole has no answer: a text that clients of this wire know, and what kind of fault it is."""

import enum

LONGEST_BYTES = 384
"""Texts are cut beyond this: their two halves stay."""


class Kind(enum.Enum):
    """Whose fault it is, for whoever tells it by more than the text."""

    VERB = enum.auto()
    REQUEST = enum.auto()
    TOO_LARGE = enum.auto()
    NOT_FOUND = enum.auto()
    OVERLOADED = enum.auto()
    STOPPING = enum.auto()
    LATE = enum.auto()
    FAILED = enum.auto()


class Refusal(Exception):
    """A whole request fails with one text."""

    def __init__(self, text: str, kind: Kind = Kind.REQUEST) -> None:
        super().__init__(text)
        self.kind = kind


def parser(text: str) -> Refusal:
    """Return the refusal of a body that is JSON, but isn't a request."""
    return Refusal("Parser request failed, " + cut(text))


def cut(text: str) -> str:
    """Return a text of at most `LONGEST_BYTES` bytes of UTF-8 and three dots, never cut within a character."""
    if len(text) <= LONGEST_BYTES // 4:
        return text
    octets = text.encode("utf-8", "replace")
    if len(octets) <= LONGEST_BYTES:
        return text
    half = LONGEST_BYTES // 2
    return octets[:half].decode("utf-8", "ignore") + "..." + octets[-half:].decode("utf-8", "ignore")
