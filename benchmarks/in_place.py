"""The same operations right after real work, when caches are cold: a tight loop flatters them."""

from __future__ import annotations

import gc
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks import metrics, phases
from benchmarks.figures import Figure
from benchmarks.timing import Loop, loop

FIGURES: tuple[Figure, ...] = tuple(
    figure for figure in (*metrics.FIGURES, *phases.FIGURES) if isinstance(figure.ours, Loop) and not figure.ours.whole
)
BLOCK = 20
"""Samples that are taken in one go, before another operation has its turn."""


def works() -> dict[str, Callable[[], Any]]:
    """Return what a program does between two operations."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # idle threads of the library spin beside what is measured
    import numpy as np

    large, square = np.ones(4 * 1024 * 1024), np.ones((256, 256))
    return {"nothing": lambda: None, "256² matmul": lambda: square @ square, "sum over 32 MiB": large.sum}


def measure(samples: int, step: Callable[[], None]) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by work and figure, the median nanoseconds of ours and of the peer's, less the timer's own."""
    sides = {loop for figure in FIGURES for loop in (figure.ours, figure.peer) if isinstance(loop, Loop)}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for work, do in works().items():
        taken: dict[Loop, list[float]] = {side: [] for side in sides}
        for _ in range(-(-samples // BLOCK)):
            for side in random.sample(list(sides), len(sides)):
                taken[side] += _block(side, do)
            step()
        middle = {side: statistics.median(values) for side, values in taken.items()}
        found[work] = {
            figure.name: {
                name: round(middle[side])
                for name, side in (("ours", figure.ours), ("peer", figure.peer))
                if isinstance(side, Loop)
            }
            for figure in FIGURES
        }
    return found


def steps(samples: int) -> int:
    """Return how often `measure` calls its `step`."""
    return 3 * -(-samples // BLOCK)


def _block(side: Loop, do: Callable[[], Any]) -> list[float]:
    """Return some samples of one operation, each after the work.

    They are of wall time: to read the CPU clock is a call to the system, as costly as what is measured.
    """
    with side.place() as names:
        clock = time.perf_counter_ns
        run, empty = (loop(text, names, clock, _nothing) for text in (side.statement, "pass"))
        run(50)
        gc.collect()
        timer = statistics.median(_after(do, empty) for _ in range(BLOCK))
        return [_after(do, run) - timer for _ in range(BLOCK)]


def _after(do: Callable[[], Any], run: Callable[[int], int]) -> int:
    do()
    return run(1)


def _nothing() -> None:
    pass
