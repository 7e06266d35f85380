import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepscope.core.tuning import (
    EAGER,
    WAYS,
    Candidate,
    Execution,
    Form,
    Precision,
    Timing,
    Verdict,
    Way,
    choose,
    contenders,
    ladder,
    largest_measured,
    step_of,
    thread_counts,
)


def candidate(way: str, *speedups: float, verdict: Verdict = Verdict.SLOWER) -> Candidate:
    sizes = (1, 64)
    timings = [
        Timing(batch_size=size, threads=1, latency_ms=1.0, speedup=speedup)
        for size, speedup in zip(sizes, speedups, strict=False)
    ]
    return Candidate(way=way, timings=tuple(timings), verdict=verdict)


def chosen(*candidates: Candidate) -> list[str]:
    return [one.way for one in choose([candidate("eager", 1.0, 1.0), *candidates], [1, 64])]


def test_ways_are_named_by_what_is_unusual_about_them() -> None:
    assert str(EAGER) == "eager"
    assert str(Way(channels_last=True)) == "channels_last"
    assert str(Way(Form.FROZEN, channels_last=True, precision=Precision.BF16)) == "frozen_channels_last_bf16"
    assert all(str(way) == name for name, way in WAYS.items())
    assert len(WAYS) == (len(Form) - 1) * 2 * len(Precision) + 1
    assert [name for name in WAYS if "native" in name] == ["native"]


def test_the_fastest_way_is_chosen_for_each_size() -> None:
    assert chosen(candidate("frozen", 2.0, 1.5), candidate("channels_last", 1.2, 3.0)) == ["frozen", "channels_last"]


def test_one_way_for_all_sizes_is_preferred_where_it_costs_next_to_nothing() -> None:
    assert chosen(candidate("frozen", 2.0, 2.96), candidate("channels_last", 1.2, 3.0)) == ["frozen", "frozen"]


def test_eager_stays_unless_another_way_is_worth_its_memory() -> None:
    assert chosen(candidate("frozen", 1.03, 1.04)) == ["eager", "eager"]
    assert chosen(candidate("frozen", 1.03, 1.2)) == ["frozen", "frozen"]
    assert chosen(candidate("frozen", 0.5, 1.2)) == ["eager", "frozen"]


def test_what_was_not_measured_is_not_chosen() -> None:
    assert chosen(candidate("frozen"), candidate("channels_last", 9.0)) == ["eager", "eager"]


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), max_size=6))
def test_the_choice_is_never_much_slower_than_the_fastest(pairs: list[tuple[float, float]]) -> None:
    table = [candidate("eager", 1.0, 1.0), *[candidate(f"way{at}", *pair) for at, pair in enumerate(pairs)]]
    for size, one in zip((1, 64), choose(table, [1, 64]), strict=True):
        assert one.speedup(size) * 1.06 >= max(each.speedup(size) for each in table)


def test_the_fastest_at_one_size_is_still_a_contender_after_it_gave_way() -> None:
    table = [candidate("eager", 1.0, 1.0), candidate("frozen", 2.0, 2.9), candidate("even", 1.95, 3.0)]
    assert [one.way for one in choose(table, [1, 64])] == ["even", "even"]
    later = candidate("channels_last", 1.2, 4.0)
    assert [one.way for one in choose([*table, later], [1, 64])] == ["frozen", "channels_last"]
    assert "frozen" in {one.way for one in contenders(table, [1, 64])}


@given(st.lists(st.tuples(st.floats(0.9, 1.2), st.floats(0.9, 1.2)), max_size=8))
def test_nothing_that_is_chosen_at_the_end_was_given_back_before(pairs: list[tuple[float, float]]) -> None:
    table: list[Candidate] = []
    kept = {"eager"}
    for at, pair in enumerate([(1.0, 1.0), *pairs]):
        way = f"way{at}" if at else "eager"
        table.append(candidate(way, *pair))
        kept = {one.way for one in contenders(table, [1, 64])} & (kept | {way}) | {"eager"}
    assert {one.way for one in choose(table, [1, 64])} <= kept


def test_thread_counts_are_powers_of_two_and_all_cores() -> None:
    assert [thread_counts(cores) for cores in (1, 2, 6, 16)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8, 16]]


def test_the_measured_batch_is_bounded_by_time() -> None:
    assert largest_measured(0.001, 64) == 64
    assert largest_measured(0.001, 50) == 50
    assert largest_measured(0.1, 64) == 4
    assert largest_measured(10.0, 64) == 2
    assert largest_measured(10.0, 1) == 1


@given(st.integers(1, 4096))
def test_the_ladder_holds_every_batch_with_little_padding(cap: int) -> None:
    steps = ladder(cap)
    assert steps[-1] == cap
    assert steps == sorted(set(steps))
    for count in {1, cap, max(1, cap // 2), max(1, cap - 1), max(1, cap // 3)}:
        step = step_of(steps, count)
        assert count <= step <= max(2 * count - 1, count)
        assert count < 8 or step <= count * 1.5
    with pytest.raises(ValueError, match="larger than"):
        step_of(steps, cap + 1)


def test_the_speedup_shown_is_that_of_the_choice() -> None:
    table = (candidate("eager", 1.0, 1.0), candidate("frozen", 2.0, 3.0, verdict=Verdict.CHOSEN))
    assert Execution(candidates=table).speedup == 3.0
    assert Execution().speedup == 1.0
