"""All sides up at once and measured in turns, so that the machine's moods meet all of them.

Outside its turn a side that works even when nobody asks is held still. The others aren't: BentoML's batching learns
from the clock, and a pause would teach it to wait.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from rich.console import Console

from benchmarks import closed
from benchmarks.environments import NotInstalled
from benchmarks.processes import NotStarted
from benchmarks.sides import ALL_PEERS, OURS, Running, classes, post, start_ours
from benchmarks.subjects import Subject

IDLE_S = 2.0
SETTLING = 8
WATCHED_S = 0.25
QUIET = 0.5
"""Cores below which a side has nothing left to do; some poll."""
MOST_SETTLING_S = 60.0
RESTLESS = 0.02
"""Cores that an idle side may take before it is held still outside its turn."""
WARM_CONNECTIONS = (1, 32)


@dataclass(slots=True, kw_only=True)
class Field:
    """The sides that came up, and why others didn't."""

    running: dict[str, Running] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    idle_cores: dict[str, float] = field(default_factory=dict)
    """Processor time that each takes when nobody asks, in cores."""


@contextmanager
def sides_up(subject: Subject, peers: Sequence[str], warm_s: float, console: Console) -> Iterator[Field]:
    """Start ours and the peers, warm them, and check that all give our answers; end them at the end."""
    found = Field()
    starts: dict[str, Callable[[Subject], Running]] = {OURS: start_ours}
    starts |= {name: ALL_PEERS[name].start for name in peers}
    with ExitStack() as stack:
        for name, start in starts.items():
            try:
                running = start(subject)
            except (NotInstalled, NotStarted) as fault:
                if name == OURS:
                    raise
                found.missing[name] = str(fault)
                console.print(f"[red]{name} isn't measured: {fault}[/]")
                continue
            stack.callback(running.stop)
            found.running[name] = running
            told = "" if name == OURS else ", ".join(f"{key} {value}" for key, value in running.facts.items())
            console.print(f"{name} is up{told and ': '}{told}")
        _check(found, console)
        for running in found.running.values():
            for connections in WARM_CONNECTIONS:
                closed.drive(running.endpoint, connections, warm_s)
            settle(running)
        found.idle_cores = _idle(found)
        for side, running in found.running.items():
            running.restless = found.idle_cores[side] > RESTLESS
            if running.restless:
                running.process.pause()
        console.print("idle, in cores: " + ", ".join(f"{side} {cores:.3f}" for side, cores in found.idle_cores.items()))
        yield found


@contextmanager
def turn(running: Running) -> Iterator[None]:
    """Give one side its turn; it has answered some requests before it counts."""
    if running.restless:
        running.process.resume()
    try:
        for body in running.endpoint.bodies[:SETTLING]:
            post(running.endpoint, body)
        yield
    finally:
        settle(running)
        if running.restless:
            running.process.pause()


def settle(running: Running) -> None:
    """Wait until a side has done what wrk left behind: it drops its connections, the requests stay in queues."""
    until = time.monotonic() + MOST_SETTLING_S
    while time.monotonic() < until:
        before = running.process.usage().cpu_s
        time.sleep(WATCHED_S)
        if running.process.usage().cpu_s - before < QUIET * WATCHED_S:
            return


def _check(found: Field, console: Console) -> None:
    """Leave out a peer whose answers differ from ours: it would be measured at something else."""
    right = classes(found.running[OURS])
    for name in list(found.running):
        try:
            given = classes(found.running[name])
        except NotStarted as fault:
            reason = str(fault)
        else:
            if given == right:
                continue
            reason = f"other answers than ours: {given}, and {right}"
        found.missing[name] = reason
        console.print(f"[red]{name} isn't measured: {reason}[/]")
        found.running.pop(name).stop()


def _idle(found: Field) -> dict[str, float]:
    before = {name: running.process.usage().cpu_s for name, running in found.running.items()}
    started = time.monotonic()
    time.sleep(IDLE_S)
    took = time.monotonic() - started
    return {name: (running.process.usage().cpu_s - before[name]) / took for name, running in found.running.items()}


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise the rounds."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{shown(self.median)} [dim]{shown(self.least)}-{shown(self.most)}[/]"


def shown(value: float) -> str:
    """Write a number with three digits that count."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
