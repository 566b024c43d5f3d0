"""DriftWatch: windows, verdicts as metrics, spans and events, and the counters that a backend adds up."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime

import numpy as np
import psutil
import pytest
from processes import CONFIGURE
from scipy import stats

from otel_llmon import metering, observers, telemetry
from otel_llmon.drifts import DriftWatch, bins
from otel_llmon.errors import SettingsError
from otel_llmon.scores.dense import FEWEST, LEVELS, PREDICTION, Tally, dense
from otel_llmon.scores.drift import compare
from otel_llmon.scores.performance import Share
from otel_llmon.scores.profile import Profile, Reference
from otel_llmon.scores.verdicts import Verdict
from otel_llmon.semconv import drift as rows
from otel_llmon.testing import Clock, Recorder

NAMES = ("age", "income", PREDICTION)


def table(rng, count=1000, **moved):
    """Columns as a model sees them, some moved by so many deviations."""
    found = {name: rng.normal(moved.get(name.strip("@"), 0.0), 1, count) for name in NAMES}
    return found | {"city": rng.choice(["aix", "bex", "cly"], count)}


@pytest.fixture
def rng():
    """The same chance in every run."""
    return np.random.default_rng(11)


@pytest.fixture
def reference(rng):
    """A reference of three numeric features and a categorical one."""
    return Reference.fit(table(rng, 8000), created="2026-11-01T00:00:00+00:00")


@pytest.fixture
def whole():
    """Telemetry in memory, handed over whole."""
    with Recorder() as recorder:
        yield recorder


def by(points, *keys):
    """Return the values of points by some of their attributes, the last part of each key."""
    return {tuple(point.attributes.get(f"llmon.{key}") for key in keys): point.value for point in points}


def test_a_full_window_is_compared_and_told(recorder, rng, reference):
    """What the comparison of these rows says is what the gauges say, for every feature."""
    watch = DriftWatch(reference, "credit", "3")
    rows = table(rng, 1000, age=0.5)
    watch.add({name: column[:600] for name, column in rows.items()})
    assert watch.last is None
    watch.add({name: column[600:] for name, column in rows.items()})
    expected = compare(Profile.of(rows, reference))
    assert watch.last == expected
    points = recorder.points()
    scores = by(points["llmon.drift.score"], "feature", "method")
    for name, found in expected.features.items():
        assert scores[name, "psi"] == found.scores["psi"]
    assert scores["age", "ks"] == expected.features["age"].scores["ks"]
    assert scores["city", "jensen_shannon"] == expected.features["city"].scores["jensen shannon"]
    assert by(points["llmon.drift.p_value"], "feature", "method")["age", "combined"] < 1e-9
    states = by(points["llmon.drift.state"], "feature", "state")
    assert {feature: state for (feature, state), now in states.items() if now} == {
        "age": "drifted", "income": "stable", "city": "stable", PREDICTION: "stable"
    }  # fmt: skip
    assert recorder.value("llmon.drift.share", dict(watch.facts)) == 0.25


@pytest.mark.row("DR2")
def test_the_ks_gauge_is_scipys_on_the_same_rows(whole, rng):
    """A column of few values loses nothing to bins: statistic to the last digit, p-value to a hundredth of it."""
    before, now = rng.poisson(4, 6000).astype(float), rng.poisson(4.2, 900).astype(float)
    watch = DriftWatch(Reference.fit({"calls": before}), "m", window=900)
    watch.add({"calls": now})
    expected = stats.ks_2samp(before, now, method="asymp")
    observers.read_now(10)
    points = whole.points()
    assert by(points["llmon.drift.score"], "method")[("ks",)] == pytest.approx(expected.statistic, abs=1e-12)
    assert by(points["llmon.drift.p_value"], "method")[("ks",)] == pytest.approx(expected.pvalue, rel=0.01)


def test_a_matrix_has_the_features_of_the_reference(whole, rng, reference):
    """In their order, of whatever kinds; lists of lists too. One of another width has none of them."""
    found = table(rng, 300)
    rows = [list(row) for row in zip(*(found[feature.name] for feature in reference.features), strict=True)]
    for matrix in (rows, np.array(rows, dtype=object)):
        watch = DriftWatch(reference, "m", window=300)
        watch.add(matrix)
        assert watch.last == compare(Profile.of(found, reference))
    watch.add([row[:2] for row in rows])
    assert Verdict.ABSENT in watch.last.features["city"].verdicts


def test_windows_are_judged_on_the_beat(whole, rng, reference):
    """Nobody has to ask: what is full is compared by the observers' thread, and before the last flush."""
    watch = DriftWatch(reference, "m", window=500)
    watch.add(table(rng, 500))
    assert not whole.points().get("llmon.drift.share")
    assert observers.read_now(10)
    assert whole.value("llmon.drift.share", dict(watch.facts)) == 0.0


def test_windows_are_judged_again_after_observers_were_detached(whole, rng, reference):
    """As where a program is set up anew: the next collection sees to it, once there are observers again."""
    watch = DriftWatch(reference, "m", window=500)
    observers.detach_all()
    watch.add(table(rng, 500))
    observers.gauge("mine", lambda: 1.0)
    whole.points()
    assert observers.read_now(10)
    assert whole.value("llmon.drift.share", dict(watch.facts)) == 0.0
    observers.sampler.remove("gauge mine")


def test_chance_alone_flags_few_batches_of_whatever_size(whole, rng):
    """Of 200 features that have not changed, from 50 rows on: not one batch in twenty, and here none."""
    names = [f"f{number:03d}" for number in range(200)]
    watch = DriftWatch(Reference.fit({name: rng.normal(size=3000) for name in names}, correlation=False), "m")
    flagged = 0
    for size in (50, 100, 1000):
        for number in range(15):
            batch = DriftWatch(watch.reference, f"{size}-{number}", window=10_000)
            batch.add_matrix(rng.normal(size=(size, 200)))
            flagged += bool(batch.check().changed)
    assert flagged <= 2


def test_windows_hold_as_many_rows_as_they_should(whole, rng, reference):
    """Small batches fill a window to the row; a large one is one window of all whole windows that it holds."""
    watch = DriftWatch(reference, "m", window=300)
    for _ in range(4):
        watch.add(table(rng, 130))
    assert (watch.last.rows, watch.detector.windows) == (300, 1)
    watch.add(table(rng, 1000))
    assert (watch.last.rows, watch.detector.windows) == (900, 3)
    matrix = np.stack([table(rng, 1000)[name] for name in reference.numeric], axis=1)
    for start in range(0, 1000, 7):
        watch.add_matrix(matrix[start : start + 7])
    assert watch.detector.windows == 6
    assert watch.check().rows == 300 + (4 * 130 + 2000) % 300


def test_rows_by_the_matrix_are_rows_of_the_table(whole, rng, reference):
    """Both ways count alike, whatever the size of what comes at once."""
    rows = table(rng, 1000)
    matrix = np.stack([rows[name] for name in reference.numeric], axis=1)
    one, other = DriftWatch(reference, "one"), DriftWatch(reference, "other")
    for start in range(0, 1000, 300):
        one.add_matrix(matrix[start : start + 300])
    other.add({name: rows[name] for name in reference.numeric})
    assert one.last.features["age"] == other.last.features["age"]


@pytest.mark.row("DR8")
def test_one_of_twenty_features_that_moves_is_found_and_no_other(whole, rng):
    """A shift of one deviation: flagged, with its share; the largest score is that feature's."""
    names = [f"f{number:02d}" for number in range(20)]
    reference = Reference.fit({name: rng.normal(size=5000) for name in names})
    watch = DriftWatch(reference, "m")
    watch.add({name: rng.normal(float(name == "f07"), 1, 1000) for name in names})
    assert [found.name for found in watch.last.judged if found.changed] == ["f07"]
    points = whole.points()
    assert points["llmon.drift.share"][0].value == 1 / 20
    highest = by(points["llmon.drift.score.max"], "method")[("ks",)]
    assert highest == by(points["llmon.drift.score"], "feature", "method")["f07", "ks"] > 0.3


@pytest.mark.row("DR7")
def test_a_better_model_has_not_drifted(whole, reference):
    """From 0.80 to 0.95 is no drift, and the gauge is negative; from 0.95 to 0.80 is."""
    watch = DriftWatch(reference, "m")
    better = watch.performance(Share(950, 1000), baseline=Share(800, 1000))
    assert (better.drifted, better.worse) == (False, pytest.approx(-0.15))
    assert by(whole.points()["llmon.drift.score"], "feature", "method") == {(None, "performance"): better.worse}
    worse = watch.performance(Share(800, 1000), baseline=Share(950, 1000))
    assert worse.drifted
    assert by(whole.points()["llmon.drift.score"], "method")[("performance",)] == pytest.approx(0.15)
    plain = watch.performance(3.5, baseline=3.0, higher_is_better=False)
    assert (plain.worse, plain.drifted) == (0.5, None)


@pytest.mark.row("DR9")
def test_the_parts_recombine_to_the_whole(whole, rng, reference):
    """One number between 0 and 1; it is called concept drift only once there are labels."""
    watch = DriftWatch(reference, "m")
    watch.add(table(rng, 1000, age=1.0, prediction=1.0))
    observers.read_now(10)
    parts = {part: value for (part,), value in by(whole.points()["llmon.drift.combined"], "part").items()}
    together = parts.pop("input_drift")
    assert set(parts) == {"features", "prediction", "correlation"}
    assert together == pytest.approx(1 - np.prod([1 - part for part in parts.values()]))
    watch.performance(Share(700, 1000), baseline=Share(900, 1000))
    parts = {part: value for (part,), value in by(whole.points()["llmon.drift.combined"], "part").items()}
    assert parts.pop("concept_drift") == pytest.approx(1 - np.prod([1 - part for part in parts.values()]))
    assert parts["performance"] == pytest.approx(0.2)


@pytest.mark.row("DR13")
def test_a_thousand_features_are_twenty_series_and_one(recorder, rng):
    """The first twenty by weight; one that changes takes the place of one that has not; the others are the worst."""
    names = [f"f{number:04d}" for number in range(1000)]
    reference = Reference.fit({name: rng.normal(size=400) for name in names}, correlation=False)
    watch = DriftWatch(reference, "m", weights={"f0500": 2.0}, window=400)
    seen = set()
    for shift in (0.0, 0.0, 3.0):
        watch.add({name: rng.normal(shift * (name == "f0900"), 1, 400) for name in names})
        assert watch.last
        points = recorder.points()
        scores = by(points["llmon.drift.score"], "feature", "method")
        shown = {feature for feature, method in scores if method == "ks"}
        seen |= shown
        assert len(shown) == 21
        assert {"other", "f0500"} <= shown
        assert len({feature for feature, _ in by(points["llmon.drift.state"], "feature", "state")}) == 21
    assert "f0900" in shown
    assert len(seen) == 22
    assert scores["f0900", "ks"] == watch.last.features["f0900"].scores["ks"]
    hidden = [found.scores["ks"] for name, found in watch.last.features.items() if name not in shown]
    assert scores["other", "ks"] == max(hidden)


@pytest.mark.row("DR14")
def test_a_restart_gives_the_same_scores(whole, rng, reference, tmp_path):
    """The reference comes from its file, with the same hash; its age is told."""
    reference.save(tmp_path / "credit.json")
    rows, found = table(rng, 1000, age=0.2), []
    for number, each in enumerate((reference, Reference.load(tmp_path / "credit.json"))):
        watch = DriftWatch(each, f"m{number}")
        watch.add(rows)
        found.append(watch.last)
    assert found[0] == found[1]
    [age] = [
        point.value for point in whole.points()["llmon.drift.reference.age"] if point.attributes["llmon.model"] == "m1"
    ]
    assert age == pytest.approx((datetime.now(UTC) - datetime(2026, 11, 1, tzinfo=UTC)).total_seconds(), abs=60)


@pytest.mark.row("DR16")
def test_what_is_no_value_changes_nothing_but_its_own_verdict(whole, rng, reference):
    """One NaN leaves every score as it is without that row; all missing, infinite, constant and few say so."""
    rows = table(rng, 999, age=0.1)
    hurt = {name: np.append(column, "aix" if name == "city" else column[0]) for name, column in rows.items()}
    hurt["age"][-1] = np.nan
    expected = compare(Profile.of(rows, reference)).features["age"]
    watch = DriftWatch(reference, "m", window=1000)
    watch.add(hurt)
    found = watch.last.features["age"]
    assert (found.verdict, found.p_value, found.rows) == (expected.verdict, expected.p_value, 999)
    assert found.scores | {"missing": 0.0} == pytest.approx(expected.scores, abs=1e-7)
    watch.add({"age": [np.nan] * 1000, "income": [np.inf] * 500 + [0.0] * 500, PREDICTION: [7.0] * 1000})
    verdicts = {name: found.verdict for name, found in watch.last.features.items()}
    assert verdicts == {
        "age": Verdict.ALL_MISSING,
        "income": Verdict.INFINITE,
        PREDICTION: Verdict.CONSTANT,
        "city": Verdict.ABSENT,
    }
    observers.read_now(10)
    points = whole.points()
    states = by(points["llmon.drift.state"], "feature", "state")
    assert {feature: state for (feature, state), now in states.items() if now} == {
        name: str(verdict) for name, verdict in verdicts.items()
    }
    assert not {feature for feature, _ in by(points["llmon.drift.score"], "feature", "method")} & {"age", "city"}


def test_what_cannot_be_said_has_a_state_and_no_score(whole, rng):
    """Before a window is full, with too few rows, and for a feature that the reference knows nothing of."""
    nothing = [1.0] * 20 + [None] * 980
    reference = Reference.fit({"a": rng.normal(size=1000), "b": nothing}, kinds={"b": "numeric"})
    watch = DriftWatch(reference, "m")
    assert by(whole.points()["llmon.drift.state"], "feature", "state") == {
        ("a", "not judged"): 1, ("b", "not judged"): 1
    }  # fmt: skip
    watch.add({"a": rng.normal(size=10), "b": [1.0] * 10})
    watch.check()
    points = whole.points()
    assert by(points["llmon.drift.state"], "feature", "state") == {
        ("a", "not judged"): 0, ("a", "insufficient"): 1, ("b", "not judged"): 0, ("b", "no reference"): 1
    }  # fmt: skip
    assert not points.keys() & {"llmon.drift.score", "llmon.drift.p_value", "llmon.drift.share", "llmon.drift.combined"}


def test_two_references_of_one_model_are_told_as_mixed(whole, rng, reference):
    """The newest watch speaks, and says that another one disagrees; each reference's rows are counted apart."""
    other = Reference.fit(table(rng, 4000))
    watches = [DriftWatch(reference, "m", "1"), DriftWatch(other, "m", "1")]
    points = whole.points()
    states = by(points["llmon.drift.state"], "feature", "state")
    assert {state for (_, state), now in states.items() if now} == {"mixed reference"}
    assert {one for (one,) in by(points["llmon.drift.bin.rows"], "reference")} == {reference.hash, other.hash}
    del watches[0]
    states = by(whole.points()["llmon.drift.state"], "feature", "state")
    assert {state for (_, state), now in states.items() if now} == {"not judged"}


def test_a_check_is_a_span_and_an_event_and_closes_nothing(whole, rng, reference):
    """Over the newest rows: those of the open window and of the one before; asked twice it says the same."""
    watch = DriftWatch(reference, "credit", "3", window=800)
    assert watch.check() is None
    watch.add(table(rng, 500, age=1.0))
    first, again = watch.check(), watch.check()
    assert first == again
    assert (first.rows, watch.last) == (500, None)
    assert whole.spans()["drift check"].attributes == {
        "llmon.model": "credit",
        "llmon.model.version": "3",
        "llmon.reference": reference.hash,
        "llmon.rows": 500,
        "llmon.state": "drifted",
    }
    told = whole.logs()[0]
    assert told.event_name == "drift.checked"
    assert told.span_id == whole.finished[0].context.span_id
    assert dict(told.attributes) == {
        "model": "credit", "version": "3", "reference": reference.hash, "rows": 500, "share": 0.25,
        "correlation": False, "features": ("age: drifted",), "verdict": "drifted",
    }  # fmt: skip
    assert (
        by(whole.points()["llmon.drift.score"], "feature", "method")["age", "ks"] == first.features["age"].scores["ks"]
    )
    watch.add(table(rng, 500))
    assert watch.last.rows == 800
    assert watch.check().rows == 1000


def test_drift_that_comes_and_goes_is_told_once_each(whole, rng, reference):
    """An event where a window differs for the first time, an alarm of the evidence, and an event where it is over."""
    watch = DriftWatch(reference, "m", window=400)
    for shift in (0, 0, 1, 1, 0, 0):
        watch.add(table(rng, 400, income=shift))
        assert watch.last
    assert [record.event_name for record in whole.logs()] == ["drift.detected", "drift.alarm", "drift.ended"]
    assert whole.logs()[0].attributes["features"] == ("income: drifted",)
    watch.detector.reset()
    assert not watch.detector.alarm


def test_a_window_that_says_nothing_neither_ends_drift_nor_begins_it(whole, rng, reference):
    """It is as before until a verdict says otherwise."""
    watch = DriftWatch(reference, "m", window=10)
    verdicts = []
    for size, shift in ((400, 0), (10, 0), (400, 1), (10, 0), (400, 1), (10, 0), (400, 0), (10, 0)):
        watch.add(table(rng, size, income=shift))
        verdicts.append(watch.last.changed)
    assert verdicts == [False, None, True, None, True, None, False, None]
    told = [record.event_name for record in whole.logs()]
    assert [name for name in told if name != "drift.alarm"] == ["drift.detected", "drift.ended"]


def test_the_evidence_is_the_detectors(whole, rng, reference):
    """Over all features without an attribute, and of each that is shown."""
    watch = DriftWatch(reference, "m", window=300)
    watch.add(table(rng, 300, age=0.4))
    watch.add(table(rng, 300, age=0.4))
    assert watch.last
    told = by(whole.points()["llmon.drift.evidence"], "feature")
    assert told.pop((None,)) == watch.detector.score
    assert told == {(name,): score for name, score in watch.detector.scores().items()}


def test_weights_say_how_much_a_feature_matters(whole, rng, reference):
    """One of four features has moved, and is half of what matters."""
    watch = DriftWatch(reference, "m", weights={"age": 3.0, "income": 2.0, "city": 1.0})
    watch.add(table(rng, 1000, age=1.0))
    assert watch.last
    assert whole.value("llmon.drift.weighted", dict(watch.facts)) == 0.5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"reference": {"a": [1.0]}}, "reference: found dict, expected a Reference, or the file of one"),
        ({"limits": 5}, "limits: found int, expected Limits"),
        ({"weights": 5}, "weights: found int"),
        ({"model": " "}, "model ' ': expected a name"),
        ({"window": "9"}, "window='9'"),
        ({"window": 0}, "window=0"),
        ({"top": True}, "top=True"),
        ({"weights": {"agee": 1.0}}, "weights: found 'agee'"),
        ({"weights": {"age": -1.0}}, "weights: found -1.0 for 'age'"),
    ],
)
def test_what_cannot_be_is_refused_at_once(reference, wrong, said):
    """Where the caller can still put it right."""
    with pytest.raises(SettingsError, match=said):
        DriftWatch(**({"reference": reference, "model": "m"} | wrong))


def test_a_reference_may_be_the_file_of_one(reference, tmp_path):
    """As ModelMonitor takes it."""
    reference.save(tmp_path / "r.json")
    assert DriftWatch(str(tmp_path / "r.json"), "m").reference == reference
    assert DriftWatch(tmp_path / "r.json", "m").reference == reference


class _Hostile:
    def __getattr__(self, name):
        raise RuntimeError("SECRET")


@pytest.mark.parametrize(
    "table", ["SECRET", ["SECRET"], {"age": "SECRET"}, _Hostile()], ids=["text", "rows", "column", "hostile"]
)
def test_what_is_no_table_is_told_without_what_it_says(whole, reference, caplog, table):
    """No value leaves: types do."""
    DriftWatch(reference, "m").add(table)
    assert "rows left out: " in caplog.text
    assert "SECRET" not in caplog.text


def test_what_is_no_table_is_counted_and_told_once(whole, reference, caplog):
    """Adding never raises: the watched program has nothing to do with it."""
    watch = DriftWatch(reference, "m")
    for wrong in (object(), None, 7, {"age": [1.0], "income": [1.0, 2.0]}, [[1, 2], [3]]):
        watch.add(wrong)
    for wrong in (np.zeros(3), np.zeros((2, 9)), "text", None):
        watch.add_matrix(wrong)
    assert whole.value("llmon.self.errors", {"llmon.source": "drift"}) == 9
    assert len([record for record in caplog.records if "rows left out" in record.message]) == 1
    assert watch.performance("good", baseline=0.8) is None
    watch.add({"age": ["old"] * 1000, "unheard": [1.0] * 1000})
    assert watch.last.features["age"].verdict is Verdict.WRONG_TYPE
    assert watch.last.features["unheard"].verdict is Verdict.UNKNOWN


def test_all_bins_are_there_from_the_first_collection_on_and_only_grow(recorder, rng, reference):
    """Zero is said as zero; a bin counts the rows up to it, its last one all of them, and names the next."""
    watch = DriftWatch(reference, "m")
    first = recorder.points()["llmon.drift.bin.rows"]
    assert {point.value for point in first} == {0.0}
    count = sum(len(one.ends) for one in dense(reference))
    assert len(first) == count
    before = None
    for size in (10, 700, 1300):
        watch.add(table(rng, size))
        points = recorder.points()
        now = by(points["llmon.drift.bin.rows"], "feature", "bin")
        assert len(now) == count
        assert before is None or all(now[which] >= before[which] for which in now)
        for name in ("llmon.drift.bin.score", "llmon.drift.bin.shift"):
            assert all(point.value >= 0 for point in points[name])
        before = now
    follows = by(points["llmon.drift.bin.rows"], "feature", "bin.next", "bin")
    for feature in (*NAMES, "city"):
        chain = sorted((this, after) for name, after, this in follows if name == feature and after)
        assert [after for _, after in chain] == [f"{number:02d}" for number in range(1, len(chain) + 1)]
        assert follows[feature, None, chain[-1][1]] == 2010


def test_the_counters_say_what_a_profile_of_all_rows_says(whole, rng, reference):
    """Of several threads, by table and by matrix, over windows and the rest that is in none yet."""
    watch = DriftWatch(reference, "m", window=170)
    parts = [table(rng, 97) for _ in range(24)]

    def work(mine):
        for number, part in enumerate(mine):
            watch.add(part) if number % 2 else watch.add_matrix(
                np.stack([part[name] for name in reference.numeric], axis=1)
            )

    threads = [threading.Thread(target=work, args=(parts[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        whole.points()
    for thread in threads:
        thread.join()
    profile = Profile(reference)
    for part in parts:
        profile.add({name: part[name] for name in reference.numeric})
    points, tally = whole.points(), Tally.of(profile)
    counted = by(points["llmon.drift.bin.rows"], "feature", "bin")
    scored = by(points["llmon.drift.bin.score"], "feature", "method")
    shifted = by(points["llmon.drift.bin.shift"], "feature", "direction")
    for one in dense(reference):
        if one.name != "city":
            sums = one.sums(tally)
            assert [counted[one.name, f"{place:02d}"] for place in range(len(one.ends))] == sums.rows.tolist()
            assert scored[one.name, "location"] == pytest.approx(sums.scores[0])
            assert shifted[one.name, "up"] - shifted[one.name, "down"] == pytest.approx(sums.shift)


def test_two_watches_of_one_model_and_reference_share_their_counters(whole, rng, reference):
    """No series is told twice, and the sum does not fall when one of them ends."""
    one, other = DriftWatch(reference, "m"), DriftWatch(reference, "m")
    one.add(table(rng, 300))
    other.add(table(rng, 200))
    last = {"llmon.model": "m", "llmon.reference": reference.hash, "llmon.feature": "city", "llmon.bin": "03"}
    assert whole.value("llmon.drift.bin.rows", last) == 500
    attributes = [tuple(sorted(point.attributes.items())) for point in whole.points()["llmon.drift.bin.rows"]]
    assert len(attributes) == len(set(attributes))
    del one
    assert whole.value("llmon.drift.bin.rows", last) == 500


def test_more_bins_than_an_instrument_holds_are_told_through_several(recorder, rng):
    """The SDK takes 2,000 series for an instrument; here are more, each once, and their constants."""
    reference = Reference.fit({f"f{number}": rng.normal(size=300) for number in range(120)}, correlation=False)
    watch = DriftWatch(reference, "m")
    watch.add({f"f{number}": rng.normal(size=50) for number in range(120)})
    points, series = recorder.points(), dense(reference)
    assert sum(len(one.ends) for one in series) > 3000
    for name, rows_in_all in (("llmon.drift.bin.rows", 50), ("llmon.drift.reference.rows", 300)):
        found = by(points[name], "feature", "bin")
        assert len(found) == len(points[name]) == sum(len(one.ends) for one in series)
        assert all(found[one.name, f"{len(one.ends) - 1:02d}"] == rows_in_all for one in series)
    assert not [point for point in points["llmon.drift.bin.rows"] if "otel.metric.overflow" in point.attributes]


def test_constants_are_told_at_first_and_then_now_and_then(reference):
    """They never change: in the first two minutes at every collection, later in one minute of four."""
    clock = Clock()
    ledger = bins.Ledger(reference, {}, clock)
    told = []
    for minute in range(12):
        clock.now = minute * 60.0
        told.append(bool(ledger.constants(rows.REFERENCE_ROWS)))
    assert told == [True, True, False, False] + [True, False, False, False] * 2
    clock.now = 240.0
    assert [len(ledger.constants(row)) for row in bins.CONSTANTS] == [88, 81, 16, 16, 4]


def test_many_features_keep_fewer_bins_and_very_many_are_cut(rng):
    """What is kept is a reference's alone to say; merged bins keep their reference's rows and means."""
    columns = {f"f{number}": rng.normal(size=200) for number in range(50)} | {PREDICTION: rng.random(200)}
    reference = Reference.fit(columns, correlation=False)
    some = dense(reference, 51 * 10)
    assert some[0].name == PREDICTION
    assert {len(one.ends) for one in some} == {10}
    assert {one.rows[-1] for one in some} == {200.0}
    whole = {one.name: one for one in dense(reference)}
    for one in some:
        assert one.steps.sum() <= whole[one.name].steps.sum()
        assert set(one.rows) <= set(whole[one.name].rows)
    assert [one.name for one in dense(reference, 3 * FEWEST)] == [PREDICTION, "f0", "f1"]


def test_of_many_levels_the_frequent_ones_are_told_and_the_others_together(whole, rng):
    """At most so many bins, the unknown levels in the last; no name of a level leaves."""
    reference = Reference.fit({"word": [f"secret{number}" for number in rng.zipf(1.5, 4000) % 90]})
    watch = DriftWatch(reference, "m")
    watch.add({"word": ["secret1"] * 60 + ["secret89"] * 5 + ["unheard"] * 35})
    counted = by(whole.points()["llmon.drift.bin.rows"], "bin")
    assert len(counted) == LEVELS
    assert (counted["26",], counted["27",]) == (65, 100)
    assert "secret" not in str(whole.metrics())


@pytest.mark.row("DR11")
def test_memory_does_not_grow_with_the_rows(whole, rng):
    """Ten million rows: what is kept are counts."""
    reference = Reference.fit({f"f{number}": rng.normal(size=2000) for number in range(3)})
    watch = DriftWatch(reference, "m")
    block, process = rng.normal(size=(100_000, 3)), psutil.Process()
    for _ in range(5):
        watch.add_matrix(block)
    before = process.memory_info().rss
    for _ in range(95):
        watch.add_matrix(block)
    assert watch.last.rows == 100_000
    assert process.memory_info().rss - before < 4 << 20
    assert by(whole.points()["llmon.drift.bin.rows"], "feature", "bin")["f0", "27"] == 10_000_000


def test_with_telemetry_off_nothing_is_counted(whole, rng, reference):
    """And nothing is said."""
    telemetry.state.level = telemetry.DISABLED
    watch = DriftWatch(reference, "m")
    watch.add(table(rng, 2000))
    watch.add_matrix(np.zeros((5, 3)))
    assert (watch.last, watch.check()) == (None, None)
    assert not [name for name in whole.points() if name.startswith("llmon.drift")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_counts_its_own_rows_only(program, sink):
    """What the parent has counted is told by the parent; the sum over both is what both have seen."""
    done = program(f"""
        import os
        import numpy as np
        from otel_llmon.drifts import DriftWatch
        from otel_llmon.scores.profile import Reference
        {CONFIGURE}
        rng = np.random.default_rng(1)
        watch = DriftWatch(Reference.fit({{"a": rng.normal(size=500)}}), "m", window=400)
        watch.add({{"a": rng.normal(size=1500)}})
        assert watch.last.rows == 1200
        child = os.fork()
        if not child:
            assert watch.last is None and watch.detector.windows == 0
            watch.add({{"a": rng.normal(size=250)}})
            handle.shutdown()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        handle.shutdown()
    """)
    assert done.returncode == 0, done.stderr
    rows = {}
    for resource, metric, point in sink._points():
        held = {pair.key: pair.value.string_value for pair in point.attributes}
        if metric.name == "llmon.drift.bin.rows" and "llmon.bin.next" not in held:
            rows[str(resource)] = max(rows.get(str(resource), 0.0), point.as_double)
    assert sorted(rows.values()) == [250, 1500]


def test_every_reading_has_the_attributes_of_its_row(whole, rng, reference):
    """No others, so that a rule can name them all."""
    watch = DriftWatch(reference, "m", "2", weights={"age": 1.0})
    watch.add(table(rng, 2000, age=0.3))
    watch.performance(Share(900, 1000), baseline=Share(910, 1000))
    assert watch.last
    ours = {row.name: row for row in vars(rows).values() if isinstance(row, metering.Metric)}
    points = whole.points()
    assert set(ours) <= set(points)
    for name, row in ours.items():
        assert set().union(*(point.attributes for point in points[name])) <= set(row.attributes), name
