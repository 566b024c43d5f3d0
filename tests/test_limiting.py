"""A limiter lets through what its law allows, whatever comes when, and from however many threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llmon.limiting import MOST, Bucket, Limiter, burst
from otel_llmon.testing import Clock

rates = st.floats(0.001, 50)
arrivals = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 200)), min_size=1, max_size=30)


def passed(rate, bunches):
    """When things passed: of bunches of a number of things, each a while after the one before."""
    clock = Clock()
    bucket = Bucket(lambda: rate, clock)
    times = list(accumulate(gap for gap, _ in bunches))
    found = []
    for now, (_, size) in zip(times, bunches, strict=True):
        clock.now = now
        found += [now for _ in range(size) if bucket.take()]
    return found


@given(rates, arrivals)
def test_no_stretch_of_time_lets_more_through_than_a_burst_and_the_rate(rate, bunches):
    """Between any two moments, these two included."""
    ahead = [number - rate * now for number, now in enumerate(passed(rate, bunches))]
    least = accumulate(ahead, min)
    assert all(last - first + 1 <= burst(rate) + 1e-6 for last, first in zip(ahead, least, strict=True))


@given(st.integers(1, 50), st.floats(0, 1e6))
def test_a_whole_burst_passes_at_first(rate, start):
    """And not one more at the same moment."""
    clock = Clock(start)
    bucket = Bucket(lambda: rate, clock)
    size = int(burst(rate))
    assert [bucket.take() for _ in range(size + 3)] == [True] * size + [False] * 3


@given(st.floats(0.5, 50), st.integers(1, 50))
def test_what_keeps_to_the_rate_passes(rate, count):
    """After the burst is used up, one thing every 1/rate seconds."""
    clock = Clock()
    bucket = Bucket(lambda: rate, clock)
    while bucket.take():
        pass
    for _ in range(count):
        clock.now += 1.001 / rate
        assert bucket.take()


def test_after_a_quiet_time_nearly_a_burst_passes_again():
    """Less the few tokens that lie ready."""
    clock = Clock()
    bucket = Bucket(lambda: 100, clock)
    while bucket.take():
        pass
    clock.now += 1e6
    assert 1000 - 16 <= sum(bucket.take() for _ in range(2000)) <= 1000


def test_without_a_rate_everything_passes():
    """0 is no limit; a rate that is set later is kept from then on."""
    rate = 0.0
    clock = Clock()
    bucket = Bucket(lambda: rate, clock)
    assert all(bucket.take() for _ in range(10_000))
    rate = 1.0
    assert sum(bucket.take() for _ in range(100)) <= burst(1.0)


@pytest.mark.parametrize("rate", [1e-300, 1e300, 1.7e308])
def test_a_rate_may_be_any_number(rate):
    """One passes at least."""
    assert Bucket(lambda: rate, Clock()).take()


def test_a_clock_that_goes_back_earns_nothing():
    """And a later one does."""
    clock = Clock(100.0)
    bucket = Bucket(lambda: 1.0, clock)
    while bucket.take():
        pass
    clock.now = 50.0
    assert not bucket.take()
    clock.now = 101.5
    assert bucket.take()


def test_threads_together_take_no_more_than_there_is():
    """Each token goes to one of them."""
    bucket = Bucket(lambda: 500, Clock())
    with ThreadPoolExecutor(8) as threads:
        taken = sum(threads.map(lambda _: sum(bucket.take() for _ in range(5000)), range(8)))
    assert taken == 5000


def test_kinds_have_buckets_of_their_own_until_there_are_too_many():
    """A name made anew for each thing costs no memory for ever: those share one bucket."""
    limiter = Limiter(lambda: 0.1, Clock())
    for number in range(MOST):
        assert limiter.of(number).take()
    assert sum(limiter.of(("more", number)).take() for number in range(100)) == 1
    assert not limiter.of(0).take()
    limiter.forget()
    assert limiter.of(0).take()
