"""Paths and methods beside those of the contract, and what pages answer."""

import json

import pytest
import yaml

OPEN = "/api/predict/open"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/jobs", "GET, HEAD, POST"),
        ("DELETE", "/api/jobs/j/cancel", "POST"),
        ("GET", OPEN, "POST"),
        ("PUT", OPEN, "POST"),
        ("DELETE", OPEN, "POST"),
        ("HEAD", OPEN, "POST"),
        ("OPTIONS", OPEN, "POST"),
        ("TRACE", OPEN, "POST"),
        ("BREW", OPEN, "POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("OPTIONS", "/livez", "GET, HEAD"),
        ("POST", "/ui", "GET, HEAD"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
        ("POST", "/ui/swagger-ui.css", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_the_right_ones(client, method, path, allowed):
    reply = await client.request(method, path)
    assert (reply.status, reply.problem) == (405, "method-not-allowed")
    assert reply.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path",
    [
        OPEN + "/",
        "/" + OPEN,
        "/api//predict/open",
        "/API/PREDICT/OPEN",
        "/api/predict",
        "/livez/",
        "/nowhere",
        "/ui/nothing.js",
        "/ui/../../etc/passwd",
        "/ui//etc/passwd",
        "/ui/\x00",
        "/ui/" + "a" * 5000,
        "/openapi.json/",
        "/\n2026 ERROR forged",
        "/\ud83d",
        "",
        "*",
    ],
)
async def test_another_path_is_not_found_and_not_redirected(client, path):
    for method in ("GET", "POST"):
        reply = await client.request(method, path.encode("utf-8", "replace").decode())
        assert (reply.status, reply.problem) in ((404, "route-not-found"), (405, "method-not-allowed")), path
        assert "location" not in reply.headers


async def test_head_answers_as_get_does(client):
    for path in ("/livez", "/version", "/openapi.json", "/ui"):
        got, headed = await client.request("GET", path), await client.request("HEAD", path)
        assert headed.status == got.status == 200
        assert headed.headers["content-type"] == got.headers["content-type"]


async def test_the_contract_is_served_as_it_is(client, contract):
    as_json = json.loads((await client.get("/openapi.json")).body)
    as_yaml = yaml.safe_load((await client.get("/openapi.yaml")).body)
    assert as_yaml == contract.document
    assert as_json["paths"] == contract.document["paths"]
    assert as_json["servers"][0]["url"] == "/"


async def test_swagger_ui_with_a_slash_too_many_leads_to_the_one_that_works(client):
    answer = await client.get("/ui/")
    assert (answer.status, answer.headers["location"]) == (307, "../ui")


async def test_swagger_ui_brings_all_that_it_names(client):
    page = await client.get("/ui")
    assert page.status == 200
    for path in ("/ui/swagger-ui.css", "/ui/swagger-ui-bundle.js", "/ui/start.js", "/ui/favicon-32x32.png"):
        assert path.rpartition("/")[2] in page.body.decode()
        assert (await client.get(path)).status == 200
    assert "unsafe-eval" not in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/registry/models/manifest", "framework_name=" + "a" * 129),
        ("/api/registry/models/manifest", "model_name=" + "%C3%BC" * 129),
        ("/api/registry/frameworks/manifest", "framework_version=" + "1" * 500),
    ],
)
async def test_a_query_parameter_that_is_too_long_is_named(client, path, query):
    reply = await client.get(path, query)
    assert (reply.status, reply.problem) == (422, "invalid-field")
    assert reply.json()["pointer"] == query.partition("=")[0]


@pytest.mark.parametrize("query", ["model_name=nope", "model_name=sum&model_version=%3E9", "model_name=%00&x=%ff"])
async def test_what_the_registry_does_not_have_is_not_found(client, query):
    for kind in ("manifest", "agent"):
        reply = await client.get(f"/api/registry/models/{kind}", query)
        assert reply.status == 404


@pytest.mark.parametrize(
    "query",
    [
        "",
        "model_name=",
        "model_name=*&model_version=*",
        "model_name=SUM",
        "model_name=sum&model_version=latest",
        "model_name=sum&model_version=%3E%3D1.0%2C%20%3C2",
        "model_name=first&model_name=sum",
        "unknown=1&model_name=sum",
        "&".join(f"p{n}={n}" for n in range(10_000)),
    ],
)
async def test_the_registry_lists_what_matches(client, query):
    for kind in ("manifest", "agent"):
        assert (await client.get(f"/api/registry/models/{kind}", query)).status == 200


@pytest.mark.parametrize("version", ["not a version", ">=1 <", "1.2.3.4.5", "^" * 100])
async def test_a_version_that_is_none_is_told(client, version):
    for path in ("models/manifest", "models/agent", "frameworks/manifest", "frameworks/agent"):
        name = "model_version" if path.startswith("models") else "framework_version"
        reply = await client.get(f"/api/registry/{path}", f"{name}={version}")
        assert reply.status in (404, 422), path


async def test_traces_are_joined_over_the_wire(client):
    opening = await client.post(OPEN, {"model_name": "sum"}, x_b3_traceid="7b", x_request_id="r-1")
    assert opening.headers["x-b3-traceid"] == opening.json()["trace_id"]["id"] == "7b".zfill(16)
    assert opening.headers["x-request-id"] == "r-1"
    again = {name: opening.headers[name] for name in ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-request-id")}
    reply = await client.post("/api/predict/reset", {"id": "no"}, **again)
    assert reply.headers["x-b3-parentspanid"] == opening.headers["x-b3-spanid"]
    assert reply.json()["trace_id"] == opening.headers["x-b3-traceid"]
