"""Recorders and spans for tests, as the engine makes them."""

from typing import Any

from hypothesis import strategies as st

from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import BatchRecord, Recorder
from stepscope.core.spans import Span

EPOCH_NS = 1_790_000_000_000_000_000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def recorder(
    number: int = 1, *, level: TraceLevel = TraceLevel.APPLICATION_TRACE, inputs: int = 1, trace: str = ""
) -> Recorder:
    """A request that decoded and predicted its inputs in one batch."""
    made = Recorder((trace or f"{number:032x}", f"{number:016x}", ""), level, "anonymous", 10.0 + number)
    made.epoch_ns, made.operation, made.ended = EPOCH_NS, "POST /api/predict/images", 10.01 + number
    made.inputs = [f"in-{place}" for place in range(inputs)]
    record = BatchRecord(inputs, [made])
    record.started, record.ended = made.started + 0.002, made.started + 0.004
    made.batches.append(record)
    for place in range(inputs):
        made.note("decode", made.started + 0.001, made.started + 0.002, place)
        made.note("predict", record.started, record.ended, place, record.number)
    return made


@st.composite
def trees(draw: Any, most: int = 60) -> list[Span]:
    """Spans whose parents come before them, within their times."""
    spans: list[Span] = []
    for number in range(draw(st.integers(1, most))):
        parent = spans[draw(st.integers(0, len(spans) - 1))] if spans and draw(st.integers(0, 9)) else None
        start = draw(st.integers(parent.start_ns, parent.end_ns)) if parent else draw(st.integers(0, 1000))
        spans.append(
            Span(
                span_id=f"{number + 1:016x}",
                parent_id=parent.span_id if parent else "",
                name=draw(st.sampled_from("abc")),
                level=max(parent.level if parent else 1, draw(st.integers(1, 7))),
                start_ns=start,
                duration_ns=draw(st.integers(0, parent.end_ns - start)) if parent else draw(st.integers(0, 1000)),
                service="test",
            )
        )
    return spans
