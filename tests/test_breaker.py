"""Breaker: what opens it, what it lets through meanwhile, and what is exported of that."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import pickle
import sys
import threading

import pytest
from opentelemetry.sdk._logs import LogRecordProcessor

from otel_llmon import Breaker, breaker, phase, telemetry
from otel_llmon.errors import CircuitOpenError, LlmonError, SettingsError
from otel_llmon.testing import Recorder

TOGETHER = 50
PATIENCE = 20


class AnswerError(Exception):
    """What a client raises where the server answered with a status."""

    def __init__(self, status: int) -> None:
        self.status = status


@pytest.fixture
def made(clock):
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


def transitions(recorder):
    """How often each state was come to."""
    points = recorder.points().get("llmon.circuit.transitions", [])
    return {point.attributes["llmon.state"]: point.value for point in points}


def states(recorder):
    """What the gauge says of each state."""
    points = recorder.points().get("llmon.circuit.state", [])
    return {
        point.attributes["llmon.state"]: point.value
        for point in points
        if point.attributes["llmon.circuit"] == "ollama"
    }


# what opens it and closes it again


def test_failures_in_a_row_open_it_and_a_probe_that_works_closes_it(made, clock):
    """Five by default; then 30 seconds without a call, and one to try."""
    breaker = made(failures=5)
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


def test_failures_among_the_last_calls_open_it_too(made):
    """`failures=3, of=10` is 30 percent of ten calls, and none of fewer than three."""
    breaker = made(failures=3, of=10)
    for _ in range(5):
        fail(breaker, times=2)
        for _ in range(8):
            work(breaker)
    assert breaker.state == "closed"
    fail(breaker)
    work(breaker)
    fail(breaker, times=2)
    assert breaker.state == "open"


def test_a_probe_that_fails_opens_it_for_as_long_again(made, clock):
    """The time begins anew with the failure."""
    breaker = made(recovery=10)
    fail(breaker)
    clock.now += 10
    fail(breaker)
    clock.now += 9.9
    assert not breaker.up
    clock.now += 0.2
    assert breaker.up


def test_all_probes_must_work(made, clock):
    """With three, two are not enough."""
    breaker = made(probes=3)
    fail(breaker)
    clock.now += 30
    work(breaker)
    work(breaker)
    assert breaker.state == "half_open"
    work(breaker)
    assert breaker.state == "closed"


def test_what_began_before_it_opened_says_nothing_of_afterwards(made, clock):
    """Fifty calls that hang for a minute do not open it again after a probe has closed it."""
    breaker = made(failures=2)

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


def test_what_began_before_it_opened_is_no_probe(made, clock):
    """Neither its success nor its failure moves a half-open circuit."""
    breaker = made(probes=2)
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


def test_a_probe_that_nobody_ends_gives_its_place_up(made, clock):
    """A dropped call must not refuse all others for good; where it ends after all, it counts."""
    breaker = made(recovery=10, probes=1)
    fail(breaker)
    clock.now += 10

    @breaker
    def stream():
        yield 1
        yield 2

    dropped = stream()
    next(dropped)
    with pytest.raises(CircuitOpenError) as refused:
        _elsewhere(breaker.__enter__)
    assert refused.value.retry_after == 10
    clock.now += 11
    assert breaker.up
    assert list(dropped) == [2]
    assert breaker.state == "closed"


def _elsewhere(function):
    """Run it in another thread, which is not part of what this one does."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(PATIENCE)


def test_a_probe_may_call_the_target_by_another_function(made, clock):
    """What is decorated twice over is one call; it would refuse itself for ever."""
    breaker = made()

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


# how many pass


@pytest.mark.row("H15")
@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("form", ["with", "decorator"])
def test_of_fifty_threads_exactly_the_probes_pass(made, clock, probes, form):
    """All fifty ask at once, and none goes before all have their answer."""
    breaker = made(probes=probes)
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
def test_of_fifty_tasks_exactly_the_probes_pass(made, clock, probes, form):
    """The same with tasks of one thread."""
    breaker = made(probes=probes)
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
def test_calls_run_side_by_side(made, clock, state):
    """Four calls are in their bodies at once, and others may read the state meanwhile: no lock is held."""
    breaker = made(probes=4)
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
def test_fifty_failures_at_once_open_it_once(made, recorder):
    """One transition, one log record, whoever comes first."""
    breaker = made(failures=5)
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
            _elsewhere(meanwhile.pop())
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

        free[what] = free.get(what, True) and _elsewhere(attempt)

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


# what counts


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
def test_errors_says_which_exceptions_are_failures(made, errors, failures, answers):
    """Any other one means that the target has answered."""
    for error in failures:
        breaker = made(errors=errors)
        fail(breaker, error)
        assert breaker.state == "open"
    for error in answers:
        breaker = made(errors=errors, failures=2)
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
def test_what_says_nothing_of_the_target_changes_nothing(made, clock, neutral):
    """It ends no row of failures, and frees the place of a probe for the next call."""
    breaker = made(failures=2, errors=lambda error: not isinstance(error, AnswerError))
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


def test_cancelled_tasks_are_neutral(made, clock):
    """Closed or half open, decorated or not."""
    breaker = made()

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


def test_a_group_fails_where_one_of_it_does(made):
    """So that a task group around several calls is seen through."""
    group = ExceptionGroup("calls", [AnswerError(404), ExceptionGroup("inner", [TimeoutError()])])
    breaker = made(errors=OSError)
    fail(breaker, group)
    assert breaker.state == "open"
    breaker = made(errors=OSError, failures=1)
    fail(breaker, ExceptionGroup("calls", [AnswerError(404)]))
    assert breaker.state == "closed"


def test_an_errors_function_that_raises_replaces_nothing(made, caplog):
    """The caller gets its own exception, the log a line, and the call counts as a failure."""
    breaker = made(errors=lambda error: error.status >= 500)
    fail(breaker, TimeoutError("mine"))
    assert breaker.state == "open"
    assert "breaker 'ollama': errors: AttributeError" in caplog.text


# forms


@pytest.mark.row("H15")
def test_failures_of_every_kind_of_function_open_it(made):
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
        breaker = made()
        guarded = breaker(kind)
        assert guarded.__name__ == kind.__name__
        assert run(guarded("answer", fails=False)) == "answer"
        assert breaker.state == "closed"
        with pytest.raises(TimeoutError):
            run(guarded("answer", fails=True))
        assert breaker.state == "open", kind.__name__
        with pytest.raises(CircuitOpenError):
            run(guarded("answer", fails=False))


def test_methods_are_decorated_as_functions_are(made):
    """Static and class methods too, in either order of the decorators."""
    breaker = made()

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


def test_a_stream_that_is_left_early_has_worked(made, clock):
    """Else a circuit whose calls are streams that nobody reads to their end would never close."""
    breaker = made()

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


def test_with_may_stand_within_with(made):
    """Of several breakers, each counts its own."""
    inner, outer = made(), made(errors=ConnectionError)
    with pytest.raises(TimeoutError), outer, inner:
        raise TimeoutError
    assert (inner.state, outer.state) == ("open", "closed")


# fed from outside


@pytest.mark.row("H16")
def test_a_check_that_finds_the_target_down_opens_it(made, clock, recorder):
    """At once, for the check has its own thresholds; as long as it says so nobody tries."""
    breaker = made(failures=5, recovery=30)
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
def test_a_check_that_finds_nothing_does_not_overrule_calls(made, clock):
    """A server may answer its health check and no other call."""
    breaker = made(failures=2)
    fail(breaker)
    breaker.record(True)
    fail(breaker)
    assert breaker.state == "open"
    breaker.record(True)
    assert not breaker.up


def test_a_check_that_fell_silent_keeps_nobody_out_for_good(made, clock):
    """After the time to recover a call may try."""
    breaker = made(recovery=30)
    breaker.record(False)
    clock.now += 30
    assert breaker.up


# clocks, forks


def test_wall_clock_jumps_change_nothing(program):
    """The wall clock of this program is a day further, then a day behind."""
    done = program(
        """
        import time
        wall, jump = time.time, 0
        time.time = lambda: wall() + jump
        from otel_llmon import Breaker

        def opened(**limits):
            breaker = Breaker("x", failures=1, **limits)
            try:
                with breaker:
                    raise TimeoutError
            except TimeoutError:
                return breaker

        slow, quick = opened(recovery=60), opened(recovery=0.02)
        jump = 86_400
        print(slow.up)
        jump = -86_400
        end = time.monotonic() + 10
        while not quick.up and time.monotonic() < end:
            pass
        print(quick.up)
        """
    )
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")


FORKS = """
    import os, threading
    import otel_llmon
    from otel_llmon import Breaker
    from otel_llmon.errors import CircuitOpenError
    from otel_llmon.testing import Clock

    otel_llmon.configure("app", observers=())
    clock = Clock()

    def made(name):
        breaker = Breaker(name, failures=1, recovery=10, clock=clock)
        try:
            with breaker:
                raise TimeoutError
        except TimeoutError:
            return breaker

    def forked(function):
        child = os.fork()
        if not child:
            function()
            raise SystemExit
        assert os.waitpid(child, 0)[1] == 0

    {scene}
"""


@pytest.mark.parametrize(
    "scene",
    [
        """
    opened = made("opened")
    def child():
        assert (opened.state, opened.up) == ("open", False)
        clock.now += 10
        with opened: pass
        assert opened.state == "closed"
    forked(child)
    assert opened.state == "open", "the child's is its own"
        """,
        """
    tried = made("tried")
    clock.now += 10
    def child():
        threading.Thread(target=other).start()
    def other():  # a thread, since this one is within the probe
        with tried: pass
        assert tried.state == "closed"
        print("passed")
    with tried:
        forked(child)
        assert tried.state == "half_open"
        """,
        """
    locked = made("locked")
    held, done = threading.Event(), threading.Event()
    def hold():
        with locked._lock:
            held.set()
            done.wait(20)
    threading.Thread(target=hold).start()
    held.wait(20)
    forked(lambda: locked.up)
    done.set()
        """,
    ],
    ids=["open stays open", "the parent's probe holds no place", "a lock held elsewhere is none"],
)
def test_a_forked_child_goes_on_with_what_its_parent_knew(program, scene):
    """An open circuit is open for as long in the child; from then on each has its own."""
    done = program(FORKS.format(scene=scene))
    assert (done.returncode, done.stderr) == (0, "")
    assert ("passed" in done.stdout) == ("passed" in scene)


def test_a_forked_child_exports_its_own_state_and_none_of_its_parents_transitions(program, sink):
    """One opened in the parent and again in each of two children: three times open in all."""
    done = program(
        FORKS.format(
            scene="""
    opened = made("opened")
    clock.now += 10
    def child():
        made("childs")
    forked(child)
    forked(child)
    """
        )
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sink.totals("llmon.circuit.transitions") == 3


# what is said


@pytest.mark.row("H15")
def test_state_and_transitions_are_exported(made, recorder, clock):
    """A gauge with a series per state, a counter by the state that was come to, and one of refused calls."""
    breaker = made()
    assert states(recorder) == {"closed": 1, "half_open": 0, "open": 0}
    fail(breaker)
    assert states(recorder) == {"closed": 0, "half_open": 0, "open": 1}
    for _ in range(2):
        with pytest.raises(CircuitOpenError), breaker:
            pass
    assert recorder.value("llmon.circuit.refused", {"llmon.circuit": "ollama"}) == 2
    clock.now += 30
    with breaker:
        assert states(recorder) == {"closed": 0, "half_open": 1, "open": 0}
    assert states(recorder) == {"closed": 1, "half_open": 0, "open": 0}
    assert transitions(recorder) == {"open": 1, "half_open": 1, "closed": 1}


@pytest.mark.row("H15")
def test_a_change_is_an_event_on_the_span_and_a_log_record(made, llmon_recorder, clock):
    """With the state that it came to, and what opened it."""
    breaker = made()
    with phase("ask"):
        fail(breaker)
        clock.now += 30
        work(breaker)
    facts = [
        {"llmon.circuit": "ollama", "llmon.state": "open", "error.type": "TimeoutError"},
        {"llmon.circuit": "ollama", "llmon.state": "half_open"},
        {"llmon.circuit": "ollama", "llmon.state": "closed"},
    ]
    span = llmon_recorder.spans()["ask"]
    assert [(each.name, dict(each.attributes)) for each in span.events] == [
        ("llmon.circuit.transition", each) for each in facts
    ]
    records = llmon_recorder.logs()
    assert [dict(record.attributes) for record in records] == facts
    assert [record.severity_text for record in records] == ["WARN", "INFO", "INFO"]
    assert {record.span_id for record in records} == {span.context.span_id}


def test_breakers_of_one_name_say_the_worst(made, recorder):
    """Two workers' clients of one target: closed and open is open."""
    one, other = made(), made()
    fail(one)
    assert states(recorder)["open"] == 1
    assert other.state == "closed"


def test_a_breaker_that_is_gone_reports_no_state(recorder):
    """Its series ends."""
    gone = Breaker("gone")

    def names():
        return {point.attributes["llmon.circuit"] for point in recorder.points().get("llmon.circuit.state", [])}

    assert "gone" in names()
    del gone
    assert "gone" not in names()


def test_disabled_it_works_and_says_nothing(made, llmon_recorder, monkeypatch):
    """A breaker is more than telemetry."""
    monkeypatch.setattr(telemetry.state, "level", telemetry.DISABLED)
    breaker = made()
    fail(breaker)
    with pytest.raises(CircuitOpenError), breaker:
        pass
    assert llmon_recorder.logs() == []
    assert not [name for name, points in llmon_recorder.points().items() if "circuit" in name and points]


def test_a_refusal_says_who_and_for_how_long(made, clock):
    """It is one of ours, and survives the way from a worker process."""
    breaker = made(recovery=12)
    fail(breaker)
    clock.now += 1.5
    with pytest.raises(LlmonError) as refused, breaker:
        pass
    error = pickle.loads(pickle.dumps(refused.value))
    assert (error.name, error.retry_after) == ("ollama", 10.5)
    assert str(error) == (
        "circuit 'ollama': open for another 10.5 s; call again then, or call another target (first_up)"
    )


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"failures": 0}, "breaker 'x': failures=0: expected a whole number, 1 or more"),
        ({"failures": 2.5}, "breaker 'x': failures=2.5: expected a whole number, 1 or more"),
        ({"failures": 5, "of": 4}, "breaker 'x': failures=5: expected 4 at most, as of= says"),
        ({"probes": True}, "breaker 'x': probes=True: expected a whole number, 1 or more"),
        ({"recovery": 0}, "breaker 'x': recovery=0: expected seconds, more than 0"),
        ({"recovery": float("nan")}, "breaker 'x': recovery=nan: expected seconds, more than 0"),
        ({"recovery": "30"}, "breaker 'x': recovery='30': expected seconds, more than 0"),
        ({"errors": 500}, "breaker 'x': errors=500: expected exception classes, or a function of one"),
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
