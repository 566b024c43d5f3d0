"""Other processes that count in a loop of this one's."""

from __future__ import annotations

import os
import textwrap

import pytest

COUNTING = """
    import multiprocessing
    import os
    import sys
    from pathlib import Path

    from otel_llmon import progress
    from otel_llmon.testing import Recorder

    def work(loop):
        for _ in range(1_000):
            loop.update()
        loop.update(2, outcome="failed", tokens=7)
        loop.update(3, outcome="skipped")
        if os.environ.get("END") == "killed":
            os.kill(os.getpid(), 9)

    def take(loop):
        global shared
        shared = loop

    def step(number):
        shared.update()
        return number

    def folders():
        return list(Path(os.environ["TMPDIR"]).glob("llmon-progress-*/*"))

    def main():
        context = multiprocessing.get_context(os.environ["HOW"])
        with Recorder() as recorder, progress(total=2 * 1_005, name="pages") as loop:
            children = [context.Process(target=work, args=(loop,)) for _ in range(2)]
            for child in children:
                child.start()
            for child in children:
                child.join()
            points = recorder.points()
            print(loop.n, {point.attributes["llmon.outcome"]: point.value for point in points["llmon.progress.items"]})
            print(points["llmon.progress.tokens"][0].value, loop.finished, len(folders()))
        print(loop.n, len(folders()))

    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize("end", ["left", "killed"])
@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_children_count_in_their_parents_loop(program, tmp_path, how, end):
    """However they were started and however they end; afterwards nothing of it is left on the disk."""
    done = program(COUNTING, HOW=how, END=end, TMPDIR=str(tmp_path))
    assert done.stdout.splitlines() == [
        "2010.0 {'completed': 2000.0, 'failed': 4.0, 'skipped': 6.0}",
        "14.0 True 2",
        "2010.0 0",
    ], done.stderr
    assert not list(tmp_path.glob("llmon-progress-*"))


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_children_count_in_parts_that_wait_for_them(program, tmp_path, how):
    """A part begins with the first step in whichever process, and is finished once all is done; nobody ends it."""
    parts = """
        with Recorder() as recorder, progress(name="pages") as loop:
            parts = [progress(total=1_005, name=name, within=loop) for name in ("odd", "even")]
            children = [context.Process(target=work, args=(part,)) for part in parts]
            for child in children:
                child.start()
                child.join()
                recorder.points()
                print(*(part.state for part in parts))
            del child, children, parts
            points = recorder.points()
            print(*(point.attributes["llmon.state"] for point in points["llmon.progress.state"] if point.value))
            print(sum(point.value for point in points["llmon.progress.items"]))
"""
    head, tail = COUNTING.index("        with Recorder()"), COUNTING.index("    if __name__") - 1
    done = program(COUNTING[:head] + parts + COUNTING[tail:], HOW=how, TMPDIR=str(tmp_path))
    assert done.stdout.splitlines()[1:] == ["finished finished", "finished finished finished", "2010.0"], done.stderr
    assert done.stdout.startswith("finished ")


def test_a_pool_counts_too(program, tmp_path):
    """Handed to each worker once, at its start."""
    pool = """
        context = multiprocessing.get_context("spawn")
        with progress(total=100, name="pages") as loop:
            with context.Pool(2, take, (loop,)) as pool:
                assert sorted(pool.imap_unordered(step, range(100))) == list(range(100))
            print(loop.n, loop.finished)
"""
    source = COUNTING[: COUNTING.index("        context =")] + pool + COUNTING[COUNTING.index("    if __name__") - 1 :]
    done = program(source, TMPDIR=str(tmp_path))
    assert done.stdout == "100.0 True\n", done.stderr


def test_a_forked_child_reports_nothing_of_its_parents_loop(program, sink):
    """The parent reports it, with what the child counted; the child its own loops."""
    done = program(
        """
        import os
        import otel_llmon as llmon

        llmon.configure("family", observers=())
        with llmon.progress(total=10, name="pages") as loop:
            loop.update(4)
            if not os.fork():
                loop.update(6)
                list(llmon.progress(range(5), "own"))
                llmon.shutdown()
                os._exit(0)
            os.wait()
        """
    )
    assert done.returncode == 0, done.stderr
    assert len(sink.instances("metrics")) == 2
    assert sink.totals("llmon.progress.items") == 15


def test_a_child_whose_parents_loop_is_over_is_not_disturbed(program, tmp_path):
    """What it counts then is lost, and nothing is raised."""
    done = program(
        """
        import os
        from otel_llmon import progress

        loop = progress(total=10, name="pages")
        loop.update(4)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.read(read, 1)
            loop.update(6)
            loop.pause()
            loop.close()
            print(loop.n, loop.state)
            os._exit(0)
        loop.close()
        os.write(write, b"x")
        print(os.waitpid(child, 0)[1], loop.n)
        """,
        TMPDIR=str(tmp_path),
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "0 4"), done.stderr
    assert "Traceback" not in done.stderr


BUSY = """
    import os, signal, threading, time
    from otel_llmon import pipeline, phase, progress

    def count(loop):
        while True:
            loop.update(outcome="failed", tokens=2)

    def work():
        while True:
            with phase("step"):
                pass

    stuck = 0
    with pipeline("ingest") as run, progress(name="pages") as loop:
        for _ in range(4):
            threading.Thread(target=count, args=(loop,), daemon=True).start()
        for _ in range(60):
            child = os.fork()
            if not child:
                loop.n, loop.rate, loop.failed
                with phase("child"):
                    pass
                run.report()
                os._exit(0)
            until = time.monotonic() + 20
            while not os.waitpid(child, os.WNOHANG)[0]:
                if time.monotonic() > until:
                    stuck += 1
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    break
                time.sleep(0.001)
        print(stuck, flush=True)
        os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_may_ask_how_far_a_loop_is_that_threads_count_in(program):
    """Whatever lock a thread of its parent held when it was forked."""
    done = program(textwrap.dedent(BUSY), timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
