"""Who is in the driver now: a child that is forked meanwhile finds the driver's locks held, and for good."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

FORK_WAITS = 0.5
"""Seconds for which a fork waits, at most, until nobody is in the driver."""

P = ParamSpec("P")
T = TypeVar("T")


class Inside:
    """A lock that whoever is in the driver holds; `amid` says that this process was forked while somebody did."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.amid = False
        self._fork = threading.local()

    def before_fork(self) -> None:
        """Wait until nobody is in the driver, but not for long."""
        self._fork.held = self.lock.acquire(timeout=FORK_WAITS)

    def after_fork(self) -> None:
        """Let the parent's threads go on."""
        if self._fork.held:
            self.lock.release()

    def after_fork_in_child(self) -> None:
        """Remember how it was."""
        self.amid = self.amid or not self._fork.held
        self.lock = threading.RLock()


inside = Inside()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=inside.before_fork,
        after_in_parent=inside.after_fork,
        after_in_child=inside.after_fork_in_child,
    )


def in_driver(function: Callable[P, T]) -> Callable[P, T]:
    """Make of a function one that counts as being in the driver."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        with inside.lock:
            return function(*args, **kwargs)

    return called
