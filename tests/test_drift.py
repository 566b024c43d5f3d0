"""Drift: what is found where it is, what is not found where it is not, and what odd windows are told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from scipy import signal, stats
from scipy.spatial.distance import jensenshannon

from otel_llmon.scores import distances, exact, significance
from otel_llmon.scores.columns import ColumnsError
from otel_llmon.scores.dependence import design_effect
from otel_llmon.scores.drift import Limits, Verdict, compare
from otel_llmon.scores.exact import Sample
from otel_llmon.scores.performance import Mean, PerformanceError, Share, combined, concept, performance
from otel_llmon.scores.profile import Profile, Reference

NUMBERS = st.floats(-1e6, 1e6)
SAMPLES = st.lists(NUMBERS | st.integers(-3, 3).map(float), min_size=1, max_size=60)
COLOURS = ["red", "green", "blue"]


def plain(rng, rows, features=5):
    """Return numeric columns of several shapes and a categorical one."""
    draw = [rng.standard_normal, rng.random, rng.standard_exponential, rng.standard_cauchy, lambda n: rng.poisson(4, n)]
    found = {f"n{place}": draw[place % 5](rows) for place in range(features)}
    return {**found, "colour": [COLOURS[place] for place in rng.integers(0, 3, rows)]}


REFERENCE = Reference.fit(plain(np.random.default_rng(0), 4000), ordered=False)


def window(rows=1000, seed=1, **changes):
    """Return a window in which nothing has changed but what is said."""
    return {**plain(np.random.default_rng(seed), rows), **changes}


def verdict(table, name="n0", reference=REFERENCE):
    """Return what a window's comparison says of one feature."""
    return compare(Profile.of(table, reference)).features[name]


@given(SAMPLES, SAMPLES)
def test_exact_kolmogorov_smirnov_is_scipys(reference, values):
    """Statistic and exact p-value, ties and all."""
    one, other = Sample.of(reference), Sample.of(values)
    try:
        found = stats.ks_2samp(reference, values, method="exact")
    except RuntimeWarning:  # scipy gives up where the distance is the smallest that there is
        reject()
    assert math.isclose(one.ks(other), found.statistic, abs_tol=1e-9)
    assert math.isclose(one.ks_p_value(other), found.pvalue, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.row("DR4")
@given(SAMPLES, SAMPLES)
def test_exact_wasserstein_is_scipys(reference, values):
    """To nine digits of the largest value."""
    found = Sample.of(reference).wasserstein(Sample.of(values))
    size = max(map(abs, (*reference, *values, 1.0)))
    assert math.isclose(found, stats.wasserstein_distance(reference, values), abs_tol=1e-9 * size)


def test_wasserstein_is_no_kolmogorov_smirnov():
    """A few rows far away move the one much and the other hardly."""
    values = np.linspace(0, 1, 1000)
    moved = values.copy()
    moved[-10:] += 100
    one, other = Sample.of(values), Sample.of(moved)
    assert one.ks(other) == pytest.approx(0.01)
    assert one.wasserstein(other) == pytest.approx(1.0)


counts = st.lists(st.integers(0, 400), min_size=2, max_size=12)


@given(counts.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_jensen_shannon_is_scipys(pair):
    """The distance with logarithms to base 2."""
    now, before = (np.array(found, dtype=float) for found in pair)
    assume(now.sum())
    found = distances.jensen_shannon(now, before)
    assert math.isclose(float(found), float(jensenshannon(now, before, base=2)), abs_tol=1e-7)


@given(st.lists(st.tuples(st.integers(20, 400), st.integers(20, 400)), min_size=2, max_size=12))
def test_chi_square_is_scipys(pairs):
    """Of two samples whose bins all have rows enough."""
    now, before = (np.array(found, dtype=float) for found in zip(*pairs, strict=True))
    share = min(now.sum(), before.sum()) / (now.sum() + before.sum())
    assume(((now + before) * share >= distances.ENOUGH).all())
    statistic, freedom = distances.chi_square(now[None], before[None])
    found = stats.chi2_contingency(np.array([now, before]), correction=False)
    assert math.isclose(float(statistic[0]), found.statistic, rel_tol=1e-9, abs_tol=1e-9)
    assert int(freedom[0]) == found.dof
    assert math.isclose(
        float(significance.chi_square(statistic, freedom)[0]), found.pvalue, rel_tol=1e-9, abs_tol=1e-12
    )


@given(st.integers(0, 30), st.integers(1, 100), st.integers(0, 30), st.integers(1, 3000))
def test_two_shares_are_compared_exactly_where_few_are_found(found, rows, before, total):
    """Mid-p of the binomial that both samples together give; what is found and what is not may be swapped."""
    assume(found <= rows and before <= total)
    arrays = [np.array([float(value)]) for value in (found, rows, before, total)]
    p = float(significance.shares(*arrays)[0])
    other = float(significance.shares(arrays[1] - arrays[0], arrays[1], arrays[3] - arrays[2], arrays[3])[0])
    assert 0 <= p <= 1
    if 2 * (found + before) != rows + total:
        assert math.isclose(p, other, rel_tol=1e-9, abs_tol=1e-12)
    if 0 < 2 * (found + before) <= rows + total:
        law = stats.binom(found + before, rows / (rows + total))
        upper = law.sf(found) + law.pmf(found) / 2
        assert math.isclose(p, min(2 * min(upper, 1 - upper), 1), rel_tol=1e-6, abs_tol=1e-9)


@given(counts, counts)
def test_an_index_of_two_distributions_is_symmetric_and_zero_for_one(one, other):
    """PSI, and the distance of the same counts from themselves."""
    size = min(len(one), len(other))
    now, before = (np.array(found[:size], dtype=float) for found in (one, other))
    assert distances.psi(now, now) == 0
    assert float(distances.psi(now, before)) >= 0
    assert math.isclose(float(distances.psi(now, before)), float(distances.psi(before, now)), abs_tol=1e-12)


@pytest.mark.row("DR3")
def test_a_window_that_is_all_out_of_range_has_a_finite_and_known_index():
    """100 rows above 100 rows in 20 bins: half a row is added to each, and all else follows."""
    now = exact.psi(np.arange(100.0), np.arange(100.0) + 1000)
    one, other = 5.5 / 110, 0.5 / 110
    top = 100.5 / 110
    assert now == pytest.approx(19 * (other - one) * math.log(other / one) + (top - one) * math.log(top / one))
    found = verdict(window(n0=np.full(1000, 1e9) + np.arange(1000)))
    assert found.verdict is Verdict.DRIFTED
    assert math.isfinite(found.scores["psi"])
    assert found.scores["ks"] == 1.0


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.floats(-2, 2), st.floats(0.2, 5), st.sampled_from(["normal", "lognormal", "poisson"]))
def test_binned_distances_never_exceed_the_exact_ones_by_much(seed, shift, scale, shape):
    """KS never at all; Wasserstein is never far above, and never below the distance of the means."""
    rng = np.random.default_rng(seed)
    values = getattr(rng, shape)(size=500).astype(float)
    moved = (getattr(rng, shape)(size=200) * scale + shift).astype(float)
    reference = Reference.fit({"x": values}, ordered=False)
    found = compare(Profile.of({"x": moved}, reference)).features["x"]
    assert found.scores["ks"] <= Sample.of(values).ks(Sample.of(moved)) + 1e-12
    if shape == "normal":
        spread = reference["x"].tracks[0].spread
        true = Sample.of(values).wasserstein(Sample.of(moved)) / spread
        assert found.scores["wasserstein"] <= 1.25 * true + 0.02
        assert found.scores["wasserstein"] >= abs(found.scores["shift"])
        assert found.scores["shift"] == pytest.approx((moved.mean() - values.mean()) / spread, abs=0.01)


@settings(max_examples=30)
@given(
    st.integers(0, 2**32), st.integers(-60, 60), st.sampled_from(["normal", "lognormal", "standard_cauchy", "poisson"])
)
def test_values_have_no_unit(seed, power, shape):
    """In another unit the same window gets the same p-value and the same effects."""
    rng = np.random.default_rng(seed)
    before, now = (getattr(rng, shape)(size=rows).astype(float) for rows in (300, 100))
    scale = 2.0**power  # exact, so that no value changes its bin
    one, other = (
        compare(Profile.of({"x": now * unit}, Reference.fit({"x": before * unit}, ordered=False))).features["x"]
        for unit in (1.0, scale)
    )
    assert one.p_value == pytest.approx(other.p_value, rel=1e-9)
    assert dict(one.scores) == pytest.approx(dict(other.scores), rel=1e-9, abs=1e-12)


def test_distances_of_chance_are_none():
    """PSI of windows that changed in nothing is zero on average, and their p-values are spread evenly."""
    rng = np.random.default_rng(12)
    reference = Reference.fit(rng.lognormal(size=(2000, 20)), ordered=False)
    found = [one for _ in range(40) for one in compare(Profile.of(rng.lognormal(size=(100, 20)), reference)).judged]
    psi = np.array([one.scores["psi"] for one in found])
    assert abs(psi.mean()) < 0.35 * psi.std(), "without the correction it is four deviations"
    assert np.mean([one.scores["ks"] for one in found]) == pytest.approx(0.08, abs=0.02)
    assert 0.44 < np.mean([one.p_value for one in found]) < 0.56


def test_what_a_single_test_says_is_calibrated():
    """Location, tails, Kolmogorov-Smirnov and chi-square, each by itself: 5 % below 5 %, and 1 % below 1 %."""
    rng = np.random.default_rng(13)
    before = rng.multinomial(20_000, np.full(20, 0.05), size=2000).astype(float)
    now = rng.multinomial(500, np.full(20, 0.05), size=2000).astype(float)
    rows = np.full(2000, 1 / (1 / 500 + 1 / 20_000))
    found = {
        "chi-square": significance.chi_square(*distances.chi_square(now, before)),
        "kolmogorov": significance.kolmogorov(distances.ks(now, before), rows, np.full(2000, 0.05)),
        "shares": significance.shares(now[:, 0], np.full(2000, 500.0), before[:, 0], np.full(2000, 20_000.0)),
    }
    for p in found.values():
        assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.02)
        assert np.mean(p < 0.01) == pytest.approx(0.01, abs=0.008)
    assert significance.discoveries(np.array([3e-4] + [0.5] * 99)).sum() == 0, "alone it is not worth an alarm"
    assert significance.discoveries(np.array([4e-5] + [0.5] * 99)).sum() == 1


@given(st.lists(st.floats(0, 1), max_size=40), st.floats(0, 1))
def test_discoveries_are_fewer_than_plain_steps_give_and_grow_with_the_evidence(found, lower):
    """Never more than Benjamini and Hochberg's, and a smaller p-value loses nobody."""
    p = np.array(found)
    chosen = significance.discoveries(p)
    ordered, plain_steps = np.sort(p), 0.05 * np.arange(1, len(p) + 1) / max(len(p), 1)
    below = np.flatnonzero(ordered <= plain_steps)
    assert chosen.sum() <= (below[-1] + 1 if len(below) else 0)
    if len(p):
        smaller = p.copy()
        smaller[0] = min(p[0], lower)
        assert (significance.discoveries(smaller) >= chosen).all()


ODD = {
    "all missing": ("n0", window(n0=np.full(1000, np.nan))),
    "missing": ("n0", window(n0=np.where(np.arange(1000) < 300, np.nan, window()["n0"]))),
    "infinite": ("n0", window(n0=np.where(np.arange(1000) < 2, -np.inf, window()["n0"]))),
    "constant": ("n0", window(n0=np.full(1000, 0.05))),
    "wrong type": ("n0", window(n0=[*window()["n0"][1:], "1.5 kg"])),
    "absent": ("n0", {name: values for name, values in window().items() if name != "n0"}),
    "renamed": ("n0", {"first" if name == "n0" else name: values for name, values in window().items()}),
    "unknown": ("other", window(other=np.zeros(1000))),
    "insufficient": ("n0", window(5)),
    "empty": ("n0", {name: values[:0] for name, values in window().items()}),
    "new levels": ("colour", window(colour=["mauve"] * 40 + window()["colour"][40:])),
    "rare levels": ("colour", window(colour=["mauve", *window()["colour"][1:]])),
    "drifted": ("n0", window(n0=window()["n0"] + 0.5)),
    "stable": ("n0", window()),
}


@pytest.mark.parametrize("name", ODD)
def test_every_odd_window_has_a_verdict_of_its_own(name):
    """Never an exception, and never the verdict that nothing has changed."""
    feature, table = ODD[name]
    found = verdict(table, feature)
    assert found.verdict == name
    assert found.changed is {"insufficient": None, "empty": None, "stable": False, "rare levels": False}.get(name, True)
    assert all(math.isfinite(score) for score in found.scores.values())


def test_every_verdict_is_met_in_these_tests():
    """A verdict that nobody sees is not one."""
    assert set(ODD) == {found.value for found in Verdict}


def test_no_value_at_all_is_a_change_only_where_chance_does_not_explain_it():
    """Of a column that has one row in fifty most windows have few, and many have none."""
    rng = np.random.default_rng(3)

    def sparse(rows):
        return {f"s{n}": np.where(rng.random(rows) < 0.98, np.nan, rng.normal(size=rows)) for n in range(40)}

    reference = Reference.fit(sparse(1000), ordered=False)
    windows = [compare(Profile.of(sparse(100), reference)).features for _ in range(5)]
    verdicts = {feature.verdict for window in windows for feature in window.values()}
    assert verdicts == {Verdict.INSUFFICIENT}
    gone = compare(Profile.of(sparse(3000) | {"s0": np.full(3000, np.nan)}, reference)).features
    assert gone["s0"].verdict is Verdict.ALL_MISSING
    assert not any(gone[name].changed for name in gone if name != "s0")


def test_one_missing_value_changes_nothing():
    """The result is that of the window without it."""
    values = window()["n0"]
    one = verdict(window(n0=np.where(np.arange(1000) == 7, np.nan, values)))
    other = verdict({name: np.delete(np.array(column), 7) for name, column in window().items()})
    assert (one.verdict, one.p_value) == (other.verdict, other.p_value)
    assert one.scores["missing"] == 0.001


def test_a_renamed_column_is_named_and_the_names_of_new_levels_are():
    """What a verdict is about stands beside it."""
    assert verdict(ODD["renamed"][1]).detail == ("first",)
    assert verdict(ODD["new levels"][1], "colour").detail == ("mauve",)
    gone = {"n0" if name == "n1" else name: values for name, values in window().items() if name != "n0"}
    assert verdict(gone, "n1").verdict is Verdict.ABSENT, "another column has its name, and its values elsewhere"


def test_values_that_are_missing_no_longer_are_a_change_too():
    """Missing rows of the reference that have values now, and a reference that had none at all."""
    rng = np.random.default_rng(3)
    holes = np.where(rng.random(2000) < 0.3, np.nan, rng.standard_normal(2000))
    reference = Reference.fit({"a": holes, "none": np.full(2000, np.nan)}, ordered=False)
    now = {"a": rng.standard_normal(500), "none": rng.standard_normal(500)}
    drift = compare(Profile.of(now, reference))
    assert [found.verdict for found in drift.features.values()] == [Verdict.MISSING] * 2
    again = {"a": holes[:500], "none": np.full(500, np.nan)}
    assert verdict(again, "none", reference).verdict is Verdict.INSUFFICIENT
    assert verdict(again, "a", reference).verdict is Verdict.STABLE


def test_one_feature_of_twenty_that_moved_is_found_and_no_other():
    """By a standard deviation, in a window of 200 rows; the share of changed features says one of twenty."""
    rng = np.random.default_rng(4)
    reference = Reference.fit(rng.standard_normal((5000, 20)), ordered=False)
    values = rng.standard_normal((200, 20))
    values[:, 7] += 1
    drift = compare(Profile.of(values, reference))
    assert [found.name for found in drift.features.values() if found.changed] == ["7"]
    assert drift.changed
    assert drift.share == 1 / 20
    assert drift.weighted({"7": 3, "1": 1}) == 0.75
    assert drift.weighted({}) is None
    assert drift.features["7"].scores["shift"] == pytest.approx(1.0, abs=0.3)


def test_nothing_can_be_said_of_nothing():
    """No verdict on the whole where there is none on any part."""
    drift = compare(Profile(REFERENCE))
    assert drift.changed is None
    assert drift.share is None


@pytest.mark.row("DR5")
def test_categories_and_texts_are_scored():
    """Two levels that swap, and texts about something else, are found; the same again are not."""
    rng = np.random.default_rng(5)
    talk = {"cook": "boil the water add salt and stir the soup until it is thick", "code": "the compiler fails to link"}

    def texts(topic, rows):
        return [" ".join(rng.permutation(talk[topic].split())[: rng.integers(4, 6)]) for _ in range(rows)]

    def table(rows, topic="cook", shares=(0.6, 0.3, 0.1)):
        return {"text": texts(topic, rows), "colour": rng.choice(COLOURS, rows, p=shares).tolist()}

    reference = Reference.fit(table(1000), kinds={"text": "text"}, ordered=False)
    again, other = (Profile.of(found, reference) for found in (table(300), table(300, "code", (0.3, 0.6, 0.1))))
    assert not compare(again).changed
    found = compare(other).features
    assert [found[name].verdict for name in ("text", "colour")] == [Verdict.DRIFTED] * 2
    assert found["colour"].scores["jensen shannon"] > 0.1
    assert found["text"].scores["mean distance"] > 0.5


@pytest.mark.row("DR15")
def test_embeddings_of_another_topic_are_found():
    """A shift that is small in every coordinate, and vectors that spread another way; the same again are not found."""
    rng = np.random.default_rng(6)
    mixing = rng.standard_normal((32, 32)) / 6

    def vectors(rows, shift=0.0, wide=1.0):
        raw = rng.standard_normal((rows, 32))
        raw[:, 0] *= wide
        return {"e": raw @ mixing + shift}

    reference = Reference.fit(vectors(2000), ordered=False)
    assert reference["e"].kind == "embedding"
    assert verdict(vectors(500), "e", reference).verdict is Verdict.STABLE
    assert verdict(vectors(500, shift=0.15), "e", reference).verdict is Verdict.DRIFTED
    assert verdict(vectors(500, wide=3.0), "e", reference).verdict is Verdict.DRIFTED
    short = verdict({"e": [[1.0]] * 50}, "e", reference)
    assert short.verdict is Verdict.WRONG_TYPE


def test_features_that_begin_to_go_together_are_found():
    """Each by itself is as it was; the pair is named. What was correlated before stays so without an alarm."""
    rng = np.random.default_rng(7)

    def table(rows, rho):
        values = rng.standard_normal((rows, 6))
        values[:, 1] = 0.6 * values[:, 0] + 0.8 * values[:, 1]
        values[:, 3] = rho * values[:, 2] + (1 - rho**2) ** 0.5 * values[:, 3]
        values[rng.random((rows, 6)) < 0.05] = np.nan
        return values

    reference = Reference.fit(table(5000, 0.0), ordered=False)
    same, other = (compare(Profile.of(table(1000, rho), reference)) for rho in (0.0, 0.5))
    assert not same.changed
    assert not any(found.changed for found in other.features.values())
    assert other.changed
    assert other.correlation.pair == ("2", "3")
    assert other.correlation.now - other.correlation.before == pytest.approx(0.5, abs=0.1)
    holes = table(1000, 0.0)
    holes[rng.random(1000) < 0.4, 1] = np.nan
    known = compare(Profile.of(holes, reference)).correlation
    assert not known.changed, "pairs are as many as have both values"
    assert compare(Profile.of(holes[:40], reference)).correlation is None, "too few rows to say anything"


def test_features_that_go_together_do_not_alarm_by_that():
    """With thirty features of one source, one percent of windows or so is called different at one percent."""
    rng = np.random.default_rng(8)

    def table(rows):
        return rng.standard_normal((rows, 1)) * 1.5 + rng.standard_normal((rows, 30))

    reference = Reference.fit(table(5000), ordered=False)
    found = [compare(Profile.of(table(300), reference)).correlation.p_value for _ in range(60)]
    assert sum(p < 0.01 for p in found) <= 4
    assert 0.2 < np.mean(found) < 0.8


def test_many_pairs_of_few_rows_do_not_alarm_together():
    """2,000 pairs of independent features in windows of 80 rows: p-values are spread evenly."""
    rng = np.random.default_rng(14)
    reference = Reference.fit(rng.standard_normal((2000, 64)), ordered=False)
    found = [compare(Profile.of(rng.standard_normal((80, 64)), reference)).correlation.p_value for _ in range(60)]
    assert 0.32 < np.mean(found) < 0.65


@pytest.mark.parametrize("rows", [100, 1000])
def test_false_alarms_are_as_many_as_promised(rows):
    """About 5 % of undrifted features below 5 %, and none after false-discovery control over all of them."""
    rng = np.random.default_rng(9)
    reference = Reference.fit(plain(rng, 3000, 50), ordered=False)
    drifts = [compare(Profile.of(plain(rng, rows, 50), reference)) for _ in range(30)]
    low = np.mean([found.p_value < 0.05 for drift in drifts for found in drift.features.values()])
    assert 0.03 < low < 0.07
    assert sum(bool(drift.changed) for drift in drifts) <= 1


def test_a_large_window_does_not_make_a_small_change_matter():
    """A hundredth of a deviation in 200,000 rows is no chance, and no drift either, unless one asks for it."""
    rng = np.random.default_rng(10)
    reference = Reference.fit({"x": rng.standard_normal(200_000)}, ordered=False)
    profile = Profile.of({"x": rng.standard_normal(200_000) + 0.02}, reference)
    found = compare(profile).features["x"]
    assert found.p_value < 1e-4
    assert found.verdict is Verdict.STABLE
    fussy = Limits(score=0.01)
    assert compare(profile, fussy).features["x"].verdict is Verdict.DRIFTED


def following(rng, rows, rho, features):
    """Return series whose rows follow each other."""
    steps = rng.standard_normal((rows + 100, features)) * (1 - rho**2) ** 0.5
    return signal.lfilter([1], [1, -rho], steps, axis=0)[100:]


def test_rows_that_follow_each_other_count_as_fewer():
    """An effect near (1 + rho) / (1 - rho), and false alarms as promised; without the order they are not."""
    rng = np.random.default_rng(11)
    before = following(rng, 20_000, 0.8, 12)
    ordered, shuffled = Reference.fit(before), Reference.fit(before, ordered=False)
    effects = [feature.tracks[0].effects[0] for feature in ordered.features]
    assert np.mean(effects) == pytest.approx(9, rel=0.25)
    windows = [following(rng, 1000, 0.8, 12) for _ in range(25)]
    low, naive = (
        np.mean([one.p_value < 0.05 for now in windows for one in compare(Profile.of(now, known)).features.values()])
        for known in (ordered, shuffled)
    )
    assert low < 0.09
    assert naive > 0.3


def test_independent_rows_count_fully():
    """The noise of an estimate costs no power: whatever shows no dependence has none."""
    assert {design_effect(np.random.default_rng(seed).standard_normal(1000)) for seed in range(300)} == {1.0}


def test_a_better_model_has_not_drifted():
    """From 80 % to 95 % right is no drift, from 95 % to 80 % is; so for an error that should be low."""
    better, worse = performance(Share(800, 1000), Share(190, 200)), performance(Share(950, 1000), Share(160, 200))
    assert (better.drifted, better.worse) == (False, pytest.approx(-0.15))
    assert (worse.drifted, worse.worse) == (True, pytest.approx(0.15))
    error = performance(Mean(1.0, 0.5, 500), Mean(1.3, 0.5, 500), higher_is_better=False)
    assert error.drifted
    assert not performance(Mean(1.3, 0.5, 500), Mean(1.0, 0.5, 500), higher_is_better=False).drifted
    assert performance(Share(9, 10), Share(1, 10)).drifted is None, "ten rows say nothing"
    for wrong in (Share(3, 2), Share(0, 0), Mean(1.0, -1.0, 5)):
        with pytest.raises(PerformanceError, match="expected"):
            performance(wrong, wrong)


def test_concept_drift_needs_labels_and_is_about_what_a_prediction_means():
    """More spam in the mail is none; spam that is called fine is."""
    before = {("spam", "spam"): 180, ("spam", "fine"): 20, ("fine", "fine"): 760, ("fine", "spam"): 40}
    more = {pair: rows * (4 if pair[0] == "spam" else 1) for pair, rows in before.items()}
    assert not concept(before, more).drifted
    missed = {**before, ("fine", "spam"): 120, ("fine", "fine"): 680}
    found = concept(before, missed)
    assert (found.drifted, found.prediction) == (True, "fine")
    assert found.moved == pytest.approx(0.1, abs=0.001) or found.moved == pytest.approx(-0.1, abs=0.001)
    assert concept({}, before).drifted is None


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=5))
def test_a_combined_score_is_made_of_its_parts(parts):
    """Between 0 and 1, never below any part, and computed again from what it returns."""
    found = combined(parts)
    assert 0 <= found.score <= 1
    assert all(found.score >= part - 1e-12 for part in parts.values())
    assert found.score == 1 - math.prod(1 - part for part in found.parts.values())
    assert found.name == "input drift"
    assert combined(parts, labels=True).name == "concept drift"


def test_a_part_beyond_its_range_is_refused():
    """A share is a share."""
    with pytest.raises(PerformanceError, match=r"part 'a': found 1.5, expected 0 to 1"):
        combined({"a": 1.5})


def test_a_sample_without_a_value_is_refused():
    """There is nothing to sort."""
    with pytest.raises(ColumnsError, match="a sample of 2 values: found none that is finite"):
        Sample.of([math.nan, math.inf])


def test_several_new_levels_are_new_and_not_one_value():
    """A window without a level that was known is constant only where it has one level."""
    reference = Reference.fit({"x": ["a", "b"] * 250})
    new = compare(Profile.of({"x": ["c", "d"] * 100}, reference)).features["x"]
    assert (new.verdict, new.detail) == (Verdict.NEW_LEVELS, ("c", "d"))
    assert compare(Profile.of({"x": ["c"] * 200}, reference)).features["x"].verdict is Verdict.CONSTANT
