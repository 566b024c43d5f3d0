"""A breaker when the wall clock is set, and when the process forks."""

from __future__ import annotations

import pytest


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
