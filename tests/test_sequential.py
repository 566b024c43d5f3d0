"""Watching without end: no alarm while nothing changes, however long, and one soon after something does."""

from __future__ import annotations

import numpy as np
import pytest

from otel_llmon.scores.profile import Profile, Reference
from otel_llmon.scores.sequential import Detector, DetectorError


def table(rng, rows, shift=0.0, shares=(0.5, 0.3, 0.2)):
    """Return ten numeric features, the first of them shifted, and a categorical one."""
    values = {f"n{place}": rng.standard_normal(rows) + shift * (place == 0) for place in range(10)}
    return {**values, "level": rng.choice(["a", "b", "c"], rows, p=shares).tolist()}


@pytest.fixture(scope="module")
def reference():
    """Return a reference of 20,000 rows."""
    return Reference.fit(table(np.random.default_rng(0), 20_000), ordered=False)


def watched(detector, rng, windows, **change):
    """Return after how many windows of 100 rows there was an alarm, or nothing."""
    for number in range(1, windows + 1):
        if detector.add(Profile.of(table(rng, 100, **change), detector.reference)):
            return number
    return None


def test_it_is_quiet_while_nothing_changes(reference):
    """For 400 windows, looked at after each."""
    detector = Detector(reference, target=1000)
    assert watched(detector, np.random.default_rng(1), 400) is None
    assert detector.score < 3
    assert detector.windows == 400


@pytest.mark.parametrize(
    ("change", "name"), [({"shift": 0.3}, "n0"), ({"shift": -0.3}, "n0"), ({"shares": (0.3, 0.5, 0.2)}, "level")]
)
def test_a_change_is_found_and_its_feature_is_named(reference, change, name):
    """Within a few windows, after many in which nothing happened."""
    rng = np.random.default_rng(2)
    detector = Detector(reference)
    assert watched(detector, rng, 60) is None
    assert watched(detector, rng, 15, **change) is not None
    scores = detector.scores()
    assert max(scores, key=scores.get) == name
    detector.reset()
    assert not detector.alarm
    assert detector.score == -np.inf


def test_a_small_change_is_found_with_patience(reference):
    """A tenth of a deviation in one of eleven features, within 20,000 records, which no single window shows."""
    assert watched(Detector(reference), np.random.default_rng(3), 200, shift=0.1) is not None


def test_a_bet_never_wins_on_average_against_its_own_reference(reference):
    """Each is worth at most what it costs: that is all that the promise rests on."""
    detector = Detector(reference)
    for place, name in enumerate(detector.names):
        feature = reference[name]
        counts = np.array([*feature.levels.counts, 0] if feature.levels else feature.tracks[0].counts, dtype=float)
        gains = np.exp(detector._bets[place, :, : len(counts)]) @ (counts / counts.sum())
        assert (gains[detector._stakes[place] > 0] < 1).all()
        assert (detector._stakes[place] > 0).any()


def test_rows_that_follow_each_other_do_not_alarm():
    """Ten rows that say the same count as one."""
    rng = np.random.default_rng(4)
    reference = Reference.fit({"x": np.repeat(rng.standard_normal(5000), 10)})
    assert reference["x"].effect == pytest.approx(10, rel=0.2)
    detector = Detector(reference)
    for _ in range(200):
        assert not detector.add(Profile.of({"x": np.repeat(rng.standard_normal(10), 10)}, reference))


def test_its_state_goes_on_in_another_process(reference):
    """What was dumped and loaded goes on as if nothing had happened."""
    rng = np.random.default_rng(5)
    one, other = Detector(reference), Detector(reference)
    watched(one, rng, 5, shift=0.2)
    other.loads(one.dumps())
    window = Profile.of(table(rng, 100), reference)
    one.add(window)
    other.add(window)
    assert (one.score, one.windows, one.scores()) == (other.score, other.windows, other.scores())
    fresh = Detector(reference)
    fresh.loads(Detector(reference).dumps())
    assert fresh.score == -np.inf


def test_what_belongs_to_another_reference_is_refused(reference):
    """A window, a state, a state that is none, and a target that promises nothing."""
    other = Reference.fit(table(np.random.default_rng(9), 100))
    detector = Detector(reference)
    with pytest.raises(DetectorError, match=f"a window of reference {other.hash}: expected one of {reference.hash}"):
        detector.add(Profile(other))
    with pytest.raises(DetectorError, match="state of reference"):
        detector.loads(detector.dumps().replace(reference.hash, other.hash))
    for text in ("", "{}", '{"reference": 1, "windows": 1, "wealth": [1]}'):
        with pytest.raises(DetectorError, match="expected what dumps"):
            detector.loads(text)
    with pytest.raises(DetectorError, match="target=1: expected more than one window"):
        Detector(reference, target=1)
