"""The clock adds up, and tells only the steps that were taken, in their order."""

from stepscope.core.predictions import StepTime
from stepscope.core.steps import Step, StepClock


def test_times_add_up_in_the_order_of_the_way():
    clock = StepClock()
    clock.add(Step.PREDICT, 0.5, 2)
    clock.add(Step.DECODE, 0.1)
    clock.add(Step.PREDICT, 0.25, 1)
    assert clock.times() == [StepTime("decode", 0.1, 1), StepTime("predict", 0.75, 3)]
    assert clock.seconds(Step.PREDICT) == 0.75
    assert clock.seconds(Step.FETCH) == 0.0
