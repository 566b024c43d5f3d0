"""The way into the viewer that comes with us: one process that receives, keeps and shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from otel_llmon.backends import BackendError, Embedded
from otel_llmon.backends.records import Exemplar
from otel_llmon.doctor.asking import Limit, Met, Search, meet, search_all
from otel_llmon.doctor.plan import SERVICE, Plan
from otel_llmon.doctor.sending import Sent
from otel_llmon.doctor.stack import of_exemplars, of_log
from otel_llmon.doctor.verdict import SIGNALS, Check
from otel_llmon.semconv.attributes import PHASE
from otel_llmon.semconv.phases import PHASE_DURATION
from otel_llmon.settings import Settings


class Viewer:
    """The viewer at the address that the settings name."""

    name = "embedded"

    def __init__(self, settings: Settings, plan: Plan, timeout: float) -> None:
        self.viewer = Embedded(settings.viewer_url, timeout=timeout, headers=dict(settings.backend_headers))
        self._plan = plan
        self.met: Any = None

    def questions(self) -> dict[str, Callable[[], Any]]:
        """Return what is asked before anything is sent."""
        return {"viewer": lambda: meet(self.viewer, "/healthz", self.viewer.version, self.viewer.status)}

    def take(self, answers: dict[str, Any]) -> None:
        """Keep what was answered."""
        self.met = answers["viewer"]

    def servers(self) -> Iterator[Check]:
        """Say whether it answers, and whether it refused anything."""
        if isinstance(self.met, BackendError):
            yield Check.of("viewer", "fail", f"{self.viewer.url}: {self.met.reason}")
            return
        status = self.met.extra
        yield Check("viewer", "ok", f"{self.met.version} at {self.viewer.url}, receives at {status.otlp_url}")
        if self.met.version != version("otel-llmon"):
            found = f"it runs {self.met.version}, this is {version('otel-llmon')}"
            yield Check("viewer", "warn", found, "start it anew")
        if status.rejected:
            yield Check("viewer", "note", f"it refused {status.rejected} records since its start")

    def clocks(self) -> list[tuple[str, float]]:
        """Return how far its clock is ahead."""
        return [("viewer", self.met.skew)] if isinstance(self.met, Met) and self.met.skew is not None else []

    def look(self, mark: str, sent: Sent, signals: list[str], limit: Limit) -> dict[str, Search[Any]]:
        """Look for what was sent, all at once."""
        if isinstance(self.met, BackendError):
            return {}
        questions = {
            "traces": lambda: self._trace(sent),
            "metrics": lambda: self._metric(mark),
            "logs": lambda: next(iter(self.viewer.logs(service=SERVICE, search=mark)), None),
        }
        return search_all({signal: questions[signal] for signal in signals}, limit)

    def lost(self, signal: str, searched: Search[Any] | None, seconds: float) -> Check:
        """Say why a signal that was sent was not found."""
        thing = SIGNALS[signal]
        error = self.met if searched is None else searched.error
        if isinstance(error, BackendError):
            return Check.of(thing, "fail", f"viewer: it cannot be asked for the {thing}: {error.reason}")
        said = f"program -> viewer: the {thing} did not arrive within {seconds:.0f} s"
        return Check(thing, "fail", said, f"does it receive at {self._plan.endpoints[signal]}, as programs send")

    def joins(self, sent: Sent, found: dict[str, Any], mark: str, limit: Limit) -> Iterator[Check]:  # noqa: ARG002
        """Say whether one leads from the exemplar to the trace, and from the trace to the log."""
        if "metrics" in found and "traces" in found:
            yield of_exemplars(sent, found["metrics"], "viewer")
        if "logs" in found and "traces" in found:
            yield of_log(sent, found["logs"], "viewer", "tell us: the viewer should have kept it")

    def _trace(self, sent: Sent) -> Any:
        trace = self.viewer.trace(sent.trace_id or "")
        return trace if trace is not None and any(span.span_id == sent.span_id for span in trace.spans) else None

    def _metric(self, mark: str) -> list[Exemplar] | None:
        """Return the exemplars of our series, or None where the series is not there."""
        for series in self.viewer.series(PHASE_DURATION.name, service=SERVICE):
            if series.attributes.get(PHASE) == mark:
                return list(series.exemplars)
        return None
