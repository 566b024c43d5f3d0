"""What a loop has behind it, counted by its steps, by the iterator that hands its items out, or by other processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from otel_llmon.progress.children import Shared
from otel_llmon.progress.tally import Tally
from otel_llmon.wording import FAILED

COMPLETED, SKIPPED = "completed", "skipped"
OUTCOMES = (COMPLETED, FAILED, SKIPPED)

Position = Callable[[], float]
"""Tells how many items an iterator was asked for, and handed out if it could; the last one is at hand."""
Jump = Callable[[int], object]
"""Moves an iterator to another of its items."""
BEHIND = 2**62
"""Further than any list is long."""


class Counts(NamedTuple):
    """What was dealt with in this run."""

    completed: float = 0
    failed: float = 0
    skipped: float = 0
    tokens: float = 0

    @property
    def done(self) -> float:
        """Items, whatever came of them."""
        return self.completed + self.failed + self.skipped


class Books:
    """The counts of one loop."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tally = Tally()
        self.shared = Shared()
        self.foreign = False
        """Whether it is another process's loop."""
        self.iterated = False
        """Whether items are counted by an iterator."""
        self._failed: float = 0
        self._skipped: float = 0
        self._tokens: float = 0
        # the items of earlier iterations, and where this one is: always set together
        self._at: tuple[float, Position | None] = (0, None)
        self._jump: Jump | None = None
        self._told: float = 0
        """Which item of this iteration is told of already."""
        self._completed: float = 0
        """Items that were ever seen to be completed."""

    @property
    def iterating(self) -> bool:
        """Whether an iterator is under way."""
        return self._at[1] is not None

    @property
    def handed(self) -> float:
        """How many items the iterator under way was asked for."""
        position = self._at[1]
        return 0 if position is None else position()

    def iterate(self, position: Position, jump: Jump | None) -> None:
        """Count what an iterator hands out; with `jump` it can be moved behind its last item."""
        with self.lock:
            self.iterated = True
            self._at, self._told = (self.dealt(), position), 0
            self._jump = jump
            self.tally.close()

    def exhausted(self, handed: float) -> None:
        """The iterator has handed out so many items, which were all."""
        with self.lock:
            passed, position = self._at
            if position is not None:
                self._at, self._jump = (passed + handed, None), None

    def left(self) -> bool:
        """The iterator is gone; return whether that is news. A finalizer calls this: it takes no lock."""
        if self._at[1] is None:
            return False
        self._at, self._jump = (self.dealt(), None), None
        return True

    def skip_rest(self) -> None:
        """Move the iterator behind its last item, where it can be moved."""
        with self.lock:
            jump = self._jump
            if jump is not None:
                self.left()
                jump(BEHIND)

    def over_with(self, handed: float) -> None:
        """The item at hand is told of: so many were handed out until now."""
        self._told = handed

    def count(self, number: float, outcome: str, tokens: float) -> None:
        """Count items by their outcome, and tokens; in an iteration, what is not completed is the item at hand."""
        if self.foreign:
            self.shared.add((*(number if each == outcome else 0 for each in OUTCOMES), tokens))
            return
        with self.lock:
            self._tokens += tokens
            if outcome == FAILED:
                self._failed += number
            elif outcome == SKIPPED:
                self._skipped += number
            elif not self.iterated:
                self.tally.add(number)
            position = self._at[1]
            if position is not None and outcome != COMPLETED:
                self._told = position()

    def read(self) -> Counts:
        """Return what was dealt with until now."""
        with self.lock:
            completed = self.tally.read()
            if self.iterated:
                # an item that failed is told before the iterator goes on, so what was once completed stays so
                self._completed = max(self.dealt() - self._failed - self._skipped, self._completed)
                completed += self._completed
            found = Counts(completed, self._failed, self._skipped, self._tokens)
            return Counts(*map(sum, zip(found, self.shared.read(), strict=True))) if self.shared.used else found

    def dealt(self) -> float:
        """Return how many items the iterations have behind them: all handed out but the one at hand."""
        passed, position = self._at
        if position is None:
            return passed
        handed = position()
        return passed + (handed if handed == self._told else max(handed - 1, 0))

    def close(self) -> None:
        """Take no more steps."""
        with self.lock:
            self.tally.close()
            if self.shared.used:
                self.shared.close()

    def hand_over(self) -> None:
        """Leave the loop to the parent, in a forked child."""
        self.lock, self.foreign = threading.RLock(), True
        self.tally.hand_over()
