"""What the Collector counted while our three things passed, and what follows from that about one that is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from otel_llmon.backends.collector import Sample
from otel_llmon.doctor.verdict import SIGNALS, Check

ITEMS = {"traces": "spans", "metrics": "metric_points", "logs": "log_records"}
"""What the Collector calls the items of a signal in the names of its metrics."""


@dataclass(frozen=True, slots=True)
class Exporter:
    """What one exporter did with one signal meanwhile."""

    name: str
    sent: float = 0
    failed: float = 0
    waiting: float = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One signal's numbers."""

    accepted: float
    refused: float
    exporters: tuple[Exporter, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The numbers before and after."""

    before: Iterable[Sample]
    after: Iterable[Sample]
    tail_sampling: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tail_sampling", any("tail_sampling" in sample.name for sample in self.after))

    def entry(self, signal: str) -> Entry:
        """Return what happened to one signal."""
        items = ITEMS[signal]
        exporters: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for position, stems in enumerate((("sent",), ("send_failed", "enqueue_failed"))):
            for stem in stems:
                for name, count in self._grown(f"otelcol_exporter_{stem}_{items}", _exporter).items():
                    exporters[name][position] += count
        for sample in self.after:
            if sample.name == "otelcol_exporter_queue_size" and _is_for(sample, signal) and sample.value:
                exporters[_exporter(sample)][2] += sample.value
        return Entry(
            accepted=sum(self._grown(f"otelcol_receiver_accepted_{items}").values()),
            refused=sum(self._grown(f"otelcol_receiver_refused_{items}").values())
            + sum(self._grown(f"otelcol_receiver_failed_{items}").values()),
            exporters=tuple(Exporter(name, *numbers) for name, numbers in sorted(exporters.items()) if any(numbers)),
        )

    def _grown(self, name: str, by: Callable[[Sample], str] = lambda _: "") -> dict[str, float]:
        """Return by how much a counter grew; some Collectors put _total behind its name."""
        names = (name, f"{name}_total")
        grown: dict[str, float] = defaultdict(float)
        for samples, sign in ((self.after, 1), (self.before, -1)):
            for sample in samples:
                if sample.name in names:
                    grown[by(sample)] += sign * sample.value
        return {each: count for each, count in grown.items() if count > 0}


def _exporter(sample: Sample) -> str:
    return sample.labels.get("exporter", "?")


def _is_for(sample: Sample, signal: str) -> bool:
    return sample.labels.get("data_type", sample.labels.get("otel_signal", signal)) == signal


def missing(signal: str, store: str, seconds: float, ledger: Ledger | None) -> Check:
    """Return which hop lost what was sent and is not in its store, as far as the Collector's numbers tell."""
    late = f"the {SIGNALS[signal]} did not arrive within {seconds:.0f} s"
    hop, why, advice = _hop(signal, store, ledger)
    return Check(SIGNALS[signal], "fail", f"{hop}: {late}{why}", advice)


def kept(signal: str, ledger: Ledger | None) -> str:
    """Return where a signal waits whose store does not answer, if the Collector tells."""
    exporters = ledger.entry(signal).exporters if ledger is not None else ()
    return ", ".join(_failing(each) for each in exporters if each.failed or each.waiting)


def _hop(signal: str, store: str, ledger: Ledger | None) -> tuple[str, str, str]:
    """Return the hop, what is known of it, and what to do."""
    to_store = f"collector -> {store.lower()}"
    if ledger is None:
        return to_store, "", "look into the Collector's log, and publish its metrics (port 8888) to know more"
    entry = ledger.entry(signal)
    if entry.refused:
        return "collector", ", it was refused", "its memory limiter or a full queue: see the Collector's log"
    if not entry.accepted:
        return "program -> collector", ", and the Collector counted none", "is it the one behind the endpoint"
    return _beyond(signal, store, to_store, entry, tail_sampling=ledger.tail_sampling)


def _beyond(signal: str, store: str, to_store: str, entry: Entry, *, tail_sampling: bool) -> tuple[str, str, str]:
    """Return the same of what the Collector has accepted."""
    if failing := ", ".join(_failing(each) for each in entry.exporters if each.failed or each.waiting):
        return to_store, f": {failing}", "see the Collector's log for the reason"
    if tail_sampling and signal == "traces":
        return to_store, ": tail sampling has not decided", "wait longer than its decision_wait: --wait 70"
    if handed := ", ".join(exporter.name for exporter in entry.exporters):
        return store.lower(), f", though {handed} handed it over", _ADVICE[signal]
    return to_store, ": no exporter got it", f"give the Collector a pipeline for {signal} that ends in {store}"


_ADVICE = {
    "traces": "does it lead to the Jaeger that we asked",
    "metrics": "does it lead to the Prometheus that we asked",
    "logs": "does it lead to the Loki that we asked, to the same tenant (X-Scope-OrgID), with service.name as a label",
}


def _failing(exporter: Exporter) -> str:
    if exporter.failed:
        return f"{exporter.name} could not deliver"
    return f"it waits in the queue of {exporter.name}"
