"""Which lines hold the most of what was allocated in a phase, by Python's own tracing: dear, and only on request."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path
from typing import Any

from opentelemetry.trace import Span

from otel_llmon import telemetry
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv.probes import ALLOCATIONS

MOST = 10
"""Lines that are told."""

_OURS = str(Path(__file__).parent.parent / "*")
_NOT_THEIRS = tuple(tracemalloc.Filter(False, name) for name in (_OURS, tracemalloc.__file__))


class Allocations:
    """Tracing runs while some phase asks for it, unless the program itself traces."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._asking = 0

    def begin(self, usage: Any) -> tracemalloc.Snapshot:
        """Return what there is already, which is nothing where nothing was traced so far."""
        with self._lock:
            if not tracemalloc.is_tracing():
                tracemalloc.start()
                self._asking = 1
                return tracemalloc.Snapshot((), 1)
            if self._asking:
                self._asking += 1
            return tracemalloc.take_snapshot()

    def end(self, begun: tracemalloc.Snapshot, usage: Any, span: Span | None) -> dict[str, Any]:
        """Tell on the span which lines hold most of what came since then."""
        with self._lock:
            try:
                now = tracemalloc.take_snapshot() if tracemalloc.is_tracing() and span is not None else None
            finally:
                if self._asking:
                    self._asking -= 1
                    if not self._asking:
                        tracemalloc.stop()
        if now is not None and span is not None:
            _tell(now, begun, span)
        return {}

    def close(self) -> None:
        """Trace no more: it failed amid a phase, or this process was forked amid one."""
        if self._asking:
            self._asking = 0
            tracemalloc.stop()


def _tell(now: tracemalloc.Snapshot, before: tracemalloc.Snapshot, span: Span) -> None:
    found = now.filter_traces(_NOT_THEIRS).compare_to(before.filter_traces(_NOT_THEIRS), "lineno")
    held = sorted((line for line in found if line.size_diff > 0), key=lambda line: line.size_diff, reverse=True)[:MOST]
    facts = {
        key.ALLOCATION_LINES: [f"{line.traceback[0].filename}:{line.traceback[0].lineno}" for line in held],
        key.ALLOCATION_SIZES: [line.size_diff for line in held],
        key.ALLOCATION_COUNTS: [line.count_diff for line in held],
    }
    span.add_event(ALLOCATIONS, telemetry.clean(facts))


def watch(proc: str = "/proc") -> Allocations:
    """Return the probe."""
    return Allocations()
