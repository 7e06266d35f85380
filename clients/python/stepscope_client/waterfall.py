"""A trace drawn in a terminal: a line for each span, with a bar where it lies in time."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stepscope_client.traces import Span, Trace

BAR = 40
"""Cells of the widest bar."""
DEEPEST = 32
STYLES = {
    "APPLICATION_TRACE": "blue",
    "MODEL_TRACE": "magenta",
    "FRAMEWORK_TRACE": "green",
    "ML_LIBRARY_TRACE": "yellow",
    "SYSTEM_LIBRARY_TRACE": "red",
}


def draw(trace: Trace, console: Console) -> None:
    """Print a trace."""
    start_us = min((span.start_us for span in trace.spans), default=0)
    total_us = max((span.start_us + span.duration_us for span in trace.spans), default=0) - start_us
    table = Table(title=f"trace {trace.id}", title_justify="left", box=None, pad_edge=False)
    table.add_column("span", overflow="fold")
    table.add_column("", width=BAR)
    table.add_column("ms", justify="right")
    for span, depth in _rows(trace):
        name = Text("  " * depth + printable(_named(span)))
        bar = Text(_bar(span.start_us - start_us, span.duration_us, total_us), style=STYLES.get(span.level, "cyan"))
        table.add_row(name, bar, f"{span.duration_us / 1000:.3f}")
    console.print(table)
    for warning in trace.warnings:
        console.print(Text(printable(warning), style="yellow"))


def printable(text: str) -> str:
    """Take out what could steer the terminal: names, labels and messages are the server's."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _rows(trace: Trace) -> Iterator[tuple[Span, int]]:
    known = {span.id for span in trace.spans}
    children: dict[str, list[Span]] = {}
    for span in trace.spans:
        children.setdefault(span.parent_id if span.parent_id in known else "", []).append(span)
    ahead = [(span, 0) for span in reversed(children.get("", []))]
    while ahead:
        span, depth = ahead.pop()
        yield span, min(depth, DEEPEST)
        ahead += [(child, depth + 1) for child in reversed(children.get(span.id, []))]


def _named(span: Span) -> str:
    told = next((span.tags[key] for key in ("layer_type", "input_id", "model_name") if key in span.tags), "")
    return f"{span.name} ({told})" if told != "" else span.name


def _bar(offset_us: int, duration_us: int, total_us: int) -> str:
    """Return a bar in eighths of a cell, at least one of them wide."""
    eighths = 8 * BAR / max(1, total_us)
    begin = round(offset_us * eighths)
    width = max(1, round(duration_us * eighths))
    cells, rest = divmod(width, 8)
    return " " * (begin // 8) + "\N{FULL BLOCK}" * cells + (chr(0x2590 - rest) if rest else "")
