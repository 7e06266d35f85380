"""Traces and ids in headers: continued, started anew, and never believed blindly."""

import re

import pytest

from stepscope.web.context import read_context, trace_headers

T128, T64, S64 = "4bf92f3577b34da6a3ce929d0e0e4736", "a3ce929d0e0e4736", "00f067aa0ba902b7"


def context(**headers):
    return read_context({name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()})


def test_without_headers_all_ids_are_fresh():
    first, second = context(), context()
    assert re.fullmatch("[0-9a-f]{32}", first.trace.trace_id)
    assert re.fullmatch("[0-9a-f]{16}", first.trace.span_id)
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first.request_id)
    assert first.trace.sampled
    assert not first.trace.parent_id
    assert {first.trace.trace_id, first.trace.span_id, first.request_id}.isdisjoint(
        {second.trace.trace_id, second.trace.span_id, second.request_id}
    )


@pytest.mark.parametrize(
    ("sent", "read"),
    [(T128, T128), (T64, T64), (T128.upper(), T128), ("7b", "00000000000000" + "7b"), (f" {T64} ", T64)],
)
def test_b3_is_continued(sent, read):
    trace = context(x_b3_traceid=sent, x_b3_spanid=S64, x_b3_sampled="0").trace
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (read, S64, False)
    assert trace.span_id != S64


@pytest.mark.parametrize("sent", ["", "0", "0" * 32, "xyz", T128 + "0", T64 + "1", "é" * 16, T64 + "\n", "-1", "1_0"])
def test_an_unusable_b3_trace_is_replaced(sent):
    trace = context(x_b3_traceid=sent, x_b3_spanid=S64).trace
    assert re.fullmatch("(?!0+$)[0-9a-f]{32}|(?!0+$)[0-9a-f]{16}", trace.trace_id)
    if sent != T64 + "\n":  # white space at the ends is the header's, not the value's
        assert trace.trace_id != sent
        assert trace.parent_id == ""


@pytest.mark.parametrize("span", ["", "0", "garbage", S64 + "00"])
def test_an_unusable_parent_leaves_the_trace(span):
    trace = context(x_b3_traceid=T128, x_b3_spanid=span).trace
    assert (trace.trace_id, trace.parent_id) == (T128, "")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (f"00-{T128}-{S64}-01", (T128, S64, True)),
        (f"00-{T128}-{S64}-00", (T128, S64, False)),
        (f"cc-{T128}-{S64}-03-what-comes-later", (T128, S64, True)),
    ],
)
def test_w3c_is_continued(sent, read):
    trace = context(traceparent=sent).trace
    assert (trace.trace_id, trace.parent_id, trace.sampled) == read


@pytest.mark.parametrize(
    "sent",
    [
        f"ff-{T128}-{S64}-01",
        f"00-{T128}-{S64}-01-more",
        f"00-{'0' * 32}-{S64}-01",
        f"00-{T128}-{'0' * 16}-01",
        f"00-{T128.upper()}-{S64}-01",
        f"00-{T128}-{S64}",
        "garbage",
        "",
    ],
)
def test_an_unusable_w3c_trace_is_replaced(sent):
    trace = context(traceparent=sent).trace
    assert trace.trace_id not in sent
    assert trace.parent_id == ""


def test_b3_wins_over_w3c():
    assert context(x_b3_traceid=T64, traceparent=f"00-{T128}-{S64}-01").trace.trace_id == T64


@pytest.mark.parametrize("sent", ["r-77", "a" * 256, "{}"])
def test_a_request_id_is_kept(sent):
    assert context(x_request_id=sent).request_id == sent


@pytest.mark.parametrize("sent", ["", "a" * 257, "a b", "a\r\nset-cookie: x=1", "\x00", "é"])
def test_an_unusable_request_id_is_replaced(sent):
    assert len(context(x_request_id=sent).request_id) == 36


def test_the_headers_lead_on_to_the_next_request():
    first = context(x_b3_traceid=T128, x_b3_spanid=S64)
    told = dict(trace_headers(first))
    assert told[b"x-b3-parentspanid"] == S64.encode()
    second = read_context(told)
    assert (second.trace.trace_id, second.trace.parent_id) == (T128, first.trace.span_id)
    assert second.request_id == first.request_id
