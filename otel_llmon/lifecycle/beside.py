"""Calls in threads of their own, for the way out.

`_thread` is used as it is: `threading` takes a lock to start a thread, which whoever a signal has interrupted may hold.
"""

from __future__ import annotations

import _thread
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from otel_llmon import telemetry

LOOK = 0.5
"""Seconds between two looks at what came in, while a call is waited for."""


class Call:
    """A call, and whether it is done."""

    __slots__ = ("_done", "_make")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._done = threading.Event()

    def begin(self) -> Self:
        """Make the call beside this thread, or in it where there can be no other."""
        try:
            _thread.start_new_thread(self, ())
        except RuntimeError:  # Python 3.12.0 and 3.12.1 start no thread once the interpreter ends
            self()
        return self

    def __call__(self) -> None:
        """Make the call in this thread."""
        try:
            self._make()
        except Exception as exc:  # a provider's bug must not change how the program ends
            telemetry.log.warning("flushing: %s: %s", type(exc).__name__, exc)
        finally:
            self._done.set()

    def is_done(self, deadline: float | None = None) -> bool:
        """Wait until the call is done or `time.monotonic()` is there; return whether it is done.

        It looks up now and then: a signal just before a wait goes unnoticed in it, in CPython.
        """
        left = math.inf if deadline is None else max(deadline - time.monotonic(), 0.0)
        while not self._done.wait(min(left, LOOK)):
            left = math.inf if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return self._done.is_set()
        return True
