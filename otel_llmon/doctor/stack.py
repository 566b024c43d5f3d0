"""The way through a Collector to Prometheus, Jaeger and Loki: which server has it, and which hop has not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from otel_llmon.backends import Alertmanager, BackendError, Collector, Jaeger, Loki, Prometheus
from otel_llmon.backends.collector import version_in
from otel_llmon.backends.records import Exemplar, Log
from otel_llmon.doctor.asking import Limit, Met, Search, meet, search, search_all, together
from otel_llmon.doctor.ledger import Ledger, kept, missing
from otel_llmon.doctor.plan import SERVICE, Plan
from otel_llmon.doctor.sending import Sent
from otel_llmon.doctor.verdict import SIGNALS, Check, of_version
from otel_llmon.semconv.attributes import PHASE
from otel_llmon.semconv.phases import PHASE_DURATION
from otel_llmon.settings import Settings

STORES = {"traces": "Jaeger", "metrics": "Prometheus", "logs": "Loki"}

AROUND = 900.0
"""Seconds before and after now in which is searched: the servers' clocks may differ from ours."""

_OTLP_OFF = "start Prometheus with --web.enable-otlp-receiver, unless the Collector writes to it in another way"
_REWRITTEN = "see which processor of the Collector rewrites it"
_EXEMPLARS_OFF = "start Prometheus with --enable-feature=exemplar-storage"


class Stack:
    """The servers at the addresses that the settings name."""

    name = "stack"

    def __init__(self, settings: Settings, plan: Plan, timeout: float) -> None:
        options: Any = {"timeout": timeout, "headers": dict(settings.backend_headers)}
        self.prometheus = Prometheus(settings.prometheus_url, **options)
        self.jaeger = Jaeger(settings.jaeger_url, **options)
        self.loki = Loki(settings.loki_url, **options)
        self.alertmanager = Alertmanager(settings.alertmanager_url, **options)
        host = _host(next(iter(plan.endpoints.values())))
        self.collector = Collector(
            settings.collector_health_url or f"http://{host}:13133",
            settings.collector_metrics_url or f"http://{host}:8888",
            **options,
        )
        self.met: dict[str, Any] = {}
        self._before: Any = None

    def questions(self) -> dict[str, Callable[[], Any]]:
        """Return what is asked before anything is sent."""
        return {
            "Prometheus": lambda: meet(
                self.prometheus, "/-/ready", self.prometheus.version, lambda: _flags(self.prometheus)
            ),
            "Jaeger": lambda: meet(self.jaeger, "/", self.jaeger.version, self.jaeger.services),
            "Loki": lambda: meet(self.loki, "/ready", self.loki.version),
            "Alertmanager": lambda: meet(self.alertmanager, "/-/ready", self.alertmanager.version),
            "Collector": self._meet_collector,
            "numbers": self.collector.metrics,
        }

    def _meet_collector(self) -> Met:
        """Ask its health check; its version comes with its numbers."""
        answer = self.collector.ask("/")
        if answer.status != 200:
            raise self.collector.error(f"{answer.status}: it is not healthy; see its log", answer.status)
        return meet(self.collector, "/", lambda: None)

    def take(self, answers: dict[str, Any]) -> None:
        """Keep what was answered."""
        self._before = answers.pop("numbers")
        self.met = answers

    def servers(self) -> Iterator[Check]:
        """Say of each server whether it answers, and what of its set-up matters."""
        for name in ("Collector", "Prometheus", "Jaeger", "Loki", "Alertmanager"):
            yield self._server(name, self.met[name])
        flags = getattr(self.met["Prometheus"], "extra", None)
        if flags is not None and not _receives_otlp(flags):
            yield Check("Prometheus", "warn", "its OTLP receiver is off", _OTLP_OFF)
        if flags is not None and not _keeps_exemplars(flags):
            yield Check("Prometheus", "warn", "its exemplar storage is off", _EXEMPLARS_OFF)

    def _server(self, name: str, met: Any) -> Check:
        if isinstance(met, BackendError):
            return _unmet(name, self._address(name), met)
        version = met.version
        if name == "Collector" and not isinstance(self._before, BackendError):
            version = version_in(self._before)
        state, said, advice = of_version(name, version)
        return Check(name, state, f"{said} at {self._address(name)}", advice)

    def clocks(self) -> list[tuple[str, float]]:
        """Return how far each server's clock is ahead."""
        return [(name, met.skew) for name, met in self.met.items() if isinstance(met, Met) and met.skew is not None]

    def look(self, mark: str, sent: Sent, signals: list[str], limit: Limit) -> dict[str, Search[Any]]:
        """Look for what was sent, in those servers that answered, all at once."""
        questions = {
            "traces": lambda: self._trace(sent),
            "metrics": lambda: self._metric(mark),
            "logs": lambda: self._log(mark),
        }
        reachable = [each for each in signals if not isinstance(self.met[STORES[each]], BackendError)]
        return search_all({signal: questions[signal] for signal in reachable}, limit)

    def lost(self, signal: str, searched: Search[Any] | None, seconds: float) -> Check:
        """Say which hop lost a signal that was sent and not found."""
        store = STORES[signal]
        error = self.met[store] if searched is None else searched.error
        if isinstance(error, BackendError):
            why, _, advice = error.reason.partition("; ")
            where = kept(signal, self._ledger())
            said = f"collector -> {store.lower()}: {store} cannot be asked for the {SIGNALS[signal]}: {why}"
            return Check(SIGNALS[signal], "fail", f"{said}; {where}" if where else said, advice)
        if signal == "metrics" and not _receives_otlp(self.met[store].extra):
            check = missing(signal, store, seconds, self._ledger())
            return Check(check.name, check.state, check.found, _OTLP_OFF)
        return missing(signal, store, seconds, self._ledger())

    def _ledger(self) -> Ledger | None:
        """Return what the Collector counted since we began, where it serves its numbers."""
        if isinstance(self._before, BackendError):
            return None
        after = together({"Collector": self.collector.metrics}, 1.0)["Collector"]
        return None if isinstance(after, BackendError) else Ledger(self._before, after)

    def joins(self, sent: Sent, found: dict[str, Any], mark: str, limit: Limit) -> Iterator[Check]:
        """Say whether one leads from the exemplar to the trace, and from the trace to the log."""
        if "metrics" in found and "traces" in found:
            yield self._exemplar_to_trace(sent, mark, limit)
        if "logs" in found and "traces" in found:
            yield of_log(sent, found["logs"], "Loki", "let Loki keep trace_id in structured metadata: otlp_config")

    def _exemplar_to_trace(self, sent: Sent, mark: str, limit: Limit) -> Check:
        flags = self.met["Prometheus"].extra
        if not _keeps_exemplars(flags):
            return Check("exemplar -> trace", "fail", "prometheus: it keeps no exemplars", _EXEMPLARS_OFF)
        looked = search(lambda: self._exemplars(mark) or None, Limit(limit.left(2.0)))
        if looked.error is not None:
            return Check.of("exemplar -> trace", "fail", f"prometheus: {looked.error.reason}")
        return of_exemplars(sent, looked.found or [], "Prometheus")

    def _trace(self, sent: Sent) -> Any:
        trace = self.jaeger.trace(sent.trace_id or "")
        return trace if trace is not None and any(span.span_id == sent.span_id for span in trace.spans) else None

    def _metric(self, mark: str) -> Any:
        found = self.prometheus.query(self._selector(mark), at=time.time() + 1)
        names = (series.labels.get("__name__", "") for series in found)
        wanted = PHASE_DURATION.name.replace(".", "_")
        return next((name for name in names if name.replace(".", "_").startswith(wanted)), None)

    def _exemplars(self, mark: str) -> list[Exemplar]:
        now = time.time()
        return self.prometheus.exemplars(self._selector(mark), start=now - AROUND, end=now + AROUND)

    def _selector(self, mark: str) -> str:
        """Return a selector of our metric's series, whichever way Prometheus was told to write names."""
        plain = f'{{{re.sub("[^a-z]", "_", PHASE)}="{mark}"}}'
        version = getattr(self.met["Prometheus"], "version", "") or ""
        return f'{plain} or {{"{PHASE}"="{mark}"}}' if not version.startswith(("1.", "2.")) else plain

    def _log(self, mark: str) -> Log | None:
        now = time.time()
        lines = self.loki.lines(
            f'{{service_name="{SERVICE}"}} |= "{mark}"', start=now - AROUND, end=now + AROUND, limit=1
        )
        return lines[0] if lines else None

    def _address(self, name: str) -> str:
        clients = (self.collector, self.prometheus, self.jaeger, self.loki, self.alertmanager)
        return next(client.url for client in clients if client.name == name)


def of_exemplars(sent: Sent, exemplars: list[Exemplar], store: str) -> Check:
    """Say whether the exemplars lead to our trace."""
    name = "exemplar -> trace"
    if any(each.trace_id == sent.trace_id for each in exemplars):
        return Check(name, "ok", f"the exemplar in {store} names the trace")
    if exemplars:
        return Check(name, "fail", f"{store.lower()}: the exemplar names another trace", _REWRITTEN)
    advice = "send OTLP all the way; a prometheus exporter in the Collector needs enable_open_metrics"
    return Check(name, "fail", f"{store.lower()}: the metric has no exemplar", advice)


def of_log(sent: Sent, log: Log, store: str, advice: str) -> Check:
    """Say whether the log is in our span."""
    name = "trace -> log"
    if (log.trace_id, log.span_id) == (sent.trace_id, sent.span_id):
        return Check(name, "ok", f"the log in {store} names the span")
    if log.trace_id:
        return Check(name, "fail", f"{store.lower()}: the log names another span", _REWRITTEN)
    return Check(name, "fail", f"{store.lower()}: the log names no trace", advice)


def _unmet(name: str, address: str, error: BackendError) -> Check:
    """Say that a server did not answer: those without which all can arrive are no failure."""
    state = {"Collector": "note", "Alertmanager": "warn"}.get(name, "fail")
    found, _, advice = error.reason.partition("; ")
    extra = {
        "Collector": "its health and its numbers stay unknown; name them in OTEL_LLMON_COLLECTOR_HEALTH_URL",
        "Alertmanager": "alerts reach nobody",
    }.get(name, "")
    return Check(name, state, f"{found} at {address}", extra or advice)  # type: ignore[arg-type]


def _flags(prometheus: Prometheus) -> dict[str, str]:
    """Return Prometheus' flags; what serves its API without them has none."""
    try:
        return prometheus.flags()
    except BackendError:
        return {}


def _receives_otlp(flags: dict[str, str]) -> bool:
    features = flags.get("enable-feature", "").split(",")
    return not flags or flags.get("web.enable-otlp-receiver") == "true" or "otlp-write-receiver" in features


def _keeps_exemplars(flags: dict[str, str]) -> bool:
    return not flags or "exemplar-storage" in flags.get("enable-feature", "").split(",")


def _host(endpoint: str) -> str:
    """Return the host of an endpoint, which gRPC's may name without a scheme."""
    host = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or "localhost"
    return f"[{host}]" if ":" in host else host
