"""Where coroutines of checks run: in the event loop in which the check was made, else in one of our own."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
from collections.abc import Awaitable
from typing import Any

from otel_llmon.checks.asking import Asking, NotWellError, NoVerdictError

CLOSED = "the event loop that it belongs to is closed"
IDLE = "the event loop that it belongs to does not run"
HELD = "the event loop that it belongs to is held up by something else"
NOTICE = 0.1
"""Share of the time at its end in which a loop must give a sign of life, else it is no fault of the coroutine's."""
LOOK_AGAIN = 1.0
"""Seconds after which one that waits for a coroutine looks whether its loop is still there."""


class Loop:
    """An event loop to run coroutines in from other threads."""

    def __init__(self) -> None:
        try:
            self.given: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self.given = None

    def begin(self, said: Awaitable[Any]) -> Ongoing:
        """Begin to run what can be awaited; raises NoVerdictError where its loop runs nothing."""
        loop = _own.loop() if self.given is None else self.given
        if loop is self.given and not loop.is_running():
            _drop(said)
            raise NoVerdictError(_state(loop))
        return Ongoing(said, loop)

    def is_here(self) -> bool:
        """Tell whether the caller would wait for itself."""
        try:
            return asyncio.get_running_loop() is self.given
        except RuntimeError:
            return False


class Ongoing:
    """What is awaited in an event loop, as a thread outside sees it."""

    def __init__(self, said: Awaitable[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._said = said
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._given_up = False
        self._alive: threading.Event | None = None
        self._ended = threading.Event()
        if not self._soon(self._begin):
            _drop(said)
            raise NoVerdictError(CLOSED)

    def result(self, asking: Asking) -> Any:
        """Return what comes of it in time; else it is cancelled, and may linger on."""
        if not self._ends_by(asking.deadline - NOTICE * asking.seconds):
            asking.excuse = self._excuse
            self._alive = threading.Event()
            self._soon(self._alive.set)
            if not self._ends_by(asking.deadline):
                self._give_up(asking)
        if self._task is None or self._task.cancelled():
            raise NoVerdictError("somebody cancelled it")
        return self._task.result()

    def _ends_by(self, deadline: float) -> bool:
        return self._ended.wait(max(deadline - time.monotonic(), 0))

    def _give_up(self, asking: Asking) -> None:
        self._given_up = True
        self._soon(self._cancel)
        asking.lingering = self._linger
        excuse = self._excuse()
        raise NoVerdictError(excuse) if excuse else TimeoutError

    def _excuse(self) -> str | None:
        """Return why the loop did not come to it; None where it did, or where it is the one that holds up the loop."""
        if self._alive is None or self._alive.is_set() or self._is_what_runs():
            return None
        return HELD if self._loop.is_running() else _state(self._loop)

    def _is_what_runs(self) -> bool:
        return self._task is not None and asyncio.current_task(self._loop) is self._task

    def _linger(self) -> None:
        """Wait until it ends, if it does."""
        while not self._ended.wait(LOOK_AGAIN) and self._loop.is_running():
            pass

    # in the event loop

    def _soon(self, call: Any) -> bool:
        with contextlib.suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(call)
            return True
        return False

    def _begin(self) -> None:
        if self._given_up:
            _drop(self._said)
            self._ended.set()
            return
        self._task = self._loop.create_task(_finished(self._said))
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # else asyncio complains of one that nobody waits for any more
        self._ended.set()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _state(loop: asyncio.AbstractEventLoop) -> str:
    return CLOSED if loop.is_closed() else IDLE


def _drop(said: Awaitable[Any]) -> None:
    if inspect.iscoroutine(said):
        said.close()  # else Python complains that nobody awaited it


async def _finished(said: Awaitable[Any]) -> Any:
    try:
        return await said
    except (SystemExit, KeyboardInterrupt) as exc:  # it would end the event loop, the user's own among them
        raise NotWellError(f"{type(exc).__name__}: {exc}") from exc


class _Own:
    """The event loop of checks that were made in none; its thread begins with the first of them."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Forget it, as in a forked child, where its thread is not."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name="llmon-checks-loop", daemon=True).start()
                self._loop = loop  # after its thread, of which the system may have no more
            return self._loop


_own = _Own()
renew = _own.renew
