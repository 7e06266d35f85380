"""Whether an array can be a model's input."""

import numpy as np
import pytest

from stepscope.core.errors import TensorInvalid
from stepscope.core.manifests import ImageSpec, TensorSpec
from stepscope.core.tensors import fit, split

CHW = ImageSpec(dimensions=(1, 28, 28), layout="CHW")


def test_the_shape_must_be_the_models():
    assert fit(np.zeros((1, 28, 28), np.float32), CHW).shape == (1, 28, 28)
    assert fit(np.zeros((1, 1, 28, 28), np.float32), CHW).shape == (1, 28, 28)
    with pytest.raises(TensorInvalid, match=r"\[28, 28\].*\[1, 28, 28\]"):
        fit(np.zeros((28, 28), np.float32), CHW)


def test_the_layout_says_where_channels_stand():
    assert fit(np.zeros((5, 6, 3)), ImageSpec(dimensions=(3, 5, 6), layout="HWC")).shape == (5, 6, 3)


def test_the_element_type_becomes_the_models():
    assert fit(np.zeros((2,), np.int64), TensorSpec(dimensions=(2,))).dtype == np.float32


def test_open_dimensions_take_any_length():
    assert fit(np.zeros((7, 3), np.float32), TensorSpec(dimensions=(None, 3))).shape == (7, 3)
    with pytest.raises(TensorInvalid, match=r"\[any, 3\]"):
        fit(np.zeros((7, 4), np.float32), TensorSpec(dimensions=(None, 3)))


def test_the_first_dimension_counts_inputs_unless_the_array_is_one():
    assert len(split(np.zeros((5, 1, 28, 28)), CHW)) == 5
    assert len(split(np.zeros((1, 28, 28)), CHW)) == 1
