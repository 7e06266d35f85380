"""The best classes of a batch, whatever the model says."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stepscope.core.rankings import FEW, best, probabilities, ranked

scores = arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(-50, 50, width=32))
tables = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 2 * FEW)),
    elements=st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, -1.0])),
)


@given(scores, st.integers(0, 50))
def test_the_best_are_those_of_a_stable_sort(row: np.ndarray[Any, Any], limit: int) -> None:
    expected = sorted(range(len(row)), key=lambda at: -row[at])[: limit or None]
    assert best(row.astype(np.float64), limit).tolist() == expected


@given(scores)
def test_softmax_is_what_the_formula_says(row: np.ndarray[Any, Any]) -> None:
    weights = [math.exp(float(score) - float(row.max())) for score in row]
    assert probabilities(row, softmax=True).tolist() == pytest.approx([w / sum(weights) for w in weights])


@given(tables, st.integers(0, 12), st.booleans())
def test_a_batch_is_ranked_as_its_rows_are_one_by_one(table: np.ndarray[Any, Any], count: int, softmax: bool) -> None:
    together = ranked(table, count, softmax=softmax)
    alone = [ranked(row[np.newaxis], count, softmax=softmax)[0] for row in table]
    assert [each.probabilities for each in together] == [pytest.approx(each.probabilities) for each in alone]
    if not softmax:  # the last digit of a sum may differ, and with it the order of near-equal ones
        assert together == alone
    for row, ranking in zip(probabilities(table), together, strict=True):
        if not softmax:
            assert ranking.classes == np.argsort(-row, kind="stable")[: count or None].tolist()
        assert all(0.0 <= share <= 1.0 for share in ranking.probabilities)
