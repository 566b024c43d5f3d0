"""What was let go of before all of it was told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from otel_llmon.metering.binding import api

T = TypeVar("T")


class Left(Generic[T]):
    """Things that nobody holds any more, until somebody has time for them.

    A finalizer may run anywhere, whatever is locked there, so it does nothing but leave them here. What was made for
    another provider than the one that is global now is nobody's business any more.
    """

    def __init__(self) -> None:
        self._left: deque[tuple[T, Any]] = deque()

    def leave(self, one: T, provider: Any) -> None:
        """Let somebody else see to this, which was made for a provider, or before there was one."""
        self._left.append((one, provider))

    def taken(self) -> Iterator[T]:
        """Yield what was left; whoever takes it sees to it."""
        while self._left:
            try:
                one, provider = self._left.popleft()
            except IndexError:  # another thread was quicker
                return
            if provider in (None, api._METER_PROVIDER):
                yield one

    def forget(self) -> None:
        """See to nothing, as a forked child does."""
        self._left.clear()


def provider() -> Any:
    """Return the provider that is global now; None before there is one."""
    return api._METER_PROVIDER
