"""When checks run: one thread starts each in a thread of its own, and keeps watch over their deadlines.

So a hundred targets that take a second each are done in a second, nothing of it runs in an event loop of the program,
and what hangs costs one thread until it returns. A check is not begun again while it hangs; it is down meanwhile.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from otel_llmon import metering
from otel_llmon.checks import loops
from otel_llmon.checks.connections import Pool
from otel_llmon.checks.reasons import NOT_ASKED
from otel_llmon.checks.verdicts import Check, Finding, Result, Run
from otel_llmon.metering import Reading
from otel_llmon.semconv import Metric
from otel_llmon.semconv import health as rows
from otel_llmon.semconv.attributes import TARGET, TARGET_TYPE

MOST = 128
"""Checks that run at the same time; the others wait."""
GRACE = 0.05
"""Seconds by which a check may end its own way before it is ended."""


class Runner:
    """The checks of this process, and the thread that starts them."""

    def __init__(self, spread: Callable[[float, float], float] = random.uniform) -> None:
        self.checks: dict[str, Check] = {}
        self._spread = spread
        self._renew()

    def _renew(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._running: set[Run] = set()
        self.pool = Pool()

    def after_fork(self) -> None:
        """Begin anew in a forked child: its connections are its parent's, and its thread begins when somebody looks."""
        self._renew()
        loops.renew()
        for check in self.checks.values():
            check.renew()

    def add(self, check: Check) -> None:
        """Check this from now on, in the place of another of its name."""
        with self._changed:
            if check.name in self.checks:
                self.remove(self.checks[check.name])
            self.checks[check.name] = check
            for row in READINGS:
                metering.instrument_of(row).sources["checks"] = self._reader(row)
        self.ensure()

    def remove(self, check: Check) -> None:
        """Check this no more."""
        with self._changed:
            check.over = True
            if self.checks.get(check.name) is check:
                del self.checks[check.name]
            self._changed.notify_all()

    def ensure(self) -> None:
        """See that the thread is there; called by whoever looks at results."""
        with self._changed:
            if self.checks and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._watch, name="llmon-checks", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # Python 3.12.0 and 3.12.1 start none at exit
                    self._thread = None
            self._changed.notify_all()

    def begin(self, check: Check) -> Run:
        """Start a check, unless it is under way; return its run."""
        self.ensure()
        with self._changed:
            if check.run is not None:
                return check.run
            run = Run(check)
            check.due = time.monotonic() + check.plan.every * self._spread(0.9, 1.1)
            try:
                threading.Thread(target=self._work, args=(run,), name=f"llmon-check-{check.name}", daemon=True).start()
            except RuntimeError as exc:
                check.settle(run, Finding(f"{exc} here; {NOT_ASKED}", known=False))
                return run
            check.run = run  # the thread needs the lock to end
            self._running.add(run)
            self._changed.notify_all()
            return run

    def _work(self, run: Run) -> None:
        try:
            run.check.work(run, self.pool)
        finally:
            self.returned(run)

    def returned(self, run: Run) -> None:
        """Let the next run of its check begin: this one asks no more."""
        with self._changed:
            if run.check.run is run:
                run.check.run = None
            if len(self._running) >= MOST:  # somebody may wait for a place
                self._changed.notify_all()
            self._running.discard(run)

    def _watch(self) -> None:
        me = threading.current_thread()
        with self._changed:
            while self._thread is me and (self.checks or self._running):
                now = time.monotonic()
                self._end_late_ones(now)
                self._start_due_ones(now)
                self._changed.wait(max(self._next() - time.monotonic(), 0.001))

    def _next(self) -> float:
        moments = [run.asking.deadline + GRACE for run in self._running]
        if len(self._running) < MOST:
            moments += [check.due for check in self.checks.values()]
        return min(moments, default=time.monotonic() + 60)

    def _start_due_ones(self, now: float) -> None:
        for check in sorted(self.checks.values(), key=lambda check: check.due):
            if check.due > now or len(self._running) >= MOST:
                return
            if check.run is None:
                self.begin(check)
            else:
                check.due = now + check.plan.every
                check.fresh_until = now + 2.5 * check.plan.every  # it hangs, and is as down as it was

    def _end_late_ones(self, now: float) -> None:
        for run in [run for run in self._running if now > run.asking.deadline + GRACE]:
            self._running.discard(run)
            run.asking.cancel()
            try:  # hooks are told of it, and may take their time
                threading.Thread(target=run.check.late, args=(run,), daemon=True).start()
            except RuntimeError:  # the system gives no more threads
                run.check.late(run)

    def _reader(self, row: Metric) -> metering.Source:
        read = READINGS[row]

        def source() -> Iterable[Reading]:
            self.ensure()
            now = time.monotonic()
            fresh = [check for check in list(self.checks.values()) if now < check.fresh_until]
            return [
                Reading(row, value, {key: value for key, value in _identity(check).items() if key in row.attributes})
                for check in fresh
                if (value := read(check.result)) is not None
            ]

        return source


def _identity(check: Check) -> dict[str, str]:
    return {TARGET: check.name, TARGET_TYPE: check.target.kind}


READINGS: Mapping[Metric, Callable[[Result], float | None]] = {
    rows.HEALTH_UP: lambda result: None if result.up is None else int(result.up),
    rows.HEALTH_MODELS: lambda result: result.facts.get("models"),
    rows.HEALTH_CERTIFICATE: lambda result: result.facts.get("certificate"),
}

runner = Runner()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=runner.after_fork)
