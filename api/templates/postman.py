"""The Postman collection, made repeatable and runnable from top to bottom.

openapi-to-postmanv2 gives each item a random id and knows nothing of the order of a life cycle. The
contract's links tell it: `openPredictor` links to `closePredictor` with
`requestBody: {predictor: {id: $response.body#/id}}`, so the answer of the first is kept in the
variable `predictorId` (the noun of the operationId and the pointer) and sent by the second.
"""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:stepscope:postman")
_EXPRESSION = "$response.body#"


def finish(collection: Json, contract: Json) -> Json:
    """Makes a converted collection repeatable, in the contract's order, and runnable as a whole."""
    operations = {(method, path): op for path, method, op in _operations(contract)}
    captures, uses = _links(operations.values())
    for folder in collection["item"]:
        for item in _requests(folder):
            operation = operations[_route(item["request"])]
            name = operation["operationId"]
            item["response"] = _first_answer(item["response"])
            item["event"] = [_test_event(captures.get(name, {}))]
            _use_variables(item["request"], uses.get(name, {}))
    _sort(collection, contract, operations)
    _add_variables(collection, sorted({v for names in captures.values() for v in names}))
    _stable_ids(collection, "")
    return collection


def _operations(contract: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in contract["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method.upper(), item[method]


def _links(operations: Any) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """Who captures `{variable: pointer into the answer}`, and who uses `{place: variable}`."""
    captures: dict[str, dict[str, str]] = {}
    uses: dict[str, dict[str, str]] = {}
    for operation in operations:
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                for place, expression in _expressions(link):
                    pointer = expression.removeprefix(_EXPRESSION)
                    variable = _variable(operation["operationId"], pointer)
                    captures.setdefault(operation["operationId"], {})[variable] = pointer
                    uses.setdefault(link["operationId"], {})[place] = variable
    return captures, uses


def _expressions(link: Json) -> Iterator[tuple[str, str]]:
    """Each place of a link that takes a value of the answer: `body/predictor/id`, `parameter/id`."""
    yield from _leaves("body", link.get("requestBody"))
    yield from _leaves("parameter", link.get("parameters"))


def _leaves(place: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(f"{place}/{key}", child)
    elif isinstance(value, str) and value.startswith(_EXPRESSION):
        yield place, value


def _variable(operation_id: str, pointer: str) -> str:
    """`openPredictor` and `/id` make `predictorId`."""
    noun = re.sub(r"^[a-z]+", "", operation_id) or operation_id
    words = [part[:1].upper() + part[1:] for part in re.split(r"[/_-]", pointer) if part]
    return noun[:1].lower() + noun[1:] + "".join(words)


def _requests(folder: Json) -> Iterator[Json]:
    for item in folder.get("item", []):
        if "request" in item:
            yield item
        else:
            yield from _requests(item)


def _route(request: Json) -> tuple[str, str]:
    parts = [re.sub(r"^:(\w+)$|\{\{(\w+)\}\}", _braced, part) for part in request["url"]["path"]]
    return request["method"], "/" + "/".join(parts)


def _braced(found: re.Match[str]) -> str:
    return "{" + (found[1] or found[2]) + "}"


def _first_answer(responses: list[Json]) -> list[Json]:
    """Keeps the answer of success: the shared problems would be repeated in every request."""
    good = [response for response in responses if 200 <= response["code"] < 300][:1]
    for response in good:
        response["header"] = [h for h in response["header"] if h["key"] == "Content-Type"]
        response["originalRequest"]["header"] = []
    return good


def _test_event(captures: dict[str, str]) -> Json:
    lines = ['pm.test("Status is 2xx", () => pm.response.to.be.success);']
    for variable, pointer in captures.items():
        path = "".join(f"[{json.dumps(part)}]" for part in pointer.split("/")[1:])
        lines.append(f'pm.collectionVariables.set("{variable}", pm.response.json(){path});')
    return {"listen": "test", "script": {"type": "text/javascript", "exec": lines}}


def _use_variables(request: Json, uses: dict[str, str]) -> None:
    for place, variable in uses.items():
        kind, *path = place.split("/")
        if kind == "body":
            body = json.loads(request["body"]["raw"])
            _put(body, path, f"{{{{{variable}}}}}")
            request["body"]["raw"] = json.dumps(body, indent=2, ensure_ascii=False)
        else:
            for parameter in request["url"]["query"] + request["url"]["variable"]:
                if parameter["key"] == path[0]:
                    parameter["value"] = f"{{{{{variable}}}}}"


def _put(body: Json, path: list[str], value: str) -> None:
    for key in path[:-1]:
        body = body.setdefault(key, {})
    body[path[-1]] = value


def _sort(collection: Json, contract: Json, operations: dict[tuple[str, str], Json]) -> None:
    routes = list(operations)
    tags = [tag["name"] for tag in contract["tags"]]
    collection["item"].sort(key=lambda folder: tags.index(folder["name"]))
    for folder in collection["item"]:
        folder["item"].sort(key=lambda item: routes.index(_route(item["request"])))


def _add_variables(collection: Json, names: list[str]) -> None:
    given = {variable["key"]: variable["value"] for variable in collection["variable"]}
    given["baseUrl"] = given["baseUrl"].rstrip("/")
    values = given | {"bearerToken": ""} | dict.fromkeys(names, "")
    collection["variable"] = [{"key": k, "value": v, "type": "string"} for k, v in values.items()]


def _stable_ids(item: Json, path: str) -> None:
    """An item's id is a hash of the names that lead to it."""
    name = item["info"]["name"] if "info" in item else item["name"]
    here = f"{path}/{name}"
    for key in ("id", "_postman_id"):
        for holder in (item, item.get("info", {})):
            if key in holder:
                holder[key] = str(uuid.uuid5(_NAMESPACE, here))
    for number, child in enumerate(item.get("item", []) + item.get("response", [])):
        _stable_ids(child, f"{here}/{number}")
