"""Which loop a new one stands in, where nothing but the nesting of `for`s says so."""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from asyncio import Task
    from typing import Any

    from otel_llmon.progress.loops import Loop

KEPT = 64
"""Loops that one thread or task goes over and that are looked through for the innermost one."""


class _Thread(threading.local):
    """The loops that this thread goes over, the newest last."""

    def __init__(self) -> None:
        self.loops: deque[Loop] = deque(maxlen=KEPT)


_thread = _Thread()
_tasks: WeakKeyDictionary[Task[Any], deque[Loop]] = WeakKeyDictionary()


def iterates(loop: Loop) -> None:
    """Note that this thread, or in asyncio this task, begins to go over a loop's items."""
    _here().append(loop)


def around() -> Loop | None:
    """Return the loop in whose body this thread or task is.

    That is the newest it goes over. One that has handed nothing out is no loop that anybody is in: as in `zip()`, the
    next one is begun beside it, and stands where that does.
    """
    loops = _here()
    while loops and not loops[-1].books.iterating:
        loops.pop()
    if not loops:
        return None
    newest = loops[-1]
    return newest if newest.books.handed else newest.around


def forget() -> None:
    """Leave all loops to the parent, in a forked child."""
    _thread.loops.clear()
    _tasks.clear()


def _here() -> deque[Loop]:
    asyncio = sys.modules.get("asyncio")
    try:
        task = asyncio.current_task() if asyncio else None
    except RuntimeError:
        task = None
    if task is None:
        return _thread.loops
    loops = _tasks.get(task)
    if loops is None:
        loops = _tasks[task] = deque(maxlen=KEPT)
    return loops
