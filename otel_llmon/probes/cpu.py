"""CPU: seconds of the process and of the phase's own thread, and how often threads were switched."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any

from otel_llmon.semconv import attributes as key

SHORTEST = 0.001
"""Seconds below which CPU time by elapsed time says nothing: reading them takes time as well."""

UTIME, STIME, VOLUNTARY, INVOLUNTARY = 0, 1, 14, 15
"""Places in what getrusage() returns: by place it is cheaper than by name."""

Begun = tuple[float, int, float, float, Any]
"""Elapsed seconds, the thread, its CPU seconds, the process's, and the usage."""


class CPU:
    """Takes the difference of two readings."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock

    def begin(self, usage: Any) -> Begun:
        """Return how things stand."""
        seconds = usage[UTIME] + usage[STIME] if usage is not None else time.process_time()
        return self._clock(), get_ident(), time.thread_time(), seconds, usage

    def end(self, begun: Begun, usage: Any, span: Any) -> Mapping[str, Any]:
        """Return what was used since then."""
        wall, thread, thread_seconds, seconds, before = begun
        wall = self._clock() - wall
        seconds = (usage[UTIME] + usage[STIME] if usage is not None else time.process_time()) - seconds
        found: dict[str, Any] = {key.CPU_TIME: seconds if seconds > 0 else 0.0}
        if get_ident() == thread:
            found[key.CPU_THREAD_TIME] = time.thread_time() - thread_seconds
        if wall >= SHORTEST:
            found[key.CPU_UTILIZATION_MEAN] = found[key.CPU_TIME] / wall
        if usage is not None and before is not None:
            found[key.SWITCHES_VOLUNTARY] = usage[VOLUNTARY] - before[VOLUNTARY]
            found[key.SWITCHES_INVOLUNTARY] = usage[INVOLUNTARY] - before[INVOLUNTARY]
        return found


def watch(proc: str = "/proc") -> CPU:
    """Return the probe."""
    return CPU()
