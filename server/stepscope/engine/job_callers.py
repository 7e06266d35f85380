"""Workers that wait for jobs: the one that came first is woken first, and for one job only one of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from stepscope.engine.signals import Signal


class Callers:
    """Who waits for jobs of which queue."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Signal, None]] = {}

    @contextmanager
    def waiting(self, kind: str) -> Iterator[Signal]:
        """Lend an event that is set when it is worth to look for a job. Who leaves with it set wakes another one."""
        event = Signal()
        self._waiting.setdefault(kind, {})[event] = None
        try:
            yield event
        finally:
            del self._waiting[kind][event]
            if not self._waiting[kind]:
                del self._waiting[kind]
            elif event.is_set():
                self.wake(kind, 1)

    def wake(self, kind: str, count: int) -> None:
        """Wake as many as there are new jobs."""
        asleep = (event for event in self._waiting.get(kind, {}) if not event.is_set())
        for event, _ in zip(asleep, range(count), strict=False):
            event.set()

    def wake_all(self) -> None:
        """Wake everybody: there may be jobs that nobody told of."""
        for kind, events in self._waiting.items():
            self.wake(kind, len(events))
