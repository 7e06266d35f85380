"""The native wire from open to close, as old and new clients send it."""

import asyncio
import base64
import io
from typing import Any

import pytest
from PIL import Image

from stepscope.core.tuning import WAYS
from tests.web.asgi import Client, Reply

OPEN, URLS, IMAGES, TENSORS, DATASET, RESET, CLOSE = (
    f"/api/predict/{name}" for name in ("open", "urls", "images", "tensors", "dataset", "reset", "close")
)


async def opened(client: Client, model: str = "sum", **options) -> str:
    reply = await client.post(OPEN, {"model_name": model, "options": options})
    assert reply.status == 200, reply.body
    return str(reply.json()["id"])


def tensor(value: float, name: str = "", **more: Any) -> dict[str, Any]:
    return {"id": name, "shape": [2], "data": [value, 1.0], **more}


async def predicted(client: Client, predictor: str, *tensors: dict, **options) -> Reply:
    body = {"predictor": {"id": predictor}, "tensors": list(tensors), "options": options}
    return await client.post(TENSORS, body)


def png(shade: int = 128, size: tuple[int, int] = (5, 4)) -> str:
    file = io.BytesIO()
    Image.new("L", size, shade).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


async def test_a_whole_life(client):
    opening = await client.post(OPEN, {"model_name": "sum", "model_version": "1"})
    predictor = opening.json()
    assert predictor["model"] == {
        "name": "sum",
        "version": "1.0.0",
        "framework": {"name": "Echo", "version": "1.0.0"},
    }
    assert predictor["lease_in_ms"] == 900_000
    assert predictor["expires_at"].endswith("Z")
    assert predictor["trace_id"]["id"] == opening.headers["x-b3-traceid"]
    answer = (await predicted(client, predictor["id"], tensor(1, "a"), tensor(2, "b"))).json()
    assert answer["id"] == predictor["id"]
    assert [response["input_id"] for response in answer["responses"]] == ["a", "b"]
    assert {step["name"] for step in answer["steps"]} >= {"predict", "queue", "postprocess"}
    assert answer["versions"]["model"] == "sum 1.0.0"
    closing = (await client.post(CLOSE, {"predictor": {"id": predictor["id"]}})).json()
    assert closing["id"] == predictor["id"]
    assert (await predicted(client, predictor["id"], tensor(1))).problem == "predictor-not-found"


@pytest.mark.parametrize("path", [RESET, CLOSE])
@pytest.mark.parametrize("form", [lambda i: {"predictor": {"id": i}}, lambda i: {"id": i}])
async def test_close_and_reset_take_both_forms(client, path, form):
    predictor = await opened(client)
    assert (await client.post(path, form(predictor))).status == 200


@pytest.mark.parametrize("path", [RESET, CLOSE])
@pytest.mark.parametrize("body", [{}, {"id": ""}, {"force": True}])
async def test_close_and_reset_without_an_id_say_what_to_send(client, path, body):
    reply = await client.post(path, body)
    assert (reply.status, reply.problem) == (422, "invalid-field")
    assert '{"predictor": {"id": ...}}' in reply.json()["detail"]


async def test_resets_id_is_the_callers_own_beside_a_predictor(client):
    predictor = await opened(client)
    reply = await client.post(RESET, {"id": "reset-1", "predictor": {"id": predictor}})
    assert reply.json() == {"predictor": {"id": predictor}}


async def test_a_second_close_is_told_apart_from_a_first(client):
    predictor = await opened(client)
    assert (await client.post(CLOSE, {"id": predictor})).status == 200
    reply = await client.post(CLOSE, {"id": predictor})
    assert (reply.status, reply.problem) == (404, "predictor-not-found")
    assert "it was closed" in reply.json()["detail"]


async def test_of_two_closes_at_once_one_succeeds(client):
    predictor = await opened(client)
    replies = await asyncio.gather(*[client.post(CLOSE, {"id": predictor}) for _ in range(5)])
    assert sorted(reply.status for reply in replies) == [200, 404, 404, 404, 404]


async def test_unknown_fields_are_ignored_everywhere(client):
    more: dict[str, Any] = {"unknown": {"deep": [1, {"x": None}]}}
    options = {"execution_options": {"batch_size": 1, **more}, **more}
    opening = await client.post(OPEN, {"model_name": "sum", "options": options, **more})
    whole = opening.json() | more  # what old clients send back: all that `open` answered
    body = {"predictor": whole, "tensors": [tensor(1, **more)], "options": options, **more}
    assert (await client.post(TENSORS, body)).status == 200
    assert (await client.post(RESET, {"predictor": whole, **more})).status == 200
    assert (await client.post(CLOSE, {"predictor": whole, **more})).status == 200


async def test_every_level_name_of_the_contract_opens(client, contract):
    levels = contract.document["components"]["schemas"]["TraceLevel"]["enum"]
    assert {"STEP_TRACE", "FRAMEWORK", "FULL_TRACE"} <= set(levels)
    for level in levels:
        await opened(client, execution_options={"trace_level": level})


async def running(client: Client, model: str = "sum") -> list[dict[str, Any]] | None:
    """Return how the registry says that a model runs."""
    listed = (await client.get("/api/registry/models/manifest", f"model_name={model}")).json()["manifests"]
    execution: list[dict[str, Any]] | None = listed[0].get("execution")
    return execution


async def test_a_way_that_open_pins_is_in_the_registry_while_it_is_loaded(client):
    assert await running(client) is None
    plain, frozen = await opened(client), await opened(client, execution_options={"way": "frozen"})
    told = await running(client)
    assert told is not None
    assert [(each["origin"], each["choices"]) for each in told] == [
        ("default", [{"way": "eager", "threads": 0}]),
        ("pinned", [{"way": "frozen", "threads": 0}]),
    ]
    assert (await predicted(client, frozen, tensor(1), execution_options={"way": "graphs"})).status == 200
    assert len(await running(client) or ()) == 2
    assert await running(client, "echo") is None
    for predictor in (plain, frozen):
        await client.post(CLOSE, {"id": predictor})
    assert await running(client) is None


async def test_an_unknown_way_is_refused_with_the_known_ones(client):
    reply = await client.post(OPEN, {"options": {"execution_options": {"way": "fastest"}}})
    assert (reply.status, reply.problem) == (422, "invalid-field")
    assert reply.json()["pointer"] == "/options/execution_options/way"
    assert reply.json()["known"] == ["auto", *WAYS]


async def test_an_unknown_level_is_refused_with_the_known_ones(client, contract):
    reply = await client.post(OPEN, {"options": {"execution_options": {"trace_level": "STEPS"}}})
    assert (reply.status, reply.problem) == (422, "invalid-field")
    told = reply.json()
    assert told["pointer"] == "/options/execution_options/trace_level"
    assert told["known"] == contract.document["components"]["schemas"]["TraceLevel"]["enum"]


@pytest.mark.parametrize("limit", ["60000", 60000, "0", 0])
async def test_a_time_out_travels_as_text_or_number(client, limit):
    predictor = await opened(client, execution_options={"timeout_in_ms": limit})
    assert (await predicted(client, predictor, tensor(1))).status == 200


@pytest.mark.parametrize("limit", ["soon", "-1", -1, 1.5, "1e3", "999999999", 10**30, None, [], "٣"])
async def test_another_time_out_is_refused(client, limit):
    reply = await client.post(OPEN, {"options": {"execution_options": {"timeout_in_ms": limit}}})
    assert reply.status == 422
    assert reply.json()["pointer"] == "/options/execution_options/timeout_in_ms"


async def test_what_the_oldest_client_sends(client):
    """A batch of 256 with two inputs, the first GPU on a machine without one, an unlisted level, a blank last line."""
    opening = await client.post(
        OPEN,
        {
            "framework_name": "Echo",
            "framework_version": "1.0.0",
            "model_name": "PICTURE",
            "model_version": "1.0",
            "options": {
                "batch_size": 256,
                "execution_options": {"trace_level": "STEP_TRACE", "device_count": {"GPU": 0}},
            },
        },
    )
    predictor = opening.json()
    assert predictor["device"] == "cpu"
    urls = [{"id": "one", "data": "http://127.0.0.1/a.png"}, {"id": "two", "data": ""}]
    reply = await client.post(URLS, {"predictor": predictor, "urls": urls, "options": {"feature_limit": 0}})
    answer = reply.json()
    assert [response["input_id"] for response in answer["responses"]] == ["one", "two"]
    assert [response["error"]["code"] for response in answer["responses"]] == ["url_refused", "input_empty"]
    assert answer["trace_id"]["id"] == reply.headers["x-b3-traceid"]
    assert (await client.post(CLOSE, {"id": predictor["id"]})).status == 200


@pytest.mark.parametrize("path", [URLS, IMAGES, TENSORS])
async def test_no_inputs_are_answered_with_none(client, path):
    predictor = await opened(client, "picture")
    field = path.rpartition("/")[2]
    answer = (await client.post(path, {"predictor": {"id": predictor}, field: []})).json()
    assert answer["responses"] == []


async def test_ids_come_back_as_sent_and_in_order(client):
    predictor = await opened(client, "picture")
    names = ["b", "", "b", "ü 漢 \u0000 \U0001f600", "a" * 256]
    images = [{"id": name, "data": png(place)} for place, name in enumerate(names)]
    reply = await client.post(IMAGES, {"predictor": {"id": predictor}, "images": [*images, {"data": png()}]})
    responses = reply.json()["responses"]
    assert [response["input_id"] for response in responses] == [*names, ""]
    shades = [response["features"][0]["probability"] for response in responses]
    assert shades == pytest.approx([*[place / 255 for place in range(5)], 128 / 255])
    assert len({response["id"] for response in responses}) == 6


async def test_a_bad_input_fails_alone(client):
    predictor = await opened(client, "picture")
    data = [png(), "", "§§§", base64.b64encode(b"GIF89a not here").decode(), png(7)]
    reply = await client.post(IMAGES, {"predictor": {"id": predictor}, "images": [{"data": d} for d in data]})
    errors = [response.get("error", {}).get("code") for response in reply.json()["responses"]]
    assert errors == [None, "input_empty", "base64_invalid", "image_unreadable", None]


async def test_a_model_that_fails_on_one_input_answers_the_others(client):
    predictor = await opened(client, "picky")
    reply = await predicted(client, predictor, *[tensor(value, str(value)) for value in (1, -1, 2)])
    responses = reply.json()["responses"]
    assert [response.get("error", {}).get("code") for response in responses] == [None, "prediction_failed", None]


@pytest.mark.parametrize(("limit", "count"), [(0, 20), (3, 3), (1000, 20), (None, 10)])
async def test_features_are_limited_best_first(client, limit, count):
    predictor = await opened(client, "picture")
    options = {} if limit is None else {"feature_limit": limit}
    picture = Image.new("L", (5, 4))
    picture.putdata(list(range(20)))
    file = io.BytesIO()
    picture.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    reply = await client.post(IMAGES, {"predictor": {"id": predictor}, "images": [{"data": data}], "options": options})
    features = reply.json()["responses"][0]["features"]
    assert [feature["classification"]["index"] for feature in features] == list(range(20))[::-1][:count]


async def test_what_open_sets_holds_until_a_prediction_says_otherwise(client):
    predictor = await opened(client, "picture", feature_limit=2, request_id="mine")
    body = {"predictor": {"id": predictor}, "images": [{"data": png()}]}
    first = (await client.post(IMAGES, body)).json()["responses"][0]
    second = (await client.post(IMAGES, body | {"options": {"feature_limit": 4, "request_id": "other"}})).json()
    assert (len(first["features"]), first["request_id"]) == (2, "mine")
    assert (len(second["responses"][0]["features"]), second["responses"][0]["request_id"]) == (4, "other")


async def test_a_model_that_is_not_there_is_answered_with_near_names(client):
    reply = await client.post(OPEN, {"model_name": "pictur"})
    assert (reply.status, reply.problem) == (404, "model-not-found")
    assert "picture" in reply.json()["known"]


async def test_a_model_that_cannot_be_loaded_is_unavailable(client):
    reply = await client.post(OPEN, {"model_name": "broken"})
    assert (reply.status, reply.problem) == (503, "model-unavailable")


async def test_an_expired_predictor_says_how_to_reopen(serve):
    async with serve(predict={"lease_s": 0.15}) as client:
        predictor = await opened(client)
        await asyncio.sleep(0.1)
        assert (await predicted(client, predictor, tensor(1))).status == 200  # use starts the lease again
        await asyncio.sleep(0.1)
        assert (await predicted(client, predictor, tensor(1))).status == 200
        await asyncio.sleep(0.2)
        for reply in (await predicted(client, predictor, tensor(1)), await client.post(CLOSE, {"id": predictor})):
            assert (reply.status, reply.problem) == (404, "predictor-expired")
            assert "POST /api/predict/open" in reply.json()["detail"]
