"""Breaker: calls to a target that fails are refused for a while, and then tried again with a few.

No lock is held while a call runs, and a call through a closed circuit takes none. What the states do is in `circuits`.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import os
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from otel_llmon import metering
from otel_llmon.circuits import STATES, Closed, Era, HalfOpen, Limits, Open, Probe, Way
from otel_llmon.decorating import code_of, decorated, drive, drive_async
from otel_llmon.errors import CircuitOpenError, SettingsError
from otel_llmon.events import event, note
from otel_llmon.judging import Errors, judge_by
from otel_llmon.lasting import awaited, error_of, is_future, is_lasting
from otel_llmon.metering import Reading, cells, values
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import breaker as rows
from otel_llmon.telemetry import error_type, state

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

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

    __slots__ = (
        "__weakref__",
        "_clock",
        "_entered",
        "_era",
        "_held",
        "_limits",
        "_lock",
        "_told",
        "_worked",
        "name",
    )

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
        self._worked = judge_by(name, errors)
        if not callable(clock):
            raise SettingsError(f"breaker {name!r}: clock={clock!r}: expected a function that returns seconds")
        self._clock = clock
        self._lock = threading.RLock()
        self._era: Era = Closed(self._limits)
        self._entered: contextvars.ContextVar[Way | None] = contextvars.ContextVar("entered", default=None)
        """What let the last `with` of a context through, or its probe."""
        self._held: dict[FrameType, Way] = {}
        """The same of generators, which may be left in another context than they were entered in."""
        self._told = contextvars.ContextVar("told", default=0)
        """The serial after the last outcome that was noted in a context."""
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
            self._enter(sys._getframe(1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        if error is not None or self._era.outcomes or self._held:
            self._leave(sys._getframe(1), error)

    async def __aenter__(self) -> Self:
        if self._entered.get() is not self._era:
            self._enter(sys._getframe(1))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        if error is not None or self._era.outcomes or self._held:
            self._leave(sys._getframe(1), error)

    def _enter(self, frame: FrameType) -> None:
        """Keep what lets a `with` through: in the context, and for a generator, which may leave in another, with it."""
        through = self._era or self._admit()
        self._entered.set(through)
        if frame.f_code.co_flags & _GENERATORS:
            self._held[frame] = through

    def _leave(self, frame: FrameType, error: BaseException | None) -> None:
        """End a `with`. One that began in a context that nobody knows here is taken for one of now."""
        through = self._held.pop(frame, None) or self._entered.get() or self._era or None
        if through is not None and (error is not None or through.outcomes):
            self._settle(through, error)

    # as a decorator

    def __call__(self, function: FunctionT) -> FunctionT:
        """Return `function` with every call through this circuit, from its beginning to its end.

        A generator's call goes from its first item to its last. A plain function may return a coroutine, a generator or
        a future: then its call ends with that.
        """
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
        plain: type = type(None)
        """What it returned last; to look for more takes longer than the rest."""

        @functools.wraps(function)
        def through_circuit(*args: Any, **kwargs: Any) -> Any:
            nonlocal plain
            through = self._era or self._admit()
            try:
                result = function(*args, **kwargs)
            except BaseException as exc:
                self._settle(through, exc)
                raise
            if type(result) is not plain:
                if is_lasting(result):
                    return self._follow(through, result)
                plain = type(result)
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

    def _follow(self, through: Way, lasting: Any) -> Any:
        """Return what a function returned, with its end taken for that of the call."""
        if isinstance(through, Probe):
            self._entered.set(None)  # what the caller does next is no part of it
        if is_future(lasting):
            lasting.add_done_callback(lambda future: self._settle(through, error_of(future), told=0))
            return lasting
        if inspect.isawaitable(lasting):
            return self._await(through, lasting)
        stream = _Stream(self, through)
        return drive_async(lasting, stream) if inspect.isasyncgen(lasting) else drive(lasting, stream)

    async def _await(self, through: Way, awaitable: Awaitable[Any]) -> Any:
        """Await what a function returned; a call through a closed circuit begins only here."""
        if isinstance(through, Probe):
            self._entered.set(through)  # whose place is handed on
        try:
            return await self._over_coroutine(awaited)(awaitable)
        finally:
            if inspect.iscoroutine(awaitable):
                awaitable.close()  # it has ended, or was refused before it began

    # what goes on

    def _admit(self) -> Way:
        """Let a call through a circuit that is not closed, as a probe or as part of one, or refuse it."""
        now, around = self._clock(), self._entered.get()
        with self._lock:
            before = era = self._era
            if isinstance(era, Closed):  # since a moment ago
                return era
            if isinstance(era, HalfOpen) and around in era.probes:  # a probe that calls this target by another function
                wait, probe = 0.0, era.hand_on(around)
            elif not (wait := era.wait(now, self._limits)):
                self._era = era = era if isinstance(era, HalfOpen) else HalfOpen()
                probe = era.probe(now, self._limits)
        if wait:
            if state.level:
                _refused.at(self.name).add(1)
            raise CircuitOpenError(self.name, wait)
        self._entered.set(probe)
        self._tell(before, era)
        return probe

    def _settle(self, through: Way, error: BaseException | None = None, told: int | None = None) -> None:
        """Take note of how a call ended, unless a call within it has told already: one after its beginning."""
        if through.serial < (self._told.get() if told is None else told):
            return
        worked = self._worked(error)
        now = self._clock()
        with self._lock:
            before = self._era
            self._era = after = before.settle(through, worked=worked, now=now, limits=self._limits)
        if after is not before and isinstance(after, Closed):
            self._told.set(after.serial)
        self._tell(before, after, error)

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
    """A generator's way through a circuit, as `decorating` drives it.

    It is current only while the generator's own code runs: what its consumer calls in between is no part of it.
    """

    __slots__ = ("_breaker", "_given", "_through", "_told")

    def __init__(self, breaker: Breaker, through: Way | None = None) -> None:
        self._breaker = breaker
        self._given = through
        self._told = 0

    def __enter__(self) -> None:
        self._through = self._given or self._admitted()

    def _admitted(self) -> Way:
        around = self._breaker._entered.get()
        through = self._breaker._era or self._breaker._admit()
        if isinstance(through, Probe):
            self._breaker._entered.set(around)
        return through

    def __exit__(self, kind: object, error: BaseException | None, trace_back: object) -> None:
        if error is not None or self._through.outcomes:
            self._breaker._settle(self._through, error, self._told)

    def _step_aside(self) -> None:
        """Nothing is current here."""

    def _step(self) -> contextlib.AbstractContextManager[object]:
        return _Step(self._breaker, self, self._through)


class _Step:
    """The generator's own code, from one item to the next: calls within it are part of its own."""

    __slots__ = ("_around", "_before", "_entered", "_probe", "_stream", "_told")

    def __init__(self, breaker: Breaker, stream: _Stream, through: Way) -> None:
        self._entered, self._told = breaker._entered, breaker._told
        self._stream = stream
        self._probe = through if isinstance(through, Probe) else None

    def __enter__(self) -> None:
        self._before = self._told.get()
        if self._probe is not None:
            self._around = self._entered.get()
            self._entered.set(self._probe)

    def __exit__(self, kind: object, error: object, trace_back: object) -> None:
        told = self._told.get()
        if told != self._before:
            self._stream._told = told
        if self._probe is not None:
            self._entered.set(self._around)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip()) and name.isprintable()


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
