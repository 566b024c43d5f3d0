"""Functions that may hang, as a driver does: called in a thread of their own, and waited for, but not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from otel_llmon import observers
from otel_llmon.errors import NoDataError

Answer = TypeVar("Answer")


class Patient(Generic[Answer]):
    """A function as it is, but for one that hangs: that is no data, and whoever comes later need not wait again."""

    def __init__(self, function: Callable[[], Answer], clock: Callable[[], float] = time.monotonic) -> None:
        self._function, self._clock = function, clock
        self._lock = threading.Lock()
        self._call: Future[Answer] | None = None
        self._began = 0.0

    def __call__(self) -> Answer:
        """Return what the function returns, to all who ask while it does; raises NoDataError where it hangs."""
        with self._lock:
            if self._call is None or self._call.done():
                self._call, self._began = self._begin(), self._clock()
            call, left = self._call, self._began + observers.PATIENCE - self._clock()
        wait((call,), max(left, 0.0))
        if not call.done():
            raise NoDataError(f"no answer for {observers.PATIENCE:g} s")
        return call.result()

    def _begin(self) -> Future[Answer]:
        call: Future[Answer] = Future()
        threading.Thread(target=self._run, args=(call,), name="llmon-asking", daemon=True).start()
        return call

    def _run(self, call: Future[Answer]) -> None:
        try:
            call.set_result(self._function())
        except BaseException as exc:  # it is whoever asked who is to see it
            call.set_exception(exc)
