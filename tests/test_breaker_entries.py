"""Whose entry is whose: a call counts once, wherever it ends and whatever lies within it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc

import httpx
import pytest
from circuit import PATIENCE, fail, work
from fastapi import Depends, FastAPI

from otel_llmon.errors import CircuitOpenError

TOGETHER = 50


def opened(breaker, clock):
    """Open it, and let its time pass."""
    breaker.record(False)
    clock.now += 30


async def later(fails):
    """What a client does that is asked without an `async def`."""
    await asyncio.sleep(0)
    if fails:
        raise TimeoutError
    return "answer"


class Query:
    """An awaitable of somebody's own."""

    def __init__(self, fails):
        self._fails = fails

    def __await__(self):
        return later(self._fails).__await__()


def items(fails):
    """A generator."""
    yield "answer"
    if fails:
        raise TimeoutError


async def async_items(fails):
    """An asynchronous one."""
    yield "answer"
    if fails:
        raise TimeoutError


async def consumed(generator):
    """All of an asynchronous generator."""
    return [item async for item in generator]


def in_a_thread(fails):
    """A future of a pool that has ended."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, later(fails))


async def ended(future):
    """What a future or task comes to; those who were told of its end have been."""
    try:
        return await future
    finally:
        await asyncio.sleep(0)


KINDS = {
    "coroutine": (later, asyncio.run),
    "awaitable": (Query, lambda found: asyncio.run(ended(found))),
    "generator": (items, lambda found: list(found)[-1]),
    "async generator": (async_items, lambda found: asyncio.run(consumed(found))[-1]),
    "future": (in_a_thread, lambda found: found.result(PATIENCE)),
}


# what plain functions return


@pytest.mark.row("H15")
@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_functions_call_ends_with_what_it_returned(breakers, clock, kind):
    """As a client's method that only looks like a plain function: what matters comes when it is awaited or read."""
    make, run = KINDS[kind]
    breaker = breakers(failures=2)

    @breaker
    def ask(*, fails):
        return make(fails)

    for _ in range(2):
        assert breaker.state == "closed"
        assert run(ask(fails=False)) == "answer"
        with pytest.raises(TimeoutError):
            run(ask(fails=True))
        with pytest.raises(TimeoutError):
            run(ask(fails=True))
        assert breaker.state == "open"
        with pytest.raises(CircuitOpenError):
            run(ask(fails=False))
        clock.now += 30
        assert run(ask(fails=False)) == "answer"
    assert breaker.state == "closed"


def test_a_task_that_a_plain_function_returned_stays_a_task(breakers):
    """Its end is the call's, and a cancelled one says nothing."""
    breaker = breakers()

    @breaker
    def ask(wanted):
        return asyncio.ensure_future(wanted)

    async def main():
        cancelled = ask(asyncio.sleep(PATIENCE))
        cancelled.cancel()
        await asyncio.wait([cancelled])
        await asyncio.sleep(0)
        assert breaker.state == "closed"
        with pytest.raises(TimeoutError):
            await ended(ask(later(True)))
        assert breaker.state == "open"

    asyncio.run(main())


def test_coroutines_that_are_made_at_once_are_calls_of_their_own(breakers):
    """Each counts, though all were made before the first had failed; the last is refused before it begins."""
    breaker = breakers(failures=3)
    ask = breaker(lambda: later(True))

    async def main():
        for each, error in zip([ask() for _ in range(4)], [TimeoutError] * 3 + [CircuitOpenError], strict=True):
            assert breaker.state == ("closed" if error is TimeoutError else "open")
            with pytest.raises(error):
                await each

    asyncio.run(main())


def test_a_coroutine_that_is_refused_when_it_is_awaited_leaves_no_warning(breakers, recwarn):
    """It was made while the circuit was closed, and is never begun."""
    breaker = breakers()
    made = breaker(lambda: later(False))()
    fail(breaker)
    with pytest.raises(CircuitOpenError):
        asyncio.run(made)
    gc.collect()
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async generator"])
def test_what_a_probe_returned_keeps_its_place(breakers, clock, kind):
    """Until it has ended, and whatever its maker asks meanwhile."""
    make, run = KINDS[kind]
    breaker = breakers()
    ask = breaker(lambda: make(False))
    opened(breaker, clock)
    first = ask()
    assert breaker.state == "half_open"
    with pytest.raises(CircuitOpenError):
        ask()
    assert run(first) == "answer"
    assert breaker.state == "closed"


def test_what_is_more_than_awaited_is_given_back_as_it_is_and_told_of(breakers, caplog):
    """As aiohttp's `session.get()`, which stands in an `async with` too."""

    class Request(Query):
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            pass

    breaker = breakers()
    made = Request(True)
    assert breaker(lambda: made)() is made
    assert "found a Request, whose end no breaker sees" in caplog.text


# contexts


def elsewhere(function, *given):
    """Run it in a context of its own, as a framework's threads do."""
    return contextvars.copy_context().run(function, *given)


@pytest.mark.row("H15")
def test_a_with_in_a_generator_may_be_left_in_another_context(breakers, clock):
    """Its failures open the circuit, and its probe closes it again; each time anew."""
    breaker = breakers(failures=2)

    def guarded():
        with breaker:
            yield

    def fails():
        entered = guarded()
        elsewhere(next, entered)
        with pytest.raises(TimeoutError):
            elsewhere(entered.throw, TimeoutError())

    for _ in range(3):
        fails()
        assert breaker.state == "closed"
        fails()
        assert breaker.state == "open"
        clock.now += 30
        probe = guarded()
        elsewhere(next, probe)
        assert breaker.state == "half_open"
        assert elsewhere(next, probe, None) is None
        assert breaker.state == "closed"
    assert not breaker._held


def test_a_with_in_a_generator_that_began_before_it_opened_says_nothing_of_afterwards(breakers, clock):
    """In another context too, which knows of nothing that went on since."""
    breaker, contexts = breakers(), [contextvars.copy_context() for _ in range(3)]

    def guarded():
        with breaker:
            yield

    slow = [guarded() for _ in range(3)]
    for each in slow:
        elsewhere(next, each)
    fail(breaker)
    clock.now += 30
    work(breaker)
    for each, context in zip(slow, contexts, strict=True):
        with pytest.raises(TimeoutError):
            context.run(each.throw, TimeoutError())
    assert breaker.state == "closed"


def test_a_generator_that_is_dropped_within_a_with_is_not_kept(breakers):
    """Nor is its frame, with all that it held."""
    breaker = breakers()

    def guarded():
        with breaker:
            yield

    dropped = guarded()
    elsewhere(next, dropped)
    assert breaker._held
    del dropped
    gc.collect()
    assert not breaker._held


def test_an_asynchronous_generator_may_be_left_in_another_task(breakers):
    """Where its consumer is another one."""
    breaker = breakers()

    async def guarded():
        async with breaker:
            yield

    async def main():
        generator = guarded()
        await asyncio.create_task(generator.__anext__())
        with pytest.raises(TimeoutError):
            await asyncio.create_task(generator.athrow(TimeoutError()))

    asyncio.run(main())
    assert breaker.state == "open"


def test_what_was_entered_elsewhere_is_taken_for_a_call_of_now(breakers):
    """As of an object that enters in one thread and leaves in another."""
    breaker = breakers()
    stack = contextlib.ExitStack()
    elsewhere(stack.enter_context, breaker)
    error = TimeoutError()
    elsewhere(stack.__exit__, TimeoutError, error, None)
    assert breaker.state == "open"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_dependency_of_fastapi_counts_what_its_endpoint_raises(breakers, asynchronous):
    """A plain one is entered and left in threads of a pool, each in a context of its own."""
    breaker = breakers(failures=2)

    def plain():
        with breaker:
            yield

    async def awaited():
        async with breaker:
            yield

    app = FastAPI()

    @app.get("/", dependencies=[Depends(awaited if asynchronous else plain)])
    def endpoint():
        raise TimeoutError

    async def get():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            await client.get("/")

    asyncio.run(get())
    assert breaker.state == "closed"
    asyncio.run(get())
    assert breaker.state == "open"


# probes and what is called from them


@pytest.mark.row("H15")
@pytest.mark.parametrize(("form", "through"), [("stream", 0), ("async with", 1), ("decorator", 1)])
def test_a_probe_has_one_place_whoever_is_called_from_it(breakers, clock, form, through):
    """Of fifty tasks of a probe one takes its place, and none of a consumer that has a stream open."""
    breaker = breakers()
    asked = []

    @breaker
    async def ask():
        asked.append(1)
        await asyncio.sleep(0)

    @breaker
    async def stream():
        yield 1
        yield 2

    async def all_of_them():
        return await asyncio.gather(*(ask() for _ in range(TOGETHER)), return_exceptions=True)

    async def main():
        if form == "stream":
            async for _ in stream():
                refused = await all_of_them()
                assert breaker.state == "half_open"
                break
        elif form == "async with":
            async with breaker:
                refused = await all_of_them()
        else:
            refused = await breaker(all_of_them)()
        assert sum(isinstance(each, CircuitOpenError) for each in refused) == TOGETHER - through

    opened(breaker, clock)
    asyncio.run(main())
    assert len(asked) == through


def test_a_probe_may_ask_in_a_task_or_thread_of_its_own(breakers, clock):
    """And that one once more: `wait_for()` makes a task of what it is given, and would be refused for ever."""
    breaker = breakers()

    @breaker
    def send():
        return "answer"

    @breaker
    async def post():
        return await asyncio.to_thread(send)

    @breaker
    async def chat():
        return await asyncio.create_task(post())

    opened(breaker, clock)
    assert asyncio.run(chat()) == "answer"
    assert breaker.state == "closed"


def test_a_streams_own_calls_are_part_of_it(breakers, clock):
    """Its consumer's are not."""
    breaker = breakers()

    @breaker
    def post():
        return "answer"

    @breaker
    def stream():
        yield 1
        yield post()

    opened(breaker, clock)
    reading = stream()
    assert next(reading) == 1
    with pytest.raises(CircuitOpenError):
        post()
    assert next(reading) == "answer"
    assert breaker.state == "closed"


# calls within calls


def nested_with(breaker):
    """The same `with` twice."""
    with breaker, breaker:
        raise TimeoutError


def nested_functions(breaker):
    """Two decorated functions."""

    @breaker
    def low():
        raise TimeoutError

    @breaker
    def high():
        return low()

    breaker(high)()


def function_within_with(breaker):
    """Three levels."""
    with breaker:
        nested_functions(breaker)


def with_within_function(breaker):
    """Three the other way round."""
    breaker(nested_with)(breaker)


def another_error(breaker):
    """The outer one raises an error of its own."""

    @breaker
    def high():
        try:
            nested_functions(breaker)
        except TimeoutError as exc:
            raise ConnectionError from exc

    high()


def nested_coroutines(breaker):
    """Three, of both forms."""

    async def high():
        async with breaker:
            await breaker(later)(True)

    asyncio.run(breaker(high)())


def nested_generators(breaker):
    """And a function in the inner one."""

    @breaker
    def stream():
        yield 1
        nested_functions(breaker)

    @breaker
    def outer():
        yield from stream()

    list(outer())


def within_what_is_returned(breaker):
    """A plain function that returns the coroutine of another."""
    asyncio.run(breaker(lambda: breaker(later)(True))())


@pytest.mark.row("H15")
@pytest.mark.parametrize(
    "call",
    [
        nested_with,
        nested_functions,
        function_within_with,
        with_within_function,
        another_error,
        nested_coroutines,
        nested_generators,
        within_what_is_returned,
    ],
    ids=lambda call: call.__name__,
)
def test_a_failing_call_counts_once_however_many_lie_within_each_other(breakers, call):
    """It is told by the innermost, which is the one that asked the target."""
    breaker = breakers(failures=3)
    for state in ("closed", "closed", "open"):
        with pytest.raises((TimeoutError, ConnectionError)):
            call(breaker)
        assert breaker.state == state


def test_a_call_that_works_counts_once_too(breakers):
    """Else half of all calls could fail, and be a third of what is counted."""
    breaker = breakers(failures=3, of=6)

    @breaker
    def low(fails):
        if fails:
            raise TimeoutError

    @breaker
    def high(fails):
        low(fails)

    for fails in (True, False, True, False, True):
        with contextlib.suppress(TimeoutError):
            high(fails)
    assert breaker.state == "open"


def test_what_is_asked_within_a_long_call_counts_each_time(breakers):
    """A program's main part in a `with` hides nothing; what was tried again is not forgiven."""
    breaker = breakers(failures=3)

    @breaker
    def ask():
        raise TimeoutError

    with breaker:
        for state in ("closed", "closed", "open"):
            with contextlib.suppress(TimeoutError):
                ask()
            assert breaker.state == state


def test_a_call_that_fails_by_itself_counts_though_others_failed_before(breakers):
    """One after another in the same context, the same exception object among them, each is its own."""
    breaker = breakers(failures=4)
    error = TimeoutError()

    @breaker
    def ask():
        raise error

    for state in ("closed", "closed", "closed", "open"):
        with contextlib.suppress(TimeoutError):
            ask()
        assert breaker.state == state


def test_what_a_streams_consumer_asks_does_not_speak_for_the_stream(breakers):
    """It fails by itself, and counts."""
    breaker = breakers(failures=3, of=10)

    @breaker
    def ask():
        return "answer"

    @breaker
    def stream():
        yield 1
        raise TimeoutError

    for state in ("closed", "closed", "open"):
        with contextlib.suppress(TimeoutError):
            for _ in stream():
                ask()
        assert breaker.state == state


def test_two_breakers_within_each_other_count_each_its_own(breakers):
    """The one says nothing for the other."""
    local, hosted = breakers(), breakers()

    @hosted
    @local
    def ask():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        ask()
    assert (local.state, hosted.state) == ("open", "open")
