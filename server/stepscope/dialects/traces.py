"""The tag `traces`: traces in the JSON of Jaeger's query API. Implements the generated `TracesOperations`.

A caller sees its own traces alone. Reading waits for the disk, so it happens on other threads.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from stepscope.codecs.chrome_trace import chrome_events
from stepscope.core import trace_summary
from stepscope.core.access import RequestContext
from stepscope.core.errors import InvalidField, TraceNotFound
from stepscope.core.ports import Traces
from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import TagValue
from stepscope.core.spans import Log, Span, Trace, TraceQuery, tag_text
from stepscope_api import models as wire

_UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")

TraceIdText = Annotated[str, Meta(max_length=32, pattern="^[0-9a-fA-F]{1,32}\\Z")]
DurationText = Annotated[str, Meta(max_length=32, pattern="^[0-9]{1,12}(\\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h)\\Z")]
Microseconds = Annotated[int, Meta(ge=0, le=9007199254740991)]


class TraceQueries:
    """Find traces, read them, add to them."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    async def get_trace(self, context: RequestContext, *, trace_id: TraceIdText) -> wire.JaegerTraces:
        """Return a trace. Raises `TraceNotFound`."""
        return _frame([write_trace(await self._find(context, trace_id))])

    async def get_chrome_trace(self, context: RequestContext, *, trace_id: TraceIdText) -> wire.ChromeTrace:
        """Return a trace for Perfetto. Raises `TraceNotFound`."""
        trace = await self._find(context, trace_id, whole=True)
        events = [wire.ChromeEvent(**event) for event in chrome_events(trace)]
        return wire.ChromeTrace(traceEvents=events, displayTimeUnit="ms")

    async def get_trace_summary(self, context: RequestContext, *, trace_id: TraceIdText) -> wire.TraceSummary:
        """Say where the time of a trace went. Raises `TraceNotFound`."""
        return write_summary(trace_summary.summary(await self._find(context, trace_id, whole=True)))

    async def find_traces(
        self,
        context: RequestContext,
        *,
        service: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET,
        operation: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET,
        tags: Annotated[str, Meta(max_length=4096)] | UnsetType = UNSET,
        start: Microseconds | UnsetType = UNSET,
        end: Microseconds | UnsetType = UNSET,
        limit: Annotated[int, Meta(ge=1, le=1000)] = 20,
        min_duration: DurationText | UnsetType = UNSET,
        max_duration: DurationText | UnsetType = UNSET,
    ) -> wire.JaegerTraces:
        """Find traces."""
        query = TraceQuery(
            service=service or "",
            operation=operation or "",
            tags=read_tags(tags or ""),
            start_ns=(start or 0) * 1000,
            end_ns=2**63 - 1 if isinstance(end, UnsetType) else end * 1000,
            min_duration_ns=read_duration(min_duration or "0s"),
            max_duration_ns=2**63 - 1 if isinstance(max_duration, UnsetType) else read_duration(max_duration),
            limit=limit,
        )
        found = await asyncio.to_thread(self._traces.search, query, context.principal.name)
        return _frame([write_trace(trace) for trace in found])

    async def add_spans(self, context: RequestContext, body: wire.SpansRequest) -> wire.SpansResponse:
        """Add a client's own spans to a trace."""
        spans = [_read_span(item) for item in body.spans]
        self._traces.add(body.trace_id, spans, context.principal.name)
        return wire.SpansResponse(taken=len(spans))

    async def list_services(self, context: RequestContext) -> wire.JaegerNames:
        """List the programs that traces tell of."""
        return _names(list(await self._known(context)))

    async def list_service_operations(
        self, context: RequestContext, *, service: Annotated[str, Meta(max_length=256)]
    ) -> wire.JaegerNames:
        """List what a program does in traces."""
        return _names((await self._known(context)).get(service, ()))

    async def _find(self, context: RequestContext, trace_id: str, *, whole: bool = False) -> Trace:
        trace = await asyncio.to_thread(self._traces.find, trace_id, context.principal.name, whole=whole)
        if trace is None:
            raise TraceNotFound(trace_id)
        return trace

    async def _known(self, context: RequestContext) -> Mapping[str, Sequence[str]]:
        return await asyncio.to_thread(self._traces.names, context.principal.name)


def read_tags(text: str) -> dict[str, str]:
    """Read Jaeger's `tags`, a JSON object of texts. Raises `InvalidField`."""
    if not text:
        return {}
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not all(
        isinstance(value, str | bool | int | float) for value in document.values()
    ):
        raise InvalidField("tags", 'it is no JSON object of texts, such as {"input_id":"a"}')
    return {key: tag_text(value) for key, value in document.items()}


def read_duration(text: str) -> int:
    """Read a duration such as `1.5ms` as nanoseconds; the contract has checked its form."""
    match = _DURATION.fullmatch(text)
    assert match is not None, "the contract has a pattern for it"
    return min(round(float(match[1]) * _UNITS_NS[match[2]]), 2**63 - 1)


def _read_span(item: wire.SpanItem) -> Span:
    return Span(
        span_id=item.span_id,
        parent_id=item.parent_id or "",
        name=item.name,
        start_ns=item.start_in_us * 1000,
        duration_ns=item.duration_in_us * 1000,
        kind="client",
        tags=dict(item.tags or {}),
        service=item.service,
    )


# --- answers -------------------------------------------------------------------------------------


def write_trace(trace: Trace) -> wire.JaegerTrace:
    """Return a trace as Jaeger's query API gives it."""
    keys = {service: f"p{number}" for number, service in enumerate(trace.processes, 1)}
    processes = {
        keys[service]: wire.JaegerProcess(serviceName=service, tags=_tags(tags))
        for service, tags in trace.processes.items()
    }
    spans = [_span(span, trace.trace_id, keys[span.service]) for span in trace.spans]
    written = wire.JaegerTrace(traceID=trace.trace_id, spans=spans, processes=processes)
    if trace.dropped:
        written.warnings = [f"{trace.dropped} spans are left out; the Chrome trace has all of them"]
    return written


def _span(span: Span, trace_id: str, process: str) -> wire.JaegerSpan:
    tags = {"span.kind": span.kind, "trace_level": TraceLevel(span.level).name, **span.tags}
    return wire.JaegerSpan(
        traceID=trace_id,
        spanID=span.span_id,
        operationName=span.name,
        references=_references(span, trace_id),
        startTime=span.start_ns // 1000,
        duration=span.duration_ns // 1000,
        tags=_tags(tags),
        logs=[_log(entry) for entry in span.logs],
        processID=process,
    )


def _references(span: Span, trace_id: str) -> list[wire.JaegerReference]:
    links = [wire.JaegerReference(refType="FOLLOWS_FROM", traceID=trace, spanID=linked) for trace, linked in span.links]
    if not span.parent_id:
        return links
    return [wire.JaegerReference(refType="CHILD_OF", traceID=trace_id, spanID=span.parent_id), *links]


def _log(entry: Log) -> wire.JaegerLog:
    return wire.JaegerLog(timestamp=entry.time_ns // 1000, fields=_tags(entry.fields))


def _tags(tags: Mapping[str, TagValue]) -> list[wire.JaegerTag]:
    return [wire.JaegerTag(key=key, type=_type(value), value=value) for key, value in tags.items()]


def _type(value: TagValue) -> Literal["string", "bool", "int64", "float64"]:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "bool"
    return "int64" if isinstance(value, int) else "float64"


def _frame(traces: list[wire.JaegerTrace]) -> wire.JaegerTraces:
    return wire.JaegerTraces(data=traces, total=0, limit=0, offset=0)


def _names(names: Sequence[str]) -> wire.JaegerNames:
    return wire.JaegerNames(data=list(names), total=len(names), limit=0, offset=0)


def write_summary(summary: trace_summary.TraceSummary) -> wire.TraceSummary:
    """Return a summary; what isn't known is left out."""
    return wire.TraceSummary(
        trace_id=summary.trace_id,
        duration_in_us=summary.duration_ns / 1000,
        spans=summary.spans,
        steps=_shares(summary.steps),
        layer_types=_shares(summary.layer_types),
        kernels=_shares(summary.kernels),
        slowest_layers=[_layer(layer) for layer in summary.slowest_layers],
        peak_flops_per_s=_known(summary.peak_flops_per_s),
        levels=[_level(level) for level in summary.levels],
    )


def _shares(shares: Iterable[trace_summary.TimeShare]) -> list[wire.TimeShare]:
    return [
        wire.TimeShare(name=each.name, count=each.count, duration_in_us=each.duration_ns / 1000, share=each.share)
        for each in shares
    ]


def _layer(layer: trace_summary.LayerTime) -> wire.LayerTime:
    return wire.LayerTime(
        span_id=layer.span_id,
        index=layer.index,
        name=layer.name,
        type=layer.type,
        shape=layer.shape or UNSET,
        duration_in_us=layer.duration_ns / 1000,
        share=layer.share,
        flops=_known(layer.flops),
        memory_bytes=_known(layer.memory_bytes),
        intensity=_known(layer.intensity),
        flops_per_s=_known(layer.flops_per_s),
        peak_share=_known(layer.peak_share),
    )


def _level(level: trace_summary.LevelTime) -> wire.LevelTime:
    return wire.LevelTime(
        level=wire.TraceLevel(level.level.name),
        name=level.name,
        count=level.count,
        duration_in_us=level.duration_ns / 1000,
        overhead_in_us=UNSET if level.overhead_ns is None else level.overhead_ns / 1000,
    )


def _known(value: float | None) -> float | UnsetType:
    return UNSET if value is None else value
