"""Bodies that no honest client sends: each gets a clear answer, and the server goes on as before."""

import asyncio
import base64
import io
import json
import math
import struct
import tracemalloc
import zlib

import pytest
from PIL import Image

from tests.web.test_lifecycle import CLOSE, DATASET, IMAGES, OPEN, RESET, TENSORS, URLS, opened, predicted, tensor

POSTS = (OPEN, URLS, IMAGES, TENSORS, DATASET, RESET, CLOSE)
DEPTH = 200_000


@pytest.fixture
async def survivor(client):
    """A server that has to live on, and to predict, after whatever a test sent."""
    predictor = await opened(client)
    yield client
    assert (await client.get("/livez")).status == 200
    answer = await predicted(client, predictor, tensor(2.0))
    assert answer.status == 200
    assert "error" not in answer.json()["responses"][0]


def nested(opening: bytes, closing: bytes) -> bytes:
    return opening * DEPTH + closing * DEPTH


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"predictor"',
        b"[1, 2",
        b"not json",
        b"{'id': 'x'}",
        b'{"id": "x",}',
        b'{"id": NaN}',
        b'{"id": "\xff\xfe"}',
        b'{"\xff": 1}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b'{"id": "\\ud800"}',
        b'{"id": "\x00"}',
        b'{"x": \\u0022}',
        b"{} {}",
        b"\x1f\x8b\x08\x00",
        b'{"unknown": NaN}',
        b'{"unknown": Infinity}',
        b'{"unknown": 01}',
        nested(b"[", b"]"),
        nested(b'{"a":', b"}"),
        b'{"unknown": ' + nested(b"[", b"]") + b"}",
        b'{"predictor": ' + nested(b'{"a":', b"}") + b"}",
        b'{"options": {"execution_options": {"gpu_options": ' + nested(b"[", b"]") + b"}}}",
        b"[" * DEPTH,
    ],
    ids=lambda body: repr(body[:24]) + str(len(body)),
)
async def test_what_is_no_json_is_malformed(survivor, path, body):
    reply = await survivor.post(path, body)
    assert (reply.status, reply.problem) in ((400, "malformed-body"), (422, "invalid-field")), reply.body
    assert len(reply.body) < 2000


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("document", [None, [], [{}], "text", 5, True, 1.5])
async def test_another_type_at_the_top_is_told(survivor, path, document):
    reply = await survivor.post(path, document)
    assert (reply.status, reply.problem) == (422, "invalid-field")
    assert reply.json()["detail"].startswith("The body: Expected `object`, got ")


WRONG: list[object] = [
    None,
    True,
    5,
    -1.5,
    "text",
    [],
    [None],
    {},
    {"id": 5},
    {"id": None},
    [[]],
    [5],
    1e308,
    10**400,
    "\x00" * 300,
]


@pytest.mark.parametrize("path", POSTS)
async def test_wrong_types_everywhere_never_hurt(survivor, contract, path):
    """Every field of every request, with every kind of value."""
    schema = contract.document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    for place in places(contract, schema):
        for value in WRONG:
            reply = await survivor.post(path, built(place, value))
            assert reply.status in (200, 400, 404, 422), f"{path} {place}: {reply.body!r}"


def places(contract, schema, before=()):
    for name, inner in contract.resolve(schema).get("properties", {}).items():
        inner = contract.resolve(inner)
        yield (*before, name)
        if inner.get("type") == "array":
            yield (*before, name, 0)
            yield from places(contract, inner["items"], (*before, name, 0))
        else:
            yield from places(contract, inner, (*before, name))


def built(place, value):
    for step in reversed(place):
        value = [value] if step == 0 else {step: value}
    return value


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("1e400", 422),
        ("-1e400", 422),
        ("1" * 5000, 422),
        ("0." + "1" * 5000, 200),
        ("1e-400", 200),
        ("NaN", 400),
        ("Infinity", 400),
        ("-Infinity", 400),
        ("true", 422),
        ('"1"', 422),
        ("1e38", 200),
    ],
)
async def test_numbers_that_are_none_or_too_large(survivor, value, told):
    predictor = await opened(survivor)
    body = f'{{"predictor": {{"id": "{predictor}"}}, "tensors": [{{"shape": [1], "data": [{value}]}}]}}'
    reply = await survivor.post(TENSORS, body.encode())
    assert reply.status in (told, 400), reply.body
    if reply.status == 200:
        assert "error" not in reply.json()["responses"][0]


async def test_of_repeated_keys_the_last_counts(survivor):
    predictor = await opened(survivor)
    body = f'{{"id": "no", "id": "{predictor}", "predictor": {{"id": "{predictor}", "id": "no"}}}}'
    assert (await survivor.post(RESET, body.encode())).status == 404
    assert (await survivor.post(RESET, f'{{"id": "no", "id": "{predictor}"}}'.encode())).status == 200


@pytest.mark.parametrize("name", ["predictor-1", "../../etc/passwd", "\x00", "' OR 1=1 --", "ü" * 256, "{id}", " "])
@pytest.mark.parametrize("path", [RESET, CLOSE, URLS, IMAGES, TENSORS, DATASET])
async def test_an_id_that_is_none_is_not_found(survivor, path, name):
    body = {
        "predictor": {"id": name},
        "urls": [],
        "images": [],
        "tensors": [],
        "dataset": {"category": "vision", "name": "digits"},
    }
    reply = await survivor.post(path, body)
    assert (reply.status, reply.problem) == (404, "predictor-not-found")


async def test_names_of_models_and_datasets_are_no_paths(survivor):
    predictor = await opened(survivor)
    for name in ("../models", "/etc/passwd", "..", "a/b", "\x00", "con", "~", "*/../*"):
        reply = await survivor.post(OPEN, {"model_name": name})
        assert reply.status in (404, 422), name
        dataset = {"predictor": {"id": predictor}, "dataset": {"category": name, "name": name}}
        reply = await survivor.post(DATASET, dataset)
        assert reply.status in (404, 422), name


async def test_more_inputs_than_a_list_may_have_are_refused(survivor):
    predictor = await opened(survivor)
    body = {"predictor": {"id": predictor}, "urls": [{}] * 4097}
    reply = await survivor.post(URLS, body)
    assert (reply.status, reply.json()["pointer"]) == (422, "/urls")


async def test_a_long_wrong_value_is_not_sent_back_whole(survivor):
    reply = await survivor.post(OPEN, {"options": {"execution_options": {"trace_level": "x" * 100_000}}})
    assert reply.status == 422
    assert len(reply.body) < 2000


async def test_a_declared_size_is_refused_before_anything_is_read(serve):
    async with serve(limits={"body_mb": 1}) as client:
        reply = await client.request("POST", OPEN, b"{}", headers={"content-length": str(2**20 + 1)})
        assert (reply.status, reply.problem) == (413, "body-too-large")


async def test_a_body_without_a_size_is_refused_once_it_is_too_large(serve):
    """A hundred parts of a megabyte, of which hardly more than the limit is held."""
    async with serve(limits={"body_mb": 4}) as client:
        tracemalloc.start()
        reply = await client.request("POST", OPEN, [b"[" * 2**20] + [bytes(2**20)] * 99)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (reply.status, reply.problem) == (413, "body-too-large")
        assert peak < 10 * 2**20
        assert (await client.request("POST", OPEN, [b" " * 2**20] * 4 + [b'{"model_name": "sum"}'])).status == 413
        assert (await client.request("POST", OPEN, [b" " * 2**20] * 3 + [b'{"model_name": "sum"}'])).status == 200


async def test_a_body_that_is_cut_short_has_no_answer_and_no_effect(survivor):
    gone = asyncio.Event()
    gone.set()
    body = [b'{"predictor": {"id": "x"}, ']
    sender = survivor.request("POST", OPEN, body, headers={"content-length": "500"}, gone=gone)
    # An ASGI server says `more_body` until the declared length came; here the last part says otherwise.
    assert (await sender).status == 400


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in about a kilobyte: its first rows, cut off."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def gif() -> bytes:
    file = io.BytesIO()
    Image.new("P", (5, 4)).save(file, "GIF")
    return file.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (base64.b64encode(bomb()).decode(), "image_too_large"),
        (base64.b64encode(gif()).decode(), "image_unreadable"),
        (base64.b64encode(SVG).decode(), "image_unreadable"),
        (base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(), "image_unreadable"),
        (base64.b64encode(b"\xff\xd8\xff\xe0").decode(), "image_unreadable"),
        (base64.b64encode(b"RIFF\x00\x00\x00\x00WEBP").decode(), "image_unreadable"),
        (base64.b64encode(bytes(100_000)).decode(), "image_unreadable"),
        ("", "input_empty"),
        ("====", "base64_invalid"),
        ("aGVsbG8", "base64_invalid"),
        ("data:image/png;base64,aGVsbG8=", "base64_invalid"),
        ("aGVs\nbG8=", "base64_invalid"),
        ("_-_-", "base64_invalid"),
        ("ü", "base64_invalid"),
    ],
)
async def test_an_image_that_is_none_fails_alone(survivor, data, code):
    predictor = await opened(survivor, "picture")
    file = io.BytesIO()
    Image.new("L", (5, 4), 9).save(file, "PNG")
    good = base64.b64encode(file.getvalue()).decode()
    body = {"predictor": {"id": predictor}, "images": [{"id": "bad", "data": data}, {"id": "good", "data": good}]}
    bad, fine = (await survivor.post(IMAGES, body)).json()["responses"]
    assert bad["error"]["code"] == code
    assert "error" not in fine


async def test_images_for_a_model_of_tensors_are_refused_one_by_one(survivor):
    predictor = await opened(survivor)
    body = {"predictor": {"id": predictor}, "images": [{"data": "aGVsbG8="}], "urls": [{"data": "http://127.0.0.1/"}]}
    assert (await survivor.post(IMAGES, body)).json()["responses"][0]["error"]["code"] == "tensor_invalid"
    assert (await survivor.post(URLS, body)).json()["responses"][0]["error"]["code"] == "url_refused"


async def test_what_a_model_answers_is_json_even_when_it_is_no_number(survivor):
    predictor = await opened(survivor, "picture")
    body = struct.pack("<20f", *[math.nan, math.inf, -math.inf], *[0.5] * 17)
    headers = {"content-type": "application/octet-stream"}
    query = f"predictor_id={predictor}&shape=1,1,4,5&feature_limit=0"
    reply = await survivor.request("POST", TENSORS, body, query=query, headers=headers)
    assert reply.status == 200
    shares = [feature["probability"] for feature in json.loads(reply.body)["responses"][0]["features"]]
    assert all(0 <= share <= 1 for share in shares)
