"""One trace over threads, pools, queues and processes: the work that is going on here goes on there."""

from __future__ import annotations

import contextvars
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, TypeVar

from opentelemetry import context, propagate, trace

from otel_llmon import telemetry
from otel_llmon.context import where
from otel_llmon.decorating import code_of

P = ParamSpec("P")
R = TypeVar("R")

SERVICE = "OTEL_SERVICE_NAME"

Headers = Mapping[str, Any] | Iterable[tuple[str, Any]]


def inject(headers: dict[str, str] | None = None) -> dict[str, str]:
    """Return `headers`, or new ones, with the current trace in them: to send along with a message or a request."""
    headers = {} if headers is None else headers
    propagate.inject(headers)
    return headers


@contextmanager
def continued(headers: Headers | None) -> Iterator[None]:
    """Go on in the trace that `headers` tell of, as `inject()` filled them in: pairs, text or bytes, of any case.

    None, and what are no headers, tell of none; the latter with one line in the log.
    """
    token = context.attach(propagate.extract(_known(headers)))
    try:
        yield
    finally:
        context.detach(token)


def _known(headers: Headers | None) -> dict[str, str]:
    try:
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        return {_text(name).lower(): _text(value) for name, value in pairs}
    except Exception as exc:  # a message that somebody else made must not end a worker
        found = type(headers).__name__
        telemetry.warn_once("continued: found %s, expected a mapping or pairs: taken as none: %s", found, exc)
        return {}


def child_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment for a child process, this one's or the one given, in which `configure()` goes on here.

    The name that `configure()` gave this service is not the child's; one that the user set in the environment is.
    """
    environ = os.environ if environ is None else environ
    if not isinstance(environ, Mapping):
        raise TypeError(f"child_environ: found {type(environ).__name__}, expected a mapping, as os.environ is")
    ours = telemetry.state.variables.get(SERVICE)
    kept = {name: value for name, value in environ.items() if ours is None or (name, value) != (SERVICE, ours)}
    return kept | {name.upper(): value for name, value in inject().items()}


def follow(environ: Mapping[str, str] | None = None) -> None:
    """Go on in the trace that the environment tells of, for the rest of this thread, unless a span is current."""
    environ = os.environ if environ is None else environ
    known = {
        field: environ[field.upper()] for field in propagate.get_global_textmap().fields if field.upper() in environ
    }
    if known and not trace.get_current_span().get_span_context().is_valid:
        context.attach(propagate.extract(known))


class carry(Generic[P, R]):  # noqa: N801  # people call it as they call `partial`
    """A function that runs as part of the work that is going on here, wherever it is called.

    `pool.submit(carry(work), item)`, `Thread(target=carry(work))`: its phases are children of the span that is current
    here, and take part in the run of the pipeline. It can be pickled; in another process its phases belong to the same
    trace, and carry the pipeline's name.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        if not callable(function):
            raise TypeError(f"carry: found {function!r}, expected a function")
        code = code_of(function)
        if inspect.iscoroutinefunction(code):
            raise TypeError(f"carry: found {function!r}, expected a plain function; a task takes its context along")
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            raise TypeError(f"carry: found {function!r}, expected a plain function; carry the one that goes over it")
        functools.update_wrapper(self, function)
        self._function = function
        self._headers = inject()
        self._pipeline = where.get()[0]
        self._context: contextvars.Context | None = contextvars.copy_context()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        if self._context is not None:  # a copy: it may be called in many threads at once
            return self._context.copy().run(self._function, *args, **kwargs)
        return contextvars.copy_context().run(self._elsewhere, *args, **kwargs)

    def _elsewhere(self, *args: P.args, **kwargs: P.kwargs) -> R:
        where.set((self._pipeline, None, None))
        with continued(self._headers):
            return self._function(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_context": None}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
