"""Where the running code is: the pipeline and the phase around it, and the fields that are bound here."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from opentelemetry import context as otel_context

from otel_llmon import telemetry
from otel_llmon.telemetry import state

Place = tuple[str | None, str | None, Any]
"""Names of the pipeline and of the phase, and, inside a pipeline, the innermost phase itself."""

where: contextvars.ContextVar[Place] = contextvars.ContextVar("where", default=(None, None, None))


def leave(token: Any) -> None:
    """Undo a context variable. In another context than it was set in (an abandoned generator's) nothing is to undo."""
    try:
        token.var.reset(token)
    except ValueError:
        pass
    except AttributeError:  # OpenTelemetry with a context of another make
        otel_context.detach(token)


MOST = 64
"""Fields that may be bound at once; they go on every record, and servers take 64 KiB of them."""

_bound: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("bound", default={})  # noqa: B039  # never changed


def bind(fields: Mapping[str, Any]) -> Binding:
    """Put these fields on every log record, event and phase's span from here on, in this thread or asyncio task.

    As `with bind({"request": "a"}):` they are gone after the block, with all that was bound in it. A field of None is
    taken off. Keys in the setting `baggage_keys` are also handed on to the services that are called; where that is
    said inside a phase, until the phase's end. Never on metrics.
    """
    return Binding(fields)


class Binding:
    """Fields that are bound: from its making on, or again at each `__enter__`, until `__exit__`."""

    __slots__ = ("_fields", "_handed", "_removed", "_token")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = telemetry.clean(fields)
        self._removed = _none_of(fields)
        self._token: Any = None
        self._bind()

    def __enter__(self) -> Self:
        if self._token is None:
            self._bind()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            leave(token)
            if self._handed is not None:
                leave(self._handed)

    def _bind(self) -> None:
        fields = {**_bound.get(), **self._fields}
        for name in self._removed:
            fields.pop(name, None)
        if len(fields) > MOST:
            telemetry.warn_once("bind(): more than %s fields at once: the newest are left out", MOST)
            fields = dict(list(fields.items())[:MOST])
        self._token = _bound.set(fields)
        self._handed = self._hand_on() if state.baggage_keys else None

    def _hand_on(self) -> Any:
        """Put the allowed fields into the baggage, which OpenTelemetry's instrumentations send along."""
        from opentelemetry import baggage  # few need it, and it costs every import of ours a millisecond

        here = context = otel_context.get_current()
        for name in state.baggage_keys:
            if name in self._fields:
                context = baggage.set_baggage(name, str(self._fields[name]), context)
            elif name in self._removed:
                context = baggage.remove_baggage(name, context)
        return None if context is here else otel_context.attach(context)


def bound() -> Mapping[str, Any]:
    """Return the fields that are bound here, with the baggage that is allowed; not to be changed."""
    fields = _bound.get()
    return _with_baggage(fields) if state.baggage_keys else fields


def _with_baggage(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    from opentelemetry import baggage  # as above

    carried = baggage.get_all()
    brought = {
        name: telemetry.carried(carried[name]) for name in state.baggage_keys if name in carried and name not in fields
    }
    return {**brought, **fields} if brought else fields


def _none_of(fields: Any) -> tuple[str, ...]:
    try:
        return tuple(str(name) for name, value in fields.items() if value is None)
    except Exception:  # told by clean() already
        return ()
