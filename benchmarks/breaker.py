"""A call through a closed circuit, beside the same call without one."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

from benchmarks.figures import MICROSECOND, Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop, Nothing
from otel_llmon import Breaker

AWAITED = 1000
"""Awaited calls of a coroutine that is driven by hand, so that no event loop is measured."""


def _bare() -> None:
    pass


async def _awaited() -> None:
    pass


def _drive(function: Callable[[], Awaitable[None]]) -> None:
    async def all_of_them() -> None:
        for _ in repeat(None, AWAITED):
            await function()

    try:
        all_of_them().send(None)
    except StopIteration:
        return


@contextmanager
def _place() -> Iterator[dict[str, Any]]:
    with pipeline() as made:
        breaker, shaken = Breaker("bench"), Breaker("shaken", failures=10, of=1_000_000)
        yield made | {
            "bare": _bare,
            "nothing": Nothing(""),
            "guarded": breaker(_bare),
            "breaker": breaker,
            "shaken": _once_failed(shaken),
            "drive": _drive,
            "awaited": _awaited,
            "guarded_awaited": breaker(_awaited),
        }


def _once_failed(breaker: Breaker) -> Callable[[], None]:
    """Return a call through a circuit that remembers a failure, so that successes are noted too."""
    with contextlib.suppress(ZeroDivisionError), breaker:
        1 / 0  # noqa: B018
    return breaker(_bare)


_LIMIT = (1.5, 0.15 * MICROSECOND)
_BARE = Loop("bare()", _place, 50_000)
_AWAITED = Loop("drive(awaited)", _place, 40, per=AWAITED)

FIGURES = (
    Figure("breaker, closed, function", Loop("guarded()", _place, 50_000), _BARE, *_LIMIT),
    Figure("breaker, closed, coroutine", Loop("drive(guarded_awaited)", _place, 40, per=AWAITED), _AWAITED, *_LIMIT),
    Figure("breaker, closed, with", Loop("with breaker: bare()", _place, 50_000), _BARE),
    Figure(
        "breaker, closed, with, beside one that does nothing",
        Loop("with breaker: bare()", _place, 50_000),
        Loop("with nothing: bare()", _place, 50_000),
        *_LIMIT,
    ),
    Figure("breaker, closed, after a failure", Loop("shaken()", _place, 20_000), _BARE),
)
