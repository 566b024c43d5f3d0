"""A loop: what it has behind it, in which state it is, and what it still needs. Nothing is exported from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_llmon import telemetry
from otel_llmon.events import errors
from otel_llmon.progress import nesting
from otel_llmon.progress.books import Books, Counts, Jump, Position
from otel_llmon.progress.course import WAITING, Course
from otel_llmon.progress.pace import Every, Pace
from otel_llmon.progress.tally import MOST
from otel_llmon.progress.tree import Tree
from otel_llmon.telemetry import state as telemetry_state
from otel_llmon.wording import CANCELLED, FINISHED, PAUSED, RUNNING, STOPPED, Remaining, Snapshot

if TYPE_CHECKING:
    from otel_llmon.scores.eta import Estimator

QUICK, SLOW = 0.02, 0.1
"""Seconds between two looks below which the next one is put off, and above which it is brought forward."""

Place = tuple[str, str | None, str | None]
"""Names of the operation, and of the phase and the pipeline around it."""


class Way(NamedTuple):
    """How far a loop is: what it counted, items done, all items, and items done with what loops within add to them."""

    counts: Counts
    done: float
    total: float | None
    reach: float

    @property
    def part(self) -> float | None:
        """The part of all that is done; None where nobody knows how much that is."""
        if self.total is None:
            return None
        return min(self.reach / self.total, 1.0) if self.total else 1.0


class Loop(Course):
    """One loop, from its begin to its end."""

    def __init__(self, name: str, estimator: Estimator, initial: float, every: Every | None) -> None:
        super().__init__()
        self.name = name
        self.initial = initial
        self.every = every
        self.books = Books()
        self.total: float | None = estimator.total
        self._estimator = estimator
        self._pace = Pace(initial)
        self.changed_at = 0.0
        """When it was last seen to get on."""
        # its place among others
        self.place: Place = (name, None, None)
        self.parent: Loop | None = None
        self.around: Loop | None = None
        """The parent, where nobody named it."""
        self.depth = 1
        self.tree = Tree()
        # who looks on, and what was told
        self.watch: Callable[[Loop, float], None] = _nobody
        """Called with the time, now and then, from inside the loop."""
        self.watched = False
        """Whether somebody wants that even where it costs something."""
        self.exported = False
        self.reported = Counts()
        self.info: Mapping[str, Any] | None = None
        """What the caller told last of the item at hand."""
        self.drawn = self.shown = False
        """Whether there is to be a bar of it, and whether there is one already."""
        self.line_at = 0.0
        self.lines = 0
        """When somebody last wrote a line about it, and how many there were."""
        self._looked = self._watched_at = 0.0
        self._size = 1

    def begin(self) -> None:
        """Start the clock."""
        super().begin()
        self._looked = self.changed_at = self.began

    def resume(self) -> bool:
        """Let the clock run on; return whether it stood."""
        self.changed_at = telemetry_state.clock()
        return super().resume()

    def cancel(self) -> bool:
        """End it from outside: an iterator hands out no more. Return whether it was under way."""
        with self.books.lock:
            if self.over:
                return False
            self.books.skip_rest()
            self.end(CANCELLED)
            return True

    def abandon(self) -> None:
        """Leave it to the parent, in a forked child."""
        self.watch = _nobody
        if self.state == WAITING:
            self.begin()
        self.books.hand_over()

    # what an iterator tells

    def iterate(self, position: Position, jump: Jump | None = None) -> None:
        """Count what an iterator hands out."""
        self.books.iterate(position, jump)
        nesting.iterates(self)
        if self.state == FINISHED:  # it was iterated before, in the same `with`
            self.go_on()

    def exhausted(self, handed: float) -> None:
        """The iterator has handed out everything."""
        self.books.exhausted(handed)
        if self.state in (RUNNING, PAUSED):
            self.end(FINISHED)
        try:
            self.watch(self, telemetry_state.clock())
        except Exception as exc:
            untold(exc)

    def left(self) -> None:
        """The iterator is gone. A finalizer calls this, at any moment: it takes no lock and reports nothing."""
        if self.books.left() and self.state in (RUNNING, PAUSED):
            self.end(STOPPED)

    def dropped(self) -> None:
        """Nobody can update it any more; likewise a finalizer's."""
        if not self.over and not self.books.iterated:
            self.end(STOPPED)

    # what is asked

    def done(self) -> float:
        """Return the items behind it, those of an earlier run among them."""
        return self.initial + self.books.read().done

    def way(self, now: float) -> Way:
        """Return how far it is."""
        counts = self.books.read()
        done = self.initial + counts.done
        if self.total is not None or counts.done or not self.tree:
            return Way(counts, done, self.total, self.tree.reach(done, now))
        reach, total = self.tree.parts(now)
        return Way(counts, reach, total, reach)

    def note(self, now: float) -> Way:
        """Note how far it is now, for the rate and the remaining time."""
        with self.books.lock:
            way = self.way(now)
            done, total = way.done, way.total
            if total is not None and done > total:
                telemetry.warn_once(
                    "progress %r: %g of %g are done, more than all; give another total=", self.name, done, total
                )
            full = total is not None and done >= total and not self.books.iterated
            self.full = None if not full else now if self.full is None else self.full
            active = self.active(now)
            if self._pace.note(active, done):
                self.changed_at = now
            self._estimator.total = total
            self._estimator.add(active, way.reach)
            return way

    def snapshot(self, now: float, *, alone: bool = False) -> Snapshot:
        """Return how far it is and what it still needs; unless it is wanted `alone`, with the loops within."""
        with self.books.lock:
            way, active = self.note(now), self.active(now)
            # a loop that nobody ends, or that was dropped, is finished when all is done
            shown = FINISHED if self.state in (RUNNING, STOPPED) and self.full is not None else self.state
            remaining = self._estimator.eta(active) if shown in (RUNNING, PAUSED) else None
            return Snapshot(
                self.name,
                shown,
                way.done,
                way.total,
                way.part,
                active,
                self._pace.rate(active, way.done, over=shown != RUNNING),
                None if remaining is None else Remaining(*remaining),
                way.counts.failed,
                way.counts.skipped,
                way.counts.tokens,
                () if alone or (self.over and way.total is not None) else self.tree.below(now),
            )

    def profile(self) -> Any:
        """Return how the run went, for the estimates of a later one; None unless it saw all of it."""
        self.note(telemetry_state.clock())
        return self._estimator.profile()

    # looking up

    def look(self, handed: float = 0) -> int:
        """Look up from inside the loop, and return how many items may pass until the next time; 0 where it is to end.

        A loop over items says how many it has handed out, and is about to hand out the next one.
        """
        try:
            self.books.over_with(handed)
            now = telemetry_state.clock()
            self._adapt(now)
            if self.state == RUNNING and now - self._watched_at >= QUICK:
                self._watched_at = now
                self.note(now)
                self.watch(self, now)
            elif self.every is not None:
                self.watch(self, now)
        except Exception as exc:  # what looks on must not reach the loop
            untold(exc)
        if self.state == CANCELLED:
            self.books.left()
            return 0
        return self._size if self.every is None else self.every.limit(self._size, self.done())

    def _adapt(self, now: float) -> None:
        spent, self._looked = now - self._looked, now
        if spent < QUICK:
            self._size = min(self._size * 2, MOST)
        elif spent > SLOW:
            self._size = max(self._size // 4, 1)


def _nobody(_: Loop, __: float) -> None:
    pass


def untold(exc: Exception) -> None:
    """Count and say that what looks on failed, which must not reach a loop."""
    errors.at("progress").add()
    telemetry.warn_once("progress: not told: %s: %s", type(exc).__name__, exc)
