"""A trace is never larger than it may be, and what is added up or left out is told."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from stepscope.core.spans import Span
from stepscope.tracing.capping import REPEATS, capped
from tests.tracing.spans import trees


@given(trees(), st.integers(1, 70))
def test_a_bound_is_kept_and_nothing_is_lost_untold(spans, limit):
    before = copy.deepcopy(spans)
    kept, dropped = capped(spans, limit)
    assert len(kept) == min(limit, len(kept))
    counted = sum(int(span.tags.get(REPEATS, 1)) for span in kept)
    assert counted <= len(before)
    if not dropped:
        assert counted == len(before)
    if len(before) <= limit:
        assert kept == before


@given(trees(), st.integers(1, 70))
def test_what_is_kept_hangs_together(spans, limit):
    kept, _ = capped(spans, limit)
    known = {span.span_id for span in kept}
    assert len(known) == len(kept)
    assert all(not span.parent_id or span.parent_id in known for span in kept)


@given(trees(), st.integers(1, 70))
def test_times_of_repeats_add_up(spans, limit):
    total = sum(span.duration_ns for span in spans)
    kept, dropped = capped(spans, limit)
    assert dropped or sum(span.duration_ns for span in kept) == total


def test_the_deepest_repeats_go_first():
    root = Span(span_id="a", name="root", start_ns=0, duration_ns=100)
    layers = [Span(span_id=f"l{n}", parent_id="a", name="conv", level=3, start_ns=n, duration_ns=1) for n in range(3)]
    kernels = [
        Span(span_id=f"k{n}{m}", parent_id=f"l{n}", name="gemm", level=5, start_ns=n, duration_ns=1)
        for n in range(3)
        for m in range(5)
    ]
    kept, dropped = capped([root, *layers, *kernels], 7)
    assert dropped == 0
    assert sorted(span.name for span in kept) == ["conv"] * 3 + ["gemm"] * 3 + ["root"]
    assert {span.tags[REPEATS] for span in kept if span.name == "gemm"} == {5}
