"""Traces: what the server kept of a request, as frozen values, and what this client saw itself."""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from stepscope_generated import TracesApi
from stepscope_generated import models as wire

from stepscope_client.errors import ClientError
from stepscope_client.transport import Transport

SERVICE = "stepscope-client"
UNTRACED = ("NO_TRACE", "NONE")
MOST_SPANS = 256
"""Spans that a server takes at a time; a session that makes more keeps its first ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One named stretch of a trace; `level` is how deep one has to look to see it."""

    id: str
    parent_id: str
    name: str
    service: str
    level: str
    start_us: int
    duration_us: int
    tags: Mapping[str, str | bool | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A trace; its spans by their start."""

    id: str
    spans: tuple[Span, ...]
    warnings: tuple[str, ...] = ()


def read_trace(message: wire.JaegerTrace) -> Trace:
    """Return a trace as a value."""
    services = {key: process.service_name for key, process in message.processes.items()}
    spans = [_read_span(span, services) for span in message.spans]
    return Trace(id=message.trace_id, spans=tuple(spans), warnings=tuple(message.warnings or ()))


def _read_span(span: wire.JaegerSpan, services: Mapping[str, str]) -> Span:
    above = [reference.span_id for reference in span.references if reference.ref_type == "CHILD_OF"]
    tags = {tag.key: tag.value.actual_instance for tag in span.tags if tag.value.actual_instance is not None}
    return Span(
        id=span.span_id,
        parent_id=above[0] if above else "",
        name=span.operation_name,
        service=services.get(span.process_id, ""),
        level=str(tags.get("trace_level", "")),
        start_us=span.start_time,
        duration_us=span.duration,
        tags=tags,
    )


class Session:
    """The client's own spans: one for the session, and below it one for each request, which the server's join."""

    def __init__(self) -> None:
        self.trace_id = secrets.token_hex(16)
        self._id = secrets.token_hex(8)
        self._started_us = _now_us()
        self._spans: list[wire.SpanItem] = []

    @contextmanager
    def request(self, name: str) -> Iterator[dict[str, str]]:
        """Time a request; yield the headers with which it joins the trace (openzipkin/b3-propagation)."""
        span_id, started_us = secrets.token_hex(8), _now_us()
        try:
            yield {"X-B3-Traceid": self.trace_id, "X-B3-Spanid": span_id, "X-B3-Sampled": "1"}
        finally:
            if len(self._spans) < MOST_SPANS - 1:
                self._spans.append(_item(span_id, name, started_us, self._id))

    def send(self, transport: Transport) -> None:
        """Send the spans, once. A trace that stays without them is no reason to fail."""
        spans = [_item(self._id, "session", self._started_us, None), *self._spans]
        body = wire.SpansRequest(trace_id=self.trace_id, spans=spans)
        with suppress(ClientError):
            transport.send(TracesApi(transport.api).add_spans_with_http_info, body, repeatable=False)


def _item(span_id: str, name: str, started_us: int, parent_id: str | None) -> wire.SpanItem:
    return wire.SpanItem(
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        service=SERVICE,
        start_in_us=started_us,
        duration_in_us=max(0, _now_us() - started_us),
    )


def _now_us() -> int:
    return time.time_ns() // 1000
