"""Spans in one row of a Chrome trace hold each other or are apart, as viewers want them."""

from hypothesis import given

from stepscope.codecs.chrome_trace import chrome_events
from stepscope.core.spans import Log, Span, Trace
from tests.tracing.spans import trees


@given(trees())
def test_rows_nest(spans):
    events = [e for e in chrome_events(Trace(trace_id="1", spans=spans, processes={"test": {}})) if e["ph"] == "X"]
    assert len(events) == len(spans)
    for row in {event["tid"] for event in events}:
        shown = [(e["ts"] * 1000, e["ts"] * 1000 + e["dur"] * 1000) for e in events if e["tid"] == row]
        for number, (start, end) in enumerate(shown):
            for later_start, later_end in shown[number + 1 :]:
                assert later_start >= end - 0.01 or later_end <= end + 0.01, (start, end)


def test_counters_become_a_row_of_their_own():
    span = Span(
        span_id="1", name="hardware", start_ns=1000, duration_ns=5000, logs=[Log(3000, {"cpu": 50.0})], service="s"
    )
    events = list(chrome_events(Trace(trace_id="1", spans=[span], processes={"s": {}})))
    assert [event["ph"] for event in events] == ["M", "X", "C"]
    assert events[2] == {"name": "cpu", "ph": "C", "ts": 2.0, "pid": 1, "tid": 0, "args": {"value": 50.0}}
