"""Remaining times: laws that hold for all loops, and what a person would expect of some."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llmon.scores.eta import METHODS, Estimator, Eta, EtaError
from otel_llmon.scores.history import MOST

methods = st.sampled_from(sorted(METHODS))
waits = st.floats(1e-3, 1e4)
steps = st.tuples(waits, st.integers(0, 50))
jobs = st.lists(steps, max_size=300)
phases = st.lists(st.tuples(st.floats(1, 1e3), st.none() | st.floats(0.1, 100)), max_size=4)


def fed(samples, total, **known):
    """Return an estimator that was told of samples of (wait, items)."""
    estimator = Estimator(total, **known)
    active, done = 0.0, known.get("initial", 0)
    for wait, items in samples:
        active, done = active + wait, done + items
        estimator.add(active, done)
    return estimator


def items_of(seconds, total, **known):
    """Return an estimator that was told of each item, which took so long."""
    return fed([(wait, 1) for wait in seconds], total, **known)


@given(jobs, st.floats(0, 1e5), methods, phases, st.floats(0, 1e6))
def test_a_band_is_finite_ordered_and_never_negative(samples, total, method, declared, later):
    """Whatever a loop does, its remaining time is a number, or nothing is said."""
    estimator = fed(samples, total, method=method, phases=declared)
    eta = estimator.eta(sum(wait for wait, _ in samples) + later)
    if eta is not None:
        assert 0 <= eta.low <= eta.middle <= eta.high < math.inf


@given(waits, st.integers(2, 400), st.integers(1, 500), methods)
def test_a_constant_speed_is_foreseen_exactly(wait, done, ahead, method):
    """Every method says what is left of a loop whose items all take as long."""
    estimator = items_of([wait] * done, done + ahead, method=method)
    assert math.isclose(estimator.eta(wait * done).middle, wait * ahead, rel_tol=1e-6)


@given(st.lists(steps, min_size=1, max_size=150), st.integers(-10, 10), methods, phases)
def test_time_has_no_unit(samples, power, method, declared):
    """A job that takes `scale` times as long has `scale` times as long to go."""
    scale, total = 2.0**power, 10_000  # exact, so that no decision falls the other way
    active = sum(wait for wait, _ in samples)
    eta = fed(samples, total, method=method, phases=declared).eta(active)
    scaled = fed([(wait * scale, items) for wait, items in samples], total, method=method, phases=declared)
    other = scaled.eta(sum(wait * scale for wait, _ in samples))
    assert (eta is None) == (other is None)
    if eta is not None:
        assert all(
            math.isclose(a * scale, b, rel_tol=1e-6, abs_tol=1e-9 * scale) for a, b in zip(eta, other, strict=True)
        )


@pytest.mark.parametrize("wait", [0.001, 1.0, 60.0])
def test_memory_is_bounded(wait):
    """However often an estimator is told, it keeps some points, evenly spread, the first and the last among them."""
    history = items_of([wait] * 20_000, 10**9)._history
    assert MOST / 3 < len(history.times) == len(history.done) < MOST
    assert (history.times[0], history.done[0], history.done[-1]) == (0, 0, 20_000)
    gaps = [after - before for before, after in pairwise(history.times[:-1])]
    assert max(gaps) <= 3 * min(gaps)


@given(jobs)
def test_a_history_only_grows(samples):
    """Its points are in order, none twice, up to the last item."""
    history = fed(samples, 10**9)._history
    assert history.times == sorted(set(history.times))
    assert history.done == sorted(set(history.done))
    assert history.done[-1] == sum(items for _, items in samples)


@given(jobs, st.integers(1, 300))
def test_what_brings_nothing_new_changes_nothing(samples, place):
    """Telling the same twice, or nothing but that time goes by, is the same as telling it once."""
    active = sum(wait for wait, _ in samples)
    once, twice = fed(samples, 10**6), Estimator(10**6)
    at, done = 0.0, 0
    for number, (wait, items) in enumerate(samples):
        at, done = at + wait, done + items
        twice.add(at, done)
        if number % place == 0:
            twice.add(at, done)
            twice.add(math.nan, done + 1)
            twice.add(at, math.inf)
    assert once.eta(active) == twice.eta(active)


@given(jobs.filter(lambda samples: sum(items for _, items in samples)), methods)
def test_a_finished_loop_takes_no_more_time(samples, method):
    """All done is 0 seconds, more than all too."""
    done = sum(items for _, items in samples)
    assert fed(samples, done, method=method).eta() == Eta(0, 0, 0)
    assert fed(samples, done - 1, method=method).eta() == Eta(0, 0, 0)


@pytest.mark.parametrize("total", [None, math.nan, math.inf, -1])
def test_nothing_is_said_of_a_loop_whose_end_nobody_knows(total):
    """A total that is none is unknown."""
    assert items_of([1.0] * 50, total).eta() is None


def test_nothing_is_said_before_the_first_item():
    """Time alone tells nothing."""
    estimator = Estimator(100)
    estimator.add(60, 0)
    assert estimator.eta() is None


def test_a_new_total_counts_at_once():
    """What a loop is told of its total midway holds for the next question."""
    estimator = items_of([2.0] * 40, 100)
    assert estimator.eta().middle == pytest.approx(120)
    estimator.total = 1_040
    assert estimator.eta().middle == pytest.approx(2_000)
    estimator.total = None
    assert estimator.eta() is None


def test_a_resumed_loop_counts_what_it_does_itself():
    """900 of 1,000 items were done before; the 20 since then took 3 seconds each."""
    assert items_of([3.0] * 20, 1_000, initial=900).eta().middle == pytest.approx(240)


def test_items_that_were_there_at_the_start_took_no_time():
    """A loop that says its first 500 items at second 0 has resumed, too."""
    estimator = Estimator(1_000)
    for number in range(21):
        estimator.add(number * 3.0, 500 + number)
    assert estimator.eta().middle == pytest.approx(480 * 3)


def test_a_loop_that_goes_back_starts_afresh():
    """After a reset only the new items count, at the new speed."""
    estimator = items_of([10.0] * 30, 100)
    for number in range(21):
        estimator.add(300 + number, number)
    assert estimator.eta().middle == pytest.approx(80)


def test_a_pause_moves_the_rest_by_less_than_an_item():
    """The caller's clock stands still for 60 seconds, and so does the rest."""
    estimator = items_of([1.0] * 50, 100)
    before = estimator.eta(50.5)
    estimator.add(50.5, 50)  # a minute later on the wall, none in active time
    assert estimator.eta(50.5) == before
    estimator.add(51.0, 51)
    assert abs(estimator.eta(51.0).middle - (before.middle - 0.5)) < 1


@pytest.mark.parametrize("warm_up", [5.0, 60.0, 3_600.0])
def test_a_long_first_item_is_forgotten_at_a_quarter_of_the_way(warm_up):
    """Compiling, loading and filling caches say nothing of the other items."""
    assert items_of([warm_up] + [1.0] * 24, 100).eta().middle == pytest.approx(75, rel=0.02)


def test_a_single_standstill_is_not_expected_again():
    """Two minutes without an item, nobody said why: the others are as they were."""
    assert items_of([1.0] * 30 + [120.0] + [1.0] * 30, 100).eta().middle == pytest.approx(39, rel=0.1)


@pytest.mark.parametrize("before", [20, 50, 100, 300])
def test_twenty_items_after_the_speed_halved_the_rest_is_right(before):
    """Within 15 % of the truth, however long it was fast."""
    estimator = items_of([1.0] * before + [2.0] * 20, before + 200)
    assert estimator.eta().middle == pytest.approx(360, rel=0.15)


def test_nine_fast_items_and_a_slow_one_are_ten_items():
    """Bursts that come and go are the mean of both."""
    one = [0.1] * 9 + [5.0]
    said = [items_of((one * 10)[:done], 200).eta().middle for done in range(60, 100)]
    true = [sum((one * 20)[done:]) for done in range(60, 100)]
    assert sum(said) == pytest.approx(sum(true), rel=0.15)


@pytest.mark.parametrize("end", [4.0, 0.25])
def test_a_steady_change_is_foreseen_to_go_on(end):
    """At half of the items a loop that slows down, or speeds up, is known to do so."""
    waits = [1 + (end - 1) * number / 400 for number in range(400)]
    assert items_of(waits[:200], 400).eta().middle == pytest.approx(sum(waits[200:]), rel=0.1)


def test_the_rest_goes_down_between_items_and_up_once_one_is_overdue():
    """Ten items of 60 seconds: half way through the sixth, and when it should have been done for two minutes."""
    estimator = items_of([60.0] * 5, 10)
    assert estimator.eta(330).middle == pytest.approx(270)
    assert estimator.eta(360).middle == pytest.approx(240)
    assert estimator.eta(480).middle == pytest.approx(300)
    assert estimator.eta(480).high > estimator.eta(360).high


def test_the_band_narrows_as_the_loop_goes_on():
    """The share of the rest that is uncertain goes down with what was seen, of a loop that is as it was."""
    widths = []
    for done in (3, 30, 90):
        eta = items_of([1.0, 1.1, 0.9] * (done // 3), 100).eta()
        widths.append((eta.high - eta.low) / eta.middle)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 2


def test_noise_widens_the_band():
    """Half way through, items of very different sizes leave more open than items that are alike."""
    widths = []
    for noise in (0.0, 1.5):
        eta = items_of([math.exp(noise * math.sin(number * number)) for number in range(60)], 120).eta()
        widths.append(eta.high / eta.low)
    assert widths[1] > 1.3 * widths[0]


def test_the_true_finish_lies_in_the_band_of_most_runs():
    """Of 50 noisy jobs at least four in five end within the band that was said half way, and it is not all there is."""
    inside, widths = 0, []
    for seed in range(50):
        waits = [math.exp(0.5 * math.sin((seed + 1) * 12.9898 * number * number)) for number in range(1, 201)]
        eta = items_of(waits[:100], 200).eta()
        inside += eta.low <= sum(waits[100:]) <= eta.high
        widths.append((eta.high - eta.low) / eta.middle)
    assert inside >= 40
    assert max(widths) < 1.5


SLOW_THEN_FAST = [6.0] * 50 + [1.0] * 450


def test_declared_phases_tell_what_the_past_cannot():
    """Fifty items are six times as slow as the others: the rest is known while nothing but slow ones was seen."""
    seen = SLOW_THEN_FAST[:25]
    assert items_of(seen, 500).eta().middle == pytest.approx(475 * 6)
    assert items_of(seen, 500, phases=[(50, 6.0), (450, 1.0)]).eta().middle == pytest.approx(150 + 450)


def test_a_phase_that_goes_otherwise_than_declared_is_believed():
    """The second phase was declared as ten times too slow; after a fifth of it the rest is what it is."""
    estimator = items_of(SLOW_THEN_FAST[:140], 500, phases=[(50, 6.0), (450, 10.0)])
    assert estimator.eta().middle == pytest.approx(360, rel=0.15)


def test_phases_are_shares_where_the_total_is_another():
    """Phases declared for 100 items hold for 500."""
    small = items_of(SLOW_THEN_FAST[:80], 500, phases=[(10, 6.0), (90, 1.0)])
    assert small.eta() == items_of(SLOW_THEN_FAST[:80], 500, phases=[(50, 6.0), (450, 1.0)]).eta()


def test_an_earlier_run_tells_before_the_first_item():
    """A profile goes through JSON, and holds for twice as many items on a machine half as fast."""
    profile = json.loads(json.dumps(items_of(SLOW_THEN_FAST, 500).profile()))
    assert Estimator(500, profile=profile).eta().middle == pytest.approx(750)
    twice = items_of([12.0] * 60, 1_000, profile=profile)
    assert twice.eta().middle == pytest.approx(40 * 12 + 900 * 2, rel=0.1)
    assert len(json.dumps(profile)) < 2_000


@given(jobs)
def test_a_profile_is_small_and_grows_from_nothing_to_all(samples):
    """Whatever a run was, its profile is one that a later run takes."""
    done = sum(items for _, items in samples)
    profile = fed(samples, done).profile()
    if profile is not None:
        assert 2 <= len(profile["course"]) <= 35
        assert Estimator(done, profile=profile).eta().middle == pytest.approx(profile["seconds"])


def test_there_is_no_profile_of_a_part():
    """A run that was resumed, or is not at its end, says nothing of a whole one."""
    assert items_of([1.0] * 50, 100).profile() is None
    assert items_of([1.0] * 50, 100, initial=50).profile() is None
    assert Estimator(0).profile() is None


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"method": "magic"}, "method='magic': expected one of linear"),
        ({"phases": [(0, 1.0)]}, "a number of items above 0"),
        ({"phases": [(10, -1.0)]}, "a weight above 0"),
        ({"phases": [10]}, "expected (items, weight)"),
        ({"profile": {"items": 1}}, "profile's seconds: None"),
        ({"profile": []}, "profile's items: None"),
        ({"profile": {"items": 1, "seconds": 1}}, "profile's course"),
        ({"profile": {"items": 1, "seconds": 1, "course": [[0, 0], [1, 0.5]]}}, "grow from 0 to 1"),
        ({"profile": {"items": 1, "seconds": 1, "course": [[0, 0], [0.5, 0.6], [0.5, 0.7], [1, 1]]}}, "grow from 0"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(known, words):
    """The message names what was found."""
    with pytest.raises(EtaError) as refused:
        Estimator(10, **known)
    assert words in str(refused.value)


def test_remaining_times_load_no_numpy():
    """A program that only shows its progress does not pay for numpy's import."""
    code = "import sys, otel_llmon.scores.eta; print([m for m in ('numpy', 'opentelemetry') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
