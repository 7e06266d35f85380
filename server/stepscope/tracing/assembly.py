"""From recordings to spans. Ids come from the request's own span id, so that every reading gives the same ones."""

from collections.abc import Callable, Sequence

from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import SETUP, Mark, Note, Sample, Tags, TagValue
from stepscope.core.spans import Log, Span
from stepscope.tracing.recordings import Batch, Foreign, Part, Recording

BATCH = "batch"
HARDWARE = "hardware"
_MASK = 2**64 - 1


def spans_of(part: Part, service: str) -> list[Span]:
    """Return the spans of a part, the request's own first; `service` is what this server is called."""
    if isinstance(part, Foreign):
        return list(part.spans)
    return _Assembly(part, service).spans()


def span_ids(seed: str) -> Callable[[], str]:
    """Return a source of span ids that follow from one (SplitMix64: Steele, Lea, Flood, 2014)."""
    state = int(seed, 16)

    def following() -> str:
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return f"{(mixed ^ (mixed >> 31)) or 1:016x}"

    return following


class _Assembly:
    """One recording's spans in the making."""

    def __init__(self, recording: Recording, service: str) -> None:
        self._recording = recording
        self._service = service
        self._new_id = span_ids(recording.span_id)

    def spans(self) -> list[Span]:
        recording = self._recording
        root = self._span(recording.operation, recording.started, recording.ended, recording.parent_id, recording.tags)
        root.span_id, root.kind = recording.span_id, "server"
        batches = {batch.number: self._batch(batch) for batch in recording.batches}
        steps = [self._step(note, batches) for note in recording.notes]
        found = [root, *steps, *(span for spans in batches.values() for span in spans)]
        root.tags["requested_level"] = TraceLevel(recording.level).name
        return found

    def _step(self, note: Note, batches: dict[int, list[Span]]) -> Span:
        name, started, ended, place, detail = note
        tags: dict[str, TagValue] = {}
        if place >= 0:
            tags["input"] = place
            if place < len(self._recording.inputs):
                tags["input_id"] = self._recording.inputs[place]
        if isinstance(detail, int):
            if detail in batches:
                tags[BATCH] = batches[detail][0].span_id
        elif detail:
            tags.update(detail)
        return self._span(name, started, ended, self._recording.span_id, tags)

    def _batch(self, batch: Batch) -> list[Span]:
        """Return a batch's span, followed by those of its marks."""
        tags: dict[str, TagValue] = {
            "batch_size": batch.size,
            "ran_at_level": TraceLevel(batch.level).name,
            **batch.tags,
        }
        own = self._span(BATCH, batch.started, batch.ended, self._recording.span_id, tags)
        own.links = batch.links
        spans = [own]
        marked: list[Span] = []
        for mark in batch.marks:
            marked.append(self._mark(mark, marked, own))
        if batch.samples:
            spans.append(self._counters(batch.samples, own))
        return spans + marked

    def _mark(self, mark: Mark, before: Sequence[Span], batch: Span) -> Span:
        name, level, started, ended, parent, tags = mark
        above = self._recording.span_id if parent == SETUP else batch.span_id
        span = self._span(name, started, ended, before[parent].span_id if parent >= 0 else above, tags)
        span.level = level
        return span

    def _counters(self, samples: Sequence[Sample], batch: Span) -> Span:
        """Return the span of the counters: each sample as a log, their mean and largest value as tags."""
        tags: dict[str, TagValue] = {"samples": len(samples)}
        for name in dict.fromkeys(key for _, values in samples for key in values):
            found = [values[name] for _, values in samples if name in values]
            tags[f"{name}.mean"] = round(sum(found) / len(found), 3)
            tags[f"{name}.max"] = round(max(found), 3)
        span = self._span(HARDWARE, samples[0][0], samples[-1][0], batch.span_id, tags)
        span.level = TraceLevel.HARDWARE_TRACE
        span.logs = [Log(self._ns(at), dict(values)) for at, values in samples]
        return span

    def _span(self, name: str, started: float, ended: float, parent: str, tags: Tags) -> Span:
        start_ns = self._ns(started)
        return Span(
            span_id=self._new_id(),
            parent_id=parent,
            name=name,
            start_ns=start_ns,
            duration_ns=max(0, self._ns(ended) - start_ns),
            tags=dict(tags),
            service=self._service,
        )

    def _ns(self, time_s: float) -> int:
        return self._recording.epoch_ns + round(time_s * 1e9)
