"""phase() and pipeline(): a named stretch of work is one span and one duration."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from otel_llmon import metering, telemetry
from otel_llmon.context import leave, where
from otel_llmon.metering.cells import SumSeries
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import phases as rows

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

LONGEST_NAME = metering.LONGEST
"""Characters of a name that a span keeps, as many as the metric keeps of it."""

SUCCESS, FAILURE, CANCELLATION = "success", "failure", "cancellation"
_CANCELLED = frozenset(("CancelledError", "Cancelled", "GeneratorExit", "KeyboardInterrupt"))
"""Names of what ends work from outside, in asyncio, trio and Python itself; trio is not imported for its class."""

_duration = metering.Histogram(rows.PHASE_DURATION)
_active = metering.UpDownCounter(rows.PHASE_ACTIVE)
_errors = metering.Counter(rows.PHASE_ERRORS)
_run_duration = metering.Histogram(rows.PIPELINE_DURATION)
_runs_active = metering.UpDownCounter(rows.PIPELINE_ACTIVE)


def phase(name: str, attributes: Mapping[str, Any] | None = None) -> Phase:
    """Return a phase: a context manager, and a decorator for functions, coroutines and generators.

    It makes a span of this name and records `llmon.phase.duration`. The caller's exceptions pass unchanged. Use each
    phase once: call `phase()` again for the next stretch.
    """
    if not telemetry.state.level:
        return _OFF
    if callable(name):
        raise TypeError(f'phase: found {name!r}, expected a name: @phase("...")')
    return Phase(name, attributes)


def pipeline(name: str, phases: Sequence[str] = (), attributes: Mapping[str, Any] | None = None) -> Phase:
    """Return the outermost phase: all inside carries its name as `llmon.pipeline`. `phases` are those it expects."""
    if not telemetry.state.level:
        return _OFF
    return Pipeline(name, attributes, phases)


class Phase:
    """A stretch of work between `__enter__` and `__exit__`."""

    __slots__ = ("_again", "_attributes", "_counted", "_in", "_name", "_place", "_span", "_started", "_token")

    def __init__(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        self._name = name if name.__class__ is str and len(name) <= LONGEST_NAME else str(name)[:LONGEST_NAME]
        self._attributes = attributes
        self._started: float | None = None

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes to the span."""
        if self._started is not None and self._span is not None:
            self._span.set_attributes(telemetry.clean(attributes))

    def __enter__(self) -> Self:
        if self._started is not None:
            return self._reenter()
        self._begin()
        self._token = None
        self._in = where.set(self._place)
        if self._span is not None and self._span.get_span_context().is_valid:
            self._token = otel_context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        if self._started is None:
            return
        if self._again:
            self._again -= 1
            return
        if self._token is not None:
            leave(self._token)
        leave(self._in)
        self._end(error)

    def _reenter(self) -> Self:
        self._again += 1
        telemetry.log.warning("phase %r is running already: this entry is part of it; call phase() again", self._name)
        return self

    def _begin(self) -> None:
        """Start the span and the clock, without making the span current."""
        self._again = 0
        self._place = self._find_place()
        self._counted = self._count()
        self._counted.add(1)
        self._span = self._make_span() if telemetry.state.level >= telemetry.DETAILED else None
        self._started = telemetry.state.clock()

    def _end(self, error: BaseException | None) -> None:
        """Stop the clock, record, and end the span."""
        assert self._started is not None
        seconds = telemetry.state.clock() - self._started
        self._started = None
        self._counted.add(-1)
        outcome = SUCCESS if error is None else _outcome(error)
        self._record(max(seconds, 0.0), outcome, error)
        span = self._span
        if span is None:
            return
        if error is not None:
            span.set_attribute(key.ERROR_TYPE, error_type(error))
            if outcome == FAILURE and span.is_recording():
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, f"{error_type(error)}: {error}"[: telemetry.state.longest]))
        span.end()

    # what differs between a phase and a pipeline

    def _find_place(self) -> tuple[str | None, str | None]:
        return where.get()[0], self._name

    def _count(self) -> SumSeries:
        return _active.at(self._name, self._place[0])

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {key.PHASE: self._name}
        if self._place[0] is not None:
            facts[key.PIPELINE] = self._place[0]
        return facts

    def _record(self, seconds: float, outcome: str, error: BaseException | None) -> None:
        _duration.at(self._name, self._place[0], outcome).record(seconds, self._span)
        if outcome == FAILURE and error is not None:
            _errors.at(self._name, self._place[0], error_type(error)).add(1)

    def _make_span(self) -> trace.Span:
        facts = self._facts()
        if self._attributes:
            facts.update(telemetry.clean(self._attributes))
        return telemetry.tracer().start_span(self._name, attributes=facts)

    # as a decorator

    def __call__(self, function: FunctionT) -> FunctionT:
        """Return `function` with every call in a phase of its own."""
        found: object = function  # whatever the annotation says
        if not callable(found) or isinstance(found, type):
            raise TypeError(f"phase {self._name!r}: found {function!r}, expected a function to decorate")
        return _decorated(function, self._fresh)  # type: ignore[return-value]

    def _fresh(self) -> Phase:
        return phase(self._name, self._attributes)


class Pipeline(Phase):
    """The outermost phase of a run."""

    __slots__ = ("_expected",)

    def __init__(self, name: str, attributes: Mapping[str, Any] | None, phases: Sequence[str]) -> None:
        super().__init__(name, attributes)
        self._expected = tuple(phases)

    def _find_place(self) -> tuple[str | None, str | None]:
        return self._name, None

    def _count(self) -> SumSeries:
        return _runs_active.at(self._name)

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {key.PIPELINE: self._name}
        if self._expected:
            facts[key.PIPELINE_PHASES] = telemetry.carried(self._expected)
        return facts

    def _record(self, seconds: float, outcome: str, error: BaseException | None) -> None:  # noqa: ARG002
        _run_duration.at(self._name, outcome).record(seconds, self._span)

    def _fresh(self) -> Phase:
        return pipeline(self._name, self._expected, self._attributes)


class _Off(Phase):
    """What level `disabled` hands out: shared, and does nothing."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, function: FunctionT) -> FunctionT:
        """Return `function` itself."""
        return function


_OFF = _Off("")


def error_type(error: BaseException) -> str:
    """Return the name of the error's class, with its module unless it is Python's own."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _outcome(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return FAILURE if error.code else SUCCESS
    return CANCELLATION if any(kind.__name__ in _CANCELLED for kind in type(error).__mro__) else FAILURE


class _Step:
    """One step of a generator: its phase is current while its code runs, and not while its consumer's does."""

    __slots__ = ("_in", "_phase", "_token")

    def __init__(self, running: Phase) -> None:
        self._phase = running

    def __enter__(self) -> None:
        span = self._phase._span
        self._in = where.set(self._phase._place)
        self._token = None if span is None else otel_context.attach(trace.set_span_in_context(span))

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            leave(self._token)
        leave(self._in)


def _decorated(function: Callable[..., Any], fresh: Callable[[], Phase]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        def over_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            return _drive_async(function(*args, **kwargs), fresh())

        return over_async_generator

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def over_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return _drive(function(*args, **kwargs), fresh())

        return over_generator

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def over_coroutine(*args: Any, **kwargs: Any) -> Any:
            with fresh():
                return await function(*args, **kwargs)

        return over_coroutine

    @functools.wraps(function)
    def over_function(*args: Any, **kwargs: Any) -> Any:
        with fresh():
            return function(*args, **kwargs)

    return over_function


def _drive(generator: Generator[Any, Any, Any], running: Phase) -> Generator[Any, Any, Any]:
    """Yield what `generator` yields, passing on what is sent and thrown, within a phase that ends once."""
    if running is _OFF:
        return (yield from generator)
    running._begin()
    step = _Step(running)
    error: BaseException | None = None
    try:
        resume: Callable[[], Any] = functools.partial(next, generator)
        while True:
            try:
                with step:
                    item = resume()
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield item
                resume = functools.partial(generator.send, sent)
            except GeneratorExit:
                with step:
                    generator.close()
                raise
            except BaseException as thrown:  # the generator decides what becomes of it
                resume = functools.partial(generator.throw, thrown)
    except BaseException as exc:
        error = exc
        raise
    finally:
        running._end(error)


async def _drive_async(generator: AsyncGenerator[Any, Any], running: Phase) -> AsyncGenerator[Any, Any]:
    """As _drive, for an asynchronous generator."""
    if not isinstance(running, _Off):
        running._begin()
    step = _Step(running) if not isinstance(running, _Off) else running
    error: BaseException | None = None
    try:
        resume: Callable[[], Any] = generator.__anext__
        while True:
            try:
                with step:
                    item = await resume()
            except StopAsyncIteration:
                return
            try:
                sent = yield item
                resume = functools.partial(generator.asend, sent)
            except GeneratorExit:
                with step:
                    await generator.aclose()
                raise
            except BaseException as thrown:  # the generator decides what becomes of it
                resume = functools.partial(generator.athrow, thrown)
    except BaseException as exc:
        error = exc
        raise
    finally:
        if not isinstance(running, _Off):
            running._end(error)
