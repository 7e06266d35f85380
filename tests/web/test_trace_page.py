"""The page of a trace: whole without a script, safe against what callers name their inputs, and its owner's alone."""

import base64
import hashlib
from html.parser import HTMLParser

import pytest

from stepscope.core.spans import Span, Trace
from stepscope.core.trace_summary import summary
from stepscope.web.trace_page import render, shown_time
from tests.dialects.test_traces import opened, predicted


class Page(HTMLParser):
    """What stands in a page: its tags with their attributes, and its text. Unclosed tags are faults."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


async def page_of(client, trace_id, status=200, **headers):
    reply = await client.get(f"/traces/{trace_id}", **headers)
    assert reply.status == status, reply.body
    return reply


async def test_a_trace_is_shown_with_its_steps_and_layers(client):
    reply = await predicted(client, await opened(client), [1.0, 2.0], "FULL_TRACE")
    trace_id = reply.json()["trace_id"]["id"]
    answer = await page_of(client, trace_id)
    page = Page(answer.body.decode())
    for shown in (
        trace_id,
        "POST /api/predict/tensors",
        "queue · in-1.0",
        "layer · Sum",
        "Time by step",
        "Jaeger's JSON",
    ):
        assert shown in page.text, shown
    assert len(page.ids()) == len(set(page.ids()))
    assert not [tag for tag, _ in page.tags if tag == "script"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert f"../api/traces/{trace_id}/chrome" in links
    assert all(link[1:] in page.ids() for link in links if link.startswith("#"))
    assert "default-src 'self'" in answer.headers["content-security-policy"]


async def test_what_a_caller_names_its_inputs_is_shown_and_not_run(client):
    predictor = await opened(client)
    evil = '"><script>alert(1)</script>'
    body = {
        "predictor": {"id": predictor},
        "tensors": [{"id": evil, "data": [1.0], "shape": [1]}],
        "options": {"execution_options": {"trace_level": "STEP_TRACE"}},
    }
    reply = await client.post("/api/predict/tensors", body)
    answer = await page_of(client, reply.json()["trace_id"]["id"])
    assert b"<script" not in answer.body
    assert evil in Page(answer.body.decode()).text


async def test_a_trace_that_isnt_there_is_a_problem(client):
    assert (await page_of(client, "abc", 404)).problem == "trace-not-found"
    assert (await page_of(client, "%3Cscript%3E", 404)).problem == "trace-not-found"


async def test_old_addresses_lead_here(client):
    reply = await client.get("/trace/abc")
    assert (reply.status, reply.headers["location"]) == (307, "/traces/abc")


async def test_with_keys_a_browser_asks_for_one(serve):
    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ada", "bob")}
    async with serve(auth={"keys": keys}) as client:
        ada = client.with_headers(authorization="Bearer ada")
        trace_id = (await predicted(ada, await opened(ada), level="STEP_TRACE")).json()["trace_id"]["id"]
        refused = await page_of(client, trace_id, 401)
        assert refused.headers["www-authenticate"].startswith("Basic ")
        own, other = (base64.b64encode(f"me:{key}".encode()).decode() for key in ("ada", "bob"))
        await page_of(client, trace_id, 200, authorization=f"Basic {own}")
        await page_of(client, trace_id, 200, authorization="Bearer ada")
        await page_of(client, trace_id, 404, authorization=f"Basic {other}")
        await page_of(client, trace_id, 401, authorization="Basic !")


def test_jaeger_is_linked_where_there_is_one():
    trace = Trace(
        trace_id="ab", spans=[Span(span_id="1", name="x", start_ns=0, duration_ns=1, service="s")], processes={}
    )
    assert "http://jaeger:16686/trace/ab" in render(trace, summary(trace), "http://jaeger:16686/")


def test_spans_without_an_end_of_nesting_and_of_odd_tags_are_shown():
    chain = [
        Span(
            span_id=f"{number:x}",
            parent_id=f"{number - 1:x}",
            name="deep",
            start_ns=number,
            duration_ns=5000 - number,
            service="s",
            kind="client",
            tags={"layer_type": "x", "ran_at_level": "x", "peak_flops_per_s": "x", "http.response.status_code": "x"},
        )
        for number in range(1, 3000)
    ]
    trace = Trace(trace_id="ab", spans=chain, processes={"s": {}})
    assert "deep" in render(trace, summary(trace))


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0 ns"), (999, "999 ns"), (1500, "1.5 µs"), (12_345_678, "12.3 ms"), (3_600 * 10**9, "3600 s")]
)
def test_times_have_their_units(ns, text):
    assert shown_time(ns) == text
