"""phase(): a named stretch of work is one span and one duration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_llmon import metering, probes, telemetry
from otel_llmon.context import Place, bound, leave, where
from otel_llmon.decorating import decorated
from otel_llmon.metering import values
from otel_llmon.metering.binding import api, current
from otel_llmon.metering.cells import LARGEST, HistogramSeries, Series
from otel_llmon.outcomes import FAILURE, SUCCESS, end_span, outcome, tell_failure
from otel_llmon.runs import Run
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import phases as rows
from otel_llmon.telemetry import DETAILED, PROFILING, error_type, state

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_bare = object.__new__


class Watcher(Protocol):
    """Told when code comes under a phase and when it leaves it: at its ends, and at each step of a generator."""

    def came(self, place: tuple[str | None, str | None]) -> None:
        """Code of the phase at `place`, its pipeline's name and its own, runs now in this thread."""

    def went(self, place: tuple[str | None, str | None]) -> None:
        """It runs no more."""


watchers: list[Callable[[], Watcher | None]] = []
"""Weak references; empty, unless something is measured beside how long phases take."""

_duration = metering.Histogram(rows.PHASE_DURATION)
_active = metering.Presence(rows.PHASE_ACTIVE)
_errors = metering.Counter(rows.PHASE_ERRORS)
_items = metering.Counter(rows.PIPELINE_ITEMS)


def phase(
    name: str,
    attributes: Mapping[str, Any] | None = None,
    after: Phase | None = None,
    probes: Iterable[str] | None = None,
) -> Phase:
    """Return a phase: a context manager, and a decorator for functions, coroutines and generators.

    It makes a span of this name and records `llmon.phase.duration`. The caller's exceptions pass unchanged. Use each
    phase once: call `phase()` again for the next stretch. A retry says `after=` which attempt it comes: its span links
    to that one's and carries the attempt's number. `probes` names what else is to be read at its ends, out of PROBES in
    `otel_llmon.probes`; unset, the level decides.
    """
    if not state.level:
        return _OFF
    made = _bare(Phase if probes is None else Probed)  # calling the class would cost a fortieth of all
    made._name = name if name.__class__ is str else _named(name)
    made._attributes = attributes
    made._started = None
    if after is not None:
        made._retry(after)
    if probes is not None:
        made._ask(probes)
    return made


class Lane:
    """What all phases of one name in one pipeline share, so that it is looked up once."""

    __slots__ = ("active", "place", "present", "record_success")

    def __init__(
        self,
        place: Place,
        active: Series[Any],
        present: dict[object, Series[Any]],
        succeeded: HistogramSeries,
    ) -> None:
        self.place = place
        self.active = active
        self.present = present
        self.record_success = succeeded.record


class Phase:
    """A stretch of work between `__enter__` and `__exit__`."""

    __slots__ = (
        "_again", "_attributes", "_in", "_inside", "_lane", "_more", "_name", "_outer", "_run", "_span", "_started",
        "_token",
    )  # fmt: skip
    _lane: Lane
    _span: trace.Span | None
    _in: Any
    _token: Any
    _outer: Phase | None
    _inside: float
    _more: _More
    _run: Run

    def __init__(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        self._name = name if name.__class__ is str else _named(name)
        self._attributes = attributes
        self._started: float | None = None

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes to the span."""
        if self._started is not None and self._span is not None:
            self._span.set_attributes(telemetry.clean(attributes))

    def count(self, what: str, number: float = 1) -> None:
        """Count things that this work dealt with, as `llmon.pipeline.items` and on the span."""
        if self._started is None:
            if not state.level:
                return
            telemetry.warn_once("phase %r: counts only while it runs; what=%r is left out", self._name, what)
            return
        what = values.text(what)
        pipeline, name, inside = self._place()
        _items.at(what, name, pipeline).add(number)
        found = values.number(number)
        if found is None or not 0 <= found <= LARGEST:  # refused, and told, above
            return
        counts = self._extras().counts
        counts[what] = counts.get(what, 0) + found
        if inside is not None:
            inside._run.counted(what, found)

    def __enter__(self) -> Self:
        if self._started is not None:
            return self._reenter()
        if api._METER_PROVIDER is not current.provider:
            metering.bind()
        self._again = 0
        here = where.get()
        try:
            lane = self._lanes[here[0], self._name]
        except KeyError:
            lane = self._new_lane((here[0], self._name))
        self._lane = lane
        self._span = None
        if state.level >= DETAILED:
            self._look_closer()
        lane.present[self] = lane.active
        self._outer = None
        if watchers or here[2] is not None:
            self._join(here[2])
            self._in = where.set(self._place())
        else:
            self._in = where.set(lane.place)
        clock = state.clock
        self._started = clock()
        return self

    def __exit__(  # noqa: C901  # a call for each step would cost as much as the step
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        if self._started is None:
            return
        if self._again:
            self._again -= 1
            return
        clock = state.clock
        seconds = clock() - self._started
        self._started = None
        lane, span = self._lane, self._span
        if span is not None and self._token is not None:
            leave(self._token)
        if self._in is not None:
            try:  # noqa: SIM105  # its call costs as much as what is in it
                where.reset(self._in)
            except ValueError:  # as in leave()
                pass
        try:
            del lane.present[self]
        except KeyError:  # a forked child leaves what its parent began, and its parent will report
            return
        if span is not None:
            self._measure(span)
        if error is None:
            record = lane.record_success
            record(seconds if seconds > 0 else 0.0, span)  # a clock may have been set back
        else:
            self._record(max(seconds, 0.0), outcome(error), error)
        if self._outer is not None:
            self._leave(self._outer, seconds, error)
        if span is not None:
            end_span(span, error, self._more.facts() if hasattr(self, "_more") else None)

    def _join(self, outer: Phase | None) -> None:
        """Take part in the run that the phase around takes part in, and let those watch who want to."""
        if watchers:
            _came(self._lane)
        self._outer = outer or _NOBODY
        if outer is not None:
            self._inside = 0.0
            self._run = outer._run
            self._run.begin(self._name)

    def _leave(self, outer: Phase, seconds: float, error: BaseException | None) -> None:
        stepped = self._in is None
        if watchers and not stepped:
            _went(self._lane)
        if outer is _NOBODY:
            return
        if not stepped:  # else each step was told by itself
            outer._inside += seconds
        more = getattr(self, "_more", _FIRST)
        own = max(seconds - more.aside - self._inside, 0.0)
        failed = error is not None and outcome(error) == FAILURE
        outer._run.over(self._name, seconds, own, failed=failed, peak=more.found.get(key.MEMORY_PEAK))

    def _retry(self, after: Phase) -> None:
        found: object = after  # whatever the annotation says
        if not isinstance(found, Phase):
            telemetry.warn_once("phase %r: after is a %s, expected a phase", self._name, type(after).__name__)
            return
        more = self._extras()
        more.attempt = getattr(after, "_more", _FIRST).attempt + 1
        more.before = after._span if after._started is None and hasattr(after, "_span") else None

    def _extras(self) -> _More:
        if not hasattr(self, "_more"):
            self._more = _More()
        return self._more

    def _place(self) -> Place:
        """Return where the code inside of this phase is."""
        alone = self._outer is None or self._outer is _NOBODY
        return self._lane.place if alone else (*self._lane.place[:2], self)

    def _reenter(self) -> Self:
        self._again += 1
        telemetry.warn_once("phase %r is running already: this entry is part of it; call phase() again", self._name)
        return self

    def _ask(self, names: Iterable[str]) -> None:
        self._extras().probes = probes.known(names, self._name)

    def _look_closer(self) -> None:
        self._start_span()
        if state.level >= PROFILING or hasattr(self, "_more"):
            self._extras().begin(state.level)

    def _measure(self, span: trace.Span | None) -> None:
        if hasattr(self, "_more"):
            self._more.measure(self._lane.place, span)

    def _start_span(self) -> None:
        self._token = None
        try:
            self._span = span = self._make_span()
            if span.get_span_context().is_valid:
                self._token = otel_context.attach(trace.set_span_in_context(span))
        except Exception as exc:  # a sampler's or a span processor's own failure, likewise
            tell_failure(exc)

    def _step_aside(self) -> None:
        """Be current no more, while the clock runs on."""
        _went(self._lane)
        if self._span is not None and self._token is not None:
            leave(self._token)
        leave(self._in)
        self._token = self._in = None

    def _step(self) -> AbstractContextManager[object]:
        """Return what makes the phase current for a step of a generator."""
        return _Step(self) if self._outer is None or self._outer is _NOBODY else _StepOfRun(self)

    # what differs between a phase and a pipeline

    _lanes: ClassVar[dict[tuple[str | None, str | None], Lane]] = _duration.memo

    def _new_lane(self, place: tuple[str | None, str]) -> Lane:
        run, name = place[0], values.text(place[1])
        self._name = name
        active, succeeded = _active.at(name, run), _duration.at(name, run, SUCCESS)
        return _duration.remember((run, name), Lane((run, name, None), active, _active.present, succeeded))

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {key.PHASE: self._name}
        if self._lane.place[0] is not None:
            facts[key.PIPELINE] = self._lane.place[0]
        return facts

    def _record(self, seconds: float, how: str, error: BaseException) -> None:
        run = self._lane.place[0]
        _duration.at(self._name, run, how).record(seconds, self._span)
        if how == FAILURE:
            _errors.at(self._name, run, error_type(error)).add(1)

    def _make_span(self) -> trace.Span:
        facts = self._facts()
        if fields := bound():
            facts = {**fields, **facts}
        if self._attributes:
            facts.update(telemetry.clean(self._attributes))
        links = None
        more = getattr(self, "_more", _FIRST)
        if more.attempt > 1:
            facts[key.ATTEMPT] = more.attempt
            links = more.links()
        return telemetry.tracer().start_span(self._name, attributes=facts, links=links)

    # as a decorator

    def __call__(self, function: FunctionT) -> FunctionT:
        """Return `function` with every call in a phase of its own."""
        found: object = function  # whatever the annotation says
        if isinstance(found, type) or not (callable(found) or isinstance(found, classmethod)):
            raise TypeError(f"phase {self._name!r}: found {function!r}, expected a function to decorate")
        return decorated(function, self._fresh)  # type: ignore[no-any-return]

    def _fresh(self) -> Phase:
        return phase(self._name, self._attributes, probes=self._probes)

    @property
    def _probes(self) -> tuple[str, ...] | None:
        return getattr(self, "_more", _FIRST).probes


class Probed(Phase):
    """A phase that may have been asked for probes, which it reads without a span as well."""

    __slots__ = ()

    def __enter__(self) -> Self:
        fresh = self._started is None
        super().__enter__()
        if fresh and self._span is None and hasattr(self, "_more"):
            self._more.begin(state.level)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        if self._started is not None and not self._again and self._span is None:
            self._measure(None)
        super().__exit__(kind, error, trace_back)


class _More:
    """What few phases have: things counted, an attempt before, probes, and consumers."""

    __slots__ = ("_reading", "aside", "attempt", "before", "counts", "found", "probes")

    def __init__(self) -> None:
        self.aside = 0.0
        """Seconds that a generator waited for its consumer."""
        self.attempt = 1
        self.before: trace.Span | None = None
        self.counts: dict[str, float] = {}
        self.probes: tuple[str, ...] | None = None
        self.found: dict[str, Any] = {}
        self._reading: probes.Reading | None = None

    def begin(self, level: int) -> None:
        """Read the probes that were asked for, or those of the level."""
        names = self.probes
        if names is None and level >= PROFILING:
            names = probes.USUAL
        self.found = {}
        self._reading = probes.kit.begin(names) if names else None

    def measure(self, place: Place, span: trace.Span | None) -> None:
        """Read them again, and record the peaks."""
        if self._reading is not None:
            self.found = found = probes.kit.end(self._reading, span)
            probes.record(found, place[1], place[0], span)

    def facts(self) -> dict[str, Any]:
        if not self.counts:
            return self.found
        return {**self.found, **{f"{key.ITEMS}.{what}": number for what, number in self.counts.items()}}

    def links(self) -> list[trace.Link] | None:
        """Return the link to the attempt before, where that had a span."""
        if self.before is None or not self.before.get_span_context().is_valid:
            return None
        return [trace.Link(self.before.get_span_context(), {key.ATTEMPT: self.attempt - 1})]


_FIRST = _More()


class Off(Phase):
    """What level `disabled` hands out: shared, and does nothing."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace_back: object) -> None:
        return None

    def count(self, what: str, number: float = 1) -> None:
        """Count nothing."""

    def _step_aside(self) -> None:
        pass

    def _step(self) -> AbstractContextManager[object]:
        return self

    def __call__(self, function: FunctionT) -> FunctionT:
        """Return `function` itself."""
        return function


_OFF = Off("")
_NOBODY = Phase("")
"""Around a phase that is watched and in no pipeline."""


def _named(name: Any) -> str:
    """Return the name of a phase: text of whatever class."""
    if not isinstance(name, str):
        raise TypeError(f'found a {type(name).__name__}, expected a name: @phase("...") or pipeline("...")')
    return values.text(name)


def _watching() -> Iterator[Watcher]:
    for reference in list(watchers):
        watcher = reference()
        if watcher is not None:
            yield watcher
        elif reference in watchers:
            watchers.remove(reference)


def _came(lane: Lane) -> None:
    for watcher in _watching():
        try:
            watcher.came(lane.place[:2])
        except Exception as exc:  # what measures must not break what is measured
            tell_failure(exc, "phases")


def _went(lane: Lane) -> None:
    for watcher in _watching():
        try:
            watcher.went(lane.place[:2])
        except Exception as exc:
            tell_failure(exc, "phases")


class _Step:
    """One step of a generator: its phase is current while its code runs, and not while its consumer's does."""

    __slots__ = ("_in", "_phase", "_token")

    def __init__(self, running: Phase) -> None:
        self._phase = running

    def __enter__(self) -> None:
        span = self._phase._span
        self._in = where.set(self._phase._place())
        _came(self._phase._lane)
        self._token = None if span is None else otel_context.attach(trace.set_span_in_context(span))

    def __exit__(self, *_: object) -> None:
        _went(self._phase._lane)
        if self._token is not None:
            leave(self._token)
        leave(self._in)


class _StepOfRun(_Step):
    """The same in a run: what the step takes is the generator's own time, and not the phase's in which it is taken."""

    __slots__ = ("_around", "_more", "_run", "_since")
    _around: Phase | None

    def __init__(self, running: Phase) -> None:
        super().__init__(running)
        self._more, self._run = running._extras(), running._outer._run  # type: ignore[union-attr]
        self._since = state.clock()

    def __enter__(self) -> None:
        self._around = where.get()[2]
        self._more.aside += self._passed()
        super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        seconds = self._passed()
        if self._around is not None and self._around._run is self._run:
            self._around._inside += seconds

    def _passed(self) -> float:
        since, self._since = self._since, state.clock()
        return self._since - since
