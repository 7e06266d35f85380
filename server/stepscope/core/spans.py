"""A trace as people and tools read it: spans with their times, tags, links and logs. Times are nanoseconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import TagValue


class Log(msgspec.Struct, frozen=True, array_like=True):
    """Something noted at one time within a span."""

    time_ns: int
    fields: dict[str, TagValue]


class Span(msgspec.Struct, kw_only=True, array_like=True):
    """One named stretch of a trace. Ids are 16 hex digits; `links` are pairs of a trace's and a span's id."""

    span_id: str
    parent_id: str = ""
    name: str
    level: int = TraceLevel.APPLICATION_TRACE
    start_ns: int
    duration_ns: int
    kind: str = "internal"
    tags: dict[str, TagValue] = msgspec.field(default_factory=dict)
    links: list[tuple[str, str]] = msgspec.field(default_factory=list)
    logs: list[Log] = msgspec.field(default_factory=list)
    service: str = ""

    @property
    def end_ns(self) -> int:
        """When it was over."""
        return self.start_ns + self.duration_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The spans of one trace by their start. `processes` has the tags of each service that took part."""

    trace_id: str
    spans: Sequence[Span]
    processes: Mapping[str, Mapping[str, TagValue]]
    dropped: int = 0
    """Spans that aren't here, since a trace holds only so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceQuery:
    """Which traces to find: those with a span of which all holds that is given. Times are nanoseconds."""

    service: str = ""
    operation: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    start_ns: int = 0
    end_ns: int = 2**63 - 1
    min_duration_ns: int = 0
    max_duration_ns: int = 2**63 - 1
    limit: int = 20

    def matches(self, span: Span) -> bool:
        """Say whether a span is one that is looked for."""
        return (
            (not self.service or span.service == self.service)
            and (not self.operation or span.name == self.operation)
            and self.min_duration_ns <= span.duration_ns <= self.max_duration_ns
            and all(key in span.tags and tag_text(span.tags[key]) == value for key, value in self.tags.items())
        )


def tag_text(value: TagValue) -> str:
    """Return a tag's value as it is searched for and shown."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def full_id(trace_id: str) -> str:
    """Return a trace's id with all 32 digits: older tracers write 64 bits, or leave zeros out."""
    return trace_id.strip().lower().zfill(32)


def padded_span_id(span_id: str) -> str:
    """Return a span's id with all 16 digits."""
    return span_id.strip().lower().zfill(16)


def children_of(spans: Sequence[Span]) -> tuple[list[Span], dict[str, list[Span]]]:
    """Return the spans without a parent here, and the children of each span by its id, all in order of time."""
    known = {span.span_id for span in spans}
    roots: list[Span] = []
    children: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda one: (one.start_ns, -one.duration_ns, one.level)):
        if span.parent_id in known and span.parent_id != span.span_id:
            children.setdefault(span.parent_id, []).append(span)
        else:
            roots.append(span)
    return roots, children
