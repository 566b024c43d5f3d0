"""Instruments add up exactly, whoever updates them, and report what OTLP can carry."""

from __future__ import annotations

import gc
import math
import threading
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import numpy as np
import pytest

from otel_llmon import metering
from otel_llmon.metering import Counter, Gauge, Histogram, Reading, UpDownCounter, values


def test_a_counter_adds_up_by_attributes(recorder, rows):
    """Each attribute set is a series of its own."""
    things = Counter(rows.counter)
    things.add(2, {"a": 1, "b": 2, "c": 3})
    things.add(3, {"c": 3, "b": 2, "a": 1})
    things.add(7, {"a": 1, "b": 2})
    assert recorder.value("llmon.test.counter", {"a": 1, "b": 2, "c": 3}) == 5
    assert recorder.value("llmon.test.counter", {"a": 1, "b": 2}) == 7


def test_a_series_carries_its_rows_attributes_and_no_others(recorder, rows):
    """A key that is not in the row is left out, and makes no series."""
    things = Counter(rows.counter)
    things.add(1, {"a": 1, "secret": "prompt"})
    things.add(1, {"a": 1, "other": 2})
    assert recorder.value("llmon.test.counter", {"a": 1}) == 2
    assert len(recorder.points()["llmon.test.counter"]) == 1


def test_a_bound_series_and_a_mapping_reach_the_same_series(recorder, rows):
    """bind(), at() and add() agree on what a series is."""
    things = Counter(rows.counter)
    things.bind({"a": "x", "b": "y", "c": "z"}).add(1)
    things.at("x", "y", "z").add(1)
    things.add(1, {"a": "x", "b": "y", "c": "z"})
    assert recorder.value("llmon.test.counter", {"a": "x", "b": "y", "c": "z"}) == 3


def test_a_metric_without_attributes_has_one_series(recorder, rows):
    """Whatever attributes are given, there are none to carry."""
    things = Counter(rows.bare)
    things.add()
    things.add(2, {"a": 1})
    assert recorder.value("llmon.test.bare") == 3


def test_an_up_down_counter_goes_down(recorder, rows):
    """What comes may go."""
    now = UpDownCounter(rows.updown)
    now.add(5, {"a": 1})
    now.add(-3, {"a": 1})
    assert recorder.value("llmon.test.updown", {"a": 1}) == 2


def test_a_gauge_is_its_last_value_and_none_ends_it(recorder, rows):
    """A gauge that has nothing to say is absent, not zero."""
    thing = Gauge(rows.gauge)
    thing.set(4, {"a": 1})
    thing.set(3, {"a": 1})
    assert recorder.value("llmon.test.gauge", {"a": 1}) == 3
    thing.set(None, {"a": 1})
    assert "llmon.test.gauge" not in recorder.points()


def test_a_histogram_says_count_sum_buckets_and_extremes(recorder, rows):
    """The numbers are the same through both routes; an edge belongs to the bucket below it."""
    lengths = Histogram(rows.histogram)
    for value in (0.5, 1.0, 1.5, 4, 9.0):
        lengths.record(value, {"a": 1, "b": 2})
    [point] = recorder.points()["llmon.test.histogram"]
    assert (point.count, point.sum, point.min, point.max) == (5, 16.0, 0.5, 9.0)
    assert list(point.bucket_counts) == [2, 1, 1, 1]
    assert list(point.explicit_bounds) == [1.0, 2.0, 5.0]
    assert dict(point.attributes) == {"a": 1, "b": 2}


class _Level(IntEnum):
    THREE = 3


class _TorchLike:
    """A tensor of one element, as torch has them."""

    def item(self):
        return 3.0


@pytest.mark.parametrize(
    "value",
    [
        3,
        3.0,
        np.float64(3),
        np.float32(3),
        np.int16(3),
        np.array(3.0),
        _Level.THREE,
        Decimal(3),
        Fraction(3),
        _TorchLike(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_of_every_make_are_taken(recorder, rows, value):
    """NumPy's and torch's scalars, enums and decimals hold a number."""
    things, lengths = Counter(rows.counter), Histogram(rows.histogram)
    things.add(value, {"a": 1})
    lengths.record(value, {"a": 1})
    assert recorder.value("llmon.test.counter", {"a": 1}) == 3
    assert recorder.value("llmon.test.histogram", {"a": 1}) == 3


class _Hostile:
    """An object whose own code fails."""

    def __float__(self):
        raise RuntimeError("no")

    def __str__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (True, "type"),
        (np.bool_(True), "type"),
        (None, "type"),
        ("1.0", "type"),
        (1j, "type"),
        ([1], "type"),
        (np.array([1.0, 2.0]), "type"),
        (_Hostile(), "type"),
        (math.nan, "not_finite"),
        (math.inf, "not_finite"),
        (np.float64("nan"), "not_finite"),
        (10**400, "not_finite"),
        (-1, "negative"),
        (-0.5, "negative"),
    ],
    ids=repr,
)
def test_what_is_no_finite_number_is_refused_counted_and_never_raised(recorder, rows, caplog, value, reason):
    """A refusal is counted under its reason, said once, and touches no sum."""
    things, lengths = Counter(rows.counter), Histogram(rows.histogram)
    for _ in range(3):
        things.add(value, {"a": 1})
        lengths.record(value, {"a": 1})
    refused = {"llmon.source": "llmon.test.counter", "llmon.reason": reason}
    assert recorder.value("llmon.self.refused", refused) == 3
    assert recorder.value("llmon.self.refused", {**refused, "llmon.source": "llmon.test.histogram"}) == 3
    assert "llmon.test.counter" not in recorder.points()
    assert "llmon.test.histogram" not in recorder.points()
    assert len(caplog.records) == 2


def test_a_gauge_and_an_up_down_counter_refuse_what_is_no_number(recorder, rows):
    """Negative is fine for them; nonsense is not."""
    thing, now = Gauge(rows.gauge), UpDownCounter(rows.updown)
    for bad in (True, "x", math.nan):
        thing.set(bad, {"a": 1})
        now.add(bad, {"a": 1})
    thing.set(-1.5, {"a": 1})
    now.add(-2, {"a": 1})
    assert recorder.value("llmon.test.gauge", {"a": 1}) == -1.5
    assert recorder.value("llmon.test.updown", {"a": 1}) == -2


def test_an_integer_past_64_bits_does_not_cost_the_batch(recorder, rows):
    """OTLP has 64 bits for integers, so a larger one leaves as a float."""
    Counter(rows.counter).add(2**70, {"a": 1})
    [point] = recorder.points()["llmon.test.counter"]
    assert point.value == float(2**70)
    assert isinstance(point.value, float)


@pytest.mark.parametrize("attributes", [None, {}, "text", 7, ["a"]])
def test_attributes_that_are_no_mapping_count_without_them(recorder, rows, attributes):
    """The measurement is kept; only the attributes are missing."""
    Counter(rows.counter).add(1, attributes)
    assert recorder.value("llmon.test.counter") == 1


def test_attribute_values_become_what_every_backend_carries(recorder, rows):
    """Foreign objects become text, long text is cut, NumPy scalars become plain."""
    things = Counter(rows.counter)
    things.add(1, {"a": np.int64(4), "b": ["x"], "c": "y" * 10_000_000})
    [point] = recorder.points()["llmon.test.counter"]
    assert dict(point.attributes) == {"a": 4, "b": "['x']", "c": "y" * values.LONGEST}


def test_an_attribute_that_cannot_be_shown_does_not_raise(recorder, rows):
    """An object whose own code fails is named by its class."""
    Counter(rows.counter).add(1, {"a": _Hostile()})
    [point] = recorder.points()["llmon.test.counter"]
    assert dict(point.attributes) == {"a": "<_Hostile>"}


def test_past_its_cap_a_metric_has_one_overflow_series_and_one_warning(recorder, rows, caplog):
    """Nothing is lost from the sum, whatever the number of attribute sets."""
    things = Counter(rows.counter)
    for number in range(1000):
        things.add(1, {"a": number})
    points = recorder.points()["llmon.test.counter"]
    assert len(points) == rows.counter.cap + 1
    assert sum(point.value for point in points) == 1000
    assert recorder.value("llmon.test.counter", {"otel.metric.overflow": True}) == 995
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_million_attribute_sets_cost_no_memory(llmon_recorder, rows):
    """What is past the cap is added up and not remembered."""
    things = Counter(rows.counter)
    for number in range(1_000_000):
        things.add(1, {"a": number})
    assert len(things.all()) == rows.counter.cap + 1
    assert llmon_recorder.value("llmon.test.counter", {"otel.metric.overflow": True}) == 1_000_000 - rows.counter.cap


def test_histograms_overflow_too(recorder, rows):
    """The overflow series of a histogram holds its values' buckets."""
    lengths = Histogram(rows.histogram)
    for number in range(rows.histogram.cap + 10):
        lengths.record(1.5, {"a": number})
    points = recorder.points()["llmon.test.histogram"]
    assert len(points) == rows.histogram.cap + 1
    [rest] = [point for point in points if point.attributes.get("otel.metric.overflow")]
    assert (rest.count, list(rest.bucket_counts)) == (10, [0, 10, 0, 0])


def test_eight_threads_lose_nothing_while_somebody_reads(recorder, rows):
    """Counts are exact after the threads, and never go back while they run."""
    things, lengths = Counter(rows.counter).bind({"a": 1}), Histogram(rows.histogram)
    many = 200_000 if isinstance(recorder.reader._exporter, metering_exporter()) else 2_000
    go, done, seen = threading.Event(), threading.Event(), []

    def work() -> None:
        go.wait()
        bound = lengths.bind({"a": 1})
        for _ in range(many):
            things.add(1)
            bound.record(1.5)

    def read() -> None:
        while not done.is_set():
            seen.append(recorder.value("llmon.test.counter", {"a": 1}) or 0)

    workers = [threading.Thread(target=work) for _ in range(8)]
    reader = threading.Thread(target=read)
    for thread in (*workers, reader):
        thread.start()
    go.set()
    for thread in workers:
        thread.join()
    done.set()
    reader.join()
    assert recorder.value("llmon.test.counter", {"a": 1}) == 8 * many
    [point] = recorder.points()["llmon.test.histogram"]
    assert (point.count, point.sum) == (8 * many, 8 * many * 1.5)
    assert seen == sorted(seen)


def metering_exporter():
    """Our exporter wrapper."""
    from otel_llmon.exporting import MetricExporter

    return MetricExporter


def test_five_hundred_short_threads_leave_nothing_behind(recorder, rows):
    """A dead thread's cell is added to the series' base and dropped."""
    things, lengths = Counter(rows.counter), Histogram(rows.histogram)
    for _ in range(500):
        thread = threading.Thread(target=lambda: (things.add(1, {"a": 1}), lengths.record(1.5, {"a": 1})))
        thread.start()
        thread.join()
    gc.collect()
    assert recorder.value("llmon.test.counter", {"a": 1}) == 500
    [point] = recorder.points()["llmon.test.histogram"]
    assert (point.count, list(point.bucket_counts)) == (500, [0, 500, 0, 0])
    assert things.bind({"a": 1})._cells == []
    assert len(lengths.bind({"a": 1})._cells) <= 64, "where no reader asks for them"
    lengths.bind({"a": 1}).read()
    assert lengths.bind({"a": 1})._cells == []


def test_a_source_reports_through_its_rows_instrument(recorder, rows):
    """What a source yields is there at collection, and gone with it."""
    instrument = metering.instrument_of(rows.gauge)
    instrument.sources["s"] = lambda: [Reading(rows.gauge, 4.0, {"a": 1}), Reading(rows.gauge, math.nan, {"a": 2})]
    assert recorder.value("llmon.test.gauge", {"a": 1}) == 4
    assert recorder.value("llmon.test.gauge", {"a": 2}) is None
    del instrument.sources["s"]
    assert "llmon.test.gauge" not in recorder.points()


def test_a_second_instrument_of_one_name_is_refused(rows):
    """OpenTelemetry would keep the first one's callbacks and say nothing."""
    Counter(rows.counter)
    with pytest.raises(ValueError, match="exists already"):
        Counter(rows.counter)


MAKING = """
import threading
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_llmon import metering
from otel_llmon.semconv import Metric

reader, over = InMemoryMetricReader(), threading.Event()
metrics.set_meter_provider(MeterProvider([reader]))

def collect():
    while not over.is_set():
        reader.get_metrics_data()

collecting = [threading.Thread(target=collect) for _ in range(2)]
for thread in collecting:
    thread.start()
for number in range(2000):
    metering.Counter(Metric(f"made.{number}", "counter", "1", "Made meanwhile.")).at().add(1)
over.set()
for thread in collecting:
    thread.join()
print("done")
"""


def test_a_metric_may_be_made_while_others_are_collected(program):
    """Neither waits for the other: a collection holds the SDK's lock and asks for ours."""
    ended = program(MAKING, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
