"""Physical memory: the peak while a phase ran, also of phases inside each other and beside each other."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from otel_llmon.probes.marks import Marks
from otel_llmon.probes.resident import Resident, resident
from otel_llmon.semconv import attributes as key

SLACK = 1 << 18
"""Bytes that a mark may be too high: a reset costs more than it is worth where there was no peak to forget."""


class Memory:
    """At each boundary the mark is read for whoever is open, and reset for whoever begins."""

    def __init__(self, source: Resident) -> None:
        self._source = source
        self.close = source.close
        self._marks = Marks()
        self._lock = threading.RLock()  # a phase may end in a finalizer, amid all this

    def begin(self, usage: Any) -> tuple[int, int, int]:
        """Return the boundary, what there is now, and the record."""
        source, marks = self._source, self._marks
        with self._lock:
            high = now = source.now()
            if marks.open:
                high = source.high(now)
                marks.add(high)
            if not marks.open or high > now + SLACK:
                source.reset()
            return marks.begin(), now, source.record

    def end(self, begun: tuple[int, int, int], usage: Any, span: Any) -> Mapping[str, Any]:
        """Return the peak since then, and what has been added."""
        boundary, before, record = begun
        source = self._source
        with self._lock:
            now = source.now()
            peak = self._marks.end(boundary, source.high(now))
        found: dict[str, Any] = {key.MEMORY_PEAK: peak, key.MEMORY_DELTA: now - before}
        if not source.exact and source.record <= record:
            found[key.MEMORY_PEAK_EXACT] = False
        return found


def watch(proc: str = "/proc") -> Memory:
    """Return the probe."""
    return Memory(resident(proc))
