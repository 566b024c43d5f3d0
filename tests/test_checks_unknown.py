"""What nobody knows: where the cause lies here, a check says nothing of its target."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from processes import until
from serving import Page, answer, certificate
from serving import manual as manual  # noqa: PLC0414  # a fixture
from serving import page as page  # noqa: PLC0414

from otel_llmon import checks, health
from otel_llmon.breaker import Breaker
from otel_llmon.semconv import health as rows
from otel_llmon.semconv.attributes import TARGET, TARGET_TYPE

RARELY = 3600.0


@pytest.fixture(autouse=True)
def no_checks(manual):
    """Every test begins and ends with none, and asks by itself."""
    yield
    checks.stop()


def found(check):
    """The verdict and why."""
    result = check.ask()
    return result.up, result.reason


class Script:
    """A target that is up, down, or cannot be asked, as the script has it."""

    def __init__(self, script):
        self.script = iter(script)

    def __call__(self):
        turn = next(self.script)
        if turn == "?":
            raise OSError(24, "Too many open files")
        return turn == "Y"


# what lacks here

EXHAUSTED = """
    import os, resource, sqlite3
    from otel_llmon import checks
    from otel_llmon.checks.running import Runner
    Runner._start_due_ones = lambda self, now: [setattr(check, "due", now + 60) for check in self.checks.values()]
    places = {
        "page": lambda name: checks.http(name, os.environ["PAGE"]),
        "named": lambda name: checks.http(name, os.environ["PAGE"].replace("127.0.0.1", "localhost")),
        "port": lambda name: checks.tcp(name, os.environ["PAGE"].partition("//")[2]),
        "secure": lambda name: checks.http(name, os.environ["SECURE"]),
        "file": lambda name: checks.function(name, lambda: open(os.devnull).close()),
        "db": lambda name: checks.database(name, lambda: sqlite3.connect("file.db")),
    }
    made = [make(name) for name, make in places.items()]
    def take():
        held = []
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return held
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = take()
    for check in made:
        print(check.name, check.ask().up, check.result.reason)
    os.close(held.pop())
    print("with one", made[3].ask().up)
    for number in held:
        os.close(number)
    for check in made:
        print(check.name, check.ask().up, check.result.reason)
"""


def test_that_no_file_descriptor_is_left_says_nothing_of_the_targets(program, page, tmp_path):
    """Whatever resolvers, drivers and TLS make of it; afterwards all are asked as ever, with their certificates."""
    made = certificate(tmp_path)
    page.answers["/"] = answer()
    with contextlib.closing(Page(made)) as secure:
        secure.answers["/"] = answer()
        done = program(EXHAUSTED, PAGE=page.url, SECURE=secure.url, SSL_CERT_FILE=str(made))
    names, why = ("page", "named", "port", "secure", "file", "db"), "too many open files here; the target was not asked"
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *(f"{name} None {why}" for name in names),
        "with one None",
        *(f"{name} True " for name in names),
    ]
    assert done.stderr.count("nobody knows: too many open files here") == len(names)


def test_that_no_thread_is_left_says_nothing_of_the_target(monkeypatch):
    """Nobody could ask."""

    def start(self):
        raise RuntimeError("can't start new thread")

    one = checks.function("target", dict, every=RARELY)
    assert found(one) == (True, "")
    monkeypatch.setattr(threading.Thread, "start", start)
    assert found(one) == (None, "can't start new thread here; the target was not asked")
    monkeypatch.undo()
    assert found(one) == (True, "")


def test_what_is_not_known_is_exported_nowhere_and_counted(recorder, caplog):
    """No series, no duration that availability is made of, one line; and a span that says why."""
    one = checks.function("target", Script("Y??Y"), every=RARELY)
    where = {TARGET: "target", TARGET_TYPE: "function"}
    one.ask()
    for _ in range(2):
        assert one.ask().up is None
        assert rows.HEALTH_UP.name not in recorder.points()
    [count] = [point.count for point in recorder.points()[rows.HEALTH_DURATION.name]]
    assert count == 1
    assert recorder.value("llmon.self.errors", {"llmon.source": "target"}) == 2
    assert len(caplog.records) == 1
    assert {span.status.description for span in recorder.finished} == {None, one.result.reason}
    assert health.health()[1]["components"]["target"]["status"] == "unknown"
    assert one.ask().up is True
    assert recorder.value(rows.HEALTH_UP.name, where) == 1


@pytest.mark.parametrize(
    ("script", "plan", "changes", "verdicts"),
    [
        ("Y?Y", {}, [], [True, True]),
        ("Y?N", {}, [False], [True, False]),
        ("N?N", {}, [False], [False, False]),
        ("N?Y", {}, [False, True], [False, True]),
        ("?Y", {}, [], [True]),
        ("YN?NN", {"fall": 2}, [False], [True, True, True, False]),
    ],
)
def test_a_gap_is_no_change_and_no_verdict(script, plan, changes, verdicts):
    """Hooks and breakers hear of targets, and not of us; after it, `rise` and `fall` begin anew."""
    heard, told = [], []

    class Ear:
        def record(self, ok):
            told.append(ok)

    one = checks.function(
        "target", Script(script), every=RARELY, on_change=lambda result: heard.append(result.up), breaker=Ear(), **plan
    )
    for _ in script:
        one.ask()
    assert (heard, told) == (changes, verdicts)


def test_since_when_a_target_is_down_does_not_begin_anew_after_a_gap():
    """Nobody saw it up in between."""
    one = checks.function("target", Script("N?N"), every=RARELY)
    since = one.ask().since
    assert one.ask().since > since
    assert one.ask().since == since


def test_since_when_nobody_knows_does_not_begin_anew_with_each_check():
    """As with every verdict."""
    one = checks.function("target", Script("??Y?"), every=RARELY)
    since = one.ask().since
    assert one.ask().since == since
    one.ask()
    assert one.ask().since > since


def test_what_cannot_be_asked_is_not_tried_again_at_once():
    """A retry would find the same."""
    script = Script("?Y")
    assert checks.function("target", script, every=RARELY, retries=3).ask().up is None
    assert next(script.script) == "Y"


def test_a_place_that_is_on_no_disk_is_neither_full_nor_empty():
    """It has no blocks."""
    assert found(checks.disk("proc", "/proc", every=RARELY)) == (None, "/proc has no blocks: it lies on no disk")


# functions of which nothing runs


def test_a_generator_that_a_function_returns_has_checked_nothing():
    """Where that cannot be seen before."""

    def ask():
        yield 1

    assert found(checks.function("target", lambda: ask(), every=RARELY)) == (  # noqa: PLW0108
        None,
        "it returned a generator, of which nothing has run",
    )


# event loops


def test_a_coroutine_that_blocks_is_down_and_its_neighbours_are_not():
    """They share a loop; that it is held up is no fault of theirs."""
    release, works = threading.Event(), threading.Event()

    async def blocks():
        release.wait(60)

    async def neighbour():
        works.set()

    bad = checks.function("bad", blocks, every=RARELY, timeout=0.3)
    good = checks.function("good", neighbour, every=RARELY, timeout=0.3)
    assert found(bad) == (False, "no answer within 0.3 s")
    assert found(good) == (None, "the event loop that it belongs to is held up by something else")
    assert not works.is_set()
    release.set()
    assert until(lambda: bad.run is None and good.run is None)
    assert found(bad) == found(good) == (True, "")


def test_a_coroutine_in_a_loop_that_the_program_holds_up_is_not_down():
    """The target may well be there."""

    async def target():
        pass

    async def program():
        one = checks.function("target", target, every=RARELY, timeout=0.3)
        assert one._runner.begin(one).told.wait(20)  # the loop stands still until there is a verdict
        return one.result

    result = asyncio.run(program())
    assert (result.up, result.reason) == (None, "the event loop that it belongs to is held up by something else")


def test_a_coroutine_that_hangs_in_a_loop_that_lives_is_down():
    """It is its own fault."""

    async def program():
        one = checks.function("target", lambda: asyncio.sleep(60), every=RARELY, timeout=0.2)
        return await asyncio.to_thread(one.ask)

    result = asyncio.run(program())
    assert (result.up, result.reason) == (False, "no answer within 0.2 s")


def test_a_coroutine_that_takes_no_notice_of_its_end_is_not_begun_again():
    """It is down until it ends by itself, and costs one task."""
    begun, release = [], threading.Event()

    async def stubborn():
        begun.append(1)
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    one = checks.function("target", stubborn, every=RARELY, timeout=0.1, retries=3)
    for _ in range(3):
        assert found(one) == (False, "no answer within 0.1 s")
    assert len(begun) == 1
    release.set()
    assert until(lambda: one.run is None)
    assert found(one) == (True, "")
    assert len(begun) == 2


def test_a_coroutine_whose_loop_is_gone_or_rests_says_nothing(recwarn):
    """Neither while the loop is between two runs, nor after its end; nor does Python complain."""

    async def target():
        pass

    async def make():
        return checks.function("target", target, every=RARELY)

    loop = asyncio.new_event_loop()
    one = loop.run_until_complete(make())
    assert found(one) == (None, "the event loop that it belongs to does not run")
    assert loop.run_until_complete(asyncio.to_thread(one.ask)).up is True
    loop.close()
    assert found(one) == (None, "the event loop that it belongs to is closed")
    assert [str(warning.message) for warning in recwarn.list] == []


def test_a_coroutine_that_ends_with_its_program_says_nothing():
    """`asyncio.run` cancels what is left."""
    began = threading.Event()

    async def target():
        began.set()
        await asyncio.sleep(60)

    async def program():
        one = checks.function("target", target, every=RARELY, timeout=60)
        run = one._runner.begin(one)
        await asyncio.to_thread(began.wait)
        return run, one

    run, one = asyncio.run(program())
    assert run.told.wait(20)
    assert (one.up, one.result.reason) == (None, "somebody cancelled it")


def test_a_breaker_that_is_told_what_is_not_known_stays_as_it_is():
    """As a check tells it, or a program by itself."""
    breaker = Breaker("target", failures=1)
    checks.function("target", Script("?"), every=RARELY, breaker=breaker).ask()
    breaker.record(None)
    assert breaker.state == "closed"
