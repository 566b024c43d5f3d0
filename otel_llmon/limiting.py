"""How many of a kind may pass: a bucket of tokens for each kind, exact with many threads and cheap when it refuses.

A token is taken from a list, which needs no lock and no clock. Only an empty list is filled again, a few tokens at a
time, from the bucket's own account; that account holds so much less than the burst that both together keep the law:
in any stretch of t seconds at most `burst + rate * t` pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from itertools import repeat

from otel_llmon.metering import cells

SECONDS = 10.0
"""A burst is what the rate allows in this time."""

MOST = 1000
"""Kinds with a bucket of their own; all further ones share one."""

_HANDFUL = 16


class Bucket:
    """The tokens of one kind."""

    __slots__ = ("_account", "_clock", "_due", "_rate", "_seen", "_tokens", "told")

    def __init__(self, rate: Callable[[], float], clock: Callable[[], float]) -> None:
        self.told = False
        """Whether somebody was told that something did not pass."""
        self._rate = rate
        self._clock = clock
        self._tokens: list[None] = []
        self._account = burst(rate())
        self._seen = self._due = clock()

    def take(self) -> bool:
        """Return whether one more may pass now."""
        if self._tokens:
            try:
                self._tokens.pop()
            except IndexError:  # another thread took the last one
                return self._fill()
            return True
        return self._fill()

    def _fill(self) -> bool:
        """Put a handful of tokens on the list and take one, if the account has any."""
        clock, rate = self._clock, self._rate()
        if not rate:
            return True
        now = clock()
        if now < self._due:
            return False
        with cells.lock:
            if self._tokens:  # another thread filled it meanwhile
                return self.take()
            self._earn(now, rate)
            handful = int(min(self._account, _handful(rate)))
            self._account -= handful
            if not handful:
                self._due = now + (1 - self._account) / rate
                return False
            self._tokens.extend(repeat(None, handful - 1))
            return True

    def _earn(self, now: float, rate: float) -> None:
        room = burst(rate) - _handful(rate) + 1
        if self._account < room:
            self._account = min(room, self._account + max(now - self._seen, 0.0) * rate)
        self._seen = max(now, self._seen)


class Limiter:
    """Buckets by kind. `rate` is asked whenever a bucket is filled; at 0 everything passes."""

    def __init__(self, rate: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._buckets: dict[Hashable, Bucket] = {}
        self._others: Bucket | None = None

    def of(self, kind: Hashable) -> Bucket:
        """Return the bucket of this kind."""
        try:
            return self._buckets[kind]
        except KeyError:
            return self._new(kind)

    def forget(self) -> None:
        """Start again with full buckets."""
        self._buckets.clear()
        self._others = None

    def _new(self, kind: Hashable) -> Bucket:
        with cells.lock:
            if len(self._buckets) < MOST:
                return self._buckets.setdefault(kind, Bucket(self._rate, self._clock))
            if self._others is None:
                self._others = Bucket(self._rate, self._clock)
            return self._others


def burst(rate: float) -> float:
    """Return how many may pass at once after a quiet time."""
    return max(rate * SECONDS, 1.0)


def _handful(rate: float) -> int:
    """Return how many tokens may lie ready: few beside a burst."""
    return max(int(min(burst(rate) / 4, _HANDFUL)), 1)
