"""The routes of a histogram, one row of the table in docs/decisions/0002-metering.md each, and what changes them."""

from __future__ import annotations

import math
import types
from dataclasses import replace

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import _internal as api
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    InMemoryMetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_llmon import metering, observers
from otel_llmon.exporting import MetricExporter
from otel_llmon.metering import Counter, Histogram, Reading
from otel_llmon.testing import Recorder, _KeepMetrics

NAME = "llmon.test.histogram"


@pytest.fixture
def provider_set():
    """A function that makes a provider of these readers global; what was global before comes back."""
    before = api._METER_PROVIDER
    metering.clear()

    def use(*readers):
        api._METER_PROVIDER = MeterProvider(readers, shutdown_on_exit=False) if readers else None
        return api._METER_PROVIDER

    use()
    metering.bind()
    yield use
    api._METER_PROVIDER = before
    metering.clear()
    metering.bind()


def wrapped() -> PeriodicExportingMetricReader:
    """A reader with our exporter around one that keeps what it gets."""
    return PeriodicExportingMetricReader(MetricExporter(_KeepMetrics(None, None)), export_interval_millis=math.inf)


def metrics_of(reader) -> list:
    """Collect through any of the readers, and return the metrics."""
    if isinstance(reader, InMemoryMetricReader):
        data = [reader.get_metrics_data()]
    else:
        kept = reader._exporter.inner.kept
        kept.clear()
        reader.collect()
        data = list(kept)
    found = [
        metric
        for one in data
        if one is not None
        for resource in one.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    assert len({metric.name for metric in found}) == len(found), "a metric came twice"
    return found


def read(reader) -> dict[str, list]:
    """Collect through any of the readers, and return the points by metric."""
    return {metric.name: list(metric.data.data_points) for metric in metrics_of(reader)}


def counts(reader) -> list[int]:
    """Return the counts of the test histogram's points."""
    return [point.count for point in read(reader).get(NAME, [])]


def test_without_a_provider_nothing_happens_and_nothing_raises(provider_set, rows):
    """Updates are taken; there is nobody to report to."""
    lengths, things = Histogram(rows.histogram), Counter(rows.counter)
    lengths.record(1.5)
    things.add(1)
    assert isinstance(metrics.get_meter_provider(), api._ProxyMeterProvider)


def test_with_our_exporter_the_sdk_records_nothing(provider_set, rows):
    """A user's own provider with our exporter takes binned histograms, and its SDK does no work for them."""
    reader = wrapped()
    provider_set(reader)
    lengths = Histogram(rows.histogram)
    lengths.record(1.5)
    assert counts(reader) == [1]
    assert lengths.fallback is None


def test_a_plain_provider_gets_every_value(provider_set, rows):
    """A user's own provider without our exporter: the SDK's record, the same numbers."""
    reader = InMemoryMetricReader()
    provider_set(reader)
    lengths = Histogram(rows.histogram)
    lengths.record(1.5)
    lengths.record(9.0)
    [point] = read(reader)[NAME]
    assert (point.count, point.sum, list(point.bucket_counts)) == (2, 10.5, [0, 1, 0, 1])
    assert list(point.explicit_bounds) == list(rows.histogram.edges)


def test_of_two_readers_each_gets_every_value_once(provider_set, rows):
    """One reader with our exporter, one plain: neither misses a value nor gets it twice."""
    ours, plain = wrapped(), InMemoryMetricReader()
    provider_set(ours, plain)
    lengths = Histogram(rows.histogram)
    for _ in range(3):
        lengths.record(1.5)
    assert counts(ours) == [3]
    assert counts(plain) == [3]


def test_a_plain_reader_that_comes_later_gets_what_comes_after_it(provider_set, rows):
    """The provider's readers are looked at with every collection."""
    ours, plain = wrapped(), InMemoryMetricReader()
    provider = provider_set(ours)
    if not hasattr(provider, "add_metric_reader"):
        pytest.skip("this SDK takes no further readers")
    lengths = Histogram(rows.histogram)
    lengths.record(1.5)
    provider.add_metric_reader(plain)
    assert counts(ours) == [1]
    lengths.record(1.5)
    assert counts(ours) == [2]
    assert counts(plain) == [1]


@pytest.mark.parametrize("make", [wrapped, InMemoryMetricReader])
def test_a_provider_that_is_set_after_the_first_use_is_found(provider_set, rows, make):
    """Counts from before are reported; histogram values from before only where they were binned."""
    lengths, things = Histogram(rows.histogram), Counter(rows.counter)
    lengths.record(1.5)
    things.add(1)
    reader = make()
    provider_set(reader)
    lengths.record(1.5)
    things.add(1)
    points = read(reader)
    assert [point.value for point in points["llmon.test.counter"]] == [2]
    assert [point.count for point in points[NAME]] == [2 if make is wrapped else 1]


@pytest.mark.parametrize("make", [wrapped, InMemoryMetricReader])
def test_a_provider_that_takes_anothers_place_gets_its_own_values_only(provider_set, rows, make):
    """Tests replace providers; what was counted for one is not reported to the next."""
    first, second = make(), make()
    lengths, things = Histogram(rows.histogram), Counter(rows.counter)
    provider_set(first)
    lengths.record(1.5)
    things.add(5)
    assert counts(first) == [1]
    provider_set(second)
    lengths.record(1.5)
    lengths.record(1.5)
    things.add(1)
    points = read(second)
    assert [point.count for point in points[NAME]] == [2]
    assert [point.value for point in points["llmon.test.counter"]] == [1]


def test_a_provider_set_through_the_api_is_found_by_a_bound_series(provider_set, rows):
    """OpenTelemetry's proxies connect instruments made before there was a provider, with no further call of ours."""
    bound = Counter(rows.counter).bind({"a": 1})
    reader = wrapped()
    provider = provider_set(reader)
    api._PROXY_METER_PROVIDER.on_set_meter_provider(provider)
    bound.add(3)
    assert [point.value for point in read(reader)["llmon.test.counter"]] == [3]


def test_an_idle_collection_still_hands_over_the_histograms(provider_set, rows):
    """A reader whose collection is empty never calls its exporter, so one gauge is always there."""
    reader = wrapped()
    provider_set(reader)
    lengths = Histogram(rows.histogram)
    lengths.record(1.5)
    assert counts(reader) == [1]
    assert counts(reader) == [1]
    assert "llmon.self.series" in read(reader)


def test_cumulative_points_grow_and_delta_points_start_again(rows):
    """Each temporality says what it means, and no value is said twice."""
    lengths = Histogram(rows.histogram)
    with Recorder() as cumulative:
        for expected in (1, 2):
            lengths.record(1.5)
            [point] = cumulative.points()[NAME]
            assert point.count == expected
    with Recorder(delta=True) as delta:
        for _ in range(2):
            lengths.record(1.5)
            [metric] = [metric for metric in delta.metrics() if metric.name == NAME]
            assert metric.data.aggregation_temporality is AggregationTemporality.DELTA
            assert [point.count for point in metric.data.data_points] == [1]
        assert NAME not in delta.points()


def test_an_exemplar_names_the_sampled_span(recorder, rows):
    """The trace and span of a value that was recorded in a sampled span come along, through both routes."""
    lengths = Histogram(rows.histogram)
    with trace.get_tracer("test").start_as_current_span("work") as span:
        lengths.record(1.5)
    [point] = recorder.points()[NAME]
    [exemplar] = point.exemplars
    context = span.get_span_context()
    assert (exemplar.trace_id, exemplar.span_id, exemplar.value) == (context.trace_id, context.span_id, 1.5)
    assert not list(recorder.points()[NAME][0].exemplars)


def test_a_span_that_is_not_sampled_is_no_exemplar(rows):
    """An exemplar that leads to no trace is none."""
    lengths = Histogram(rows.histogram)
    with Recorder(sampler=ALWAYS_OFF) as recorder, trace.get_tracer("test").start_as_current_span("work"):
        lengths.record(1.5)
        [point] = recorder.points()[NAME]
        assert not point.exemplars


def test_exponential_buckets_hold_the_same_values(rows):
    """Count, sum and extremes agree; each value lies in its bucket; zero has a bucket of its own."""
    metering.use_exponential(on=True)
    try:
        with Recorder() as recorder:
            lengths = Histogram(rows.histogram)
            values = [0.0, 1e-9, 0.001, 1.0, 1.5, 2.0, 1e9]
            for value in values:
                lengths.record(value)
            [point] = recorder.points()[NAME]
    finally:
        metering.use_exponential(on=False)
    assert isinstance(point, ExponentialHistogramDataPoint)
    assert (point.count, point.sum, point.min, point.max) == (7, math.fsum(values), 0.0, 1e9)
    assert point.zero_count == 1
    counts_ = list(point.positive.bucket_counts)
    assert sum(counts_) == 6
    assert len(counts_) <= 160
    base = 2 ** (2**-point.scale)
    for value in values[1:]:
        index = math.ceil(math.log(value, base) - 1e-9) - 1
        assert counts_[index - point.positive.offset] >= 1


def test_a_provider_that_was_shut_down_is_not_asked_for_a_meter(provider_set, caplog):
    """It would say on stderr that it provides none, in the middle of a process that is on its way out."""
    provider_set(InMemoryMetricReader()).shutdown()
    metering.bind()
    assert caplog.messages == []


# the routes of what sources report

ABOUT = {"a": "x"}


@pytest.fixture
def source(rows):
    """A counter, a gauge and an up-down counter that an observer reads."""
    observers.detach_all()

    def observe():
        return [Reading(rows.counter, 7, ABOUT), Reading(rows.updown, 3, ABOUT), Reading(rows.gauge, 0.5, ABOUT)]

    module = types.SimpleNamespace(__name__="source", ROWS=(rows.counter, rows.updown, rows.gauge), observe=observe)
    yield lambda: (observers.attach(module, every=3600), observers.read_now(20))
    observers.detach_all()
    observers.sampler.beat = 10.0


def told(reader) -> dict:
    """What arrived of the source, without what only time can tell."""
    return {
        name: [(point.value, dict(point.attributes)) for point in points]
        for name, points in read(reader).items()
        if name.startswith("llmon.test.")
    }


EXPECTED = {
    "llmon.test.counter": [(7, ABOUT)],
    "llmon.test.updown": [(3, ABOUT)],
    "llmon.test.gauge": [(0.5, ABOUT)],
}


@pytest.mark.parametrize("make", [wrapped, InMemoryMetricReader])
def test_readings_arrive_by_either_route(provider_set, source, make):
    """Handed over by our exporter, or through the SDK: the same metrics, kinds and values."""
    reader = make()
    provider = provider_set(reader)
    metering.bind()
    source()
    assert told(reader) == EXPECTED
    assert told(reader) == EXPECTED, "and again"
    seen = {instrument.name for instrument in provider._measurement_consumer._async_instruments}
    assert ("llmon.test.gauge" in seen) is (make is InMemoryMetricReader)


def test_what_is_handed_over_is_what_the_sdk_would_make(provider_set, source):
    """Field by field, but for the times."""

    def fields(reader):
        return {
            metric.name: [
                type(metric),
                metric.unit,
                metric.description,
                replace(metric.data, data_points=[]),
                [replace(point, start_time_unix_nano=0, time_unix_nano=0) for point in metric.data.data_points],
                metric.data.data_points[0].start_time_unix_nano is None,
            ]
            for metric in metrics_of(reader)
            if metric.name.startswith("llmon.test.")
        }

    ours, theirs = wrapped(), InMemoryMetricReader()
    provider_set(ours)
    metering.bind()
    source()
    first = fields(ours)
    provider_set(theirs)
    metering.bind()
    observers.read_now(20)
    assert first == fields(theirs)
    assert set(first) == set(EXPECTED)


def test_of_two_readers_each_gets_every_reading_once(provider_set, source):
    """One with our exporter, one plain."""
    ours, plain = wrapped(), InMemoryMetricReader()
    provider_set(ours, plain)
    metering.bind()
    source()
    assert told(ours) == told(plain) == EXPECTED


def test_a_plain_reader_that_comes_later_gets_readings_after_the_next_pass(provider_set, source):
    """The SDK gets its instruments then, not amid a collection."""
    ours, plain = wrapped(), InMemoryMetricReader()
    provider = provider_set(ours)
    if not hasattr(provider, "add_metric_reader"):
        pytest.skip("this SDK takes no further readers")
    metering.bind()
    source()
    provider.add_metric_reader(plain)
    assert told(ours) == EXPECTED
    observers.read_now(20)
    assert told(plain) == EXPECTED
    assert told(ours) == EXPECTED


def test_deltas_are_left_to_the_sdk(provider_set, source):
    """An exporter that wants deltas gets them, and nothing twice."""
    delta = {ObservableCounter: AggregationTemporality.DELTA}
    reader = PeriodicExportingMetricReader(MetricExporter(_KeepMetrics(delta, None)), export_interval_millis=math.inf)
    provider_set(reader)
    metering.bind()
    source()
    assert told(reader) == EXPECTED
    assert told(reader) == EXPECTED | {"llmon.test.counter": [(0, ABOUT)]}


def test_a_view_is_obeyed(provider_set, source):
    """Whoever leaves a metric out by a view does not get it by our way around the SDK."""
    reader = wrapped()
    api._METER_PROVIDER = MeterProvider(
        [reader],
        shutdown_on_exit=False,
        views=[View(instrument_name="llmon.test.gauge", aggregation=DropAggregation())],
    )
    metering.bind()
    source()
    assert set(told(reader)) == set(EXPECTED) - {"llmon.test.gauge"}


def test_an_instrument_with_readings_may_have_values_of_its_own(provider_set, source, rows):
    """Both arrive."""
    reader = wrapped()
    provider_set(reader)
    metering.bind()
    source()
    metering.instrument_of(rows.gauge).set(9.0, {"a": "own"})
    assert told(reader)["llmon.test.gauge"] == [(9.0, {"a": "own"}), (0.5, ABOUT)]


def test_what_is_counted_here_is_handed_over_too(provider_set, rows):
    """Counters, gauges and what is there now: none goes through the SDK, which would take longer; each arrives once."""
    reader = wrapped()
    provider = provider_set(reader)
    metering.bind()
    metering.instrument_of(rows.counter).add(2, {"a": "x"})
    metering.instrument_of(rows.gauge).set(0.5, {"a": "x"})
    expected = {"llmon.test.counter": [(2, ABOUT)], "llmon.test.gauge": [(0.5, ABOUT)]}
    assert told(reader) == expected
    assert told(reader) == expected, "and again"
    asked = {instrument.name for instrument in provider._measurement_consumer._async_instruments}
    assert asked == {"llmon.self.series"}, "without which a reader would think that there is nothing to export"


def test_a_plain_reader_that_comes_later_gets_what_is_counted_here(provider_set, rows):
    """Also where no observer is read; from the export after on."""
    ours, plain = wrapped(), InMemoryMetricReader()
    provider = provider_set(ours)
    if not hasattr(provider, "add_metric_reader"):
        pytest.skip("this SDK takes no further readers")
    metering.bind()
    metering.instrument_of(rows.counter).add(2, {"a": "x"})
    provider.add_metric_reader(plain)
    expected = {"llmon.test.counter": [(2, ABOUT)]}
    assert told(ours) == expected
    assert told(plain) == expected
    assert told(ours) == expected


def test_a_source_that_fails_costs_its_own_metric(provider_set, rows, caplog):
    """The others of that export arrive, and it is told once."""
    reader = wrapped()
    provider_set(reader)
    metering.bind()
    metering.instrument_of(rows.counter).add(2, {"a": "x"})

    def fails():
        raise OSError("gone")

    metering.instrument_of(rows.gauge).sources["bad"] = fails
    try:
        assert told(reader) == told(reader) == {"llmon.test.counter": [(2, ABOUT)]}
    finally:
        del metering.instrument_of(rows.gauge).sources["bad"]
    assert caplog.text.count("llmon.test.gauge: not reported: OSError: gone") == 1
