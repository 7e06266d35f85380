"""What a trace comes to: where the time went, and how near the layers come to what the device can do. Pure.

A level's time is taken from batches that ran at that level, never from deeper ones: looking deeper takes time itself,
which would count as the model's (Li et al., XSP, IPDPS 2020). Times are nanoseconds.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stepscope.core.predictions import TraceLevel
from stepscope.core.spans import Span, Trace, children_of
from stepscope.core.steps import NAMES

SLOWEST = 10

LAYER_INDEX = "layer_sequence_index"
LAYER_TYPE = "layer_type"
OUTPUT_SHAPE = "output_shape"
FLOPS = "flops"
MEMORY_TOUCHED = "memory_touched_bytes"
PEAK = "peak_flops_per_s"
CATEGORY = "category"
KERNEL, OPERATOR = "kernel", "operator"
RAN_AT = "ran_at_level"
CLIENT = "client"
"""The kind of spans that others sent."""


@dataclass(frozen=True, slots=True)
class TimeShare:
    """The spans of one kind: how many, their time, and its share (0 to 1) of the list's."""

    name: str
    count: int
    duration_ns: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """One layer. What its shapes don't allow to say is None; `intensity` is operations for each byte."""

    span_id: str
    index: int
    name: str
    type: str
    shape: str
    duration_ns: int
    share: float
    flops: float | None = None
    memory_bytes: float | None = None
    intensity: float | None = None
    flops_per_s: float | None = None
    peak_share: float | None = None


@dataclass(frozen=True, slots=True)
class LevelTime:
    """The median time of the batches that ran at a level, and what that is over the level before it in the list."""

    level: TraceLevel
    name: str
    count: int
    duration_ns: int
    overhead_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """Where the time of a trace went."""

    trace_id: str
    duration_ns: int
    spans: int
    steps: Sequence[TimeShare]
    layer_types: Sequence[TimeShare]
    kernels: Sequence[TimeShare]
    slowest_layers: Sequence[LayerTime]
    levels: Sequence[LevelTime]
    peak_flops_per_s: float | None


def summary(trace: Trace) -> TraceSummary:
    """Sum a whole trace up."""
    spans = [span for span in trace.spans if span.kind != CLIENT]  # whose tags say whatever the client likes
    steps = [span for span in spans if span.name in NAMES and span.level == TraceLevel.APPLICATION_TRACE]
    layers = [span for span in spans if LAYER_TYPE in span.tags]
    peak = next((float(span.tags[PEAK]) for span in spans if PEAK in span.tags), None)
    begin = min((span.start_ns for span in trace.spans), default=0)
    return TraceSummary(
        trace_id=trace.trace_id,
        duration_ns=max((span.end_ns for span in trace.spans), default=0) - begin,
        spans=len(trace.spans),
        steps=sorted(
            _shares((span.name, span.duration_ns) for span in steps), key=lambda share: NAMES.index(share.name)
        ),
        layer_types=_shares((str(span.tags[LAYER_TYPE]), span.duration_ns) for span in layers),
        kernels=_shares(_kernels(spans)),
        slowest_layers=_slowest(layers, peak),
        levels=_levels(spans),
        peak_flops_per_s=peak,
    )


def _shares(times: Iterable[tuple[str, int]]) -> list[TimeShare]:
    """Add times up by name, the largest first."""
    sums: dict[str, list[int]] = {}
    for name, duration_ns in times:
        sums.setdefault(name, []).append(duration_ns)
    total = sum(sum(group) for group in sums.values()) or 1
    shares = [TimeShare(name, len(group), sum(group), sum(group) / total) for name, group in sums.items()]
    return sorted(shares, key=lambda share: -share.duration_ns)


def _kernels(spans: Sequence[Span]) -> Iterable[tuple[str, int]]:
    """Yield the kernels of a GPU; where there are none, the operators, each without those that it calls."""
    kernels = [(span.name, span.duration_ns) for span in spans if span.tags.get(CATEGORY) == KERNEL]
    if kernels:
        return kernels
    _, children = children_of(spans)
    operators = [span for span in spans if span.tags.get(CATEGORY) == OPERATOR]
    return [(span.name, max(0, span.duration_ns - _inner_ns(span, children))) for span in operators]


def _inner_ns(span: Span, children: Mapping[str, Sequence[Span]]) -> int:
    return sum(child.duration_ns for child in children.get(span.span_id, ()))


def _slowest(layers: Sequence[Span], peak: float | None) -> list[LayerTime]:
    total = sum(layer.duration_ns for layer in layers) or 1
    slowest = sorted(layers, key=lambda layer: -layer.duration_ns)[:SLOWEST]
    return [_layer(layer, layer.duration_ns / total, peak) for layer in slowest]


def _layer(layer: Span, share: float, peak: float | None) -> LayerTime:
    flops, touched = (float(layer.tags[key]) if key in layer.tags else None for key in (FLOPS, MEMORY_TOUCHED))
    speed = flops * 1e9 / layer.duration_ns if flops is not None and layer.duration_ns else None
    return LayerTime(
        span_id=layer.span_id,
        index=int(layer.tags.get(LAYER_INDEX, 0)),
        name=layer.name,
        type=str(layer.tags[LAYER_TYPE]),
        shape=str(layer.tags.get(OUTPUT_SHAPE, "")),
        duration_ns=layer.duration_ns,
        share=share,
        flops=flops,
        memory_bytes=touched,
        intensity=flops / touched if flops is not None and touched else None,
        flops_per_s=speed,
        peak_share=speed / peak if speed is not None and peak else None,
    )


def _levels(spans: Sequence[Span]) -> list[LevelTime]:
    by_level: dict[TraceLevel, list[Span]] = {}
    for span in spans:
        if RAN_AT in span.tags:
            by_level.setdefault(TraceLevel[str(span.tags[RAN_AT])], []).append(span)
    found: list[LevelTime] = []
    for level, runs in sorted(by_level.items()):
        median_ns = round(statistics.median(run.duration_ns for run in runs))
        before = median_ns - found[-1].duration_ns if found else None
        found.append(LevelTime(level, runs[0].name, len(runs), median_ns, before))
    return found
