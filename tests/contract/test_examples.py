"""Every example of the contract is valid, comes in pairs, and is really sent to a server with the real model."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from stepscope.app.server import build
from stepscope.settings import Settings
from tests.web.asgi import Client
from tests.web.schemas import Contract
from tests.web.servers import running

Example = tuple[str, str, str, str, Any]
"""Method, path, media type, key, value."""


def requests(contract: Contract) -> list[Example]:
    return [
        (method, path, media, key, contract.resolve(example)["value"])
        for method, path, operation in contract.operations()
        for media, content in operation.get("requestBody", {}).get("content", {}).items()
        for key, example in content.get("examples", {}).items()
    ]


def answers(contract: Contract) -> list[tuple[str, str, str, dict[str, Any], str, Any]]:
    return [
        (method, path, status, content["schema"], key, contract.resolve(example)["value"])
        for method, path, operation in contract.operations()
        for status, named in operation["responses"].items()
        for media, content in contract.resolve(named)["content"].items()
        for key, example in content.get("examples", {}).items()
        if media.endswith("json")
    ]


def test_every_media_type_has_an_example(contract):
    for method, path, operation in contract.operations():
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for holder in [*bodies, *(contract.resolve(response) for response in operation["responses"].values())]:
            for media, content in holder["content"].items():
                assert content.get("examples") or media == "application/octet-stream", f"{method} {path} {media}"


def test_requests_and_answers_are_paired_by_their_keys(contract):
    for method, path, operation in contract.operations():
        sent = {
            key for m, p, media, key, _ in requests(contract) if (m, p) == (method, path) and media.endswith("json")
        }
        told = {key for m, p, s, _, key, _ in answers(contract) if (m, p, s[0]) == (method, path, "2")}
        if "requestBody" in operation:
            assert sent
            assert sent == told, f"{method} {path}"


def test_examples_are_valid(contract):
    for _, path, media, _, value in requests(contract):
        if media.endswith("json"):
            schema = contract.document["paths"][path]["post"]["requestBody"]["content"][media]["schema"]
            contract.validate(schema, value)
    for _, _, _, schema, _, value in answers(contract):
        contract.validate(schema, value)


def test_an_invalid_example_would_be_seen(contract):
    with pytest.raises(Exception, match="is not of type"):
        contract.validate({"$ref": "#/components/schemas/PredictorRef"}, {"id": 5})


def test_examples_of_schemas_are_valid(contract):
    for name, schema in contract.document["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            if "example" in described:
                assert contract.validate(described, described["example"]) is None, f"{name}.{field}"


@pytest.fixture
async def lenet(contract, tmp_path):
    async with running(build(Settings.model_validate({"models": {"cache": tmp_path}}))) as app:
        yield Client(app.asgi, contract)


async def test_every_request_is_answered_as_the_contract_says(contract, lenet):
    """The client checks each answer against its operation."""
    bodies = [(path, value) for _, path, media, _, value in requests(contract) if media.endswith("json")]
    for opening in [value for path, value in bodies if path == "/api/predict/open"]:
        for path, body in bodies:
            predictor = (await lenet.post("/api/predict/open", opening)).json()["id"]
            reply = await lenet.post(path, with_predictor(body, predictor))
            assert reply.status == success(contract, "post", path), f"{path}: {reply.body!r}"
    traced = await lenet.post("/api/predict/open", {"options": {"execution_options": {"trace_level": "FULL_TRACE"}}})
    [submitted] = [value for path, value in bodies if path == "/api/jobs"]
    names = {
        "trace_id": traced.json()["trace_id"]["id"],
        "service": "stepscope",
        "job_id": (await lenet.post("/api/jobs", submitted)).json()["id"],
    }
    await lenet.get(f"/api/jobs/{names['job_id']}/events")  # ends with the job
    for method, path, operation in contract.operations():
        if method == "GET" or "requestBody" not in operation:
            reply = await lenet.request(method, path.format_map(names), query=example_query(contract, operation))
            assert reply.status == 200, path


def success(contract: Contract, method: str, path: str) -> int:
    responses = contract.document["paths"][path][method]["responses"]
    return next(int(status) for status in responses if status.startswith("2"))


async def test_a_digit_of_the_examples_is_recognised(contract, lenet):
    sent = {path: value for _, path, _, _, value in requests(contract)}
    told = {path: value for _, path, status, _, _, value in answers(contract) if status == "200"}
    predictor = (await lenet.post("/api/predict/open", {"model_name": "lenet"})).json()["id"]
    for path in ("/api/predict/images", "/api/predict/tensors"):
        reply = await lenet.post(path, with_predictor(sent[path], predictor))
        best, shown = (document["responses"][0]["features"][0] for document in (reply.json(), told[path]))
        assert best["classification"] == shown["classification"]


def with_predictor(body: dict[str, Any], predictor: str) -> dict[str, Any]:
    live: dict[str, Any] = json.loads(json.dumps(body))
    if "predictor" in live:
        live["predictor"]["id"] = predictor
    elif "id" in live:
        live["id"] = predictor
    return live


def example_query(contract: Contract, operation: dict[str, Any]) -> str:
    named = [contract.resolve(parameter) for parameter in operation.get("parameters", [])]
    queried = [parameter for parameter in named if parameter["in"] == "query"]
    examples = {each["name"]: contract.resolve(each["schema"])["example"] for each in queried}
    return "&".join(f"{name}={quote(str(example))}" for name, example in examples.items())


async def test_examples_of_the_mindspore_wire_are_answered_as_they_show(contract, lenet):
    for method, path, operation in contract.own_wire("mindspore"):
        parameters = {
            each["name"]: each["schema"]["example"] for each in map(contract.resolve, operation["parameters"])
        }
        sent = operation["requestBody"]["content"]["application/json"]
        told = operation["responses"]["200"]["content"]["application/json"]
        assert set(sent["examples"]) == set(told["examples"])
        for key, example in sent["examples"].items():
            body, shown = (contract.resolve(each)["value"] for each in (example, told["examples"][key]))
            contract.validate(sent["schema"], body)
            contract.validate(told["schema"], shown)
            reply = await lenet.request(method, path.format_map(parameters), json.dumps(body).encode())
            assert reply.json() == shown, path
