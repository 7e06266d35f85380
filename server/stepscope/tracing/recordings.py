"""A recorder packed into bytes: what the archive keeps. Spans are made of it when somebody reads them."""

import zlib

import msgspec

from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import BatchRecord, Mark, Note, Recorder, Sample, TagValue
from stepscope.core.spans import Span

COMPRESSED_FROM = 4096
"""Bytes from which packing tighter is worth its time."""
_ZLIB = b"\x78"
"""How compressed bytes begin; nothing that is packed here begins so otherwise."""
_FAST = 1


class Batch(msgspec.Struct, array_like=True):
    """One batch as one of its requests sees it: the marks are those up to the request's level."""

    number: int
    size: int
    level: int
    started: float
    ended: float
    marks: list[Mark]
    samples: list[Sample]
    tags: dict[str, TagValue]
    links: list[tuple[str, str]]


class Recording(msgspec.Struct, array_like=True, tag="recording"):
    """One request that was traced."""

    trace_id: str
    span_id: str
    parent_id: str
    operation: str
    owner: str
    level: int
    epoch_ns: int
    started: float
    ended: float
    tags: dict[str, TagValue]
    inputs: list[str]
    notes: list[Note]
    batches: list[Batch]


class Foreign(msgspec.Struct, array_like=True, tag="foreign"):
    """Spans that another program sent, such as a client's own."""

    trace_id: str
    owner: str
    spans: list[Span]


Part = Recording | Foreign
"""What one trace is made of: a recording for each request, and the spans that others sent."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Part] = msgspec.msgpack.Decoder(Part)


Batches = dict[tuple[int, int], Batch]
"""Batches by their number and the level that they are seen at: requests share them."""


def recording_of(recorder: Recorder, batches: Batches) -> Recording:
    """Return what a recorder noted, without what is deeper than its own level; `batches` has those made before."""
    return Recording(
        recorder.trace_id,
        recorder.span_id,
        recorder.parent_id,
        recorder.operation,
        recorder.owner,
        int(recorder.level),
        recorder.epoch_ns,
        recorder.started,
        recorder.ended,
        recorder.tags,
        recorder.inputs,
        recorder.notes,
        [_batch(batch, recorder.level, batches) for batch in recorder.batches],
    )


def pack(part: Part) -> bytes:
    """Return a part as bytes."""
    data = _encoder.encode(part)
    return zlib.compress(data, _FAST) if len(data) >= COMPRESSED_FROM else data


def unpack(data: bytes) -> Part:
    """Return the part that was packed. Raises `msgspec.DecodeError` or `zlib.error` for other bytes."""
    return _decoder.decode(zlib.decompress(data) if data[:1] == _ZLIB else data)


def _batch(batch: BatchRecord, level: int, batches: Batches) -> Batch:
    made = batches.get((batch.number, level))
    if made is None:
        made = batches[batch.number, level] = _seen(batch, level)
    return made


def _seen(batch: BatchRecord, level: int) -> Batch:
    return Batch(
        batch.number,
        batch.size,
        int(batch.level),
        batch.started,
        batch.ended,
        _visible(batch.marks, level),
        batch.samples if level >= TraceLevel.HARDWARE_TRACE else [],
        batch.tags,
        batch.links,
    )


def _visible(marks: list[Mark], level: int) -> list[Mark]:
    """Leave out marks that are too deep, and put what remains below the nearest that is left."""
    if all(mark[1] <= level for mark in marks):
        return marks
    places: dict[int, int] = {}
    kept: list[Mark] = []
    for place, mark in enumerate(marks):
        if mark[1] <= level:
            places[place] = len(kept)
            kept.append(mark)
    return [(*mark[:4], _above(mark[4], marks, places), mark[5]) for mark in kept]


def _above(parent: int, marks: list[Mark], places: dict[int, int]) -> int:
    while parent >= 0 and parent not in places:
        parent = marks[parent][4]
    return places[parent] if parent >= 0 else parent
