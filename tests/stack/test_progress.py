"""Progress as Prometheus, Jaeger and Loki know it."""

from __future__ import annotations

import json
import signal
import time
from contextlib import contextmanager

import pytest
from servers import until

STEPS = """
    import time
    from pathlib import Path
    import otel_llmon as llmon
    from otel_llmon import phase, pipeline, progress, telemetry
    from otel_llmon.testing import Clock

    handle = llmon.configure("{service}", observers=())

    def told(step):
        '''Send what there is, say so, and wait until somebody has looked.'''
        handle.flush()
        Path(f"told-{{step}}").touch()
        while not Path(f"seen-{{step}}").exists():
            time.sleep(0.02)
"""


class Steps:
    """A program that sends what it has, step by step, and waits until somebody looked."""

    def __init__(self, folder, process):
        self.folder = folder
        self.process = process

    @contextmanager
    def at(self, step):
        """While the program stands at this step."""
        until(lambda: (self.folder / f"told-{step}").exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()
        yield
        (self.folder / f"seen-{step}").touch()


@pytest.fixture
def steps(stack, program):
    """Start a program of steps: `steps("service", source)`."""
    begun = []

    def start(service, source, **environ):
        head = program.write("head.py", STEPS.format(service=service)).read_text()
        body = program.write("body.py", source).read_text()
        file = program.write("program.py", "")
        file.write_text(head + body)
        begun.append(program.start([*program.command("")[:-1], str(file)], **stack.environ, **environ))
        file.write_text(head + body)
        return Steps(program.folder, begun[-1])

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def ran(program, stack, source, **environ):
    """Run a program to its end."""
    done = program(source, **stack.environ, **environ)
    assert done.returncode == 0, done.stderr


def asked(stack, expr):
    """The one value of a query, or None."""
    found = stack.prometheus.query(expr)
    return found.value if len(found) == 1 else None


@pytest.mark.row("A1")
@pytest.mark.row("A2")
@pytest.mark.row("A5")
def test_every_step_of_eight_threads_arrives(stack, program):
    """Done, by outcome, and in all; the total beside it."""
    ran(
        program,
        stack,
        """
        import threading
        import otel_llmon as llmon

        llmon.configure("threads", observers=())
        with llmon.progress(total=800_000, name="steps") as loop:
            def count():
                for _ in range(98_000):
                    loop.update()
                for _ in range(1_000):
                    loop.update(outcome="failed")
                for _ in range(1_000):
                    loop.update(outcome="skipped")
            threads = [threading.Thread(target=count) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        """,
    )
    mine = '{service_name="threads",llmon_operation="steps"}'
    until(lambda: asked(stack, f"sum(llmon_progress_items_total{mine})") == 800_000)
    by = stack.prometheus.query(f"sum by (llmon_outcome) (llmon_progress_items_total{mine})")
    assert {one.labels["llmon_outcome"]: one.value for one in by} == {
        "completed": 784_000,
        "failed": 8_000,
        "skipped": 8_000,
    }
    assert asked(stack, f"llmon_progress_total{mine}") == asked(stack, f"llmon_progress_done{mine}") == 800_000


@pytest.mark.row("A4")
@pytest.mark.row("A7")
@pytest.mark.row("A9")
def test_a_pause_is_seen_and_the_remaining_time_stands_still(stack, steps):
    """By a clock that the program moves; what it reads itself is what is exported."""
    run = steps(
        "pausing",
        """
    telemetry.state.clock = clock = Clock()
    with progress(total=100, name="pages") as loop:
        for _ in range(40):
            clock.now += 2
            loop.update()
        Path("eta").write_text(str(loop.eta))
        told("running")
        loop.pause()
        clock.now += 60
        told("paused")
        loop.resume()
        told("resumed")
        loop.cancel()
        told("cancelled")
    """,
    )
    mine = 'service_name="pausing",llmon_operation="pages"'
    eta = f'llmon_progress_eta_seconds{{{mine},quantile="0.5"}}'
    state = f"llmon_progress_state{{{mine}}} == 1"

    def in_state(word):
        until(lambda: [one.labels["llmon_state"] for one in stack.prometheus.query(state)] == [word])

    with run.at("running"):
        in_state("running")
        before = asked(stack, eta)
        assert before == pytest.approx(float((run.folder / "eta").read_text()), rel=1e-9)
        assert before == pytest.approx(120, rel=0.05)
        assert abs(asked(stack, f"llmon_progress_last_update_seconds{{{mine}}}") - time.time()) < 30
    with run.at("paused"):
        in_state("paused")
        assert abs(asked(stack, eta) - before) < 2
    with run.at("resumed"):
        in_state("running")
        assert abs(asked(stack, eta) - before) < 2
    with run.at("cancelled"):
        in_state("cancelled")
    assert run.process.wait(20) == 0


@pytest.mark.row("A6")
def test_the_remaining_time_follows_a_slow_down(stack, steps):
    """Twenty items after items began to take twice as long, it is within 15 % of the truth."""
    run = steps(
        "slowing",
        """
    telemetry.state.clock = clock = Clock()
    with progress(total=200, name="pages") as loop:
        for number in range(80):
            clock.now += 1 if number < 60 else 2
            loop.update()
            loop.eta
        told("slow")
    """,
    )
    with run.at("slow"):
        eta = 'llmon_progress_eta_seconds{service_name="slowing",quantile="0.5"}'
        assert until(lambda: asked(stack, eta)) == pytest.approx(240, rel=0.15)


@pytest.mark.row("A8")
def test_the_band_holds_the_true_time_in_four_of_five_jobs(stack, steps):
    """Fifty jobs of uneven items, asked at some moment of their life."""
    run = steps(
        "banded",
        """
    import json, random
    telemetry.state.clock = clock = Clock()
    chance, truth, loops = random.Random(8), {}, []
    for job in range(50):
        items = [chance.lognormvariate(0, 0.6) for _ in range(chance.randrange(60, 200))]
        asked_at = int(len(items) * chance.uniform(0.15, 0.85))
        loop = progress(total=len(items), name=f"job-{job}")
        for item in items[:asked_at]:
            clock.now += item
            loop.update()
            loop.eta
        loop.pause()
        loops.append(loop)
        truth[f"job-{job}"] = sum(items[asked_at:])
    Path("truth").write_text(json.dumps(truth))
    told("all")
    """,
    )
    with run.at("all"):
        truth = json.loads((run.folder / "truth").read_text())

        def edge(quantile):
            query = f'llmon_progress_eta_seconds{{service_name="banded",quantile="{quantile}"}}'
            found = until(lambda: (found := stack.prometheus.query(query)) and len(found) == 50 and found)
            return {one.labels["llmon_operation"]: one.value for one in found}

        low, high = edge("0.1"), edge("0.9")
        inside = sum(low[job] <= seconds <= high[job] for job, seconds in truth.items())
        assert 40 <= inside < 50
        assert all(high[job] < 3 * truth[job] for job in truth)


@pytest.mark.row("A10")
@pytest.mark.row("A14")
@pytest.mark.row("A17")
def test_rates_are_those_of_the_script(stack, steps):
    """Items and tokens per second, from counters that move at each export."""
    run = steps(
        "steady",
        """
    begun = time.monotonic()
    with progress(total=100_000, name="pages") as loop:
        for number in range(1, 100_000):
            time.sleep(max(begun + number * 0.02 - time.monotonic(), 0))
            loop.update(tokens=10)
            if Path("enough").exists():
                break
        Path("rate").write_text(str(loop.rate))
    """,
        OTEL_METRIC_EXPORT_INTERVAL="500",
    )
    mine = 'service_name="steady",llmon_operation="pages"'
    items, tokens = (f"llmon_progress_{name}_total{{{mine}}}" for name in ("items", "tokens"))
    until(lambda: (asked(stack, f"count_over_time({items}[10s])") or 0) >= 18)
    assert asked(stack, f"rate({items}[8s])") == pytest.approx(50, rel=0.05)
    assert asked(stack, f"rate({tokens}[8s])") == pytest.approx(500, rel=0.05)
    assert (asked(stack, f"changes({items}[8s])") or 0) >= 7
    (run.folder / "enough").touch()
    assert run.process.wait(20) == 0
    assert float((run.folder / "rate").read_text()) == pytest.approx(50, rel=0.05)


@pytest.mark.row("A3")
@pytest.mark.row("A11")
@pytest.mark.row("A13")
@pytest.mark.row("A18")
@pytest.mark.row("A21")
def test_loops_and_phases_are_one_tree(stack, program):
    """Loops in a `with` and the phases among them are spans; metrics carry the path and the phase."""
    ran(
        program,
        stack,
        """
        import time
        import otel_llmon as llmon
        from otel_llmon import phase, progress

        llmon.configure("tree", observers=())
        try:
            with progress(total=2, name="epochs") as epochs:
                with phase("extraction"):
                    with progress(total=5, name="pages") as pages:
                        for number in range(5):
                            pages.update(info={"processed_item": f"page-{number}"})
                    time.sleep(0.2)
                epochs.update()
                raise KeyError("page 6")
        except KeyError:
            pass
        """,
    )
    trace = until(lambda: stack.jaeger.find("tree", start=time.time() - 600, end=time.time() + 10))[0]
    [epochs], [extraction], [pages] = (trace.named(name) for name in ("epochs", "extraction", "pages"))
    assert (extraction.parent_id, pages.parent_id) == (epochs.span_id, extraction.span_id)
    assert [event.attributes["processed_item"] for event in pages.events] == [f"page-{number}" for number in range(5)]
    assert (epochs.status, epochs.attributes["error.type"], epochs.attributes["llmon.state"]) == (
        "error",
        "KeyError",
        "failed",
    )
    mine = 'service_name="tree"'
    until(lambda: asked(stack, f'llmon_progress_state{{{mine},llmon_operation="epochs",llmon_state="failed"}}') == 1)
    items = f'llmon_progress_items_total{{{mine},llmon_operation="epochs/pages",llmon_phase="extraction"}}'
    assert asked(stack, items) == 5
    assert asked(stack, f"count(llmon_progress_items_total{{{mine}}})") == 2
    assert asked(stack, f'llmon_progress_done{{{mine},llmon_operation="epochs"}} / llmon_progress_total') == 0.5
    spent = f'llmon_phase_duration_seconds_sum{{{mine},llmon_phase="extraction"}}'
    assert asked(stack, spent) == pytest.approx(0.2, abs=0.1)


@pytest.mark.row("A20")
def test_a_log_record_comes_every_so_many_items(stack, program):
    """As many as the total holds of them."""
    ran(
        program,
        stack,
        """
        import time
        import otel_llmon as llmon

        llmon.configure("every", observers=())
        for _ in llmon.progress(range(100), "pages", every=10):
            time.sleep(0.002)
        """,
    )
    found = until(lambda: len(lines := stack.loki.lines('{service_name="every"}')) >= 10 and lines)
    assert sorted(float(line.attributes["llmon_done"]) for line in found) == list(range(10, 101, 10))
    assert {line.body for line in found} == {"llmon.progress"}


@pytest.mark.row("A23")
def test_a_loop_under_another_bars_name_is_seen(stack, program):
    """What comes from tqdm changes its import."""
    ran(
        program,
        stack,
        """
        import otel_llmon as llmon
        from otel_llmon import progress as tqdm

        llmon.configure("habits", observers=())

        def crawl():
            for page in tqdm(range(10)):
                pass
            with tqdm(total=20) as bar:
                for _ in range(20):
                    bar.update(1)

        crawl()
        """,
    )
    mine = '{service_name="habits",llmon_operation="crawl"}'
    assert until(lambda: asked(stack, f"llmon_progress_items_total{mine}") == 30)


@pytest.mark.row("A24")
def test_a_job_that_was_killed_goes_on_where_it_was(stack, steps, program):
    """Items of both runs add up to all of them, and none counts twice."""
    run = steps(
        "killed",
        """
    with progress(total=100, name="pages") as loop:
        for number in range(30):
            loop.update()
        told("killed")
    """,
        OTEL_METRIC_EXPORT_INTERVAL="200",
    )
    mine = '{service_name="killed",llmon_operation="pages"}'
    with run.at("killed"):
        until(lambda: (asked(stack, f"count_over_time(llmon_progress_items_total{mine}[1m])") or 0) >= 12)
        assert asked(stack, f"llmon_progress_items_total{mine}") == 30
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
    ran(
        program,
        stack,
        """
        import time
        import otel_llmon as llmon

        llmon.configure("killed", observers=())
        for _ in llmon.progress(range(30, 100), "pages", total=100, initial=30):
            pass
        time.sleep(3)  # Prometheus adds half the distance of two samples to an increase: let there be some
        """,
        OTEL_METRIC_EXPORT_INTERVAL="200",
    )
    until(lambda: asked(stack, f"max(llmon_progress_done{mine})") == 100)
    assert asked(stack, f"sum(last_over_time(llmon_progress_items_total{mine}[5m]))") == 100
    assert asked(stack, f"sum(increase(llmon_progress_items_total{mine}[5m]))") == pytest.approx(100, rel=0.1)


def test_children_count_in_their_parents_loop(stack, program):
    """Four processes, one series."""
    ran(
        program,
        stack,
        """
        import multiprocessing
        import otel_llmon as llmon
        from otel_llmon import progress

        def work(loop):
            for _ in range(250):
                loop.update()

        if __name__ == "__main__":
            llmon.configure("family", observers=())
            with progress(total=1_000, name="pages") as loop:
                children = [multiprocessing.Process(target=work, args=(loop,)) for _ in range(4)]
                for child in children:
                    child.start()
                for child in children:
                    child.join()
        """,
    )
    mine = '{service_name="family",llmon_operation="pages"}'
    assert until(lambda: asked(stack, f"llmon_progress_items_total{mine}") == 1_000)
    assert asked(stack, 'llmon_progress_state{service_name="family",llmon_state="finished"}') == 1


@pytest.mark.row("A15")
def test_what_an_operation_takes_is_read_beside_it_and_never_by_an_update(stack, steps):
    """CPU and memory join the loop by the instance, peaks are on the span around it, and no update reads anything."""
    run = steps(
        "taking",
        """
    import sys, threading
    main, read = threading.get_ident(), []

    def look(event, arguments):
        if threading.get_ident() == main and event in ("open", "os.scandir", "subprocess.Popen", "ctypes.dlopen"):
            read.append(arguments[0])

    with phase("load", probes=("cpu", "memory")), progress(total=100_001, name="rows") as loop:
        loop.update()
        sys.addaudithook(look)
        for _ in range(100_000):
            loop.update()
        Path("read").write_text(repr(read))
        told("loaded")
    """,
        OTEL_LLMON_OBSERVERS="process",
    )
    with run.at("loaded"):
        assert (run.folder / "read").read_text() == "[]"
        running = 'llmon_progress_done{service_name="taking",llmon_operation="rows"} > 0'
        for taken in ("process_memory_usage_bytes", 'process_cpu_time_seconds_total{cpu_mode="user"}'):
            joined = f"{taken} and on (service_instance_id) ({running})"
            assert until(lambda joined=joined: asked(stack, joined)) > 0
    assert run.process.wait(20) == 0
    trace = until(lambda: stack.jaeger.find("taking", start=time.time() - 600, end=time.time() + 10))[0]
    assert trace.root.attributes["llmon.memory.peak"] > 2**20
    assert trace.root.attributes["llmon.cpu.utilization.mean"] > 0
