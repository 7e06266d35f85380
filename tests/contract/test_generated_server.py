"""The generated Structs and the contract's JSON Schemas accept and refuse the same bodies.

OpenAPI 3.0 builds on an early JSON Schema (Wright 00, close to Draft 4): an integer is a number
without a fraction part, so that `1.0` isn't one, and `exclusiveMinimum` is a boolean.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepscope_api import models
from stepscope_api.operations import OPERATIONS, PROTOCOLS, Operation

Json = dict[str, Any]
Place = tuple[str | int, ...]

BUNDLE: Json = yaml.safe_load((Path(__file__).parents[2] / "generated" / "openapi.yaml").read_text())
SCHEMAS: Json = BUNDLE["components"]["schemas"]
OWN_WIRES = {tag["name"] for tag in BUNDLE["tags"] if tag.get("x-own-wire")}
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SMALL = 4
"""No generated text or list is longer than its smallest allowed length and this."""
LARGE = 5000
"""Limits above this are not crossed: the body would take megabytes."""

SPOILT = 20
"""How many variants of each valid body are judged: 2,000 for each operation, one change in each."""

MANY = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FEW = settings(MANY, max_examples=5)


def request_schemas() -> Iterator[tuple[str, Json]]:
    for _, _, operation in operations():
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            yield operation["operationId"], content["application/json"]["schema"]


def operations() -> Iterator[tuple[str, str, Json]]:
    for path, item in BUNDLE["paths"].items():
        for method in METHODS:
            if method in item and item[method]["tags"][0] not in OWN_WIRES:
                yield path, method.upper(), item[method]


def resolve(schema: Json) -> Json:
    while "$ref" in schema:
        target: Any = BUNDLE
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        schema = target
    return schema


def bodies(schema: Json) -> st.SearchStrategy[Any]:
    """Valid values of a schema; optional properties come and go, unknown ones are added."""
    schema = resolve(schema)
    if schema.get("nullable"):
        return st.none() | bodies({k: v for k, v in schema.items() if k != "nullable"})
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "oneOf" in schema:
        return st.one_of([bodies(option) for option in schema["oneOf"]])
    kinds: dict[str, Callable[[Json], st.SearchStrategy[Any]]] = {
        "object": objects,
        "array": arrays,
        "string": strings,
        "integer": integers,
        "number": numbers,
        "boolean": lambda _: st.booleans(),
    }
    return kinds[schema["type"]](schema)


def objects(schema: Json) -> st.SearchStrategy[Any]:
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    fields = {name: later(sub) for name, sub in properties.items()}
    known = st.fixed_dictionaries(
        {name: fields[name] for name in fields if name in required},
        optional={name: fields[name] for name in fields if name not in required},
    )
    extra = schema.get("additionalProperties", True)
    if extra is False:
        return known
    values = anything() if extra is True or extra == {} else bodies(extra)
    names = st.text(max_size=SMALL).filter(lambda name: name not in properties)
    least = schema.get("minProperties", 0)
    most = min(schema.get("maxProperties", SMALL), least + SMALL)
    others = st.dictionaries(names, values, min_size=least, max_size=most)
    return st.builds(lambda a, b: a | b, known, others) if properties else others


def later(schema: Json) -> st.SearchStrategy[Any]:
    """Not built before it is drawn from, because a schema may hold itself."""
    return st.deferred(lambda: bodies(schema))


def arrays(schema: Json) -> st.SearchStrategy[Any]:
    least = schema.get("minItems", 0)
    most = min(schema.get("maxItems", least + SMALL), least + SMALL)
    return st.lists(bodies(schema["items"]), min_size=least, max_size=most)


def strings(schema: Json) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", LARGE)
    if "pattern" not in schema:
        return st.text(min_size=least, max_size=min(most, least + SMALL))
    # `$` matches before a last newline in Python, not in the contract
    texts = st.from_regex(schema["pattern"].removesuffix("$") + r"\Z")
    return texts.filter(lambda text: least <= len(text) <= most)


def integers(schema: Json) -> st.SearchStrategy[int]:
    step = schema.get("multipleOf", 1)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None:
        low = -(-(low + bool(schema.get("exclusiveMinimum"))) // step)
    if high is not None:
        high = (high - bool(schema.get("exclusiveMaximum"))) // step
    bound = 2**63 // step - 1
    low, high = (-bound if low is None else low), (bound if high is None else high)
    return st.integers(low, high).map(lambda n: int(n * step))


def numbers(schema: Json) -> st.SearchStrategy[float]:
    return st.floats(
        schema.get("minimum"),
        schema.get("maximum"),
        exclude_min=bool(schema.get("exclusiveMinimum")),
        exclude_max=bool(schema.get("exclusiveMaximum")),
        allow_nan=False,
        allow_infinity=False,
    )


def anything() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(-10, 10) | st.text(max_size=SMALL)
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=2), max_leaves=3)


WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.0, 1.0, 1.5, -0.5, 10**20, -(10**20), 1e300, 2**53),
    *("", "0", "1", "1\n", "s", "1s", "x" * 40, "NONE", "none", "\x00", "\U0001f600"),
    *([], [None], [[]], [1.0], {}, {"": None}, {"id": 1}, {"GPU": "0"}, {"a": {"b": []}}),
)


def crossing(schema: Json) -> list[Any]:
    """Values on both sides of a schema's limits."""
    schema = resolve(schema)
    values: list[Any] = [*WRONG, *schema.get("enum", [])]
    for option in schema.get("oneOf", []):
        values += crossing(option)
    for limit in ("minLength", "maxLength"):
        if limit in schema and schema[limit] <= LARGE:
            values += ["9" * max(0, schema[limit] + step) for step in (-1, 0, 1)]
    for limit in ("minimum", "maximum"):
        if limit in schema:
            values += [schema[limit] + step for step in (-1, 0, 1)]
    return values


def places(body: Any, schema: Json) -> Iterator[tuple[Place, Json]]:
    """Every place in a body, with its schema."""
    schema = resolve(schema)
    yield (), schema
    if isinstance(body, dict) and "oneOf" not in schema:
        for name, value in body.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            for place, found in places(value, inner if isinstance(inner, dict) else {}):
                yield (name, *place), found
    elif isinstance(body, list):
        for number, value in enumerate(body):
            for place, found in places(value, schema.get("items", {})):
                yield (number, *place), found


def change(body: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    body = copy.deepcopy(body)
    target = body
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    return body


def remove(body: Any, place: Place) -> Any:
    body = copy.deepcopy(body)
    target = body
    for step in place[:-1]:
        target = target[step]
    del target[place[-1]]
    return body


def stretch(body: Any, place: Place, schema: Json) -> Any:
    """The list or map at a place, made one longer than allowed."""
    found = body
    for step in place:
        found = found[step]
    if isinstance(found, list) and found and schema.get("maxItems", LARGE) < LARGE:
        return change(body, place, [found[0]] * (schema["maxItems"] + 1))
    if isinstance(found, dict) and found and schema.get("maxProperties", LARGE) < LARGE:
        value = next(iter(found.values()))
        extra = {str(n): value for n in range(schema["maxProperties"] + 1)}
        return change(body, place, extra)
    return change(body, place, None)


def spoilt(body: Any, schema: Json, chance: Random) -> Any:
    """A valid body with one place changed: usually invalid, sometimes still valid."""
    place, found = chance.choice(list(places(body, schema)))
    how = chance.choice(("change", "change", "remove", "stretch"))
    if how == "remove" and place:
        return remove(body, place)
    if how == "stretch":
        return stretch(body, place, found)
    return change(body, place, chance.choice(crossing(found)))


def draft4(schema: Any) -> Any:
    """An OpenAPI 3.0 schema as Draft 4 says it: `nullable` becomes a choice."""
    if isinstance(schema, list):
        return [draft4(child) for child in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: draft4(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


def validator(schema: Json) -> jsonschema_rs.Draft4Validator:
    document = {"allOf": [schema], "components": {"schemas": SCHEMAS}}
    return jsonschema_rs.Draft4Validator(draft4(document), validate_formats=False)


def accepts(decoder: msgspec.json.Decoder[Any], text: str) -> bool:
    try:
        decoder.decode(text)
    except msgspec.ValidationError:
        return False
    return True


CASES = [pytest.param(name, schema, id=name) for name, schema in request_schemas()]


@pytest.mark.parametrize(("operation_id", "schema"), CASES)
def test_bodies_are_judged_alike(operation_id: str, schema: Json) -> None:
    decoder = msgspec.json.Decoder(OPERATIONS[operation_id].requests["application/json"])
    oracle = validator(schema)

    @MANY
    @given(bodies(schema), st.integers(0, 2**32))
    def check(body: Any, seed: int) -> None:
        assert oracle.is_valid(body)
        decoder.decode(json.dumps(body))
        chance = Random(seed)
        for _ in range(SPOILT):
            bad = spoilt(body, schema, chance)
            assert accepts(decoder, json.dumps(bad)) == oracle.is_valid(bad), bad

    check()


def sent_schemas() -> list[str]:
    """The names of the schemas that a request can hold."""
    found: list[str] = []
    waiting: list[Any] = [schema for _, schema in request_schemas()]
    while waiting:
        node = waiting.pop()
        children = node.values() if isinstance(node, dict) else node
        waiting += [child for child in children if isinstance(child, dict | list)]
        name = node.get("$ref", "").rpartition("/")[2] if isinstance(node, dict) else ""
        if name and name not in found:
            found.append(name)
            waiting.append(SCHEMAS[name])
    return sorted(name for name in found if "properties" in SCHEMAS[name])


@pytest.mark.parametrize("name", sent_schemas())
def test_every_limit_is_judged_alike(name: str) -> None:
    """Both sides of each limit of each property, one at a time."""
    schema = SCHEMAS[name]
    decoder = msgspec.json.Decoder(getattr(models, name))
    oracle = validator(schema)

    @FEW
    @given(bodies({**schema, "required": list(schema["properties"])}))
    def check(body: Any) -> None:
        for place, found in list(places(body, schema)):
            values = [change(body, place, value) for value in crossing(found)]
            for bad in [*values, stretch(body, place, found), remove(body, place) if place else None]:
                assert accepts(decoder, json.dumps(bad)) == oracle.is_valid(bad), bad

    check()


def structs() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    for name, schema in SCHEMAS.items():
        if "properties" in schema:
            yield name, getattr(models, name)


@pytest.mark.parametrize(("name", "struct"), list(structs()))
def test_fields_are_the_properties(name: str, struct: type[msgspec.Struct]) -> None:
    fields = msgspec.structs.fields(struct)
    assert {field.encode_name for field in fields} == set(SCHEMAS[name]["properties"])
    assert {field.encode_name for field in fields if field.required} == set(SCHEMAS[name].get("required", []))


def test_every_operation_is_in_the_table() -> None:
    written = {
        operation["operationId"]: (method, path, operation["tags"][0]) for path, method, operation in operations()
    }
    assert {key: (o.method, o.path, o.tag) for key, o in OPERATIONS.items()} == written
    assert set(PROTOCOLS) == {tag for _, _, tag in written.values()}


@pytest.mark.parametrize("operation", list(OPERATIONS.values()), ids=lambda o: o.operation_id)
def test_an_operation_agrees_with_the_contract(operation: Operation) -> None:
    written = BUNDLE["paths"][operation.path][operation.method.lower()]
    assert callable(getattr(PROTOCOLS[operation.tag], operation.name))
    assert operation.secured == bool(written.get("security", BUNDLE.get("security")))
    assert {(p.name, p.location, p.required) for p in operation.parameters} == {
        (p["name"], p["in"], p.get("required", False)) for p in map(resolve, written.get("parameters", []))
    }
    assert set(operation.requests) == set(written.get("requestBody", {}).get("content", {}))
    assert {status: set(types) for status, types in operation.responses.items()} == {
        str(status): set(resolve(response).get("content", {})) for status, response in written["responses"].items()
    }
