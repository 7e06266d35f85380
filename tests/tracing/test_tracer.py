"""Finished requests are kept by the tracer's thread: all of a burst, none beyond the bound, each as deep as asked."""

import contextlib
import time

import pytest

from stepscope.core.access import Trace as Ids
from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import SETUP, BatchRecord
from stepscope.core.spans import Span, TraceQuery
from stepscope.tracing.archive import Archive, ArchiveLimits
from stepscope.tracing.tracer import DROPPED, Tracer, TracerOptions
from tests.tracing.spans import TRACE, recorder

ME = "anonymous"


@contextlib.contextmanager
def tracing(tmp_path, **options):
    tracer = Tracer(Archive(tmp_path / "traces.sqlite", ArchiveLimits()), TracerOptions(**options))
    tracer.start()
    try:
        yield tracer
    finally:
        tracer.stop()


def ids(number=1, *, sampled=True):
    return Ids(trace_id=f"{number:032x}", span_id=f"{number:016x}", sampled=sampled)


def test_what_was_finished_is_found_at_once(tmp_path):
    with tracing(tmp_path) as tracer:
        tracer.finish(recorder(trace=TRACE, inputs=2))
        trace = tracer.find(TRACE, ME)
        assert trace is not None
        assert [span.name for span in trace.spans].count("decode") == 2
        assert {span.tags["input_id"] for span in trace.spans if span.name == "predict"} == {"in-0", "in-1"}


def test_the_ids_of_a_trace_never_change(tmp_path):
    with tracing(tmp_path) as tracer:
        tracer.finish(recorder(trace=TRACE))
        first, second = tracer.find(TRACE, ME), tracer.find(TRACE, ME)
        assert first == second
        assert len({span.span_id for span in first.spans}) == len(first.spans)


def test_a_burst_of_20000_spans_loses_none(tmp_path):
    with tracing(tmp_path) as tracer:
        for number in range(1, 4001):
            tracer.finish(recorder(number, inputs=2))
        assert tracer.counts.dropped == 0
        spans = sum(len(trace.spans) for trace in tracer.search(TraceQuery(limit=5000), ME))
        assert spans == 4000 * 6
        assert tracer.counts.kept == 4000 * 5


def test_what_is_too_much_is_dropped_counted_and_told(tmp_path):
    tracer = Tracer(Archive(tmp_path / "traces.sqlite", ArchiveLimits()), TracerOptions(queue=10))
    for number in range(1, 6):  # five notes each, and the thread doesn't run yet
        tracer.finish(recorder(number, inputs=2))
    assert tracer.counts.dropped == 15
    tracer.start()
    trace = tracer.find("1", ME)
    assert trace is not None
    assert trace.spans[0].tags[DROPPED] == 15
    tracer.stop()


def test_stopping_keeps_what_waits(tmp_path):
    with tracing(tmp_path) as tracer:
        tracer.finish(recorder(1))
    with tracing(tmp_path) as tracer:
        assert tracer.find("1", ME)


def test_who_asks_for_no_level_is_sampled_by_rate(tmp_path):
    with tracing(tmp_path, sample_per_s=5.0) as tracer:
        now = time.perf_counter()
        taken = [tracer.begin(ids(n), None, ME, now + n / 1000) for n in range(1, 2001)]
        assert sum(each is not None for each in taken) == 10
        assert tracer.begin(ids(), None, ME, now + 10) is not None
        assert tracer.begin(ids(sampled=False), None, ME, now + 20) is None


@pytest.mark.parametrize("level", list(TraceLevel))
def test_who_asks_for_a_level_gets_it(tmp_path, level):
    with tracing(tmp_path, sample_per_s=0) as tracer:
        begun = [tracer.begin(ids(), level, ME, 1.0) for _ in range(100)]
        if level is TraceLevel.NO_TRACE:
            assert begun == [None] * 100
        else:
            assert all(each.level is level for each in begun)


def test_each_trace_of_a_batch_shows_what_its_request_asked_for(tmp_path):
    members = [recorder(number, level=level) for number, level in enumerate(TraceLevel) if level]
    record = BatchRecord(len(members), members)
    assert record.level is TraceLevel.FULL_TRACE
    record.mark("profiler_start", TraceLevel.ML_LIBRARY_TRACE, 1.0, 2.0, SETUP)
    above = -1
    for level in list(TraceLevel)[2:]:
        above = record.mark(level.name, level, 2.0, 3.0, above)
    record.samples.append((2.0, {"cpu": 1.0}))
    with tracing(tmp_path) as tracer:
        for member in members:
            member.batches = [record]
            tracer.finish(member)
        for member in members:
            spans = tracer.find(member.trace_id, ME).spans
            levels = {span.level for span in spans}
            assert levels == set(range(1, member.level + 1))
            batch = next(span for span in spans if span.name == "batch")
            assert batch.links == [(each.trace_id, each.span_id) for each in members]
            assert any(span.name == "hardware" for span in spans) == (member.level >= TraceLevel.HARDWARE_TRACE)
            setup = [span for span in spans if span.name == "profiler_start"]
            assert [span.parent_id for span in setup] == [member.span_id] * (member.level >= 4)


def test_a_trace_is_joined_from_its_requests_and_its_client(tmp_path):
    with tracing(tmp_path) as tracer:
        own = Span(span_id="f" * 16, name="session", start_ns=1, duration_ns=5, service="client", kind="client")
        tracer.finish(recorder(1, trace=TRACE))
        tracer.finish(recorder(2, trace=TRACE))
        tracer.add(TRACE, [own], ME)
        trace = tracer.find(TRACE, ME)
        assert len(trace.spans) == 9
        assert set(trace.processes) == {"stepscope", "client"}
        assert tracer.names(ME) == {
            "client": ["session"],
            "stepscope": ["POST /api/predict/images", "batch", "decode", "predict"],
        }


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (TraceQuery(operation="decode"), 3),
        (TraceQuery(operation="nothing"), 0),
        (TraceQuery(service="other"), 0),
        (TraceQuery(service="stepscope", tags={"input_id": "in-1"}), 1),
        (TraceQuery(operation="decode", min_duration_ns=2 * 10**6), 0),
        (TraceQuery(operation="decode", max_duration_ns=2 * 10**6), 3),
        (TraceQuery(limit=2), 2),
    ],
)
def test_traces_are_found_by_what_one_of_their_spans_is(tmp_path, query, count):
    with tracing(tmp_path) as tracer:
        for number in (1, 2, 3):
            tracer.finish(recorder(number, inputs=2 if number == 2 else 1))
        assert len(tracer.search(query, ME)) == count


def test_a_large_trace_is_shown_bounded_and_kept_whole(tmp_path):
    with tracing(tmp_path, spans=100) as tracer:
        tracer.finish(recorder(trace=TRACE, inputs=1000))
        assert len(tracer.find(TRACE, ME).spans) <= 100
        assert len(tracer.find(TRACE, ME, whole=True).spans) == 2002
