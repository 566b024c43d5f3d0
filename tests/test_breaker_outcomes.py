"""What the end of a call says of its target."""

from __future__ import annotations

import asyncio
import concurrent.futures

import pytest
from circuit import PATIENCE, fail, work

from otel_llmon.errors import CircuitOpenError


class AnswerError(Exception):
    """What a client raises where the server answered with a status."""

    def __init__(self, status: int) -> None:
        self.status = status


@pytest.mark.parametrize(
    ("errors", "failures", "answers"),
    [
        (Exception, [TimeoutError(), AnswerError(400)], []),
        (OSError, [TimeoutError(), ConnectionRefusedError()], [AnswerError(400), ValueError()]),
        ((OSError, AnswerError), [TimeoutError(), AnswerError(400)], [ValueError()]),
        (
            lambda error: getattr(error, "status", 500) >= 500,
            [AnswerError(503), OSError()],
            [AnswerError(404), AnswerError(429)],
        ),
    ],
)
def test_errors_says_which_exceptions_are_failures(breakers, errors, failures, answers):
    """Any other one means that the target has answered."""
    for error in failures:
        breaker = breakers(errors=errors)
        fail(breaker, error)
        assert breaker.state == "open"
    for error in answers:
        breaker = breakers(errors=errors, failures=2)
        fail(breaker, failures[0])
        fail(breaker, error)
        fail(breaker, failures[0])
        assert breaker.state == "closed", "an answer ends the row of failures"


@pytest.mark.parametrize(
    "neutral",
    [
        KeyboardInterrupt(),
        SystemExit(1),
        asyncio.CancelledError(),
        concurrent.futures.CancelledError(),
        CircuitOpenError("another", 1.0),
        BaseExceptionGroup("two", [asyncio.CancelledError(), KeyboardInterrupt()]),
        ExceptionGroup("two", [CircuitOpenError("another", 1.0), AnswerError(404)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_says_nothing_of_the_target_changes_nothing(breakers, clock, neutral):
    """It ends no row of failures, and frees the place of a probe for the next call."""
    breaker = breakers(failures=2, errors=lambda error: not isinstance(error, AnswerError))
    fail(breaker)
    fail(breaker, neutral, times=3)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"
    clock.now += 30
    fail(breaker, neutral)
    assert breaker.state == "half_open"
    assert breaker.up
    work(breaker)
    assert breaker.state == "closed"


def test_cancelled_tasks_are_neutral(breakers, clock):
    """Closed or half open, decorated or not."""
    breaker = breakers()

    @breaker
    async def decorated(entered):
        entered.set()
        await asyncio.Event().wait()

    async def within(entered):
        async with breaker:
            await _forever(entered)

    async def cancel(function):
        entered = asyncio.Event()
        task = asyncio.create_task(function(entered))
        await asyncio.wait_for(entered.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def main():
        for state in ("closed", "half_open"):
            for function in (decorated, within):
                await cancel(function)
                assert breaker.state == state
                assert breaker.up
            if state == "closed":
                fail(breaker)
                clock.now += 30

    asyncio.run(main())
    work(breaker)
    assert breaker.state == "closed"


async def _forever(entered):
    entered.set()
    await asyncio.Event().wait()


def test_a_group_fails_where_one_of_it_does(breakers):
    """So that a task group around several calls is seen through."""
    group = ExceptionGroup("calls", [AnswerError(404), ExceptionGroup("inner", [TimeoutError()])])
    breaker = breakers(errors=OSError)
    fail(breaker, group)
    assert breaker.state == "open"
    breaker = breakers(errors=OSError, failures=1)
    fail(breaker, ExceptionGroup("calls", [AnswerError(404)]))
    assert breaker.state == "closed"


def test_an_errors_function_that_raises_replaces_nothing(breakers, caplog):
    """The caller gets its own exception, the log a line, and the call counts as a failure."""
    breaker = breakers(errors=lambda error: error.status >= 500)
    fail(breaker, TimeoutError("mine"))
    assert breaker.state == "open"
    assert "breaker 'ollama': errors: AttributeError" in caplog.text
