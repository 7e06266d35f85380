"""The page of one trace: a waterfall of its spans, and what they come to. Made here, whole, without a script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import TagValue
from stepscope.core.spans import Span, Trace, children_of, tag_text
from stepscope.core.trace_summary import LayerTime, LevelTime, TimeShare, TraceSummary

OPEN_TO = TraceLevel.MODEL_TRACE
"""Spans of up to this level are open at first: steps, the batch and the call, so that layers are seen."""
MOST_SHARES = 15
DEEPEST = 64
"""Rows are nested no deeper: spans that clients send may be chained without an end."""
_TELLING = ("layer_type", "input_id", "model_name", "ran_at_level")
"""Tags that tell spans of one name apart."""
_UNITS = ((10**9, "s"), (10**6, "ms"), (10**3, "µs"))
_templates = Environment(
    loader=PackageLoader("stepscope.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@dataclass(slots=True, kw_only=True)
class Node:
    """One row of the waterfall; `left` and `width` are shares of the trace's time, 0 to 100."""

    id: str
    name: str
    title: str
    level: int
    depth: int
    left: float
    width: float
    starts: str
    took: str
    facts: Sequence[tuple[str, str]]
    open: bool
    failed: bool
    children: list["Node"] = field(default_factory=list)


def render(trace: Trace, summary: TraceSummary, jaeger_url: str = "") -> str:
    """Return the page of a trace, which has been bounded; the summary is of the whole one."""
    start_ns = min((span.start_ns for span in trace.spans), default=0)
    levels = sorted({span.level for span in trace.spans})
    page: dict[str, object] = {
        "trace_id": trace.trace_id,
        "started": datetime.fromtimestamp(start_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "duration": shown_time(summary.duration_ns),
        "count": summary.spans,
        "shown": len(trace.spans),
        "services": list(trace.processes),
        "notes": [f"{trace.dropped} spans are left out; the Chrome trace has them."] if trace.dropped else [],
        "jaeger": f"{jaeger_url.rstrip('/')}/trace/{trace.trace_id}" if jaeger_url else "",
        "levels": [{"number": level, "name": TraceLevel(level).name} for level in levels],
        "tree": _tree(trace.spans, start_ns, max(1, summary.duration_ns)),
        "steps": _shares(summary.steps),
        "layer_types": _shares(summary.layer_types),
        "kernels": _shares(summary.kernels),
        "layers": [_layer(layer) for layer in summary.slowest_layers],
        "peak": f"{summary.peak_flops_per_s / 1e9:,.0f} GFLOP/s" if summary.peak_flops_per_s else "",
        "leveled": [_leveled(level) for level in summary.levels],
    }
    return _templates.get_template("trace.html").render(page=page)


def shown_time(duration_ns: float) -> str:
    """Return a time with three digits and its unit."""
    for size, unit in _UNITS:
        if abs(duration_ns) >= size:
            return (
                f"{duration_ns / size:.3g} {unit}"
                if abs(duration_ns) < 1000 * size
                else f"{duration_ns / size:.0f} {unit}"
            )
    return f"{duration_ns:.0f} ns"


def _tree(spans: Sequence[Span], start_ns: int, total_ns: int) -> list[Node]:
    roots, children = children_of(spans)
    return [_node(root, children, start_ns, total_ns, 0) for root in roots]


def _node(span: Span, children: Mapping[str, Sequence[Span]], start_ns: int, total_ns: int, depth: int) -> Node:
    status = span.tags.get("http.response.status_code")
    below = children.get(span.span_id, ()) if depth < DEEPEST else ()
    return Node(
        id=span.span_id,
        name=_named(span),
        title=f"{span.name}, {TraceLevel(span.level).name}",
        level=span.level,
        depth=depth,
        left=round(100 * (span.start_ns - start_ns) / total_ns, 3),
        width=round(100 * span.duration_ns / total_ns, 3),
        starts=shown_time(span.start_ns - start_ns),
        took=shown_time(span.duration_ns),
        facts=[("level", TraceLevel(span.level).name), *((key, _fact(value)) for key, value in span.tags.items())],
        open=span.level <= OPEN_TO and bool(below),
        failed=isinstance(status, int) and status >= 400,
        children=[_node(child, children, start_ns, total_ns, depth + 1) for child in below],
    )


def _named(span: Span) -> str:
    """Return a span's name with what tells it from its neighbours."""
    told = next((span.tags[key] for key in _TELLING if key in span.tags), "")
    repeats = span.tags.get("repeats")
    more = [f" · {told}"] if told != "" and str(told) != span.name else []
    return "".join([span.name, *more, *([f", {repeats} times"] if repeats else [])])


def _fact(value: TagValue) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else tag_text(value)


def _shares(shares: Sequence[TimeShare]) -> list[dict[str, object]]:
    return [
        {"name": each.name, "count": each.count, "took": shown_time(each.duration_ns), "share": f"{each.share:.1%}"}
        for each in shares[:MOST_SHARES]
    ]


def _layer(layer: LayerTime) -> dict[str, object]:
    return {
        "id": layer.span_id,
        "index": layer.index,
        "name": layer.name,
        "type": layer.type,
        "shape": layer.shape,
        "took": shown_time(layer.duration_ns),
        "share": f"{layer.share:.1%}",
        "speed": "" if layer.flops_per_s is None else f"{layer.flops_per_s / 1e9:.3g}",
        "peak": "" if layer.peak_share is None else f"{layer.peak_share:.1%}",
        "intensity": "" if layer.intensity is None else f"{layer.intensity:.3g}",
    }


def _leveled(level: LevelTime) -> dict[str, object]:
    return {
        "level": level.level.name,
        "count": level.count,
        "took": shown_time(level.duration_ns),
        "more": "" if level.overhead_ns is None else shown_time(level.overhead_ns),
    }
