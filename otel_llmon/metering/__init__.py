"""Instruments that count in place and report at collection; the only creator of OpenTelemetry instruments.

Counters and gauges leave through observable instruments of whatever MeterProvider is global. Histograms leave binned
where `otel_llmon.exporting.MetricExporter` is in the pipeline, and through the SDK's `record` where it is not.
"""

from __future__ import annotations

import collections
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from types import SimpleNamespace
from typing import Any, Generic, NamedTuple, TypeVar

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation, _internal

from otel_llmon.metering import cells, values
from otel_llmon.metering.cells import CountSeries, GaugeSeries, HistogramSeries, Series, SumSeries
from otel_llmon.metering.values import plain
from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import METRIC_OVERFLOW
from otel_llmon.semconv.selfmetrics import SELF_REFUSED, SELF_SERIES

SCOPE = "otel_llmon"
SHARD = f"{SCOPE}.shard"
"""What the scopes of further shards begin with."""
_log = logging.getLogger("otel_llmon")

# in a later API than we know, a provider that is replaced goes unnoticed, no more
_api: Any = _internal if hasattr(_internal, "_METER_PROVIDER") else SimpleNamespace(_METER_PROVIDER=None)


class Reading(NamedTuple):
    """One value of one metric, as a source reports it."""

    metric: Metric
    value: float
    attributes: Mapping[str, Any] = {}


Told = tuple[Metric, float, Mapping[str, Any]]
"""What a Reading is without its names: a beat makes a hundred, and making one is ten times as cheap."""

Source = Callable[[], Iterable[Told]]
SeriesT = TypeVar("SeriesT", bound=Series[Any])
FoundT = TypeVar("FoundT")


class Instrument(Generic[SeriesT]):
    """All series of one metric."""

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
        if _api._METER_PROVIDER is not _bound.provider:
            bind()
        try:
            return self.series[values]
        except (KeyError, TypeError):
            return self._find(values)

    def bind(self, attributes: Mapping[str, Any] | None = None) -> SeriesT:
        """Return the series with these attributes; keys that are not in the row are left out."""
        if _api._METER_PROVIDER is not _bound.provider:
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

    def observe(self) -> list[Observation]:
        """Return what the SDK asks for at collection."""
        if _bound.whole and self is not _anchor:
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
        if _api._METER_PROVIDER is not _bound.provider:
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

    fallback: cells.Also | None = None

    def record(self, value: float, attributes: Mapping[str, Any] | None = None) -> None:
        """Record `value` in the series with these attributes."""
        key = self._key
        if _api._METER_PROVIDER is not _bound.provider:
            bind()
        try:  # as self.bind() does, without its call
            series = self.series[key(attributes)]
        except Exception:
            series = self.bind(attributes)
        series.record(value)

    def _new(self, attributes: Mapping[str, Any]) -> HistogramSeries:
        series = HistogramSeries(attributes, self.refuse, () if _bound.exponential else self.row.edges)
        series.also = self.fallback
        return series

    def route(self) -> None:
        """Send what comes from now on where the provider's readers want it."""
        self.fallback = None
        if _bound.plain and _bound.meter is not None:
            self.fallback = _bound.meter.create_histogram(
                self.row.name,
                self.row.unit,
                self.row.description,
                explicit_bucket_boundaries_advisory=None if _bound.exponential else list(self.row.edges),
            ).record
        for series in self.all():
            series.also = self.fallback


class _Bound:
    """The provider that the instruments report to, and how its readers take histograms."""

    provider: Any = "nobody has asked yet"  # neither None nor a provider, so that the first use binds
    meter: metrics.Meter | None = None
    plain = False
    exponential = False
    whole = possible = False
    """Whether exporters take readings as they are, so that the SDK need not see them; whether all of them could."""


_bound = _Bound()
_instruments: dict[str, Instrument[Any]] = {}
_making = threading.RLock()
"""Guards what is made in the SDK, which locks for that. A collection holds the SDK's lock when it asks for the cells',
so nothing may be made under that one, and no collection may ask for this one."""


def register(instrument: Instrument[Any]) -> None:
    """Let `instrument` report to the global provider, now and after a change of provider."""
    with _making:
        other = _instruments.setdefault(instrument.row.name, instrument)
        if other is not instrument:
            raise ValueError(f"metric {instrument.row.name!r}: exists already; use the instrument that is there")
        if _bound.meter is not None:
            _create(instrument, _bound.meter)


def _create(instrument: Instrument[Any], meter: metrics.Meter) -> None:
    if isinstance(instrument, Histogram):
        instrument.route()
        return
    instrument.created = not _bound.whole or instrument is _anchor
    if not instrument.created:  # an instrument of the SDK costs time at each collection, whether it has points or not
        return
    row = instrument.row
    try:
        for shard in range(row.shards):
            _create_shard(row, shard, meter)
    except Exception as exc:  # a meter that does not like a name costs that metric, not the others
        _log.warning("%s: not reported: %s", row.name, exc)


def _create_shard(row: Metric, shard: int, meter: metrics.Meter) -> None:
    """Create one of the instruments that share a row's series: the SDK counts series by scope."""
    if shard and not isinstance(meter, metrics.NoOpMeter):
        meter = metrics.get_meter(f"{SHARD}{shard + 1}")
    create = {
        "counter": meter.create_observable_counter,
        "updowncounter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }[row.kind]
    create(row.name, [partial(_observe, row.name, shard)], row.unit, row.description)


def _observe(name: str, shard: int, _: CallbackOptions) -> list[Observation]:
    """Report the instrument that has this name now: a meter keeps the first callback of a name for good."""
    instrument = _instruments.get(name)
    if instrument is None:
        return []
    return instrument.observe_shard(shard) if instrument.row.shards > 1 else instrument.observe()


def bind() -> None:
    """Report to the provider that is global now; values that went to another provider before stay there.

    Every update by attributes looks whether the provider changed, so tests may replace it. The API offers no call
    that is cheap enough for that, so its variable is read directly; before a provider is set it is None, and
    OpenTelemetry's proxies connect us when one comes.
    """
    with _making:
        provider = _api._METER_PROVIDER
        if provider is _bound.provider:
            return
        if _bound.meter is not None and _bound.provider is not None:
            clear()
        _bound.provider = provider
        gone = getattr(provider, "_shutdown", False)  # it would say at each look that it provides nothing any more
        _bound.meter = metrics.NoOpMeter(SCOPE) if gone else metrics.get_meter(SCOPE)
        _readers_of(metrics.get_meter_provider())
        _bound.whole = _bound.possible
        for instrument in list(_instruments.values()):
            _create(instrument, _bound.meter)


def follow_provider() -> None:
    """Bind where the global provider is another one than before; `at()` and `bind()` of an instrument do it too."""
    if _api._METER_PROVIDER is not _bound.provider:
        bind()


def _readers_of(provider: Any) -> None:
    """Find out how the provider's readers take histograms: binned by our exporter, or value by value."""
    readers = list(getattr(getattr(provider, "_measurement_consumer", None), "_reader_storages", ()))
    binned = [hasattr(getattr(reader, "_exporter", None), "takes_binned_histograms") for reader in readers]
    unread = not connected() or (not readers and hasattr(provider, "_measurement_consumer"))
    _bound.plain = not unread and not (binned and all(binned))
    exporters = [getattr(reader, "_exporter", None) for reader in readers]
    views = getattr(getattr(provider, "_sdk_config", None), "views", ())  # the user's, of what goes through the SDK
    _bound.possible = (
        bool(exporters) and not views and all(getattr(each, "takes_readings", False) for each in exporters)
    )


def connected() -> bool:
    """Tell whether there is a provider to report to."""
    return "Proxy" not in type(metrics.get_meter_provider()).__name__


def falls_back() -> bool:
    """Tell whether histograms go through the SDK's `record`, because a reader takes none that are binned."""
    return _bound.plain


def _inspect() -> None:
    """Follow readers that were added to the provider later."""
    before = _bound.plain
    _readers_of(metrics.get_meter_provider())
    if _bound.plain is not before:
        with cells.lock:
            for instrument in list(_instruments.values()):
                if isinstance(instrument, Histogram):
                    instrument.route()


def catch_up() -> None:
    """Give the SDK what it is to see from now on, as when a reader was added; a collection must not call this."""
    if _bound.possible == _bound.whole or _bound.meter is None:
        return
    with _making:
        _bound.whole = _bound.possible
        for instrument in list(_instruments.values()):
            if not instrument.created:
                _create(instrument, _bound.meter)


Feed = Callable[[], Mapping[str, Sequence[Told]]]
feeds: list[Feed] = []
"""Where to ask for the readings of all sources at once, by the names of their metrics."""


def handed_over() -> Iterator[tuple[Metric, Sequence[Told]]]:
    """Yield what exporters take from us, and the SDK never sees, metric by metric."""
    if not _bound.whole:
        return
    for instrument in list(_instruments.values()):
        if not (instrument.sourced or instrument is _anchor or isinstance(instrument, Histogram)):
            try:
                yield instrument.row, instrument.readings()
            except Exception as exc:  # a foreign source's own: the others are exported, as the SDK does it
                instrument._tell("error", "%s: not reported: %s", f"{type(exc).__name__}: {exc}")
    for feed in feeds:
        for name, readings in feed().items():
            sourced = _instruments.get(name)
            if sourced is not None and sourced.sourced:
                yield sourced.row, sourced.checked(readings)


def clear() -> None:
    """Forget every series: for a new provider, or a test."""
    with cells.lock:
        for instrument in list(_instruments.values()):
            instrument.clear()


def use_exponential(*, on: bool) -> None:
    """Choose exponential buckets for histogram series that are made from now on."""
    _bound.exponential = on


def histograms() -> list[Histogram]:
    """Return the histograms, for the exporter that takes them binned."""
    return [instrument for instrument in list(_instruments.values()) if isinstance(instrument, Histogram)]


def instrument_of(row: Metric, *, sourced: bool = False) -> Instrument[Any]:
    """Return the instrument of `row`, made at the first call; `sourced` where only sources will report it."""
    with _making:
        found = _instruments.get(row.name) or _KINDS[row.kind](row, sourced=sourced)
        if found.sourced and not sourced:
            found.sourced = False
            if not found.created and _bound.meter is not None:
                _create(found, _bound.meter)
        return found


_KINDS: Mapping[str, Callable[..., Instrument[Any]]] = {
    "counter": Counter,
    "updowncounter": UpDownCounter,
    "gauge": Gauge,
    "histogram": Histogram,
}

refused = Counter(SELF_REFUSED)


before_collection: list[Callable[[], None]] = []
"""Called before anything is read at a collection: what waits to be counted is counted then."""


def _take_stock() -> list[Reading]:
    """Count the series, and see to the provider's readers: the source that every collection asks first, and once."""
    _inspect()
    for call in before_collection:
        try:
            call()
        except Exception as exc:  # it costs what it would have counted, not the collection
            _log.warning("before a collection: %s: %s", type(exc).__name__, exc)
    return [Reading(SELF_SERIES, sum(len(instrument.series) for instrument in list(_instruments.values())))]


_anchor = Gauge(SELF_SERIES)
"""What always goes through the SDK, which exports nothing, ours neither, where it has nothing itself."""
_anchor.sources["series"] = _take_stock


def _after_fork() -> None:
    global _making  # noqa: PLW0603  # a child has one of its own
    cells.renew()
    _making = threading.RLock()
    for instrument in _instruments.values():
        instrument.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
