"""The bundled contract as a judge of answers.

OpenAPI 3.0 schemas are JSON Schema's draft 4 for what is used here: the boolean `exclusiveMinimum`, and `nullable`,
which the contract does without.
"""

import json
from datetime import datetime
from typing import Any, Protocol

from jsonschema import Draft4Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from stepscope.app.contract import contract_path
from stepscope.web.contract import load_document

HERE = "urn:contract"
PROBLEM = {"$ref": f"{HERE}#/components/schemas/Problem"}

FORMATS = FormatChecker([])


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


class Answered(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Contract:
    """Says whether answers are what the contract says."""

    def __init__(self) -> None:
        self.document = load_document(contract_path())
        resource = Resource.from_contents(self.document, default_specification=DRAFT4)
        self._registry: Any = Registry().with_resource(HERE, resource)

    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        """List method, path and operation, without those of tags that have a wire of their own."""
        return [(method, path, operation) for method, path, operation in self._all() if not self._is_own(operation)]

    def own_wire(self, tag: str) -> list[tuple[str, str, dict[str, Any]]]:
        """List method, path and operation of a tag that has a wire of its own."""
        return [(method, path, operation) for method, path, operation in self._all() if operation["tags"] == [tag]]

    def tags(self) -> set[str]:
        """The tags whose operations have handlers."""
        return {tag["name"] for tag in self.document["tags"] if not tag.get("x-own-wire")}

    def _all(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [
            (method.upper(), path, operation)
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
            if method in ("get", "post", "put", "delete", "patch")
        ]

    def _is_own(self, operation: dict[str, Any]) -> bool:
        return operation["tags"][0] not in self.tags()

    def validate(self, schema: dict[str, Any], value: Any) -> None:
        """Raise unless a value is valid; a schema's references start at the contract's root."""
        Draft4Validator(_absolute(schema), registry=self._registry, format_checker=FORMATS).validate(value)

    def resolve(self, node: Any) -> Any:
        """Follow a reference, if it is one."""
        while "$ref" in node:
            node = self._lookup(node["$ref"])
        return node

    def check(self, method: str, path: str, reply: Answered) -> None:
        """Raise unless the contract has this answer."""
        operation = self.document["paths"].get(path, {}).get(method.lower())
        if operation is None:
            self._check_outside(path, reply)
            return
        for header in ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-request-id"):
            assert header in reply.headers, f"{header} is missing"
        assert str(reply.status) in operation["responses"], f"{method} {path} answered {reply.status}: {reply.body!r}"
        response = self.resolve(operation["responses"][str(reply.status)])
        media = reply.headers["content-type"].partition(";")[0]
        assert media in response["content"], f"{method} {path} answered {reply.status} as {media}"
        for name, header in response.get("headers", {}).items():
            if name.lower() in reply.headers:
                self._check_header(self.resolve(header), reply.headers[name.lower()])
        if media.endswith("json"):
            self.validate(response["content"][media]["schema"], json.loads(reply.body))

    def _check_outside(self, path: str, reply: Answered) -> None:
        if reply.headers.get("content-type") == "application/problem+json":
            self.validate(PROBLEM, json.loads(reply.body))
            assert json.loads(reply.body)["status"] == reply.status

    def _check_header(self, header: dict[str, Any], value: str) -> None:
        integer = header["schema"].get("type") == "integer"
        self.validate(header["schema"], int(value) if integer else value)

    def _lookup(self, reference: str) -> Any:
        node: Any = self.document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]
        return node


def _absolute(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: HERE + value if key == "$ref" and value.startswith("#") else _absolute(value)
            for key, value in schema.items()
        }
    return [_absolute(item) for item in schema] if isinstance(schema, list) else schema
