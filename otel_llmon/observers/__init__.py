"""Sources that are read on a beat: attach() owns one thread that reads them, and collection copies what it read.

A source that raises loses the readings of that pass; one that hangs is left alone in its thread, and another thread
goes on with the others. Either is counted in `llmon.self.errors`.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_llmon import metering, telemetry
from otel_llmon.errors import NoDataError, SettingsError
from otel_llmon.events import errors
from otel_llmon.metering import Told, values
from otel_llmon.semconv import Metric
from otel_llmon.semconv.selfmetrics import SELF_CPU

OBSERVERS = {
    "cgroup": "otel_llmon.observers.cgroup",
    "efficiency": "otel_llmon.observers.efficiency",
    "gpu": "otel_llmon.observers.gpu",
    "host": "otel_llmon.observers.host",
    "process": "otel_llmon.observers.process",
    "torch": "otel_llmon.observers.torch",
}

Observe = Callable[[], Iterable[Told]]

PATIENCE = 5.0
"""Seconds after which a source that has not answered counts as hanging."""

_cpu = metering.instrument_of(SELF_CPU)
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_./-]{0,254}")


@dataclass(eq=False)
class _Source:
    """One observer, and what it said last."""

    name: str
    observe: Observe
    rows: Mapping[str, Metric]
    readings: dict[str, list[Told]] = field(default_factory=dict)
    read_at: float = 0.0
    busy_since: float | None = None
    told: str = ""

    def fresh(self, row: str, now: float, beat: float) -> Iterable[Told]:
        """Return the last readings of a metric, or nothing where they are older than two beats and a bit."""
        if now - self.read_at > 2.5 * beat:
            return ()
        return self.readings.get(row, ())


class _Sampler:
    """The beat: one daemon thread, replaced when a source hangs in it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.beat = 10.0
        self.clock = clock
        self.sources: dict[str, _Source] = {}
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._passed = threading.Condition(threading.Lock())
        self._passes = 0
        self._asked = 0
        self._thread: threading.Thread | None = None
        self._current: _Source | None = None
        self._stopped = False

    def after_fork(self) -> None:
        """Start afresh in a forked child; its thread starts with the child's first collection."""
        self._renew()
        for source in self.sources.values():
            source.readings, source.busy_since, source.read_at = {}, None, 0.0

    def add(self, source: _Source, key: str | None = None) -> None:
        """Read `source` from now on, instead of what had this key; first at once, or when a provider collects."""
        key = key or source.name
        with self._lock:
            self.sources[key] = source
            for row in source.rows.values():
                metering.instrument_of(row, sourced=True).sources[key] = self._reader(source, row.name)
            self._stopped = False
        if metering.connected():
            self._wake.set()  # before the thread is there, which needs no second pass then
            self.ensure()

    def _reader(self, source: _Source, row: str) -> metering.Source:
        def read() -> Iterable[Told]:
            self.ensure()
            return source.fresh(row, self.clock(), self.beat)

        return read

    def fresh(self) -> Mapping[str, Sequence[Told]]:
        """Return the last readings of all sources, by metric."""
        self.ensure()
        now = self.clock()
        found: dict[str, list[Told]] = {}
        for source in list(self.sources.values()):
            if now - source.read_at <= 2.5 * self.beat:
                for name, readings in source.readings.items():
                    found[name] = found[name] + readings if name in found else readings
        return found

    def remove(self, key: str) -> None:
        """Read a source no more; what one process reports for all, another one may report now."""
        with self._lock:
            source = self.sources.pop(key, None)
            if source is None:
                return
            for row in source.rows.values():
                metering.instrument_of(row, sourced=True).sources.pop(key, None)
        give_back = getattr(source.observe, "give_back", None)
        if give_back is not None:
            give_back()

    def ensure(self) -> None:
        """See that a thread is there and that none hangs; called by whoever collects."""
        with self._lock:
            if self._stopped or not self.sources:
                return
            hanging = self._hanging()
            if self._thread is not None and self._thread.is_alive() and not hanging:
                return
            self._thread = threading.Thread(target=self._run, name="llmon-observers", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # Python 3.12.0 and 3.12.1 start none at exit
                self._thread = None

    def _hanging(self) -> bool:
        """Tell whether the thread is stuck in the source that it reads now; if so, count and name that source."""
        source = self._current
        since = source.busy_since if source is not None else None  # read once: the thread may end just now
        if source is None or since is None or self.clock() - since <= PATIENCE:
            return False
        self._current = None
        self._fail(source, "hangs", f"no answer for {PATIENCE:g} s; going on without it")
        return True

    def _run(self) -> None:
        me = threading.current_thread()
        while self._thread is me and not self._stopped:
            asked, began = self._asked, time.thread_time()
            self._wake.clear()
            for source in list(self.sources.values()):
                if source.busy_since is None:
                    self._current = source
                    self._read(source)
                if self._thread is not me:  # it took so long that another took over
                    return
            telemetry.settle(last=False)
            metering.catch_up()
            _cpu.at("observers").add(time.thread_time() - began)
            with self._passed:
                self._passes = asked
                self._passed.notify_all()
            if self._asked == asked:
                self._wake.wait(self.beat)

    def _read(self, source: _Source) -> None:
        source.busy_since = self.clock()
        try:
            found: dict[str, list[Told]] = {}
            row: Metric | None = None
            for told in source.observe():
                if told[0] is not row:  # readings of one metric mostly come in a row
                    row = told[0]
                    readings = found.setdefault(row.name, []) if row.name in source.rows else []
                readings.append(told)
            source.readings, source.read_at, source.told = found, self.clock(), ""
        except NoDataError as exc:
            source.readings, source.read_at = {}, self.clock()
            if source.told != "nothing":
                source.told = "nothing"
                telemetry.log.info("%s: %s", source.name, exc)
        except BaseException as exc:  # the guard around foreign code, sys.exit() too: it costs this source's readings
            source.readings = {}
            self._fail(source, "fails", f"{type(exc).__name__}: {exc}")
        finally:
            source.busy_since = None

    def _fail(self, source: _Source, how: str, why: str) -> None:
        errors.at(source.name).add()
        if source.told != how:
            source.told = how
            telemetry.log.warning("observer %s %s: %s", source.name, how, why)

    def read_now(self, timeout: float) -> bool:
        """Have every source read once more, as before the last export; return whether that was done in time."""
        if not self.sources or self._stopped:
            return True
        with self._lock:
            self._asked += 1
            wanted = self._asked
        self.ensure()
        if self._thread is None:
            return False
        self._wake.set()
        with self._passed:
            return self._passed.wait_for(lambda: self._passes >= wanted, timeout)

    def stop(self) -> None:
        """End the thread and forget all sources."""
        for key in list(self.sources):
            self.remove(key)
        self._stopped = True
        self._wake.set()


sampler = _Sampler()
read_now = sampler.read_now
metering.feeds.append(sampler.fresh)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=sampler.after_fork)


def attach(*observers: str | Any, every: float | None = None) -> None:
    """Read these observers on the beat: names out of OBSERVERS, or modules with ROWS and `observe()` or `watch()`.

    A name may be followed by one of the observer's groups (`host.memory`), and `auto` means what fits the place.
    Raises SettingsError for a name that is not known.
    """
    from otel_llmon.observers.sources import sources

    wanted = sources(observers)
    if every is not None:
        sampler.beat = every
    for name, make in wanted.items():
        if name not in sampler.sources:
            try:
                observe, rows = make()
            except Exception as exc:  # a machine that shows nothing of it: the others go on
                errors.at(name).add()
                telemetry.log.warning("observer %s: not read: %s: %s", name, type(exc).__name__, exc)
                continue
            sampler.add(_Source(name, observe, {row.name: row for row in rows}))


def each_beat(name: str, work: Callable[[], None]) -> None:
    """Have some work done on the beat, and before the last flush, beside what is read there."""

    def observe() -> Iterable[Told]:
        work()
        return ()

    sampler.add(_Source(name, observe, {}))


def check(*observers: str | Any) -> None:
    """Raise SettingsError where one of these is a name that is not known."""
    from otel_llmon.observers.sources import sources

    sources(observers)


def detach_all() -> None:
    """Read nothing any more."""
    sampler.stop()


def gauge(
    name: str,
    read: Callable[[], float | None],
    unit: str = "",
    attributes: Mapping[str, Any] | None = None,
    description: str = "",
) -> None:
    """Export what `read()` returns, on the observers' beat, as a gauge of this name; None means nothing to report.

    Another call with the same name and attributes replaces `read`. Raises SettingsError for a name that
    OpenTelemetry does not take, or one that another kind of metric has.
    """
    if str(name) != name or _NAME.fullmatch(name) is None:
        raise SettingsError(
            f"gauge {name!r}: expected a name like queue.depth: letters, digits and ._-/, a letter first"
        )
    if not callable(read):
        raise SettingsError(f"gauge {name!r}: found {read!r}, expected a function that returns a number")
    if str(unit) != unit or not unit.isascii() or len(unit) > 63:
        raise SettingsError(
            f"gauge {name!r}: unit {unit!r}: expected one like By, s or {{job}}: ASCII, 63 characters at most"
        )
    fixed = telemetry.clean(attributes)
    row = Metric(name, "gauge", unit, values.text(description), tuple(fixed))
    instrument = metering.instrument_of(row, sourced=True)
    if instrument.row.kind != "gauge":
        raise SettingsError(f"gauge {name!r}: there is a {instrument.row.kind} of this name; choose another")

    def observe() -> Sequence[Told]:
        value = read()
        return [] if value is None else [(row, value, fixed)]

    suffix = ",".join(f"{key}={value}" for key, value in sorted(fixed.items()))
    source = f"{name}{{{suffix}}}" if suffix else name
    key = f"gauge {source}"  # no observer's name has a space
    if key not in instrument.sources and len(instrument.sources) >= row.cap:
        telemetry.warn_once("gauge %r: more than %s sets of attributes, the others are left out", name, row.cap)
        return
    sampler.add(_Source(source, observe, {row.name: row}), key)
