"""The tracer, and a kept trace without a server."""

import os
from pathlib import Path

from stepscope.core.errors import TraceNotFound
from stepscope.core.spans import Trace
from stepscope.settings import Settings, telemetry
from stepscope.tracing.archive import Archive, ArchiveLimits
from stepscope.tracing.tracer import Tracer, TracerOptions


def traces_file(settings: Settings) -> Path:
    """Return where traces are kept."""
    return settings.traces.file or settings.models.cache.expanduser() / "traces.sqlite"


def find_trace(settings: Settings, trace_id: str) -> Trace:
    """Return a trace from the file in which this machine's server keeps them. Raises `TraceNotFound`."""
    trace = build_tracer(settings, exports=False).find(trace_id, None) if traces_file(settings).exists() else None
    if trace is None:
        raise TraceNotFound(trace_id)
    return trace


def build_tracer(settings: Settings, *, exports: bool = True) -> Tracer:
    """Build the tracer. It sends to the collector that the environment names, unless `exports` is false."""
    traces = settings.traces
    limits = ArchiveLimits(
        requests=traces.keep_requests, age_s=traces.keep_hours * 3600, size_bytes=traces.keep_mb * 2**20
    )
    collector = telemetry(os.environ)
    options = TracerOptions(
        service=collector.service,
        sample_per_s=traces.sample_per_s / settings.server.processes,
        spans=traces.spans,
        queue=traces.queue,
        shared=settings.server.processes > 1,
    )
    exporter = None
    if exports and collector.exports:
        from stepscope.tracing.otlp import OtlpExporter  # OpenTelemetry takes a while to import

        exporter = OtlpExporter(collector.service, spans=traces.spans, queue=traces.queue)
    return Tracer(Archive(traces_file(settings), limits), options, exporter)
