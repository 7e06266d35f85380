"""Whether values can be a model's inputs: bytes and type count, the shape follows from them."""

from dataclasses import dataclass
from math import prod

import numpy as np

from stepscope.core.frames import Frame
from stepscope.core.manifests import ImageSpec, TensorSpec
from stepscope.core.predictions import Array
from stepscope.core.servables import PlainValue, StageFailed, Value, Values
from stepscope.core.tensors import Dimensions, input_shape


@dataclass(frozen=True, slots=True)
class Wanted:
    """One input of a model: its type, and for one instance its lengths; `fixed` when all of them are known."""

    spec: ImageSpec | TensorSpec
    dtype: np.dtype[np.generic] | None
    """None takes any type, and then any shape: a `raw_image` comes as its file has it."""
    dimensions: Dimensions
    fixed: tuple[int, ...] | None
    size_bytes: int


def wanted(spec: ImageSpec | TensorSpec) -> Wanted:
    """Return what a specification asks for."""
    if spec.element_type == "raw_image":
        return Wanted(spec, None, None, None, 0)
    dtype = np.dtype(spec.element_type)
    dimensions = input_shape(spec)
    known = tuple([length for length in dimensions or () if length is not None])
    fixed = known if dimensions is not None and len(known) == len(dimensions) else None
    return Wanted(spec, dtype, dimensions, fixed, dtype.itemsize * prod(known))


def as_inputs(values: Values, inputs: tuple[Wanted, ...], instance: int) -> tuple[Array | Frame, ...]:
    """Return an instance's arrays in the model's shapes; any arrays where `inputs` is empty. Raises `StageFailed`."""
    if not inputs:
        return tuple([_array(place, _plain(value), None) for place, value in enumerate(values)])
    if len(values) != len(inputs):
        raise StageFailed(
            f"The inputs count {len(values)} of instance {instance} is not equal to the inputs count {len(inputs)} of "
            "the model"
        )
    return tuple([_fit(place, values[place], each) for place, each in enumerate(inputs)])


def _fit(place: int, value: Value, into: Wanted) -> Array | Frame:
    if isinstance(value, Frame) and value.spec == into.spec:
        return value  # frames of one batch are normalised together, by one specification
    value = _plain(value)
    if isinstance(value, np.ndarray) and value.shape == into.fixed and value.dtype == into.dtype:
        return value
    size = value.nbytes if isinstance(value, np.ndarray) else 0
    if into.fixed is not None and size != into.size_bytes:
        needed = into.size_bytes
        raise StageFailed(f"Given model input {place} size {size} not match the size {needed} defined in model")
    array = _array(place, value, into.dtype)
    if into.fixed is not None:
        return array.reshape(into.fixed)
    if into.dimensions is not None and array.ndim != len(into.dimensions):
        raise StageFailed(f"Given model input {place} shape {list(array.shape)} not match the model's")
    return array


def _plain(value: Value) -> PlainValue:
    return value.array() if isinstance(value, Frame) else value


def _array(place: int, value: PlainValue, dtype: np.dtype[np.generic] | None) -> Array:
    if not isinstance(value, np.ndarray) or (dtype is not None and value.dtype != dtype):
        defined = f"kMSI_{dtype.name.capitalize()}" if dtype is not None else "a tensor"
        given = f"Given model input {place} data type {type_name(value)}"
        raise StageFailed(f"{given} not match the data type {defined} defined in model")
    return value


def type_name(value: PlainValue) -> str:
    """Return the type's name as errors of this dialect write it."""
    if isinstance(value, np.ndarray):
        return f"kMSI_{value.dtype.name.capitalize()}"
    item = value if isinstance(value, str | bytes) else value.item
    return "kMSI_String" if isinstance(item, str) else "kMSI_Bytes"
