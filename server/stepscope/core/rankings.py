"""Classes by their probability, best first: what is left of a classifier's scores.

NaN counts as the lowest probability, and probabilities end within 0 and 1, since neither JSON nor the contract has
room for anything else. Of equal ones the lower class comes first.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepscope.core.predictions import Array

Floats = NDArray[np.float64]

FEW = 64
"""Up to so many numbers plain lists are faster than arrays: 8 us instead of 60 for one input's ten classes."""
SORTED = 64
"""Up to so many classes, sorting all of a batch at once is faster than picking the best of each row."""
_LARGEST = float(np.finfo(np.float64).max)
_SMALLEST = float(np.finfo(np.float64).tiny)


class Ranking(msgspec.Struct, frozen=True):
    """The classes of one input, most probable first, and their probabilities (0 to 1)."""

    classes: list[int]
    probabilities: list[float]


def ranked(scores: Array, count: int, *, softmax: bool = False) -> list[Ranking]:
    """Return the `count` best classes of each row of scores, shape (batch, classes); 0 means all."""
    if scores.size <= FEW:
        return [_ranked_few(row, count, softmax=softmax) for row in scores.tolist()]
    table = probabilities(scores, softmax=softmax)
    width = table.shape[1]
    count = min(count, width) if count > 0 else width
    if count == width or width <= SORTED:
        order = np.argsort(-table, axis=1, kind="stable")[:, :count]
    else:
        order = np.stack([best(row, count) for row in table])
    return rankings(order, np.take_along_axis(table, order, 1))


def _ranked_few(scores: list[float], count: int, *, softmax: bool) -> Ranking:
    numbers = [min(float(score), _LARGEST) if score == score else -math.inf for score in scores]
    if softmax:
        top = max(numbers)
        weights = [math.exp(number - (top if math.isfinite(top) else 0.0)) for number in numbers]
        total = max(sum(weights), _SMALLEST)
        numbers = [weight / total for weight in weights]
    order = sorted(range(len(numbers)), key=numbers.__getitem__, reverse=True)[: count or None]
    return Ranking(order, [min(max(numbers[index], 0.0), 1.0) for index in order])


def rankings(order: NDArray[np.integer], shares: Floats) -> list[Ranking]:
    """Return what stands in two tables of shape (batch, classes), best first."""
    return [
        Ranking(*row) for row in zip(order.tolist(), np.minimum(np.maximum(shares, 0.0), 1.0).tolist(), strict=True)
    ]


def probabilities(scores: Array, *, softmax: bool = False) -> Floats:
    """Return scores of shape (..., classes) as finite numbers, through a softmax over the classes if asked for."""
    table = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(table).all():
        table = np.nan_to_num(table, nan=-np.inf, posinf=np.finfo(np.float64).max, neginf=-np.inf)
    if not softmax:
        return table
    top = table.max(axis=-1, keepdims=True)
    # A row without any number has -inf as its top, and -inf less -inf is NaN.
    weights = np.exp(table - np.where(np.isfinite(top), top, 0.0))
    return np.asarray(weights / np.maximum(weights.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny))


def best(row: Floats, limit: int) -> NDArray[np.intp]:
    """Return the indices of the `limit` largest numbers, largest first; among equal ones the lower index first."""
    count = len(row) if limit <= 0 else min(limit, len(row))
    if count == len(row):
        return np.argsort(-row, kind="stable")
    least = np.partition(row, len(row) - count)[len(row) - count]
    above = np.flatnonzero(row > least)
    level = np.flatnonzero(row == least)[: count - len(above)]
    return np.concatenate([above[np.argsort(-row[above], kind="stable")], level])
