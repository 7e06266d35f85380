"""Tensors on the wire: bytes and numbers in, features and bytes out, and what is refused."""

import json

import numpy as np
import pytest

from tests.web.test_lifecycle import TENSORS, opened

OCTETS = "application/octet-stream"


async def sent(client, body, query, accept="*/*", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.request(
        "POST", TENSORS, body, query=query, headers={"content-type": OCTETS, "accept": accept} | named
    )


def answered(reply):
    shape = [int(length) for length in reply.headers["x-tensor-shape"].split(",")]
    return np.frombuffer(reply.body, reply.headers["x-tensor-dtype"]).reshape(shape)


async def test_bytes_in_and_bytes_out(client):
    predictor = await opened(client, "echo")
    array = np.arange(12, dtype="<f4").reshape(3, 2, 2)
    reply = await sent(client, array.tobytes(), f"predictor_id={predictor}&shape=3,2,2", OCTETS)
    assert reply.status == 200
    assert reply.headers["content-type"] == OCTETS
    np.testing.assert_array_equal(answered(reply), array)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float64"])
async def test_every_element_type_is_read(client, dtype):
    predictor = await opened(client, "sum")
    array = np.array([[1, 2], [3, 4]], np.dtype(dtype).newbyteorder("<"))
    reply = await sent(client, array.tobytes(), f"predictor_id={predictor}&shape=2,2&dtype={dtype}", OCTETS)
    np.testing.assert_array_equal(answered(reply), [[3.0], [7.0]])


async def test_bytes_in_and_features_out(client):
    predictor = await opened(client, "picture")
    array = np.linspace(0, 1, 40, dtype="<f4").reshape(2, 1, 4, 5)
    query = f"predictor_id={predictor}&shape=2,1,4,5&feature_limit=2"
    answer = (await sent(client, array.tobytes(), query, "application/json")).json()
    assert [response["input_id"] for response in answer["responses"]] == ["0", "1"]
    assert [len(response["features"]) for response in answer["responses"]] == [2, 2]


async def test_numbers_in_and_bytes_out(client):
    predictor = await opened(client, "echo")
    body = {"predictor": {"id": predictor}, "tensors": [{"shape": [2], "data": [1, 2]}, {"shape": [2], "data": [3, 4]}]}
    reply = await client.post(TENSORS, body, accept=OCTETS)
    np.testing.assert_array_equal(answered(reply), [[1, 2], [3, 4]])


async def test_the_query_limits_the_features_of_json_too(client):
    predictor = await opened(client, "picture")
    body = {"predictor": {"id": predictor}, "tensors": [{"shape": [1, 4, 5], "data": [0] * 20}]}
    reply = await client.request(
        "POST",
        TENSORS,
        json.dumps(body).encode(),
        query="feature_limit=3",
        headers={"content-type": "application/json"},
    )
    assert len(reply.json()["responses"][0]["features"]) == 3


async def test_no_rows_are_answered_with_none(client):
    predictor = await opened(client, "picture")
    reply = await sent(client, b"", f"predictor_id={predictor}&shape=0,1,4,5", OCTETS)
    assert (reply.status, reply.body) == (200, b"")


async def test_outputs_of_several_shapes_are_no_single_array(client):
    predictor = await opened(client, "echo")
    tensors = [{"shape": [1], "data": [1]}, {"shape": [2], "data": [1, 2]}]
    body = {"predictor": {"id": predictor}, "tensors": tensors}
    reply = await client.post(TENSORS, body, accept=OCTETS)
    assert (reply.status, reply.problem) == (422, "invalid-input")
    assert (await client.post(TENSORS, body)).status == 200


async def test_an_input_that_fails_fails_the_array_and_says_why_once(client):
    predictor = await opened(client, "picture")
    reply = await sent(client, np.zeros(4, "<f4").tobytes(), f"predictor_id={predictor}&shape=2,2", OCTETS)
    assert (reply.status, reply.problem) == (422, "invalid-input")
    assert reply.json()["detail"].count("can't be used") == 1


async def test_a_model_that_fails_on_the_array_is_a_fault_of_ours(client):
    predictor = await opened(client, "failing")
    query = f"predictor_id={predictor}&shape=2,2"
    reply = await sent(client, np.zeros(4, "<f4").tobytes(), query, OCTETS)
    assert (reply.status, reply.problem) == (500, "internal-failure")


async def test_bad_numbers_fail_alone_in_their_places(client):
    predictor = await opened(client, "sum")
    tensors = [
        {"id": "short", "shape": [3], "data": [1]},
        {"id": "good", "shape": [2], "data": [1, 2]},
        {"id": "fraction", "shape": [1], "data": [1.5], "dtype": "int8"},
        {"id": "large", "shape": [1], "data": [300], "dtype": "uint8"},
        {"id": "huge", "shape": [2147483647] * 16, "data": []},
        {"id": "also good", "shape": [], "data": [4]},
    ]
    answer = (await client.post(TENSORS, {"predictor": {"id": predictor}, "tensors": tensors})).json()
    assert [response["input_id"] for response in answer["responses"]] == [item["id"] for item in tensors]
    assert ["error" in response for response in answer["responses"]] == [True, False, True, True, True, False]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("shape=2", "predictor_id"),
        ("predictor_id={}", "shape"),
        ("predictor_id={}&shape=", "shape"),
        ("predictor_id={}&shape=2,x", "shape"),
        ("predictor_id={}&shape=2;2", "shape"),
        ("predictor_id={}&shape=-1", "shape"),
        ("predictor_id={}&shape=2,", "shape"),
        ("predictor_id={}&shape=99999999999999999999999", "shape"),
        ("predictor_id={}&shape=" + ",".join("1" * 17), "shape"),
        ("predictor_id={}&shape=2&dtype=bfloat16", "dtype"),
        ("predictor_id={}&shape=2&feature_limit=-1", "feature_limit"),
        ("predictor_id={}&shape=2&feature_limit=1.5", "feature_limit"),
        ("predictor_id=" + "a" * 257 + "&shape=2", "predictor_id"),
    ],
)
async def test_a_parameter_that_is_wrong_is_named(client, query, name):
    predictor = await opened(client, "sum")
    reply = await sent(client, bytes(8), query.format(predictor))
    assert (reply.status, reply.problem) == (422, "invalid-field")
    assert reply.json()["pointer"] == name
    assert ("known" in reply.json()) == (name == "dtype")


@pytest.mark.parametrize("shape", ["268435456,0", "4097,0", "4097,0,5"])
async def test_rows_of_no_bytes_are_counted_before_they_are_made(client, shape):
    """A query of a few bytes could ask for as many objects as there are rows."""
    predictor = await opened(client, "sum")
    reply = await sent(client, b"", f"predictor_id={predictor}&shape={shape}")
    assert (reply.status, reply.json()["pointer"]) == (422, "shape")


@pytest.mark.parametrize("body", [bytes(7), bytes(9), b""])
async def test_bytes_that_are_not_the_shape_are_refused(client, body):
    predictor = await opened(client, "sum")
    reply = await sent(client, body, f"predictor_id={predictor}&shape=2")
    assert (reply.status, reply.problem) == (422, "invalid-input")


async def test_an_answer_that_nobody_gives_is_not_acceptable(client):
    predictor = await opened(client, "sum")
    reply = await sent(client, bytes(8), f"predictor_id={predictor}&shape=2", "text/html")
    assert (reply.status, reply.problem) == (406, "not-acceptable")
    assert reply.json()["known"] == ["application/json", OCTETS]


async def test_other_operations_answer_json_whatever_is_accepted(client):
    assert (await client.get("/version", accept="text/html")).headers["content-type"] == "application/json"


@pytest.mark.parametrize("media", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "octet-stream"])
async def test_another_content_type_is_refused(client, media):
    reply = await client.post(TENSORS, {}, content_type=media)
    assert (reply.status, reply.problem) == (415, "unsupported-media-type")
    assert reply.json()["known"] == ["application/json", OCTETS]


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x"])
async def test_a_content_type_may_have_parameters(client, media):
    assert (await client.post("/api/predict/open", {"model_name": "sum"}, content_type=media)).status == 200


async def test_json_without_a_type_is_taken_as_old_clients_send_it(client):
    reply = await client.request("POST", "/api/predict/open", b'{"model_name": "sum"}')
    assert reply.status == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_a_packed_body_is_refused(client, coding):
    reply = await client.post("/api/predict/open", {"model_name": "sum"}, content_encoding=coding)
    assert (reply.status, reply.problem) == (415, "unsupported-media-type")
    assert "Content-Encoding" in reply.json()["detail"]
