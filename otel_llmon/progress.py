"""progress(): how far a loop is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from otel_llmon import metering, telemetry
from otel_llmon.context import where
from otel_llmon.metering import values
from otel_llmon.semconv import progress as rows

ItemT = TypeVar("ItemT")

RUNNING, FINISHED, STOPPED = "running", "finished", "stopped"
COMPLETED = "completed"

_items = metering.Counter(rows.PROGRESS_ITEMS)
_total = metering.Gauge(rows.PROGRESS_TOTAL)
_state = metering.Gauge(rows.PROGRESS_STATE)


class progress(Generic[ItemT]):  # noqa: N801  # people call it as they call `range`
    """Iterate over `items`, counting those that the loop has dealt with as `llmon.progress.items`.

    An item counts once the loop asks for the next one. The state is `running`, then `finished`; a loop that is left
    early reads `stopped`. The total is that of `len(items)`, where there is one, or the one given.
    """

    __slots__ = ("_items", "name", "total")

    def __init__(self, items: Iterable[ItemT], name: str, total: int | None = None) -> None:
        self._items = items
        self.name = values.text(name)
        self.total = total if total is not None else _length(items)

    def __len__(self) -> int:
        if self.total is None or self.total < 0:
            raise TypeError(f"progress {self.name!r}: nobody knows its length; give total=")
        return self.total

    def __iter__(self) -> Iterator[ItemT]:
        """Return an iterator that counts. Nothing is current while the loop's body runs."""
        if not telemetry.state.level:
            return iter(self._items)
        return self._counted()

    def _counted(self) -> Iterator[ItemT]:
        pipeline, phase, _ = where.get()
        loop = (self.name, phase, pipeline)
        done = _items.at(*loop, COMPLETED)
        done.add(0)
        _total.at(*loop).set(self.total)
        _report(loop, RUNNING)
        state = STOPPED
        try:
            for item in self._items:
                yield item
                done.add(1)
            state = FINISHED
        finally:
            _report(loop, state)


def _report(loop: tuple[str, str | None, str | None], now: str) -> None:
    for state in (RUNNING, FINISHED, STOPPED):
        _state.at(*loop, state).set(int(state == now))


def _length(items: object) -> int | None:
    try:
        return len(items)  # type: ignore[arg-type]
    except Exception:  # no length, or a foreign object's own failure to tell it
        return None
