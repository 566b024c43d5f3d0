"""Every way out of a process: normal exit, SIGTERM, the end of a multiprocessing child, and uvicorn's shutdown.

All three signals are flushed side by side within one bound. `os._exit` and SIGKILL leave no time to anybody.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any

from otel_llmon import observers, telemetry
from otel_llmon.lifecycle.beside import Call
from otel_llmon.lifecycle.providers import Pipes

UNITS = {"traces": "spans", "logs": "log records", "metrics": "batches of metrics"}

MOMENT = 0.2
"""Seconds for which SIGTERM holds up the main thread, and in which exporters may give up when the time is over."""

INTERRUPTED = "interrupted before there was an answer"


def flush(pipes: Pipes, timeout: float) -> bool:
    """Send what there is; return whether that was done in time."""
    deadline = time.monotonic() + timeout
    telemetry.settle(last=False)
    observers.read_now(timeout / 4)
    return _are_done(_side_by_side("force_flush", pipes).values(), deadline)


def stop(pipes: Pipes, timeout: float) -> None:
    """Send what there is and shut the providers down; say in one line what could not be sent.

    Ctrl-C ends the waiting, not the saying.
    """
    calls: dict[str, Call] = {}
    try:
        _stop(pipes, timeout, calls)
    except KeyboardInterrupt:
        give_up(pipes, calls)
        raise
    _report(pipes, f"no answer within {timeout:g} s", _unanswered(pipes, calls))


def give_up(pipes: Pipes, calls: Mapping[str, Call] | None = None) -> None:
    """Say in one line what is not sent, since somebody will not wait for it."""
    _report(pipes, INTERRUPTED, _unanswered(pipes, calls or {}))


def _stop(pipes: Pipes, timeout: float, calls: dict[str, Call]) -> None:
    deadline = time.monotonic() + timeout
    for outlet in pipes.outlets:
        outlet.last = True
    telemetry.settle(last=True)
    observers.read_now(timeout / 4)
    calls |= _side_by_side("shutdown", pipes)
    if not _are_done(calls.values(), deadline):
        for outlet in pipes.outlets:
            Call(outlet.shutdown).begin()  # which may itself wait for an answer that never comes
        _are_done(calls.values(), time.monotonic() + MOMENT)  # what is refused now is counted
    observers.detach_all()


def _unanswered(pipes: Pipes, calls: Mapping[str, Call]) -> set[str]:
    return {signal_ for signal_ in pipes.providers if signal_ not in calls or not calls[signal_].is_done(0.0)}


def _side_by_side(method: str, pipes: Pipes) -> dict[str, Call]:
    """Call this method of every provider at once."""
    return {signal_: Call(getattr(provider, method)).begin() for signal_, provider in pipes.providers.items()}


def _are_done(calls: Iterable[Call], deadline: float) -> bool:
    return all(call.is_done(deadline) for call in calls)


def _unsent(pipes: Pipes) -> dict[str, int]:
    """Return what is still in a queue or on its way, by signal."""
    left: dict[str, int] = {}
    for outlet in pipes.outlets:
        queued = sum(len(queue) for queue in pipes.queues.get(outlet.signal, ()))
        if outlet.pending + queued:
            left[outlet.signal] = outlet.pending + queued
    return left


def lost(pipes: Pipes) -> dict[str, str]:
    """Return why something was not sent, by signal: it was given up, or is still waiting."""
    waiting = _unsent(pipes)
    return {
        outlet.signal: outlet.reason or "no answer in time"
        for outlet in pipes.outlets
        if outlet.lost or outlet.signal in waiting
    }


def _report(pipes: Pipes, why: str, late: set[str]) -> None:
    left = _unsent(pipes)
    lost: dict[str, int] = {}
    for outlet in pipes.outlets:
        uncollected = outlet.signal == "metrics" and outlet.signal in late and not outlet.pending + outlet.lost
        count = outlet.lost + left.get(outlet.signal, 0) + uncollected
        lost[outlet.signal] = max(lost.get(outlet.signal, 0), count)
    told = [f"{count} {UNITS[signal_]}" for signal_, count in lost.items() if count]
    if told:
        reasons = {outlet.reason for outlet in pipes.outlets if outlet.reason} or {why}
        telemetry.log.warning("not sent: %s: %s", ", ".join(told), "; ".join(sorted(reasons)))


class Doors:
    """Watches the ways out, for as long as there is something to flush."""

    def __init__(self, flush: Callable[[], bool], stop: Callable[..., Any], give_up: Callable[[], None]) -> None:
        self._flush = flush
        self._stop = stop
        self._give_up = give_up
        self._leaving: Call | None = None
        self._late = False
        self._process = 0

    def enter(self) -> None:
        """Begin in this process, which may be a forked child."""
        self._leaving = None
        self._late = False
        self._process = os.getpid()

    def watch(self) -> None:
        """Stand at every way out."""
        self.enter()
        atexit.register(self._at_exit)
        self._watch_sigterm()
        _when_imported("multiprocessing.util", self._watch_children)
        _when_imported("uvicorn.server", self._watch_uvicorn)

    def leave(self) -> None:
        """Stand there no more; what cannot be undone finds nothing to flush."""
        if self._leaving is None:
            atexit.unregister(self._at_exit)
        if _is_main_thread() and signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _at_exit(self) -> None:
        try:
            self._leave()
        except KeyboardInterrupt:  # whoever presses it once more will not wait; that is no news to them
            if self._leaving is not None:
                self._give_up()
                os.kill(os.getpid(), signal.SIGTERM)

    def _leave(self) -> None:
        if self._leaving is not None:  # SIGTERM came before, and what it began is not done
            self._leaving.is_done()
        elif self._late:  # a spawned child has spent its time where multiprocessing ends
            self._stop(MOMENT)
        else:
            self._stop()

    def _watch_sigterm(self) -> None:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return
        if _is_main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)
        else:
            telemetry.log.warning("SIGTERM will end this process unflushed: call configure() in the main thread")

    def _on_sigterm(self, number: int, _: FrameType | None) -> None:
        """Stop, then end by the same signal.

        Another thread does it, and this one waits a moment, then goes on until it is ended: it may have been in the
        middle of something, and hold a lock that the last collection needs.
        """
        signal.signal(number, signal.SIG_DFL)
        telemetry.state.ended_by = signal.Signals(number).name
        if self._process != os.getpid():  # a child that is not even set up has done nothing
            os.kill(os.getpid(), number)
        self._leaving = Call(lambda: self._leave_by(number))
        self._leaving.begin()
        self._leaving.is_done(time.monotonic() + MOMENT)

    def _leave_by(self, number: int) -> None:
        try:
            self._stop()
        finally:
            os.kill(os.getpid(), number)

    def _watch_children(self, util: Any) -> None:
        """Flush at the end of multiprocessing's children: forked ones leave by os._exit and run no atexit."""

        def flush() -> None:
            self._late = True
            with suppress(KeyboardInterrupt):  # which Ctrl-C sends to all processes of a terminal
                self._late = not self._flush()

        def at_end(_: object = None) -> None:
            util.Finalize(None, flush, exitpriority=-100)

        util.register_after_fork(self, at_end)
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:
            at_end()

    def _watch_uvicorn(self, server: Any) -> None:
        """Flush when uvicorn has answered its last request: it ends by the signal that it got, and runs no atexit."""
        from wrapt import wrap_function_wrapper

        async def shutdown(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
            import asyncio

            try:
                return await wrapped(*args, **kwargs)
            finally:
                await asyncio.to_thread(self._flush)

        wrap_function_wrapper(server, "Server.shutdown", shutdown)


def _when_imported(name: str, then: Callable[[Any], None]) -> None:
    """Call `then` with a module once somebody imports it, at once if somebody has."""
    if name in sys.modules:
        then(sys.modules[name])
        return
    from wrapt import register_post_import_hook

    register_post_import_hook(then, name)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
