"""The steps of a prediction, in the order of its way, and the time spent in each."""

import enum

from stepscope.core.predictions import StepTime


class Step(enum.Enum):
    """One named part of a prediction."""

    FETCH = "fetch"
    DECODE = "decode"
    PREPROCESS = "preprocess"
    QUEUE = "queue"
    PREDICT = "predict"
    POSTPROCESS = "postprocess"


class StepClock:
    """Adds up what each step took."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._seconds: dict[Step, float] = {}
        self._counts: dict[Step, int] = {}

    def add(self, step: Step, seconds: float, count: int = 1) -> None:
        """Note that `count` inputs spent `seconds` in a step, together."""
        self._seconds[step] = self._seconds.get(step, 0.0) + seconds
        self._counts[step] = self._counts.get(step, 0) + count

    def seconds(self, step: Step) -> float:
        """Return what a step took so far."""
        return self._seconds.get(step, 0.0)

    def times(self) -> list[StepTime]:
        """Return the steps that were taken, in their order."""
        return [
            StepTime(name=step.value, duration_s=self._seconds[step], count=self._counts[step])
            for step in Step
            if step in self._seconds
        ]
