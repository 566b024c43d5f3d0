"""A breaker among many threads and tasks: exactly so many pass, and nobody waits for another."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading

import pytest
from circuit import PATIENCE, elsewhere, fail, transitions, work
from opentelemetry.sdk._logs import LogRecordProcessor

from otel_llmon import Breaker
from otel_llmon.errors import CircuitOpenError
from otel_llmon.testing import Recorder

TOGETHER = 50


@pytest.mark.row("H15")
@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("form", ["with", "decorator"])
def test_of_fifty_threads_exactly_the_probes_pass(breakers, clock, probes, form):
    """All fifty ask at once, and none goes before all have their answer."""
    breaker = breakers(probes=probes)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            fail(breaker)
            clock.now += 30
            start, answered = threading.Barrier(TOGETHER), threading.Barrier(TOGETHER)
            through, refused = [], []

            def call(start=start, answered=answered, through=through, refused=refused):
                def body():
                    through.append(1)
                    answered.wait(PATIENCE)

                start.wait(PATIENCE)
                try:
                    if form == "with":
                        with breaker:
                            body()
                    else:
                        breaker(body)()
                except CircuitOpenError:
                    refused.append(1)
                    answered.wait(PATIENCE)

            with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
                for each in [pool.submit(call) for _ in range(TOGETHER)]:
                    each.result(PATIENCE)
            assert (len(through), len(refused)) == (probes, TOGETHER - probes)
            assert breaker.state == "closed"
    finally:
        sys.setswitchinterval(before)


@pytest.mark.row("H15")
@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("form", ["with", "async with", "decorator", "generator"])
def test_of_fifty_tasks_exactly_the_probes_pass(breakers, clock, probes, form):
    """The same with tasks of one thread."""
    breaker = breakers(probes=probes)
    through, refused = [], []

    async def main():
        answered = asyncio.Barrier(TOGETHER)

        async def body():
            through.append(1)
            await answered.wait()

        async def items():
            await body()
            yield 1

        async def passing():
            if form == "with":
                with breaker:
                    await body()
            elif form == "async with":
                async with breaker:
                    await body()
            elif form == "decorator":
                await breaker(body)()
            else:
                assert [item async for item in breaker(items)()] == [1]

        async def call():
            try:
                await passing()
            except CircuitOpenError:
                refused.append(1)
                await answered.wait()

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(call() for _ in range(TOGETHER)))

    fail(breaker)
    clock.now += 30
    asyncio.run(main())
    assert (len(through), len(refused)) == (probes, TOGETHER - probes)
    assert breaker.state == "closed"


@pytest.mark.row("H15")
@pytest.mark.parametrize("state", ["closed", "half_open"])
def test_calls_run_side_by_side(breakers, clock, state):
    """Four calls are in their bodies at once, and others may read the state meanwhile: no lock is held."""
    breaker = breakers(probes=4)
    if state == "half_open":
        fail(breaker)
        clock.now += 30
    together = threading.Barrier(5)

    @breaker
    def call():
        together.wait(PATIENCE)
        together.wait(PATIENCE)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        together.wait(PATIENCE)
        assert breaker.state == state
        assert breaker.up == (state == "closed")
        together.wait(PATIENCE)
        for each in calls:
            each.result(PATIENCE)
    assert breaker.state == "closed"


@pytest.mark.row("H15")
def test_fifty_failures_at_once_open_it_once(breakers, recorder):
    """One transition, one log record, whoever comes first."""
    breaker = breakers(failures=5)
    together = threading.Barrier(TOGETHER)

    @breaker
    def call():
        together.wait(PATIENCE)
        raise TimeoutError

    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        for each in [pool.submit(call) for _ in range(TOGETHER)]:
            assert isinstance(each.exception(PATIENCE), TimeoutError)
    assert transitions(recorder) == {"open": 1}
    assert len(recorder.logs()) == 1


def test_a_circuit_that_closes_while_a_call_asks_lets_it_through(clock):
    """Between its look at the state and its turn, another thread's probe may have worked."""
    meanwhile = []

    def now():
        if meanwhile:
            elsewhere(meanwhile.pop())
        return clock()

    guard = Breaker("x", failures=1, clock=now)
    fail(guard)
    clock.now += 30
    meanwhile.append(lambda: work(guard))
    assert guard(lambda: guard.state)() == "closed"


def test_no_lock_is_held_while_the_users_code_runs(clock):
    """Not while a call does, nor its judge, its clock, or whoever takes the log records."""
    free = {}

    def look(what):
        """Another thread tries to get the lock."""

        def attempt():
            got = guard._lock.acquire(timeout=1)
            if got:
                guard._lock.release()
            return got

        free[what] = free.get(what, True) and elsewhere(attempt)

    def now():
        look("clock")
        return clock()

    def judge(error):
        look("errors")
        return True

    class Listening(LogRecordProcessor):
        def on_emit(self, log_record):
            look("log record")

        def shutdown(self):
            pass

        def force_flush(self, timeout_millis=0):
            return True

    guard = Breaker("x", failures=1, errors=judge, clock=now)
    with Recorder() as recorder:
        recorder.logger_provider.add_log_record_processor(Listening())
        with guard:
            look("closed")
        fail(guard)
        clock.now += 30
        guard(lambda: look("half open"))()
        assert guard.up
        guard.record(False)
    assert free == dict.fromkeys(("closed", "errors", "clock", "log record", "half open"), True)
