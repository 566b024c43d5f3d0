"""Breaker: what opens it and what closes it again, whoever says so, and for what kind of function."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from circuit import PATIENCE, elsewhere, fail, transitions, work

from otel_llmon import Breaker
from otel_llmon.errors import CircuitOpenError, SettingsError


def test_failures_in_a_row_open_it_and_a_probe_that_works_closes_it(breakers, clock):
    """Five by default; then 30 seconds without a call, and one to try."""
    breaker = breakers(failures=5)
    fail(breaker, times=4)
    work(breaker)
    fail(breaker, times=4)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"
    clock.now += 29.9
    with pytest.raises(CircuitOpenError), breaker:
        pytest.fail("the call was let through")
    clock.now += 0.2
    with breaker:
        assert breaker.state == "half_open"
    assert breaker.state == "closed"


def test_failures_among_the_last_calls_open_it_too(breakers):
    """`failures=3, of=10` is 30 percent of ten calls, and none of fewer than three."""
    breaker = breakers(failures=3, of=10)
    for _ in range(5):
        fail(breaker, times=2)
        for _ in range(8):
            work(breaker)
    assert breaker.state == "closed"
    fail(breaker)
    work(breaker)
    fail(breaker, times=2)
    assert breaker.state == "open"


def test_a_probe_that_fails_opens_it_for_as_long_again(breakers, clock):
    """The time begins anew with the failure."""
    breaker = breakers(recovery=10)
    fail(breaker)
    clock.now += 10
    fail(breaker)
    clock.now += 9.9
    assert not breaker.up
    clock.now += 0.2
    assert breaker.up


def test_all_probes_must_work(breakers, clock):
    """With three, two are not enough."""
    breaker = breakers(probes=3)
    fail(breaker)
    clock.now += 30
    work(breaker)
    work(breaker)
    assert breaker.state == "half_open"
    work(breaker)
    assert breaker.state == "closed"


def test_what_began_before_it_opened_says_nothing_of_afterwards(breakers, clock):
    """Fifty calls that hang for a minute do not open it again after a probe has closed it."""
    breaker = breakers(failures=2)

    @breaker
    def calls(then):
        then()
        raise TimeoutError

    def meanwhile():
        fail(breaker, times=2)
        clock.now += 30
        work(breaker)

    def twice_as_late():
        with pytest.raises(TimeoutError):
            calls(meanwhile)

    with pytest.raises(TimeoutError):
        calls(twice_as_late)
    assert breaker.state == "closed"


def test_what_began_before_it_opened_is_no_probe(breakers, clock):
    """Neither its success nor its failure moves a half-open circuit."""
    breaker = breakers(probes=2)
    entered = threading.Barrier(2)
    left = threading.Barrier(2)

    def slow():
        with breaker:
            entered.wait(PATIENCE)
            left.wait(PATIENCE)

    thread = threading.Thread(target=slow)
    thread.start()
    entered.wait(PATIENCE)
    fail(breaker)
    clock.now += 30
    work(breaker)
    left.wait(PATIENCE)
    thread.join(PATIENCE)
    assert breaker.state == "half_open", "the second success was no probe's"


def test_a_probe_that_nobody_ends_gives_its_place_up(breakers, clock):
    """A dropped call must not refuse all others for good; where it ends after all, it counts."""
    breaker = breakers(recovery=10, probes=1)
    fail(breaker)
    clock.now += 10

    @breaker
    def stream():
        yield 1
        yield 2

    dropped = stream()
    next(dropped)
    with pytest.raises(CircuitOpenError) as refused:
        elsewhere(breaker.__enter__)
    assert refused.value.retry_after == 10
    clock.now += 11
    assert breaker.up
    assert list(dropped) == [2]
    assert breaker.state == "closed"


def test_a_probe_may_call_the_target_by_another_function(breakers, clock):
    """What is decorated twice over is one call; it would refuse itself for ever."""
    breaker = breakers()

    @breaker
    def post():
        return "answer"

    @breaker
    def chat():
        return post()

    fail(breaker)
    clock.now += 30
    assert chat() == "answer"
    assert breaker.state == "closed"


# fed from outside


@pytest.mark.row("H16")
def test_a_check_that_finds_the_target_down_opens_it(breakers, clock, recorder):
    """At once, for the check has its own thresholds; as long as it says so nobody tries."""
    breaker = breakers(failures=5, recovery=30)
    breaker.record(None)
    breaker.record(True)
    assert breaker.state == "closed"
    for _ in range(5):
        breaker.record(False)
        assert breaker.state == "open"
        clock.now += 15
        assert not breaker.up
    assert transitions(recorder) == {"open": 1}
    breaker.record(True)
    assert breaker.up
    work(breaker)
    assert breaker.state == "closed"


@pytest.mark.row("H16")
def test_a_check_that_finds_nothing_does_not_overrule_calls(breakers, clock):
    """A server may answer its health check and no other call."""
    breaker = breakers(failures=2)
    fail(breaker)
    breaker.record(True)
    fail(breaker)
    assert breaker.state == "open"
    breaker.record(True)
    assert not breaker.up


def test_a_check_that_fell_silent_keeps_nobody_out_for_good(breakers, clock):
    """After the time to recover a call may try."""
    breaker = breakers(recovery=30)
    breaker.record(False)
    clock.now += 30
    assert breaker.up


# forms


@pytest.mark.row("H15")
def test_failures_of_every_kind_of_function_open_it(breakers):
    """Functions, coroutines, generators of both kinds, methods of all kinds: with their arguments, name and results."""

    def function(given, *, fails):
        """Say it."""
        if fails:
            raise TimeoutError
        return given

    async def coroutine(given, *, fails):
        return function(given, fails=fails)

    def generator(given, *, fails):
        received = yield given
        function(given, fails=fails)
        return received

    async def async_generator(given, *, fails):
        yield given
        function(given, fails=fails)

    def exhausted(items):
        with contextlib.suppress(StopIteration):
            while True:
                found = next(items)
        return found

    async def async_exhausted(items):
        [found] = [item async for item in items]
        return found

    for kind, run in (
        (function, lambda found: found),
        (coroutine, asyncio.run),
        (generator, exhausted),
        (async_generator, lambda found: asyncio.run(async_exhausted(found))),
    ):
        breaker = breakers()
        guarded = breaker(kind)
        assert guarded.__name__ == kind.__name__
        assert run(guarded("answer", fails=False)) == "answer"
        assert breaker.state == "closed"
        with pytest.raises(TimeoutError):
            run(guarded("answer", fails=True))
        assert breaker.state == "open", kind.__name__
        with pytest.raises(CircuitOpenError):
            run(guarded("answer", fails=False))


def test_methods_are_decorated_as_functions_are(breakers):
    """Static and class methods too, in either order of the decorators."""
    breaker = breakers()

    class Client:
        @breaker
        def plain(self, given):
            return self, given

        @breaker
        @classmethod
        def of_class(cls, given):
            return cls, given

        @staticmethod
        @breaker
        def static(given):
            return given

    client = Client()
    assert client.plain(1) == (client, 1)
    assert client.of_class(2) == (Client, 2)
    assert client.static(3) == 3
    fail(breaker)
    for method in (client.plain, client.of_class, client.static):
        with pytest.raises(CircuitOpenError):
            method(1)
    with pytest.raises(TypeError, match="expected a function to decorate"):
        breaker(Client)


def test_a_stream_that_is_left_early_has_worked(breakers, clock):
    """Else a circuit whose calls are streams that nobody reads to their end would never close."""
    breaker = breakers()

    @breaker
    def stream():
        yield from range(3)

    fail(breaker)
    clock.now += 30
    for item in stream():
        assert breaker.state == "half_open"
        if item:
            break
    assert breaker.state == "closed"


def test_with_may_stand_within_with(breakers):
    """Of several breakers, each counts its own."""
    inner, outer = breakers(), breakers(errors=ConnectionError)
    with pytest.raises(TimeoutError), outer, inner:
        raise TimeoutError
    assert (inner.state, outer.state) == ("open", "closed")


# limits


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"failures": 0}, "breaker 'x': failures=0: expected a whole number, 1 or more"),
        ({"failures": 2.5}, "breaker 'x': failures=2.5: expected a whole number, 1 or more"),
        ({"failures": 5, "of": 4}, "breaker 'x': failures=5: expected 4 at most, as of= says"),
        ({"probes": True}, "breaker 'x': probes=True: expected a whole number, 1 or more"),
        ({"recovery": 0}, "breaker 'x': recovery=0: expected seconds, more than 0, 86400 at most"),
        ({"recovery": float("nan")}, "breaker 'x': recovery=nan: expected seconds, more than 0, 86400 at most"),
        ({"recovery": 10**400}, "breaker 'x': recovery=a huge number: expected seconds, more than 0, 86400 at most"),
        ({"failures": 10**30}, "breaker 'x': failures=a huge number: expected 1,000,000 at most"),
        ({"failures": 5, "of": 1_000_001}, "breaker 'x': of=1000001: expected 1,000,000 at most"),
        ({"probes": -(10**5000)}, "breaker 'x': probes=a huge number: expected a whole number, 1 or more"),
        ({"recovery": "30"}, "breaker 'x': recovery='30': expected seconds, more than 0, 86400 at most"),
        ({"errors": 500}, "breaker 'x': errors=500: expected exception classes, or a function of one"),
        ({"errors": ()}, "breaker 'x': errors=(): expected exception classes, or a function of one"),
        ({"clock": 3}, "breaker 'x': clock=3: expected a function that returns seconds"),
        ({"errors": int}, "breaker 'x': errors=<class 'int'>: expected exception classes, or a function of one"),
    ],
)
def test_what_cannot_be_a_limit_is_refused(limits, said):
    """At once, in words."""
    with pytest.raises(SettingsError) as refused:
        Breaker("x", **limits)
    assert str(refused.value) == said


def test_a_breaker_has_a_name():
    """Used without one, it says how."""
    with pytest.raises(SettingsError, match=r'expected a name: Breaker\("ollama"\)'):

        @Breaker
        def call():
            """Do nothing."""


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\u2028b", None])
def test_a_name_is_a_word_or_two(name):
    """It is an attribute and stands in log lines."""
    with pytest.raises(SettingsError, match=r"^breaker .*: expected a name"):
        Breaker(name)


@pytest.mark.parametrize("found", [[], 0, "up", 1.0])
def test_what_is_no_verdict_changes_nothing(breakers, found):
    """It is refused, not taken for a bad one."""
    breaker = breakers()
    with pytest.raises(SettingsError, match=r"record\(.*\): expected True, False or None"):
        breaker.record(found)
    assert breaker.state == "closed"
