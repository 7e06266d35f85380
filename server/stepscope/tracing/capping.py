"""At most so many spans in a trace: repeats are added up, deepest first; what is still too much is left out.

A viewer gets slow with thousands of spans, and nobody reads two thousand calls of the same kernel. Repeats are spans
of one name and level below one parent: the first stands for all of them, its duration is the sum of theirs, and the
tag `repeats` counts them.
"""

from collections.abc import Sequence

from stepscope.core.predictions import TraceLevel
from stepscope.core.spans import Span, children_of

REPEATS = "repeats"
DROPPED = "dropped"


def capped(spans: Sequence[Span], limit: int) -> tuple[list[Span], int]:
    """Return at most `limit` spans, and how many were left out for good (repeats that were added up aren't)."""
    kept = list(spans)
    for level in sorted((level for level in TraceLevel if level), reverse=True):
        if len(kept) <= limit:
            return kept, 0
        kept = _merged(kept, level)
    if len(kept) <= limit:
        return kept, 0
    return _largest(kept, limit), len(kept) - limit


def _merged(spans: Sequence[Span], level: int) -> list[Span]:
    """Add up the repeats among all spans of a level or deeper."""
    roots, children = children_of(spans)
    merged = list(roots)
    ahead = [[root] for root in roots]
    while ahead:
        group = ahead.pop()
        below = [child for span in group for child in children.get(span.span_id, ())]
        for same in _groups(below, level):
            merged.append(_sum_of(same, group[0].span_id))
            ahead.append(same)
    return merged


def _groups(spans: Sequence[Span], level: int) -> list[list[Span]]:
    groups: dict[object, list[Span]] = {}
    for place, span in enumerate(spans):
        key = (span.name, span.level) if span.level >= level else place
        groups.setdefault(key, []).append(span)
    return list(groups.values())


def _sum_of(spans: Sequence[Span], parent_id: str) -> Span:
    first = spans[0]
    if len(spans) == 1:
        if first.parent_id != parent_id:
            first.parent_id = parent_id
        return first
    count = sum(_repeats(span) for span in spans)
    return Span(
        span_id=first.span_id,
        parent_id=parent_id,
        name=first.name,
        level=first.level,
        start_ns=min(span.start_ns for span in spans),
        duration_ns=sum(span.duration_ns for span in spans),
        kind=first.kind,
        tags={**first.tags, REPEATS: count},
        links=first.links,
        service=first.service,
    )


def _repeats(span: Span) -> int:
    told = span.tags.get(REPEATS)
    return told if isinstance(told, int) else 1  # a client's own tags are texts


def _largest(spans: Sequence[Span], limit: int) -> list[Span]:
    """Keep the roots, then what took longest; whose parent is left out goes too."""
    roots, children = children_of(spans)
    kept = sorted(roots, key=lambda span: -span.duration_ns)[:limit]
    ahead = [child for span in kept for child in children.get(span.span_id, ())]
    while ahead and len(kept) < limit:
        ahead.sort(key=lambda span: -span.duration_ns)
        taken = ahead[: limit - len(kept)]
        kept += taken
        ahead = [child for span in taken for child in children.get(span.span_id, ())]
    return kept
