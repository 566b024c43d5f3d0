"""Peaks of stretches that overlap, out of one high-water mark that can only be read and reset for all of them."""

from __future__ import annotations

from bisect import bisect_right


class Marks:
    """The marks read so far, of which only those are kept that some stretch may still need.

    Each was read at a boundary, and says how high it went since the boundary before. The highest since any boundary
    is then the first kept one after it: whatever came later and was as high has pushed it out.
    """

    __slots__ = ("_boundaries", "_last", "_marks", "open")

    def __init__(self) -> None:
        self.open = 0
        """Stretches that have begun and not ended."""
        self._last = 0
        self._boundaries: list[int] = []
        self._marks: list[int] = []

    def add(self, mark: int) -> None:
        """Keep the mark that is read at this boundary, since which it is counted anew or goes on."""
        marks, boundaries = self._marks, self._boundaries
        while marks and marks[-1] <= mark:
            marks.pop()
            boundaries.pop()
        self._last += 1
        boundaries.append(self._last)
        marks.append(mark)

    def begin(self) -> int:
        """Begin a stretch; the mark has been added, unless nothing else is open, and reset."""
        if not self.open:
            self._boundaries.clear()
            self._marks.clear()
        self.open += 1
        return self._last

    def end(self, begun: int, mark: int) -> int:
        """End the stretch that began there, with the mark that is read now; return how high it went."""
        self.open -= 1
        if not self._marks:  # nothing else began or ended meanwhile
            if self.open:
                self.add(mark)
            return mark
        self.add(mark)
        return self._marks[bisect_right(self._boundaries, begun)]
