"""What resource probes add to a phase: the level `profiling` beside `detailed`, and single probes beside none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.figures import MICROSECOND, Figure
from benchmarks.phases import at
from benchmarks.timing import Loop, Place
from otel_llmon import telemetry
from otel_llmon.probes import kit

LIMIT = 30 * MICROSECOND


@contextmanager
def profiling() -> Iterator[dict[str, Any]]:
    """The place of a phase at level `profiling`, its probes made."""
    with at(telemetry.PROFILING)() as names:
        kit.forget()
        yield names


@contextmanager
def amid_threads() -> Iterator[dict[str, Any]]:
    """Likewise, in a process with a hundred threads: the kernel adds up what each has used."""
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(100)]
    for thread in threads:
        thread.start()
    try:
        with profiling() as names:
            yield names
    finally:
        done.set()
        for thread in threads:
            thread.join()


@contextmanager
def with_a_gigabyte() -> Iterator[dict[str, Any]]:
    """Likewise, in a process that holds a gigabyte."""
    held = bytearray(1 << 30)
    held[:: 1 << 12] = b"\x01" * (1 << 18)
    with profiling() as names:
        yield names
    del held


def _of(statement: str, place: Place, times: int = 400, **other: Any) -> Loop:
    return Loop(statement, place, times, **other)


_PHASE, _INSIDE = 'with phase("embed"): pass', 'with phase("outer"), phase("embed"): pass'
_DETAILED, _BASIC = at(telemetry.DETAILED), at(telemetry.BASIC)
_ONE = _of(_PHASE, _DETAILED)
_ASKED = 'with phase("embed", probes=("{}",)): pass'

FIGURES = (
    Figure("phase, profiling", _of(_PHASE, profiling), _ONE, 1.0, LIMIT),
    Figure(
        "phase inside a phase, profiling, each",
        _of(_INSIDE, profiling, per=2),
        _of(_INSIDE, _DETAILED, per=2),
        1.0,
        LIMIT,
    ),
    Figure("phase, profiling, 1 GiB held", _of(_PHASE, with_a_gigabyte, most=5), _ONE, 1.0, LIMIT),
    Figure("phase, profiling, 100 threads", _of(_PHASE, amid_threads, most=5), _ONE),
    *(
        Figure(f"phase, basic, probe {name}", _of(_ASKED.format(name), _BASIC, 1_000), _of(_PHASE, _BASIC, 1_000))
        for name in ("memory", "disk", "cpu", "gpu")
    ),
)
