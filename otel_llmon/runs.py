"""What one run of a pipeline did: each phase's count, time and failures, and what was declared but not done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from otel_llmon.metering import cells

if TYPE_CHECKING:
    from otel_llmon.reports import Report


class Tally:
    """What is known of the phases of one name while the run goes on."""

    __slots__ = ("count", "failures", "own", "peak", "seconds")

    def __init__(self) -> None:
        self.count = self.failures = 0
        self.seconds = self.own = 0.0
        self.peak: int | None = None


class Run:
    """Adds up what ends in one run, from any thread; bounded by the number of names."""

    MOST = 1000

    __slots__ = ("_begun", "_items", "_tallies", "declared")

    def __init__(self, declared: Sequence[str] = ()) -> None:
        self.declared = tuple(dict.fromkeys(declared))
        self._begun: dict[str, None] = {}
        self._items: dict[str, float] = {}
        self._tallies: dict[str, Tally] = {}

    def begin(self, name: str) -> None:
        """A phase of this name begins."""
        if name in self.declared:
            self._begun.setdefault(name)

    def over(self, name: str, seconds: float, own: float, *, failed: bool, peak: int | None = None) -> None:
        """A phase of this name has ended; those past the first thousand names are one."""
        with cells.lock:
            tally = self._tallies.get(name)
            if tally is None:
                name = name if len(self._tallies) < self.MOST else "others"
                tally = self._tallies.setdefault(name, Tally())
            tally.count += 1
            tally.seconds += seconds
            tally.own += own
            tally.failures += failed
            if peak is not None:
                tally.peak = max(peak, tally.peak or 0)

    def counted(self, what: str, number: float) -> None:
        """So many more of these."""
        with cells.lock:
            what = what if what in self._items or len(self._items) < self.MOST else "others"
            self._items[what] = self._items.get(what, 0) + number

    @property
    def items(self) -> dict[str, float]:
        """What was counted, by name."""
        with cells.lock:
            return dict(self._items)

    def missing(self) -> tuple[str, ...]:
        """Return the declared phases that have not begun."""
        return tuple(name for name in self.declared if name not in self._begun)

    def misplaced(self) -> tuple[tuple[str, str], ...]:
        """Return each declared phase that first began after one that is declared to come later, with that one."""
        order = {name: number for number, name in enumerate(self.declared)}
        found = []
        last: str | None = None
        for name in list(self._begun):
            if last is not None and order[name] < order[last]:
                found.append((name, last))
            else:
                last = name
        return tuple(found)

    def report(self, pipeline: str, seconds: float) -> Report:
        """Return what is over by now; where phases ran side by side, shares are those of their summed time."""
        from otel_llmon.reports import Report, Share

        with cells.lock:
            tallies = dict(self._tallies)
        own = sum(tally.own for tally in tallies.values())
        whole = max(seconds, own) or 1.0
        shares = (
            Share(name, tally.count, tally.seconds, tally.own, tally.own / whole, tally.failures, tally.peak)
            for name, tally in tallies.items()
        )
        return Report(
            pipeline,
            seconds,
            tuple(sorted(shares, key=lambda share: share.own, reverse=True)),
            max(0.0, 1 - own / whole) if seconds else 0.0,
            self.items,
            self.missing(),
            self.misplaced(),
        )


def _before_fork() -> None:
    """Load what is loaded late: amid another thread's import of it, a child would wait for the end of that for ever."""
    import otel_llmon.reports  # noqa: F401


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
