"""Instructions per operation, counted by callgrind: exact to a per mille, where time on a shared machine is not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks import metrics, phases
from benchmarks.timing import Loop, loop

OPERATIONS: dict[str, tuple[str, str]] = {
    "counter.add, bound": ("counter, bound series", "ours"),
    "counter.add, by mapping": ("counter, by mapping", "ours"),
    "SDK counter.add": ("counter, bound series", "peer"),
    "histogram.record, bound": ("histogram, bound series", "ours"),
    "histogram.record, by mapping": ("histogram, by mapping", "ours"),
    "SDK histogram.record": ("histogram, bound series", "peer"),
    "phase, disabled": ("phase, disabled", "ours"),
    "phase, basic": ("phase, basic", "ours"),
    "phase, detailed": ("phase, detailed", "ours"),
    "SDK start_as_current_span": ("phase, detailed", "peer"),
}
"""By name: the figure, and which side of it."""
FEW, MANY = 100, 1_100


def missing() -> str | None:
    """Return why nothing can be counted here, or None."""
    return None if shutil.which("valgrind") else "valgrind is not installed"


def count(step: Callable[[], None]) -> dict[str, int]:
    """Return the instructions of every operation: the difference of two runs, by their difference in length."""
    found = {}
    for name in OPERATIONS:
        few, many = _total(name, FEW), _total(name, MANY)
        found[name] = round((many - few) / (MANY - FEW))
        step()
    return found


def _total(name: str, times: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m", __name__]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([*command, name, str(times)], env=environ, check=True, capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if collected is None:
        raise RuntimeError(f"callgrind: no count in its answer: {done.stderr[-300:]}")
    return int(collected[1])


def _run(name: str, times: int) -> None:
    """Run one operation under callgrind."""
    title, side = OPERATIONS[name]
    figure = next(figure for figure in (*metrics.FIGURES, *phases.FIGURES) if figure.name == title)
    operation = getattr(figure, side)
    assert isinstance(operation, Loop)
    with operation.place() as names:
        loop(operation.statement, names, time.perf_counter_ns, lambda: None)(times)


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]))
