"""ModelMonitor: what it counts, joins and reports, and what it does with what it cannot take."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from otel_llmon import ModelMonitor, Reference, phase
from otel_llmon.errors import LlmonError, SettingsError
from otel_llmon.scores.drift import Verdict
from otel_llmon.scores.performance import Mean, Share
from otel_llmon.semconv import attributes as key

MODEL = {key.MODEL: "churn", key.MODEL_VERSION: "1"}
TRUTHS = ["cat", "dog", "dog", "cat", "eel", "dog"]
SAID = ["cat", "dog", "cat", "cat", "dog", "dog"]


@pytest.fixture
def monitor(recorder):
    """A monitor without a reference."""
    return ModelMonitor("churn", "1")


@pytest.fixture(scope="module")
def reference():
    """Two numbers as they were when all was well."""
    random = np.random.default_rng(1)
    return Reference.fit({"age": random.normal(40, 10, 5000), "income": random.exponential(1000, 5000)})


def value(recorder, name, **attributes):
    """What was exported of one series, its attributes by their constants' names in lower case."""
    wanted = MODEL | {getattr(key, name.upper()): found for name, found in attributes.items()}
    return recorder.value(name, wanted)


def told(recorder, name="llmon.prediction"):
    """The attributes of the records of one kind."""
    return [dict(record.attributes) for record in recorder.logs() if record.event_name == name]


def series(recorder, name, *keys):
    """Every series of a counter by these attributes."""
    points = recorder.points().get(name, ())
    return {tuple(point.attributes.get(each) for each in keys): point.value for point in points}


def test_a_prediction_is_a_record_a_count_and_two_histograms(recorder, monitor):
    """All of one call."""
    monitor.log({"age": 37}, "cat", proba=0.75, latency=0.02, id="p1", metadata={"tenant": "a"})
    [record] = told(recorder)
    assert record == {
        "model": "churn",
        "version": "1",
        "sample_rate": 1.0,
        "prediction": "cat",
        "confidence": 0.75,
        "duration": 0.02,
        "id": "p1",
        "metadata.tenant": "a",
    }
    points = recorder.points()
    assert series(recorder, "llmon.predictions", key.PREDICTED) == {("cat",): 1}
    assert [(point.count, point.sum) for point in points["llmon.prediction.confidence"]] == [(1, 0.75)]
    assert [(point.count, point.sum) for point in points["llmon.prediction.duration"]] == [(1, 0.02)]


def test_the_histograms_have_the_trace_as_exemplar(recorder, monitor):
    """So that a slow prediction is found by its trace."""
    with phase("serve"):
        monitor.log(None, "cat", proba=0.5, latency=4.0)
    points = recorder.points()
    span = recorder.spans()["serve"].context
    for name in ("llmon.prediction.duration", "llmon.prediction.confidence"):
        [exemplar] = points[name][0].exemplars
        assert exemplar.span_id == span.span_id
    [record] = [each for each in recorder.logs() if each.event_name == "llmon.prediction"]
    assert record.trace_id == span.trace_id


@pytest.mark.parametrize("batch", [False, True], ids=["one by one", "as a batch"])
def test_a_batch_counts_as_its_rows_do(recorder, monitor, batch):
    """Every number, and every record but for its time."""
    rows = [{"age": float(place)} for place in range(6)]
    probas, latencies, ids = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.01] * 6, [f"p{place}" for place in range(6)]
    if batch:
        monitor.log_batch(rows, SAID, probas, TRUTHS, latencies, ids, {"run": 7})
    else:
        for row in zip(rows, SAID, probas, TRUTHS, latencies, ids, [{"run": 7}] * 6, strict=True):
            monitor.log(*row)
    counted = series(recorder, "llmon.predictions.labeled", key.PREDICTED, key.ACTUAL)
    assert counted == Counter(zip(SAID, TRUTHS, strict=True))
    assert series(recorder, "llmon.predictions", key.PREDICTED) == {("cat",): 3, ("dog",): 3}
    [confidence] = recorder.points()["llmon.prediction.confidence"]
    assert (confidence.count, confidence.sum) == (6, pytest.approx(2.1))
    assert [record["id"] for record in told(recorder)] == ids
    assert told(recorder)[2] == {
        "model": "churn",
        "version": "1",
        "sample_rate": 1.0,
        "prediction": "cat",
        "confidence": 0.3,
        "duration": 0.01,
        "id": "p2",
        "truth": "dog",
        "correct": False,
        "metadata.run": 7,
    }


@pytest.mark.parametrize("place", range(3))
def test_nan_in_a_batch_is_no_value_wherever_it_stands(recorder, monitor, place):
    """The sums of the others stay sums."""
    numbers = [0.25, 0.5, 0.5]
    numbers[place] = float("nan")
    monitor.log_batch(None, ["cat"] * 3, proba=numbers, latency=numbers)
    for name in ("llmon.prediction.confidence", "llmon.prediction.duration"):
        [point] = recorder.points()[name]
        assert (point.count, point.sum) == (2, sum(number for number in numbers if number <= 1))


def test_a_truth_that_comes_later_is_joined_by_its_id(recorder, monitor):
    """As an event that carries the id, and in the same counts as one that comes at once."""
    monitor.log(None, "cat", id="p1")
    monitor.log_batch(None, ["dog", "cat"], id=[2, 3])
    assert value(recorder, "llmon.prediction.waiting") == 3
    monitor.outcome("p1", "cat")
    monitor.outcome(2, "cat")
    monitor.outcome("2", "cat")  # it waits no more
    assert series(recorder, "llmon.predictions.labeled", key.PREDICTED, key.ACTUAL) == {
        ("cat", "cat"): 1,
        ("dog", "cat"): 1,
    }
    assert series(recorder, "llmon.prediction.outcomes", key.STATE) == {("joined",): 2, ("unknown",): 1}
    assert value(recorder, "llmon.prediction.waiting") == 1
    first = told(recorder, "llmon.prediction.outcome")[0]
    assert (first["id"], first["prediction"], first["truth"], first["correct"]) == ("p1", "cat", "cat", True)


def test_another_process_may_tell_the_truth(recorder, monitor):
    """It says what was predicted, since it cannot know."""
    monitor.outcome("p1", "dog", prediction="cat")
    assert series(recorder, "llmon.predictions.labeled", key.PREDICTED, key.ACTUAL) == {("cat", "dog"): 1}


def test_what_waits_is_bounded_and_what_had_to_go_is_counted(recorder, caplog):
    """The oldest goes; two of one id are one that waits."""
    monitor = ModelMonitor("churn", "1", most_waiting=2)
    for place in range(5):
        monitor.log(None, "cat", id=f"p{place}")
    monitor.log(None, "dog", id="p4")
    assert series(recorder, "llmon.prediction.outcomes", key.STATE) == {("dropped",): 4}
    assert value(recorder, "llmon.prediction.waiting") == 2
    monitor.outcome("p4", "dog")
    assert series(recorder, "llmon.predictions.labeled", key.PREDICTED, key.ACTUAL) == {("dog", "dog"): 1}
    assert caplog.text.count("most_waiting=") == 1


def test_numbers_have_errors_in_place_of_classes(recorder, monitor):
    """From sums that a backend can add up: of what was too much, of what was too little, of squares."""
    for said, true in ((2.0, 1), (5.0, 9.0), (1.5, 1.5)):
        monitor.log(None, said, truth=true)
    assert series(recorder, "llmon.prediction.error", key.DIRECTION) == {("over",): 1, ("under",): 4}
    assert value(recorder, "llmon.prediction.error.squared") == 17
    assert value(recorder, "llmon.predictions.measured") == 3
    errors = monitor.report().errors
    assert errors == (3, pytest.approx(5 / 3), pytest.approx(math.sqrt(17 / 3)), -1)
    assert told(recorder)[0]["error"] == 1
    assert "llmon.predictions.labeled" not in recorder.points()


def test_classes_past_the_first_are_one(recorder):
    """In the metric; the record says which."""
    monitor = ModelMonitor("churn", "1", most_classes=2)
    for name in ("a", "b", "c", "d", "a"):
        monitor.log(None, name, truth=name)
    assert series(recorder, "llmon.predictions", key.PREDICTED) == {("a",): 2, ("b",): 1, ("other",): 2}
    assert series(recorder, "llmon.predictions.labeled", key.PREDICTED, key.ACTUAL)["other", "other"] == 2
    assert [record["prediction"] for record in told(recorder)] == ["a", "b", "c", "d", "a"]
    assert told(recorder)[2]["correct"] is True


def test_accuracy_is_exact_however_many_classes_there_are(recorder):
    """Of two that are `other` the pair says whether both were the same; the means are of classes with names."""
    monitor = ModelMonitor("imagenet", "1", most_classes=2)
    for said, true in (("a", "a"), ("b", "a"), ("c", "c"), ("c", "d"), ("e", "d"), ("d", "b"), ("b", "c")):
        monitor.log(None, said, truth=true)
    report = monitor.report()
    labeled = series(recorder, "llmon.predictions.labeled", key.PREDICTED, key.ACTUAL)
    assert (labeled["other", "other"], labeled["other", "another other"]) == (1, 2)
    assert report.accuracy == sum(number for (said, true), number in labeled.items() if said == true) / 7 == 2 / 7
    assert report.scores.classes.keys() == {"a", "b"}
    assert report.recall == pytest.approx((1 / 2 + 0) / 2)
    assert report.precision == pytest.approx((1 + 0) / 2)


def test_a_class_may_be_called_other(recorder):
    """Then it has scores like any other."""
    monitor = ModelMonitor("churn", "1", classes=["spam", "other"])
    for said, true in (("other", "other"), ("spam", "other")):
        monitor.log(None, said, truth=true)
    report = monitor.report()
    assert report.accuracy == 0.5
    assert report.scores.classes["other"].recall == 0.5


def test_classes_without_names_have_no_means(recorder):
    """They have an accuracy."""
    monitor = ModelMonitor("imagenet", "1", most_classes=1)
    monitor.log(None, "a")
    monitor.log(None, "b", truth="b")
    report = monitor.report()
    assert (report.accuracy, report.precision, report.recall, report.f1) == (1, None, None, None)


def test_classes_may_be_named(recorder):
    """Then all processes tell the same ones apart, whatever comes first."""
    monitor = ModelMonitor("churn", "1", classes=["yes", "no"])
    for name in ("perhaps", "yes", "no"):
        monitor.log(None, name)
    assert series(recorder, "llmon.predictions", key.PREDICTED) == {("other",): 1, ("yes",): 1, ("no",): 1}


@pytest.mark.parametrize(
    ("said", "true"), [(True, 1), (1, True), (np.bool_(False), 0), (1, "1"), (np.int64(3), 3.0), ("a", np.str_("a"))]
)
def test_a_class_is_the_same_however_it_is_written(recorder, monitor, said, true):
    """As 1, "1", a boolean where the other is one, or a value of NumPy's."""
    monitor.log(None, said, truth=true)
    monitor.log(None, said, id="later")
    monitor.outcome("later", true)
    assert monitor.report().accuracy == 1


def test_the_task_says_what_a_number_is(recorder):
    """Where it is a class though it is a float, or a number though it is whole."""
    ModelMonitor("churn", "1", task="classification").log(None, 1.0, truth=1)
    assert series(recorder, "llmon.predictions.labeled", key.PREDICTED, key.ACTUAL) == {("1", "1"): 1}
    ModelMonitor("churn", "1", task="regression").log(None, 3, truth=5)
    assert value(recorder, "llmon.predictions.measured") == 1


@pytest.mark.parametrize(
    ("proba", "confidence"),
    [
        (0.5, 0.5),
        (np.float32(0.25), 0.25),
        ([0.1, 0.7, 0.2], 0.7),
        (np.array([0.4, 0.6]), 0.6),
        (np.array([[0.4, 0.6]]), 0.6),
        ({"cat": 0.3, "dog": 0.7}, 0.3),
        (1, 1.0),
    ],
)
def test_confidence_is_that_of_the_prediction(recorder, monitor, proba, confidence):
    """One number, or the largest, or the one of the class that was chosen."""
    monitor.log(None, "cat", proba=proba)
    assert told(recorder)[0]["confidence"] == pytest.approx(confidence)


@pytest.mark.parametrize(
    ("part", "arguments"),
    [
        ("prediction", {"prediction": None}),
        ("proba", {"proba": 1.5}),
        ("proba", {"proba": "high"}),
        ("latency", {"latency": -1}),
        ("latency", {"latency": float("inf")}),
        ("latency", {"latency": "soon"}),
        ("truth", {"truth": object()}),
        ("truth", {"prediction": 1.5, "truth": "cat"}),
        ("truth", {"prediction": 1.5, "truth": float("inf")}),
        ("features", {"features": 5}),
        ("features", {"features": "age"}),
        ("metadata", {"metadata": 5}),
    ],
)
def test_what_cannot_be_taken_is_counted_and_the_rest_is_taken(recorder, monitor, caplog, part, arguments):
    """With one warning for all of its kind."""
    for _ in range(3):
        monitor.log(**{"features": {"age": 3}, "prediction": "cat", **arguments})
    assert series(recorder, "llmon.prediction.violations", key.REASON) == {(part,): 3}
    assert len(told(recorder)) == 3
    assert monitor.report().predictions == 3
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"model 'churn': {part}: found ")
    assert "expected" in line or part == "truth"


class Hostile:
    """Whatever is asked of it raises."""

    def __getattribute__(self, name):
        if name in ("__class__", "__dict__"):
            return object.__getattribute__(self, name)
        raise RuntimeError("no")

    def __eq__(self, other):
        raise RuntimeError("no")

    def __hash__(self):
        raise RuntimeError("no")

    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize("place", range(7))
def test_nothing_that_is_logged_raises(recorder, monitor, reference, place):
    """Whatever an object does when it is looked at."""
    for watcher in (monitor, ModelMonitor("churn", "2", reference, send_features=True)):
        arguments = [{"age": 1.0, "income": 2.0}, "cat", 0.5, "cat", 0.1, "id", {"a": 1}]
        arguments[place] = Hostile()
        watcher.log(*arguments)
        watcher.log_batch(*[each if each is None else [each] for each in arguments])
        watcher.log_batch(*arguments)
        watcher.outcome(Hostile(), Hostile())
        watcher.log({"age": Hostile(), "income": 2.0}, "cat", metadata={"a": Hostile()})
        watcher.flush()
    assert recorder.points()


@pytest.mark.parametrize(
    "batch",
    [
        {"prediction": ["a", "b"], "truth": ["a"]},
        {"prediction": ["a", "b"], "proba": [0.5] * 3},
        {"prediction": ["a", "b"], "id": "ab"},
        {"prediction": ["a", "b"], "latency": [0.1]},
        {"prediction": 5},
        {"prediction": ["a", "b"], "features": {"age": [1, 2, 3]}},
        {"prediction": ["a", "b"], "features": {"age": [1, 2], "income": [1]}},
        {"prediction": ["a", "b"], "features": 5},
    ],
)
def test_a_ragged_batch_is_a_violation(recorder, reference, batch):
    """The part that does not fit is left out."""
    monitor = ModelMonitor("churn", "1", reference)
    monitor.log_batch(**{"features": None, **batch})
    assert sum(series(recorder, "llmon.prediction.violations", key.REASON).values()) == 1
    assert monitor.report().predictions == (0 if batch["prediction"] == 5 else 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": 5},
        {"version": 1},
        {"task": "guess"},
        {"most_classes": 0},
        {"most_classes": 1000},
        {"classes": range(100)},
        {"sample_rate": 2},
        {"sample_rate": True},
        {"send_features": "age"},
        {"hash_features": "age"},
        {"hash_key": "short"},
        {"most_waiting": -1},
        {"window": 0},
        {"baseline": "good"},
        {"baseline": 0.9, "reference": None},
        {"reference": "nowhere.json"},
        {"reference": 5},
    ],
)
def test_a_monitor_that_cannot_be_meant_is_refused(reference, wrong):
    """Where it is made, with what was found and expected."""
    with pytest.raises(LlmonError, match=r"expected|no such file"):
        ModelMonitor(**{"name": "churn", "reference": reference, **wrong})


@pytest.mark.parametrize(
    ("fitted", "message"),
    [
        ({"model": "other"}, "reference: found one of model 'other', expected 'churn'; fit one for it"),
        ({"model": "churn", "version": "2"}, "reference of model 'churn': found version '2', expected '1'"),
    ],
)
def test_a_reference_of_another_model_or_version_is_refused(fitted, message):
    """It says nothing of this one."""
    other = Reference.fit({"a": np.arange(100.0)}, **fitted)
    with pytest.raises(SettingsError) as caught:
        ModelMonitor("churn", "1", other)
    assert str(caught.value).startswith(message)


def test_no_quantile_lies_beyond_what_was_seen(recorder):
    """Of one value all are that one, wherever in its bucket it lies."""
    monitor = ModelMonitor("churn", "1")
    for _ in range(10):
        monitor.log([1.0], "a", 0.9, latency=0.012)
    report = monitor.report()
    assert report.confidence[-3:] == (0.9, 0.9, 0.9)
    assert report.duration[-3:] == (0.012, 0.012, 0.012)


def test_the_report_says_what_is_exported(recorder, reference):
    """Number for number."""
    monitor = ModelMonitor("churn", "1", reference, window=100)
    random = np.random.default_rng(5)
    for place in range(250):
        row = {"age": random.normal(40, 10), "income": random.exponential(1000)}
        said, true = random.choice(["a", "b", "c"], 2)
        monitor.log(row, str(said), random.uniform(), str(true), random.exponential(0.02), metadata={"n": place})
    monitor.log([1, 2, 3], "a", id="waits")
    monitor.outcome("never seen", "a")
    report = monitor.report()
    points = recorder.points()
    labeled = series(recorder, "llmon.predictions.labeled", key.PREDICTED, key.ACTUAL)
    assert report.confusion == labeled
    assert report.predictions == sum(series(recorder, "llmon.predictions", key.PREDICTED).values()) == 251
    assert report.classes == {
        name: number for (name,), number in series(recorder, "llmon.predictions", key.PREDICTED).items()
    }
    right = sum(number for (said, true), number in labeled.items() if said == true)
    assert report.accuracy == right / 250
    for spread, name in ((report.confidence, "confidence"), (report.duration, "duration")):
        [point] = points[f"llmon.prediction.{name}"]
        assert (spread.number, spread.low, spread.high) == (point.count, point.min, point.max)
        assert spread.mean == pytest.approx(point.sum / point.count)
    assert report.outcomes == {"unknown": 1}
    assert report.waiting == value(recorder, "llmon.prediction.waiting") == 1
    assert report.violations == {"features": 1}
    assert report.drift is monitor.drift.last
    assert report.quality.rows


def test_two_models_are_told_apart(recorder):
    """And two versions of one; a model without a version has none."""
    for name, version in (("a", "1"), ("a", "2"), ("b", None)):
        ModelMonitor(name, version).log(None, "x")
    assert set(series(recorder, "llmon.predictions", key.MODEL, key.MODEL_VERSION)) == {
        ("a", "1"),
        ("a", "2"),
        ("b", None),
    }


def test_inputs_that_changed_are_drift_and_bad_data(recorder, reference):
    """Of rows that came one by one, seen by both watches."""
    monitor = ModelMonitor("churn", "1", reference, window=500)
    random = np.random.default_rng(2)
    for _ in range(500):
        monitor.log({"age": random.normal(60, 10), "income": None}, "yes")
    report = monitor.report()
    assert report.drift.features["age"].verdict is Verdict.DRIFTED
    assert report.drift.features["income"].verdict is Verdict.ALL_MISSING
    assert report.quality.parts["missing"] == 0.5
    assert not report.quality.healthy


@pytest.mark.row("DR6")
def test_what_a_model_says_drifts_as_a_column_of_its_own(recorder):
    """Where the reference has it, with the rows as a mapping, a list or a batch."""
    random = np.random.default_rng(3)
    table = {"age": random.normal(size=3000), "@prediction": random.choice(["yes", "no"], 3000)}
    monitor = ModelMonitor("churn", "1", Reference.fit(table), window=300)
    for _ in range(100):
        monitor.log({"age": random.normal()}, "yes")
        monitor.log([random.normal()], "yes")
    monitor.log_batch(random.normal(size=(100, 1)), ["yes"] * 100)
    drift = monitor.report().drift
    assert drift.rows == 300
    assert Verdict.DRIFTED in drift.features["@prediction"].verdicts
    assert drift.features["age"].verdict is Verdict.STABLE
    scores = recorder.points()["llmon.drift.score"]
    assert {"@prediction"} <= {point.attributes[key.FEATURE] for point in scores}


@pytest.mark.parametrize(
    "kind", [int, bool, np.int64, np.bool_, float, lambda label: str(label).lower(), lambda label: np.array([label])]
)
@pytest.mark.parametrize("whole", [int, bool])
def test_labels_that_are_numbers_are_compared_as_numbers(recorder, kind, whole):
    """As scikit-learn's predict() has them, in the reference and in service; those that change are told."""
    random = np.random.default_rng(3)
    table = {"age": random.normal(size=3000), "@prediction": random.integers(0, 2, 3000).astype(whole)}
    known = Reference.fit(table)
    before, after = ModelMonitor("churn", "1", known, window=300), ModelMonitor("churn", "2", known, window=300)
    said = [kind(whole(label)) for label in random.integers(0, 2, 300)]
    for label in said[:150]:
        before.log({"age": random.normal()}, label)
    before.log_batch({"age": random.normal(size=150)}, said[150:])
    after.log_batch({"age": random.normal(size=300)}, [kind(whole(1))] * 300)
    found = before.report()
    assert found.drift.rows == 300
    assert found.drift.changed is False
    assert found.quality.violations == ()
    assert Verdict.CONSTANT in after.report().drift.features["@prediction"].verdicts


@pytest.mark.parametrize("features", [None, 5])
def test_what_a_model_says_is_watched_without_features(recorder, features):
    """Where the reference knows nothing else; of one that has features a row without them says nothing."""
    random = np.random.default_rng(3)
    said = {"@prediction": random.choice(["yes", "no"], 3000), "@confidence": random.uniform(0.5, 1, 3000)}
    alone = ModelMonitor("churn", "1", Reference.fit(said), window=300)
    other = ModelMonitor("churn", "2", Reference.fit({"age": random.normal(size=3000), **said}), window=300)
    for monitor in (alone, other):
        for _ in range(100):
            monitor.log(features, "yes", 0.6)
        monitor.log_batch(features, ["yes"] * 200, [0.6] * 200)
    drift = alone.report().drift
    assert drift.rows == 300
    assert {name for name, found in drift.features.items() if found.changed} == {"@prediction", "@confidence"}
    assert other.report().drift is None


@pytest.mark.parametrize(("said", "baseline"), [(1.5, Share(930, 1000)), ("yes", Mean(0.5, 0.1, 1000))])
def test_a_baseline_of_another_task_is_compared_with_nothing(recorder, reference, caplog, said, baseline):
    """A share of right answers is no error of numbers; it is told once."""
    monitor = ModelMonitor("churn", "1", reference, window=10, baseline=baseline)
    for _ in range(30):
        monitor.log(None, said, truth=said)
    assert "llmon.drift.score" not in recorder.points()
    assert caplog.text.count(f"baseline is a {type(baseline).__name__}") == 1


def test_a_label_that_is_no_number_is_of_the_wrong_type_where_they_were_numbers(recorder):
    """It is not what the model said then."""
    known = Reference.fit({"age": np.arange(300.0), "@prediction": np.arange(300) % 2})
    monitor = ModelMonitor("churn", "1", known, window=100)
    monitor.log_batch({"age": np.arange(100.0)}, ["yes"] * 100)
    assert Verdict.WRONG_TYPE in monitor.report().drift.features["@prediction"].verdicts


def test_a_model_that_got_worse_is_performance_drift(recorder, reference):
    """From the truths of a window; one that got better is none."""
    monitor = ModelMonitor("churn", "1", reference, window=100, baseline=Share(900, 1000))
    changes = []
    for right in (60, 99):
        for place in range(100):
            monitor.log(None, "yes", truth="yes" if place < right else "no")
        found = recorder.points()["llmon.drift.score"]
        changes += [point.value for point in found if point.attributes[key.METHOD] == "performance"]
    assert changes == [pytest.approx(0.3), pytest.approx(-0.09)]


@pytest.mark.row("P10")
def test_a_value_that_the_reference_all_but_excludes_is_an_anomaly(recorder, reference):
    """An event, an event of the span, and a count; what the value is stays here."""
    monitor = ModelMonitor("churn", "1", reference)
    with phase("serve"):
        monitor.log({"age": 45.0, "income": 900.0}, "yes", id="usual")
        monitor.log({"age": 45.0, "income": 4e6}, "yes", id="odd")
    [event] = told(recorder, "llmon.prediction.anomaly")
    assert (event["id"], event["feature"], event["side"], event["features"]) == ("odd", "income", "above", 1)
    assert event["spreads"] > 100
    assert 4e6 not in event.values()
    [noted] = recorder.spans()["serve"].events
    assert (noted.name, noted.attributes["id"]) == ("llmon.prediction.anomaly", "odd")
    assert value(recorder, "llmon.prediction.anomalies") == 1


@pytest.mark.parametrize("beyond", [10**400, -(10**400), float("inf")], ids=["huge", "less", "infinite"])
def test_a_number_beyond_all_floats_is_taken_like_an_infinite_one(recorder, reference, beyond):
    """Its prediction is counted and has its record, and its event holds finite numbers only."""
    monitor = ModelMonitor("churn", "1", reference, send_features=True)
    monitor.log({"age": 45.0, "income": beyond}, "yes", id="odd")
    [record] = told(recorder, "llmon.prediction")
    assert record["id"] == "odd"
    assert value(recorder, "llmon.predictions", predicted="yes") == 1
    for event in told(recorder, "llmon.prediction.anomaly"):
        assert all(math.isfinite(each) for each in event.values() if isinstance(each, float))


def test_a_batch_of_anomalies_is_few_events(recorder, reference):
    """And as many counts."""
    monitor = ModelMonitor("churn", "1", reference)
    monitor.log_batch({"age": [1e9] * 100, "income": [1.0] * 100}, ["yes"] * 100)
    assert value(recorder, "llmon.prediction.anomalies") == 100
    assert len(told(recorder, "llmon.prediction.anomaly")) == 8


@pytest.mark.parametrize(
    "features",
    [
        {"age": 40.0, "income": 1.0},
        {"income": 1.0, "age": 40.0},
        [40.0, 1.0],
        (40, 1),
        np.array([40.0, 1.0], dtype=np.float32),
        np.array([[40.0, 1.0]]),
        SimpleNamespace(model_dump=lambda: {"age": 40.0, "income": 1.0}),
        SimpleNamespace(_asdict=lambda: {"age": np.float64(40), "income": np.int64(1)}),
    ],
    ids=["names", "any order", "list", "tuple", "array", "row of a matrix", "pydantic", "named tuple"],
)
def test_features_may_come_in_many_shapes(recorder, reference, features):
    """By name, or in the reference's order."""
    monitor = ModelMonitor("churn", "1", reference, window=100, send_features=True)
    for _ in range(100):
        monitor.log(features, "yes")
    drift = monitor.report().drift
    assert drift.features["age"].rows == drift.features["income"].rows == 100
    assert {found.verdict for found in drift.features.values()} == {Verdict.CONSTANT}
    assert monitor.report().violations == {}


def test_a_batch_may_be_a_frame(recorder, reference):
    """Of pandas or polars, if somebody has one."""
    pandas = pytest.importorskip("pandas")
    monitor = ModelMonitor("churn", "1", reference, window=100)
    frame = pandas.DataFrame({"age": [40.0] * 100, "income": [1.0] * 100})
    monitor.log_batch(frame, pandas.Series(["yes", "no"] * 50), truth=pandas.Series(["yes", None] * 50))
    assert monitor.report().drift.features["age"].rows == 100
    assert monitor.report().confusion == {("yes", "yes"): 50}


def test_odd_rows_are_counted_for_what_they_are(recorder, reference):
    """Text where a number was, a column too few, one too many: none is read as something else."""
    monitor = ModelMonitor("churn", "1", reference, window=400)
    for _ in range(100):
        monitor.log({"age": "40", "income": 1.0}, "yes")
        monitor.log({"age": 40.0}, "yes")
        monitor.log({"age": 40.0, "income": 1.0, "new": 5}, "yes")
        monitor.log({"age": timedelta(seconds=40), "income": None}, "yes")
    features = monitor.report().drift.features
    assert features["age"].scores["wrong type"] == 0.25
    assert features["income"].scores["missing"] == 0.5
    assert "new" in features


def test_a_monitor_of_checks_alone_watches_quality(recorder):
    """Without a reference."""
    from otel_llmon.scores.quality import within

    monitor = ModelMonitor("churn", "1", checks={"age": within(0, 120)}, window=10)
    for age in range(10):
        monitor.log({"age": age * 50}, "yes")
    assert monitor.drift is None
    assert monitor.report().quality.score == pytest.approx(0.3)


def test_checks_that_know_no_reference_are_asked_of_rows_that_drift_has_as_numbers(recorder, reference, caplog):
    """Each watcher gets rows in the form that it can read."""
    from otel_llmon.scores.quality import Checks, within

    monitor = ModelMonitor("churn", "1", reference, checks=Checks(None, {"age": within(0, 120)}), window=10)
    for age in range(10):
        monitor.log({"age": age * 50, "income": 1.0}, "yes")
    assert monitor.report().quality.score == pytest.approx(0.3)
    assert monitor.report().drift.rows == 10
    assert not caplog.records


def test_latency_may_be_a_timedelta(recorder, monitor):
    """Which is seconds."""
    monitor.log(None, "cat", latency=timedelta(milliseconds=20))
    monitor.log_batch(None, ["cat"] * 2, latency=timedelta(milliseconds=30))
    [point] = recorder.points()["llmon.prediction.duration"]
    assert (point.count, point.sum) == (3, pytest.approx(0.08))
