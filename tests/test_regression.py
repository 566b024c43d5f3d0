"""Which build is slower: verdicts from histograms and from runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_llmon.scores import regression
from otel_llmon.scores.regression import Histogram
from otel_llmon.semconv import SECONDS

FINE = tuple(2 ** (power / 16) for power in range(-160, 160))
positive = st.floats(1e-3, 1e6)


def histogram(values, edges=FINE):
    """Count values as an exporter does."""
    return Histogram(edges, np.histogram(values, [-np.inf, *edges, np.inf])[0])


def drawn(seed, count=2000, factor=1.0, spread=0.3):
    """Durations around 0.2 s."""
    return factor * np.random.default_rng(seed).lognormal(np.log(0.2), spread, count)


@pytest.mark.parametrize("quantile", [0.5, 0.95])
@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.3, "regression"), (1.02, "none"), (1.0, "none"), (0.7, "improvement")]
)
def test_thirty_percent_are_a_regression_and_two_are_noise(factor, verdict, quantile):
    """The interval holds the true ratio."""
    found = regression.compare_histograms(histogram(drawn(1)), histogram(drawn(2, factor=factor)), quantile)
    assert found.verdict == verdict
    assert found.low <= factor * 1.02
    assert found.high >= factor * 0.98


def test_noise_is_hardly_ever_taken_for_a_regression():
    """40 pairs of equal builds, and 40 where one is 30 % slower."""
    equal = [regression.compare_histograms(histogram(drawn(n)), histogram(drawn(n + 1000)), 0.5) for n in range(40)]
    slower = [
        regression.compare_histograms(histogram(drawn(n)), histogram(drawn(n + 1000, factor=1.3)), 0.5)
        for n in range(40)
    ]
    assert sum(found.verdict in ("regression", "improvement") for found in equal) <= 1
    assert sum(found.verdict == "regression" for found in slower) >= 39


def test_too_few_samples_are_insufficient():
    """For a p95, a hundred; in either of the two."""
    enough, few = histogram(drawn(1, 100)), histogram(drawn(2, 99, factor=3))
    assert regression.compare_histograms(enough, few).why == "found 99 samples, expected 100 or more in each"
    assert regression.compare_histograms(few, enough).verdict == "insufficient"
    assert regression.compare_histograms(enough, few, 0.5).verdict == "regression"


@pytest.mark.parametrize("zeros", [500, 120, 100])
@pytest.mark.filterwarnings("error")
def test_a_baseline_that_may_take_no_time_is_insufficient(zeros):
    """Nothing is a ratio of it."""
    zero, some = Histogram((0, 1), (zeros, 100, 10)), Histogram((0, 1), (0, 600, 100))
    found = regression.compare_histograms(zero, some, 0.5)
    assert (found.verdict, found.ratio) == ("insufficient", None)
    assert "the baseline's quantile may be 0" in found.why


def test_buckets_that_hide_a_difference_are_insufficient():
    """All between 0.1 and 0.25 s: 2 % and 30 % look alike there."""
    before, after = (histogram(drawn(seed, spread=0.02), SECONDS) for seed in (1, 2))
    found = regression.compare_histograms(before, after)
    assert found.verdict == "insufficient"
    assert "expected finer ones" in found.why
    slow = histogram(drawn(3, factor=1e6), SECONDS)
    assert "above the last edge, 3600" in regression.compare_histograms(slow, slow).why


@settings(max_examples=20)
@given(st.integers(0, 50), st.floats(0.5, 2), st.sampled_from([0.25, 0.5, 0.9]))
def test_the_same_numbers_and_seed_give_the_same_answer(seed, factor, quantile):
    """And a scale of time that is another changes no verdict."""
    before, after = histogram(drawn(1, 300)), histogram(drawn(2, 300, factor))
    found = regression.compare_histograms(before, after, quantile, seed=seed)
    assert found == regression.compare_histograms(before, after, quantile, seed=seed)
    scaled = [Histogram([edge * 1024 for edge in each.edges], each.counts) for each in (before, after)]
    assert regression.compare_histograms(*scaled, quantile, seed=seed) == found


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(1, 3))
def test_slower_is_never_an_improvement(seed, factor):
    """Runs that all take longer by one factor."""
    runs = drawn(seed, 20)
    found = regression.compare_runs(runs, runs * factor)
    assert found.ratio == pytest.approx(factor)
    assert found.verdict != "improvement"
    assert regression.compare_runs(runs * factor, runs).verdict != "regression"


def test_two_commands_are_compared_by_their_medians():
    """Too few runs, and runs that vary too much, allow no verdict."""
    quick, slow = drawn(1, 20, spread=0.05), drawn(2, 20, 1.3, spread=0.05)
    assert regression.compare_runs(quick, slow).verdict == "regression"
    assert regression.compare_runs(quick, drawn(3, 20, 1.01, spread=0.05)).verdict == "none"
    assert regression.compare_runs(slow, quick).verdict == "improvement"
    assert regression.compare_runs(quick, slow, tolerance=2).verdict == "none"
    assert "found 4 runs" in regression.compare_runs(quick, slow[:4]).why
    assert "no time" in regression.compare_runs([0.0] * 9, slow).why
    assert "measure more" in regression.compare_runs(drawn(4, 6, spread=1), drawn(5, 6, spread=1)).why


@settings(max_examples=20)
@given(st.lists(positive, min_size=1, max_size=30))
def test_the_median_lies_in_its_interval(runs):
    """And the interval within the runs."""
    low, high = regression.interval(runs)
    assert min(runs) <= low <= np.median(runs) * (1 + 1e-12)
    assert np.median(runs) * (1 - 1e-12) <= high <= max(runs)


@pytest.mark.parametrize(
    ("before", "after", "quantile", "said"),
    [
        (Histogram([1], [1, 2]), Histogram([2], [1, 2]), 0.5, "different edges"),
        (Histogram([], [1]), Histogram([], [1]), 0.5, "or none"),
        (Histogram([1], [1]), Histogram([1], [1]), 0.5, "expected 2 of them"),
        (Histogram([1], [1, -1]), Histogram([1], [1, 1]), 0.5, "0 or more each"),
        (Histogram([1], [1, 1]), Histogram([1], [1, 1]), 1, "less than 1"),
    ],
)
def test_what_is_no_histogram_is_refused(before, after, quantile, said):
    """With what was found."""
    with pytest.raises(ValueError, match=said):
        regression.compare_histograms(before, after, quantile)


def test_the_interval_of_a_ratio_is_honest():
    """Of 200 pairs whose true ratio is 1.2, 95 % intervals hold it in 90 to 99 %."""
    held = 0
    for seed in range(200):
        found = regression.compare_runs(drawn(seed, 25), drawn(seed + 500, 25, 1.2))
        held += found.low <= 1.2 <= found.high
    assert 180 <= held <= 198
