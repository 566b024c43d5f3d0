"""pipeline(): the outermost phase, which knows where the time of its run went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from otel_llmon import metering, telemetry
from otel_llmon.context import Place, where
from otel_llmon.metering import values
from otel_llmon.outcomes import SUCCESS
from otel_llmon.phases import Lane, Off, Phase
from otel_llmon.runs import Run
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import phases as rows
from otel_llmon.telemetry import state

if TYPE_CHECKING:
    from otel_llmon.reports import Report

_run_duration = metering.Histogram(rows.PIPELINE_DURATION)
_runs_active = metering.Presence(rows.PIPELINE_ACTIVE)
_missing = metering.Counter(rows.PHASE_MISSING)
_misplaced = metering.Counter(rows.PHASE_MISPLACED)


def pipeline(
    name: str,
    phases: Sequence[str] = (),
    attributes: Mapping[str, Any] | None = None,
    probes: Iterable[str] | None = None,
) -> Pipeline:
    """Return the outermost phase: all inside carries its name as `llmon.pipeline`.

    `phases` are those it expects, in their order: in a run that comes to its end, the ones that never ran or ran out of
    order are counted and told on the span. `report()` says where the time went. `probes` are the run's own, as a
    phase's are: they do not extend to the phases inside.
    """
    if not state.level:
        return _OFF
    made = Pipeline(name, attributes, phases)
    if probes is not None:
        made._ask(probes)
    return made


class Pipeline(Phase):
    """The outermost phase of a run."""

    __slots__ = ("_expected", "_seconds")

    def __init__(self, name: str, attributes: Mapping[str, Any] | None, phases: Sequence[str]) -> None:
        super().__init__(name, attributes)
        if isinstance(phases, str) or not isinstance(phases, Sequence):
            telemetry.warn_once("pipeline %r: phases are a %s, expected a list of names", name, type(phases).__name__)
            phases = ()
        self._expected = tuple(map(values.text, phases))
        self._run = Run(self._expected)
        self._seconds: float | None = None

    def report(self) -> Report:
        """Return what is over by now: each phase's share of the time, what was counted, what was declared and not done.

        Once the run has ended, that is the whole of it.
        """
        seconds = self._seconds
        if seconds is None:
            seconds = 0.0 if self._started is None else state.clock() - self._started
        return self._run.report(self._name, seconds)

    def __enter__(self) -> Self:
        fresh = self._started is None
        super().__enter__()
        if fresh and self._span is None and hasattr(self, "_more"):
            self._more.begin(state.level)
        if fresh:
            self._run, self._seconds, self._inside = Run(self._expected), None, 0.0
            where.set(self._place())
        return self

    def _place(self) -> Place:
        return (*self._lane.place[:2], self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        if self._started is not None and not self._again:
            self._seconds = state.clock() - self._started
            if self._span is None:
                self._measure(None)
            if error is None and self in self._lane.present:  # a forked child's is its parent's
                self._check_declared()
            self._inside = 0.0  # its phases are in its own report alone: in that of a run around, the time is its own
        super().__exit__(kind, error, trace_back)

    def _check_declared(self) -> None:
        """Say which declared phases never ran, or ran out of order, in a run that came to its end."""
        for name in self._run.missing():
            _missing.at(name, self._name).add()
            self._tell(rows.PHASE_MISSING.name, {key.PHASE: name})
        for name, other in self._run.misplaced():
            _misplaced.at(name, self._name).add()
            self._tell(rows.PHASE_MISPLACED.name, {key.PHASE: name, key.AFTER: other})

    def _tell(self, what: str, facts: dict[str, Any]) -> None:
        if self._span is not None:
            self._span.add_event(what, facts)

    _lanes = _run_duration.memo

    def _new_lane(self, place: tuple[str | None, str]) -> Lane:
        outer, name = place[0], values.text(place[1])
        self._name = name
        active, succeeded = _runs_active.at(name), _run_duration.at(name, SUCCESS)
        return _run_duration.remember((outer, name), Lane((name, None, None), active, _runs_active.present, succeeded))

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {key.PIPELINE: self._name}
        if self._expected:
            facts[key.PIPELINE_PHASES] = telemetry.carried(self._expected)
        return facts

    def _record(self, seconds: float, how: str, error: BaseException) -> None:  # noqa: ARG002
        _run_duration.at(self._name, how).record(seconds, self._span)

    def _fresh(self) -> Phase:
        return pipeline(self._name, self._expected, self._attributes, self._probes)


class _Off(Off, Pipeline):
    """The same, with a report of nothing."""

    __slots__ = ()


_OFF = _Off("", None, ())
