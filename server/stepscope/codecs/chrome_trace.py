"""A trace in the Trace Event Format, as Perfetto and chrome://tracing read it. Pure.

Each program is a process. Spans that overlap without one holding the other can't share a row, so a span goes into the
first row of its program where it fits.
"""

from collections.abc import Iterator
from typing import Any

from stepscope.core.predictions import TraceLevel
from stepscope.core.spans import Span, Trace


def chrome_events(trace: Trace) -> Iterator[dict[str, Any]]:
    """Yield the events of a trace; times are microseconds since its start."""
    origin_ns = min((span.start_ns for span in trace.spans), default=0)
    numbers = {service: number for number, service in enumerate(trace.processes, 1)}
    for service, number in numbers.items():
        yield {"name": "process_name", "ph": "M", "pid": number, "tid": 0, "args": {"name": service}}
    rows: dict[str, list[list[int]]] = {}
    for span in sorted(trace.spans, key=lambda one: (one.start_ns, -one.duration_ns, one.level)):
        number = numbers.get(span.service, 0)
        yield _event(span, number, _row(rows.setdefault(span.service, []), span), origin_ns)
        yield from _counters(span, number, origin_ns)


def _event(span: Span, process: int, row: int, origin_ns: int) -> dict[str, Any]:
    return {
        "name": span.name,
        "cat": TraceLevel(span.level).name,
        "ph": "X",
        "ts": (span.start_ns - origin_ns) / 1000,
        "dur": span.duration_ns / 1000,
        "pid": process,
        "tid": row,
        "args": span.tags,
    }


def _counters(span: Span, process: int, origin_ns: int) -> Iterator[dict[str, Any]]:
    for entry in span.logs:
        at_us = max(0, entry.time_ns - origin_ns) / 1000
        for name, value in entry.fields.items():
            yield {"name": name, "ph": "C", "ts": at_us, "pid": process, "tid": 0, "args": {"value": value}}


def _row(rows: list[list[int]], span: Span) -> int:
    """Return the number of the first row where a span lies wholly within or behind what is there."""
    for number, open_ends in enumerate(rows, 1):
        while open_ends and open_ends[-1] <= span.start_ns:
            open_ends.pop()
        if not open_ends or span.end_ns <= open_ends[-1]:
            open_ends.append(span.end_ns)
            return number
    rows.append([span.end_ns])
    return len(rows)
