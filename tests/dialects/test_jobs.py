"""Native jobs over the wire: submitted, run by the server itself, watched, read, cancelled."""

import asyncio

import pytest

from stepscope.app.server import build
from stepscope.core.errors import StoreUnavailable
from stepscope.store.memory_jobs import MemoryJobs
from tests.web.asgi import Client
from tests.web.servers import running


@pytest.fixture(params=["memory:", "sqlite:"])
async def client(serve, request, tmp_path):
    """A server with a job store of each kind."""
    url = request.param if request.param == "memory:" else f"sqlite:{tmp_path}/store.sqlite"
    async with serve(store={"url": url}) as client:
        yield client


def tensors(*values, kind="tensors", **more):
    items = [{"id": f"in-{place}", "data": [value], "shape": [1]} for place, value in enumerate(values)]
    return {"kind": kind, "model": {"model_name": "sum"}, "tensors": items} | more


async def submitted(client, request, **headers):
    reply = await client.post("/api/jobs", request, **headers)
    assert reply.status == 202, reply.body
    return reply.json()


async def ended(client, job_id):
    async with asyncio.timeout(20):
        while True:
            reply = await client.get(f"/api/jobs/{job_id}")
            assert reply.status == 200, reply.body
            if reply.json()["state"] not in ("queued", "processing"):
                return reply.json()
            await asyncio.sleep(0.02)


async def state_of(client, job_id):
    return (await client.get(f"/api/jobs/{job_id}")).json()["state"]


async def began(client, job_id):
    async with asyncio.timeout(20):
        while await state_of(client, job_id) == "queued":  # noqa: ASYNC110 - what is watched is behind the wire
            await asyncio.sleep(0.01)


async def test_a_job_is_answered_as_its_request_would_have_been(client):
    reply = await client.post("/api/jobs", tensors(1.0, 2.0))
    assert reply.status == 202
    job = reply.json()
    assert reply.headers["location"] == f"/api/jobs/{job['id']}"
    done = await ended(client, job["id"])
    assert (done["state"], done["percent"], done["attempts"]) == ("done", 100, 1)
    predictor = (await client.post("/api/predict/open", {"model_name": "sum"})).json()["id"]
    waited = await client.post(
        "/api/predict/tensors", {"predictor": {"id": predictor}, "tensors": tensors(1.0, 2.0)["tensors"]}
    )
    for _ in range(2):  # as often as it is asked for
        result = (await client.get(f"/api/jobs/{job['id']}/result")).json()
        assert [plain(one) for one in result["responses"]] == [plain(one) for one in waited.json()["responses"]]


def plain(response):
    return response["input_id"], [(f["type"], f["probability"], f["raw"]) for f in response["features"]]


@pytest.mark.parametrize("kind", ["urls", "images", "tensors", "dataset"])
async def test_exactly_the_inputs_that_the_kind_names_are_taken(client, kind):
    there = {"urls": [], "images": [], "tensors": [], "dataset": {"category": "a", "name": "b"}}
    for given in [{}, there]:
        reply = await client.post("/api/jobs", {"kind": kind, "model": {"model_name": "sum"}} | given)
        assert (reply.status, reply.problem) == (422, "invalid-field")
    assert (
        await client.post("/api/jobs", {"kind": kind, "model": {"model_name": "sum"}, kind: there[kind]})
    ).status == 202


async def test_a_model_or_a_predictor_is_named_not_both(client):
    predictor = (await client.post("/api/predict/open", {"model_name": "sum"})).json()
    reply = await client.post("/api/jobs", tensors(1.0, predictor={"id": predictor["id"]}))
    assert (reply.status, reply.json()["pointer"]) == (422, "/predictor")


async def test_an_open_predictor_is_used_and_stays_open(client):
    predictor = (await client.post("/api/predict/open", {"model_name": "sum"})).json()["id"]
    request = tensors(1.0, predictor={"id": predictor})
    del request["model"]
    job = await submitted(client, request)
    assert (await ended(client, job["id"]))["state"] == "done"
    assert (await client.get(f"/api/jobs/{job['id']}/result")).json()["id"] == predictor
    assert (await client.post("/api/predict/close", {"id": predictor})).status == 200


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"model": {"model_name": "no such"}}, "model-not-found"),
        ({"model": {"model_name": "sum", "model_version": ">=9"}}, "model-not-found"),
    ],
)
async def test_what_could_never_run_is_refused_at_once(client, more, problem):
    assert (await client.post("/api/jobs", tensors(1.0, **more))).problem == problem


async def test_an_unknown_predictor_is_refused_at_once(client):
    request = tensors(1.0, predictor={"id": "nobody"})
    del request["model"]
    assert (await client.post("/api/jobs", request)).problem == "predictor-not-found"


async def test_a_bad_input_has_its_own_error_in_the_result(client):
    request = tensors(1.0, 2.0)
    request["tensors"][0]["data"] = [1.0, 2.0]
    job = await submitted(client, request)
    await ended(client, job["id"])
    first, second = (await client.get(f"/api/jobs/{job['id']}/result")).json()["responses"]
    assert (first["error"]["code"], second["input_id"]) == ("tensor_invalid", "in-1")


async def test_a_model_that_cant_be_loaded_fails_the_job_with_its_reason(client):
    job = await submitted(client, tensors(1.0, model={"model_name": "broken"}))
    failed = await ended(client, job["id"])
    assert failed["state"] == "failed"
    assert "broken 1.0.0 can't be loaded" in failed["error"]
    reply = await client.get(f"/api/jobs/{job['id']}/result")
    assert (reply.status, reply.problem) == (409, "job-without-result")
    assert failed["error"] in reply.json()["detail"]


async def test_a_fault_of_ours_isnt_told(client, monkeypatch):
    from stepscope.dialects.mlmodelscope.job_work import JobWork

    async def leak(*_):
        raise RuntimeError("a secret path")

    monkeypatch.setattr(JobWork, "_answer", leak)
    failed = await ended(client, (await submitted(client, tensors(1.0)))["id"])
    assert (failed["state"], "secret" in failed["error"]) == ("failed", False)


async def test_a_result_isnt_there_before_the_end(client):
    job = await submitted(client, tensors(1.0, model={"model_name": "slow"}))
    reply = await client.get(f"/api/jobs/{job['id']}/result")
    assert (reply.status, reply.problem) == (409, "job-not-ended")


# --- keys ----------------------------------------------------------------------------------------


async def test_the_same_key_and_body_give_the_same_job(client):
    first = await submitted(client, tensors(1.0), idempotency_key="order 1")
    again = await submitted(client, tensors(1.0), idempotency_key="order 1")
    other = await submitted(client, tensors(1.0), idempotency_key="order 2")
    assert first["id"] == again["id"] != other["id"]


async def test_the_same_key_gives_the_job_whose_predictor_is_closed_by_now(client):
    predictor = (await client.post("/api/predict/open", {"model_name": "sum"})).json()["id"]
    request = tensors(1.0, predictor={"id": predictor})
    del request["model"]
    job = await submitted(client, request, idempotency_key="again")
    await ended(client, job["id"])
    await client.post("/api/predict/close", {"id": predictor})
    assert (await submitted(client, request, idempotency_key="again"))["id"] == job["id"]
    assert (await client.post("/api/jobs", request)).problem == "predictor-not-found"
    other = tensors(2.0, predictor={"id": predictor})
    del other["model"]
    assert (await client.post("/api/jobs", other, idempotency_key="again")).problem == "idempotency-key-reused"


async def test_a_job_that_is_queued_is_acknowledged_whatever_becomes_of_the_database(serve, monkeypatch):
    async def away(*_):
        raise StoreUnavailable

    monkeypatch.setattr(MemoryJobs, "places", away)
    async with serve(jobs={"run_at_once": 0}) as client:
        job = await submitted(client, tensors(1.0))
        assert job["state"] == "queued"


async def test_the_same_key_with_another_body_is_refused(client):
    await submitted(client, tensors(1.0), idempotency_key="k")
    reply = await client.post("/api/jobs", tensors(2.0), idempotency_key="k")
    assert (reply.status, reply.problem) == (422, "idempotency-key-reused")


async def test_a_key_that_isnt_one_is_refused(client):
    reply = await client.post("/api/jobs", tensors(1.0), idempotency_key=" ")
    assert (reply.status, reply.json()["pointer"]) == (422, "Idempotency-Key")


# --- owners, lists, limits -----------------------------------------------------------------------


@pytest.fixture
async def two(serve):
    """Two callers of a server that asks for keys."""
    import hashlib

    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("alice", "bob")}
    async with serve(auth={"keys": keys}) as client:
        yield [client.with_headers(authorization=f"Bearer {name}") for name in keys]


async def test_another_callers_job_isnt_there(two):
    alice, bob = two
    job = await submitted(alice, tensors(1.0), idempotency_key="k")
    for method, path in [("GET", ""), ("GET", "/result"), ("GET", "/events"), ("POST", "/cancel")]:
        reply = await bob.request(method, f"/api/jobs/{job['id']}{path}")
        assert (reply.status, reply.problem) == (404, "job-not-found")
    assert (await bob.get("/api/jobs")).json() == {"jobs": []}
    assert (await submitted(bob, tensors(2.0), idempotency_key="k"))["id"] != job["id"]


async def test_lists_go_on_where_the_last_page_ended(client):
    ids = [(await submitted(client, tensors(float(number))))["id"] for number in range(5)]
    seen, before = [], ""
    while page := (await client.get("/api/jobs", f"limit=2{before}")).json()["jobs"]:
        seen += [job["id"] for job in page]
        before = f"&before={seen[-1]}"
    assert seen == ids[::-1]


async def test_lists_are_of_one_state(client):
    job = await submitted(client, tensors(1.0))
    await ended(client, job["id"])
    assert [one["id"] for one in (await client.get("/api/jobs", "state=done")).json()["jobs"]] == [job["id"]]
    assert (await client.get("/api/jobs", "state=failed")).json()["jobs"] == []
    assert (await client.get("/api/jobs", "state=gone")).problem == "invalid-field"


async def test_a_full_queue_says_when_to_come_back(serve):
    async with serve(jobs={"waiting": 1, "run_at_once": 0}) as client:
        await submitted(client, tensors(1.0))
        reply = await client.post("/api/jobs", tensors(2.0))
        assert (reply.status, reply.problem) == (429, "job-queue-full")
        assert int(reply.headers["retry-after"]) >= 1


async def test_places_count_from_one_and_priorities_go_first(serve):
    async with serve(jobs={"run_at_once": 0}) as client:
        first, second = [await submitted(client, tensors(number)) for number in (1.0, 2.0)]
        urgent = await submitted(client, tensors(3.0, priority=5))
        places = [(await client.get(f"/api/jobs/{job['id']}")).json()["queue_place"] for job in (urgent, first, second)]
        assert places == [1, 2, 3]


async def test_a_job_whose_time_is_over_lapses(serve):
    async with serve(jobs={"run_at_once": 0}) as client:
        job = await submitted(client, tensors(1.0, timeout_in_ms=1))
        assert (await ended(client, job["id"]))["state"] == "lapsed"
        reply = await client.get(f"/api/jobs/{job['id']}/result")
        assert (reply.status, reply.problem) == (409, "job-without-result")


# --- beside others -------------------------------------------------------------------------------


async def test_who_waits_for_an_answer_isnt_starved_by_jobs(client):
    predictor = (await client.post("/api/predict/open", {"model_name": "slow"})).json()["id"]
    jobs = [await submitted(client, tensors(*[1.0] * 640, model={"model_name": "slow"})) for _ in range(4)]
    await began(client, jobs[-1]["id"])
    reply = await client.post(
        "/api/predict/tensors", {"predictor": {"id": predictor}, "tensors": tensors(2.0)["tensors"]}
    )
    assert reply.status == 200
    for job in jobs:
        assert await state_of(client, job["id"]) == "processing", "they take seconds yet"
        await client.request("POST", f"/api/jobs/{job['id']}/cancel")


async def test_a_job_waits_where_a_request_would_be_refused(serve):
    async with serve(limits={"inputs": 40, "inputs_per_owner": 40}) as client:
        predictor = (await client.post("/api/predict/open", {"model_name": "slow"})).json()["id"]
        full = {"predictor": {"id": predictor}, "tensors": tensors(*[1.0] * 40)["tensors"]}
        filling = asyncio.create_task(client.post("/api/predict/tensors", full))
        await asyncio.sleep(0.05)
        assert (await client.post("/api/predict/tensors", full)).status in (429, 503)
        job = await submitted(client, tensors(*[1.0] * 80))
        assert (await ended(client, job["id"]))["state"] == "done"
        assert (await filling).status == 200


async def test_without_its_database_the_server_says_so(settings, runtime, contract, monkeypatch):
    async def away(*_):
        raise StoreUnavailable

    async with running(build(settings(), runtime)) as app:
        client = Client(app.asgi, contract)
        with monkeypatch.context() as patch:
            patch.setattr(MemoryJobs, "add_job", away)
            reply = await client.post("/api/jobs", tensors(1.0))
            assert (reply.status, reply.problem) == (503, "store-unavailable")
            assert int(reply.headers["retry-after"]) >= 1
        assert (await ended(client, (await submitted(client, tensors(1.0)))["id"]))["state"] == "done"


# --- cancelling ----------------------------------------------------------------------------------


async def test_a_waiting_job_is_cancelled_and_never_run(serve, runtime):
    async with serve(jobs={"run_at_once": 0}) as client:
        job = await submitted(client, tensors(1.0))
        cancelled = (await client.request("POST", f"/api/jobs/{job['id']}/cancel")).json()
        assert (cancelled["state"], cancelled["queue_place"]) == ("cancelled", 0)
    assert runtime.batches == []


async def test_a_running_job_is_cancelled_at_once(client, runtime):
    many = tensors(*[1.0] * 1000, model={"model_name": "slow"}, options={"batch_size": 1})
    job = await submitted(client, many)
    await began(client, job["id"])
    assert (await client.request("POST", f"/api/jobs/{job['id']}/cancel")).json()["state"] == "cancelled"
    await ended(client, (await submitted(client, tensors(1.0)))["id"])
    assert sum(runtime.batches) < 100, "what waited for the device was left out"


async def test_cancelling_what_has_ended_changes_nothing(client):
    job = await submitted(client, tensors(1.0))
    done = await ended(client, job["id"])
    for _ in range(2):
        again = (await client.request("POST", f"/api/jobs/{job['id']}/cancel")).json()
        assert again["state"] == done["state"] == "done"
    assert (await client.get(f"/api/jobs/{job['id']}/result")).status == 200


# --- traces --------------------------------------------------------------------------------------


async def test_a_jobs_trace_holds_its_steps(client):
    options = {"execution_options": {"trace_level": "MODEL_TRACE"}}
    job = await submitted(client, tensors(1.0, 2.0, options=options))
    await ended(client, job["id"])
    reply = await client.get(f"/api/traces/{job['trace_id']['id']}")
    spans = reply.json()["data"][0]["spans"]
    names = [span["operationName"] for span in spans]
    assert names.count("predict") == 2
    assert {"POST /api/jobs", "job tensors"} <= set(names)
    result = (await client.get(f"/api/jobs/{job['id']}/result")).json()
    assert result["trace_id"] == job["trace_id"]
