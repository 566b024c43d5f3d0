"""Made-up jobs, of fourteen kinds: when each item finishes, in seconds of active time."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SHORT, LONG = (240.0, 420.0), (7_200.0, 12_600.0)
"""How long jobs take, in seconds: minutes, and thirty times as long."""


@dataclass(frozen=True)
class Job:
    """A job whose item `i` is done at `finished[i]`; `phases` are the numbers of items that a person could declare."""

    kind: str
    finished: Floats
    phases: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Return how long the job takes."""
        return float(self.finished[-1])

    def done(self, now: float) -> int:
        """Return how many items are done by then."""
        return int(np.searchsorted(self.finished, now, side="right"))


def job(kind: str, seed: int, seconds: tuple[float, float] = SHORT) -> Job:
    """Return the job of a kind that belongs to a seed."""
    chance = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    finished, phases = KINDS[kind](chance, int(np.exp(chance.uniform(np.log(60), np.log(2000)))))
    return Job(kind, finished * (chance.uniform(*seconds) / finished[-1]), phases)


def _noise(chance: Generator, items: int, spread: float = 0.2) -> Floats:
    return chance.lognormal(0.0, spread, items)


def _cut(chance: Generator, items: int, low: float, high: float) -> int:
    return max(int(items * chance.uniform(low, high)), 1)


def _constant(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    return np.cumsum(_noise(chance, items, 0.05)), (items // 3, items - items // 3)


def _warm_up(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    """Six times slower at first: for a while, or less and less."""
    warm = _cut(chance, items, 0.05, 0.25)
    slow = np.full(warm, 6.0) if chance.random() < 0.5 else np.linspace(6.0, 1.0, warm)
    return np.cumsum(_noise(chance, items) * np.append(slow, np.ones(items - warm))), (warm, items - warm)


def _startup_stall(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    """The first item waits for something that loads: a tenth to three tenths of the whole."""
    cost = _noise(chance, items)
    cost[0] += cost.sum() * chance.uniform(0.1, 0.4)
    return np.cumsum(cost), (1, items - 1)


def _slowing(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    return np.cumsum(_noise(chance, items) * np.linspace(1.0, chance.uniform(2.0, 6.0), items)), ()


def _speeding(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    return np.cumsum(_noise(chance, items) * np.linspace(chance.uniform(2.0, 6.0), 1.0, items)), ()


def _bursty(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    """Fast and slow stretches in turns, of a few percent of the items each."""
    lengths = chance.exponential(items * 0.04, 200).astype(int) + 1
    slow = np.repeat(np.arange(200) % 2, lengths)[:items]
    return np.cumsum(_noise(chance, items) * np.where(slow, 8.0, 1.0)), ()


def _heavy_tail(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    return np.cumsum(chance.pareto(1.6, items) + 0.2), ()


def _two_phases(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    """One change of speed, by a factor of two to five, up or down."""
    first = _cut(chance, items, 0.3, 0.7)
    factor = chance.uniform(2.0, 5.0) ** chance.choice([-1, 1])
    return np.cumsum(_noise(chance, items) * np.where(np.arange(items) < first, 1.0, factor)), (first, items - first)


def _outage(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    """Nothing happens for a while, somewhere in the middle, and nobody said so."""
    cost = _noise(chance, items)
    cost[_cut(chance, items, 0.2, 0.8)] += cost.sum() * chance.uniform(0.1, 0.3)
    return np.cumsum(cost), ()


def _few_slow_items(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    return np.cumsum(_noise(chance, 20 + items % 20, 0.5)), ()


def _workers(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    return _parallel(_noise(chance, items, 0.6), (16, 16), 0), ()


def _scale_out(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    """Four workers, then sixteen."""
    first = _cut(chance, items, 0.15, 0.5)
    return _parallel(_noise(chance, items, 0.4), (4, 16), first), (first, items - first)


def _parallel(costs: Floats, workers: tuple[int, int], change: int) -> Floats:
    """Return when items finish, in order; from item `change` on there are as many workers as the second number says."""
    before, after = workers
    free, finished = [0.0] * before, []
    for number, cost in enumerate(costs):
        if number == change:
            free += [max(free[0], 0.0)] * (after - before)
        finished.append(heapq.heapreplace(free, free[0] + float(cost)) + float(cost))
    return np.sort(np.array(finished))


def _stragglers(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    """The last few percent are five to ten times as large as the others."""
    last = _cut(chance, items, 0.02, 0.06)
    large = np.where(np.arange(items) < items - last, 1.0, chance.uniform(5.0, 10.0))
    return np.cumsum(_noise(chance, items) * large), (items - last, last)


def _cached(chance: Generator, items: int) -> tuple[Floats, tuple[int, ...]]:
    """What an earlier run left behind costs next to nothing, and comes first."""
    known = _cut(chance, items, 0.1, 0.5)
    return np.cumsum(_noise(chance, items) * np.where(np.arange(items) < known, 0.02, 1.0)), (known, items - known)


KINDS: dict[str, Callable[[Generator, int], tuple[Floats, tuple[int, ...]]]] = {
    "constant": _constant,
    "warm-up": _warm_up,
    "startup stall": _startup_stall,
    "slowing": _slowing,
    "speeding": _speeding,
    "bursty": _bursty,
    "heavy tail": _heavy_tail,
    "two phases": _two_phases,
    "outage": _outage,
    "few slow items": _few_slow_items,
    "workers": _workers,
    "scale-out": _scale_out,
    "stragglers": _stragglers,
    "cached": _cached,
}
TWELVE = tuple(KINDS)[:12]
