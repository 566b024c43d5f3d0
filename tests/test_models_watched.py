"""Predictions of functions and of web requests, and of many threads and processes."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Annotated

import numpy as np
import pytest

from otel_llmon import ModelMonitor, Reference, telemetry
from otel_llmon.adapters.predictions import Prediction, prediction
from otel_llmon.models.rows import Rows
from otel_llmon.semconv import attributes as key


@pytest.fixture
def monitor(recorder):
    """A monitor without a reference, which waits for nothing when the test is over: an app may still hold it."""
    made = ModelMonitor("churn", "1", send_features=True)
    yield made
    made._truths.forget()


def told(recorder):
    """The attributes of the records of predictions."""
    return [dict(record.attributes) for record in recorder.logs() if record.event_name == "llmon.prediction"]


def features(recorder):
    """The features of the newest one."""
    return recorder.logs()[-1].body["features"]


def test_a_function_that_is_watched_logs_its_calls(recorder, clock, monkeypatch, monitor):
    """What it was given, what it said, how long it took; it returns what it returned."""

    @monitor.watch
    def predict(row):
        clock.now += 0.25
        return "yes"

    assert predict({"age": 3}) == "yes"
    assert predict(row={"age": 4}) == "yes"
    assert [(record["prediction"], record["duration"]) for record in told(recorder)] == [("yes", 0.25)] * 2
    assert features(recorder) == {"age": 4}
    assert predict.__name__ == "predict"


def test_what_it_returns_may_say_more(recorder, monitor):
    """In the words of log()."""
    watch = monitor.watch(told=lambda result: {"prediction": result[0], "proba": result[1], "id": result[2]})
    watch(lambda _: ("yes", 0.75, "p1"))({"age": 3})
    [record] = told(recorder)
    assert (record["prediction"], record["confidence"], record["id"]) == ("yes", 0.75, "p1")
    monitor.outcome("p1", "yes")
    assert monitor.report().accuracy == 1


def test_methods_coroutines_and_batches_are_watched(recorder, monitor):
    """The features stand behind `self`."""

    class Model:
        @monitor.watch
        async def predict(self, row):
            return "yes"

        @monitor.watch(batch=True)
        def predict_all(self, rows):
            return ["no"] * len(rows)

        @staticmethod
        @monitor.watch
        def of(_row):
            return "maybe"

    assert asyncio.run(Model().predict({"age": 1})) == "yes"
    assert Model().predict_all(np.zeros((3, 2))) == ["no"] * 3
    assert Model.of({"age": 1}) == "maybe"
    assert monitor.report().classes == {"yes": 1, "no": 3, "maybe": 1}


def test_a_call_that_raises_is_a_failure_and_raises(recorder, monitor):
    """It predicted nothing."""

    @monitor.watch
    def predict(row):
        raise KeyError("age")

    with pytest.raises(KeyError):
        predict({})
    points = recorder.points()["llmon.prediction.failures"]
    assert [(point.value, point.attributes[key.ERROR_TYPE]) for point in points] == [(1, "KeyError")]
    assert monitor.report().failures == 1
    assert monitor.report().predictions == 0


@pytest.mark.parametrize("wrong", [5, int, lambda: (yield)])
def test_what_cannot_be_watched_is_refused(monitor, wrong):
    """A generator has no one result."""
    with pytest.raises(TypeError, match="model 'churn'"):
        monitor.watch(wrong)


def test_a_wrong_word_of_the_caller_s_costs_that_word_only(recorder, monitor, caplog):
    """The others are taken."""
    assert monitor.watch(lambda _: "yes", told=lambda result: {"guess": result})({}) == "yes"
    assert monitor.report().violations == {"told": 1, "prediction": 1}
    assert "found 'guess', expected words of log()" in caplog.text


def test_nothing_is_done_at_level_disabled(recorder, monkeypatch, monitor):
    """And the function is called all the same."""
    monkeypatch.setattr(telemetry.state, "level", telemetry.DISABLED)
    assert monitor.watch(lambda _: "yes")({}) == "yes"
    monitor.log({}, "yes")
    monitor.log_batch(None, ["yes"])
    monitor.outcome("a", "b")
    monkeypatch.setattr(telemetry.state, "level", telemetry.BASIC)
    assert monitor.report().predictions == 0
    assert recorder.logs() == []


def test_a_request_of_fastapi_has_a_prediction(recorder, monitor):
    """With the request's id or a new one, which the answer says; a handler's own failure is one."""
    fastapi = pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    app = fastapi.FastAPI()
    Seen = Annotated[Prediction, fastapi.Depends(prediction(monitor))]  # noqa: N806

    def churn(row: dict[str, float], seen) -> str:
        if "age" not in row:
            raise fastapi.HTTPException(422)
        label = "yes" if 1 / row["age"] > 0.01 else "no"
        seen.log(row, label, proba=0.75)
        return label

    churn.__annotations__ = {"row": dict[str, float], "seen": Seen, "return": str}
    app.post("/churn")(churn)
    client = TestClient(app, raise_server_exceptions=False)
    asked = client.post("/churn", json={"age": 3}, headers={"X-Request-ID": "r1"})
    assert (asked.json(), asked.headers["x-prediction-id"]) == ("yes", "r1")
    new = [client.post("/churn", json={"age": 300}, headers={"x-request-id": bad}) for bad in ("", "x" * 200)]
    ids = [answer.headers["x-prediction-id"] for answer in new]
    assert [len(each) for each in ids] == [32, 32]
    assert [record["id"] for record in told(recorder)] == ["r1", *ids]
    assert all(record["duration"] >= 0 for record in told(recorder))
    monitor.outcome(ids[0], "no")
    assert monitor.report().confusion == {("no", "no"): 1}
    assert client.post("/churn", json={}).status_code == 422
    assert client.post("/churn", json={"age": "old"}).status_code == 422
    assert client.post("/churn", json={"age": 0}).status_code == 500
    points = recorder.points()["llmon.prediction.failures"]
    assert [(point.value, point.attributes[key.ERROR_TYPE]) for point in points] == [(1, "ZeroDivisionError")]


@pytest.fixture(scope="module")
def reference():
    """Ten numbers as they were when all was well."""
    return Reference.fit(
        {f"f{place}": column for place, column in enumerate(np.random.default_rng(1).normal(size=(10, 2000)))}
    )


def test_no_prediction_is_lost_between_threads(recorder, reference):
    """Not in a count, nor in a window, nor among those that wait."""
    monitor = ModelMonitor("churn", "1", reference, window=100, sample_rate=0)
    row = dict.fromkeys(reference.numeric, 0.5)

    def work(number):
        for place in range(500):
            monitor.log(row, "yes", 0.5, latency=0.01, id=f"{number}-{place}")
            if place % 2:
                monitor.outcome(f"{number}-{place}", "yes")
        for _ in range(5):
            monitor.log_batch(np.zeros((100, 10)), ["no"] * 100)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = monitor.report()
    assert report.classes == {"yes": 2000, "no": 2000}
    assert report.confusion == {("yes", "yes"): 1000}
    assert report.waiting == 1000
    rows = [point for point in recorder.points()["llmon.drift.bin.rows"] if key.BIN_NEXT not in point.attributes]
    assert {point.value for point in rows} == {4000}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_counts_what_is_its_own(recorder, reference):
    """Neither its parent's rows, nor what waits there."""
    monitor = ModelMonitor("churn", "1", reference, window=1000)
    row = dict.fromkeys(reference.numeric, 0.5)
    for place in range(50):
        monitor.log(row, "yes", id=f"p{place}")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        for place in range(7):
            monitor.log(row, "yes", id=f"c{place}")
        monitor.outcome("p0", "yes")
        report = monitor.report()
        rows = monitor.drift.check().rows
        os.write(writing, repr((report.predictions, report.waiting, report.outcomes, rows)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1000).decode() == repr((7, 7, {"unknown": 1}, 7))
    assert monitor.report().predictions == 50
    assert monitor.drift.check().rows == 50


def test_rows_that_wait_are_handed_over_at_a_collection(recorder, reference):
    """Though they are few."""
    monitor = ModelMonitor("churn", "1", reference)
    for _ in range(3):
        monitor.log([0.5] * 10, "yes")
    rows = [point for point in recorder.points()["llmon.drift.bin.rows"] if key.BIN_NEXT not in point.attributes]
    assert {point.value for point in rows} == {3}
    assert recorder.value("llmon.quality.rows", {key.MODEL: "churn", key.MODEL_VERSION: "1"}) == 3


def test_who_flushes_waits_for_what_another_thread_hands_over(reference):
    """Else a report, or the last collection, would miss rows that are neither here nor there."""
    begun, go_on, done = (threading.Event() for _ in range(3))

    class Slow:
        numeric = ()
        rows = 0

        def add(self, table):
            begun.set()
            go_on.wait(20)
            self.rows += len(table["f0"])

    slow = Slow()
    rows = Rows(reference, [slow])
    rows.add(dict.fromkeys(reference.numeric, 0.5))
    first = threading.Thread(target=rows.flush)
    second = threading.Thread(target=lambda: (rows.flush(), done.set()))
    first.start()
    assert begun.wait(20)
    second.start()
    assert not done.wait(0.1)
    go_on.set()
    first.join()
    second.join()
    assert slow.rows == 1


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)"], ids=["exit", "SIGTERM"])
def test_nothing_is_lost_at_the_end(program, sink, end):
    """Neither records nor counts, nor the rows that wait for a block."""
    source = f"""
    import os, signal, time
    import numpy as np
    import otel_llmon as llmon

    llmon.configure("app", observers=[])
    reference = llmon.Reference.fit(np.random.default_rng(1).normal(size=(1000, 3)))
    monitor = llmon.ModelMonitor("churn", "1", reference)
    for place in range(777):
        monitor.log([0.1, 0.2, 0.3], "yes", id=str(place))
    {end}
    """
    done = program(source)
    assert done.returncode == (-15 if end else 0), done.stderr
    assert len([record for record in sink.logs() if record.event_name == "llmon.prediction"]) == 777
    assert sink.totals("llmon.predictions") == 777
    assert sink.totals("llmon.quality.rows") == 777
