"""What phases took, asked of Jaeger and Prometheus."""

from __future__ import annotations

import json
import time

import pytest
from servers import until

MIB = 1 << 20
WORK = """
    import json, os, subprocess, sys, time
    import otel_llmon as llmon
    from spikes import Truth

    llmon.configure("profiled", observers=())
    truth = Truth()
    with llmon.pipeline("ingest") as run:
        with llmon.phase("busy", probes=("cpu", "samples")):
            wall, cpu = time.perf_counter(), time.process_time()
            while time.process_time() < cpu + 1:
                pass
            used = (time.process_time() - cpu) / (time.perf_counter() - wall)
        with llmon.phase("spike", probes=("memory", "samples")):
            truth.spike(500, "spike")
            before = truth["spike"]
            kept = bytearray(b"x" * (64 << 20))
        with llmon.phase("copy", probes=["disk"]):
            for how in ("if=/dev/zero of=copied conv=fsync", "if=copied of=/dev/null iflag=direct"):
                subprocess.run(["dd", "bs=1M", "count=64", *how.split()], check=True, stderr=sys.stderr)
        with llmon.phase("load", probes=["allocations"]):
            held = [bytes(1000) for _ in range(5000)]
        with llmon.phase("all", probes=("cpu", "memory", "disk")):
            pass
        with llmon.phase("default"):
            pass
    print(json.dumps({"used": used, "peak": truth["spike"]}))
"""


@pytest.fixture(scope="module")
def worked(stack, tmp_path_factory):
    """What a program saw itself, and its spans in Jaeger by their names."""
    from processes import Program

    done = Program(tmp_path_factory.mktemp("profiled"), "")(WORK, timeout=90, **stack.environ)
    assert done.returncode == 0, done.stderr
    now = time.time()
    [trace] = until(lambda: stack.jaeger.find("profiled", start=now - 600, end=now + 60))
    return json.loads(done.stdout), {span.name: span for span in trace.spans}


def probed(span):
    """The attributes that probes made."""
    ours = ("llmon.cpu.", "llmon.memory.", "llmon.disk.", "llmon.context_switches.", "llmon.gpu.")
    return {key: value for key, value in span.attributes.items() if key.startswith(ours)}


@pytest.mark.row("K1")
@pytest.mark.row("C18")
def test_a_phase_that_asks_says_what_it_took_and_no_other_does(worked):
    """CPU, memory and disk, by name; off by default."""
    _, spans = worked
    assert set(probed(spans["all"])) >= {
        "llmon.cpu.time",
        "llmon.cpu.thread_time",
        "llmon.context_switches.voluntary",
        "llmon.memory.peak",
        "llmon.memory.delta",
        "llmon.disk.read",
        "llmon.disk.write",
    }
    assert probed(spans["default"]) == probed(spans["ingest"]) == {}


@pytest.mark.row("K2")
def test_a_busy_loop_is_one_core(worked):
    """As far as the machine let it have one: the program measured its own share."""
    said, spans = worked
    found = spans["busy"].attributes
    assert found["llmon.cpu.utilization.mean"] == pytest.approx(said["used"], rel=0.05)
    assert found["llmon.cpu.time"] == pytest.approx(1, rel=0.1)
    assert found["llmon.cpu.utilization.mean"] <= found["llmon.cpu.utilization.max"] < 1.1


@pytest.mark.row("K3")
@pytest.mark.row("E4")
def test_a_spike_is_the_peak_and_what_stays_is_the_difference(worked):
    """500 MiB that were given back, and 64 MiB that were not."""
    said, spans = worked
    found = spans["spike"].attributes
    assert found["llmon.memory.peak"] == pytest.approx(said["peak"], abs=MIB)
    assert found["llmon.memory.delta"] == pytest.approx(64 * MIB, abs=MIB)
    assert 0 < found["llmon.memory.mean"] < found["llmon.memory.peak"]


@pytest.mark.row("K5")
def test_what_dd_moves_in_a_phase_is_on_its_span(worked):
    """64 MiB to the disk and back; bytes over the span's seconds are its rate."""
    _, spans = worked
    found = spans["copy"].attributes
    assert found["llmon.disk.write"] == pytest.approx(64 * MIB, rel=0.1)
    assert found["llmon.disk.read"] == pytest.approx(64 * MIB, rel=0.1)
    assert spans["copy"].seconds > 0


@pytest.mark.row("K6")
def test_the_lines_that_allocated_most_are_an_event(worked):
    """With bytes and blocks."""
    _, spans = worked
    [event] = spans["load"].events
    assert event.name == "llmon.allocations"
    said = {key: json.loads(value) for key, value in event.attributes.items()}  # Jaeger keeps a list as text
    assert "program.py:" in said["llmon.allocation.lines"][0]
    assert said["llmon.allocation.sizes"][0] == pytest.approx(5000 * 1033, rel=0.05)
    assert said["llmon.allocation.counts"][0] == pytest.approx(5000, rel=0.05)


def test_peaks_are_histograms_in_prometheus(stack, worked):
    """By phase and pipeline; those that did not ask have none."""
    series = 'llmon_phase_memory_peak_bytes_sum{service_name="profiled"}'
    found = until(lambda: stack.prometheus.query(series).series)
    labels = {(each.labels["llmon_phase"], each.labels["llmon_pipeline"]) for each in found}
    assert labels == {("spike", "ingest"), ("all", "ingest")}


@pytest.mark.row("K9")
def test_each_level_says_more_than_the_one_below(stack, program):
    """Nothing at all; durations; spans; and what they took."""
    source = """
        import os
        import otel_llmon as llmon
        llmon.configure(os.environ["OTEL_LLMON_LEVEL"], observers=())
        with llmon.phase("embed"):
            pass
    """
    levels = ("disabled", "basic", "detailed", "profiling")
    for level in levels:
        done = program(source, OTEL_LLMON_LEVEL=level, **stack.environ)
        assert done.returncode == 0, done.stderr

    def timed():
        return set(stack.prometheus.label_values("service_name", "llmon_phase_duration_seconds_count")) & set(levels)

    assert until(lambda: timed() == {"basic", "detailed", "profiling"})
    assert until(lambda: set(stack.jaeger.services()) & set(levels) == {"detailed", "profiling"})
    now = time.time()
    took = {}
    for level in ("detailed", "profiling"):
        [trace] = until(lambda level=level: stack.jaeger.find(level, start=now - 600, end=now + 60))
        took[level] = probed(trace.root)
    assert took["detailed"] == {}
    assert {"llmon.cpu.time", "llmon.memory.peak", "llmon.disk.read"} <= set(took["profiling"])
