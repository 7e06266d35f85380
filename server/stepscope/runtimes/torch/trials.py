"""Running candidates on the examples: what they answer, and how long they take beside eager fp32."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from stepscope.core.manifests import Manifest
from stepscope.core.ports import Arrays, Outputs
from stepscope.core.predictions import FeatureType
from stepscope.core.tuning import TuningOptions
from stepscope.runtimes.torch.batches import BatchSizes, Module, Run, Staging, Tensors, run_batch
from stepscope.runtimes.torch.checks import Difference, compare
from stepscope.runtimes.torch.examples import Examples

WARM_UP = 2
"""Runs before one is believed: TorchScript looks at the first, and optimises at the second."""
FEWEST_ROUNDS, MOST_ROUNDS = 3, 25
HOPELESS = 0.7
"""Speed-up below which the fewest pairs are enough."""


Clock = Callable[[], float]


class Stopped(Exception):
    """The model was closed while it was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model to try: `model` is not used by anybody else meanwhile."""

    manifest: Manifest
    model: Module
    device: torch.device
    sizes: BatchSizes
    examples: Examples
    tolerance: float
    options: TuningOptions
    compile: str = "auto"

    @property
    def class_layer(self) -> int | None:
        """The output whose largest number names the class, None where the model names none."""
        output = self.manifest.output
        return output.probabilities_layer if output.feature_type is FeatureType.CLASSIFICATION else None


def use_threads(count: int) -> None:
    """Let this thread's CPU work run on so many threads; 0 leaves it. OpenMP keeps the number for each thread."""
    if count and torch.get_num_threads() != count:
        torch.set_num_threads(count)


class Trials:
    """Runs candidates for one subject on one thread."""

    def __init__(self, subject: Subject, stopped: Callable[[], bool]) -> None:
        self._subject = subject
        self._stopped = stopped
        self._staging = Staging(subject.device)
        self._rows: dict[tuple[int, int], list[Arrays]] = {}

    def rows(self, count: int, seed: int = 0) -> list[Arrays]:
        """Return examples, the same ones each time."""
        key = (count, seed)
        if key not in self._rows:
            self._rows[key] = self._subject.examples.rows(count, seed)
        return self._rows[key]

    def tensors(self) -> Tensors:
        """Return the smallest batch of examples as tensors on the device."""
        batch = self.rows(self._subject.sizes.nearest(1))
        with torch.inference_mode(False):
            return tuple(
                self._staging.put(place, arrays).clone() for place, arrays in enumerate(zip(*batch, strict=True))
            )

    def answers(self, run: Run, count: int, seed: int = 0) -> list[Outputs]:
        """Return what a candidate answers. Raises `Stopped`."""
        if self._stopped():
            raise Stopped
        return run_batch(run, self._subject.sizes, self._staging, self.rows(count, seed))

    def difference(self, run: Run, wanted: dict[tuple[int, int], list[Outputs]]) -> Difference:
        """Compare a candidate with what eager fp32 answered: the first examples before it is warm, too."""
        worst = 0.0
        for key in [*[next(iter(wanted))] * WARM_UP, *wanted]:
            given = self.answers(run, *key)
            found = compare(wanted[key], given, self._subject.tolerance, self._subject.class_layer)
            worst = max(worst, found.error)
            if found.reason:
                return found
        return Difference(worst)

    def seconds(self, run: Run, count: int, threads: int, clock: Clock = time.perf_counter) -> float:
        """Return how long a batch takes, once."""
        use_threads(threads)
        started = clock()
        self.answers(run, count)
        return clock() - started

    def times_s(self, run: Run, count: int, threads: int, slice_s: float, *, cpu_time: bool = False) -> list[float]:
        """Return the times of as many batches as fit into a time, and a few at least."""
        clock = time.thread_time if cpu_time else time.perf_counter
        self.seconds(run, count, threads)
        return [self.seconds(run, count, threads, clock) for _ in _rounds(slice_s)]

    def pairs(self, run: Run, beside: Run, count: int, threads: tuple[int, int], slice_s: float) -> tuple[float, float]:
        """Return a candidate's median time, and its speed-up over another way: the median ratio of neighbours.

        Whatever else keeps the cores busy slows both. On one thread its own CPU time says more than the clock.
        """
        alone = self._subject.device.type == "cpu" and threads == (1, 1)
        clock = time.thread_time if alone else time.perf_counter
        times: list[float] = []
        ratios: list[float] = []
        self.seconds(run, count, threads[0])
        for _ in _rounds(slice_s):
            other_s = self.seconds(beside, count, threads[1], clock)
            started = time.perf_counter()
            own_s = self.seconds(run, count, threads[0], clock)
            times.append(time.perf_counter() - started)
            ratios.append(other_s / own_s)
            if len(times) == FEWEST_ROUNDS and max(ratios) < HOPELESS:
                break
        return statistics.median(times), statistics.median(ratios)


def _rounds(slice_s: float) -> Iterator[int]:
    """Count rounds until a time is over: a few at least, and not too many."""
    ends = time.perf_counter() + slice_s
    for number in range(MOST_ROUNDS):
        if number >= FEWEST_ROUNDS and time.perf_counter() > ends:
            return
        yield number
