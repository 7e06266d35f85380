"""Time and room: deadlines, clients that go away, a full server and its recovery, a stop."""

import asyncio
import json

import pytest

from tests.web.test_lifecycle import OPEN, TENSORS, opened, predicted, tensor


def body(predictor, count=1, **options):
    tensors = [tensor(float(place), str(place)) for place in range(count)]
    return json.dumps({"predictor": {"id": predictor}, "tensors": tensors, "options": options}).encode()


async def sent(client, predictor, count=1, gone=None, **options):
    headers = {"content-type": "application/json"}
    return await client.request("POST", TENSORS, body(predictor, count, **options), headers=headers, gone=gone)


async def test_a_deadline_ends_a_request_with_what_was_done(client):
    """Batches of two take 0.3 s each; within 0.5 s one of three is done."""
    predictor = await opened(client, "slow", batch_size=2)
    reply = await sent(client, predictor, 6, execution_options={"timeout_in_ms": "500"})
    assert (reply.status, reply.problem) == (504, "deadline-exceeded")
    partial = reply.json()["partial"]
    codes = [response.get("error", {}).get("code") for response in partial["responses"]]
    assert len(codes) == 6
    assert set(codes) <= {None, "input_cancelled"}
    assert "6 inputs" in reply.json()["detail"]


async def test_bad_inputs_keep_their_places_in_what_was_done(client):
    predictor = await opened(client, "slow")
    tensors = [tensor(1, "good"), {"id": "bad", "shape": [9], "data": []}, tensor(2, "also good")]
    options = {"execution_options": {"timeout_in_ms": 50}}
    reply = await client.post(TENSORS, {"predictor": {"id": predictor}, "tensors": tensors, "options": options})
    assert reply.status == 504
    assert [response["input_id"] for response in reply.json()["partial"]["responses"]] == ["good", "bad", "also good"]


async def test_inputs_whose_time_is_over_never_run(client, runtime):
    predictor = await opened(client, "slow")
    first = asyncio.create_task(sent(client, predictor))
    await asyncio.sleep(0.1)  # it runs now, for 0.3 s
    late = [sent(client, predictor, 3, execution_options={"timeout_in_ms": 50}) for _ in range(5)]
    assert {reply.status for reply in await asyncio.gather(*late)} == {504}
    assert (await first).status == 200
    assert (await predicted(client, predictor, tensor(1))).status == 200
    assert runtime.batches == [1, 1]


async def test_inputs_of_a_client_that_went_away_never_run(client, runtime):
    predictor = await opened(client, "slow")
    first = asyncio.create_task(sent(client, predictor))
    await asyncio.sleep(0.1)  # it runs now, for 0.3 s
    gone = asyncio.Event()
    leaving = asyncio.create_task(sent(client, predictor, 50, gone=gone))
    await asyncio.sleep(0.1)
    gone.set()
    await leaving
    assert (await first).status == 200
    assert (await predicted(client, predictor, tensor(1))).status == 200
    assert runtime.batches == [1, 1]


async def test_a_client_that_goes_while_its_input_runs_harms_nobody(client):
    predictor = await opened(client, "slow")
    gone = asyncio.Event()
    leaving = asyncio.create_task(sent(client, predictor, gone=gone))
    staying = asyncio.create_task(sent(client, predictor))
    await asyncio.sleep(0.1)
    gone.set()
    await leaving
    assert (await staying).status == 200


async def test_a_server_that_is_cancelled_itself_does_not_blame_the_client(client):
    predictor = await opened(client, "slow")
    task = asyncio.create_task(sent(client, predictor))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_full_server_says_when_to_come_again_and_recovers(serve):
    async with serve(limits={"inputs": 4, "inputs_per_owner": 4}) as client:
        predictor = await opened(client, "slow")
        waiting = asyncio.create_task(sent(client, predictor, 4))
        await asyncio.sleep(0.1)
        reply = await sent(client, predictor)
        assert (reply.status, reply.problem) == (503, "overloaded")
        assert int(reply.headers["retry-after"]) >= 1
        assert (await client.get("/readyz")).status == 200
        assert (await waiting).status == 200
        assert (await sent(client, predictor, 4)).status == 200


async def test_one_caller_cannot_take_all(serve):
    async with serve(limits={"inputs": 8, "inputs_per_owner": 2}) as client:
        predictor = await opened(client, "slow")
        waiting = asyncio.create_task(sent(client, predictor, 2))
        await asyncio.sleep(0.1)
        reply = await sent(client, predictor)
        assert (reply.status, reply.problem) == (429, "too-many-requests")
        assert int(reply.headers["retry-after"]) >= 1
        assert (await waiting).status == 200
        assert (await sent(client, predictor, 2)).status == 200


async def test_what_never_fits_is_refused_and_frees_its_room(serve):
    async with serve(limits={"inputs": 4, "inputs_per_owner": 4}) as client:
        predictor = await opened(client)
        for _ in range(3):
            assert (await sent(client, predictor, 5)).status == 413  # waiting wouldn't help
        for _ in range(3):
            gone = asyncio.Event()
            gone.set()
            await sent(client, await opened(client, "slow"), 4, gone=gone)
        assert (await sent(client, predictor, 4)).status == 200


async def test_many_requests_at_once_get_their_own_answers(client):
    predictor = await opened(client, "sum")
    replies = await asyncio.gather(*[predicted(client, predictor, tensor(float(n), str(n))) for n in range(200)])
    for number, reply in enumerate(replies):
        assert reply.json()["responses"][0]["input_id"] == str(number)


async def test_a_server_that_stops_takes_nothing_new(settings, runtime, contract):
    from stepscope.app.server import build
    from tests.web.asgi import Client
    from tests.web.servers import running

    async with running(build(settings(), runtime)) as app:
        client = Client(app.asgi, contract)
        predictor = await opened(client, "slow")
        under_way = asyncio.create_task(sent(client, predictor))
        await asyncio.sleep(0.1)
        app.engine.drain()
        for reply in (
            await client.post(OPEN, {"model_name": "sum"}),
            await sent(client, predictor),
            await client.get("/readyz"),
        ):
            assert (reply.status, reply.problem) == (503, "shutting-down")
            assert int(reply.headers["retry-after"]) >= 1
        assert (await client.get("/livez")).status == 200
        assert (await under_way).status == 200
