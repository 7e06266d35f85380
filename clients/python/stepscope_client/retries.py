"""When a refused request is sent again. No clock and no network here."""

import random
from dataclasses import dataclass

_RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and how patiently a refused request (429 or 503 with `Retry-After`) is repeated.

    A refusal that doesn't say when to come back isn't repeated: the server expects no better of another try.
    """

    times: int = 3
    """Tries after the first one."""
    longest_wait_s: float = 30.0
    """Longer waits aren't waited: the caller gets the error, with `retry_after_s`, at once."""

    def wait_s(self, tried: int, retry_after_s: float | None) -> float | None:
        """Return how long to wait before the next try, or None to give up. `tried` counts the tries so far.

        Never less than the server asked for. What is added at random grows with each try, so that callers who were
        refused together don't come back together.
        """
        if retry_after_s is None or tried > self.times or retry_after_s > self.longest_wait_s:
            return None
        return retry_after_s + _RANDOM.uniform(0, min(0.25 * 2.0**tried, self.longest_wait_s))
