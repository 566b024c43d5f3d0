"""batch(): a phase over a batch of items, with what is to be done before and after it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from otel_llmon import telemetry
from otel_llmon.decorating import code_of
from otel_llmon.events import errors
from otel_llmon.metering import values
from otel_llmon.phases import Phase, Probed
from otel_llmon.telemetry import state

ItemsT = TypeVar("ItemsT")
Hook = Callable[[ItemsT], object]

SOURCE = "batch"


class batch(Probed, Generic[ItemsT]):  # noqa: N801  # people call it as they call `phase`
    """A phase over `items`, counted where they have a length; `before` and `after` are called with them, in its span.

    A hook watches: what it raises is counted and told, and the work goes on. After work that raised, no hook is called.
    """

    __slots__ = ("_after", "_before", "items")

    def __init__(  # noqa: PLR0913  # a phase's, and the hooks
        self,
        items: ItemsT,
        name: str,
        attributes: Mapping[str, Any] | None = None,
        *,
        before: Sequence[Hook[ItemsT]] = (),
        after: Sequence[Hook[ItemsT]] = (),
        probes: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, attributes)
        if probes is not None and state.level:
            self._ask(probes)
        self.items = items
        self._before = _hooks(name, before)
        self._after = _hooks(name, after)

    def __enter__(self) -> Self:
        fresh = self._started is None
        if state.level:
            super().__enter__()
            try:
                self._call(self._before if fresh else ())
            except BaseException as exc:  # a hook that ends the program ends the batch
                super().__exit__(type(exc), exc, exc.__traceback__)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        try:
            if self._started is not None and not self._again and error is None:
                self._finish()
        except BaseException as exc:
            error = exc
            raise
        finally:
            super().__exit__(kind, error, trace_back)

    def _fresh(self) -> Phase:
        if not state.level:
            return super()._fresh()
        hooks = {"before": self._before, "after": self._after}
        return batch(self.items, self._name, self._attributes, probes=self._probes, **hooks)

    def _finish(self) -> None:
        length = values.length(self.items)
        if length is not None:
            self.count(self._name, length)
        self._call(self._after)

    def _call(self, hooks: tuple[Hook[ItemsT], ...]) -> None:
        for hook in hooks:
            try:
                hook(self.items)
            except Exception as exc:
                errors.at(SOURCE).add()
                name = getattr(hook, "__name__", type(hook).__name__)
                telemetry.warn_once("batch %r: %s raised %s: %s", self._name, name, type(exc).__name__, exc)


def _hooks(name: str, given: Any) -> tuple[Any, ...]:
    if not callable(given) and not isinstance(given, Iterable):
        raise TypeError(f"batch {name!r}: found {given!r}, expected functions to call with the items")
    hooks = (given,) if callable(given) else tuple(given)
    for hook in hooks:
        if isinstance(hook, Phase):
            raise TypeError(
                f"batch {name!r}: found a phase to call with the items; a retry is phase(..., after=) in it"
            )
        if not callable(hook):
            raise TypeError(f"batch {name!r}: found {hook!r}, expected functions to call with the items")
        if inspect.iscoroutinefunction(code_of(hook)):
            raise TypeError(f"batch {name!r}: found {hook!r}, expected plain functions; nobody would await it")
    return hooks
