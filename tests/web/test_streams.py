"""Server-sent events over ASGI: their form, slow readers, readers that go away, and jobs' events as a whole."""

import asyncio
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from stepscope.app.server import build
from stepscope.engine import following
from stepscope.web import streams
from stepscope.web.streams import encode, send_events
from stepscope_api.operations import Event
from stepscope_client.events import read_events
from tests.web.asgi import Client
from tests.web.servers import running

SOON_S = 20.0
VALUES = st.recursive(st.none() | st.integers(-(2**53), 2**53) | st.text(), lambda one: st.lists(one, max_size=3))


@hypothesis.settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(["job", "end"]), VALUES), max_size=5), st.integers(1, 7))
def test_what_is_written_can_be_read_whatever_it_is_cut_into(told, size):
    events = [Event(name, str(place), value) for place, (name, value) in enumerate(told)]
    text = streams.RETRY + b"".join(encode(event) + encode(None) for event in events)
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    read = list(read_events(parts))
    assert [(event.name, event.id, json.loads(event.data)) for event in read] == [
        (event.name, event.id, event.data) for event in events
    ]


class Reader:
    """A client that takes what it wants to take."""

    def __init__(self) -> None:
        self.takes = asyncio.Event()
        self.takes.set()
        self.gone = asyncio.Event()
        self.body = b""
        self.is_whole = False

    async def send(self, message: dict[str, Any]) -> None:
        await self.takes.wait()
        self.body += message.get("body", b"")
        self.is_whole = message["type"] == "http.response.body" and not message["more_body"]

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


class Source:
    """Events that count how many of them were made."""

    def __init__(self, count: int) -> None:
        self.made = 0
        self.closed = False
        self._count = count

    async def events(self):
        try:
            for number in range(self._count):
                self.made += 1
                yield Event("job", str(number), number)
                await asyncio.sleep(0)
            await asyncio.Event().wait() if self._count > 10 else None
        finally:
            self.closed = True


async def test_a_stream_ends_with_its_events():
    reader, source = Reader(), Source(2)
    await send_events(reader.send, reader.receive, [], source.events())  # type: ignore[arg-type]
    assert [event.data for event in read_events([reader.body])] == ["0", "1"]
    assert reader.is_whole
    assert source.closed


async def test_a_slow_reader_gets_no_queue():
    reader, source = Reader(), Source(10_000)
    reader.takes.clear()
    answering = asyncio.create_task(send_events(reader.send, reader.receive, [], source.events()))  # type: ignore[arg-type]
    for _ in range(100):
        await asyncio.sleep(0)
    assert source.made <= 1
    reader.gone.set()
    await asyncio.wait_for(answering, SOON_S)


async def test_a_reader_that_takes_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(streams, "PATIENCE_S", 0.01)
    reader, source = Reader(), Source(20)

    async def send(message):
        if message.get("body", b"").startswith(b"event"):
            await asyncio.Event().wait()

    await asyncio.wait_for(send_events(send, reader.receive, [], source.events()), SOON_S)
    assert source.closed


async def test_a_reader_that_goes_away_ends_the_source():
    reader, source = Reader(), Source(20)
    answering = asyncio.create_task(send_events(reader.send, reader.receive, [], source.events()))  # type: ignore[arg-type]
    async with asyncio.timeout(SOON_S):
        while source.made < 20:  # noqa: ASYNC110 - what is counted sets nothing
            await asyncio.sleep(0)
    reader.gone.set()
    await asyncio.wait_for(answering, SOON_S)
    assert source.closed
    assert not reader.is_whole


# --- jobs' events --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(following, "TICK_S", 0.02)


@pytest.fixture
async def app(settings, runtime):
    """A server that runs no jobs."""
    async with running(build(settings(jobs={"run_at_once": 0}), runtime)) as app:
        yield app


def request(model="sum", count=1, **more):
    tensors = [{"id": str(place), "data": [1.0], "shape": [1]} for place in range(count)]
    return {"kind": "tensors", "model": {"model_name": model}, "tensors": tensors} | more


async def submitted(client, document):
    reply = await client.post("/api/jobs", document)
    assert reply.status == 202, reply.body
    return reply.json()["id"]


def told(reply):
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    return [(event.name, event.id, json.loads(event.data)) for event in read_events([reply.body])]


async def test_a_jobs_events_lead_to_its_end(client, contract):
    job_id = await submitted(client, request("slow", 100, options={"batch_size": 32}))
    events = told(await client.get(f"/api/jobs/{job_id}/events"))
    assert [name for name, _, _ in events[:-1]] == ["job"] * (len(events) - 1)
    for _, _, job in events:
        contract.validate({"$ref": "#/components/schemas/Job"}, job)
    name, _, last = events[-1]
    assert (name, last["state"], last["percent"]) == ("end", "done", 100)
    percents = [job["percent"] for _, _, job in events]
    assert percents == sorted(percents)
    assert len(percents) >= 3
    assert {job.get("step", "open") for _, _, job in events if job["state"] == "processing"} <= {"open", "predict"}
    assert len({number for _, number, _ in events}) == len(events)


async def test_the_end_is_told_whenever_it_is_asked_for(client):
    job_id = await submitted(client, request())
    first = told(await client.get(f"/api/jobs/{job_id}/events"))[-1]
    again = told(await client.get(f"/api/jobs/{job_id}/events", last_event_id=first[1]))
    assert again == [first]


async def test_what_the_last_event_told_isnt_told_again(serve):
    async with serve(jobs={"run_at_once": 0}) as client:
        job_id = await submitted(client, request())
        events = asyncio.create_task(client.get(f"/api/jobs/{job_id}/events"))
        await asyncio.sleep(0.1)
        await client.request("POST", f"/api/jobs/{job_id}/cancel")
        (_, first, shown), (name, _, _) = told(await events)
        assert (shown["state"], shown["queue_place"], name) == ("queued", 1, "end")
        other = await submitted(client, request())
        events = asyncio.create_task(client.get(f"/api/jobs/{other}/events", last_event_id=first))
        await asyncio.sleep(0.1)
        await client.request("POST", f"/api/jobs/{other}/cancel")
        assert [name for name, _, _ in told(await events)] == ["end"], "it stands where the other one stood"


async def test_an_unknown_job_has_no_stream(client):
    reply = await client.get("/api/jobs/nobody/events")
    assert (reply.status, reply.problem) == (404, "job-not-found")


async def test_streams_end_when_the_server_stops(app, contract):
    client = Client(app.asgi, contract)
    job_id = await submitted(client, request())
    events = asyncio.create_task(client.get(f"/api/jobs/{job_id}/events"))
    await asyncio.sleep(0.1)
    app.engine.drain()
    async with asyncio.timeout(SOON_S):
        assert [name for name, _, _ in told(await events)] == ["job"]
    assert app.root.under_way == 0
