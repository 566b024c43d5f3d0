"""This process: CPU, memory, threads and open files, through psutil."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from otel_llmon.metering import Reading
from otel_llmon.observers.host import imported
from otel_llmon.semconv import process as rows
from otel_llmon.semconv.attributes import CPU_MODE

ROWS = (
    rows.PROCESS_CPU_TIME,
    rows.PROCESS_CPU_UTILIZATION,
    rows.PROCESS_MEMORY_USAGE,
    rows.PROCESS_MEMORY_VIRTUAL,
    rows.PROCESS_THREADS,
    rows.PROCESS_FILES,
    rows.PROCESS_UPTIME,
)
MODES = ("user", "system")


def watch(psutil: Any = None, clock: Callable[[], float] = time.monotonic) -> Callable[[], Iterable[Reading]]:
    """Return an observer of this process. Utilization needs two readings, so the first pass leaves it out."""
    source = psutil or imported()
    process: Any = None
    before: tuple[float, dict[str, float]] | None = None

    def observe() -> Iterator[Reading]:
        nonlocal process, before
        if process is None or process.pid != os.getpid():  # a forked child takes over its parent's observer
            process, before = source.Process(), None
        with process.oneshot():
            times, memory = process.cpu_times(), process.memory_info()
            threads, started = process.num_threads(), process.create_time()
            files = process.num_fds() if hasattr(process, "num_fds") else None
        now = clock(), {mode: getattr(times, mode) for mode in MODES}
        for mode, seconds in now[1].items():
            yield Reading(rows.PROCESS_CPU_TIME, seconds, {CPU_MODE: mode})
        if before is not None and now[0] > before[0]:
            capacity = (now[0] - before[0]) * (source.cpu_count() or 1)
            for mode, seconds in now[1].items():
                yield Reading(rows.PROCESS_CPU_UTILIZATION, (seconds - before[1][mode]) / capacity, {CPU_MODE: mode})
        before = now
        yield Reading(rows.PROCESS_MEMORY_USAGE, memory.rss)
        yield Reading(rows.PROCESS_MEMORY_VIRTUAL, memory.vms)
        yield Reading(rows.PROCESS_THREADS, threads)
        if files is not None:
            yield Reading(rows.PROCESS_FILES, files)
        yield Reading(rows.PROCESS_UPTIME, max(time.time() - started, 0.0))

    return observe
