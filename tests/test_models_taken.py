"""What a ModelMonitor takes of what programs hand over: each part by itself, in the shapes that libraries return."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from otel_llmon import ModelMonitor, Reference
from otel_llmon.adapters.predictions import Prediction, prediction
from otel_llmon.drifts import DriftWatch
from otel_llmon.errors import LlmonError
from otel_llmon.scores.drift import Limits, Verdict
from otel_llmon.scores.quality import finite, missing

SECRET = "SECRET"
ROW = {"age": 40.0, "town": "a"}


@pytest.fixture(scope="module")
def reference():
    """A number and a category as they were when all was well."""
    random = np.random.default_rng(1)
    return Reference.fit({"age": random.normal(40, 10, 5000), "town": random.choice(["a", "b", "c"], 5000)})


@pytest.fixture
def monitor(recorder, reference):
    """A monitor of that model."""
    return ModelMonitor("churn", "1", reference)


def told(recorder, name="llmon.prediction"):
    """The attributes of the records of one kind."""
    return [dict(record.attributes) for record in recorder.logs() if record.event_name == name]


def bodies(recorder):
    """The features that left with each record."""
    return [record.body["features"] for record in recorder.logs() if isinstance(record.body, dict)]


class Poison:
    """Whatever is asked of it raises, with a text that is nobody's business."""

    def __getattr__(self, name):
        raise ValueError(SECRET)

    def _raise(self, *_):
        raise ValueError(SECRET)

    __str__ = __repr__ = __eq__ = __hash__ = __len__ = __iter__ = __float__ = __bool__ = __lt__ = __contains__ = _raise


# what cannot be taken


@pytest.mark.parametrize(
    ("part", "place"),
    [("features", 0), ("prediction", 1), ("proba", 2), ("truth", 3), ("latency", 4), ("id", 5), ("metadata", 6)],
)
def test_what_raises_costs_its_own_part_only(recorder, reference, caplog, part, place):
    """One by one, as a column, and as one value of a column; nothing of its error is told but the type."""
    said = [ROW, "yes", 0.5, "yes", 0.1, "p1", {"a": 1}]
    for call, wrong, number in (("log", Poison(), 1), ("log_batch", Poison(), 1), ("log_batch", [Poison()], 1)):
        monitor = ModelMonitor("churn", call + str(type(wrong)), reference, send_features=True)
        arguments = [[each] for each in said] if call == "log_batch" else list(said)
        if part == "prediction" and call == "log_batch" and not isinstance(wrong, list):
            continue
        arguments[place] = wrong
        getattr(monitor, call)(*arguments)
        report = monitor.report()
        assert report.violations == {part: number}
        assert report.predictions == 1
        assert report.accuracy == (None if part in ("truth", "prediction") else 1)
        assert (report.confidence is None, report.duration is None) == (part == "proba", part == "latency")
        assert monitor.quality.report().rows == (part != "features")
        record = told(recorder)[-1]
        expected = {"prediction", "confidence", "duration", "truth", "id", "metadata.a"} - {
            {"proba": "confidence", "latency": "duration", "metadata": "metadata.a"}.get(part, part)
        }
        assert expected <= record.keys() | ({"truth"} if part == "prediction" else set())
    assert SECRET not in caplog.text


def test_one_value_of_a_column_costs_its_own_row_only(recorder, monitor):
    """Whether as an id or as a prediction."""
    monitor.log_batch([ROW] * 3, ["yes", Poison(), "no"], id=["a", "b", Poison()])
    report = monitor.report()
    assert report.classes == {"yes": 1, "no": 1}
    assert report.violations == {"prediction": 1, "id": 1}
    assert report.predictions == len(told(recorder)) == 3
    assert report.waiting == 2
    assert report.quality.rows == 3


def test_errors_of_programs_are_told_by_their_types_only(recorder, reference, caplog):
    """What they say may be what somebody typed."""

    def fail(_):
        raise ValueError(SECRET)

    monitor = ModelMonitor("churn", "1", reference)
    assert monitor.watch(lambda row: row, told=fail)("yes") == "yes"
    monitor.log_batch(Poison(), ["yes"])
    monitor.log({SECRET: Poison()}, "yes", metadata={"a": Poison()})
    monitor.log([SECRET], "yes")
    monitor.log(SECRET, "yes", SECRET, object(), SECRET)
    monitor.log_batch(None, SECRET)
    monitor.flush()
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


# predictions


@pytest.mark.parametrize(
    "said",
    [np.array(["yes"]), np.array([["yes"]]), ["yes"], ("yes",), np.array("yes"), np.array(["yes"], dtype=object)],
    ids=["array", "matrix", "list", "tuple", "scalar", "objects"],
)
def test_what_predict_returns_for_a_row_is_its_one_value(recorder, monitor, said):
    """As scikit-learn and Keras have it."""
    monitor.log(ROW, said, truth="yes")
    monitor.watch(lambda _: said)(ROW)
    monitor.log(ROW, "yes", truth=said)
    monitor.log(ROW, said, id="later")
    monitor.outcome("later", said)
    report = monitor.report()
    assert report.classes == {"yes": 4}
    assert report.confusion == {("yes", "yes"): 3}
    assert report.violations == {}
    assert {record["prediction"] for record in told(recorder)} == {"yes"}


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_of_one_row_are_its_one_value(recorder, monitor, library):
    """Of whatever library; scalars of Arrow too."""
    module = pytest.importorskip(library)
    column = module.array(["yes"]) if library == "pyarrow" else module.Series(["yes"])
    monitor.log(ROW, column, truth=column)
    monitor.log_batch([ROW], column, truth=column)
    monitor.log(ROW, column[0], truth=column[0])
    assert monitor.report().confusion == {("yes", "yes"): 3}
    assert monitor.report().violations == {}


def test_a_matrix_of_one_column_is_a_column(recorder, monitor):
    """In every place."""
    names, numbers = np.array([["yes"], ["no"], ["no"]]), np.array([[0.5], [0.75], [1.0]])
    monitor.log_batch([ROW] * 3, names, numbers, names, numbers, np.array([["a"], ["b"], ["c"]]))
    report = monitor.report()
    assert report.confusion == {("yes", "yes"): 1, ("no", "no"): 2}
    assert (report.confidence.number, report.duration.number) == (3, 3)
    assert report.violations == {}
    ModelMonitor("price").log_batch(None, numbers, truth=numbers + 1)
    assert ModelMonitor("price").report().errors == (3, 1, 1, -1)


@pytest.mark.parametrize(
    "said", [[1, 2], {"a": 1}, {"yes"}, math.nan, math.inf, np.datetime64("NaT"), object(), None, -math.inf]
)
def test_what_can_be_no_prediction_is_a_violation(recorder, monitor, caplog, said):
    """Told once, and blamed on nothing else; in a batch the others are taken."""
    for _ in range(2):
        monitor.log(ROW, said, truth="yes")
    monitor.log_batch([ROW] * 3, ["yes", said, "no"], truth=["yes"] * 3)
    report = monitor.report()
    assert report.violations == {"prediction": 3}
    assert report.confusion == {("yes", "yes"): 1, ("no", "yes"): 1}
    assert report.predictions == 5
    assert len(caplog.records) == 1


def test_na_of_pandas_is_neither_prediction_nor_truth(recorder, monitor):
    """Nor an id."""
    pandas = pytest.importorskip("pandas")
    monitor.log(ROW, pandas.NA, truth="yes")
    monitor.log(ROW, "yes", truth=pandas.NA, proba=pandas.NA, latency=pandas.NA, id=pandas.NA)
    monitor.log_batch([ROW], ["yes"], pandas.Series([pandas.NA]), pandas.Series([pandas.NA]), [pandas.NA], [pandas.NA])
    assert monitor.report().violations == {"prediction": 1}
    assert monitor.report().waiting == 0


def test_a_batch_without_predictions_is_a_violation(recorder, monitor):
    """Rather than nothing."""
    monitor.log_batch([ROW], None)
    monitor.log_batch([ROW], "yes")
    monitor.log_batch([ROW], 5)
    assert monitor.report().violations == {"prediction": 3}
    assert monitor.report().predictions == 0


def test_half_a_character_is_cleaned(recorder, monitor):
    """As in all texts: it would take its batch with it."""
    monitor.log(ROW, "\ud800", id="\ud800")
    assert monitor.report().classes == {"?": 1}
    assert [(record["prediction"], record["id"]) for record in told(recorder)] == [("?", "?")]


def test_a_frame_of_one_column_is_a_column(recorder, monitor):
    """And one of several is one of probabilities."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"said": ["yes", "no"], "no": [0.25, 0.5], "yes": [0.75, 0.5]})
    monitor.log_batch([ROW] * 2, frame[["said"]], frame[["no", "yes"]], frame[["said"]], id=frame[["said"]])
    assert monitor.report().confusion == {("yes", "yes"): 1, ("no", "no"): 1}
    assert monitor.report().violations == {}
    assert [record["confidence"] for record in told(recorder)] == [0.75, 0.5]
    monitor.log_batch([ROW] * 2, frame[["no", "yes"]])
    assert monitor.report().violations == {"prediction": 2}


@pytest.mark.parametrize("size", [0, 1])
def test_a_batch_may_be_small(recorder, monitor, size):
    """Or empty, with a number of NumPy's for all."""
    monitor.log_batch([ROW] * size, ["yes"] * size, [0.5] * size, ["yes"] * size, np.float32(0.5), [""] * size)
    report = monitor.report()
    assert (report.predictions, report.violations) == (size, {})
    assert (report.duration is None) == (size == 0)


@pytest.mark.parametrize("told", [5, "yes", [("prediction",)], {5: 1}, {"guess": 1, "prediction": "no"}, Poison])
def test_what_a_function_tells_of_its_result_costs_itself_only(recorder, monitor, told):
    """The features and the time are known all the same."""
    said = told() if told is Poison else told
    assert monitor.watch(lambda _: "yes", told=lambda _: said)(ROW) == "yes"
    report = monitor.report()
    assert report.violations.pop("prediction", 0) == (report.classes != {"no": 1})
    assert report.violations == {"told": 1}
    assert (report.predictions, report.quality.rows, report.duration.number) == (1, 1, 1)


# truths and ids


@pytest.mark.parametrize("none", [None, math.nan, np.float32("nan"), np.datetime64("NaT"), [None], np.array([np.nan])])
def test_a_truth_that_is_none_is_not_known_yet(recorder, monitor, none):
    """One by one as in a batch; who tells none as an outcome told nothing, and the prediction waits on."""
    monitor.log(ROW, "yes", truth=none, id="a")
    monitor.log_batch([ROW], ["yes"], truth=[none], id=["b"])
    assert monitor.report().violations == {}
    assert monitor.report().waiting == 2
    monitor.outcome("a", none)
    report = monitor.report()
    assert (report.waiting, report.outcomes, report.confusion) == (2, {}, {})
    assert report.violations == {"truth": 1}
    assert told(recorder, "llmon.prediction.outcome") == []
    monitor.outcome("a", "yes")
    assert monitor.report().accuracy == 1


def test_a_truth_that_can_be_none_leaves_its_prediction_waiting(recorder, monitor):
    """Until somebody tells one."""
    monitor.log(ROW, "yes", truth=[1, 2], id="a")
    monitor.outcome("a", {"yes": 1})
    assert monitor.report().violations == {"truth": 2}
    monitor.outcome("a", "yes")
    assert monitor.report().accuracy == 1


def test_an_id_is_the_same_however_it_is_written(recorder, monitor):
    """And what stands for none is none."""
    for one, same in ((5, 5.0), (6.0, "6"), (np.int64(7), "7"), ("x", np.array(["x"]))):
        monitor.log(ROW, "yes", id=one)
        monitor.outcome(same, "yes")
    assert monitor.report().outcomes == {"joined": 4}
    for none in (math.nan, "", None, np.nan):
        monitor.log(ROW, "yes", id=none)
    assert monitor.report().waiting == 0
    assert [record.get("id") for record in told(recorder)][-4:] == [None] * 4
    monitor.outcome("", "yes")
    assert monitor.report().violations == {"id": 1}


@pytest.mark.parametrize("part", ["proba", "latency"])
def test_a_number_that_is_none_is_none_everywhere(recorder, monitor, part):
    """Not said, rather than said wrong."""
    monitor.log(ROW, "yes", **{part: math.nan})
    monitor.log_batch([ROW] * 2, ["yes"] * 2, **{part: [math.nan, None]})
    monitor.log_batch([ROW], ["yes"], **{part: np.array([np.nan])})
    assert monitor.report().violations == {}


# confidence


@pytest.mark.parametrize("proba", [[0.9, 0.1], np.array([[0.9, 0.1]]), {"no": 0.9, "yes": 0.1}])
@pytest.mark.parametrize(("said", "sure"), [("no", 0.9), ("yes", 0.1), ("perhaps", 0.9)])
def test_confidence_is_that_of_the_predicted_class(recorder, proba, said, sure):
    """By its name, or by its place among the classes that were given; else the largest."""
    ModelMonitor("churn", classes=["no", "yes"]).log(None, said, proba)
    ModelMonitor("churn", classes=["no", "yes"]).log_batch(None, [said], [proba])
    assert [record["confidence"] for record in told(recorder)] == [sure] * 2


def test_classes_that_are_numbers_are_found_by_name(recorder):
    """A mapping may have them as numbers."""
    ModelMonitor("digits").log(None, 1, {0: 0.75, 1: 0.25})
    assert told(recorder)[0]["confidence"] == 0.25


# features


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_frame_of_one_row_is_a_row(recorder, reference, library):
    """One of more rows is a batch, which is told."""
    module = pytest.importorskip(library)
    make = module.table if library == "pyarrow" else module.DataFrame
    monitor = ModelMonitor("churn", "1", reference, send_features=True)
    monitor.log(make({"age": [40.0], "town": ["a"]}), "yes")
    assert bodies(recorder) == [{"age": 40.0, "town": "a"}]
    assert monitor.report().violations == {}
    assert monitor.report().quality.types == {"age": "number", "town": "string"}
    monitor.log(make({"age": [40.0, 41.0], "town": ["a", "b"]}), "yes")
    assert monitor.report().violations == {"features": 1}


@pytest.mark.parametrize(
    ("make", "name"),
    [(lambda: {"a": 1}, "dict"), (Poison, "Poison"), (object, "object"), (lambda: {1}, "set"), (bytes, "bytes")],
)
def test_types_are_called_what_they_are(recorder, monitor, make, name):
    """Rather than as their text."""
    value = make()
    for town in ("a", value):
        monitor.log({"age": value, "town": town}, "yes")
    monitor.log(ROW, "yes")
    assert monitor.report().quality.types["age"].split(", ")[0] == name


def test_a_scalar_of_arrow_is_what_it_holds(recorder, monitor):
    """As those of NumPy."""
    pyarrow = pytest.importorskip("pyarrow")
    monitor.log({"age": pyarrow.scalar(40.0), "town": pyarrow.scalar("a")}, "yes")
    assert monitor.report().quality.types == {"age": "number", "town": "string"}


def test_names_that_a_client_chooses_are_bounded(recorder, reference):
    """A block of rows has so many columns; all further names are one."""
    monitor = ModelMonitor("churn", "1", reference, window=1000)
    seen = []
    monitor._rows._watchers = [SimpleNamespace(numeric=(), add=seen.append)]
    for place in range(1000):
        monitor.log({**ROW, f"key{place:04}": 1}, "yes")
    assert sum(len(table["age"]) for table in seen) == 1000
    assert all(len(table) <= len(ROW) + 33 for table in seen)
    assert any("other" in table for table in seen)


def test_columns_that_checks_ask_for_are_all_kept(recorder):
    """However many, and all that come where nobody says which should."""
    wide = {f"f{place}": 1.0 for place in range(300)}
    for checks in ({name: finite() for name in wide}, {"f0": missing()}):
        monitor = ModelMonitor("churn", checks=checks)
        for _ in range(3):
            monitor.log(wide, "yes")
        assert len(monitor.report().quality.types) == 300


@pytest.mark.parametrize("window", [10, 100, 1000])
@pytest.mark.parametrize("town", [{}, {"town": "a"}], ids=["numbers", "words"])
def test_a_window_is_as_many_rows_as_were_asked_for(recorder, window, town):
    """Each is judged by itself, as soon as it is whole, whether its rows come one by one or in small batches."""
    random = np.random.default_rng(1)
    table = {"age": random.normal(size=2000), **{name: ["a", "b"] * 1000 for name in town}}
    monitor = ModelMonitor("churn", "1", Reference.fit(table), window=window)
    for _ in range(2 * window - 1):
        monitor.log({"age": 0.5, **town}, "yes")
    assert monitor.drift.last.rows == window
    assert monitor.drift.detector.windows == 1
    monitor.log({"age": 0.5, **town}, "yes")
    assert monitor.drift.detector.windows == 2
    for _ in range(3 * window // 5):
        monitor.log_batch({"age": [0.5] * 5, **{name: ["a"] * 5 for name in town}}, ["yes"] * 5)
    assert monitor.report().drift.rows == window
    assert monitor.drift.detector.windows == 5


def test_a_large_batch_is_one_window(recorder, monitor):
    """What it says is said once."""
    monitor.log_batch({"age": [40.0] * 4000, "town": ["a"] * 4000}, ["yes"] * 4000)
    assert monitor.report().drift.rows == 4000


# what leaves


def test_categories_leave_that_the_reference_knows(recorder, reference):
    """Any other one is a text that somebody typed."""
    monitor = ModelMonitor("churn", "1", reference, send_features=True)
    monitor.log({"age": SECRET, "town": SECRET, "new": SECRET}, "yes")
    monitor.log_batch({"age": [1.0, 2.0], "town": ["b", SECRET]}, ["yes"] * 2)
    pandas = pytest.importorskip("pandas")
    monitor.log({"age": pandas.Series([SECRET]), "town": {"a": SECRET}}, "yes")
    assert bodies(recorder) == [{"town": "other"}, {"age": 1.0, "town": "b"}, {"age": 2.0, "town": "other"}, {}]


# options


@pytest.mark.parametrize(
    "wrong",
    [
        {"limits": 5},
        {"weights": 5},
        {"classes": 5},
        {"classes": "abc"},
        {"classes": [[1, 2]]},
        {"classes": [None]},
        {"checks": 5},
        {"hash_features": [["a"]]},
        {"baseline": True},
        {"limits": Limits(), "reference": None},
        {"window": 0, "reference": None},
        {"window": 1.5, "reference": None},
        {"top": -1, "reference": None},
        {"sample_rate": "0.1"},
        {"sample_rate": True},
        {"weights": {"age": 1}, "reference": None},
    ],
)
def test_options_that_cannot_be_meant_are_refused(reference, wrong):
    """Where they are said, with what was found and expected."""
    with pytest.raises(LlmonError, match=f"^{next(iter(wrong))}.*expected"):
        ModelMonitor(**{"name": "churn", "reference": reference, **wrong})


@pytest.mark.parametrize("rate", [np.float64(0), np.float32(0), np.int64(0)])
def test_a_rate_may_be_a_number_of_numpy_s(recorder, rate):
    """As out of a configuration that was worked out."""
    ModelMonitor("churn", sample_rate=rate, window=np.int64(10)).log(None, "yes")
    assert recorder.logs() == []


def test_what_watches_nothing_is_refused(monitor):
    """By name, and not by address."""
    with pytest.raises(TypeError, match="told=5: expected"):
        monitor.watch(told=5)(lambda row: row)
    with pytest.raises(TypeError, match="told=5: expected"):
        monitor.watch(told=5)
    with pytest.raises(TypeError, match="found int, expected a ModelMonitor"):
        prediction(5)
    with pytest.raises(TypeError, match="header=5: expected"):
        prediction(monitor, 5)
    with pytest.raises(TypeError, match="found int, expected a ModelMonitor"):
        Prediction.of(5, {})

    def stream(row):
        yield row

    with pytest.raises(TypeError, match="stream is a generator") as caught:
        monitor.watch(stream)
    assert "0x" not in str(caught.value)


def test_the_report_calls_things_by_their_names(recorder, monitor):
    """Quality is that of the inputs; how right the model is stands beside it."""
    for said, true in (("a", "a"), ("a", "a"), ("a", "b"), ("b", "b")):
        monitor.log(ROW, said, truth=true)
    report = monitor.report()
    assert report.quality.rows == 4
    assert report.accuracy == 0.75
    assert report.precision == pytest.approx((2 / 3 + 1) / 2)
    assert report.recall == pytest.approx((1 + 1 / 2) / 2)
    assert report.f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert report.scores.classes["a"].precision == pytest.approx(2 / 3)


# arrays and lists that belong to somebody else


@pytest.fixture(scope="module")
def embedded():
    """A number and a vector as they were when all was well."""
    random = np.random.default_rng(2)
    return Reference.fit({"x": random.normal(size=1000), "e": random.normal(size=(1000, 4))})


def refilled(how, random):
    """Rows of one array or list that is filled again for each, and batches of views of such a matrix."""
    one, rows, words = np.empty(4), np.empty((50, 4)), [0.0] * 4
    for _ in range(4 if how == "batch" else 200):
        one[:], rows[:] = random.normal(size=4), random.normal(size=rows.shape)
        words[:] = one.tolist()
        yield {"array": one, "list": words, "batch": list(rows)}[how]


@pytest.mark.parametrize("how", ["array", "list", "batch"])
def test_what_is_filled_again_counts_as_it_was(recorder, embedded, how):
    """Rows wait for each other, and their owner does not wait for them."""
    random = np.random.default_rng(3)
    monitor = ModelMonitor("m", how, embedded, window=200)
    for vector in refilled(how, random):
        if how == "batch":
            monitor.log_batch({"x": random.normal(size=50), "e": vector}, ["yes"] * 50)
        else:
            monitor.log({"x": random.normal(), "e": vector}, "yes")
    drift = monitor.report().drift
    assert drift.rows == 200
    assert drift.changed is False


class Tensor:
    """What torch does: it lists its values, and NumPy gets none that lie on a device or have gradients."""

    def __init__(self, values, error):
        self._values, self._error = np.asarray(values), error

    shape = property(lambda self: self._values.shape)
    ndim = property(lambda self: self._values.ndim)

    def __len__(self):
        return len(self._values)

    def __getitem__(self, place):
        return Tensor(self._values[place], self._error)

    def __float__(self):
        return float(self._values)

    def item(self):
        """Return the one number."""
        return self._values.item()

    def tolist(self):
        """Return the numbers."""
        return self._values.tolist()

    def __array__(self, dtype=None, copy=None):
        raise self._error("on a device, or with gradients")


@pytest.mark.parametrize("error", [RuntimeError, TypeError], ids=["gradients", "device"])
def test_tensors_are_taken_wherever_they_lie(recorder, embedded, error):
    """As a value, as a column, as a matrix, and among arrays."""
    random = np.random.default_rng(3)
    monitor = ModelMonitor("m", error.__name__, embedded, window=200)
    for place in range(100):
        vector = random.normal(size=4)
        features = {"x": Tensor(random.normal(), error), "e": Tensor(vector, error) if place % 2 else vector}
        monitor.log(features, Tensor(1, error), proba=Tensor([0.2, 0.8], error))
    x, e = random.normal(size=100), random.normal(size=(100, 4))
    monitor.log_batch({"x": Tensor(x, error), "e": Tensor(e, error)}, Tensor(np.ones(100), error))
    report = monitor.report()
    assert report.drift.rows == 200
    assert report.drift.changed is False
    assert report.violations == {}
    plain = Reference.fit({"a": random.normal(size=1000), "b": random.normal(size=1000)})
    monitor = ModelMonitor("plain", error.__name__, plain, window=100)
    monitor.log_batch(Tensor(random.normal(size=(100, 2)), error), ["yes"] * 100)
    assert monitor.report().drift.changed is False


class Unread:
    """A value that nobody can read: not computed yet, of another unit, ..."""

    def _raise(self, *_, **__):
        raise RuntimeError(SECRET)

    __array__ = __str__ = __repr__ = __float__ = __len__ = __iter__ = _raise


class NoNumber(float):
    """A number that says that it is none."""

    def __float__(self):
        raise ValueError(SECRET)


@pytest.mark.parametrize("bad", [Unread(), NoNumber(1)], ids=["unread", "number"])
@pytest.mark.parametrize("column", ["number", "category", "text", "vector"])
def test_a_value_that_raises_costs_no_other_row(recorder, column, bad, caplog):
    """It is of the wrong type; all rows of its block are counted."""
    random = np.random.default_rng(4)
    columns = {
        "number": random.normal(size=300),
        "category": random.choice(["a", "b"], 300),
        "text": [f"{random.random()} was said {random.random()} times" for _ in range(300)],
        "vector": random.normal(size=(300, 3)),
    }
    known = Reference.fit({"x": random.normal(size=300), column: columns[column]})
    for batch in (False, True):
        monitor = ModelMonitor("m", str(batch), known, window=100)
        rows = [{"x": 0.1, column: columns[column][place] if place else bad} for place in range(100)]
        if batch:
            monitor.log_batch(rows, ["yes"] * 100)
        else:
            for row in rows:
                monitor.log(row, "yes")
        monitor.flush()
        assert monitor.drift.last.rows == monitor.quality.report().rows == 100
        assert monitor.drift.last.features["x"].rows == 100
        assert monitor.report().violations == {}
    assert SECRET not in caplog.text
    assert "llmon.self.errors" not in recorder.points()


@pytest.mark.parametrize("column", ["category", "text", "vector"])
def test_a_watch_of_its_own_counts_around_a_value_that_raises(recorder, column):
    """In DriftWatch.add as in log()."""
    values = {
        "category": ["a", "b"] * 50,
        "text": [f"note {n} of many" for n in range(100)],
        "vector": [[1.0, n] for n in range(100)],
    }
    known = Reference.fit({"x": np.arange(100.0), column: values[column]})
    watch = DriftWatch(known, "m", window=100)
    watch.add({"x": np.arange(100.0), column: [Unread(), *values[column][1:]]})
    assert watch.last.rows == 100
    assert Verdict.WRONG_TYPE in watch.last.features[column].verdicts
