"""When checks run, when their verdict changes, and who is told."""

from __future__ import annotations

import os
import threading
import time

import pytest
from processes import until
from serving import answer
from serving import manual as manual  # noqa: PLC0414  # a fixture
from serving import page as page  # noqa: PLC0414

from otel_llmon import checks, targets
from otel_llmon.breaker import Breaker
from otel_llmon.checks import running
from otel_llmon.checks.running import Runner
from otel_llmon.checks.verdicts import Run
from otel_llmon.semconv import health as rows
from otel_llmon.semconv.attributes import OUTCOME, TARGET, TARGET_TYPE
from otel_llmon.settings import Settings

RARELY = 3600.0


@pytest.fixture(autouse=True)
def no_checks():
    """Every test begins and ends with none."""
    yield
    checks.stop()


class Target:
    """Something that is up or down as it is told."""

    def __init__(self, up=True):
        self.up = up
        self.asked = 0

    def __call__(self):
        self.asked += 1
        if not self.up:
            raise OSError("out of order")


class Ear:
    """Who is told of changes and verdicts."""

    def __init__(self):
        self.changes, self.verdicts = [], []

    def changed(self, result):
        self.changes.append((result.up, result.reason))

    def record(self, ok):
        self.verdicts.append(ok)


def check(target, **plan):
    """A check of it, which asks when it is told to."""
    return checks.function("target", target, **{"every": RARELY, **plan})


def asked(target, one, ups):
    """What the verdicts are while the target is up and down like this."""
    verdicts = []
    for target.up in ups:
        verdicts.append(one.ask().up)
    return verdicts


def up(recorder):
    """The exported verdict."""
    return recorder.value(rows.HEALTH_UP.name, {TARGET: "target", TARGET_TYPE: "function"})


Y, N = True, False


@pytest.mark.parametrize(
    ("plan", "ups", "verdicts"),
    [
        ({}, [Y, N, Y], [True, False, True]),
        ({"fall": 3}, [Y, N, N, Y, N, N, N, Y], [True, True, True, True, True, True, False, True]),
        ({"rise": 2}, [Y, Y, N, Y, N, Y, Y], [None, True, False, False, False, False, True]),
        ({"fall": 2}, [N, N], [None, False]),
    ],
)
def test_a_verdict_changes_after_so_many_checks_in_a_row(manual, plan, ups, verdicts):
    """`rise` upwards, `fall` downwards; before there is a verdict, nobody knows."""
    target = Target()
    assert asked(target, check(target, **plan), ups) == verdicts


@pytest.mark.row("H1")
def test_a_target_is_exported_as_up_or_down_and_before_it_is_known_not_at_all(manual, recorder):
    """Never a zero that was not found."""
    target = Target()
    one = check(target, fall=2)
    assert rows.HEALTH_UP.name not in recorder.points()
    assert asked(target, one, [N]) == [None]
    assert rows.HEALTH_UP.name not in recorder.points(), "one failure of two is no verdict"
    assert asked(target, one, [Y]) == [True]
    assert up(recorder) == 1
    asked(target, one, [N])
    assert up(recorder) == 1
    asked(target, one, [N])
    assert up(recorder) == 0
    durations = {point.attributes[OUTCOME]: point.count for point in recorder.points()[rows.HEALTH_DURATION.name]}
    assert durations == {"success": 1, "failure": 3}
    one.stop()
    assert rows.HEALTH_UP.name not in recorder.points()


def test_what_is_old_is_not_exported(manual, recorder, monkeypatch):
    """A check that does not come to its turn any more says nothing about now."""
    target = Target()
    one = check(target)
    one.ask()
    assert up(recorder) == 1
    one.fresh_until = time.monotonic()
    assert rows.HEALTH_UP.name not in recorder.points()


@pytest.mark.row("H10", "H11")
def test_a_change_is_told_once_by_a_line_an_event_and_a_call(manual, recorder, caplog):
    """And not that a target is up from the start, or is still down."""
    target, ear = Target(), Ear()
    one = check(target, on_change=ear.changed)
    asked(target, one, [Y, Y, N, N, Y, Y])
    assert ear.changes == [(False, "OSError: out of order"), (True, "")]
    assert [record.getMessage() for record in caplog.records] == [
        "check target: down: OSError: out of order",
        "check target: up again after < 1 s",
    ]
    down, again = recorder.logs()
    assert (down.event_name, down.severity_text) == ("target.down", "ERROR")
    assert dict(down.attributes) == {"target": "target", "type": "function", "reason": "OSError: out of order"}
    assert (again.event_name, again.severity_text) == ("target.up", "INFO")
    assert 0 <= again.attributes["duration"] < 60
    assert down.trace_id in {span.context.trace_id for span in recorder.finished}


def test_a_target_that_is_down_from_the_start_is_told(manual, recorder, caplog):
    """That is not what anybody expects."""
    ear = Ear()
    check(Target(up=False), on_change=ear.changed).ask()
    assert ear.changes == [(False, "OSError: out of order")]
    assert len(recorder.logs()) == len(caplog.records) == 1


@pytest.mark.row("H16")
def test_a_breaker_opens_with_its_target_and_lets_calls_try_again_with_it(manual):
    """Though nobody called through it."""
    breaker = Breaker("target", failures=100)
    target = Target()
    one = check(target, breaker=breaker)
    asked(target, one, [Y])
    assert breaker.state == "closed"
    asked(target, one, [N])
    assert breaker.state == "open"
    asked(target, one, [Y])
    assert breaker.up


def test_what_a_check_that_was_stopped_still_finds_is_told_nobody(manual, recorder):
    """Its target is another one's affair by then."""
    began, release, ear = threading.Event(), threading.Event(), Ear()

    def fails():
        began.set()
        release.wait(30)
        return False

    one = check(fails, on_change=ear.changed)
    run = one._runner.begin(one)
    assert began.wait(30)
    checks.function("target", Target(), every=RARELY)
    release.set()
    assert run.told.wait(30)
    assert ear.changes == recorder.logs() == []


def test_a_breaker_hears_every_verdict(manual):
    """And nothing while there is none."""
    target, ear = Target(), Ear()
    asked(target, check(target, fall=2, breaker=ear), [Y, N, N, N, Y])
    assert ear.verdicts == [True, True, False, False, True]
    ear.verdicts.clear()
    asked(target, check(target, fall=2, breaker=ear), [N, N])
    assert ear.verdicts == [False]


def test_a_hook_that_fails_costs_nothing_but_a_line(manual, recorder, caplog):
    """The verdict stands, and the failure is counted."""

    def hook(_):
        raise ZeroDivisionError

    one = check(Target(up=False), on_change=hook)
    assert one.ask().up is False
    assert up(recorder) == 0
    assert recorder.value("llmon.self.errors", {"llmon.source": "target"}) == 1
    assert "check target: its on_change fails: ZeroDivisionError" in caplog.text


def test_a_hook_that_hangs_keeps_nobody_who_asks_longer_than_a_check_may_take(manual, monkeypatch):
    """The verdict is there, and who is told of it takes part in the same time."""
    release, waited = threading.Event(), []

    class Told(threading.Event):
        def wait(self, timeout=None):
            waited.append(timeout)
            return super().wait(0)

    begun = Run.__init__

    def begin(run, check):
        begun(run, check)
        run.told = Told()

    monkeypatch.setattr(Run, "__init__", begin)
    one = check(Target(up=False), timeout=30, on_change=lambda _: release.wait(60))
    assert one.ask().up is False
    release.set()
    assert 0 < waited[0] <= 30


def test_checks_may_come_and_go_while_they_are_exported(manual, recorder):
    """Another thread makes one at that moment."""

    class Meanwhile:
        def __gt__(self, now):
            checks.function(f"more {now}", Target(), every=RARELY)
            return True

    one = check(Target())
    one.ask()
    one.fresh_until = Meanwhile()
    assert up(recorder) == 1


def test_without_telemetry_checks_check_on(manual, monkeypatch, recorder):
    """Readiness does not hang on whether anything is exported."""
    from otel_llmon import telemetry

    monkeypatch.setattr(telemetry.state, "level", telemetry.DISABLED)
    ear = Ear()
    assert check(Target(up=False), on_change=ear.changed).ask().up is False
    assert ear.changes
    assert recorder.finished == []
    assert rows.HEALTH_DURATION.name not in recorder.points()


# by themselves


@pytest.mark.row("H12")
def test_a_hundred_targets_of_a_second_are_done_together(recorder):
    """None of them waits for another; a barrier that all must reach proves it."""
    together = threading.Barrier(100, timeout=30)
    for number in range(100):
        checks.function(f"target {number}", together.wait, every=RARELY, timeout=30)
    assert until(lambda: all(result.up for result in checks.results().values()), 40)
    assert len(recorder.points()[rows.HEALTH_UP.name]) == 100


def test_more_than_there_may_be_at_once_take_turns(monkeypatch):
    """The system's threads are not ours alone."""
    monkeypatch.setattr(running, "MOST", 3)
    busy, most, lock = [0], [0], threading.Lock()

    def work():
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(0.01)
        with lock:
            busy[0] -= 1

    for number in range(20):
        checks.function(f"target {number}", work, every=RARELY)
    assert until(lambda: all(result.up for result in checks.results().values()))
    assert most[0] <= 3


@pytest.mark.row("H1")
def test_a_check_comes_again_by_itself_and_sees_the_change():
    """Within an interval, with a little chance in it."""
    target, ear = Target(), Ear()
    one = check(target, every=0.05, on_change=ear.changed)
    assert until(lambda: one.up)
    target.up = False
    assert until(lambda: one.up is False)
    target.up = True
    assert until(lambda: one.up)
    assert ear.changes == [(False, "OSError: out of order"), (True, "")]
    one.stop()
    before = until(lambda: one.run is None) and target.asked
    other = checks.function("other", Target(), every=0.01)
    assert until(lambda: other._probe and other.result.at)
    assert target.asked == before


def test_intervals_differ_by_chance_so_that_checks_do_not_come_in_step():
    """By up to a tenth in either direction."""
    spread = []

    def note(low, high):
        spread.append((low, high))
        return high

    runner = Runner(note)
    now = time.monotonic()
    one = checks.Check(targets.Target("t", "function"), lambda *_: None, runner)
    runner.add(one)
    one.ask()
    assert spread[0] == (0.9, 1.1)
    assert 1.1 * 15 <= one.due - now < 1.1 * 15 + 10
    one.stop()


@pytest.mark.row("H7")
def test_what_cannot_be_interrupted_is_down_and_is_not_begun_again(recorder, caplog):
    """One thread waits for it, however long it takes; the others go on, and it comes back when it returns."""
    release, ear = threading.Event(), Ear()
    calls = []

    def hangs():
        calls.append(1)
        release.wait(60)

    one = check(hangs, every=0.05, timeout=0.1, on_change=ear.changed)
    other = checks.function("other", Target(), every=0.05)
    assert until(lambda: one.up is False)
    assert one.result.reason == "no answer within 0.1 s"
    seen = other.result.at
    assert until(lambda: (other.result.at or 0) > (seen or 0))
    assert one.ask().up is False
    assert len(calls) == 1
    assert until(lambda: up(recorder) == 0)
    threads = [thread for thread in threading.enumerate() if thread.name == "llmon-check-target"]
    assert len(threads) == 1
    release.set()
    assert until(lambda: one.up)
    assert ear.changes == [(False, "no answer within 0.1 s"), (True, "")]


def test_a_check_of_the_same_name_takes_the_place_of_the_other():
    """As where a module is loaded again."""
    old, new = Target(), Target(up=False)
    check(old)
    one = check(new)
    one.ask()
    assert checks.results()["target"].up is False
    assert len(checks.results()) == 1


def test_an_event_loop_is_never_held_up():
    """What is checked in other threads leaves the loop free, though the target is slow."""
    import asyncio

    release = threading.Event()

    async def program():
        one = check(lambda: release.wait(30), timeout=60)
        ticks = 0
        while ticks < 50:
            await asyncio.sleep(0)
            ticks += 1
        unknown = one.up
        release.set()
        result = await asyncio.to_thread(one.ask)
        return unknown, result.up

    assert asyncio.run(program()) == (None, True)


@pytest.mark.parametrize("mine", [False, True], ids=["in a loop of its own", "in the program's"])
def test_a_coroutine_that_exits_ends_its_own_check_only(mine):
    """The event loop goes on, the user's own as well as that of the other checks."""
    import asyncio

    async def leaves():
        raise SystemExit(3)

    async def works():
        return True

    def both():
        return checks.function("leaves", leaves), checks.function("works", works)

    async def program():
        bad, good = both()
        return await asyncio.to_thread(bad.ask), await asyncio.to_thread(good.ask)

    bad, good = asyncio.run(program()) if mine else tuple(one.ask() for one in both())
    assert (bad.up, bad.reason, good.up) == (False, "SystemExit: 3", True)


# other processes, and settings

FORKED = """
    import os, sys, time
    from otel_llmon import checks

    class Target:
        def __call__(self):
            pass

    one = checks.http("page", sys.argv[1] if len(sys.argv) > 1 else os.environ["PAGE"], every=0.05)
    while one.up is None:
        time.sleep(0.01)
    pid = os.fork()
    if not pid:
        assert one.up is None, "the child has asked nobody yet"
        end = time.monotonic() + 20
        while checks.results()["page"].up is None and time.monotonic() < end:
            time.sleep(0.01)
        print("child", one.up, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print("parent", one.ask().up)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_asks_for_itself_over_connections_of_its_own(program, page):
    """Its parent's answers on its parent's connections would be mixed up with its own."""
    page.answers["/"] = answer()
    done = program(FORKED, PAGE=page.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["child", "True", "parent", "True"]
    assert page.connections == 2


SETTINGS = """
checks:
  page: {http: "http://127.0.0.1:PORT/", every: 20, headers: {Authorization: "Bearer topsecret"}}
  models: {ollama: "127.0.0.1:PORT", model: llama3.2, required: false}
"""


def test_checks_may_be_named_in_the_settings(page, tmp_path):
    """By the same options as in code."""
    file = tmp_path / "llmon.yaml"
    file.write_text(SETTINGS.replace("PORT", str(page.port)))
    page.answers |= {"/": answer(), "/api/tags": answer({"models": [{"name": "llama3.2:latest"}]})}
    begun = checks.start(Settings.load({}, file).checks)
    assert [one.ask().up for one in begun] == [True, True]
    assert [one.plan.every for one in begun] == [20, 15]
    assert [one.plan.required for one in begun] == [True, False]
    assert {headers.get("authorization") for _, path, headers in page.asked if path == "/"} == {"Bearer topsecret"}


def test_configure_starts_the_checks_of_the_settings_and_shutdown_ends_them(program, sink, page, tmp_path):
    """So a program need not say a word of them."""
    page.answers["/"] = answer(status=503)
    (tmp_path / "llmon.yaml").write_text(f"checks: {{page: {{http: '{page.url}'}}}}\nobservers: []\n")
    done = program(
        """
        import logging, queue, otel_llmon
        from logging.handlers import QueueHandler
        from otel_llmon import checks
        lines = queue.Queue()
        logging.getLogger("otel_llmon").addHandler(QueueHandler(lines))
        with otel_llmon.configure("app", file="llmon.yaml"):
            print(lines.get(timeout=20).getMessage())
        print(checks.results())
        """
    )
    assert (done.returncode, done.stdout) == (0, "check page: down: 503 service unavailable\n{}\n"), done.stderr
    assert {rows.HEALTH_UP.name, rows.HEALTH_DURATION.name} <= sink.metrics()
    assert [record.event_name for record in sink.logs() if record.event_name] == ["target.down"]


def test_a_program_that_ends_waits_for_no_check(program):
    """Whatever hangs in it."""
    done = program(
        """
        import time
        from otel_llmon import checks
        began = []
        def hangs():
            began.append(1)
            time.sleep(600)
        checks.function("hangs", hangs, timeout=500)
        while not began:
            time.sleep(0.01)
        """,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
