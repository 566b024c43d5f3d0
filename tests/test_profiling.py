"""Probes: what a phase took, as attributes of its span; exact peaks, whatever overlaps and whatever fails."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llmon import batch, phase, pipeline, probes, telemetry
from otel_llmon.probes.cpu import CPU
from otel_llmon.probes.samples import Sample, Window

OURS = tuple(f"llmon.{what}." for what in ("cpu", "context_switches", "disk", "memory", "gpu"))
linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells")
MIB = 1 << 20
PEAK, DELTA = "llmon.memory.peak", "llmon.memory.delta"
USUAL = {
    "llmon.cpu.time",
    "llmon.cpu.thread_time",
    "llmon.context_switches.voluntary",
    "llmon.context_switches.involuntary",
    "llmon.disk.read",
    "llmon.disk.write",
    PEAK,
    DELTA,
}


@pytest.fixture
def profiled(recorder):
    """A recorder at level `profiling`, with probes of the test's own; it puts the level back itself."""
    telemetry.state.level = telemetry.PROFILING
    probes.kit.forget()
    yield recorder
    probes.kit.forget()


def told(recorder, name):
    """What probes put on a phase's span."""
    found = recorder.spans()[name].attributes
    return {key: value for key, value in found.items() if key.startswith(OURS)}


@linux
def test_at_level_profiling_every_phase_and_pipeline_says_what_it_took(profiled):
    """At the levels below, none does."""
    with pipeline("ingest"), phase("embed"):
        pass
    assert set(told(profiled, "embed")) - {"llmon.cpu.utilization.mean"} == USUAL
    assert set(told(profiled, "ingest")) - {"llmon.cpu.utilization.mean"} == USUAL
    telemetry.state.level = telemetry.DETAILED
    with pipeline("ingest"), phase("embed"):
        pass
    assert told(profiled, "embed") == told(profiled, "ingest") == {}


@linux
@pytest.mark.parametrize("names", [("memory",), ["memory"], {"memory"}, "memory"])
def test_a_phase_may_ask_for_probes_by_itself(recorder, names):
    """At any level but `disabled`; as a tuple, a list, a set or one name."""
    with phase("embed", probes=names), phase("other"):
        pass
    assert set(told(recorder, "embed")) == {PEAK, DELTA}
    assert told(recorder, "other") == {}


@linux
def test_peaks_are_histograms_by_phase_and_pipeline(recorder):
    """Also at level `basic`, where there are no spans."""
    telemetry.state.level = telemetry.BASIC
    asked = ["memory"]
    with pipeline("ingest", probes=asked), phase("embed", {"shard": 1}, probes=asked):  # noqa: SIM117  # one too long
        with batch([1], "score", probes=asked), batch([1], "other"):
            pass
    points = recorder.points()["llmon.phase.memory.peak"]
    assert [dict(point.attributes) for point in points] == [
        {"llmon.phase": "score", "llmon.pipeline": "ingest"},
        {"llmon.phase": "embed", "llmon.pipeline": "ingest"},
        {"llmon.pipeline": "ingest"},
    ]
    assert all(point.count == 1 and point.sum > MIB for point in points)
    assert recorder.finished == []


def test_a_phase_may_ask_for_no_probes_at_level_profiling(profiled):
    """For the one that is too hot."""
    with phase("embed", probes=()):
        pass
    assert told(profiled, "embed") == {}


@pytest.mark.parametrize("names", [["memroy"], "memroy", 7, ["memory", None]])
def test_what_is_no_probe_is_told_once_and_left_out(recorder, caplog, names):
    """The work goes on, with the probes that are."""
    for _ in range(2):
        with phase("embed", probes=names):
            pass
    assert len(caplog.records) == 1
    assert "expected" in caplog.text
    assert recorder.spans()["embed"].end_time


def test_disabled_no_probe_is_looked_at(caplog):
    """Not even for its name."""
    telemetry.state.level, before = telemetry.DISABLED, telemetry.state.level
    try:
        with phase("a", probes=["memroy"]), pipeline("b", probes=7), batch([1], "c", probes=7):
            pass
    finally:
        telemetry.state.level = before
    assert caplog.text == ""


@linux
def test_functions_of_every_kind_carry_their_probes(recorder):
    """A generator's window is its duration's: from its first step to its end, its consumer's work included."""

    @phase("plain", probes=["memory"])
    def plain():
        pass

    @phase("coroutine", probes=["memory"])
    async def coroutine():
        await asyncio.sleep(0)

    @phase("generator", probes=["memory"])
    def generator():
        yield 1

    @pipeline("run", probes=["memory"])
    def run():
        pass

    plain()
    run()
    asyncio.run(coroutine())
    for _ in generator():
        held = bytearray(64 * MIB)
        held[:: 1 << 12] = b"x" * (64 * MIB >> 12)
        del held
    with batch([1, 2], "batch", probes=["memory"]):
        pass
    for name in ("plain", "coroutine", "generator", "run", "batch"):
        assert set(told(recorder, name)) == {PEAK, DELTA}, name
    peaks = {name: told(recorder, name)[PEAK] for name in ("plain", "generator")}
    assert peaks["generator"] > peaks["plain"] + 60 * MIB


@linux
def test_a_phase_that_is_used_again_tells_only_of_its_last_run(recorder):
    """Nothing is left of a run at another level."""
    telemetry.state.level = telemetry.PROFILING
    work = phase("embed")
    with work:
        pass
    assert PEAK in told(recorder, "embed")
    telemetry.state.level = telemetry.DETAILED
    with work:
        pass
    assert told(recorder, "embed") == {}


@linux
def test_work_that_fails_is_measured_as_well(profiled):
    """The exception passes, and what it took is on the span."""
    with pytest.raises(KeyError), phase("embed"):
        raise KeyError
    assert PEAK in told(profiled, "embed")
    assert profiled.spans()["embed"].attributes["error.type"] == "KeyError"


def test_a_report_shows_the_highest_peak_of_each_phase(recorder):
    """Where there is one."""
    with pipeline("ingest") as run:
        for _ in range(2):
            with phase("embed", probes=["memory"]):
                pass
        with phase("store"):
            pass
    peaks = {share.name: share.peak for share in run.report().phases}
    seen = [span.attributes[PEAK] for span in recorder.finished if span.name == "embed"]
    assert peaks == {"embed": max(seen), "store": None}
    assert f"peak {max(seen) / MIB:,.0f} MiB" in str(run.report())


def test_without_probes_none_is_loaded(program):
    """Phases stay as light as they are."""
    done = program(
        """
        import sys
        import otel_llmon
        with otel_llmon.phase("embed"):
            pass
        print([name for name in sys.modules if name.startswith("otel_llmon.probes.")])
        """,
        OTEL_LLMON_LEVEL="detailed",
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", probes.PROBES)
def test_every_probe_is_documented_and_begins_and_ends(name):
    """Its attributes are in the registry; a page says what they mean."""
    module = importlib.import_module(probes.PROBES[name])
    assert module.__doc__
    assert f"`{name}`" in (Path(__file__).parent.parent / "docs/profiling.md").read_text()
    kit = probes.Kit()
    found = kit.end(kit.begin([name]), None)
    assert set(found) <= set(telemetry.key.MEANINGS)


@linux
def test_cpu_is_the_process_s_and_the_threads_own_beside_it(recorder):
    """What another thread burns is in the first and not in the second."""
    stop = threading.Event()

    def burn():
        while not stop.is_set():
            sum(range(1000))

    other = threading.Thread(target=burn)
    other.start()
    with phase("wait", probes=["cpu"]):
        enough = time.process_time() + 0.3
        while time.process_time() < enough:
            stop.wait(0.01)
    stop.set()
    other.join()
    found = told(recorder, "wait")
    assert found["llmon.cpu.time"] >= 0.3 > 2 * found["llmon.cpu.thread_time"]
    assert found["llmon.context_switches.voluntary"] > 0


def test_utilization_is_cpu_seconds_over_elapsed_seconds():
    """Of a stretch too short to tell it says nothing, and of a thread that it did not end in neither."""
    clock = iter((10.0, 14.0, 20.0, 20.0005))
    probe = CPU(lambda: next(clock))
    usage = [0.0] * 16
    begun = probe.begin([*usage])
    after = probe.end(begun, [3.0, 3.0, *usage[2:14], 7, 8], None)
    assert after["llmon.cpu.utilization.mean"] == 1.5
    assert (after["llmon.context_switches.voluntary"], after["llmon.context_switches.involuntary"]) == (7, 8)
    short = probe.end(probe.begin(usage), usage, None)
    assert "llmon.cpu.utilization.mean" not in short


@linux
def test_disk_is_what_the_kernel_counts_for_the_process_and_its_children(recorder, tmp_path):
    """As in /proc/self/io: what is only in the page cache does not count, what a child wrote does."""

    def counted():
        lines = Path("/proc/self/io").read_text().splitlines()
        found = dict(line.split(": ") for line in lines)
        return int(found["read_bytes"]), int(found["write_bytes"])

    read, written = counted()
    with phase("write", probes=["disk"]):
        (tmp_path / "own").write_bytes(b"x" * MIB)
        child = os.fork()
        if not child:
            (tmp_path / "child").write_bytes(b"x" * MIB)
            os._exit(0)
        os.waitpid(child, 0)
    after = counted()
    found = told(recorder, "write")
    assert found == {"llmon.disk.read": after[0] - read, "llmon.disk.write": after[1] - written}


@linux
def test_allocations_names_the_lines_that_hold_most(recorder):
    """As one event of the span, most bytes first; what was given back is not in it."""
    kept = []
    with phase("load", probes=["allocations"]):
        assert tracemalloc.is_tracing()
        kept.append(bytes(3 * MIB))
        kept.append([bytes(1000) for _ in range(1000)])
        bytes(9 * MIB)
    assert not tracemalloc.is_tracing()
    [event] = recorder.spans()["load"].events
    assert event.name == "llmon.allocations"
    here = [line.startswith(__file__) for line in event.attributes["llmon.allocation.lines"]]
    assert here[:2] == [True, True]
    assert event.attributes["llmon.allocation.sizes"][0] == pytest.approx(3 * MIB, rel=0.01)
    assert event.attributes["llmon.allocation.counts"][1] == pytest.approx(1000, rel=0.01)
    assert len(here) <= 10


def test_tracing_that_the_program_does_itself_goes_on(recorder):
    """And what was there before the phase is not told."""
    tracemalloc.start()
    try:
        before = bytes(5 * MIB)
        with phase("outer", probes=["allocations"]), phase("inner", probes=["allocations"]):
            kept = bytes(MIB)
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
    for name in ("outer", "inner"):
        [event] = recorder.spans()[name].events
        assert event.attributes["llmon.allocation.sizes"][0] == pytest.approx(MIB, rel=0.1)
    assert before
    assert kept


def test_nested_phases_that_ask_for_allocations_stop_tracing_together(recorder):
    """It ends with the last of them, also where nobody listens."""
    telemetry.state.level = telemetry.BASIC
    with phase("outer", probes=["allocations"]):
        with phase("inner", probes=["allocations"]):
            pass
        assert tracemalloc.is_tracing()
    assert not tracemalloc.is_tracing()


@linux
def test_samples_tell_the_highest_utilization_and_the_mean_of_memory(recorder):
    """The highest is at least the mean, and the mean of memory at most its peak."""
    with phase("work", probes=["samples", "memory", "cpu"]):
        for _ in range(40):
            sum(range(100_000))
        threading.Event().wait(0.3)
    found = told(recorder, "work")
    assert found["llmon.cpu.utilization.max"] >= found["llmon.cpu.utilization.mean"] > 0
    assert MIB < found["llmon.memory.mean"] <= found[PEAK]


samples = st.lists(st.tuples(st.floats(0.001, 5), st.floats(0, 5), st.integers(0, 10**12)), min_size=1, max_size=20)


@given(samples)
def test_the_highest_sample_is_no_less_than_the_mean(steps):
    """And the mean of the memory lies between the extremes."""
    wall = cpu = 0.0
    window = Window(Sample(0.0, 0.0, 5))
    memory = [5]
    for elapsed, used, held in steps:
        wall, cpu = wall + elapsed, cpu + used
        memory.append(held)
        last = Sample(wall, cpu, held)
        if len(memory) <= len(steps):
            window.take(last)
    found = window.end(last)
    assert min(memory) <= found["llmon.memory.mean"] <= max(memory) * (1 + 1e-9)
    if all(elapsed >= 0.05 for elapsed, _, _ in steps):
        assert found["llmon.cpu.utilization.max"] >= cpu / wall * (1 - 1e-9)


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A root of /proc of the test's own, with files that a test may spoil."""
    root = tmp_path / "proc"
    (root / "self").mkdir(parents=True)
    (root / "self/statm").write_text("9000 2000 500 1 0 3000 0\n")
    (root / "self/status").write_text("Name:\tpython\nVmHWM:\t    9000 kB\nVmRSS:\t    8000 kB\nRssAnon:\t 1 kB\n")
    (root / "self/clear_refs").write_text("")
    (root / "self/io").write_text("")
    monkeypatch.setattr(probes, "kit", probes.Kit(proc=str(root)))
    return root / "self"


@linux
def test_what_this_machine_cannot_say_is_left_out_quietly(profiled, proc, caplog):
    """No memory in /proc: no attribute, no zero, no warning; the other probes are there."""
    (proc / "status").unlink()
    (proc / "io").unlink()
    with phase("embed"):
        pass
    assert {name.split(".")[1] for name in told(profiled, "embed")} == {"cpu", "context_switches"}
    assert caplog.text == ""
    assert "llmon.self.errors" not in profiled.points()
    assert "llmon.phase.memory.peak" not in profiled.points()


@linux
@pytest.mark.parametrize("text", ["", "nonsense", "1 two"])
def test_a_probe_that_fails_costs_its_attributes_and_one_warning(profiled, proc, caplog, text):
    """Counted each time; the others go on, and so does it when it can."""
    with phase("before"):
        pass
    (proc / "statm").write_text(text)
    for _ in range(3):
        with phase("amid"):
            pass
    assert PEAK in told(profiled, "before")
    assert PEAK not in told(profiled, "amid")
    assert "llmon.cpu.time" in told(profiled, "amid")
    assert profiled.value("llmon.self.errors", {"llmon.source": "probe.memory"}) == 3
    assert caplog.text.count("probe memory") == 1
    (proc / "statm").write_text("9000 2000 500 1 0 3000 0\n")
    with phase("after"):
        pass
    assert PEAK in told(profiled, "after")


@linux
def test_a_probe_that_fails_amid_a_phase_is_left_out_of_those_that_run(profiled, proc):
    """What it knew of them went with it."""
    with phase("outer"):
        (proc / "statm").write_text("nonsense")
        with phase("inner"):
            pass
        (proc / "statm").write_text("9000 2000 500 1 0 3000 0\n")
        with phase("later"):
            pass
    assert PEAK not in told(profiled, "outer")
    assert PEAK not in told(profiled, "inner")
    assert PEAK in told(profiled, "later")


@linux
def test_where_the_mark_cannot_be_reset_the_peak_says_that_it_may_be_too_low(profiled, proc):
    """Unless the phase set a record: then the mark is its peak."""
    (proc / "clear_refs").unlink()
    (proc / "clear_refs").mkdir()
    with phase("quiet"):
        pass
    with phase("outer"), phase("record"):
        status = (proc / "status").read_text()
        (proc / "status").write_text(status.replace("9000 kB", "9500 kB"))
    with phase("after"):
        pass
    assert told(profiled, "quiet")[PEAK] == told(profiled, "after")[PEAK] == 8000 * 1024
    assert told(profiled, "quiet")["llmon.memory.peak_exact"] is False
    assert told(profiled, "after")["llmon.memory.peak_exact"] is False
    for name in ("record", "outer"):
        assert told(profiled, name)[PEAK] == 9500 * 1024
        assert "llmon.memory.peak_exact" not in told(profiled, name)


def test_a_probe_that_cannot_be_made_is_counted_once(profiled, monkeypatch, caplog):
    """It stays out: what it fails at would be tried for every phase."""
    monkeypatch.setitem(probes.PROBES, "cpu", "otel_llmon.no_such_module")
    for _ in range(3):
        with phase("embed"):
            pass
    assert profiled.value("llmon.self.errors", {"llmon.source": "probe.cpu"}) == 1
    assert caplog.text.count("probe cpu") == 1
    assert "llmon.cpu.time" not in told(profiled, "embed")
