"""What goes on when the function that returned it has ended: coroutines, generators of both kinds, futures."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

from otel_llmon import telemetry


def is_lasting(found: Any) -> bool:
    """Return whether something goes on whose end can be seen."""
    if inspect.isgenerator(found) or inspect.isasyncgen(found) or is_future(found):
        return True
    kind = type(found)
    if not hasattr(kind, "__await__"):
        return False
    if hasattr(kind, "__aenter__") or hasattr(kind, "add_done_callback"):
        telemetry.warn_once(
            "found a %s, whose end no breaker sees: it is more than awaited; put `async with breaker:` around it",
            kind.__name__,
        )
        return False
    return True


def is_future(found: Any) -> bool:
    """Return whether this is a future of asyncio, of concurrent.futures, or one like theirs."""
    return all(hasattr(type(found), name) for name in ("add_done_callback", "cancelled", "exception"))


def error_of(future: Any) -> BaseException | None:
    """Return how a future ended: what it was cancelled with, too."""
    try:
        return future.exception()  # type: ignore[no-any-return]
    except BaseException as exc:
        return exc


async def awaited(found: Awaitable[Any]) -> Any:
    """Return what comes of it."""
    return await found
