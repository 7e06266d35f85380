"""How a loaded model runs, in the native wire's shapes. Pure."""

import math
from collections.abc import Iterable, Mapping

from msgspec import UNSET

from stepscope.core.tuning import Candidate, Choice, Timing
from stepscope.engine.models import Running
from stepscope_api import models as wire

ModelKey = tuple[str, str]
"""A model's name and version."""


def write_executions(running: Iterable[Running]) -> Mapping[ModelKey, list[wire.ModelExecution]]:
    """Return how each loaded model runs, in the order in which they come."""
    written: dict[ModelKey, list[wire.ModelExecution]] = {}
    for each in running:
        written.setdefault((each.name, each.version), []).append(_execution(each))
    return written


def _execution(running: Running) -> wire.ModelExecution:
    execution = running.execution
    return wire.ModelExecution(
        device=str(running.device),
        state=wire.ExecutionState.TUNING if execution.tuning else wire.ExecutionState.READY,
        origin=wire.ExecutionOrigin(execution.origin),
        tolerance=execution.tolerance,
        note=execution.note or UNSET,
        choices=[_choice(choice) for choice in execution.choices],
        candidates=[_candidate(candidate) for candidate in execution.candidates],
    )


def _choice(choice: Choice) -> wire.ExecutionChoice:
    up_to = UNSET if choice.up_to is None else choice.up_to
    return wire.ExecutionChoice(way=choice.way, threads=choice.threads, up_to=up_to)


def _candidate(candidate: Candidate) -> wire.ExecutionCandidate:
    # JSON has no word for the infinite error of answers that can't be compared.
    error = UNSET if candidate.error is None or not math.isfinite(candidate.error) else candidate.error
    return wire.ExecutionCandidate(
        way=candidate.way,
        verdict=wire.CandidateVerdict(candidate.verdict.value),
        reason=candidate.reason or UNSET,
        error=error,
        timings=[_timing(timing) for timing in candidate.timings],
    )


def _timing(timing: Timing) -> wire.CandidateTiming:
    return wire.CandidateTiming(
        batch_size=timing.batch_size, threads=timing.threads, latency_ms=timing.latency_ms, speedup=timing.speedup
    )
