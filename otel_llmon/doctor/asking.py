"""Asking several servers at once, and again until they have it, within a bound that holds whatever they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Generic, TypeVar

from otel_llmon.backends import Answer, Backend, BackendError

Found = TypeVar("Found")

PAUSE = 0.15
"""Seconds between two questions for the same thing."""


class Limit:
    """A point in time by which all must be done."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._end = self._started + seconds

    @property
    def spent(self) -> float:
        """Seconds since it was set."""
        return self._clock() - self._started

    def left(self, at_most: float = float("inf")) -> float:
        """Return the seconds that are left, or `at_most` if that is less."""
        return max(min(self._end - self._clock(), at_most), 0.0)


def together(questions: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, Any]:
    """Ask all at once; return each answer, or the BackendError in its place.

    Threads are left to themselves when the time is over: a resolver that hangs cannot be interrupted.
    """
    limit = Limit(seconds)
    answers: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            answers[name] = question()
        except BackendError as exc:
            answers[name] = exc
        except Exception as exc:  # a bug in a client is a line, as everything here is
            answers[name] = BackendError(name, "this question", f"{type(exc).__name__}: {exc}")

    threads = [threading.Thread(target=ask, args=each, daemon=True) for each in questions.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(limit.left())
    late = {name: BackendError(name, "its address", f"no answer within {seconds:.0f} s") for name in questions}
    return late | dict(answers)


@dataclass(frozen=True, slots=True)
class Search(Generic[Found]):
    """What became of looking for something: what was found, or the last reason why it could not be looked for."""

    found: Found | None
    seconds: float
    error: BackendError | None = None


def search(question: Callable[[], Found | None], limit: Limit) -> Search[Found]:
    """Ask until there is an answer or the time is over."""
    error: BackendError | None = None
    begun = limit.spent
    while True:
        try:
            found = question()
            error = None
        except BackendError as exc:
            found, error = None, exc
        if found is not None or not limit.left():
            return Search(found, limit.spent - begun, error)
        time.sleep(limit.left(PAUSE))


def search_all(questions: Mapping[str, Callable[[], Any]], limit: Limit) -> dict[str, Search[Any]]:
    """Search for several things at once; one that cannot be asked for is found missing, with the reason."""
    seconds = limit.left()
    looking = {name: partial(search, question, limit) for name, question in questions.items()}
    return {
        name: Search(None, seconds, said) if isinstance(said, BackendError) else said
        for name, said in together(looking, seconds + 0.5).items()
    }


@dataclass(frozen=True, slots=True)
class Met:
    """A server that answered: its version, and how far its clock is ahead of ours, in seconds."""

    version: str | None
    skew: float | None
    extra: Any = None


def meet(client: Backend, path: str, version: Callable[[], str | None], extra: Callable[[], Any] | None = None) -> Met:
    """Return what a server says about itself; raises BackendError."""
    skew = skew_of(client.ask(path), time.time())
    return Met(version(), skew, extra() if extra is not None else None)


def skew_of(answer: Answer, now: float) -> float | None:
    """Return how far the server's clock is ahead, in seconds; its Date header has cut the fraction off."""
    try:
        said = parsedate_to_datetime(answer.date or "").timestamp()
    except (TypeError, ValueError):
        return None
    middle = now - answer.took / 2
    return said + 0.5 - middle
