"""Finding the fastest right way to run a model: every candidate is compared with eager fp32, then timed beside it.

A model whose eager answers differ from run to run is left alone. So is one without examples (`examples.py`).
"""

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stepscope.core.ports import Outputs
from stepscope.core.tuning import (
    BF16_TOLERANCE,
    EAGER,
    FP32_TOLERANCE,
    NATIVE,
    THREAD_GAIN,
    WAYS,
    Candidate,
    Choice,
    Execution,
    Precision,
    Timing,
    Verdict,
    Way,
    choose,
    contenders,
    ladder,
    largest_measured,
    thread_counts,
)
from stepscope.runtimes.torch.batches import Run
from stepscope.runtimes.torch.checks import compare
from stepscope.runtimes.torch.executions import (
    COMPILED_BUDGET_S,
    COMPILED_FROM_S,
    NATIVE_UP_TO_S,
    Example,
    build,
    compiled_ways,
    eager,
    has_compiler,
    possible_ways,
)
from stepscope.runtimes.torch.faults import LoadFault
from stepscope.runtimes.torch.remembered import cores
from stepscope.runtimes.torch.trials import Stopped, Subject, Trials, use_threads

log = logging.getLogger(__name__)

ODD = 3
"""A batch size besides 1 and the largest, at which every candidate is compared."""
SHARE = 1 / 100
"""Of the budget, for the timing of one candidate at one size."""
SHORTEST_S, LONGEST_S = 0.02, 0.5
SPLIT_FROM_S = 0.01
"""Time of a batch on one thread from which more threads are tried. What is shorter gains a few milliseconds on idle
cores, and loses more on busy ones, where the slowest thread is waited for: LeNet took 9.3 ms instead of 1.0."""
PATIENCE = 10
"""How many times the budget may pass on the clock: beside other work a tuner of low priority mostly waits."""
SAME = 1e-5
"""Relative difference between two runs of eager that still counts as the same: sums may be added in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What to run from now on. `runs` holds the ways that were built, by name; eager isn't among them."""

    execution: Execution
    runs: Mapping[str, Run] = field(default_factory=dict)


def tolerance_of(way: str, tolerance: float | None) -> float:
    """Return how far a way may be from eager fp32: what the manifest says, or the default of its precision."""
    if tolerance is not None:
        return tolerance
    return BF16_TOLERANCE if way and WAYS[way].precision is not Precision.FP32 else FP32_TOLERANCE


def tune(subject: Subject, stopped: Callable[[], bool]) -> Tuned:
    """Try all ways within the budget. Raises `Stopped`."""
    return _Tuning(subject, stopped).tune()


def verify(subject: Subject, choices: Sequence[Choice]) -> Mapping[str, Run]:
    """Build the ways of given choices and compare them with eager fp32.

    Raises `LoadFault` when one differs or can't be built.
    """
    trials = Trials(subject, lambda: False)
    wanted = _wanted(trials, subject, [(subject.sizes.nearest(1), 0)])
    runs: dict[str, Run] = {}
    for name in dict.fromkeys(choice.way for choice in choices if WAYS[choice.way] != EAGER):
        candidate, run = _tried(trials, subject, WAYS[name], wanted)
        if run is None:
            raise LoadFault(f"it can't run {name} here: {candidate.reason}")
        runs[name] = run
    return runs


_Wanted = dict[tuple[int, int], list[Outputs]]


def _wanted(trials: Trials, subject: Subject, keys: Sequence[tuple[int, int]]) -> _Wanted:
    """Return eager's answers to examples by batch size and seed."""
    run = eager(subject.model)
    return {key: trials.answers(run, *key) for key in dict.fromkeys(keys)}


def _tried(trials: Trials, subject: Subject, way: Way, wanted: _Wanted) -> tuple[Candidate, Run | None]:
    """Build a way and compare it; without a run where it is no good."""
    name = str(way)
    try:
        steps = tuple(ladder(subject.options.cap))
        run = build(subject.model, way, Example(tensors=trials.tensors(), steps=steps))
        found = trials.difference(run, wanted)
    except Stopped:
        raise
    except LoadFault as fault:
        return Candidate(way=name, verdict=Verdict.FAILED, reason=str(fault)), None
    except Exception as fault:
        log.info("%s can't run %s", subject.manifest, name, exc_info=True)
        return Candidate(way=name, verdict=Verdict.FAILED, reason=f"{type(fault).__name__}, see the log"), None
    if found.reason:
        return Candidate(way=name, verdict=Verdict.WRONG, reason=found.reason, error=found.error), None
    return Candidate(way=name, error=found.error), run


class _Tuning:
    """One model's tuning: the candidates so far, and the runs of those that lead."""

    def __init__(self, subject: Subject, stopped: Callable[[], bool]) -> None:
        self._subject = subject
        self._trials = Trials(subject, stopped)
        self._started_s = time.thread_time(), time.monotonic()
        self._slice_s = min(max(subject.options.budget_s * SHARE, SHORTEST_S), LONGEST_S)
        self._eager = eager(subject.model)
        self._cores = min(cores(), subject.options.cores or cores())
        self._sizes: list[int] = []
        self._threads: dict[int, int] = {}
        self._candidates: list[Candidate] = []
        self._runs: dict[str, Run] = {}

    def tune(self) -> Tuned:
        single_s = self._measure_eager()
        smallest, odd = self._sizes[0], self._subject.sizes.nearest(ODD)
        wanted = _wanted(self._trials, self._subject, [(smallest, 0), (smallest, 1), (odd, 1), (self._sizes[-1], 0)])
        if not self._is_steady(wanted):
            return Tuned(execution=self._execution((Choice(),), note="its answers differ from run to run"))
        for way in self._ways(single_s):
            self._try(way, wanted)
        return self._chosen()

    def _measure_eager(self) -> float:
        """Find the sizes to measure and the threads for each; returns eager's time at the smallest one."""
        sizes, first = self._subject.sizes, self._subject.sizes.nearest(1)
        self._find_threads(self._eager, first)
        single_s = self._alone_s(self._eager, first) / max(1, self._threads[first])
        cap = sizes.nearest(self._subject.options.cap)
        self._sizes = sorted({first, sizes.nearest(largest_measured(single_s / first, cap))})
        for size in self._sizes[1:]:
            self._find_threads(self._eager, size)
        timings = tuple(self._measured(self._eager, size, alone=True) for size in self._sizes)
        self._candidates.append(Candidate(way=str(EAGER), timings=timings, error=0.0))
        return single_s

    def _alone_s(self, run: Run, size: int) -> float:
        """Return the least time of a batch on one thread: on the CPU its own, however busy the cores are."""
        is_cpu = self._subject.device.type == "cpu"
        return min(self._trials.times_s(run, size, 1 if is_cpu else 0, 0.0, cpu_time=is_cpu))

    def _find_threads(self, run: Run, size: int) -> None:
        """Note the fewest threads that are fast at a size."""
        pinned = self._subject.manifest.execution.threads
        if self._subject.device.type != "cpu":
            self._threads[size] = 0
        elif pinned or self._cores == 1:
            self._threads[size] = pinned or 1
        else:
            self._threads[size] = self._fewest_threads(run, size, self._alone_s(run, size))

    def _fewest_threads(self, run: Run, size: int, alone_s: float) -> int:
        chosen = 1
        for count in thread_counts(self._cores)[1:] if alone_s >= SPLIT_FROM_S else ():
            _, speedup = self._trials.pairs(run, run, size, (count, chosen), self._slice_s / 2)
            if speedup >= THREAD_GAIN:
                chosen = count
        return chosen

    def _is_steady(self, wanted: _Wanted) -> bool:
        again = {key: self._trials.answers(self._eager, *key) for key in wanted}
        return all(not compare(wanted[key], again[key], SAME).reason for key in wanted)

    def _ways(self, single_s: float) -> list[Way]:
        subject = self._subject
        ways = possible_ways(subject.model, subject.device, subject.tolerance, self._trials.tensors())[1:]
        if subject.device.type == "cpu" and single_s <= NATIVE_UP_TO_S:
            ways.append(NATIVE)
        heavy = single_s >= COMPILED_FROM_S[subject.device.type] and subject.options.budget_s >= COMPILED_BUDGET_S
        wished = subject.compile == "always" or (subject.compile == "auto" and heavy)
        return ways + (compiled_ways(ways) if wished and has_compiler(subject.device) else [])

    def _try(self, way: Way, wanted: _Wanted) -> None:
        if self._is_spent():
            self._candidates.append(Candidate(way=str(way), verdict=Verdict.SKIPPED, reason="the budget is spent"))
            return
        candidate, run = _tried(self._trials, self._subject, way, wanted)
        if run is not None:
            candidate = replace(candidate, timings=tuple(self._measured(run, size) for size in self._sizes))
            self._runs[candidate.way] = run
        self._candidates.append(candidate)
        self._drop_losers()

    def _measured(self, run: Run, size: int, *, alone: bool = False) -> Timing:
        threads = self._threads[size]
        if alone:
            return self._timing(size, statistics.median(self._trials.times_s(run, size, threads, self._slice_s)), 1.0)
        latency_s, speedup = self._trials.pairs(run, self._eager, size, (threads, threads), self._slice_s)
        return self._timing(size, latency_s, speedup)

    def _timing(self, size: int, latency_s: float, speedup: float) -> Timing:
        shown = round(latency_s * 1000, 4)
        return Timing(batch_size=size, threads=self._threads[size], latency_ms=shown, speedup=round(speedup, 3))

    def _is_spent(self) -> bool:
        """Whether the budget is used up, in time of this thread: a busy machine then tries as much as an idle one."""
        own_s, clock_s = time.thread_time() - self._started_s[0], time.monotonic() - self._started_s[1]
        budget_s = self._subject.options.budget_s
        return (
            clock_s > budget_s * PATIENCE or max(own_s, clock_s if self._subject.device.type != "cpu" else 0) > budget_s
        )

    def _drop_losers(self) -> None:
        """Give back the copies of the model that can't be chosen any more."""
        leading = {candidate.way for candidate in contenders(self._candidates, self._sizes)}
        self._runs = {name: run for name, run in self._runs.items() if name in leading}

    def _chosen(self) -> Tuned:
        winners = [candidate.way for candidate in choose(self._candidates, self._sizes)]
        self._candidates = [
            replace(candidate, verdict=Verdict.CHOSEN) if candidate.way in winners else candidate
            for candidate in self._candidates
        ]
        choices = self._choices(winners)
        runs = {name: run for name, run in self._runs.items() if name in winners}
        return Tuned(execution=self._execution(choices), runs=runs)

    def _choices(self, winners: Sequence[str]) -> tuple[Choice, ...]:
        """Return one choice for all sizes, or two with the size from which the second one is the better."""
        first, last = self._sizes[0], self._sizes[-1]
        for_last = Choice(way=winners[-1], threads=self._threads[last])
        for_first = Choice(way=winners[0], threads=self._threads[first])
        if for_first == for_last:
            return (for_last,)
        return (replace(for_first, up_to=self._crossing(for_first, for_last)), for_last)

    def _crossing(self, small: Choice, large: Choice) -> int:
        """Return the largest power of two up to which the choice for single inputs is the faster one."""
        runs = {str(EAGER): self._eager, **self._runs}
        size = self._sizes[0]
        while size * 2 < self._sizes[-1]:
            threads = (small.threads, large.threads)
            _, speedup = self._trials.pairs(runs[small.way], runs[large.way], size * 2, threads, self._slice_s / 2)
            if speedup < 1.0:
                break
            size *= 2
        return size

    def _execution(self, choices: tuple[Choice, ...], note: str = "") -> Execution:
        return Execution(
            choices=choices,
            origin="measured",
            tolerance=self._subject.tolerance,
            candidates=tuple(self._candidates),
            note=note,
        )


__all__ = ["Stopped", "Subject", "Tuned", "tolerance_of", "tune", "use_threads", "verify"]
