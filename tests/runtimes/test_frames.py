"""What becomes of frames and scores by torch is what becomes of them by numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stepscope.core.frames import Frame, normalised
from stepscope.core.manifests import ImageSpec
from stepscope.core.predictions import Array
from stepscope.core.rankings import ranked
from stepscope.runtimes.torch.batches import JOINED_BYTES, Staging
from stepscope.runtimes.torch.ranks import rank, rank_on_device


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("color_mode", ["RGB", "BGR"])
@pytest.mark.parametrize("element_type", ["float32", "float64", "float16", "uint8", "int8"])
@pytest.mark.parametrize(
    ("mean", "scale"), [((0.0,), (1.0,)), ((33.0,), (78.0,)), ((123.7, 116.8, 103.9), (58.4, 57.1, 57.4))]
)
def test_frames_are_the_same_numbers_as_on_the_host(
    layout: str, color_mode: str, element_type: str, mean: tuple[float, ...], scale: tuple[float, ...]
) -> None:
    spec = ImageSpec(layout=layout, color_mode=color_mode, element_type=element_type, mean=mean, scale=scale)
    images = np.random.default_rng(1).integers(0, 256, (4, 9, 11, 3), np.uint8)
    found = Staging(torch.device("cpu")).put(0, [Frame(image, spec) for image in images])
    assert found.is_contiguous()
    np.testing.assert_array_equal(found.numpy(), normalised(images, spec))


@pytest.mark.parametrize("length", [0, 1, 100, JOINED_BYTES])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, np.float16])
def test_arrays_are_staged_side_by_side(length: int, dtype: type) -> None:
    staging = Staging(torch.device("cpu"))
    rows: list[Array] = [np.random.default_rng(place).integers(0, 2, length).astype(dtype) for place in range(3)]
    np.testing.assert_array_equal(staging.put(0, rows).numpy(), np.stack(rows))
    uneven: list[Array] = [np.repeat(row, 2)[::2] for row in rows]
    np.testing.assert_array_equal(staging.put(0, uneven).numpy(), np.stack(rows))


def test_arrays_of_another_byte_order_are_never_taken_for_their_own() -> None:
    rows: list[Array] = [np.arange(4, dtype="<f4"), np.arange(4, dtype=">f4")]
    with pytest.raises(TypeError):
        Staging(torch.device("cpu")).put(0, rows)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 90)),
        elements=st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0])),
    ),
    st.integers(0, 9),
    st.booleans(),
)
def test_classes_are_ranked_on_a_device_as_they_are_on_the_host(
    table: np.ndarray[Any, Any], count: int, softmax: bool
) -> None:
    expected = ranked(table, count, softmax=softmax)
    found = rank_on_device(torch.from_numpy(table), count, softmax=softmax)
    assert [each.probabilities for each in found] == [pytest.approx(each.probabilities) for each in expected]
    if not softmax:  # the last digit of a sum may differ, and with it the order of near-equal ones
        assert found == expected


def test_bfloat16_scores_are_ranked() -> None:
    (ranking,) = rank(torch.tensor([[0.5, 3.0, 1.0]], dtype=torch.bfloat16), 2, softmax=False)
    assert ranking.classes == [1, 2]
