"""What one operation costs: CPU time of a loop over it, less the empty loop, as a median over rounds."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple, Protocol

Place = Callable[[], AbstractContextManager[Mapping[str, Any]]]
"""Builds what a statement needs and yields the statement's names; built afresh for every sample, outside the clock."""

_LOOP = """
def run(times):
    began = clock()
    for _ in repeat(None, times):
        {statement}
    settle()
    return clock() - began
"""


class Sampler(Protocol):
    """Something that is measured once per round."""

    @property
    def most(self) -> int | None:
        """How many rounds are enough, where one is slow and steady; None for all."""

    def __call__(self) -> float:
        """Return one sample, in nanoseconds unless its figure says otherwise."""


@dataclass(frozen=True)
class Loop:
    """A statement, run `times` times per sample; `per` says how many operations it holds.

    The clock is the calling thread's CPU time, or with `whole` the process's, until what was queued is exported.
    """

    statement: str
    place: Place
    times: int
    per: int = 1
    whole: bool = False
    most: int | None = None

    def __call__(self) -> float:
        """Return CPU nanoseconds per operation."""
        with self.place() as names:
            clock = time.process_time_ns if self.whole else time.thread_time_ns
            settle = names["settle"] if self.whole else _nothing
            run, empty = loop(self.statement, names, clock, settle), loop("pass", {}, clock, _nothing)
            run(self.times // 10 + 1)
            gc.collect()
            return max(run(self.times) - empty(self.times), 0) / (self.times * self.per)


class Nothing:
    """About the least that a context manager of one's own can cost."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace_back: object) -> None:
        pass


@contextmanager
def _place_of_nothing() -> Iterator[dict[str, Any]]:
    yield {"nothing": Nothing}


YARDSTICK = Loop('with nothing("embed"): pass', _place_of_nothing, 20_000)
"""How fast the machine is just now."""

YARD = 220.0
"""What it took, in nanoseconds, where limits in microseconds were set."""


def loop(
    statement: str, names: Mapping[str, Any], clock: Callable[[], int], settle: Callable[[], Any]
) -> Callable[[int], int]:
    """Return a function that runs `statement` a number of times and returns what the clock says of it."""
    scope = {**names, "clock": clock, "settle": settle, "repeat": repeat}
    exec(_LOOP.format(statement=statement), scope)
    return scope["run"]  # type: ignore[no-any-return]


def _nothing() -> None:
    pass


class Spread(NamedTuple):
    """The middle of some samples, and the quarter below and above it."""

    median: float
    p25: float
    p75: float

    @classmethod
    def of(cls, samples: list[float]) -> Spread:
        """Return the spread of `samples`."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(middle, low, high)


def measure(samplers: Iterable[Sampler], rounds: int, step: Callable[[], None]) -> dict[Sampler, list[float]]:
    """Run all samplers in every round, in an order of chance; `step` is called after each.

    The samples of each stand in the order of the rounds.
    """
    samples: dict[Sampler, list[float]] = {sampler: [] for sampler in samplers}
    gc.collect()
    gc.freeze()  # what this program holds itself must not make the collections of a sample dearer
    for number in range(rounds):
        for sampler in random.sample(list(samples), len(samples)):
            if sampler.most is None or number < sampler.most:
                samples[sampler].append(sampler())
                step()
    return samples
