"""How the time since the last reading divides among phases, so that what the whole process used can be charged to them.

At any moment the innermost phases of the threads that are in phases share what there is evenly, so that all of them
together never have more than the time that passed. Inside an asyncio event loop nobody can tell tasks apart: phases
there count nothing, and what the loop uses counts for the phase around it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping

from otel_llmon import efficiency, phases
from otel_llmon.efficiency import Place
from otel_llmon.observers.efficiency import in_event_loop
from otel_llmon.scores.efficiency import Use


class Shares:
    """A watcher of phases; it counts for as long as somebody keeps it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.renew()
        phases.watchers.append(weakref.ref(self))
        _shares.add(self)

    def renew(self) -> None:
        """Forget everyone, as in a forked child."""
        self._lock = threading.RLock()
        self._open: dict[int, list[Place]] = {}
        self._seconds: dict[Place, float] = {}
        self._since = self._began = self._clock()

    def came(self, place: Place) -> None:
        """Count what follows for this phase."""
        if not in_event_loop():
            with self._lock:
                self._count()
                self._open.setdefault(threading.get_ident(), []).append(place)

    def went(self, place: Place) -> None:
        """Count what follows for the phase around this one."""
        if in_event_loop():
            return
        with self._lock:
            self._count()
            inside = self._open.get(threading.get_ident(), [])
            if place not in inside:
                return
            inside.reverse()  # the innermost of them leaves
            inside.remove(place)
            inside.reverse()
            if not inside:
                del self._open[threading.get_ident()]

    def take(self) -> tuple[float, Mapping[Place, float]]:
        """Return the seconds since the last call, and those of each phase among them."""
        with self._lock:
            self._count()
            elapsed, self._began = self._since - self._began, self._since
            seconds, self._seconds = self._seconds, {}
            return elapsed, seconds

    def _count(self) -> None:
        now = self._clock()
        if self._open:
            each = (now - self._since) / len(self._open)
            for places in self._open.values():
                self._seconds[places[-1]] = self._seconds.get(places[-1], 0.0) + each
        self._since = now


class Spending:
    """Charges phases with the GPUs that this process holds, and with their energy."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._joules: Mapping[str, float] = {}

    def settle(self, held: Mapping[str, int], joules: Mapping[str, float]) -> None:
        """Charge for the time since the last call.

        `held` says by how many processes each GPU is held that this process holds, `joules` what each GPU has used
        in all: a GPU that several processes hold is charged to each in equal parts.
        """
        elapsed, seconds = self._shares.take()
        used = {
            name: total - self._joules[name]
            for name, total in joules.items()
            if name in held and total >= self._joules.get(name, total + 1)
        }
        self._joules = joules
        if not held or elapsed <= 0:
            return
        gpus = sum(1 / number for number in held.values())
        energy = sum(amount / held[name] for name, amount in used.items()) if used else None
        for place, share in seconds.items():
            efficiency.charge(Use(gpu=gpus * share, energy=None if energy is None else energy * share / elapsed), place)


_shares: weakref.WeakSet[Shares] = weakref.WeakSet()


def _after_fork() -> None:
    for shares in list(_shares):
        shares.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
