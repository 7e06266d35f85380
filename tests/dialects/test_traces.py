"""Traces over the wire: Jaeger's query API, the Chrome trace, the summary, and a client's own spans."""

import asyncio
import json
import random

import pytest

from stepscope.core.predictions import TraceLevel
from stepscope.dialects.traces import read_duration

STEPS = ["preprocess", "queue", "predict", "postprocess"]


async def opened(client, model="sum", level=None):
    options = {"execution_options": {"trace_level": level}} if level else {}
    reply = await client.post("/api/predict/open", {"model_name": model, "options": options})
    assert reply.status == 200, reply.body
    return reply.json()["id"]


async def predicted(client, predictor, values=(1.0,), level=None, **headers):
    options = {"execution_options": {"trace_level": level}} if level else {}
    tensors = [{"id": f"in-{value}", "data": [value], "shape": [1]} for value in values]
    body = {"predictor": {"id": predictor}, "tensors": tensors, "options": options}
    reply = await client.post("/api/predict/tensors", body, **headers)
    assert reply.status == 200, reply.body
    return reply


async def trace_of(client, trace_id):
    reply = await client.get(f"/api/traces/{trace_id}")
    assert reply.status == 200, reply.body
    return reply.json()["data"][0]


def named(trace, name):
    return [span for span in trace["spans"] if span["operationName"] == name]


def tags(span):
    return {tag["key"]: tag["value"] for tag in span["tags"]}


async def test_an_answers_trace_has_a_span_for_each_step_of_each_input(client):
    reply = await predicted(client, await opened(client), [1.0, 2.0, 3.0], "STEP_TRACE")
    trace = await trace_of(client, reply.json()["trace_id"]["id"])
    assert trace["traceID"] == reply.json()["trace_id"]["id"] == reply.headers["x-b3-traceid"]
    for step in STEPS:
        assert {tags(span)["input_id"] for span in named(trace, step)} == {"in-1.0", "in-2.0", "in-3.0"}, step
    root = named(trace, "POST /api/predict/tensors")[0]
    assert root["spanID"] == reply.headers["x-b3-spanid"]
    assert all(span["references"][0]["spanID"] == root["spanID"] for span in named(trace, "queue"))
    for span in trace["spans"]:
        assert root["startTime"] <= span["startTime"] + 1
        assert span["startTime"] + span["duration"] <= root["startTime"] + root["duration"] + 1


async def test_a_traces_times_are_those_of_the_day(client):
    import time

    before = time.time() * 1e6
    reply = await predicted(client, await opened(client), level="APPLICATION_TRACE")
    trace = await trace_of(client, reply.json()["trace_id"]["id"])
    assert all(before - 1000 < span["startTime"] < time.time() * 1e6 + 1000 for span in trace["spans"])


@pytest.mark.parametrize("level", list(TraceLevel)[1:])
async def test_a_trace_is_as_deep_as_was_asked(client, level):
    reply = await predicted(client, await opened(client), level=level.name)
    trace = await trace_of(client, reply.headers["x-b3-traceid"])
    assert bool(named(trace, "echo")) == (level >= TraceLevel.MODEL_TRACE)
    assert bool(named(trace, "layer")) == (level >= TraceLevel.FRAMEWORK_TRACE)


async def test_no_trace_is_kept_where_none_is_asked_for(client):
    reply = await predicted(client, await opened(client), level="NO_TRACE")
    assert reply.headers["x-b3-sampled"] == "0"
    assert (await client.get(f"/api/traces/{reply.headers['x-b3-traceid']}")).problem == "trace-not-found"


async def test_the_level_of_open_holds_for_what_follows(client):
    predictor = await opened(client, level="APPLICATION_TRACE")
    reply = await predicted(client, predictor)
    assert reply.headers["x-b3-sampled"] == "1"
    closing = await client.post("/api/predict/close", {"id": predictor})
    assert closing.headers["x-b3-sampled"] == "1"


async def test_some_requests_are_sampled(serve):
    async with serve(traces={"sample_per_s": 1e-6}) as client:
        predictor = await opened(client)  # the first request of all
        replies = [await predicted(client, predictor) for _ in range(5)]
        assert [reply.headers["x-b3-sampled"] for reply in replies] == ["0"] * 5


async def test_a_callers_trace_contains_ours(client):
    predictor = await opened(client)
    trace_id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    sent = {"traceparent": f"00-{trace_id}-{parent}-01"}
    reply = await predicted(client.with_headers(**sent), predictor, level="STEP_TRACE")
    root = named(await trace_of(client, trace_id), "POST /api/predict/tensors")[0]
    assert root["references"] == [{"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent}]
    assert reply.headers["traceparent"] == f"00-{trace_id}-{root['spanID']}-01"


async def test_an_old_callers_short_id_is_found_in_both_forms(client):
    predictor = await opened(client)
    old = client.with_headers(x_b3_traceid="5f2c1a9b3e4d778", x_b3_spanid="1a")
    reply = await predicted(old, predictor, level="STEP_TRACE")
    for form in ("5f2c1a9b3e4d778", "05f2c1a9b3e4d778", f"{0x5F2C1A9B3E4D778:032x}"):
        assert (await trace_of(client, form))["traceID"] == reply.json()["trace_id"]["id"] == "05f2c1a9b3e4d778"


async def test_open_predict_and_close_are_one_trace(client):
    first = await client.post(
        "/api/predict/open", {"model_name": "sum", "options": {"execution_options": {"trace_level": "FULL_TRACE"}}}
    )
    joined = {name: first.headers[name] for name in ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled")}
    session = client.with_headers(**joined)
    await predicted(session, first.json()["id"])
    await session.post("/api/predict/close", {"id": first.json()["id"]})
    trace = await trace_of(client, first.json()["trace_id"]["id"])
    roots = {span["operationName"] for span in trace["spans"] if tags(span)["span.kind"] == "server"}
    assert roots == {f"POST /api/predict/{name}" for name in ("open", "tensors", "close")}
    assert named(trace, "load_model")


async def test_a_failed_request_is_traced_with_its_status(client):
    predictor = await opened(client, "slow", "APPLICATION_TRACE")
    options = {"execution_options": {"timeout_in_ms": 50}}
    body = {"predictor": {"id": predictor}, "tensors": [{"data": [1.0], "shape": [1]}], "options": options}
    reply = await client.post("/api/predict/tensors", body)
    assert reply.status == 504
    trace = await trace_of(client, reply.headers["x-b3-traceid"])
    assert tags(named(trace, "POST /api/predict/tensors")[0])["http.response.status_code"] == 504


async def test_200_clients_with_different_levels_each_see_their_own_request(client):
    """They meet in the same batches; the deepest that somebody asks for runs, and each is shown what it asked for."""
    predictors = [await opened(client, model) for model in ("sum", "slow")]
    levels = [level for level in TraceLevel if level]

    async def one(number):
        level = random.choice(levels)
        values = [float(number * 100 + place) for place in range(random.randint(1, 4))]
        reply = await predicted(client, predictors[number % 2], values, level.name)
        return level, values, reply.json()["trace_id"]["id"]

    made = await asyncio.gather(*[one(number) for number in range(200)])
    assert len({trace_id for _, _, trace_id in made}) == 200
    shared = 0
    for level, values, trace_id in made:
        trace = await trace_of(client, trace_id)
        assert {tags(span)["input_id"] for span in named(trace, "predict")} == {f"in-{value}" for value in values}
        assert {tags(span).get("input_id", "in-") for span in trace["spans"]} <= {f"in-{v}" for v in values} | {"in-"}
        assert bool(named(trace, "layer")) == (level >= TraceLevel.FRAMEWORK_TRACE)
        linked = [
            ref for span in named(trace, "batch") for ref in span["references"] if ref["refType"] == "FOLLOWS_FROM"
        ]
        assert trace_id in {ref["traceID"] for ref in linked}
        shared += len(linked) > 1
    assert shared > 50


async def test_callers_see_their_own_traces_alone(serve):
    import hashlib

    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ada", "bob")}
    async with serve(auth={"keys": keys}) as client:
        ada, bob = (client.with_headers(authorization=f"Bearer {name}") for name in ("ada", "bob"))
        reply = await predicted(ada, await opened(ada), level="STEP_TRACE")
        trace_id = reply.json()["trace_id"]["id"]
        assert (await ada.get(f"/api/traces/{trace_id}")).status == 200
        assert (await bob.get(f"/api/traces/{trace_id}")).status == 404
        assert (await bob.get("/api/traces")).json()["data"] == []
        assert (await bob.get("/api/services")).json()["data"] == []
        assert (await client.get(f"/api/traces/{trace_id}")).status == 401


async def test_traces_are_found_as_jaegers_users_find_them(client):
    await predicted(client, await opened(client), [5.0], "STEP_TRACE")
    query = "service=stepscope&operation=predict&tags=%7B%22input_id%22%3A%22in-5.0%22%7D&limit=5&minDuration=1us"
    found = (await client.get("/api/traces", query)).json()
    assert len(found["data"]) == 1
    assert (found["total"], found["limit"], found["offset"]) == (0, 0, 0)
    assert (await client.get("/api/traces", "service=stepscope&minDuration=1h")).json()["data"] == []
    assert (await client.get("/api/traces", "start=1&end=2")).json()["data"] == []
    assert (await client.get("/api/services")).json()["data"] == ["stepscope"]
    operations = (await client.get("/api/services/stepscope/operations")).json()["data"]
    assert {"predict", "queue", "POST /api/predict/tensors"} <= set(operations)
    assert (await client.get("/api/services/nobody/operations")).json()["data"] == []


@pytest.mark.parametrize("query", ["tags=nothing", "tags=%5B1%5D", "minDuration=5", "limit=0", "start=x"])
async def test_what_cant_be_searched_for_is_refused(client, query):
    reply = await client.get("/api/traces", query)
    assert (reply.status, reply.problem) == (422, "invalid-field")


async def test_a_clients_own_span_joins_its_trace(client):
    reply = await predicted(client, await opened(client), level="STEP_TRACE")
    trace_id = reply.json()["trace_id"]["id"]
    span = {"span_id": "53995c3f42cd8ad8", "name": "wait", "service": "mine", "start_in_us": 1, "duration_in_us": 2}
    sent = await client.post("/api/spans", {"trace_id": trace_id, "spans": [span | {"tags": {"a": "b"}}]})
    assert sent.json() == {"taken": 1}
    trace = await trace_of(client, trace_id)
    own = named(trace, "wait")[0]
    assert trace["processes"][own["processID"]]["serviceName"] == "mine"
    assert tags(own)["a"] == "b"


async def test_the_chrome_trace_has_every_span(client):
    reply = await predicted(client, await opened(client), level="FULL_TRACE")
    trace_id = reply.json()["trace_id"]["id"]
    events = (await client.get(f"/api/traces/{trace_id}/chrome")).json()["traceEvents"]
    shown = {span["operationName"] for span in (await trace_of(client, trace_id))["spans"]}
    assert {event["name"] for event in events if event["ph"] == "X"} == shown


async def test_the_summary_says_where_the_time_went(client):
    reply = await predicted(client, await opened(client), [1.0, 2.0], "FRAMEWORK_TRACE")
    summary = (await client.get(f"/api/traces/{reply.json()['trace_id']['id']}/summary")).json()
    assert [step["name"] for step in summary["steps"]] == STEPS
    assert [step["count"] for step in summary["steps"]] == [2] * 4
    assert [share["name"] for share in summary["layer_types"]] == ["Sum"]
    assert summary["slowest_layers"][0]["share"] == 1.0
    assert [level["level"] for level in summary["levels"]] == ["FRAMEWORK_TRACE"]
    json.dumps(summary)


@pytest.mark.parametrize(("text", "ns"), [("1.5ms", 1_500_000), ("2s", 2 * 10**9), ("3us", 3000), ("1h", 3600 * 10**9)])
def test_durations_are_read(text, ns):
    assert read_duration(text) == ns
