"""Laws that hold for all values, not only for those that somebody thought of."""

from __future__ import annotations

import functools
import math
import operator
from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from otel_llmon import telemetry
from otel_llmon.metering import cells
from otel_llmon.metering.points import MOST_BUCKETS, merged
from otel_llmon.metering.values import plain

durations = st.floats(0, 1e12, allow_nan=False)
edges = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20, unique=True).map(lambda found: tuple(sorted(found)))


def refused(_: object) -> None:
    """Refuse everything."""


@given(st.lists(durations, max_size=50), edges)
def test_a_histogram_holds_every_value_in_its_bucket(values, bounds):
    """Count, sum, extremes and buckets agree with a plain computation."""
    series = cells.HistogramSeries({}, refused, bounds)
    for value in values:
        series.record(value)
    seen = series.read()
    if not values:
        assert seen is None
        return
    assert sum(seen.buckets.values()) == len(values)
    assert math.isclose(seen.sum, math.fsum(values), rel_tol=1e-9, abs_tol=1e-9)
    assert (seen.low, seen.high) == (min(values), max(values))
    for bucket, count in seen.buckets.items():
        assert count == sum(bisect_left(bounds, value) == bucket for value in values)


@given(st.floats(1e-300, 1e300))
def test_an_exponential_bucket_contains_its_value(value):
    """Bucket i is (2^(i/64), 2^((i+1)/64)]; the last bit of a logarithm may go either way."""
    bucket = cells.exponential(value)
    exact = math.log2(value) * (1 << cells.SCALE)
    assert bucket - 1e-6 * abs(exact) - 1e-6 <= exact <= bucket + 1 + 1e-6 * abs(exact) + 1e-6


@given(st.dictionaries(st.integers(-70_000, 70_000) | st.just(cells.ZERO), st.integers(1, 9), max_size=300))
def test_merging_exponential_buckets_keeps_every_count(buckets):
    """At most 160 buckets, and none of the values lost or moved to a neighbour."""
    scale, offset, counts = merged(buckets)
    shift = cells.SCALE - scale
    assert len(counts) <= MOST_BUCKETS
    expected: dict[int, int] = {}
    for bucket, count in buckets.items():
        if bucket != cells.ZERO:
            expected[bucket >> shift] = expected.get(bucket >> shift, 0) + count
    assert {offset + place: count for place, count in enumerate(counts) if count} == expected


@given(st.lists(st.integers(0, 2**80) | st.floats(0, 1e300)))
def test_a_counter_is_the_sum_of_what_it_took(values):
    """Whole numbers stay whole, and nothing is refused that is finite and not negative."""
    series = cells.CountSeries({}, refused)
    for value in values:
        series.add(value)
    expected = functools.reduce(operator.add, values) if values else None  # sum() rounds otherwise since 3.12
    assert series.read() == expected


words = st.text(st.characters(exclude_categories=()))  # surrogates too
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(words, inner),
    max_leaves=10,
)


@given(st.dictionaries(words | st.integers(), anything))
def test_cleaned_attributes_are_what_otlp_carries(attributes):
    """Text keys; plain values of bounded size, or sequences of one type of them; cleaning twice changes nothing."""
    cleaned = telemetry.clean(attributes)
    for key, value in cleaned.items():
        assert type(key) is str
        assert key.encode() is not None
        values = value if isinstance(value, list) else [value]
        assert len({type(item) for item in values}) <= 1
        assert all(item is None or type(item) in (str, bool, int, float) for item in values)
        assert all(item.encode() for item in values if type(item) is str and item)
        assert all(-(2**63) <= item < 2**63 for item in values if type(item) is int)
    if not any(isinstance(value, float) and math.isnan(value) for value in cleaned.values()):
        assert telemetry.clean(cleaned) == cleaned


@given(anything)
def test_a_metrics_attribute_value_is_plain_hashable_and_stays_as_it_is(value):
    """Any object becomes a value that a series can have as its key."""
    once = plain(value)
    hash(once)
    assert once is None or type(once) in (str, bool, int, float)
    assert repr(plain(once)) == repr(once)
