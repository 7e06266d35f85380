"""A prediction too long for one go: part after part, each waiting for its turn among everybody's requests."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from stepscope.core.errors import DeadlineExceeded, Overloaded, TooManyRequests
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import Input, Options, Prediction, StepTime
from stepscope.core.recording import Recorder
from stepscope.core.steps import NAMES
from stepscope.engine.engine import Engine

PART = 32
"""Inputs that go together: a batch's worth, so that what is done can be told and others get in between."""
Done = Callable[[int, int], None]
"""Is told how many inputs have their answers, and of how many."""


async def predict_in_parts(
    engine: Engine,
    record: PredictorRecord,
    inputs: Sequence[Input],
    options: Options,
    done: Done,
    recorder: Recorder | None = None,
) -> Prediction:
    """Answer every input. Raises what `Engine.predict` raises, but waits where it is full; the time-out is for all."""
    started = time.perf_counter()
    limit_s = options.timeout_s or record.options.timeout_s or engine.timeout_s
    parts = []
    for first in range(0, max(1, len(inputs)), PART):
        left_s = limit_s - (time.perf_counter() - started)
        if left_s <= 0:
            raise DeadlineExceeded(limit_s, first, len(inputs))
        record = await engine.use(record.id, record.owner)  # its lease mustn't end before the job does
        part = inputs[first : first + PART]
        parts.append(await predict_patiently(engine, record, part, replace(options, timeout_s=left_s), recorder))
        done(first + len(part), len(inputs))
    return joined(parts, time.perf_counter() - started)


async def predict_patiently(
    engine: Engine, record: PredictorRecord, inputs: Sequence[Input], options: Options, recorder: Recorder | None
) -> Prediction:
    """Predict as soon as there is room: what runs long waits for its turn instead of losing what it has."""
    while True:
        try:
            return await engine.predict(record, inputs, options, recorder=recorder)
        except (Overloaded, TooManyRequests) as full:
            await asyncio.sleep(min(full.retry_after_s, 0.2))


def joined(parts: Sequence[Prediction], duration_s: float) -> Prediction:
    """Return the answers of all parts as one prediction."""
    last = parts[-1]
    return Prediction(
        answers=list(itertools.chain.from_iterable(part.answers for part in parts)),
        steps=_summed(parts),
        duration_s=duration_s,
        inference_s=sum(part.inference_s for part in parts),
        model_name=last.model_name,
        model_version=last.model_version,
        framework_name=last.framework_name,
        framework_version=last.framework_version,
        device=last.device,
    )


def _summed(parts: Sequence[Prediction]) -> list[StepTime]:
    times = [step for part in parts for step in part.steps]
    summed = []
    for name in NAMES:
        same = [time for time in times if time.name == name]
        if same:
            summed.append(StepTime(name, sum(time.duration_s for time in same), sum(time.count for time in same)))
    return summed
