"""The contract as our server templates read it.

A mustache template can't escape a regular expression, compare two names or find a parameter's wire
name once the generator has made a Python name of it. So the bundle is given these answers as
`x-python-*` extensions before it is compiled; the published bundle doesn't hold them.
"""

import keyword
import re
import textwrap
from typing import Any

Json = dict[str, Any]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_LITERALS = ("example", "examples", "links", "default", "enum")
_DOC_WIDTH = 92


def annotate(contract: Json) -> Json:
    """Annotates the bundle in place, and returns it. What has a wire of its own has no Protocol: it is left out."""
    _leave_out_own_wires(contract)
    tags = {tag["name"]: tag.get("description", "") for tag in contract.get("tags", [])}
    _annotate_values(contract)
    for schema in contract.get("components", {}).get("schemas", {}).values():
        _annotate_model(schema)
    for path, item in contract["paths"].items():
        for method in _METHODS:
            if method in item:
                _annotate_operation(item[method], path, item.get("parameters", []), tags)
    return contract


def _leave_out_own_wires(contract: Json) -> None:
    own = {tag["name"] for tag in contract.get("tags", []) if tag.get("x-own-wire")}
    for path, item in list(contract["paths"].items()):
        for method in [m for m in _METHODS if m in item and own.intersection(item[m].get("tags", []))]:
            del item[method]
        if not any(method in item for method in _METHODS):
            del contract["paths"][path]
    contract["tags"] = [tag for tag in contract.get("tags", []) if tag["name"] not in own]


def _annotate_values(node: Any) -> None:
    """Walks over everything that may be a schema or a parameter."""
    if isinstance(node, list):
        for child in node:
            _annotate_values(child)
    elif isinstance(node, dict):
        for key, child in node.items():
            if key == "properties" and isinstance(child, dict):
                _annotate_values(list(child.values()))
            elif key not in _LITERALS:
                _annotate_values(child)
        _annotate_value(node)


def _annotate_value(node: Json) -> None:
    if isinstance(node.get("in"), str) and isinstance(node.get("name"), str):
        node["x-python-wire-name"] = node["name"]
    if isinstance(node.get("type"), str) or "oneOf" in node:
        if isinstance(node.get("pattern"), str):
            node["x-python-pattern"] = repr(python_pattern(node["pattern"]))
        if "default" in node:
            node["x-python-default"] = repr(node["default"])
        if isinstance(node.get("description"), str):
            node["x-python-doc"] = doc_lines(node["description"])


def _annotate_model(schema: Json) -> None:
    names = schema.get("properties", {})
    if not all(_is_attribute(name) for name in names):
        schema["x-python-rename"] = True


def _annotate_operation(operation: Json, path: str, shared: list[Json], tags: Json) -> None:
    operation["x-python-doc"] = doc_lines(operation.get("summary", ""))
    operation["x-python-tag-doc"] = doc_lines(tags.get(operation["tags"][0], ""))
    operation["x-python-operation-id"] = operation["operationId"]
    operation["x-python-path"] = path
    operation["x-python-parameters"] = bool(operation.get("parameters") or shared)
    for response in operation["responses"].values():
        stream = response.get("content", {}).get("text/event-stream")
        if stream is not None:
            stream["schema"]["x-python-stream"] = True


def _is_attribute(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")


def python_pattern(pattern: str) -> str:
    r"""In ECMA-262 a final `$` is the end of the text; in Python it also stands before a last newline."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\$$", r"\1\\Z", pattern)


def doc_lines(text: str) -> list[str]:
    """Lines that can stand in a comment or a docstring."""
    safe = " ".join(text.split()).replace("\\", "\\\\").replace('"""', "'''")
    if safe and safe[-1] not in ".?!:":
        safe += "."
    return textwrap.wrap(safe, _DOC_WIDTH)
