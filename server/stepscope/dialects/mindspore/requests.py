"""A request's body: JSON whose `instances` are objects of inputs by name."""

from typing import Any

import numpy as np
import orjson

from stepscope.core.servables import Instance, Method, Value
from stepscope.dialects.mindspore.lists import read_list, scalar
from stepscope.dialects.mindspore.objects import read_object
from stepscope.dialects.mindspore.refusals import Refusal, cut, parser
from stepscope.dialects.mindspore.targets import Target

_BOM = b"\xef\xbb\xbf"
_MISSING: Any = object()


def read_json(body: bytes) -> Any:
    """Return the document in a body. Raises `Refusal` when there is none."""
    try:
        return orjson.loads(body.removeprefix(_BOM))
    except orjson.JSONDecodeError as fault:
        if "depth limit" in fault.msg:
            raise parser("invalid json array: the nesting is too deep") from None
        raise Refusal(cut(f"Illegal JSON format. {fault}")) from None


def read_instances(document: Any, *, wrap: bool) -> list[dict[str, Value]]:
    """Return every instance's inputs by name, whether or not a method takes them. Raises `Refusal`."""
    instances = document.get("instances", _MISSING) if isinstance(document, dict) else _MISSING
    if instances is _MISSING:
        raise parser("key 'instances' expects to exist once, but actually 0 times")
    if isinstance(instances, dict):
        if not instances:
            raise parser("json object, value is empty")
        return [_read_instance(instances, wrap=wrap)]
    if isinstance(instances, list) and not instances:
        raise parser("instances value is array type, but no value")
    if not isinstance(instances, list) or not isinstance(instances[0], dict):
        raise parser("instances no key mode is not supported")
    return [_read_item(item, wrap=wrap) for item in instances]


def check_inputs(instances: list[dict[str, Value]], method: Method, target: Target) -> list[Instance]:
    """Return the instances when they have all inputs of the method. Raises `Refusal`."""
    for instance in instances:
        for name in method.inputs:
            value = instance.get(name, _MISSING)
            if value is _MISSING:
                where = f"servable {target.servable}, method {target.method}"
                raise Refusal(cut(f"Cannot find input {name} in instance input , {where}"))
            if isinstance(value, np.ndarray) and value.dtype == object:
                lengths = ", ".join(map(str, value.shape))
                raise Refusal(
                    cut(
                        f"Instances input {name} check failed, detail: Instance tensor check failed: bytes or string "
                        f"type input  shape can only be (1,) or empty, but given shape is [{lengths}]"
                    )
                )
    return list(instances)


def _read_item(item: Any, *, wrap: bool) -> dict[str, Value]:
    if not isinstance(item, dict):
        raise parser("json array, instance is not object type")
    if not item:
        raise parser("json array, instance is object type, but no value")
    return _read_instance(item, wrap=wrap)


def _read_instance(item: dict[str, Any], *, wrap: bool) -> dict[str, Value]:
    names = sorted(item) if len(item) > 1 else item  # the first fault in the order of the names' bytes is told
    return {name: _read_value(name, item[name], wrap=wrap) for name in names}


def _read_value(name: str, value: Any, *, wrap: bool) -> Value:
    if not name:
        raise parser("string key is empty")
    if isinstance(value, list):
        return read_list(value, wrap=wrap)
    if isinstance(value, dict):
        return read_object(value)
    if isinstance(value, str):
        return value
    if value is None:
        raise parser("json value is null, it is not supported")
    return scalar(value, wrap=wrap)
