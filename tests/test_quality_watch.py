"""QualityWatch: what a model is fed, as counters, gauges, spans and events; it never raises, and no value leaves."""

from __future__ import annotations

import gc
import os
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from otel_llmon import telemetry
from otel_llmon.errors import LlmonError, SettingsError
from otel_llmon.quality import QualityWatch
from otel_llmon.scores.quality import (
    CheckError,
    Checks,
    matches,
    missing,
    one_of,
    outliers,
    probability,
    satisfies,
    unique,
    within,
)
from otel_llmon.scores.reference import Reference
from otel_llmon.semconv import attributes as key
from otel_llmon.testing import Clock

NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(0)
REFERENCE = Reference.fit({"a": RNG.standard_normal(1000), "b": RNG.standard_normal(1000)}, correlation=False)


def points(recorder, name):
    """Return the values of a metric by its attributes but the model's."""
    found = {}
    for point in recorder.points().get(name, ()):
        labels = {name: value for name, value in point.attributes.items() if name not in (key.MODEL, key.MODEL_VERSION)}
        found[tuple(labels.values())] = point.value
    return found


def values(recorder):
    """Return how many values failed a check, and how many passed, by feature and check."""
    found = points(recorder, "llmon.quality.values")
    places = {place[:2] for place in found}
    return {place: (found[*place, "failed"], found[*place, "passed"]) for place in places}


def test_a_batch_is_a_span_a_score_and_series_by_check(recorder):
    """Model and version stand on all of them."""
    watch = QualityWatch("fraud", "3", checks={"age": [missing(0.5), within(0, 120)], "mail": matches(".+@.+")})
    report = watch.check({"age": [31, 140, None, None], "mail": ["a@b", "a@c", "d@e", "f@g"]})
    assert report is watch.last
    assert values(recorder) == {
        ("age", "missing"): (2, 2),
        ("age", "finite"): (0, 2),
        ("age", "range"): (1, 1),
        ("age", "schema"): (0, 4),
        ("mail", "missing"): (0, 4),
        ("mail", "finite"): (0, 0),
        ("mail", "pattern"): (0, 4),
        ("mail", "schema"): (0, 4),
    }
    assert points(recorder, "llmon.quality.rows") == {(): 4}
    assert points(recorder, "llmon.quality.violations") == {("range",): 1}
    assert points(recorder, "llmon.quality.score") == {(): pytest.approx(0.75 * 0.5)}
    assert points(recorder, "llmon.quality.healthy") == {(): 0}
    [point] = recorder.points()["llmon.quality.score"]
    assert dict(point.attributes) == {key.MODEL: "fraud", key.MODEL_VERSION: "3"}
    span = recorder.spans()["quality check"]
    assert span.attributes[key.QUALITY_TYPES] == ("age: integer", "mail: string")
    assert span.attributes[key.QUALITY_VIOLATED] == ("age: range",)
    assert span.attributes[key.ROWS] == 4
    assert span.attributes[key.QUALITY_WORST] == "range"
    assert span.attributes[key.QUALITY_HEALTHY] is False
    assert [event.name for event in span.events] == ["llmon.quality.violation"]
    [record] = recorder.logs()
    assert record.event_name == "llmon.quality.violation"
    assert record.severity_text == "WARN"
    assert record.attributes[key.QUALITY_VIOLATED] == ("age: range",)


def test_no_value_leaves_unless_asked_for(recorder):
    """Neither in ranges nor in examples; with `values=True` both do."""
    table = {"age": [31, 140], "word": ["x", "secret"]}
    checks = Checks(None, {"age": within(0, 120), "word": one_of(["x"])})
    QualityWatch("m", checks=checks).check(table)
    sent = repr([span.attributes for span in recorder.spans().values()])
    sent += repr([(record.body, record.attributes) for record in recorder.logs()])
    points = [point for found in recorder.points().values() for point in found]
    sent += repr([point.attributes for point in points])
    assert "secret" not in sent
    assert "140" not in sent
    assert 140 not in [getattr(point, "value", None) for point in points]
    QualityWatch("asked", checks=checks, values=True).check(table)
    assert recorder.spans()["quality check"].attributes[key.QUALITY_RANGES] == ("age: 31 to 140",)
    assert recorder.logs()[-1].attributes[key.QUALITY_EXAMPLES] == ("age: range: 140.0", "word: set: secret")


def test_rows_make_up_windows(recorder):
    """Values are counted at once; a window is judged when it is whole, and never looked at twice."""
    watch = QualityWatch("m", checks={"x": probability()}, window=10)
    watch.add({"x": [0.5] * 6})
    assert watch.last is None
    assert watch.report().rows == 6
    assert points(recorder, "llmon.quality.rows") == {(): 6}
    assert not points(recorder, "llmon.quality.score")
    watch.add({"x": [2.0] * 6})
    assert watch.last.rows == 12
    assert watch.report() is watch.last
    assert points(recorder, "llmon.quality.score") == {(): 0.5}
    watch.add({"x": [0.5] * 10})
    assert points(recorder, "llmon.quality.healthy") == {(): 1}
    assert points(recorder, "llmon.quality.violations") == {("probability",): 1}


def test_rows_of_numbers_are_counted_by_the_next_collection(recorder):
    """However few they are; the window holds them, too."""
    clock = Clock(1000.0)
    watch = QualityWatch("m", reference=REFERENCE, window=100, clock=clock)
    watch.add_matrix(np.array([[0.0, NAN], [INF, 0.5]]))
    assert values(recorder)["b", "missing"] == (1, 1)
    assert values(recorder)["a", "finite"] == (1, 1)
    assert points(recorder, "llmon.quality.last_batch") == {(): 1000.0}
    clock.now += 50
    for _ in range(49):
        watch.add_matrix(np.array([[0.0, 0.5], [0.5, 0.0]]))
    assert watch.last.rows == 100
    assert {finding.kind for finding in watch.last.violations} == {"finite"}
    assert points(recorder, "llmon.quality.rows") == {(): 100}
    assert points(recorder, "llmon.quality.last_batch") == {(): 1050.0}


def test_checks_of_several_columns_are_asked_of_rows_of_numbers_too(recorder, caplog):
    """Of the rows that came together; what is no such rows is refused as ever."""
    watch = QualityWatch("m", checks=Checks(REFERENCE, {("a", "b"): unique()}))
    watch.add_matrix(np.array([[0.0, 0.5], [0.5, 0.0], [0.0, 0.5]]))
    assert values(recorder)["a, b", "unique"] == (1, 2)
    watch.add_matrix(np.zeros((3, 5)))
    assert points(recorder, "llmon.quality.violations") == {("unreadable",): 1}
    assert "expected rows by 2 numeric features" in caplog.text


def test_a_dropped_column_is_one_violation(recorder):
    """And each batch without it another one."""
    watch = QualityWatch("m", reference=REFERENCE)
    for _ in range(2):
        report = watch.check({"a": RNG.standard_normal(500)})
    assert [str(finding) for finding in report.violations] == ["b: missing_column: 1 of 1 (100.0%)"]
    assert points(recorder, "llmon.quality.violations") == {("missing_column",): 2}
    assert values(recorder)["b", "schema"] == (1000, 0)


def test_what_is_no_table_is_a_violation_and_no_exception(recorder, caplog):
    """From `add()`, where it is told once, and from `check()`, which says it in its report."""
    watch = QualityWatch("m", reference=REFERENCE)
    for table in (7, None, {"a": [1], "b": [1, 2]}):
        watch.add(table)
    watch.add_matrix(np.zeros((3, 5)))
    watch.add_matrix(np.zeros(3))
    watch.add_matrix("text")
    report = watch.check("text")
    assert [finding.kind for finding in report.violations] == ["unreadable"]
    assert not report.healthy
    assert points(recorder, "llmon.quality.violations") == {("unreadable",): 6}
    assert points(recorder, "llmon.self.errors") == {("quality of m",): 1}
    assert caplog.text.count("not counted") == 1
    assert points(recorder, "llmon.quality.rows") == {}


def test_empty_batches_have_no_score(recorder):
    """What was not measured is not told: the series of the last score ends."""
    watch = QualityWatch("m")
    watch.check({"a": [1.0]})
    assert points(recorder, "llmon.quality.score") == {(): 1.0}
    assert [finding.kind for finding in watch.check({"a": []}).violations] == ["empty"]
    assert points(recorder, "llmon.quality.score") == {}
    assert points(recorder, "llmon.quality.healthy") == {(): 0}


def test_the_first_features_have_series_and_all_others_one(recorder):
    """Those that somebody named come first; nothing is lost in the sum."""
    table = {f"c{number}": [1.0, NAN] for number in range(30)}
    watch = QualityWatch(
        "m", reference=Reference.fit({name: np.arange(50.0) for name in table}), checks={"c29": missing()}, top=3
    )
    watch.check(table)
    found = values(recorder)
    assert {feature for feature, _ in found} == {"c29", "c0", "c1", "other"}
    assert found["other", "missing"] == (27, 27)


def test_columns_that_nobody_named_have_series_in_their_order(recorder):
    """As many as there may be."""
    QualityWatch("m", top=2).add({f"c{number}": [1.0, NAN] for number in range(30)})
    found = values(recorder)
    assert {feature for feature, _ in found} == {"c0", "c1", "other"}
    assert found["other", "missing"] == (28, 28)


def test_thresholds_say_what_is_counted(recorder):
    """Another limit for outliers counts others; another share of missing values is no violation."""
    table = {"a": np.concatenate([RNG.standard_normal(900), np.full(100, NAN)]), "b": RNG.standard_normal(1000)}
    QualityWatch("m", reference=REFERENCE).check(table)
    usual = values(recorder)["a", "outliers"][0]
    assert points(recorder, "llmon.quality.violations")["missing",] == 1
    QualityWatch("n", reference=REFERENCE, checks={"a": [outliers(1, at_most=1), missing(0.2)]}).check(table)
    assert values(recorder)["a", "outliers"][0] > 250 > usual
    found = {point.attributes[key.MODEL] for point in recorder.points()["llmon.quality.violations"]}
    assert found == {"m"}


def test_a_check_that_raises_costs_itself_only(recorder):
    """It is counted as a violation of its own kind."""
    watch = QualityWatch("m", checks={"x": [satisfies("mine", lambda _: 1 / 0), within(0, 1)]})
    report = watch.check({"x": [0.5, 2.0]})
    assert {finding.kind for finding in report.violations} == {"check_failed", "range"}
    assert points(recorder, "llmon.quality.violations") == {("check_failed",): 1, ("range",): 1}


def test_threads_lose_nothing(recorder):
    """Rows from several threads at once, by both ways."""
    watch = QualityWatch("m", reference=REFERENCE, window=70)

    def work():
        for _ in range(50):
            watch.add({"a": [0.1, NAN], "b": [0.2, 0.3]})
            watch.add_matrix(np.array([[NAN, 0.0]]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert points(recorder, "llmon.quality.rows") == {(): 600}
    assert values(recorder)["a", "missing"] == (400, 200)
    assert values(recorder)["b", "range"] == (0, 600)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_begins_anew(recorder):
    """What was added before is its parent's; a lock that another thread held is free there."""
    watch = QualityWatch("m", reference=REFERENCE)
    watch.check({"a": [0.1], "b": [0.2]})
    watch.add({"a": [0.1], "b": [0.2]})
    watch.add_matrix(np.zeros((2, 2)))
    held, free = threading.Event(), threading.Event()

    def hold():
        with watch._lock:
            held.set()
            free.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    child = os.fork()
    if not child:
        signal.alarm(20)  # one that waits for ever ends by that
        watch.add({"a": [0.1], "b": [0.2]})
        report = watch.report()
        os._exit(0 if report.rows == 1 and watch.last is None else 1)
    free.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert watch.report().rows == 3


def test_the_rows_that_are_left_are_judged_at_the_end(recorder):
    """A window that will not be whole any more."""
    watch = QualityWatch("m", reference=REFERENCE)
    watch.add_matrix(np.full((40, 2), 9.0))
    telemetry.settle(last=False)
    assert watch.last is None
    telemetry.settle(last=True)
    assert watch.last.rows == 40
    assert points(recorder, "llmon.quality.healthy") == {(): 0}


def test_who_lets_all_fail_is_not_warned(recorder):
    """`missing(1)` says that it does not matter."""
    watch = QualityWatch("m", checks={"a": missing(1), "b": missing(0.9)})
    report = watch.check({"a": [None] * 40, "b": [None] * 20 + [1.0] * 20})
    assert [(found.feature, found.kind) for found in report.warnings] == [("b", "missing")]


def test_a_matrix_has_the_features_of_the_reference(recorder):
    """In their order."""
    report = QualityWatch("m", reference=REFERENCE).check(RNG.standard_normal((100, 2)))
    assert report.violations == ()
    assert report.types.keys() == {"a", "b"}


def test_two_watches_of_one_model_add_up(recorder):
    """A model that was loaded anew counts on; the first one's numbers stay when it is gone."""
    for _ in range(2):
        QualityWatch("m", reference=REFERENCE).add({"a": [1.0, NAN], "b": [1.0, 1.0]})
        QualityWatch("m", reference=REFERENCE, clock=Clock(7.0)).add_matrix(np.array([[NAN, 1.0]]))
        gc.collect()
    assert values(recorder)["a", "missing"] == (4, 2)
    assert points(recorder, "llmon.quality.last_batch") == {(): 7.0}


def test_where_telemetry_is_off_nothing_is_counted(recorder):
    """A report is there for who asks for one."""
    telemetry.state.level = telemetry.DISABLED
    watch = QualityWatch("m", reference=REFERENCE)
    watch.add({"a": [NAN], "b": [0.0]})
    watch.add_matrix(np.zeros((2, 2)))
    assert watch.report().rows == 0
    assert watch.check({"a": [INF], "b": [0.0]}).violations[0].kind == "finite"
    telemetry.state.level = telemetry.DETAILED
    assert not recorder.points().get("llmon.quality.rows")
    assert not recorder.spans()


@pytest.mark.parametrize(
    "options",
    [
        {"window": 0}, {"window": 1.5}, {"top": True}, {"checks": {"x": 7}}, {"checks": {"x": outliers()}},
        {"checks": 5}, {"checks": {5: missing()}}, {"reference": 5}, {"model": ""},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_when_it_is_made(options):
    """In one clear error."""
    with pytest.raises((SettingsError, CheckError), match=r"expected|give one"):
        QualityWatch(**{"model": "m"} | options)


def test_a_reference_may_be_the_file_of_one(tmp_path):
    """As ModelMonitor takes it; where there is none it says so."""
    REFERENCE.save(tmp_path / "r.json")
    for given in (tmp_path / "r.json", str(tmp_path / "r.json")):
        watch = QualityWatch("m", reference=given, window=np.int64(7))
        assert watch.checks.reference == REFERENCE
        assert watch.numeric == ("a", "b")
    with pytest.raises(LlmonError, match="not read, no such file"):
        QualityWatch("m", reference=tmp_path / "nowhere.json")


class Hostile:
    """An object that answers whatever is asked with its secret."""

    def __getattr__(self, name):
        raise RuntimeError("SECRET")

    def __repr__(self):
        return "SECRET"


@pytest.mark.parametrize(
    "table",
    [
        "SECRET", ["SECRET"], [["SECRET"], "SECRET"], {"a": "SECRET"}, {"a": {"SECRET": 1}}, {"a": Hostile()},
        Hostile(), {"a": [1], "b": [Hostile()] * 2},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_table_is_told_without_what_it_says(recorder, caplog, table):
    """Neither by a log, nor by a span or an event; of what foreign code raises there is the type."""
    watch = QualityWatch("m", reference=REFERENCE)
    watch.add(table)
    report = watch.check(table)
    assert [finding.kind for finding in report.violations] == ["unreadable"]
    assert "not counted: " in caplog.text
    span = recorder.spans()["quality check"]
    assert span.status.description is None
    said = [caplog.text, span.to_json(), str(report), *(str(vars(log)) for log in recorder.logs())]
    assert not [text for text in said if "SECRET" in text]


def test_with_values_what_foreign_code_raises_is_told_in_its_words(recorder, caplog):
    """As everything is that was asked for."""
    QualityWatch("m", values=True).add(Hostile())
    assert "RuntimeError: SECRET" in caplog.text


def test_the_page_of_data_quality_does_what_it_says(program):
    """Its blocks of Python run one after the other, and print what stands there."""
    page = (Path(__file__).parents[1] / "docs/quality.md").read_text()
    first, checks, answer, more = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [printed] = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    head = """
import numpy as np
import otel_llmon.scores.quality
from otel_llmon.scores.quality import *
rng = np.random.default_rng(0)
def table():
    mails = [f"a{number}@b.c" for number in range(1000)]
    return {"size": rng.standard_normal(1000), "age": rng.integers(18, 90, 1000), "mail": mails}
training_table, batch = table(), table()
batch["size"][:300] = np.nan
batch["age"][:80] = 999
"""
    tail = """
row = {"start": [1], "end": [2], "user": ["a"], "day": [1], "at": ["2026-11-21"], "size": [0.0], "count": [1]}
rest = {"note": [None], "code": ["x"], "amount": [1], "chance": [0.5], "flag": [1], "colour": ["red"]}
rest["mail"] = ["a@b.de"]
found = Checks(reference, checks).count(row | rest, now=1795219200.0 + 60)
print([place for place, failed in found.failed.items() if failed], len(found.errors))
prompt, vector = "What is the answer to this?", [0.1, 0.2]
"""
    end = "\nprint(watch.report().healthy, row['json'], row['language'])"
    done = program(f"{head}\n{first}\n{checks}\n{tail}\nanswer = '[42]'\n{answer}\n{more}{end}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[: len(printed.splitlines())] == printed.splitlines()
    assert lines[len(printed.splitlines()) :] == ["[('note', 'missing'), ('age', 'schema')] 0", "True valid unknown"]
