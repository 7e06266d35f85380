"""The steps of a prediction, in the order of its way, and the time spent in each."""

import enum

from stepscope.core.predictions import StepTime


class Step(enum.IntEnum):
    """One named part of a prediction; the numbers are places in a `StepClock`."""

    FETCH = 0
    DECODE = 1
    PREPROCESS = 2
    QUEUE = 3
    PREDICT = 4
    POSTPROCESS = 5


NAMES = tuple(step.name.lower() for step in Step)
"""The steps' names on every wire, in their order."""


class StepClock:
    """Adds up what each step took."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._seconds = [0.0] * len(NAMES)
        self._counts = [0] * len(NAMES)

    def add(self, step: Step, seconds: float, count: int = 1) -> None:
        """Note that `count` inputs spent `seconds` in a step, together."""
        self._seconds[step] += seconds
        self._counts[step] += count

    def seconds(self, step: Step) -> float:
        """Return what a step took so far."""
        return self._seconds[step]

    def times(self) -> list[StepTime]:
        """Return the steps that were taken, in their order."""
        found = zip(NAMES, self._seconds, self._counts, strict=True)
        return [StepTime(name, seconds, count) for name, seconds, count in found if count]
