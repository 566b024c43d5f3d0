"""Exporters around exporters: they add binned histograms, count what is sent and lost, and survive a fork.

`MetricExporter(OTLPMetricExporter())` is for those who build their own MeterProvider; `configure()` wraps all three
signals. The inner exporters' own log lines are kept for the one line that says what was lost.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.sdk import metrics
from opentelemetry.sdk._logs import export as _logs_export
from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics import export as metrics_export
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.trace.export import SpanExporter as _SpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_llmon import metering
from otel_llmon.metering.points import Points
from otel_llmon.semconv.selfmetrics import SELF_CPU, SELF_EXPORTED, SELF_LOST

# renamed in SDK 1.39
AnyLogExporter: Any = getattr(_logs_export, "LogRecordExporter", None) or _logs_export.LogExporter
LogResult: Any = getattr(_logs_export, "LogRecordExportResult", None) or _logs_export.LogExportResult

_log = logging.getLogger("otel_llmon")
_exported = metering.Counter(SELF_EXPORTED)
_lost = metering.Counter(SELF_LOST)
_cpu = metering.instrument_of(SELF_CPU)
_outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()


class _LastWords(logging.Handler):
    """Remembers, per thread, why an exporter failed; its log lines tell, its results do not."""

    def __init__(self) -> None:
        super().__init__()
        self._said = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first reason, not what follows from it."""
        if not getattr(self._said, "reason", "") and "encode key" not in str(record.msg):
            transient = str(record.msg).startswith("Transient") and isinstance(record.args, tuple)
            self._said.reason = _short(str(record.args[0]) if transient else record.getMessage())  # type: ignore[index]

    def take(self) -> str:
        """Return this thread's reason, and forget it."""
        reason, self._said.reason = getattr(self._said, "reason", ""), ""
        return reason


def _short(text: str) -> str:
    """Return what a person needs of a nested connection error: where to, and what the system said."""
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)|timed out", text)
    place = re.search(r"host='([^']+)', port=(\d+)", text)
    if system is None or place is None:
        return text[:300]
    why = system[1] or system[0]
    way_out = "" if "HTTPSConnection" in text else _way_out(place[1], place[2], why)
    return f"{place[1]}:{place[2]}: {why}{way_out}"


def _way_out(host: str, port: str, why: str) -> str:
    """Return what to run where nobody listens on this machine, for what is sent by plain HTTP, as a viewer takes it."""
    if why != os.strerror(errno.ECONNREFUSED) or not re.fullmatch(r"localhost|127[\d.]+|::1", host):
        return ""
    usual = host in ("localhost", "127.0.0.1") and port == "4318"
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f", to see it: llmon view{'' if usual else f' --otlp {where}'}"


_words = _LastWords()
_UNFIT = "Failed to encode"


def keep_words() -> None:
    """Keep the exporters' log lines to ourselves, unless somebody asked for them; ours says the same once."""
    logger = logging.getLogger("opentelemetry.exporter")
    if logger.level == logging.NOTSET and not logger.handlers:
        logger.addHandler(_words)
        logger.propagate = False


def dropped(signal: str) -> None:
    """Count an item for which a queue had no room."""
    _lost.at(signal).add(1)


def make_room(signal: str) -> None:
    """Wait a moment where items come faster than they are sent, so that a queue need not drop them.

    Only for an exporter that gets on: where nothing left meanwhile, nobody waits until something has.
    """
    for outlet in list(_outlets):
        if outlet.signal == signal:
            outlet.make_room()


CROWDED, ROOMY = 0.75, 0.5
"""Shares of a queue that are taken: where somebody waits, and until when."""
MOMENT = 0.05
"""Seconds for which somebody waits at most."""
PATIENCE = 1.0
"""Seconds that a batch may take; while one takes longer, nobody waits."""


@dataclass(frozen=True, slots=True)
class Passage:
    """How one signal gets out of this process."""

    signal: str
    failing: bool
    """Whether the last batch could not be sent."""
    sent_at: float | None
    """When a batch was last handed over, in unix seconds."""
    waiting: int
    """Items in the queue and on their way."""
    lost: float
    """Items that were given up, or for which the queue had no room."""
    reason: str
    """Why the last batch that was not sent was not; empty where none was."""


def passages() -> list[Passage]:
    """Return how each signal gets out, in so far as it does through our exporters."""
    open_ = sorted((outlet for outlet in list(_outlets) if not outlet.closed), key=lambda outlet: outlet.signal)
    return [outlet.passage() for outlet in open_]


class Outlet:
    """What the three wrappers share. `make` builds the inner exporter again in a forked child."""

    signal = ""

    def __init__(self, inner: Any = None, make: Callable[[], Any] | None = None) -> None:
        self._make = make
        self._inner = inner if inner is not None or make is None else make()
        self._failing = self.closed = self.last = False
        self._moved = float("-inf")
        """When a batch last came, or was dealt with, by the clock that nobody sets."""
        self.pending = 0
        self.lost = 0
        self.reason = ""
        self.sent_at: float | None = None
        self.queue: Sized = ()
        """What the items wait in before they come here."""
        _outlets.add(self)

    def passage(self) -> Passage:
        """Return how its signal gets out."""
        lost = _lost.at(self.signal).read() or 0
        waiting = self.pending + len(self.queue)
        return Passage(self.signal, self._failing, self.sent_at, waiting, lost, self.reason)

    def make_room(self) -> None:
        """Wait a moment where its queue is crowded, so that the thread that sends may go on."""
        most = getattr(self.queue, "maxlen", None) or 0
        now = time.monotonic()
        if len(self.queue) <= CROWDED * most or self._failing or self.closed or now - self._moved > PATIENCE:
            return
        while len(self.queue) > ROOMY * most and time.monotonic() - now < MOMENT:
            time.sleep(0.001)

    @property
    def inner(self) -> Any:
        """Return the exporter inside."""
        if self._inner is None and self._make is not None:
            self._inner = self._make()
        return self._inner

    def renew(self) -> None:
        """Start afresh in a forked child: a connection, or a lock within it, may belong to the parent."""
        self._failing = self.closed = self.last = False
        self._moved = float("-inf")
        self.pending = self.lost = 0
        self.sent_at = None
        if self._make is not None:
            self._inner = None

    def close(self) -> None:
        """Refuse what comes from now on, and stop the inner exporter's retries."""
        self.closed = True
        self.inner.shutdown()

    def hand_over(self, batch: Any, count: int, **options: Any) -> bool:
        """Give a batch to the inner exporter; return whether it was sent."""
        if self.closed:
            self._fail(count, self.reason or "closed before")
            return False
        self.pending, began, self._moved = count, time.thread_time(), time.monotonic()
        try:
            sent = bool(self.inner.export(batch, **options).name == "SUCCESS")
            reason = _words.take()
            unfit = reason.startswith(_UNFIT)
        except Exception as exc:  # an exporter's bug costs its batch, never the thread that exports
            sent, reason = False, _short(f"{type(exc).__name__}: {exc}")
            unfit = not isinstance(exc, OSError)  # older exporters raise what the network or the encoder raised
        self._moved = time.monotonic()
        _cpu.at(self.signal).add(time.thread_time() - began)
        if unfit and not sent and (halves := self._halves(batch)):
            # one item cannot be encoded: the others need not be lost with it
            halves_sent = [self.hand_over(half, self._count(half), **options) for half in halves]
            return all(halves_sent)
        if sent:
            self.pending, self.sent_at = 0, time.time()
            _exported.at(self.signal).add(count)
            if self._failing:
                self._failing = False
                _log.warning("%s: sent again; %s were lost", self.signal, self.lost)
            return True
        self._fail(count, reason)
        return False

    def _halves(self, batch: Any) -> list[Any]:
        """Return a batch in two parts, or nothing where it has one item."""
        middle = len(batch) // 2
        return [batch[:middle], batch[middle:]] if middle else []

    def _count(self, batch: Any) -> int:
        return len(batch)

    def _fail(self, count: int, reason: str) -> None:
        self.pending, self.lost = 0, self.lost + count
        self.reason = reason or self.reason or "the exporter gave no reason"
        _lost.at(self.signal).add(count)
        if not self._failing and not self.closed and not self.last:
            self._failing = True
            _log.warning("%s: not sent, trying on with what comes next: %s", self.signal, self.reason)

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Pass on."""
        return bool(self.inner.force_flush(timeout_millis))

    def shutdown(self, *_: Any, **__: Any) -> None:
        """Close; the arguments that readers and processors bring make no difference."""
        if not self.closed:
            self.close()


class SpanExporter(Outlet, _SpanExporter):
    """Around an exporter of spans."""

    signal = "traces"

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """Hand over a batch of spans."""
        return SpanExportResult.SUCCESS if self.hand_over(spans, len(spans)) else SpanExportResult.FAILURE


class LogExporter(Outlet, AnyLogExporter):  # type: ignore[misc]  # its base has another name in older SDKs
    """Around an exporter of log records."""

    signal = "logs"

    def export(self, batch: Sequence[Any]) -> Any:
        """Hand over a batch of log records."""
        return LogResult.SUCCESS if self.hand_over(batch, len(batch)) else LogResult.FAILURE


class MetricExporter(Outlet, metrics_export.MetricExporter):
    """Around an exporter of metrics: histograms join here, binned, and need no `record` of the SDK's."""

    signal = "metrics"
    takes_binned_histograms = True

    def __init__(
        self, inner: metrics_export.MetricExporter | None = None, make: Callable[[], Any] | None = None
    ) -> None:
        Outlet.__init__(self, inner, make)
        preferred = self.inner._preferred_temporality or {}
        metrics_export.MetricExporter.__init__(self, preferred, self.inner._preferred_aggregation)
        sums = (metrics.ObservableCounter, metrics.ObservableUpDownCounter)
        cumulative = AggregationTemporality.CUMULATIVE
        self.takes_readings = all(preferred.get(kind, cumulative) is cumulative for kind in sums)
        self._points = Points(
            preferred.get(Histogram, AggregationTemporality.CUMULATIVE),
            exemplars=os.environ.get("OTEL_METRICS_EXEMPLAR_FILTER", "").lower() != "always_off",
        )

    def renew(self) -> None:
        """Start afresh in a forked child."""
        super().renew()
        self._points.reset()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Hand over what was collected, our histograms with it."""
        data = with_ours(metrics_data, self._points)
        metering.catch_up()  # the collection is over
        sent = self.hand_over(data, 1, timeout_millis=timeout_millis, **kwargs)
        return MetricExportResult.SUCCESS if sent else MetricExportResult.FAILURE

    def _halves(self, batch: MetricsData) -> list[MetricsData]:
        single = [
            replace(resource, scope_metrics=[replace(scope, metrics=[metric])])
            for resource in batch.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        return [MetricsData(half) for half in super()._halves(single)]

    def _count(self, batch: MetricsData) -> int:  # noqa: ARG002  # metrics are counted by the batch
        return 1


def with_ours(data: MetricsData, points: Points) -> MetricsData:
    """Return `data` with our counters dated, readings that the SDK did not see, and our histograms.

    The latter stand in the place of those that were recorded for a reader beside.
    """
    if not data.resource_metrics:
        return data
    ours_alone = points.take() + points.readings()
    names = {metric.name for metric in ours_alone}
    first, *rest = data.resource_metrics
    scopes: list[ScopeMetrics] = []
    ours = ScopeMetrics(InstrumentationScope(metering.SCOPE), [], "")
    for one in first.scope_metrics:
        if one.scope.name == metering.SCOPE:
            ours = one
        elif one.scope.name.startswith(metering.SHARD):
            scopes.append(replace(one, metrics=[points.dated(metric) for metric in one.metrics]))
        else:
            scopes.append(one)
    counted = [points.dated(metric) for metric in ours.metrics if metric.name not in names]
    if counted or ours_alone:
        scopes.append(ScopeMetrics(ours.scope, counted + ours_alone, ours.schema_url))
    return MetricsData([ResourceMetrics(first.resource, scopes, first.schema_url), *rest])


def _after_fork() -> None:
    for outlet in list(_outlets):
        outlet.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
