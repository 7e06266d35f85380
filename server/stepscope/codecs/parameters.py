"""Between the named parameters of a job and a model: which one is its input, and which outputs its answer becomes."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stepscope.core.errors import TensorInvalid
from stepscope.core.predictions import (
    Answer,
    Classification,
    Encoded,
    Feature,
    FeatureType,
    ImageInput,
    Input,
    TensorInput,
    UrlInput,
)

Described = Mapping[str, Any]
"""Parameters or outputs by name, each a table with its `type`."""

Write = Callable[[Feature], Any]
"""Makes a feature what JSON can hold."""

IMPLICIT = ("key", "client_session_auth_key", "wait_for_result")
FEATURES = "features"


def input_name(described: Described, asked: str = "") -> str:
    """Return the parameter that the model gets: the one asked for, else the first image, else the first JSON.

    Raises `TensorInvalid` when there is none.
    """
    own = {name: _type(table) for name, table in described.items() if name not in IMPLICIT}
    if asked in own or (asked and not own):
        return asked
    for wanted in ("image", "json"):
        found = next((name for name, kind in own.items() if kind == wanted), None)
        if found is not None and not asked:
            return found
    raise TensorInvalid(
        f"the endpoint has no parameter {asked!r}" if asked else "the endpoint has no input for a model"
    )


def read_inputs(value: Any) -> list[Input]:
    """Return a parameter's inputs: a data URI, an address, an array of numbers, or a list of the first two.

    Raises `InputFailed`.
    """
    if isinstance(value, str):
        return [_read_text("0", value)]
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return [_read_text(str(place), item) for place, item in enumerate(value)]
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise TensorInvalid("it is no array of numbers") from None
    return [TensorInput(id="0", array=array)]


def write_outputs(answers: Sequence[Answer], described: Described, write: Write, asked: str = "") -> dict[str, Any]:
    """Return the outputs that an endpoint declares, as far as a model's answers have them.

    All features go to the output asked for, else to `features`, else to the first JSON. `label`, `index`,
    `probability` and `image` are the best feature's. A single input's error goes to `error`.
    """
    if len(answers) == 1 and answers[0].error is not None:
        return {"error": answers[0].error.message}
    told = [_answer(answer, write) for answer in answers]
    outputs: dict[str, Any] = {_output_name(described, asked): told[0] if len(told) == 1 else told}
    outputs |= {name: value for name, value in _best(answers).items() if name in described and name not in outputs}
    return {name: _as_declared(value, _type(described.get(name))) for name, value in outputs.items()}


def _read_text(name: str, text: str) -> Input:
    if text.startswith("data:"):
        return ImageInput(id=name, data=text.partition(",")[2])
    if text.startswith(("http://", "https://")):
        return UrlInput(id=name, url=text)
    return ImageInput(id=name, data=text)


def _output_name(described: Described, asked: str) -> str:
    if asked or FEATURES in described:
        return asked or FEATURES
    return next((name for name, table in described.items() if _type(table) == "json"), FEATURES)


def _answer(answer: Answer, write: Write) -> Any:
    if answer.error is not None:
        return {"error": answer.error.message}
    return [write(feature) for feature in answer.features]


def _best(answers: Sequence[Answer]) -> dict[str, Any]:
    if not answers or not answers[0].features:
        return {}
    best = answers[0].features[0]
    told: dict[str, Any] = {"probability": best.probability}
    if isinstance(best.payload, Classification):
        told |= {"label": best.payload.label, "index": best.payload.index}
    if isinstance(best.payload, Encoded) and best.type is FeatureType.IMAGE:
        encoded = base64.b64encode(best.payload.data).decode()
        told["image"] = f"data:image/{best.payload.format};base64,{encoded}"
    return told


def _as_declared(value: Any, kind: str) -> Any:
    """Return a value as its output's type has it: JSON as text where a text is declared."""
    return value if kind != "string" or isinstance(value, str) else json.dumps(value)


def _type(table: Any) -> str:
    return str(table.get("type", "string")) if isinstance(table, Mapping) else ""
