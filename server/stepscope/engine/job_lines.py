"""Where jobs stand in their queues: read for all that are asked for at once, so that many who ask cost as one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

SHARE = 20
"""A reading is followed by a pause so many times as long, within these bounds: long queues take longer to read."""
SHORTEST_S, LONGEST_S = 0.05, 1.0
ASKED_S = 5.0
"""A job that wasn't asked for so long is left out of the next reading."""

ReadPlaces = Callable[[str, Sequence[str]], Awaitable[Sequence[int]]]


@dataclass(slots=True)
class _Line:
    asked_s: dict[str, float] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    fresh_until_s: float = 0.0
    reading: "asyncio.Task[None] | None" = None


class Lines:
    """Jobs' places in their queues, at most about a second old."""

    def __init__(self, read: ReadPlaces) -> None:
        self._read = read
        self._lines: dict[str, _Line] = {}

    async def place(self, kind: str, job_id: str) -> int:
        """Return a job's place: 1 is next, 0 is none. Raises `StoreUnavailable`."""
        line = self._lines.setdefault(kind, _Line())
        line.asked_s[job_id] = time.monotonic()
        while job_id not in line.places or time.monotonic() >= line.fresh_until_s:
            if line.reading is None:
                line.reading = asyncio.create_task(self._read_line(kind, line))
                line.reading.add_done_callback(_seen)
            await asyncio.shield(line.reading)
            if job_id in line.places:
                break
        return line.places[job_id]

    async def _read_line(self, kind: str, line: _Line) -> None:
        try:
            await asyncio.sleep(max(0.0, line.fresh_until_s - time.monotonic()))
            started_s = time.monotonic()
            line.asked_s = {key: at_s for key, at_s in line.asked_s.items() if at_s > started_s - ASKED_S}
            ids = list(line.asked_s)
            line.places = dict(zip(ids, await self._read(kind, ids), strict=True))
            now_s = time.monotonic()
            line.fresh_until_s = now_s + min(max(SHARE * (now_s - started_s), SHORTEST_S), LONGEST_S)
        finally:
            line.reading = None


def _seen(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()  # those who waited for it may all be gone
