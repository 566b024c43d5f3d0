"""CPU seconds by phase, counted where phases begin and end, and brought up to date on every beat.

While one thread of the process is in phases, what the whole process uses counts for its innermost phase, the threads
of BLAS and of data loaders among it. While several are, each counts what it uses itself. So phases never count more
than the process used. Inside an asyncio event loop nobody can tell tasks apart: phases there count nothing, and what
the loop uses counts for the phase around it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from otel_llmon import efficiency, phases
from otel_llmon.efficiency import Place
from otel_llmon.metering import Reading
from otel_llmon.scores.efficiency import utilization
from otel_llmon.semconv import efficiency as rows
from otel_llmon.semconv.attributes import RESOURCE

TICK = 0.01
"""Seconds, at most, by which the system is late when it tells of another thread's clock."""

ROWS = (rows.RESOURCE_UTILIZATION,)


@dataclass(slots=True)
class _Thread:
    """A thread that is in phases, and its clocks when they were last read."""

    number: int
    open: list[Place] = field(default_factory=list)
    own: float = 0.0
    whole: float = 0.0
    joined: int = 0
    """How many threads had come when this stretch began."""


class Account:
    """Who used the CPU: a watcher of phases."""

    def __init__(
        self,
        own: Callable[[], float] = time.thread_time,
        whole: Callable[[], float] = time.process_time,
        proc: str = "/proc",
    ) -> None:
        self._own, self._whole = own, whole
        self._tasks = Path(proc, "self", "task")
        self.renew()

    def renew(self) -> None:
        """Forget everyone, as in a forked child: a thread's clock starts anew there."""
        self.used = 0.0
        self._lock = threading.RLock()
        self._threads: dict[int, _Thread] = {}
        self._joined = 0

    def came(self, place: Place) -> None:
        """Count what follows for this phase."""
        if in_event_loop():
            return
        with self._lock:
            thread = self._threads.get(threading.get_ident())
            if thread is None:
                self._joined += 1
                thread = _Thread(threading.get_native_id())
                self._threads[threading.get_ident()] = thread
                self._mark(thread, self._own(), self._whole())
            else:
                self._charge(thread, self._own())
            thread.open.append(place)

    def went(self, place: Place) -> None:
        """Count what follows for the phase around this one."""
        if in_event_loop():
            return
        with self._lock:
            thread = self._threads.get(threading.get_ident())
            if thread is None or place not in thread.open:
                return
            self._charge(thread, self._own())
            thread.open.reverse()  # the innermost of them leaves
            thread.open.remove(place)
            thread.open.reverse()
            if not thread.open:
                del self._threads[threading.get_ident()]

    def catch_up(self) -> None:
        """Count what open phases have used so far, where the system tells it of another thread."""
        with self._lock:
            for thread in self._threads.values():
                own = self._clock_of(thread.number)
                if own is not None:
                    self._charge(thread, own, TICK)

    def _charge(self, thread: _Thread, own: float, late: float = 0.0) -> None:
        whole = self._whole()
        alone = len(self._threads) == 1 and thread.joined == self._joined
        seconds = max(whole - thread.whole if alone else own - thread.own, 0.0)
        if alone:  # what was late is in `seconds`, and must not count again
            own = min(own + late, thread.own + seconds)
        self._mark(thread, max(own, thread.own), whole)
        self.used += seconds
        efficiency.charge_cpu(seconds, thread.open[-1])

    def _mark(self, thread: _Thread, own: float, whole: float) -> None:
        thread.own, thread.whole = own, whole
        thread.joined = self._joined if len(self._threads) == 1 else -1

    def _clock_of(self, number: int) -> float | None:
        """Return what `time.thread_time()` would say in another thread."""
        try:
            return int((self._tasks / str(number) / "schedstat").read_bytes().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):
            return None


def watch(
    account: Account | None = None, clock: Callable[[], float] = time.monotonic
) -> Callable[[], Iterator[Reading]]:
    """Return an observer of what phases use; it counts for as long as somebody keeps it."""
    counted = account or Account()
    before: tuple[float, float] | None = None

    def observe() -> Iterator[Reading]:
        nonlocal before
        counted.catch_up()
        now = clock(), counted.used
        if before is not None and now[1] >= before[1]:
            share = utilization(now[1] - before[1], now[0] - before[0], cpus())
            if share is not None:
                yield Reading(rows.RESOURCE_UTILIZATION, share, {RESOURCE: "cpu"})
        before = now

    phases.watchers.append(weakref.ref(counted))
    _accounts.add(counted)
    return observe


def cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_event_loop() -> bool:
    """Tell whether this code runs inside an asyncio event loop."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


_accounts: weakref.WeakSet[Account] = weakref.WeakSet()


def _after_fork() -> None:
    for account in list(_accounts):
        account.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
