"""A client that traces: its own spans hold the server's, and the terminal draws them."""

import io

import pytest
from rich.console import Console

from stepscope_client import Client, NotFound
from stepscope_client.traces import SERVICE, Span, Trace
from stepscope_client.waterfall import BAR, draw


def test_the_clients_spans_hold_the_servers(client: Client, samples):
    with client.open("lenet", trace_level="FRAMEWORK_TRACE") as predictor:
        predictor.images(samples[:2])
    trace = client.trace(predictor.trace_id)
    by_id = {span.id: span for span in trace.spans}
    own = [span for span in trace.spans if span.service == SERVICE]
    assert [span.name for span in own] == ["session", "open", "predict", "close"]
    assert all(by_id[span.parent_id].name == "session" for span in own[1:])
    roots = [span for span in trace.spans if span.name.startswith("POST ")]
    assert [by_id[span.parent_id].name for span in roots] == ["open", "predict", "close"]
    for span in roots:
        above = by_id[span.parent_id]
        assert above.start_us <= span.start_us
        assert span.start_us + span.duration_us <= above.start_us + above.duration_us + 1000
    layers = [span for span in trace.spans if "layer_sequence_index" in span.tags]
    assert [span.tags["layer_sequence_index"] for span in layers] == [str(place) for place in range(12)]
    assert layers[0].tags["layer_type"] == "Conv2d"


def test_without_a_level_the_client_notes_nothing(client: Client, samples):
    with client.open("lenet", trace_level="NO_TRACE") as predictor:
        predictor.images(samples[:1])
    with pytest.raises(NotFound):
        client.trace(predictor.trace_id)


def test_a_trace_is_drawn():
    spans = (
        Span(id="1", parent_id="", name="all", service="s", level="APPLICATION_TRACE", start_us=0, duration_us=1000),
        Span(
            id="2", parent_id="1", name="late\x1b[2J", service="s", level="MODEL_TRACE", start_us=500, duration_us=500
        ),
        Span(
            id="3",
            parent_id="2",
            name="short",
            service="s",
            level="",
            start_us=999,
            duration_us=0,
            tags={"input_id": "a"},
        ),
    )
    out = io.StringIO()
    draw(Trace(id="ab", spans=spans, warnings=("5 spans are left out",)), Console(file=out, width=120))
    title, _, first, second, third, warning = [line.rstrip() for line in out.getvalue().splitlines()]
    assert title == "trace ab"
    assert first.count("\N{FULL BLOCK}") == BAR
    assert second.count("\N{FULL BLOCK}") == BAR // 2
    assert second.startswith("  late\N{REPLACEMENT CHARACTER}[2J")
    assert third.startswith("    short (a)")
    assert third.endswith("0.000")
    assert warning == "5 spans are left out"
