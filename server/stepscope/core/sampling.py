"""Which requests are traced although they ask for no level: some each second, whatever the load."""


class RateSampler:
    """Lets a number of requests a second through, at even distances. Knows no clock of its own."""

    __slots__ = ("_distance_s", "_next_s")

    def __init__(self, per_s: float) -> None:
        """Take the rate; 0 is none at all."""
        self._distance_s = 1 / per_s if per_s > 0 else float("inf")
        self._next_s = 0.0 if per_s > 0 else float("inf")

    def take(self, now_s: float) -> bool:
        """Say whether a request at this time is one of them; times never go back."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._distance_s
        return True
