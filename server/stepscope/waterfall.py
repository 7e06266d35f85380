"""A trace drawn in a terminal. Imports only core."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stepscope.core.predictions import TraceLevel
from stepscope.core.spans import Span, Trace, children_of

BAR = 48
"""Cells of the widest bar."""
DEEPEST = 32
STYLES = ("", "blue", "magenta", "green", "yellow", "red", "cyan", "cyan")
_TELLING = ("layer_type", "input_id", "model_name", "ran_at_level")


def draw(trace: Trace, console: Console, deepest: TraceLevel = TraceLevel.FULL_TRACE) -> None:
    """Print a trace, without what is deeper than a level."""
    start_ns = min((span.start_ns for span in trace.spans), default=0)
    total_ns = max((span.end_ns for span in trace.spans), default=0) - start_ns
    table = Table(title=f"trace {trace.trace_id}", title_justify="left", box=None, pad_edge=False)
    table.add_column("span", overflow="fold")
    table.add_column("", width=BAR)
    table.add_column("ms", justify="right")
    for span, depth in _rows([span for span in trace.spans if span.level <= deepest]):
        told = next((str(span.tags[key]) for key in _TELLING if key in span.tags), "")
        name = _printable(f"{span.name} ({told})" if told else span.name)
        bar = Text(_bar(span.start_ns - start_ns, span.duration_ns, total_ns), style=STYLES[span.level])
        table.add_row(Text("  " * depth + name), bar, f"{span.duration_ns / 1e6:.3f}")
    console.print(table)
    if trace.dropped:
        console.print(f"{trace.dropped} spans are left out")


def _rows(spans: list[Span]) -> Iterator[tuple[Span, int]]:
    roots, children = children_of(spans)
    ahead = [(root, 0) for root in reversed(roots)]
    while ahead:
        span, depth = ahead.pop()
        yield span, min(depth, DEEPEST)
        ahead += [(child, depth + 1) for child in reversed(children.get(span.span_id, []))]


def _bar(offset_ns: int, duration_ns: int, total_ns: int) -> str:
    """Return a bar in eighths of a cell, at least one of them wide."""
    eighths = 8 * BAR / max(1, total_ns)
    cells, rest = divmod(max(1, round(duration_ns * eighths)), 8)
    return " " * (round(offset_ns * eighths) // 8) + "\N{FULL BLOCK}" * cells + (chr(0x2590 - rest) if rest else "")


def _printable(text: str) -> str:
    """Take out what could steer the terminal: inputs are named by callers."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
