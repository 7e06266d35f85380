"""How many inputs may be under way: in all, and for one caller. Counts inputs, not requests."""

from collections import Counter
from dataclasses import dataclass

from stepscope.core.errors import Overloaded, TooManyInputs, TooManyRequests


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """The most inputs that may wait or run, in all and for one owner."""

    in_flight: int = 8192
    per_owner: int = 4096


class Admission:
    """Counts the inputs under way; refuses before any work is done."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._owners: Counter[str] = Counter()
        self._total = 0

    @property
    def total(self) -> int:
        """Inputs under way."""
        return self._total

    def enter(self, owner: str, inputs: int) -> None:
        """Count inputs in. Raises `TooManyInputs`, `Overloaded` or `TooManyRequests`, and then counts nothing."""
        most = min(self._limits.in_flight, self._limits.per_owner)
        if inputs > most:
            raise TooManyInputs(inputs, most)
        if self._total + inputs > self._limits.in_flight:
            raise Overloaded(self._limits.in_flight)
        if self._owners[owner] + inputs > self._limits.per_owner:
            raise TooManyRequests(self._limits.per_owner)
        self._owners[owner] += inputs
        self._total += inputs

    def leave(self, owner: str, inputs: int) -> None:
        """Count inputs out again."""
        self._total -= inputs
        self._owners[owner] -= inputs
        if self._owners[owner] <= 0:
            del self._owners[owner]
