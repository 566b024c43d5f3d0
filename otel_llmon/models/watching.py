"""Functions that predict, with each call logged: what they were given, what they said, how long it took."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from otel_llmon.decorating import code_of
from otel_llmon.metering import values
from otel_llmon.models import parts
from otel_llmon.telemetry import error_type, state

if TYPE_CHECKING:
    from otel_llmon.models import ModelMonitor

Told = Callable[[Any], Mapping[str, Any]]
WORDS = ("features", "prediction", "proba", "truth", "latency", "id", "metadata")
"""What log() takes."""


def watched(monitor: ModelMonitor, function: Any, told: Told | None, *, batch: bool) -> Any:
    """Return `function` with each call logged; raises TypeError for what is none."""
    if isinstance(function, staticmethod | classmethod):
        return type(function)(watched(monitor, function.__func__, told, batch=batch))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"model {monitor.name!r}: found {_name(function)}, expected a function that predicts")
    code = code_of(function)
    if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        raise TypeError(f"model {monitor.name!r}: {_name(function)} is a generator; call log() with what it came to")
    call = _Call(monitor, told, _place_of(code), batch=batch)
    return (_coroutine if inspect.iscoroutinefunction(code) else _function)(function, call)


def _name(function: Any) -> str:
    """Return what a function is called, or an object's class; not where it lies."""
    return getattr(function, "__qualname__", None) or f"a {type(function).__name__}"


def _function(function: Any, call: _Call) -> Any:
    @functools.wraps(function)
    def predicting(*args: Any, **kwargs: Any) -> Any:
        began = state.clock()
        try:
            result = function(*args, **kwargs)
        except Exception as exc:
            call.fail(exc)
            raise
        call.log(args, kwargs, result, state.clock() - began)
        return result

    return predicting


def _coroutine(function: Any, call: _Call) -> Any:
    @functools.wraps(function)
    async def predicting(*args: Any, **kwargs: Any) -> Any:
        began = state.clock()
        try:
            result = await function(*args, **kwargs)
        except Exception as exc:
            call.fail(exc)
            raise
        call.log(args, kwargs, result, state.clock() - began)
        return result

    return predicting


def _place_of(code: Any) -> tuple[int, str | None]:
    """Return where the features stand among the arguments: first, or behind `self`; and their name."""
    try:
        names = list(inspect.signature(code).parameters)
    except (TypeError, ValueError):
        return 0, None
    place = int(bool(names) and names[0] in ("self", "cls"))
    return place, names[place] if place < len(names) else None


class _Call:
    """What is said of each call."""

    def __init__(self, monitor: ModelMonitor, told: Told | None, place: tuple[int, str | None], *, batch: bool) -> None:
        self._monitor, self._told, (self._place, self._name) = monitor, told, place
        self._log = monitor.log_batch if batch else monitor.log

    def log(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any, seconds: float) -> None:
        """Log a call that came back."""
        if not state.level:
            return
        features = args[self._place] if len(args) > self._place else kwargs.get(self._name or "")
        said = {"prediction": result} if self._told is None else self._said(self._told, result)
        self._log(**{"features": features, "prediction": None, "latency": seconds, **said})

    def _said(self, told: Told, result: Any) -> dict[str, Any]:
        """Return what is told of a result, in words of log()."""
        return parts.guarded("told", self._monitor._refuse, lambda given: self._known(told(given)), result) or {}

    def _known(self, told: Mapping[str, Any]) -> dict[str, Any]:
        for word in told.keys() - set(WORDS):
            expected = f"expected words of log(): {', '.join(WORDS)}"
            self._monitor._refuse("told", f"found {values.text(word)!r}, {expected}")
        return {word: told[word] for word in WORDS if word in told}

    def fail(self, error: Exception) -> None:
        """Count a call that did not."""
        if state.level:
            self._monitor._count_failure(error_type(error))
