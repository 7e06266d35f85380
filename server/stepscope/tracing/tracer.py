"""The way of a traced request: begun with a recorder, finished into a bounded queue, kept by a thread of its own.

On the event loop's side a finished request costs one append. The thread sleeps while nothing is traced, and otherwise
wakes some ten times a second, so that it takes many requests at a time and rarely asks for the interpreter.
"""

import logging
import platform
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stepscope.core.access import Trace as TraceIds
from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import Recorder, TagValue
from stepscope.core.sampling import RateSampler
from stepscope.core.spans import Span, Trace, TraceQuery
from stepscope.tracing.archive import Archive, Names, Place
from stepscope.tracing.assembly import BATCH, HARDWARE, spans_of
from stepscope.tracing.capping import capped
from stepscope.tracing.recordings import Batches, Foreign, Part, Recording, recording_of

log = logging.getLogger("stepscope.tracing")

ROUND_S = 0.1
"""How long finished requests are gathered before they are written."""
PURGE_S = 10.0
USUAL_NOTES = 32
"""Notes up to which a request's names are remembered as a whole: most requests are alike."""
MOST_USUAL = 1000
OTHERS_S = 2 * ROUND_S
"""How long a reader waits for what other processes finished; they can't be asked to hurry."""
FLUSH_S = 5.0
"""How long a reader waits for what was finished before it asked."""
DROPPED = "dropped"


@dataclass(slots=True)
class Sent:
    """What became of spans that were to be sent, since the start."""

    exported: int = 0
    dropped: int = 0


class Exporter(Protocol):
    """Where spans go besides."""

    counts: Sent

    def put(self, part: Part) -> None:
        """Take a part to be sent; never waits."""

    def close(self) -> None:
        """Send what is left, and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracerOptions:
    """What is traced, and how much of it is held at a time."""

    service: str = "stepscope"
    sample_per_s: float = 5.0
    """Requests that are traced although they ask for no level."""
    spans: int = 1500
    """Spans of one trace that are shown at most."""
    queue: int = 100_000
    """Notes of finished requests that may wait to be written."""
    shared: bool = False
    """Whether other processes write to the same archive."""


@dataclass(slots=True)
class Counts:
    """What became of traced requests since the start, in notes (a note becomes a span)."""

    kept: int = 0
    dropped: int = 0


@dataclass(slots=True)
class _Queue:
    """What waits to be written. Each number has one thread that changes it, so none needs a lock."""

    parts: deque[Recorder | Foreign] = field(default_factory=deque)
    taken: int = 0
    written: int = 0
    notes_taken: int = 0
    notes_written: int = 0


class Tracer:
    """Begins and finishes traced requests, and reads the traces that are kept. Implements `core.ports.Traces`."""

    def __init__(
        self,
        archive: Archive,
        options: TracerOptions,
        exporter: Exporter | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.counts = Counts()
        self._archive = archive
        self._options = options
        self._exporter = exporter
        self._clock = clock
        self._sampler = RateSampler(options.sample_per_s)
        self._queue = _Queue()
        self._unread_drops = 0
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._written = threading.Condition()
        self._stopped = False
        self._purged_s = 0.0
        self._usual: set[tuple[str, ...]] = set()
        self._thread = threading.Thread(target=self._work, name="tracing", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        tags: dict[str, TagValue] = {"hostname": socket.gethostname(), "os": platform.platform()}
        self._archive.describe(self._options.service, tags)
        self._thread.start()

    def stop(self) -> None:
        """Write what was finished, send what can be sent in a moment, and end."""
        self._stopped = True
        self._hurry.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._exporter is not None:
            self._exporter.close()
        self._archive.close()

    def begin(self, ids: TraceIds, level: TraceLevel | None, owner: str, started: float) -> Recorder | None:
        """Return a recorder for a request that shall be traced; None for the others.

        `level` of None is what a request says that asks for nothing: some of those are traced, by rate. A caller's
        own word that it isn't sampled counts for them, too.
        """
        if level is None:
            if not ids.sampled or not self._sampler.take(started):
                return None
            level = TraceLevel.APPLICATION_TRACE
        elif level is TraceLevel.NO_TRACE:
            return None
        recorder = Recorder((ids.trace_id, ids.span_id, ids.parent_id), level, owner, started)
        recorder.epoch_ns = time.time_ns() - round(self._clock() * 1e9)
        return recorder

    def finish(self, recorder: Recorder) -> None:
        """Take a request that was answered. Drops it, and counts that, when too much waits."""
        recorder.ended = self._clock()
        self._take(recorder, _size(recorder))

    def add(self, trace_id: str, spans: Sequence[Span], owner: str) -> None:
        """Keep spans that a caller made itself."""
        part = Foreign(trace_id, owner, list(spans))
        self._take(part, _size(part))

    def find(self, trace_id: str, owner: str | None, *, whole: bool = False) -> Trace | None:
        """Return a trace as far as an owner may see it (None for the operator, who sees all), bounded or `whole`."""
        self.flush()
        parts = self._archive.parts(trace_id, owner)
        return self._trace(parts, whole=whole) if parts else None

    def search(self, query: TraceQuery, owner: str) -> Sequence[Trace]:
        """Return the newest traces with a span that fits."""
        self.flush()
        return list(self._found(query, owner))

    def names(self, owner: str) -> Mapping[str, Sequence[str]]:
        """Return the names of spans by the service that they are of."""
        self.flush()
        return self._archive.names(owner)

    def read_counts(self) -> Mapping[str, tuple[str, float]]:
        """Return what became of traced requests, for metrics."""
        counts = {
            "stepscope_trace_notes_kept": (
                "Notes of traced requests that were kept; a note becomes a span.",
                self.counts.kept,
            ),
            "stepscope_trace_notes_dropped": ("Notes of traced requests that were dropped.", self.counts.dropped),
        }
        if self._exporter is not None:
            sent = self._exporter.counts
            counts["stepscope_spans_exported"] = ("Spans that a collector took.", sent.exported)
            counts["stepscope_spans_not_exported"] = ("Spans that couldn't be sent to a collector.", sent.dropped)
        return counts

    def flush(self) -> None:
        """Wait until what was finished before is written."""
        queue = self._queue
        wanted = queue.taken
        with self._written:
            self._hurry.set()
            self._written.wait_for(lambda: queue.written >= wanted, FLUSH_S if self._thread.is_alive() else 0)
        if self._options.shared:
            time.sleep(OTHERS_S)

    def _take(self, part: Recorder | Foreign, size: int) -> None:
        queue = self._queue
        if queue.notes_taken - queue.notes_written + size > self._options.queue:
            self.counts.dropped += size
            self._unread_drops += size
            return
        queue.notes_taken += size
        queue.taken += 1
        queue.parts.append(part)
        if not self._wake.is_set():
            self._wake.set()

    def _work(self) -> None:
        while not self._stopped or self._queue.parts:
            self._wake.wait()
            if not self._stopped:
                self._hurry.wait(ROUND_S)
            self._hurry.clear()
            self._wake.clear()
            self._round()

    def _round(self) -> None:
        queue = self._queue
        waiting = [queue.parts.popleft() for _ in range(len(queue.parts))]
        size = sum(_size(part) for part in waiting)
        try:
            batches: Batches = {}
            self._write([recording_of(part, batches) if isinstance(part, Recorder) else part for part in waiting])
            self.counts.kept += size
        except Exception:
            log.exception("%d traced requests can't be written", len(waiting))
            self.counts.dropped += size
        queue.notes_written += size
        with self._written:
            queue.written += len(waiting)
            self._written.notify_all()

    def _write(self, parts: Sequence[Part]) -> None:
        if parts:
            self._tell_drops(parts[0])
            self._archive.put(parts, self._names(parts))
        if self._exporter is not None:
            for part in parts:
                self._exporter.put(part)
        now = time.monotonic()
        if now - self._purged_s > PURGE_S:
            self._purged_s = now
            self._archive.purge()

    def _tell_drops(self, part: Part) -> None:
        """Tag the first request after some that were dropped with their number."""
        if self._unread_drops and isinstance(part, Recording):
            part.tags[DROPPED], self._unread_drops = self._unread_drops, 0

    def _names(self, parts: Sequence[Part]) -> Names:
        names: dict[Place, set[str]] = {}
        for part in parts:
            if self._is_usual(part):
                continue
            if isinstance(part, Foreign):
                for span in part.spans:
                    names.setdefault((part.owner, span.service), set()).add(span.name)
                continue
            found = names.setdefault((part.owner, self._options.service), set())
            found.add(part.operation)
            found.update([note[0] for note in part.notes])
            for batch in part.batches:
                found.add(BATCH)
                found.update([mark[0] for mark in batch.marks], [HARDWARE] if batch.samples else ())
        return names

    def _is_usual(self, part: Part) -> bool:
        """Say whether a request like this one was written before, so that all its names are known."""
        if isinstance(part, Foreign) or len(part.notes) > USUAL_NOTES:
            return False
        if any(batch.marks or batch.samples for batch in part.batches):
            return False
        names = (part.owner, part.operation, *[note[0] for note in part.notes])
        if names in self._usual:
            return True
        if len(self._usual) < MOST_USUAL:
            self._usual.add(names)
        return False

    def _found(self, query: TraceQuery, owner: str) -> Iterator[Trace]:
        left = query.limit
        for parts in self._archive.search(query, owner):
            if not left:
                return
            spans = [span for part in parts for span in spans_of(part, self._options.service)]
            if any(query.matches(span) for span in spans):
                left -= 1
                yield self._trace(parts)

    def _trace(self, parts: Sequence[Part], *, whole: bool = False) -> Trace:
        spans = [span for part in parts for span in spans_of(part, self._options.service)]
        kept, dropped = (spans, 0) if whole else capped(spans, self._options.spans)
        kept.sort(key=lambda span: (span.start_ns, -span.duration_ns))
        known = self._archive.processes()
        services = dict.fromkeys(span.service for span in kept)
        processes = {service: known.get(service, {}) for service in services}
        return Trace(trace_id=parts[0].trace_id, spans=kept, processes=processes, dropped=dropped)


def _size(part: Recorder | Foreign) -> int:
    """Return the notes of a part, of which most spans are made; what happens in batches is bounded elsewhere."""
    return len(part.spans) if isinstance(part, Foreign) else 1 + len(part.notes)
