"""Where coroutines of checks run: in the event loop in which the check was made, else in one of our own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable
from concurrent.futures import Future
from typing import Any

from otel_llmon.checks.asking import NotWellError


class Loop:
    """An event loop to run coroutines in from other threads."""

    def __init__(self) -> None:
        try:
            self.given: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self.given = None

    def begin(self, said: Awaitable[Any]) -> Future[Any]:
        """Begin to run what can be awaited."""
        loop = _own.loop() if self.given is None else self.given
        if not loop.is_closed():
            return asyncio.run_coroutine_threadsafe(_finished(said), loop)
        if inspect.iscoroutine(said):
            said.close()  # else Python complains that nobody awaited it
        raise NotWellError("the event loop that it belongs to is closed")

    def is_here(self) -> bool:
        """Tell whether the caller would wait for itself."""
        try:
            return asyncio.get_running_loop() is self.given
        except RuntimeError:
            return False


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
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="llmon-checks-loop", daemon=True).start()
            return self._loop


_own = _Own()
renew = _own.renew
