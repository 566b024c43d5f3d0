"""How often chance alone is called drift: columns in which nothing has changed, of the shapes that mislead most."""

import numpy as np
import pytest

from otel_llmon.scores import fitness, telling
from otel_llmon.scores.columns import kind_of
from otel_llmon.scores.drift import Verdict, compare
from otel_llmon.scores.profile import Profile, Reference


def zipf(levels, power):
    """Return shares of levels, each as frequent as its rank to a power."""
    shares = np.arange(1.0, levels + 1) ** -power
    return shares / shares.sum()


def words(rng, shares, rows, columns):
    """Return columns of levels of these shares."""
    levels = np.array([f"level {place}" for place in range(len(shares))], dtype=object)
    return {f"c{place}": levels[rng.choice(len(shares), rows, p=shares)].tolist() for place in range(columns)}


def numbers(rng, shape, rows, columns):
    """Return a matrix of one shape of numbers."""
    values = {
        "normal": lambda: rng.standard_normal((rows, columns)),
        "lognormal": lambda: rng.lognormal(size=(rows, columns)),
        "pareto": lambda: rng.pareto(1.2, (rows, columns)),
        "poisson": lambda: rng.poisson(4, (rows, columns)).astype(float),
        "mostly zero": lambda: np.where(rng.random((rows, columns)) < 0.6, 0.0, rng.lognormal(size=(rows, columns))),
    }
    return values[shape]()


def compared(before, window, kind=None):
    """Return what a window says beside a reference."""
    kinds = dict.fromkeys(before, kind) if kind else None
    reference = Reference.fit(before, kinds=kinds, ordered=False, correlation=False)
    return compare(Profile.of(window, reference))


def below(drifts, p):
    """Return the share of features whose p-value is lower."""
    return float(np.mean([one.p_value < p for drift in drifts for one in drift.features.values()]))


@pytest.mark.parametrize(
    ("shares", "before", "rows"),
    [
        (np.full(500, 1 / 500), 10_000, 1_000),
        (zipf(200, 1.2), 10_000, 10_000),
        (zipf(50, 1.5), 1_000, 1_000),
        (np.full(500, 1 / 500), 1_000, 1_000),
        (zipf(1_000, 1.1), 1_000, 1_000),
        (zipf(300, 2.0), 200, 10_000),
        (np.append(0.9, np.full(39, 0.1 / 39)), 1_000, 200),
        (zipf(5_000, 1.0), 10_000, 1_000),  # more levels than are kept by name
    ],
    ids=[
        "500 alike, a small window",
        "200, zipf",
        "50, zipf",
        "500 alike",
        "1,000, zipf",
        "a small reference",
        "one of nine in ten rows",
        "5,000, zipf",
    ],
)
def test_categories_of_many_levels_do_not_drift_by_chance(shares, before, rows):
    """However rare they are and whoever saw them first, one column in twenty has a p-value below a twentieth."""
    rng = np.random.default_rng(7)
    tables = [[words(rng, shares, size, 20) for size in (before, rows)] for _ in range(5)]
    drifts = [compared(*table, "categorical") for table in tables]
    assert below(drifts, 0.05) <= 0.12  # 100 columns: three deviations above 5 %
    assert below(drifts, 0.001) <= 0.02
    assert sum(bool(drift.changed) for drift in drifts) <= 1


def test_new_levels_are_no_surprise_where_the_reference_has_many_that_it_saw_once():
    """Of 1,000 rows hundreds have a level of their own, and so have those of the window."""
    rng = np.random.default_rng(8)
    drift = compared(*(words(rng, zipf(1_000, 1.1), 1_000, 20) for _ in range(2)), "categorical")
    assert {one.verdict for one in drift.features.values()} == {Verdict.RARE_LEVELS}


def test_a_level_that_one_of_many_references_missed_is_no_surprise():
    """Of 200 levels that are as frequent, 1,000 rows miss one; that the window has 60 rows of it says nothing."""
    rng = np.random.default_rng(19)
    tables = [[words(rng, np.full(200, 1 / 200), size, 1) for size in (1_000, 10_000)] for _ in range(50)]
    found = [compared(*table, "categorical").features["c0"].verdicts for table in tables]
    assert sum(Verdict.RARE_LEVELS in verdicts for verdicts in found) > 20
    assert sum(Verdict.NEW_LEVELS in verdicts for verdicts in found) <= 2


def test_changes_of_many_levels_are_found():
    """A new level of one row in twenty, and two frequent levels that swap their rows, among 200."""
    rng = np.random.default_rng(9)
    reference, window = (words(rng, zipf(200, 1.2), rows, 3) for rows in (10_000, 1_000))
    window["c0"][:50] = ["mauve"] * 50
    swapped = {"level 0": "level 3", "level 3": "level 0"}
    window["c1"] = [swapped.get(level, level) for level in window["c1"]]
    found = compared(reference, window, "categorical").features
    assert Verdict.NEW_LEVELS in found["c0"].verdicts
    assert Verdict.DRIFTED in found["c1"].verdicts
    assert not found["c2"].changed


def test_reference_and_window_exchanged_are_as_likely():
    """Neither side has chosen which levels are compared."""
    rng = np.random.default_rng(10)
    one, other = (words(rng, zipf(300, 1.1), 1_000, 1) for _ in range(2))
    here, there = (compared(*pair, "categorical").features["c0"].p_value for pair in ((one, other), (other, one)))
    assert here == pytest.approx(there, rel=1e-9)


@pytest.mark.parametrize(("shares", "rows"), [(zipf(30, 1.5), 500), (zipf(300, 1.1), 1_000)], ids=["30", "300"])
def test_texts_that_are_few_words_do_not_drift_by_chance(shares, rows):
    """A bucket of words that hardly any row has says nothing, however small its deviation is."""
    rng = np.random.default_rng(11)
    drifts = [compared(*(words(rng, shares, rows, 10) for _ in range(2)), "text") for _ in range(4)]
    assert below(drifts, 0.05) <= 0.15  # 40 columns
    assert sum(bool(drift.changed) for drift in drifts) <= 1


def test_texts_of_many_words_do_not_drift_by_chance_and_do_when_their_words_change():
    """Free text: most words come once."""
    rng = np.random.default_rng(12)

    def texts(rows, first=0):
        return [" ".join(f"w{first + word}" for word in rng.zipf(1.6, rng.integers(3, 30))) for _ in range(rows)]

    tables = [[{f"c{place}": texts(300) for place in range(5)} for _ in range(2)] for _ in range(4)]
    assert below([compared(*table, "text") for table in tables], 0.05) <= 0.25  # 20 columns
    assert compared({"c": texts(300)}, {"c": texts(300, first=7)}, "text").features["c"].changed


def test_short_words_that_come_again_are_categories():
    """Thirty kinds in 500 rows are; ids and sentences are texts."""
    rng = np.random.default_rng(13)
    assert kind_of(words(rng, zipf(30, 1.5), 500, 1)["c0"]) == "categorical"
    assert kind_of(words(rng, np.full(300, 1 / 300), 1_000, 1)["c0"]) == "categorical"
    assert kind_of([f"id {place}" for place in range(1_000)]) == "text"
    assert kind_of(["the same long sentence, " * 8, "and another one"] * 500) == "text"


@pytest.mark.parametrize("shape", ["normal", "lognormal", "pareto", "poisson", "mostly zero"])
@pytest.mark.parametrize(("before", "rows"), [(100, 100), (100, 10_000), (200, 2_000)])
def test_a_small_reference_alarms_no_more_often_than_a_large_one(shape, before, rows):
    """Its tails, and where its bins lie, are chance themselves, and a window that is larger knows better."""
    rng = np.random.default_rng(14)
    tables = [[numbers(rng, shape, size, 20) for size in (before, rows)] for _ in range(15)]
    drifts = [compared(*table) for table in tables]
    assert below(drifts, 0.05) <= 0.10  # 300 columns: four deviations above 5 %
    assert below(drifts, 0.001) <= 0.01
    assert sum(bool(drift.changed) for drift in drifts) <= 1


def sorted_by_label():
    """Return a table whose rows were sorted by what is to be predicted."""
    rng = np.random.default_rng(15)
    label = np.sort(rng.integers(0, 2, 5_000)).astype(float)
    return {"a": rng.standard_normal(5_000) + label, "y": label, "same": np.ones(5_000)}


def test_nothing_is_called_stable_where_most_of_it_cannot_be_judged():
    """A reference sorted by its label has seen two states, however many rows; what a third one says is open."""
    rng = np.random.default_rng(16)
    window = {"a": rng.normal(5, 1, 1_000), "y": rng.integers(0, 2, 1_000).astype(float), "same": np.ones(1_000)}
    profile = Profile.of(window, Reference.fit(sorted_by_label()))
    drift = compare(profile)
    assert drift.features["same"].verdict == Verdict.STABLE
    assert drift.changed is None
    assert telling.outcome(drift) == telling.INSUFFICIENT
    assert "--unordered (ordered=False)" in telling.told(drift, profile)[0].cells[-1]


def test_fitting_a_reference_that_is_sorted_says_what_to_do():
    """Told at once, with the way out, and what it leads to."""
    found = Reference.fit(sorted_by_label())
    said = {note.feature: note.text for note in fitness.notes(found)}
    assert "--unordered (ordered=False)" in said["a"]
    assert "--unordered (ordered=False)" in said["y"]
    unordered = Reference.fit(sorted_by_label(), ordered=False)
    drift = compare(Profile.of({**sorted_by_label(), "a": np.random.default_rng(17).normal(5, 1, 5_000)}, unordered))
    assert drift.features["a"].changed
    assert not drift.features["y"].changed


def test_one_column_of_too_few_rows_leaves_a_window_stable():
    """Of most features it can be said."""
    rng = np.random.default_rng(18)
    drift = compared(*(numbers_with_a_gap(rng) for _ in range(2)))
    assert drift.features["gap"].verdict == Verdict.INSUFFICIENT
    assert drift.changed is False


def numbers_with_a_gap(rng):
    """Return five columns, one of which has hardly a value."""
    found = {f"n{place}": rng.standard_normal(1_000) for place in range(4)}
    return {**found, "gap": np.where(np.arange(1_000) < 20, rng.standard_normal(1_000), np.nan)}
