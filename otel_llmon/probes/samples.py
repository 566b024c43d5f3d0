"""What only samples can tell of a phase: the highest CPU utilisation and the mean of the memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from otel_llmon.probes.resident import resident
from otel_llmon.probes.sampling import EVERY, Beat
from otel_llmon.semconv import attributes as key

SHORTEST = EVERY / 2
"""Seconds over which CPU time is looked at, at least."""


class Sample(NamedTuple):
    """How things stand at one moment."""

    wall: float
    cpu: float
    memory: int


class Window:
    """What a phase keeps."""

    __slots__ = ("_before", "_count", "_memory", "highest")

    def __init__(self, first: Sample) -> None:
        self._before = first
        self._memory, self._count = first.memory, 1
        self.highest: float | None = None

    def take(self, sample: Sample) -> None:
        """Take one in."""
        self._memory += sample.memory
        self._count += 1
        if sample.wall - self._before.wall >= SHORTEST:
            self.look(sample)

    def look(self, sample: Sample) -> None:
        """See how busy it was since the last look."""
        elapsed = sample.wall - self._before.wall
        if elapsed > 0:
            self.highest = max((sample.cpu - self._before.cpu) / elapsed, self.highest or 0.0)
        self._before = sample

    def end(self, last: Sample) -> dict[str, Any]:
        """Return what was seen, with the last moment. A short phase is looked at as a whole."""
        self.take(last)
        if self.highest is None:
            self.look(last)
        found: dict[str, Any] = {key.MEMORY_MEAN: self._memory / self._count}
        if self.highest is not None:
            found[key.CPU_UTILIZATION_MAX] = self.highest
        return found


class Samples:
    """Asks the beat for samples while a phase runs, and takes one itself at either end."""

    def __init__(self, sample: Callable[[], Sample], close: Callable[[], None] = lambda: None) -> None:
        self._sample = sample
        self.close = close
        self._beat = Beat[Sample]("samples", lambda: sample)

    def begin(self, usage: Any) -> Window:
        """Return a window that takes samples."""
        window = Window(self._sample())
        self._beat.begin(window)
        return window

    def end(self, begun: Window, usage: Any, span: Any) -> Mapping[str, Any]:
        """Return what it took."""
        self._beat.end(begun)
        return begun.end(self._sample())


def watch(proc: str = "/proc") -> Samples:
    """Return the probe."""
    memory = resident(proc)
    return Samples(lambda: Sample(time.perf_counter(), time.process_time(), memory.now()), memory.close)
