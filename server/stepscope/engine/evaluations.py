"""Runs a predictor over a whole dataset, batch after batch."""

import asyncio
import itertools
import time
from collections.abc import Iterator

from msgspec.structs import replace

from stepscope.core.errors import DeadlineExceeded
from stepscope.core.evaluation import summarise
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import (
    DEFAULT_FEATURE_LIMIT,
    Answer,
    ImageInput,
    Options,
    Prediction,
    Summary,
)
from stepscope.core.recording import Recorder
from stepscope.engine.datasets import Dataset, DatasetItem, Datasets
from stepscope.engine.engine import Engine
from stepscope.engine.parts import Done, joined, predict_patiently

BATCH = 32
"""Elements sent together when the caller leaves it open."""
TOP = 5
"""Features that the summary needs of every answer."""


class Evaluations:
    """Datasets through the engine's one door."""

    def __init__(self, engine: Engine, datasets: Datasets) -> None:
        self._engine = engine
        self._datasets = datasets

    async def run(
        self,
        record: PredictorRecord,
        category: str,
        name: str,
        options: Options,
        *,
        recorder: Recorder | None = None,
        done: Done | None = None,
    ) -> tuple[Prediction, Summary]:
        """Predict every element. Raises `DatasetNotFound`, and what `Engine.predict` raises.

        The time-out holds for the whole dataset; what was done by then is in the error's `partial`. `done` is told
        after each batch.
        """
        dataset = await asyncio.to_thread(self._datasets.find, category, name)
        merged = options.over(record.options)
        if merged.timeout_s is None:
            merged = replace(merged, timeout_s=self._engine.timeout_s)
        collected = _Collected(merged, merged.batch_size or BATCH, recorder)
        elements = iter(dataset)
        total = await asyncio.to_thread(len, dataset) if done is not None else 0
        while batch := await asyncio.to_thread(_next_batch, elements, collected.batch_size):
            await self._run_batch(record, dataset, batch, collected)
            if done is not None:
                done(len(collected.labels), total)
        prediction = collected.prediction()
        latencies = collected.latencies_s
        summary = summarise(
            prediction.answers, collected.labels, latencies, collected.batch_size, prediction.duration_s
        )
        return collected.trimmed(prediction), summary

    async def _run_batch(
        self, record: PredictorRecord, dataset: Dataset, batch: list[DatasetItem], collected: "_Collected"
    ) -> None:
        inputs = [ImageInput(id=element.id, data=element.data) for element in batch]
        started = time.perf_counter()
        try:
            prediction = await predict_patiently(self._engine, record, inputs, collected.options(), collected.recorder)
        except DeadlineExceeded as late:
            if isinstance(late.partial, Prediction):
                collected.add(late.partial, batch, time.perf_counter() - started)
            raise collected.late(late, await asyncio.to_thread(len, dataset)) from None
        collected.add(prediction, batch, time.perf_counter() - started)


class _Collected:
    """What the batches came to so far."""

    def __init__(self, options: Options, batch_size: int, recorder: Recorder | None) -> None:
        self.recorder = recorder
        self._options = options
        self._started = time.perf_counter()
        self._parts: list[Prediction] = []
        self.batch_size = batch_size
        self.labels: list[int | None] = []
        self.latencies_s: list[float] = []

    def options(self) -> Options:
        """Return the options of the next batch: the time that is left, and enough features for the summary."""
        limit = self._limit()
        timeout_s = self._options.timeout_s
        if timeout_s is not None:
            timeout_s = max(timeout_s - (time.perf_counter() - self._started), 0.001)
        return Options(batch_size=self.batch_size, feature_limit=max(limit, TOP) if limit else 0, timeout_s=timeout_s)

    def add(self, prediction: Prediction, batch: list[DatasetItem], latency_s: float) -> None:
        """Note a batch's answers."""
        self._parts.append(prediction)
        self.labels += [element.label for element in batch]
        self.latencies_s.append(latency_s)

    def prediction(self) -> Prediction:
        """Return all answers as one prediction."""
        return joined(self._parts, time.perf_counter() - self._started)

    def trimmed(self, prediction: Prediction) -> Prediction:
        """Return the prediction with as many features as the caller asked for."""
        limit = self._limit()
        if not limit or limit >= TOP:
            return prediction
        answers = [
            Answer(input_id=answer.input_id, features=answer.features[:limit], error=answer.error)
            for answer in prediction.answers
        ]
        return replace(prediction, answers=answers)

    def late(self, late: DeadlineExceeded, total: int) -> DeadlineExceeded:
        """Return the error of the whole dataset."""
        partial = self.trimmed(self.prediction()) if self._parts else None
        answers = partial.answers if partial else ()
        done = sum(answer.error is None for answer in answers)
        return DeadlineExceeded(self._options.timeout_s or late.timeout_s, done, total, partial)

    def _limit(self) -> int:
        limit = self._options.feature_limit
        return DEFAULT_FEATURE_LIMIT if limit is None else limit


def _next_batch(elements: Iterator[DatasetItem], size: int) -> list[DatasetItem]:
    return list(itertools.islice(elements, size))
