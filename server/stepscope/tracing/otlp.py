"""Traces sent to a collector, such as Jaeger, by OTLP over HTTP. The standard OTEL_* variables say where and how.

A thread of its own makes OpenTelemetry's spans of recordings and sends them. It never holds up anybody: what a slow or
missing collector leaves waiting is bounded, and beyond that dropped and counted. Making and encoding a span takes the
interpreter for some 60 us, so the thread rests after each batch for several times as long.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from stepscope.core.predictions import TraceLevel
from stepscope.core.spans import Span, full_id
from stepscope.tracing.assembly import spans_of
from stepscope.tracing.capping import capped
from stepscope.tracing.recordings import Foreign, Part
from stepscope.tracing.tracer import Sent

log = logging.getLogger("stepscope.tracing")

BATCH = 512
"""Spans that are sent in one request."""
REST = 4.0
"""How many times as long as a batch took of the interpreter the thread rests after it."""
CLOSE_S = 2.0
"""How long a stop waits for what is being sent."""
_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_SCOPE = InstrumentationScope("stepscope")


class OtlpExporter:
    """Sends parts of traces. `queue` is how many spans may wait, about; `spans` how many of one part are sent."""

    def __init__(
        self, service: str, *, spans: int = 1500, queue: int = 100_000, exporter: SpanExporter | None = None
    ) -> None:
        self.counts = Sent()
        self._service = service
        self._spans = spans
        self._limit = queue
        self._exporter = exporter or OTLPSpanExporter()
        self._resources: dict[str, Resource] = {}
        self._parts: deque[tuple[Part, int]] = deque()
        self._put = 0
        self._taken = 0
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="otlp", daemon=True)
        self._thread.start()

    def put(self, part: Part) -> None:
        """Take a part to be sent; never waits. What is too much is dropped and counted."""
        size = _size(part)
        if self._put - self._taken + size > self._limit:
            self.counts.dropped += size
            return
        self._put += size
        self._parts.append((part, size))
        self._wake.set()

    def close(self) -> None:
        """Send what is left if that takes but a moment, and end."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(CLOSE_S)
        self._exporter.shutdown()

    def _work(self) -> None:
        while not (self._stopped.is_set() and not self._parts):
            self._wake.wait()
            self._wake.clear()
            waiting = self._waiting()
            while some := list(islice(waiting, BATCH)):
                self._send(some)

    def _waiting(self) -> Iterator[ReadableSpan]:
        while self._parts:
            part, size = self._parts.popleft()
            try:
                spans, dropped = capped(spans_of(part, self._service), self._spans)
                self.counts.dropped += dropped
                yield from [self._readable(span, part.trace_id) for span in spans]
            except Exception:
                log.exception("a trace can't be sent")
                self.counts.dropped += size
            self._taken += size

    def _send(self, spans: Sequence[ReadableSpan]) -> None:
        busy_s = time.thread_time()
        try:
            done = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:
            log.exception("spans can't be sent")
            done = False
        if done:
            self.counts.exported += len(spans)
        else:
            self.counts.dropped += len(spans)
        self._stopped.wait((time.thread_time() - busy_s) * REST)

    def _readable(self, span: Span, trace_id: str) -> ReadableSpan:
        parent = _context(trace_id, span.parent_id, remote=span.kind == "server") if span.parent_id else None
        return ReadableSpan(
            name=span.name,
            context=_context(trace_id, span.span_id),
            parent=parent,
            resource=self._resource(span.service),
            attributes={"trace_level": TraceLevel(span.level).name, **span.tags},
            events=[Event("sample", dict(entry.fields), entry.time_ns) for entry in span.logs],
            links=[Link(_context(trace, linked)) for trace, linked in span.links],
            kind=_KINDS.get(span.kind, SpanKind.INTERNAL),
            instrumentation_scope=_SCOPE,
            start_time=span.start_ns,
            end_time=span.end_ns,
        )

    def _resource(self, service: str) -> Resource:
        if service not in self._resources:
            self._resources[service] = Resource.create({"service.name": service})
        return self._resources[service]


def _context(trace_id: str, span_id: str, *, remote: bool = False) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(full_id(trace_id), 16), int(span_id, 16), is_remote=remote, trace_flags=flags)


def _size(part: Part) -> int:
    """Return how many spans a part has, about."""
    if isinstance(part, Foreign):
        return len(part.spans)
    return 1 + len(part.notes) + sum(1 + len(batch.marks) for batch in part.batches)
