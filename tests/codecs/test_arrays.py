"""Tensors there and back."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from stepscope.codecs import arrays
from stepscope.core.errors import TensorInvalid

dtypes = st.sampled_from(arrays.DTYPES)
tensors = dtypes.flatmap(
    lambda name: arrays_of.arrays(
        np.dtype(name), arrays_of.array_shapes(min_dims=0, min_side=0, max_dims=5, max_side=4)
    )
)


@given(tensors)
def test_any_array_comes_back_from_its_octets(array: np.ndarray[Any, Any]) -> None:
    for layout in (array, np.asfortranarray(array), array[::-1] if array.ndim else array):
        data = arrays.to_octets(layout)
        again = arrays.from_octets(data, layout.shape, layout.dtype.name)
        assert (again.dtype, again.shape) == (layout.dtype, layout.shape)
        np.testing.assert_array_equal(again, layout)
        assert arrays.from_octets(memoryview(data), layout.shape, layout.dtype.name).tobytes() == again.tobytes()


@given(tensors)
def test_any_array_of_finite_numbers_comes_back_from_its_numbers(array: np.ndarray[Any, Any]) -> None:
    assume(array.dtype.kind != "f" or np.isfinite(array).all())
    again = arrays.from_numbers(array.ravel().tolist(), array.shape, array.dtype.name)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(again, array)


@given(
    st.lists(st.one_of(st.integers(), st.floats(), st.integers(-300, 300), st.booleans()), max_size=5),
    st.lists(st.integers(-2, 5), max_size=3),
    dtypes,
)
def test_numbers_are_kept_or_refused(values: list[float], shape: list[int], dtype: str) -> None:
    try:
        array = arrays.from_numbers(values, shape, dtype)
    except TensorInvalid:
        return
    assert array.shape == tuple(shape)
    assert np.isfinite(array).all()
    for kept, value in zip(array.ravel().tolist(), values, strict=True):
        if array.dtype.kind == "f":
            assert math.isclose(kept, value, rel_tol=1e-3, abs_tol=1e-7)
        else:
            assert kept == value


@given(st.binary(max_size=40), st.lists(st.integers(-1, 2**70), max_size=4), st.one_of(dtypes, st.text(max_size=9)))
def test_octets_are_read_or_refused(data: bytes, shape: list[int], dtype: str) -> None:
    try:
        array = arrays.from_octets(data, shape, dtype)
    except TensorInvalid:
        return
    assert arrays.to_octets(array) == data


def test_octets_are_little_endian_and_not_copied() -> None:
    data = b"\x01\x00\x02\x00"
    array = arrays.from_octets(data, [2], "uint16")
    assert array.tolist() == [1, 2]
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert arrays.to_octets(np.array([1, 2], ">u2")) == data


@pytest.mark.parametrize(
    ("data", "shape", "dtype", "reason"),
    [
        (b"abc", [1], "float32", "takes 4 bytes, and 3 came"),
        (b"abcde", [1], "float32", "takes 4 bytes, and 5 came"),
        (b"", [], "uint8", "takes 1 bytes, and 0 came"),
        (b"a", [-1], "uint8", "negative"),
        (b"a", [-1, -1], "uint8", "negative"),
        (b"", [0, 2**62], "uint8", "at most"),
        (b"", [2**40, 2**40], "uint8", "at most"),
        (b"a", [1] * 33, "uint8", "dimensions"),
        (b"\x02", [1], "bool", "0 or 1"),
        (b"ab", [1], "bfloat16", "bfloat16.*known: bool, int8"),
        (b"a" * 8, [1], "object", "isn't known"),
        (b"a" * 8, [1], ">f8", "isn't known"),
    ],
)
def test_octets_that_do_not_fit_are_refused(data: bytes, shape: list[int], dtype: str, reason: str) -> None:
    with pytest.raises(TensorInvalid, match=reason):
        arrays.from_octets(data, shape, dtype)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([256], "uint8"),
        ([-1], "uint8"),
        ([128.0], "int8"),
        ([1.5], "int32"),
        ([2**63], "int64"),
        ([float(2**63)], "int64"),
        ([2**64], "uint64"),
        ([math.nan], "float32"),
        ([math.inf], "float64"),
        ([math.nan], "int8"),
        ([-math.inf], "int8"),
        ([65520.0], "float16"),
        ([1e39], "float32"),
        ([10**400], "float64"),
        ([2], "bool"),
        ([math.nan], "bool"),
        ([True], "int8"),
        ([True], "float32"),
        (["1"], "int8"),
        ([None], "float32"),
        ([[1]], "float32"),
        ([1, 2], "float32"),
        ([], "float32"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(values: list[Any], dtype: str) -> None:
    with pytest.raises(TensorInvalid):
        arrays.from_numbers(values, [1], dtype)


def test_whole_floats_are_integers_and_large_ones_stay_exact() -> None:
    assert arrays.from_numbers([1.0, 2**53 + 1], [2], "int64").tolist() == [1, 2**53 + 1]
    assert arrays.from_numbers([0, 1, True, 1.0], [2, 2], "bool").tolist() == [[False, True], [True, True]]


def test_other_element_types_are_not_written() -> None:
    with pytest.raises(TensorInvalid):
        arrays.to_octets(np.array(["a"]))


@pytest.mark.parametrize("odd", [None, 1, True, "1.0", float("inf"), [1.0], 2**70])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_lists_are_read_as_short_ones_are(odd: Any, dtype: str) -> None:
    long: list[Any] = np.random.default_rng(0).standard_normal(1 << 16).tolist()
    np.testing.assert_array_equal(arrays.from_numbers(long, [256, 256], dtype), np.array(long, dtype).reshape(256, 256))
    for place in (0, 777, -1):
        changed = [*long]
        changed[place] = odd
        try:
            short = arrays.from_numbers([odd], [1], dtype)
        except TensorInvalid:
            with pytest.raises(TensorInvalid):
                arrays.from_numbers(changed, [1 << 16], dtype)
        else:
            assert arrays.from_numbers(changed, [1 << 16], dtype)[place] == short[0]
