"""Predictions as the backends see them: records in Loki, counts and histograms in Prometheus, nothing lost."""

from __future__ import annotations

import random
import signal
from collections import Counter

import pytest
from servers import until

from otel_llmon.scores import confusion

MANY = 10_000
CONFIGURED = """
    import random, time
    import numpy as np
    import otel_llmon as llmon

    llmon.configure({service!r})
"""
DATA = """
    chance = random.Random(7)
    def one():
        return chance.choice("abc"), chance.choice("abc"), chance.random(), chance.expovariate(50)
    data = [one() for _ in range({many})]
"""


def run(program, stack, service, source, many=MANY, **environ):
    """Run a program with telemetry to its end."""
    whole = CONFIGURED.format(service=service) + DATA.format(many=many) + source
    done = program(whole, timeout=90, **stack.environ, **environ)
    assert done.returncode == 0, done.stderr
    return done


def data(many=MANY):
    """What the programs above log: prediction, truth, confidence, duration."""
    chance = random.Random(7)
    return [(chance.choice("abc"), chance.choice("abc"), chance.random(), chance.expovariate(50)) for _ in range(many)]


def counted(stack, service, event="llmon.prediction", what=""):
    """How many records of a kind Loki holds."""
    query = f'sum(count_over_time({{service_name="{service}"}} |= `{event}` {what} [15m]))'
    found = stack.loki.get("/loki/api/v1/query", {"query": query})["data"]["result"]
    return int(float(found[0]["value"][1])) if found else 0


def total(stack, query):
    """One number of Prometheus."""
    return stack.prometheus.query(query).value


@pytest.fixture(scope="module")
def many(stack, tmp_path_factory):
    """A program that logged ten thousand predictions as fast as it could, half of their truths later."""
    from processes import Program

    program = Program(tmp_path_factory.mktemp("many"), "http://127.0.0.1:9")
    source = """
    monitor = llmon.ModelMonitor("letters", "1")
    for place, (said, true, proba, seconds) in enumerate(data):
        late = place % 2
        monitor.log({"x": proba}, said, proba, None if late else true, seconds, str(place), {"shard": place % 4})
        if late:
            monitor.outcome(str(place), true)
    """
    run(program, stack, "letters", source)
    until(lambda: total(stack, 'sum(llmon_predictions_total{service_name="letters"})') == MANY)


@pytest.mark.row("P1")
def test_ten_thousand_predictions_are_ten_thousand_records(many, stack):
    """And as many in the counter and in the histogram."""
    assert until(lambda: counted(stack, "letters", what="!= `llmon.prediction.outcome`") == MANY)
    histogram = 'sum(llmon_prediction_duration_seconds_count{service_name="letters"})'
    assert total(stack, histogram) == MANY
    assert total(stack, 'sum(llmon_prediction_confidence_count{service_name="letters"})') == MANY


@pytest.mark.row("P4")
def test_latency_has_quantiles(many, stack):
    """Within the bucket of the true one."""
    durations = sorted(seconds for *_, seconds in data())
    for share in (0.5, 0.95, 0.99):
        buckets = 'sum by (le) (llmon_prediction_duration_seconds_bucket{service_name="letters"})'
        assert total(stack, f"histogram_quantile({share}, {buckets})") == pytest.approx(
            durations[int(share * MANY)], rel=0.3
        )


@pytest.mark.row("P5")
def test_a_truth_that_came_later_is_joined_by_its_id(many, stack):
    """In Loki by the id, in Prometheus by the counts."""
    assert until(lambda: counted(stack, "letters", "llmon.prediction.outcome") == MANY / 2)
    lines = until(lambda: len(found := stack.loki.lines('{service_name="letters"} | id="4711"')) == 2 and found)
    first, later = sorted(lines, key=lambda line: "truth" in line.attributes)
    assert first.attributes["prediction"] == later.attributes["prediction"] == data()[4711][0]
    assert later.attributes["truth"] == data()[4711][1]
    joined = 'sum(llmon_prediction_outcomes_total{service_name="letters",llmon_state="joined"})'
    assert total(stack, joined) == MANY / 2


@pytest.mark.row("P7")
def test_accuracy_precision_recall_and_f1_come_from_the_counts(many, stack):
    """As docs/models.md writes the queries; equal to what the same data give."""
    wanted = confusion.quality(Counter((said, true) for said, true, *_ in data()))
    of, counter = '{service_name="letters"}', "llmon_predictions_labeled_total"
    labeled = f"sum by (llmon_predicted, llmon_actual) (llmon_predictions_labeled_total{of})"
    found = {
        (series.labels["llmon_predicted"], series.labels["llmon_actual"]): series.value
        for series in stack.prometheus.query(labeled).series
    }
    assert found == Counter((said, true) for said, true, *_ in data())
    hits = " or ".join(
        f'sum by (class) (label_replace({counter}{{service_name="letters",llmon_predicted="{name}",'
        f'llmon_actual="{name}"}}, "class", "{name}", "", ""))'
        for name in "abc"
    )
    said = (
        f'sum by (class) (label_replace(llmon_predictions_labeled_total{of}, "class", "$1", "llmon_predicted", "(.*)"))'
    )
    true = f'sum by (class) (label_replace(llmon_predictions_labeled_total{of}, "class", "$1", "llmon_actual", "(.*)"))'
    pairs = [
        f'sum by (class, llmon_actual) (label_replace({counter}{of}, "class", "$1", "{key}", "(.*)"))'
        for key in ("llmon_predicted", "llmon_actual")
    ]
    for query, score in (
        (f"sum({' and '.join(pairs)}) / sum({counter}{of})", wanted.accuracy),
        (f"sum({hits}) / sum(llmon_predictions_labeled_total{of})", wanted.accuracy),
        (f"avg(({hits}) / {said})", wanted.precision),
        (f"avg(({hits}) / {true})", wanted.recall),
        (f"avg(2 * ({hits}) / ({said} + {true}))", wanted.f1),
    ):
        assert total(stack, query) == pytest.approx(score, abs=1e-9)


@pytest.mark.row("P8")
def test_what_is_predicted_how_often(many, stack):
    """By class, whether the truth is known or not."""
    series = stack.prometheus.query('sum by (llmon_predicted) (llmon_predictions_total{service_name="letters"})').series
    assert {each.labels["llmon_predicted"]: each.value for each in series} == Counter(said for said, *_ in data())


@pytest.mark.row("P9")
def test_the_share_of_unsure_predictions(many, stack):
    """Below one half, exactly: there is an edge."""
    of = 'service_name="letters"'
    query = f'sum(llmon_prediction_confidence_bucket{{{of},le="0.5"}}) / sum(llmon_prediction_confidence_count{{{of}}})'
    assert total(stack, query) == sum(proba <= 0.5 for _, _, proba, _ in data()) / MANY


@pytest.mark.row("P6")
def test_metadata_is_found(many, stack):
    """As a field of the record."""
    assert counted(stack, "letters", what='!= `llmon.prediction.outcome` | metadata_shard="3"') == MANY / 4


@pytest.mark.row("P3")
def test_sampling_is_of_records_only(stack, program):
    """A tenth of them, each says so; the counter sees all."""
    source = """
    monitor = llmon.ModelMonitor("letters", "1", sample_rate=0.1)
    for said, true, proba, seconds in data:
        monitor.log(None, said, proba, true, seconds)
    """
    run(program, stack, "sampled", source)
    assert until(lambda: total(stack, 'sum(llmon_predictions_total{service_name="sampled"})') == MANY)
    chosen = until(lambda: counted(stack, "sampled"))
    assert 0.09 * MANY < chosen < 0.11 * MANY
    assert counted(stack, "sampled", what='| sample_rate="0.1"') == chosen


@pytest.mark.row("P2")
def test_batches_are_whole_when_a_program_is_ended_amid_them(stack, program):
    """By SIGTERM: what was logged before has arrived."""
    source = (
        CONFIGURED.format(service="ended")
        + """
    reference = llmon.Reference.fit(np.random.default_rng(1).normal(size=(1000, 5)))
    monitor = llmon.ModelMonitor("letters", "1", reference)
    number = 0
    while True:
        monitor.log_batch(np.zeros((64, 5)), ["a"] * 64, id=range(number, number + 64))
        number += 64
        print(number, flush=True)
        time.sleep(0.02)
    """
    )
    with program.start(program.command(source), **stack.environ) as process:
        while (logged := int(process.stdout.readline())) < 2000:
            pass
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM, err
    assert "not sent" not in err
    assert until(lambda: total(stack, 'sum(llmon_predictions_total{service_name="ended"})') >= logged)
    assert until(lambda: counted(stack, "ended") >= logged)
    assert until(lambda: total(stack, 'sum(llmon_quality_rows_total{service_name="ended"})') >= logged)


@pytest.mark.row("P10", "P11", "P12", "DR6")
def test_anomalies_plain_values_and_no_private_ones(stack, program):
    """As Loki has them."""
    source = """
    chance = np.random.default_rng(1)
    table = {"age": chance.normal(40, 10, 5000), "@prediction": chance.choice(["yes", "no"], 5000)}
    reference = llmon.Reference.fit(table)
    monitor = llmon.ModelMonitor(
        "letters", "1", reference, send_features=True, hash_features=["email"], window=500
    )
    for _ in range(499):
        monitor.log({"age": chance.normal(40, 10)}, np.str_("yes"), proba=np.float32(0.5))
    row = {"age": np.int64(4000), "email": "a@example.org", "note": "private"}
    row["at"] = np.datetime64("2026-01-02T03:04:05")
    monitor.log(row, np.str_("yes"), id="odd")
    """
    run(program, stack, "odd", source)
    [anomaly] = until(lambda: stack.loki.lines('{service_name="odd"} |= `llmon.prediction.anomaly`'))
    assert (anomaly.level, anomaly.attributes["id"], anomaly.attributes["feature"]) == ("WARN", "odd", "age")
    [line] = until(lambda: stack.loki.lines('{service_name="odd"} | id="odd" != `anomaly`'))
    assert '"age":4000' in line.body
    assert "2026-01-02T03:04:05" in line.body
    assert "example" not in line.body
    assert "private" not in line.body
    score = 'llmon_drift_score{service_name="odd",llmon_feature="@prediction",llmon_method="jensen_shannon"}'
    assert until(lambda: stack.prometheus.query(score).value > 0.1)


@pytest.mark.row("Bar1", "Bar2")
@pytest.mark.timeout(240)
def test_ten_thousand_a_second_arrive(stack, program):
    """A hundred thousand of them; `python -m benchmarks.predicting` goes on for minutes."""
    seconds, rate = 10, 10_000
    source = f"""
    monitor = llmon.ModelMonitor("letters", "1")
    began = time.perf_counter()
    for place in range({seconds * rate}):
        monitor.log(None, "a", 0.5, latency=0.001)
        if not place % 100:
            time.sleep(max(began + place / {rate} - time.perf_counter(), 0))
    print(time.perf_counter() - began)
    """
    done = run(program, stack, "fast", source, many=1)
    assert until(lambda: total(stack, 'sum(llmon_predictions_total{service_name="fast"})') == seconds * rate), (
        done.stderr
    )
    assert until(lambda: counted(stack, "fast") == seconds * rate), done.stderr
    assert "not sent" not in done.stderr
