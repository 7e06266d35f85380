"""How a model runs on its device: the ways there are, what was measured of each, and which one is kept.

A way is a form (eager, frozen TorchScript, the same by plain products, compiled, CUDA graphs) with a memory layout and
a precision. Names join the three by underscores and leave out what is usual: `eager`, `channels_last`,
`frozen_channels_last_bf16`.
"""

import enum
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FP32_TOLERANCE = 1e-3
"""Largest relative difference from eager fp32 that a way may show where the manifest names none."""
BF16_TOLERANCE = 2e-2
"""The same for a bf16 way that the manifest pins without a tolerance: bfloat16 keeps 8 bits of mantissa."""
LEAST_FOR_BF16 = 1e-2
"""Tolerance from which bf16 is tried."""
LEAST_FOR_TF32 = 5e-3
"""Tolerance from which TF32 (10 bits of mantissa) is tried."""
WORTH = 1.05
"""Speed-up below which another way isn't worth its memory: half of what the clock's noise can be."""
THREAD_GAIN = 1.2
"""Speed-up that more threads must bring: on busy cores each further thread is one more to wait for."""


class Form(enum.Enum):
    """What runs the model."""

    EAGER = "eager"
    FROZEN = "frozen"
    NATIVE = "native"
    COMPILED = "compiled"
    GRAPHS = "graphs"


class Precision(enum.Enum):
    """In which type a float32 model calculates."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of running a model."""

    form: Form = Form.EAGER
    channels_last: bool = False
    precision: Precision = Precision.FP32

    def __str__(self) -> str:
        parts = [] if self.form is Form.EAGER else [self.form.value]
        parts += ["channels_last"] if self.channels_last else []
        parts += [] if self.precision is Precision.FP32 else [self.precision.value]
        return "_".join(parts) or "eager"


EAGER = Way()
NATIVE = Way(Form.NATIVE)
WAYS: Mapping[str, Way] = {
    str(way): way
    for way in itertools.starmap(Way, itertools.product(Form, (False, True), Precision))
    if way.form is not Form.NATIVE or way == NATIVE
}
"""Every way by its name; plain products come in one layout and precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningOptions:
    """How much is tried. `cap` is the largest batch; `compile` is `auto`, `never` or `always`.

    `cores` are those that a model may use, None for all that the process has.
    """

    enabled: bool = True
    budget_s: float = 20.0
    compile: str = "auto"
    cap: int = 64
    cores: int | None = None


class Verdict(enum.Enum):
    """What became of a candidate."""

    CHOSEN = "chosen"
    SLOWER = "slower"
    WRONG = "wrong"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A candidate at one batch size. The speed-up is over eager fp32, from pairs measured side by side."""

    batch_size: int
    threads: int
    latency_ms: float
    speedup: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way that was tried. `error` is the largest relative difference from eager fp32; None if never compared."""

    way: str
    verdict: Verdict = Verdict.SLOWER
    reason: str = ""
    timings: tuple[Timing, ...] = ()
    error: float | None = None

    def speedup(self, batch_size: int) -> float:
        """Return the speed-up at a batch size, 0 where it wasn't measured."""
        return next((timing.speedup for timing in self.timings if timing.batch_size == batch_size), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What runs batches of up to `up_to` inputs; None is any size. `threads` are the CPU's, 0 is torch's own choice."""

    way: str = "eager"
    threads: int = 0
    up_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a loaded model runs now: choices by rising batch size, and the table that they come from.

    `origin` is `default`, `pinned`, `measured` or `remembered`; `note` says why there is no table, if there is none.
    """

    choices: tuple[Choice, ...] = (Choice(),)
    origin: str = "default"
    tuning: bool = False
    tolerance: float = FP32_TOLERANCE
    candidates: tuple[Candidate, ...] = field(default=())
    note: str = ""

    @property
    def speedup(self) -> float:
        """Return the chosen ways' speed-up over eager at the largest batch measured; 1 when nothing was."""
        chosen = [candidate for candidate in self.candidates if candidate.verdict is Verdict.CHOSEN]
        return max((timing.speedup for candidate in chosen for timing in candidate.timings[-1:]), default=1.0)


def choose(candidates: Sequence[Candidate], sizes: Sequence[int]) -> list[Candidate]:
    """Return the candidate to keep for each batch size: one for all of them where that costs next to nothing.

    Only candidates with a timing at every size count, the first of them is eager. Each copy takes the memory of the
    model once more, so another way must be worth it.
    """
    best, near = _leaders(candidates, sizes)
    # Eager is there anyway and wins a draw.
    eager = [one for one in near if one.way == str(EAGER)]
    fastest = sorted(near, key=lambda one: -sum(one.speedup(size) for size in sizes))
    return (eager or fastest)[:1] * len(sizes) or best


def contenders(candidates: Sequence[Candidate], sizes: Sequence[int]) -> list[Candidate]:
    """Return all that `choose` may still keep when more candidates come.

    These are more than it would keep now: the fastest at one size gives way to one that is near at all sizes, and is
    wanted again once that one is too far behind a later one.
    """
    best, near = _leaders(candidates, sizes)
    return best + near


def _leaders(candidates: Sequence[Candidate], sizes: Sequence[int]) -> tuple[list[Candidate], list[Candidate]]:
    """Return the fastest candidate at each size, and all that are near the fastest at every size."""
    able = [candidate for candidate in candidates if all(candidate.speedup(size) > 0 for size in sizes)]
    best = [max(able, key=lambda one, at=size: one.speedup(at)) for size in sizes]  # type: ignore[misc]
    near = [
        one
        for one in able
        if all(one.speedup(size) * WORTH >= top.speedup(size) for size, top in zip(sizes, best, strict=True))
    ]
    return best, near


def thread_counts(cores: int) -> list[int]:
    """Return the numbers of threads to try: the powers of two, and all cores."""
    return sorted({1 << power for power in range(cores.bit_length()) if 1 << power <= cores} | {cores})


def largest_measured(single_s: float, cap: int, limit_s: float = 0.4) -> int:
    """Return the largest power of two of inputs, 2 to `cap`, that run within a time; `cap` itself if it does."""
    if single_s * cap <= limit_s:
        return cap
    size = 2
    while size * 2 * single_s <= limit_s:
        size *= 2
    return min(size, cap)


def ladder(cap: int) -> list[int]:
    """Return the batch sizes for which CUDA graphs are captured: at most a third of a batch is padding, from 8 on."""
    steps = {1, 2, 4, cap}
    size = 8
    while size < cap:
        steps |= {size, min(size + size // 2, cap)}
        size *= 2
    return sorted(step for step in steps if step <= cap)


def step_of(steps: Sequence[int], count: int) -> int:
    """Return the smallest step that holds `count` inputs. Raises `ValueError` when none does."""
    for step in steps:
        if step >= count:
            return step
    raise ValueError(f"a batch of {count} is larger than {max(steps, default=0)}")
