"""What the tests of breakers do with them."""

from __future__ import annotations

import concurrent.futures

import pytest

from otel_llmon import Breaker, breaker

PATIENCE = 20
"""Seconds after which what does not come will not come."""


@pytest.fixture
def breakers(clock):
    """A function that makes a breaker by the test's clock, which opens at the first failure unless told otherwise."""
    breaker._breakers.clear()  # those of other tests, which wait for a garbage collection
    return lambda **limits: Breaker("ollama", clock=clock, **{"failures": 1, **limits})


def fail(breaker, error=None, times=1):
    """End calls with an exception."""
    error = error or TimeoutError()
    for _ in range(times):
        with pytest.raises(type(error)), breaker:
            raise error


def work(breaker):
    """Do a call that works."""
    with breaker:
        pass


def elsewhere(function):
    """Run it in another thread, which is not part of what this one does."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(PATIENCE)


def transitions(recorder):
    """How often each state was come to."""
    points = recorder.points().get("llmon.circuit.transitions", [])
    return {point.attributes["llmon.state"]: point.value for point in points}
