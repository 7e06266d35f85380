"""Tensors on the native wire: rows of bytes, or numbers in JSON. Pure."""

from collections.abc import Sequence

import numpy as np

from stepscope.codecs.arrays import from_numbers, to_octets
from stepscope.core.errors import InputFailed, InternalFailure, InvalidField, PredictionFailed, TensorInvalid
from stepscope.core.manifests import ImageSpec, TensorSpec
from stepscope.core.predictions import Answer, Array, Input, InputError, TensorInput
from stepscope.core.tensors import input_shape, split
from stepscope.dialects.mlmodelscope import wire as convert
from stepscope_api import models as wire
from stepscope_api.operations import Octets

MAX_INPUTS = 4096
"""Inputs in one request, as the contract's lists have them."""

Failures = Sequence[tuple[int, Answer]]
"""Answers of inputs that never got to the engine, with their places, in order."""


def read_rows(array: Array, spec: ImageSpec | TensorSpec) -> list[Input]:
    """Return the inputs that an array holds, counted before they are made: rows of no bytes cost their sender nothing.

    Raises `InvalidField` when there are too many.
    """
    one = input_shape(spec)
    if array.ndim and (one is None or array.ndim != len(one)) and len(array) > MAX_INPUTS:
        raise InvalidField("shape", f"it counts {len(array)} inputs, and {MAX_INPUTS} are taken at a time")
    return [TensorInput(id=str(place), array=part) for place, part in enumerate(split(array, spec))]


def merged(found: Sequence[Answer], failures: Failures) -> Sequence[Answer]:
    """Return all answers in the order of the inputs: those of the engine, and those that never got there."""
    answers = list(found)
    for place, answer in failures:
        answers.insert(place, answer)
    return answers


def read_tensors(tensors: Sequence[wire.TensorItem]) -> tuple[list[Input], list[tuple[int, Answer]]]:
    """Return the arrays, and the answers of those that can't be read with their places."""
    inputs: list[Input] = []
    failures: list[tuple[int, Answer]] = []
    for place, item in enumerate(tensors):
        input_id = convert.given(item.id, "")
        try:
            dtype = convert.given(item.dtype, wire.TensorDtype.FLOAT32).value
            inputs.append(TensorInput(id=input_id, array=from_numbers(item.data, tuple(item.shape), dtype)))
        except InputFailed as failure:
            error = InputError(code=failure.code, message=str(failure))
            failures.append((place, Answer(input_id=input_id, error=error)))
    return inputs, failures


def write_octets(answers: Sequence[Answer]) -> Octets:
    """Return the first output of every input as one array. An array has no place for an error, so one fails all."""
    for answer in answers:
        if answer.error is not None:
            if answer.error.code == PredictionFailed.code:
                raise InternalFailure
            raise InputFailed(f"Input {answer.input_id!r} fails all. {answer.error.message}")
    outputs: list[Array] = [answer.outputs[0] for answer in answers]
    if len({output.shape for output in outputs}) > 1:
        raise TensorInvalid("the outputs differ in shape, so that they are no single array; ask for features")
    stacked = np.stack(outputs) if outputs else np.empty((0,), np.float32)
    headers = {"X-Tensor-Shape": ",".join(map(str, stacked.shape)), "X-Tensor-Dtype": str(stacked.dtype)}
    return Octets(to_octets(stacked), headers)
