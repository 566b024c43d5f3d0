"""Who instruments report to: the provider that is global now, its readers, and exporters that take from us directly."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation, _internal

from otel_llmon.metering import cells
from otel_llmon.metering.reading import Told
from otel_llmon.semconv import Metric

if TYPE_CHECKING:
    from otel_llmon.metering import Histogram, Instrument

SCOPE = "otel_llmon"
SHARD = f"{SCOPE}.shard"
"""What the scopes of further shards begin with."""
_log = logging.getLogger("otel_llmon")

# in a later API than we know, a provider that is replaced goes unnoticed, no more
api: Any = _internal if hasattr(_internal, "_METER_PROVIDER") else SimpleNamespace(_METER_PROVIDER=None)


class _Bound:
    """The provider that the instruments report to, and how its readers take histograms."""

    provider: Any = "nobody has asked yet"  # neither None nor a provider, so that the first use binds
    meter: metrics.Meter | None = None
    plain = False
    exponential = False
    whole = possible = False
    """Whether exporters take readings as they are, so that the SDK need not see them; whether all of them could."""

    def __init__(self) -> None:
        self.making = threading.RLock()
        """Guards what is made in the SDK, which locks for that. A collection holds the SDK's lock when it asks for the
        cells', so nothing may be made under that one, and no collection may ask for this one."""


current = _Bound()
instruments: dict[str, Instrument[Any]] = {}


def register(instrument: Instrument[Any]) -> None:
    """Let `instrument` report to the global provider, now and after a change of provider."""
    with current.making:
        other = instruments.setdefault(instrument.row.name, instrument)
        if other is not instrument:
            raise ValueError(f"metric {instrument.row.name!r}: exists already; use the instrument that is there")
        if current.meter is not None:
            create(instrument, current.meter)


def create(instrument: Instrument[Any], meter: metrics.Meter) -> None:
    """Make in the SDK what it has to see of `instrument`."""
    if instrument.binned:
        instrument.route()
        return
    instrument.created = not current.whole or instrument.always
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
    made = {
        "counter": meter.create_observable_counter,
        "updowncounter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }[row.kind]
    made(row.name, [partial(_observe, row.name, shard)], row.unit, row.description)


def _observe(name: str, shard: int, _: CallbackOptions) -> list[Observation]:
    """Report the instrument that has this name now: a meter keeps the first callback of a name for good."""
    instrument = instruments.get(name)
    if instrument is None:
        return []
    return instrument.observe_shard(shard) if instrument.row.shards > 1 else instrument.observe()


def bind() -> None:
    """Report to the provider that is global now; values that went to another provider before stay there.

    Every update by attributes looks whether the provider changed, so tests may replace it. The API offers no call
    that is cheap enough for that, so its variable is read directly; before a provider is set it is None, and
    OpenTelemetry's proxies connect us when one comes.
    """
    with current.making:
        provider = api._METER_PROVIDER
        if provider is current.provider:
            return
        if current.meter is not None and current.provider is not None:
            clear()
        current.provider = provider
        gone = getattr(provider, "_shutdown", False)  # it would say at each look that it provides nothing any more
        current.meter = metrics.NoOpMeter(SCOPE) if gone else metrics.get_meter(SCOPE)
        _look_at(metrics.get_meter_provider())
        current.whole = current.possible
        for instrument in list(instruments.values()):
            create(instrument, current.meter)


def follow_provider() -> None:
    """Bind where the global provider is another one than before; `at()` and `bind()` of an instrument do it too."""
    if api._METER_PROVIDER is not current.provider:
        bind()


def _look_at(provider: Any) -> None:
    """Find out how the provider's readers take histograms: binned by our exporter, or value by value."""
    readers = list(getattr(getattr(provider, "_measurement_consumer", None), "_reader_storages", ()))
    binned = [hasattr(getattr(reader, "_exporter", None), "takes_binned_histograms") for reader in readers]
    unread = not connected() or (not readers and hasattr(provider, "_measurement_consumer"))
    current.plain = not unread and not (binned and all(binned))
    exporters = [getattr(reader, "_exporter", None) for reader in readers]
    views = getattr(getattr(provider, "_sdk_config", None), "views", ())  # the user's, of what goes through the SDK
    taken = [getattr(each, "takes_readings", False) for each in exporters]
    current.possible = bool(taken) and not views and all(taken)


def connected() -> bool:
    """Tell whether there is a provider to report to."""
    return "Proxy" not in type(metrics.get_meter_provider()).__name__


def falls_back() -> bool:
    """Tell whether histograms go through the SDK's `record`, because a reader takes none that are binned."""
    return current.plain


def _inspect() -> None:
    """Follow readers that were added to the provider later."""
    before = current.plain
    _look_at(metrics.get_meter_provider())
    if current.plain is not before:
        with cells.lock:
            for instrument in list(instruments.values()):
                instrument.route()


def catch_up() -> None:
    """Give the SDK what it is to see from now on, as when a reader was added; a collection must not call this."""
    if current.possible == current.whole or current.meter is None:
        return
    with current.making:
        current.whole = current.possible
        for instrument in list(instruments.values()):
            if not instrument.created:
                create(instrument, current.meter)


Feed = Callable[[], Mapping[str, Sequence[Told]]]
feeds: list[Feed] = []
"""Where to ask for the readings of all sources at once, by the names of their metrics."""


def handed_over() -> Iterator[tuple[Metric, Sequence[Told]]]:
    """Yield what exporters take from us, and the SDK never sees, metric by metric."""
    if not current.whole:
        return
    for instrument in list(instruments.values()):
        if not (instrument.sourced or instrument.always or instrument.binned):
            try:
                yield instrument.row, instrument.readings()
            except Exception as exc:  # a foreign source's own: the others are exported, as the SDK does it
                instrument._tell("error", "%s: not reported: %s", f"{type(exc).__name__}: {exc}")
    for feed in feeds:
        for name, readings in feed().items():
            sourced = instruments.get(name)
            if sourced is not None and sourced.sourced:
                yield sourced.row, sourced.checked(readings)


def clear() -> None:
    """Forget every series: for a new provider, or a test."""
    with cells.lock:
        for instrument in list(instruments.values()):
            instrument.clear()


def use_exponential(*, on: bool) -> None:
    """Choose exponential buckets for histogram series that are made from now on."""
    current.exponential = on


def histograms() -> list[Histogram]:
    """Return the histograms, for the exporter that takes them binned."""
    return [instrument for instrument in list(instruments.values()) if instrument.binned]  # type: ignore[misc]


before_collection: list[Callable[[], None]] = []
"""Called before anything is read at a collection: what waits to be counted is counted then."""


def take_stock() -> int:
    """Return how many series there are; see to the provider's readers, and to what waits to be counted."""
    _inspect()
    for call in before_collection:
        try:
            call()
        except Exception as exc:  # it costs what it would have counted, not the collection
            _log.warning("before a collection: %s: %s", type(exc).__name__, exc)
    return sum([len(instrument.series) for instrument in list(instruments.values())])  # a list is the quicker one


def _after_fork() -> None:
    cells.renew()
    current.making = threading.RLock()
    for instrument in instruments.values():
        instrument.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
