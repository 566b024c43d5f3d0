"""Loops that are under way, and what is exported of them: metrics at collection, events where something changes."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace

from otel_llmon import metering, telemetry
from otel_llmon.context import where
from otel_llmon.events import event
from otel_llmon.outcomes import FAILURE, SUCCESS, outcome
from otel_llmon.progress import nesting, screen
from otel_llmon.progress.books import COMPLETED, OUTCOMES
from otel_llmon.progress.course import WAITING
from otel_llmon.progress.loops import Loop, untold
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import progress as rows
from otel_llmon.telemetry import state as telemetry_state
from otel_llmon.wording import CANCELLED, FAILED, FINISHED, RUNNING, STATES, STOPPED, Remaining, Snapshot

EVENT = "llmon.progress"
"""Name of the log records and span events."""
CROWD = 64
"""Loops under way from which on those that are over are not left to the next collection."""
DEEPEST = 8
"""Loops within each other; what lies deeper stands beside the last of them."""


class _Items(metering.Counter):
    """The first of our instruments that a collection asks, so that the others are up to date."""

    def readings(self) -> list[metering.Told]:
        """Return what there is to export."""
        settle()
        return super().readings()

    def clear(self) -> None:
        """Forget every series; what was counted until now went to another provider."""
        super().clear()
        for loop in list(_live):
            loop.reported = loop.books.read()
            if loop.over:
                _live.pop(loop, None)


_items = _Items(rows.PROGRESS_ITEMS)
_tokens = metering.Counter(rows.PROGRESS_TOKENS)
_done = metering.Gauge(rows.PROGRESS_DONE)
_total = metering.Gauge(rows.PROGRESS_TOTAL)
_state = metering.Gauge(rows.PROGRESS_STATE)
_eta = metering.Gauge(rows.PROGRESS_ETA)
_last_update = metering.Gauge(rows.PROGRESS_LAST_UPDATE)

inside: contextvars.ContextVar[Loop | None] = contextvars.ContextVar("inside", default=None)
"""The loop whose `with` the running code is in."""
_live: dict[Loop, None] = {}
"""The loops under way; one that is over stays until it is reported."""
_lock = threading.RLock()
_crowd = CROWD


def enlist(loop: Loop, within: Loop | None, weight: float | None) -> None:
    """Give a new loop its place, among other loops too."""
    pipeline, phase, _ = where.get()
    parent = _holder(within or inside.get())
    path = loop.name if parent is None else f"{parent.place[0]}/{loop.name}"
    if parent is None:
        parent = loop.around = _holder(nesting.around())
    loop.place = (path, phase, pipeline)
    loop.watch = _watch
    loop.watched = loop.every is not None or (screen.tells_lines() and not metering.connected())
    if parent is not None:
        try:
            with parent.books.lock:
                parent.tree.adopt(loop, weight, parent.done(), within_items=parent.total is not None)
        except Exception as exc:  # the other loop's own failure
            untold(exc)
        loop.parent, loop.depth = parent, parent.depth + 1
    loop.exported = bool(telemetry_state.level)
    if loop.exported:
        metering.follow_provider()
    if len(_live) >= _crowd:
        settle(over_only=True)
    _live[loop] = None


def _holder(loop: Loop | None) -> Loop | None:
    """Return the loop that a new one within `loop` belongs to."""
    if loop is not None and loop.depth >= DEEPEST:
        loop = loop.parent
    return None if loop is None or loop.over else loop


def begin(loop: Loop) -> None:
    """Let it run."""
    loop.begin()
    if loop.every is not None:
        loop.every.begin(telemetry_state.clock(), loop.initial)
    screen.began(loop)


def settle(*, over_only: bool = False) -> None:
    """Report what the loops did since the last time."""
    global _crowd  # noqa: PLW0603  # as many again may come until the next time: none looks at all others
    if not _lock.acquire(timeout=0.5):  # of a thread that a signal interrupted; the next collection makes up for it
        return
    try:
        now = telemetry_state.clock()
        for loop in list(_live):
            try:
                _settle(loop, now, over_only=over_only)
            except Exception as exc:  # its own failure: the others are told of all the same
                untold(exc)
        _crowd = max(2 * len(_live), CROWD)
    finally:
        _lock.release()


def _settle(loop: Loop, now: float, *, over_only: bool) -> None:
    if loop.state == WAITING and loop.books.shared.used and loop.books.read().done:
        begin(loop)  # a forked child has taken its first step
    if loop.state != WAITING and (loop.over or not over_only):
        _report(loop, now)


def _report(loop: Loop, now: float) -> None:
    over = loop.over
    try:
        if loop.exported:
            _export(loop, now)
        screen.looked(loop, now)
    finally:
        if over:
            _live.pop(loop, None)
            if loop.books.shared.used:
                loop.books.shared.close()


def _export(loop: Loop, now: float) -> None:
    place, counts, shot = loop.place, loop.books.read(), loop.snapshot(now, alone=True)
    for word, number, before in zip(OUTCOMES, counts, loop.reported, strict=False):
        if number or (word == COMPLETED and not loop.tree):
            _items.at(*place, word).add(number - before)
    if counts.tokens:
        _tokens.at(*place).add(counts.tokens - loop.reported.tokens)
    loop.reported = counts
    _done.at(*place).set(shot.done)
    _total.at(*place).set(shot.total)
    for state in STATES:
        _state.at(*place, state).set(int(state == shot.state))
    _report_eta(place, shot.remaining)
    running = shot.state == RUNNING
    _last_update.at(*place).set(time.time() - (now - loop.changed_at) if running else None)


def _report_eta(place: Any, found: Remaining | None) -> None:
    low, middle, high = (None, None, None) if found is None else (found.low, found.middle, found.high)
    for quantile, seconds in (("0.1", low), ("0.5", middle), ("0.9", high)):
        _eta.at(*place, quantile).set(seconds)


def _watch(loop: Loop, now: float) -> None:
    """Look at a loop from inside it."""
    if loop.every is not None and loop.every.due(now, loop.done()):
        shot = loop.snapshot(now)
        tell(loop, shot)
        screen.say(loop, shot, now)
    screen.looked(loop, now)


def changed(loop: Loop, error: BaseException | None = None) -> None:
    """Tell that somebody changed the state of a loop."""
    now = telemetry_state.clock()
    shot = loop.snapshot(now)
    tell(loop, shot, "info" if error is None else "error")
    span = trace.get_current_span()
    if span.is_recording():
        span.add_event(EVENT, _facts(loop, shot))
    screen.looked(loop, now)


def end(loop: Loop, error: BaseException | None) -> None:
    """Bring a loop to its end: by the exception that ended it, else by what is done."""
    with loop.books.lock:
        loop.books.close()
        state = _ending(loop, error)
        fails = error is not None and state != loop.state
        if not loop.over or (fails and loop.state != CANCELLED):
            loop.end(state)
    try:
        if fails:
            changed(loop, error)
        else:
            _watch(loop, telemetry_state.clock())
    except Exception as exc:  # as in settle()
        untold(exc)


def _ending(loop: Loop, error: BaseException | None) -> str:
    how = SUCCESS if error is None or isinstance(error, GeneratorExit) else outcome(error)
    if how != SUCCESS:
        return FAILED if how == FAILURE else CANCELLED
    if loop.over:
        return loop.state
    way = loop.way(telemetry_state.clock())
    return FINISHED if way.total is None or way.done >= way.total else STOPPED


def result(loop: Loop) -> dict[str, Any]:
    """Return what a span says of the loop at its end."""
    shot, counts = loop.snapshot(telemetry_state.clock()), loop.books.read()
    told = {f"{key.ITEMS}.{word}": number for word, number in zip(OUTCOMES, counts, strict=False) if number}
    return {key.STATE: shot.state, key.DONE: shot.done, key.RATE: shot.rate, **told}


def note(loop: Loop, info: Mapping[str, Any]) -> None:
    """Keep what was told of an item, for the span and the next log record."""
    loop.info = info = telemetry.clean(info)
    span = trace.get_current_span()
    if span.is_recording():
        span.add_event(EVENT, info)


def tell(loop: Loop, shot: Snapshot, severity: str = "info") -> None:
    """Write a log record that says how far the loop is."""
    event(EVENT, {**_facts(loop, shot), **(loop.info or {})}, severity)


def _facts(loop: Loop, shot: Snapshot) -> dict[str, Any]:
    facts: dict[str, Any] = dict(zip((key.OPERATION, key.PHASE, key.PIPELINE), loop.place, strict=True))
    facts |= {key.STATE: shot.state, key.DONE: shot.done, key.TOTAL: shot.total, key.RATE: shot.rate}
    if shot.remaining is not None:
        facts[key.ETA] = shot.remaining.middle
    return {name: value for name, value in facts.items() if value is not None}


def _before_fork() -> None:
    """See that children can count: a loop under way is theirs too."""
    import otel_llmon.scores.eta  # noqa: F401  # as in runs

    try:
        for loop in list(_live):
            if not loop.over:
                loop.books.shared.open()
    except OSError as exc:
        telemetry.warn_once("progress: child processes cannot count: %s", exc)


def _after_fork() -> None:
    """Leave the parent's loops to the parent."""
    global _lock  # noqa: PLW0603  # a child has one of its own
    _lock = threading.RLock()
    for loop in _live:
        loop.abandon()
    _live.clear()
    nesting.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
