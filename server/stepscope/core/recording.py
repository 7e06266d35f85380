"""What is noted of a request while it runs: plain tuples, which become spans after the answer, on another thread.

Times are seconds of `time.perf_counter`; `Recorder.epoch_ns` is added to make them times of day. Lists are only ever
appended to, so that the event loop and a device's thread can note side by side.
"""

import itertools
from collections.abc import Mapping

from stepscope.core.predictions import TraceLevel

TagValue = str | bool | int | float
Tags = Mapping[str, TagValue]

Note = tuple[str, float, float, int, Tags | int | None]
"""A step of one input: name, start, end, the input's place (-1 for none), and tags or the number of its batch."""
Mark = tuple[str, int, float, float, int, Tags]
"""A part of a batch: name, level, start, end, the place of the mark that it belongs to (-1 for the batch), tags."""
Sample = tuple[float, Mapping[str, float]]
"""Counters at one time."""

SETUP = -2
"""The parent of marks that lie outside the batch's time: what it took to get ready to look."""

_numbers = itertools.count(1)


MOST_NOTES = 20_000
MOST_BATCHES = 64
"""What one request may have noted and still note more: a dataset's thousands of batches look alike."""


class BatchRecord:
    """One batch that somebody traces. The runtime fills `marks`, `samples` and `tags`, and narrows the times."""

    __slots__ = ("ended", "level", "links", "marks", "number", "samples", "size", "started", "tags")

    def __init__(self, size: int, members: list["Recorder"]) -> None:
        self.number = next(_numbers)
        self.size = size
        # Ids, and not the recorders, which refer to this record: a cycle would wait for the garbage collector.
        self.links = [(member.trace_id, member.span_id) for member in members]
        self.level = max(member.level for member in members)
        self.started = 0.0
        self.ended = 0.0
        self.marks: list[Mark] = []
        self.samples: list[Sample] = []
        self.tags: dict[str, TagValue] = {}

    def mark(
        self, name: str, level: TraceLevel, started: float, ended: float, parent: int = -1, tags: Tags | None = None
    ) -> int:
        """Note a part of the batch; return its place, for those that belong to it."""
        self.marks.append((name, level, started, ended, parent, tags or {}))
        return len(self.marks) - 1


class Recorder:
    """One request that is traced: its ids (hex digits), how deep it looks, and its notes."""

    __slots__ = (
        "batches",
        "ended",
        "epoch_ns",
        "inputs",
        "level",
        "notes",
        "operation",
        "owner",
        "parent_id",
        "span_id",
        "started",
        "tags",
        "trace_id",
    )

    def __init__(self, ids: tuple[str, str, str], level: TraceLevel, owner: str, started: float) -> None:
        """Take the ids of the trace, of this request's span and of its parent's span ("" for none)."""
        self.trace_id, self.span_id, self.parent_id = ids
        self.level = level
        self.owner = owner
        self.started = started
        self.ended = started
        self.epoch_ns = 0
        self.operation = ""
        self.inputs: list[str] = []
        self.notes: list[Note] = []
        self.batches: list[BatchRecord] = []
        self.tags: dict[str, TagValue] = {}

    @property
    def has_room(self) -> bool:
        """Whether more may be noted."""
        return len(self.notes) < MOST_NOTES and len(self.batches) < MOST_BATCHES

    def note(self, name: str, started: float, ended: float, place: int = -1, detail: Tags | int | None = None) -> None:
        """Note a step."""
        self.notes.append((name, started, ended, place, detail))
