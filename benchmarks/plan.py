"""What a run measures, and for how long."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.sides import ALL_PEERS

QUICK_CONNECTIONS = (1, 32)
CONNECTIONS = (1, 8, 32, 256)
SHARES = (0.25, 0.5, 0.75, 0.9)
"""Offered load in the open loop, by the measured capacity."""
SLOW_PER_S = 100.0
"""Below this many answers a second a model is slow: its points take longer, and 256 connections only queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run."""

    machine: Machine
    scratch: Path
    rounds: int = 5
    seconds: float = 5.0
    quick: bool = False
    peers: Sequence[str] = field(default_factory=lambda: tuple(ALL_PEERS))
    subjects: Sequence[str] = ("lenet",)
    connections: Sequence[int] = CONNECTIONS
    shares: Sequence[float] = SHARES
