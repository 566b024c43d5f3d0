"""Spikes of memory of known sizes, in phases inside each other, and what their peaks must be."""

from __future__ import annotations

import mmap

import psutil

from otel_llmon import phase

MIB = 1 << 20


class Truth(dict):
    """The peaks that a program made, by the phase's name."""

    def spike(self, mebibytes: int, *during: str) -> None:
        """Take so much memory and give it back; what there was then counts for all phases that are running."""
        area = mmap.mmap(-1, mebibytes * MIB)  # never from what an allocator has left over
        for place in range(0, mebibytes * MIB, mmap.PAGESIZE):
            area[place] = 1
        self.see(*during)
        area.close()

    def see(self, *during: str) -> None:
        """Look at what there is."""
        now = psutil.Process().memory_info().rss
        for name in during:
            self[name] = max(now, self.get(name, 0))


def nested() -> Truth:
    """An outer phase that is highest before, between or after the phases inside it; they are never as high."""
    truth = Truth()
    for outer, (before, inside, between, after) in {
        "first": (96, 32, 16, 8),
        "within": (8, 96, 16, 32),
        "between": (8, 16, 96, 32),
        "last": (32, 8, 16, 96),
    }.items():
        with phase(outer, probes=["memory"]):
            truth.spike(before, outer)
            with phase(f"{outer}, one", probes=["memory"]):
                truth.spike(inside, outer, f"{outer}, one")
            truth.spike(between, outer)
            with phase(f"{outer}, two", probes=["memory"]):
                truth.spike(4, outer, f"{outer}, two")
                with phase(f"{outer}, deep", probes=["memory"]):
                    truth.spike(2, outer, f"{outer}, two", f"{outer}, deep")
            truth.spike(after, outer)
    return truth
