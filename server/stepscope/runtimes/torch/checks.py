"""Whether two ways of running a model give the same answers, within a tolerance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepscope.core.ports import Outputs
from stepscope.core.predictions import Array


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest relative difference, and why the answers don't count as the same (empty where they do)."""

    error: float
    reason: str = ""


def compare(
    wanted: Sequence[Outputs], given: Sequence[Outputs], tolerance: float, class_layer: int | None = None
) -> Difference:
    """Compare answers input by input, output by output.

    The difference of two arrays is their largest distance, as a share of the wanted array's largest magnitude.
    Whole numbers must be equal. In `class_layer` the top class must be the same, or as good within the tolerance.
    """
    if [_form(outputs) for outputs in wanted] != [_form(outputs) for outputs in given]:
        return Difference(float("inf"), "its outputs have other shapes or types")
    error = 0.0
    for place, (right, own) in enumerate(zip(wanted, given, strict=True)):
        error = max([error, *(_distance(a, b) for a, b in zip(right, own, strict=True))])
        if error > tolerance:
            return Difference(error, f"its answers differ by {error:.2g}, and {tolerance:.2g} is allowed")
        if class_layer is not None and not _same_class(right[class_layer], own[class_layer], tolerance):
            return Difference(error, f"the class of example {place + 1} is another one")
    return Difference(error)


def _form(outputs: Outputs) -> list[tuple[tuple[int, ...], np.dtype[np.generic]]]:
    return [(array.shape, array.dtype) for array in outputs]


def _distance(wanted: Array, given: Array) -> float:
    if wanted.size == 0:
        return 0.0
    if wanted.dtype.kind not in "fc":
        return 0.0 if np.array_equal(wanted, given) else float("inf")
    right, own = np.asarray(wanted, np.float64), np.asarray(given, np.float64)
    finite = np.isfinite(right)
    if not np.array_equal(right[~finite], own[~finite], equal_nan=True) or not np.isfinite(own[finite]).all():
        return float("inf")
    return _relative(right[finite], own[finite])


def _relative(right: NDArray[np.float64], own: NDArray[np.float64]) -> float:
    if right.size == 0:
        return 0.0
    apart = float(np.abs(right - own).max())
    # An array of zeros has no magnitude: there a distance counts as it is.
    return apart / (float(np.abs(right).max()) or 1.0)


def _same_class(wanted: Array, given: Array, tolerance: float) -> bool:
    scores, top = wanted.reshape(-1), int(given.reshape(-1).argmax())
    best = int(scores.argmax())
    return top == best or bool(scores[best] - scores[top] <= 2 * tolerance * np.abs(scores).max())
