from hypothesis import given
from hypothesis import strategies as st

from stepscope.core.sampling import RateSampler


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 0.01), min_size=1, max_size=300))
def test_no_more_than_the_rate_and_at_least_one(rate, gaps):
    sampler, now, taken = RateSampler(rate), 100.0, 0
    for gap in gaps:
        now += gap
        taken += sampler.take(now)
    assert 1 <= taken <= 1 + sum(gaps) * rate


def test_a_rate_of_none_takes_none():
    assert not any(RateSampler(0).take(float(now)) for now in range(1, 100))
