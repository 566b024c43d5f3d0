"""Loops within a loop: either they are what one of its items takes, or, where it has no items, its parts."""

from __future__ import annotations

from operator import mul
from typing import TYPE_CHECKING

from otel_llmon.wording import FINISHED, Snapshot

if TYPE_CHECKING:
    from otel_llmon.progress.loops import Loop

MOST = 64
"""Loops that are kept, but for parts under way; of parts that are over beyond it only their sum is."""
SHOWN = 12
"""Loops that are shown below one."""


class Tree:
    """What lies within one loop."""

    __slots__ = ("_done", "_lately", "_members", "_reach", "_room", "_work")

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self._done = self._work = 0.0  # of parts that are kept no more
        self._lately = self._reach = 0.0
        self._room = MOST

    def __bool__(self) -> bool:
        return bool(self._members) or self._work > 0

    def adopt(self, loop: Loop, weight: float | None, done: float, *, within_items: bool) -> None:
        """Take in a loop that belongs to the item after `done` of them, or that is a part."""
        if within_items:
            self._members = [each for each in self._members if not each.loop.over or each.item == done][1 - MOST :]
        elif len(self._members) >= self._room:
            self._forget(0.0)
            self._room = max(2 * len(self._members), MOST)  # one part after the other looks at few others
        self._members.append(_Member(loop, weight, done))

    def _forget(self, now: float) -> None:
        """Keep of the parts that are over only the sum."""
        for each in self._members:
            if each.loop.over:
                self._done, self._work = self._done + each.part(now) * each.work, self._work + each.work
        self._members = [each for each in self._members if not each.loop.over]

    def reach(self, done: float, now: float) -> float:
        """Return `done` with the fraction of the item at hand that loops within have done; it never goes back."""
        inside = sum(
            (1.0 if each.weight is None else each.weight) * each.part(now)
            for each in self._members
            if not each.loop.over or each.item == done
        )
        if done < self._lately:
            self._reach = 0.0
        self._lately = done
        self._reach = max(self._reach, done + min(inside, 1.0))
        return self._reach

    def parts(self, now: float) -> tuple[float, float]:
        """Return how much of the parts is done, and how much they are; a part weighs as much as it has items."""
        work, part = [each.work for each in self._members], [each.part(now) for each in self._members]
        if not any(work) and min(part, default=1.0) < 1.0:
            work = [1.0] * len(part)  # where none weighs anything, all weigh alike
        return sum(map(mul, part, work)) + self._done, sum(work) + self._work

    def below(self, now: float) -> tuple[Snapshot, ...]:
        """Return the loops within, of those with one name that are over the newest."""
        newest = {each.loop.name: each.loop for each in self._members}
        shown = [each.loop for each in self._members if not each.loop.over or newest[each.loop.name] is each.loop]
        return tuple(loop.snapshot(now) for loop in shown[-SHOWN:])


class _Member:
    """A loop within, the weight that it was given, and how many items were done when it began."""

    __slots__ = ("item", "loop", "weight")

    def __init__(self, loop: Loop, weight: float | None, item: float) -> None:
        self.loop = loop
        self.weight = weight
        self.item = item

    @property
    def work(self) -> float:
        if self.weight is not None:
            return self.weight
        return 1.0 if self.loop.total is None else self.loop.total

    def part(self, now: float) -> float:
        """Return the part that is done; one that came to its end is whole, whatever it had counted."""
        if self.loop.state == FINISHED:
            return 1.0
        return self.loop.way(now).part or 0.0
