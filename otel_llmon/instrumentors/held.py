"""What ends when nobody holds it any more: a stream, or a body that the program reads.

When Python lets go of an object, any lock may be held, and an exception is printed and dropped, Ctrl-C's too. So
nothing of ours runs then: a weak reference puts itself into a queue, in C, and whoever comes next ends what it stood
for: a call, the observers' beat, a collection of metrics, a flush, the exit.
"""

from __future__ import annotations

import atexit
import functools
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from otel_llmon import events, telemetry

dropped: deque[weakref.ref[Any]] = deque()
_held: dict[int, tuple[weakref.ref[Any], Callable[[], None]]] = {}


def when_dropped(thing: Any, end: Callable[[], None]) -> weakref.ref[Any]:
    """Call `end`, which must not hold `thing`, once nobody holds that, or the process ends; see `forget`."""
    _watch_exit()
    found = weakref.ref(thing, dropped.append)
    _held[id(found)] = found, end
    return found


def forget(found: weakref.ref[Any]) -> None:
    """Call nothing: it has ended."""
    _held.pop(id(found), None)


def end_dropped() -> None:
    """End what was dropped; several threads may do so at once."""
    while dropped:
        try:
            found = dropped.popleft()
        except IndexError:  # another thread was faster
            return
        if (known := _held.pop(id(found), None)) is not None:
            known[1]()


def settle(*, last: bool) -> None:
    """End what was dropped, and before the last flush what is still held."""
    end_dropped()
    if last:
        for _, end in list(_held.values()):
            end()
        _held.clear()


@functools.cache
def _watch_exit() -> None:
    """End what is there before providers are shut down that others made: they came first, so they go last."""
    atexit.register(settle, last=True)


def _at_collection() -> tuple[()]:
    end_dropped()
    return ()


def _after_fork() -> None:
    dropped.clear()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
telemetry.settlers.append(settle)
events.errors.sources["streams"] = _at_collection
