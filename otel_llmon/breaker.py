"""Breaker: calls to a target that fails are refused for a while, and then tried again with a few.

No lock is held while a call runs, and a call through a closed circuit takes none. What the states do is in `circuits`.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from otel_llmon import metering, telemetry
from otel_llmon.circuits import STATES, Closed, Era, HalfOpen, Limits, Open, Way
from otel_llmon.decorating import code_of, decorated
from otel_llmon.errors import CircuitOpenError, SettingsError
from otel_llmon.events import event, note
from otel_llmon.metering import Reading, cells, values
from otel_llmon.outcomes import CANCELLATION, outcome
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import breaker as rows
from otel_llmon.telemetry import error_type, state

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Any], bool]

EVENT = "llmon.circuit.transition"
"""Name of the log records and span events."""

_transitions = metering.Counter(rows.CIRCUIT_TRANSITIONS)
_refused = metering.Counter(rows.CIRCUIT_REFUSED)
_breakers: weakref.WeakSet[Breaker] = weakref.WeakSet()


class Breaker:
    """A circuit breaker: a context manager, asynchronous too, and a decorator of functions, coroutines and generators.

    It opens when `failures` of the last `of` calls failed, in a row unless `of` says otherwise. Then calls are refused
    with CircuitOpenError for `recovery` seconds; after that `probes` calls are let through, which close it when all of
    them work, and open it again when one fails. `errors` says which exceptions are failures: a class, some classes, or
    a function of the exception. After another one the target has answered; cancellations and refusals say nothing.

    Make one for each target and keep it. Raises SettingsError for what cannot be a limit.
    """

    __slots__ = ("__weakref__", "_clock", "_entered", "_era", "_is_failure", "_limits", "_lock", "name")

    def __init__(  # noqa: PLR0913  # as many as there are limits
        self,
        name: str,
        *,
        failures: int = 5,
        of: int | None = None,
        recovery: float = 30.0,
        probes: int = 1,
        errors: Errors = Exception,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _is_name(name):
            raise SettingsError(f'breaker {name!r}: expected a name: Breaker("ollama")')
        self.name = values.text(name)
        self._limits = Limits(failures, failures if of is None else of, recovery, probes).checked(self.name)
        self._is_failure = _judge_by(name, errors)
        self._clock = clock
        self._lock = threading.RLock()
        self._era: Era = Closed(self._limits)
        self._entered: contextvars.ContextVar[Way | None] = contextvars.ContextVar("entered", default=None)
        with cells.lock:
            _breakers.add(self)

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`. An open circuit whose time is over stays open until somebody calls."""
        return self._era.state

    @property
    def up(self) -> bool:
        """Whether a call would be let through now."""
        now = self._clock()
        with self._lock:
            era = self._era
            return isinstance(era, Closed) or not era.wait(now, self._limits)

    def record(self, ok: bool | None) -> None:  # noqa: FBT001  # breaker.record(check.up)
        """Tell what somebody found who looks from outside, such as a health check.

        That the target is down opens the circuit. That it is up again lets the next call try at once; where only calls
        found it down, that changes nothing, and None never does.
        """
        if ok is None:
            return
        if not isinstance(ok, bool):
            raise SettingsError(f"breaker {self.name!r}: record({ok!r}): expected True, False or None")
        now = self._clock()
        with self._lock:
            before = self._era
            if not ok:
                self._era = Open(now + self._limits.recovery, told=True)
            elif isinstance(before, Open) and before.told:
                before.until = now
            after = self._era
        self._tell(before, after)

    # as a context manager

    def __enter__(self) -> Self:
        if self._entered.get() is not self._era:
            self._entered.set(self._era or self._admit())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        if error is None and not self._era.outcomes:
            return
        through = self._entered.get()
        if through is not None:
            self._settle(through, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace_back)

    # as a decorator

    def __call__(self, function: FunctionT) -> FunctionT:
        """Return `function` with every call through this circuit; of a generator, from its first item to its last."""
        found: Any = function
        if isinstance(found, staticmethod | classmethod):
            return type(found)(self(found.__func__))  # type: ignore[return-value]
        if isinstance(found, type) or not callable(found):
            raise TypeError(f"breaker {self.name!r}: found {function!r}, expected a function to decorate")
        code = code_of(found)
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            return decorated(found, functools.partial(_Stream, self))  # type: ignore[no-any-return]
        over = self._over_coroutine if inspect.iscoroutinefunction(code) else self._over_function
        return over(found)  # type: ignore[return-value]

    def _over_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def through_circuit(*args: Any, **kwargs: Any) -> Any:
            through = self._era or self._admit()
            try:
                result = function(*args, **kwargs)
            except BaseException as exc:
                self._settle(through, exc)
                raise
            if through.outcomes:
                self._settle(through)
            return result

        return through_circuit

    def _over_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def through_circuit(*args: Any, **kwargs: Any) -> Any:
            through = self._era or self._admit()
            try:
                result = await function(*args, **kwargs)
            except BaseException as exc:
                self._settle(through, exc)
                raise
            if through.outcomes:
                self._settle(through)
            return result

        return through_circuit

    # what goes on

    def _admit(self) -> Way:
        """Let a call through a circuit that is not closed, as a probe or as part of one, or refuse it."""
        now, inside = self._clock(), self._entered.get()
        with self._lock:
            before = era = self._era
            if isinstance(era, Closed):  # since a moment ago
                return era
            if isinstance(era, HalfOpen) and inside in era.probes:
                return inside  # a probe that calls this target by another function
            wait = era.wait(now, self._limits)
            if not wait:
                self._era = era = era if isinstance(era, HalfOpen) else HalfOpen()
                probe = era.probe(now, self._limits)
        if wait:
            if state.level:
                _refused.at(self.name).add(1)
            raise CircuitOpenError(self.name, wait)
        self._entered.set(probe)
        self._tell(before, era)
        return probe

    def _settle(self, through: Way, error: BaseException | None = None) -> None:
        """Take note of how a call ended."""
        worked = self._worked(error)
        now = self._clock()
        with self._lock:
            before = self._era
            if through.era is not before:  # of an earlier time
                return
            self._era = after = through.era.settle(through, worked=worked, now=now, limits=self._limits)
        self._tell(before, after, error)

    def _worked(self, error: BaseException | None) -> bool | None:
        """Return what an end says of the target; None where it says nothing."""
        if error is None or isinstance(error, GeneratorExit):  # a stream that is left early gave what was wanted
            return True
        if isinstance(error, BaseExceptionGroup):
            found = {self._worked(each) for each in error.exceptions}
            return False if False in found else None if None in found else True
        if not isinstance(error, Exception) or isinstance(error, CircuitOpenError) or outcome(error) == CANCELLATION:
            return None
        try:
            return not self._is_failure(error)
        except Exception as exc:  # the caller's own exception must not be replaced
            telemetry.warn_once("breaker %r: errors: %s: %s; counted as a failure", self.name, type(exc).__name__, exc)
            return False

    def _tell(self, before: Era, after: Era, error: BaseException | None = None) -> None:
        """Report a change; the lock is not held."""
        if after.state == before.state or not state.level:
            return
        _transitions.at(self.name, after.state).add(1)
        facts = {key.CIRCUIT: self.name, key.STATE: after.state}
        if error is not None:
            facts[key.ERROR_TYPE] = error_type(error)
        event(EVENT, facts, "warning" if isinstance(after, Open) else "info")
        note(EVENT, facts)

    def _after_fork(self) -> None:
        """Go on in a child with what its parent knew; the parent's probes hold no place here."""
        self._lock = threading.RLock()
        if isinstance(self._era, HalfOpen):
            self._era.probes.clear()


class _Stream:
    """A generator's way through a circuit, as `decorating` drives it."""

    __slots__ = ("_breaker", "_through")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def __enter__(self) -> None:
        self._through = self._breaker._era or self._breaker._admit()

    def __exit__(self, kind: object, error: BaseException | None, trace_back: object) -> None:
        if error is not None or self._through.outcomes:
            self._breaker._settle(self._through, error)

    def _step_aside(self) -> None:
        """Nothing is current here."""

    def _step(self) -> contextlib.AbstractContextManager[object]:
        return _NOTHING


_NOTHING = contextlib.nullcontext()


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip()) and name.isprintable()


def _judge_by(name: str, errors: Errors) -> Callable[[BaseException], bool]:
    """Return what tells whether an exception is a failure."""
    classes = errors if isinstance(errors, tuple) else (errors,)
    if all(isinstance(each, type) and issubclass(each, BaseException) for each in classes):
        return lambda error: isinstance(error, classes)  # type: ignore[arg-type]
    if isinstance(errors, type) or not callable(errors):
        raise SettingsError(f"breaker {name!r}: errors={errors!r}: expected exception classes, or a function of one")
    return errors


def _states() -> Iterator[Reading]:
    """Read the states at collection; of several breakers of one name that which is furthest from closed."""
    if not state.level:
        return
    with cells.lock:
        breakers = list(_breakers)
    worst: dict[str, int] = {}
    for breaker in breakers:
        worst[breaker.name] = max(worst.get(breaker.name, 0), STATES.index(breaker.state))
    for name, found in worst.items():
        for rank, word in enumerate(STATES):
            yield Reading(rows.CIRCUIT_STATE, int(rank == found), {key.CIRCUIT: name, key.STATE: word})


metering.Gauge(rows.CIRCUIT_STATE).sources["breakers"] = lambda: list(_states())


def _after_fork() -> None:
    for breaker in list(_breakers):
        breaker._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
