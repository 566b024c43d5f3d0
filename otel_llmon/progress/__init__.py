"""progress(): how far a loop is, for whoever waits for it: a count, a rate, a remaining time with a band, a bar."""

# mypy: disable-error-code="redundant-expr, unreachable"
# what is annotated as a float may be anything when a user's program calls, and is looked at for that reason

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from otel_llmon import telemetry
from otel_llmon.metering import values
from otel_llmon.progress import given, iterating, reporting
from otel_llmon.progress.books import COMPLETED, Counts
from otel_llmon.progress.children import Shared
from otel_llmon.progress.course import WAITING
from otel_llmon.progress.loops import Loop
from otel_llmon.progress.spanning import With
from otel_llmon.progress.tally import NO_STEPS, Many, Ones, Tally
from otel_llmon.telemetry import state as telemetry_state
from otel_llmon.wording import FINISHED, PAUSED, RUNNING, Remaining, Snapshot, line

if TYPE_CHECKING:  # loaded by the first loop, if at all
    from datetime import timedelta

    from otel_llmon.scores.eta import Estimator, Phase, RunProfile

ItemT = TypeVar("ItemT")
_MOST = given.MOST


class progress(Generic[ItemT]):  # noqa: N801  # people call it as they call `range`
    """Go over `items`, or count steps with `update()`, and let the bar, the metrics and the log tell how far it is.

    An item counts once the loop asks for the next one; one that is left early reads `stopped`. Without a name, that of
    the function around is taken. `initial` items were done by an earlier run. `every=100` writes a log record each 100
    items, `every="30s"` each half minute. Loops inside a `with` of another one, or given it as `within`, are its items
    where that has a total, else its parts, which weigh as much as they have items unless `weight` says otherwise.
    `method`, `phases` (pairs of items and weight) and an earlier run's `profile` are for the remaining time: see
    `otel_llmon.scores.eta.Estimator`.
    """

    __slots__ = (
        "__weakref__", "_every", "_initial", "_items", "_loop", "_manner", "_many", "_ones", "_tally", "_total",
        "_weight", "_within", "_withs", "name",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913  # each is one thing that people say of a loop
        self,
        items: Iterable[ItemT] | AsyncIterable[ItemT] | None = None,
        name: str | None = None,
        total: float | None = None,
        *,
        initial: float = 0,
        every: int | str | timedelta | None = None,
        within: progress[Any] | None = None,
        weight: float | None = None,
        method: str = "default",
        phases: Sequence[Phase] = (),
        profile: RunProfile | None = None,
    ) -> None:
        self._loop: Loop | None = None
        self._tally: Tally = _CLOSED
        self._ones: Ones
        self._many: Many
        self._ones, self._many = NO_STEPS
        self._withs: list[With | None] = []
        self.name = given.name(name, 2)
        if items is not None:
            given.iterable(items, self.name)
        self._items = items
        self._total = given.total(total if total is not None else values.length(items), self.name)
        self._initial = given.initial(initial, self.name)
        self._every = given.every(every, self.name)
        self._weight = None if weight is None else given.amount(weight, "weight", self.name)
        around: object = within  # whatever the annotation says
        if around is not None and not isinstance(around, progress):
            raise TypeError(f"progress {self.name!r}: within is a {type(within).__name__}, expected another progress()")
        self._within = within
        self._manner = {"method": method, "phases": given.phases(phases, self.name), "profile": profile}
        if within is not None:
            self._new_loop()
        elif items is None:
            self._ready()
        else:
            self._estimator()  # what it does not like is told here, not when the loop begins

    def _estimator(self) -> Estimator:
        from otel_llmon.scores.eta import Estimator

        return Estimator(self._total, initial=self._initial, **cast("Any", self._manner))

    def _new_loop(self) -> Loop:
        every = None if self._every is None else self._every.afresh()
        loop = Loop(self.name, self._estimator(), self._initial, every)
        reporting.enlist(loop, None if self._within is None else self._within._loop, self._weight)
        self._loop, self._tally = loop, loop.books.tally
        return loop

    def _ready(self) -> Loop:
        """Return the loop under way, begun now where it is not."""
        loop = self._loop
        if loop is not None and (loop.over or loop.books.iterating):
            telemetry.warn_once("progress %r is used again: it counts as a loop of its own", self.name)
            loop = None
        if loop is None:
            loop = self._new_loop()
        if loop.state == WAITING:
            reporting.begin(loop)
        return loop

    # as an iterator

    def __iter__(self) -> Iterator[ItemT]:
        """Return an iterator that counts. Nothing is current while the loop's body runs."""
        if not given.goes_over(self._items):
            raise TypeError(f"progress {self.name!r}: {self._no_items('for')}")
        return iterating.counted(cast("Iterable[ItemT]", self._items), self._to_iterate())

    def __aiter__(self) -> AsyncIterator[ItemT]:
        """Return an asynchronous iterator that counts."""
        if not isinstance(self._items, AsyncIterable):
            raise TypeError(f"progress {self.name!r}: {self._no_items('async for')}")
        return iterating.AsyncCounted(aiter(self._items), self._to_iterate())

    def _to_iterate(self) -> Loop:
        loop = self._loop
        if self._withs and loop is not None and not loop.books.iterating and loop.state in (RUNNING, FINISHED):
            return loop  # once more in the same `with`
        return self._ready()

    def _no_items(self, way: str) -> str:
        if self._items is None:
            return "has no items to go over; give some, or call update()"
        other = "async for" if way == "for" else "for"
        return f"its items are a {type(self._items).__name__}; go over them with `{other}`"

    def __len__(self) -> int:
        if self.total is None:
            raise TypeError(f"progress {self.name!r}: nobody knows its length; give total=")
        if self.total > sys.maxsize:
            raise TypeError(f"progress {self.name!r}: {self.total:g} items are more than len() can tell; see total")
        return int(self.total)

    def __bool__(self) -> bool:
        return True

    # step by step

    def update(
        self, n: float = 1, outcome: str | None = None, tokens: float = 0, info: Mapping[str, Any] | None = None
    ) -> None:
        """Count `n` steps that are completed, failed or skipped, and tokens; from any thread, and from child processes.

        In a loop over items, which counts by itself, it says what came of the item at hand. `info` is put on the
        current span as an event, and on the next log record. What is negative or too much is a warning.
        """
        if outcome is None and not tokens and info is None:
            try:
                if n == 1:
                    for _ in self._ones:  # takes one, if there is one
                        return
                else:
                    number, steps = self._many
                    if n == number:
                        for _ in steps:
                            return
                    elif type(n) is int and 0 < n <= _MOST:
                        tally = self._tally
                        if len(tally.adds) < tally.most:
                            tally.adds.append(n)
                            return
            except Exception:  # a foreign object's own failure to be compared
                n = given.amount(n, "n", self.name)
            if type(n) is int and 0 < n <= _MOST and self._look(n):
                return
        self._count(n, COMPLETED if outcome is None else outcome, tokens, info)

    def _look(self, n: int) -> bool:
        """Count and look up; return whether this is a loop that steps are simply added to."""
        loop, tally = self._loop, self._tally
        if loop is None or loop.books.foreign or loop.books.iterated or loop.state not in (RUNNING, PAUSED):
            return False
        tally.add(n)
        self._ones, self._many = tally.allow(loop.look(), n)
        return True

    def _count(self, n: float, outcome: str, tokens: float, info: Mapping[str, Any] | None) -> None:
        """Count what is not counted in passing, and look up."""
        n, tokens = given.amount(n, "n", self.name), given.amount(tokens, "tokens", self.name)
        outcome = given.outcome(outcome, self.name)
        loop = self._loop
        if loop is None or loop.state == WAITING:
            loop = self._ready()
        if loop.over:
            telemetry.warn_once("progress %r is over (%s): an update came too late", self.name, loop.state)
            return
        if loop.books.iterated and outcome == COMPLETED and not tokens and info is None:
            telemetry.warn_once("progress %r counts its items by itself: update() added nothing", self.name)
        loop.books.count(n, outcome, tokens)
        if info is not None:
            reporting.note(loop, info)
        if not loop.books.iterated and not loop.books.foreign:
            self._ones, self._many = loop.books.tally.allow(loop.look())

    def __enter__(self) -> Self:
        if self._withs:
            telemetry.warn_once("progress %r: is entered already: this entry is part of it", self.name)
            self._withs.append(None)
        else:
            self._withs.append(With(self._ready()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        entered = self._withs.pop() if self._withs else None
        if entered is not None:
            entered.leave(error)

    def close(self) -> None:
        """Bring it to its end: finished where all is done, stopped otherwise."""
        if self._loop is not None and not self._loop.over:
            reporting.end(self._loop, None)

    def __del__(self) -> None:
        if self._loop is not None and not self._loop.books.foreign:
            self._loop.dropped()

    # from outside

    def pause(self) -> None:
        """Stop the clock: what passes until `resume()` counts neither for the rate nor for the remaining time."""
        self._change("pause", self._loop is not None and self._loop.pause())

    def resume(self) -> None:
        """Let the clock run on."""
        self._change("resume", self._loop is not None and self._loop.resume())

    def cancel(self) -> None:
        """End the loop: one over a list, a tuple or a range gets no further item, others hardly any; see `state`."""
        self._change("cancel", self._loop is not None and self._loop.cancel())

    def _change(self, what: str, changed: bool) -> None:  # noqa: FBT001  # the outcome of what it is about
        if changed and self._loop is not None:
            reporting.changed(self._loop)
        else:
            telemetry.warn_once("progress %r: cannot %s: it is %s; nothing changed", self.name, what, self.state)

    # what it says

    def _shot(self) -> Snapshot | None:
        return None if self._loop is None else self._loop.snapshot(telemetry_state.clock())

    @property
    def n(self) -> float:
        """Items that are done, those of an earlier run among them. May be set by whoever knows it, to more only."""
        return self._initial if self._loop is None else self._loop.way(telemetry_state.clock()).done

    @n.setter
    def n(self, n: float) -> None:
        done, n = self.n, given.amount(n, "n", self.name)
        if n < done:
            telemetry.warn_once("progress %r: n is %g and cannot go back to %g; nothing changed", self.name, done, n)
        else:
            self.update(n - done)

    @property
    def failed(self) -> float:
        """Items of this run that failed."""
        return self._counts.failed

    @property
    def skipped(self) -> float:
        """Items of this run that were skipped."""
        return self._counts.skipped

    @property
    def tokens(self) -> float:
        """Tokens that this run told of."""
        return self._counts.tokens

    @property
    def _counts(self) -> Counts:
        return Counts() if self._loop is None else self._loop.books.read()

    @property
    def total(self) -> float | None:
        """Items in all; None where nobody knows. May be set at any time."""
        shot = self._shot()
        return self._total if shot is None else shot.total

    @total.setter
    def total(self, total: float | None) -> None:
        self._total = given.total(total, self.name)
        if self._loop is not None:
            self._loop.total = self._total

    @property
    def state(self) -> str:
        """One of waiting, running, paused, finished, stopped, failed, cancelled."""
        shot = self._shot()
        return WAITING if shot is None else shot.state

    @property
    def finished(self) -> bool:
        """Whether everything is done."""
        return self.state == FINISHED

    @property
    def elapsed(self) -> float:
        """Seconds that it ran, pauses left out."""
        return 0.0 if self._loop is None else self._loop.active(telemetry_state.clock())

    @property
    def rate(self) -> float | None:
        """Items per second of late, or over all once it has ended; None while nothing is known."""
        shot = self._shot()
        return None if shot is None else shot.rate

    @property
    def eta(self) -> float | None:
        """Seconds that are still needed, pauses left out; None while nothing is known."""
        found = self.remaining
        return 0.0 if self.finished else None if found is None else found.middle

    @property
    def remaining(self) -> Remaining | None:
        """The same as a band: one time of ten it takes less than `low`, one time of ten more than `high`."""
        shot = self._shot()
        return None if shot is None else shot.remaining

    def profile(self) -> RunProfile | None:
        """Return how the run went, as plain data for a later one's `profile=`; None unless all of it was seen."""
        return None if self._loop is None else self._loop.profile()

    def __repr__(self) -> str:
        shot = self._shot()
        return f"<progress {self.name}: waiting>" if shot is None else f"<progress {line(shot)}>"

    def __reduce__(self) -> Any:
        """Hand the counting to another process: what it gets can `update()`."""
        loop = self._ready() if self._loop is None or self._loop.state == WAITING else self._loop
        return _elsewhere, (self.name, self._total, loop.books.shared.open(), loop.books.shared.number)


def _elsewhere(name: str, total: float | None, home: str, number: int) -> progress[Any]:
    """Return a progress that counts for the one of another process."""
    made = progress.__new__(progress)
    made._items = made._every = made._weight = made._within = None
    made.name, made._total, made._initial, made._manner, made._withs = name, total, 0, {}, []
    loop = Loop(name, made._estimator(), 0, None)
    loop.books.shared = Shared(home, number)
    loop.state = RUNNING
    loop.abandon()
    made._loop, made._tally = loop, loop.books.tally
    made._ones, made._many = NO_STEPS
    return made


_CLOSED = Tally()
_CLOSED.close()
