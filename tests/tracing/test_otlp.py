"""What is sent to a collector is what the store holds; a collector that fails or hangs holds up nobody."""

import contextlib
import gzip
import http.server
import socket
import threading
import time

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stepscope.core.predictions import TraceLevel
from stepscope.core.spans import Span
from stepscope.settings import telemetry
from stepscope.tracing.archive import Archive, ArchiveLimits
from stepscope.tracing.otlp import OtlpExporter
from stepscope.tracing.recordings import recording_of
from stepscope.tracing.tracer import Tracer, TracerOptions
from tests.tracing.spans import TRACE, recorder

ME = "anonymous"


@contextlib.contextmanager
def collector(answer=200, hang_s=0.0):
    """A collector that keeps what it is sent, and answers as it is told."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.append(ExportTraceServiceRequest.FromString(body))
            time.sleep(hang_s)
            self.send_response(answer)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def exporting(endpoint, **options):
    made = OtlpExporter("stepscope", exporter=OTLPSpanExporter(endpoint=endpoint, timeout=1), **options)
    try:
        yield made
    finally:
        made.close()


def spans_in(received):
    return [
        (span, {attribute.key: attribute.value.string_value for attribute in group.resource.attributes})
        for request in received
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def eventually(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def value_of(value):
    return getattr(value, value.WhichOneof("value"))


def test_a_collector_gets_what_the_store_holds(tmp_path):
    with collector() as (endpoint, received), exporting(endpoint) as exporter:
        tracer = Tracer(Archive(tmp_path / "traces.sqlite", ArchiveLimits()), TracerOptions(), exporter)
        tracer.start()
        made = recorder(trace=TRACE, level=TraceLevel.FULL_TRACE, inputs=3)
        batch = made.batches[0]
        place = batch.mark("run", TraceLevel.MODEL_TRACE, batch.started, batch.ended)
        batch.mark("conv1", TraceLevel.FRAMEWORK_TRACE, batch.started, batch.ended, place, {"flops": 5, "x": 1.5})
        batch.samples += [(batch.started, {"cpu": 3.0}), (batch.ended, {"cpu": 5.0})]
        own = Span(span_id="f" * 16, name="session", start_ns=5, duration_ns=5, service="client", kind="client")
        tracer.finish(made)
        tracer.add(TRACE, [own], ME)
        trace = tracer.find(TRACE, ME)
        assert trace is not None
        held = {span.span_id: span for span in trace.spans}
        eventually(lambda: len(spans_in(received)) == len(held))
        tracer.stop()
    for span, resource in spans_in(received):
        kept = held.pop(span.span_id.hex())
        assert span.trace_id.hex() == TRACE
        assert span.parent_span_id.hex() == kept.parent_id
        assert (span.name, resource["service.name"]) == (kept.name, kept.service)
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (kept.start_ns, kept.end_ns)
        attributes = {each.key: value_of(each.value) for each in span.attributes}
        assert attributes.pop("trace_level") == TraceLevel(kept.level).name
        assert attributes == kept.tags
        assert [(link.trace_id.hex(), link.span_id.hex()) for link in span.links] == kept.links
        assert [event.time_unix_nano for event in span.events] == [entry.time_ns for entry in kept.logs]
    assert not held


def test_a_burst_is_sent_whole():
    with collector() as (endpoint, received), exporting(endpoint) as exporter:
        for number in range(1, 501):
            exporter.put(recording_of(recorder(number, inputs=2), {}))
        eventually(lambda: exporter.counts.exported == 500 * 6, 30)
        assert exporter.counts.dropped == 0
    assert len({span.span_id for span, _ in spans_in(received)}) == 3000


@pytest.mark.parametrize("trouble", ["refuses", "fails", "hangs"])
def test_a_collector_in_trouble_holds_up_nobody_and_drops_are_counted(tmp_path, trouble):
    with contextlib.ExitStack() as stack:
        if trouble == "refuses":
            with socket.create_server(("127.0.0.1", 0)) as taken:
                endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}/v1/traces"
        else:
            hang_s, status = (3.0, 200) if trouble == "hangs" else (0.0, 500)
            endpoint, _ = stack.enter_context(collector(status, hang_s))
        exporter = stack.enter_context(exporting(endpoint, queue=300))
        tracer = Tracer(Archive(tmp_path / "traces.sqlite", ArchiveLimits()), TracerOptions(), exporter)
        tracer.start()
        slowest_s = 0.0
        for number in range(1, 201):
            started = time.perf_counter()
            tracer.finish(recorder(number))
            slowest_s = max(slowest_s, time.perf_counter() - started)
        assert slowest_s < 0.05
        trace = tracer.find("c8", ME)
        assert trace is not None
        assert len(trace.spans) == 4
        eventually(lambda: exporter.counts.dropped > 0)
        assert tracer.counts.dropped == 0
        started = time.perf_counter()
        tracer.stop()
        assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("environment", "service", "exports"),
    [
        ({}, "stepscope", False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4318"}, "stepscope", True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://jaeger:4318/v1/traces"}, "stepscope", True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, "stepscope", False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, "stepscope", False),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine", False),
    ],
)
def test_the_standard_variables_are_heeded(environment, service, exports):
    found = telemetry(environment)
    assert (found.service, found.exports) == (service, exports)
