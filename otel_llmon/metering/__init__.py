"""Instruments that count in place and report at collection; the only creator of OpenTelemetry instruments.

Counters and gauges leave through observable instruments of whatever MeterProvider is global. Histograms leave binned
where `otel_llmon.exporting.MetricExporter` is in the pipeline, and through the SDK's `record` where it is not.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

from opentelemetry.metrics import Observation

from otel_llmon.metering import cells, values
from otel_llmon.metering.binding import (
    SCOPE,
    SHARD,
    api,
    before_collection,
    bind,
    catch_up,
    clear,
    connected,
    create,
    current,
    falls_back,
    feeds,
    follow_provider,
    handed_over,
    histograms,
    instruments,
    register,
    take_stock,
    use_exponential,
)
from otel_llmon.metering.cells import CountSeries, GaugeSeries, HistogramSeries, Series, SumSeries
from otel_llmon.metering.reading import Reading, Source, Told
from otel_llmon.metering.values import plain
from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import METRIC_OVERFLOW
from otel_llmon.semconv.selfmetrics import SELF_REFUSED, SELF_SERIES

__all__ = [
    "SCOPE",
    "SHARD",
    "Counter",
    "Gauge",
    "Histogram",
    "Instrument",
    "Presence",
    "Reading",
    "Source",
    "Told",
    "UpDownCounter",
    "before_collection",
    "bind",
    "catch_up",
    "clear",
    "connected",
    "falls_back",
    "feeds",
    "follow_provider",
    "handed_over",
    "histograms",
    "instrument_of",
    "instruments",
    "refused",
    "use_exponential",
]

_log = logging.getLogger("otel_llmon")
SeriesT = TypeVar("SeriesT", bound=Series[Any])
FoundT = TypeVar("FoundT")


class Instrument(Generic[SeriesT]):
    """All series of one metric."""

    binned = False
    """Whether exporters take it binned; the SDK sees it only where a reader takes none that are."""
    always = False
    """Whether the SDK sees it even where exporters take all from us."""

    def __init__(self, row: Metric, *, sourced: bool = False) -> None:
        self.row = row
        self.series: dict[Any, SeriesT] = {}
        self.sources: dict[str, Source] = {}
        self.sourced = sourced
        """Whether nothing but sources report it, so that it can be handed over whole."""
        self.created = False
        self._held: list[Observation] = []
        """What the other shards of this collection are to report."""
        self.memo: dict[Any, Any] = {}
        """What an emitter looked up before; forgotten with the series. `remember` bounds it."""
        self._told: set[str] = set()
        floor = 0 if row.kind == "counter" else -values.LIMIT
        self._bounds = floor, values.LIMIT, float(floor), float(values.LIMIT)
        self._room = row.cap * row.shards
        keys = row.attributes
        self._key: Callable[[Any], Any] = itemgetter(*keys) if len(keys) > 1 else self._only_key
        self._overflow: SeriesT | None = None
        register(self)

    def _only_key(self, attributes: Mapping[str, Any] | None) -> tuple[Any, ...]:
        if not self.row.attributes:
            return ()
        return ((attributes or {})[self.row.attributes[0]],)

    def at(self, *values: Any) -> SeriesT:
        """Return the series with these attribute values, given in the order of the row's keys; None leaves one out."""
        if api._METER_PROVIDER is not current.provider:
            bind()
        try:
            return self.series[values]
        except (KeyError, TypeError):
            return self._find(values)

    def bind(self, attributes: Mapping[str, Any] | None = None) -> SeriesT:
        """Return the series with these attributes; keys that are not in the row are left out."""
        if api._METER_PROVIDER is not current.provider:
            bind()
        try:
            return self.series[self._key(attributes)]
        except Exception:  # a key that is missing or cannot be one, or a foreign mapping's own failure
            return self._find([self._get(attributes, key) for key in self.row.attributes])

    def _get(self, attributes: Any, key: str) -> Any:
        try:
            return (attributes or {}).get(key)
        except Exception:
            self._tell("attributes", "%s: attributes are a %s, expected a mapping", type(attributes).__name__)
            return None

    def _find(self, found: Iterable[Any]) -> SeriesT:
        """Return the series of values that were not seen in this form before."""
        key = tuple(plain(value) for value in found)
        with cells.lock:
            if (known := self.series.get(key)) is not None:
                return known
            if len(self.series) < self.row.cap:
                attributes = {
                    name: value for name, value in zip(self.row.attributes, key, strict=False) if value is not None
                }
                return self.series.setdefault(key, self._new(attributes))
            if self._overflow is None:
                self._overflow = self._new({METRIC_OVERFLOW: True})
                _log.warning(
                    "%s: more than %s attribute sets, the others are added up in one series with %s=true;"
                    " give the metric fewer distinct attribute values",
                    self.row.name,
                    self.row.cap,
                    METRIC_OVERFLOW,
                )
            return self._overflow

    def _new(self, attributes: Mapping[str, Any]) -> SeriesT:
        raise NotImplementedError

    def all(self) -> list[SeriesT]:
        """Return every series, the overflow one among them."""
        return [*self.series.values(), *([self._overflow] if self._overflow is not None else [])]

    def restart(self) -> None:
        """Start every series again at nothing, as a forked child does."""
        self.memo.clear()
        for series in self.all():
            series.reset()

    def clear(self) -> None:
        """Forget every series; one that somebody holds on to reports no more."""
        self.memo.clear()
        self.series.clear()
        self._overflow = None
        self._told.clear()

    def remember(self, key: Any, found: FoundT) -> FoundT:
        """Keep `found` in the memo, unless that holds as much as there may be series; return it."""
        if len(self.memo) < self.row.cap:
            self.memo[key] = found
        return found

    def _tell(self, reason: str, message: str, *args: Any) -> None:
        """Count a refusal, and warn the first time."""
        refused.at(self.row.name, reason).add()
        if reason not in self._told:
            self._told.add(reason)
            _log.warning(message + "; further ones are only counted", self.row.name, *args)

    def refuse(self, value: Any) -> float | None:
        """Return the number in `value` (NumPy and torch scalars hold one), or count why there is none."""
        number = values.number(value)
        if number is None:
            self._tell("type", "%s: found a %s, expected a number", type(value).__name__)
        elif not -cells.LARGEST <= number <= cells.LARGEST:
            self._tell("not_finite", "%s: found %s, expected a finite number", values.shown(number))
        elif number < 0 and self.row.kind in ("counter", "histogram"):
            self._tell("negative", "%s: found %s, expected 0 or more", values.shown(number))
        else:
            return number
        return None

    def route(self) -> None:
        """Send what comes from now on where the provider's readers want it; all but histograms wait to be asked."""

    def observe(self) -> list[Observation]:
        """Return what the SDK asks for at collection."""
        if current.whole and not self.always:
            return []
        return [Observation(value, attributes) for _, value, attributes in self.readings()]

    def readings(self) -> list[Told]:
        """Return what there is to export, in series and from sources."""
        found: list[Told] = []
        for series in self.all():
            value = series.read()  # type: ignore[attr-defined]  # every kind but histograms has it
            if value is not None:
                found.append((self.row, values.fitting(value), series.attributes))
        if self.sources:
            found += self.checked([told for source in list(self.sources.values()) for told in source()])
        return found

    def observe_shard(self, shard: int) -> list[Observation]:
        """Return what one shard reports: the first asks for all, the SDK calls the others right after it."""
        if not shard:
            self._held = self.observe()
        cap, held = self.row.cap, self._held
        if shard == self.row.shards - 1:
            self._held = []
        return held[shard * cap : (shard + 1) * cap]

    def checked(self, readings: Sequence[Told]) -> Sequence[Told]:
        """Return the readings that can be exported; the others are refused and counted."""
        floor, limit, least, most = self._bounds
        value: Any  # a foreign observer's may be anything
        for _, value, _ in readings:
            kind = value.__class__  # each is compared with its own kind, which is the cheaper one
            if not ((kind is int and floor <= value < limit) or (kind is float and least <= value < most)):
                readings = [fit for told in readings if (fit := self._fitting(told)) is not None]
                break
        if len(readings) > self._room:
            self._tell("attributes", "%s: more than %s readings, the rest is left out", self._room)
            return readings[: self._room]
        return readings

    def _fitting(self, told: Told) -> Told | None:
        metric, value, attributes = told
        number = self.refuse(value)
        return None if number is None else (metric, values.fitting(number), attributes)


class Counter(Instrument[CountSeries]):
    """Something that only grows."""

    def add(self, value: float = 1, attributes: Mapping[str, Any] | None = None) -> None:
        """Add `value` to the series with these attributes."""
        key = self._key
        if api._METER_PROVIDER is not current.provider:
            bind()
        try:  # as self.bind() does, without its call
            series = self.series[key(attributes)]
        except Exception:
            series = self.bind(attributes)
        series.add(value)

    def _new(self, attributes: Mapping[str, Any]) -> CountSeries:
        return CountSeries(attributes, self.refuse)


class UpDownCounter(Instrument[SumSeries]):
    """Something that comes and goes."""

    def add(self, value: float = 1, attributes: Mapping[str, Any] | None = None) -> None:
        """Add `value`, which may be negative, to the series with these attributes."""
        self.bind(attributes).add(value)

    def _new(self, attributes: Mapping[str, Any]) -> SumSeries:
        return SumSeries(attributes, self.refuse)


class Presence(Instrument[Series[Any]]):
    """How many there are now, as an up-down counter.

    Coming is `present[member] = series`, going is `present.pop(member, None)`; they are counted at collection. So
    a member that a forked child takes over is its parent's, and its end takes nothing from the child's count.
    """

    def __init__(self, row: Metric, *, sourced: bool = False) -> None:
        self.present: dict[object, Series[Any]] = {}
        super().__init__(row, sourced=sourced)

    def readings(self) -> list[Told]:
        """Return how many there are."""
        counts = collections.Counter(self.present.copy().values())
        return [(self.row, counts[series], series.attributes) for series in self.all()]

    def restart(self) -> None:
        """Start again with nobody, as a forked child does."""
        self.present.clear()
        self.clear()

    def _new(self, attributes: Mapping[str, Any]) -> Series[Any]:
        return Series(attributes, self.refuse)


class Gauge(Instrument[GaugeSeries]):
    """Something that is what it is now."""

    def set(self, value: float | None, attributes: Mapping[str, Any] | None = None) -> None:
        """Report `value` for the series with these attributes; None ends the series."""
        self.bind(attributes).set(value)

    def _new(self, attributes: Mapping[str, Any]) -> GaugeSeries:
        return GaugeSeries(attributes, self.refuse)


class Histogram(Instrument[HistogramSeries]):
    """How values are distributed."""

    binned = True
    fallback: cells.Also | None = None

    def record(self, value: float, attributes: Mapping[str, Any] | None = None) -> None:
        """Record `value` in the series with these attributes."""
        key = self._key
        if api._METER_PROVIDER is not current.provider:
            bind()
        try:  # as self.bind() does, without its call
            series = self.series[key(attributes)]
        except Exception:
            series = self.bind(attributes)
        series.record(value)

    def _new(self, attributes: Mapping[str, Any]) -> HistogramSeries:
        series = HistogramSeries(attributes, self.refuse, () if current.exponential else self.row.edges)
        series.also = self.fallback
        return series

    def route(self) -> None:
        """Send what comes from now on binned, or to the SDK, as the provider's readers want it."""
        self.fallback = None
        if current.plain and current.meter is not None:
            self.fallback = current.meter.create_histogram(
                self.row.name,
                self.row.unit,
                self.row.description,
                explicit_bucket_boundaries_advisory=None if current.exponential else list(self.row.edges),
            ).record
        for series in self.all():
            series.also = self.fallback


def instrument_of(row: Metric, *, sourced: bool = False) -> Instrument[Any]:
    """Return the instrument of `row`, made at the first call; `sourced` where only sources will report it."""
    with current.making:
        found = instruments.get(row.name) or _KINDS[row.kind](row, sourced=sourced)
        if found.sourced and not sourced:
            found.sourced = False
            if not found.created and current.meter is not None:
                create(found, current.meter)
        return found


_KINDS: Mapping[str, Callable[..., Instrument[Any]]] = {
    "counter": Counter,
    "updowncounter": UpDownCounter,
    "gauge": Gauge,
    "histogram": Histogram,
}

refused = Counter(SELF_REFUSED)


class _Stock(Gauge):
    """What always goes through the SDK, which exports nothing, ours neither, where it has nothing itself.

    Its source is what every collection asks first, and once.
    """

    always = True


_stock = _Stock(SELF_SERIES)
_stock.sources["series"] = lambda: [(SELF_SERIES, take_stock(), {})]
