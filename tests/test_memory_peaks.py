"""The memory probe: exact peaks, whatever is nested, overlaps, forks or closes what is ours."""

from __future__ import annotations

import json
import sys
import threading
from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import CONFIGURE
from sink import attributes

from otel_llmon import phase, probes
from otel_llmon.probes.marks import Marks
from otel_llmon.probes.memory import SLACK, Memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells")
MIB = 1 << 20
PEAK = "llmon.memory.peak"


class Kernel:
    """A process's memory and its high-water mark, as Linux keeps them."""

    exact, record = True, 0

    def __init__(self):
        self.rss = self.mark = 100

    def move(self, to):
        self.rss = to
        self.mark = max(self.mark, to)

    def now(self):
        return self.rss

    def high(self, now):
        return self.mark

    def close(self):
        pass

    def reset(self):
        self.mark = self.rss


moves = st.lists(st.tuples(st.sampled_from(["move", "end", "begin"]), st.integers(0, 200)))


@given(moves)
def test_every_phase_knows_its_own_peak_whatever_begins_and_ends_meanwhile(steps):
    """Nested or not: the highest that there was between its ends, and a little more at most."""
    kernel = Kernel()
    probe = Memory(kernel)
    open_: list[tuple[object, int]] = []
    for what, number in [*steps, *[("end", 0)] * len(steps)]:
        if what == "begin":
            open_.append((probe.begin(None), kernel.rss))
        elif what == "end" and open_:
            begun, truth = open_.pop(number % len(open_))
            assert truth <= probe.end(begun, None, None)[PEAK] <= truth + SLACK
        elif what == "move":
            kernel.move(number * SLACK // 3)
            open_ = [(begun, max(truth, kernel.rss)) for begun, truth in open_]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50))
def test_marks_keep_only_what_somebody_may_still_need(marks):
    """However many boundaries there are, as many as fall one after another; none once all is over."""
    kept = Marks()
    begun = kept.begin()
    for mark in marks:
        kept.add(mark)
        assert kept._marks == sorted(set(kept._marks), reverse=True)
    assert kept.end(begun, 0) == max(marks)
    kept.begin()
    assert kept._marks == []


def within_a_mebibyte(sink, truth):
    """Check every peak that a program sent against what it saw itself."""
    peaks = {span.name: int(attributes(span)[PEAK]) for span in sink.spans() if PEAK in attributes(span)}
    assert set(truth) <= set(peaks)
    errors = {name: (peaks[name] - peak) / MIB for name, peak in truth.items()}
    assert all(abs(error) <= 1 for error in errors.values()), errors


@linux
def test_peaks_of_nested_phases_are_exact_to_a_mebibyte(program, sink):
    """Spikes of 2 to 96 MiB, each given back before the phase ends."""
    done = program(f"{CONFIGURE}\nimport json, spikes\nprint(json.dumps(spikes.nested()))")
    assert done.returncode == 0, done.stderr
    within_a_mebibyte(sink, json.loads(done.stdout))


@linux
def test_numpy_arrays_are_seen(program, sink):
    """96 MiB before the phase inside, 32 MiB in it."""
    source = """
    import json, numpy, psutil
    from otel_llmon import phase, probes
    process = psutil.Process()
    numpy.ones(1).sum()
    with phase("outer", probes=["memory"]):
        start = process.memory_info().rss
        numpy.ones(96 << 17)
        with phase("inner", probes=["memory"]):
            numpy.ones(32 << 17)
    print(json.dumps({"outer": start + (96 << 20), "inner": start + (32 << 20)}))
    """
    done = program(CONFIGURE + source.replace("\n    ", "\n"))
    assert done.returncode == 0, done.stderr
    within_a_mebibyte(sink, json.loads(done.stdout))


@linux
def test_a_child_of_a_large_program_does_not_inherit_its_peak(program, sink):
    """What getrusage() says of it does, until it has grown beyond that."""
    child = program.write("child.py", f"{CONFIGURE}\nimport json, spikes\nprint(json.dumps(spikes.nested()))")
    done = program(
        f"""
        import subprocess, sys
        held = bytearray(400 << 20)
        held[::4096] = b"x" * (400 << 8)
        subprocess.run([sys.executable, {str(child)!r}], check=True)
        """
    )
    assert done.returncode == 0, done.stderr
    within_a_mebibyte(sink, json.loads(done.stdout))


@linux
def test_a_forked_child_knows_its_own_peaks_and_its_parent_its_own(program, sink):
    """Their files and their marks are two."""
    source = """
    import json, os, sys
    from spikes import Truth
    from otel_llmon import phase, probes
    truth = Truth()
    with phase("parent", probes=["memory"]):
        truth.spike(16, "parent")
        child = os.fork()
        if not child:
            with phase("child", probes=["memory"]):
                truth.spike(64, "child")
            print(json.dumps({"child": truth["child"]}), flush=True)
            handle.shutdown()
            os._exit(0)
        os.waitpid(child, 0)
        truth.see("parent")
    print(json.dumps(truth), flush=True)
    """
    done = program(CONFIGURE + source.replace("\n    ", "\n"))
    assert done.returncode == 0, done.stderr
    child, parent = map(json.loads, done.stdout.splitlines())
    within_a_mebibyte(sink, child | parent)


@linux
def test_the_first_phases_of_many_threads_share_one_probe(recorder, monkeypatch):
    """Two of them would reset the mark behind each other's back."""
    for _ in range(20):
        monkeypatch.setattr(probes, "kit", probes.Kit())
        barrier = threading.Barrier(8)

        def work(barrier=barrier):
            barrier.wait()
            with phase("first", probes=["memory"]):
                pass

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(PEAK in span.attributes for span in recorder.finished) == 160


@linux
def test_phases_of_many_threads_lose_no_peak(recorder):
    """A spike that all of them overlap is in all of them; each reset is made up for."""
    barrier = threading.Barrier(8)

    def work(number):
        with phase(f"worker {number}", probes=["memory"]):
            barrier.wait()
            for _ in range(200):
                with phase("step", probes=["memory"]):
                    pass
            if number == 3:
                held = bytearray(64 * MIB)
                held[:: 1 << 12] = b"x" * (64 * MIB >> 12)
                del held
            for _ in range(200):
                with phase("step", probes=["memory"]):
                    pass
            barrier.wait()

    with phase("before", probes=["memory"]):
        pass
    low = recorder.spans()["before"].attributes[PEAK]
    threads = [threading.Thread(target=copy_context().run, args=(work, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    peaks = [recorder.spans()[f"worker {number}"].attributes[PEAK] for number in range(8)]
    assert all(peak > low + 60 * MIB for peak in peaks)
    assert recorder.value("llmon.self.errors", {"llmon.source": "probe.memory"}) is None


@linux
def test_a_program_that_closes_every_descriptor_keeps_its_files_whole(program, sink):
    """What it opens then may have the numbers that were ours."""
    source = """
    import os
    from otel_llmon import phase, probes
    with phase("before", probes=["memory"]):
        pass
    os.closerange(3, 64)
    files = [open(f"mine-{number}", "wb+", buffering=0) for number in range(40)]
    for file in files:
        file.write(b"1 2 3 4 5 6 7 8")
    for name in ("amid", "after"):
        with phase(name, probes=["memory"]):
            pass
    print({file.seek(0) or file.read() for file in files})
    os.closerange(3, 64)
    """
    before = source.replace("\n    ", "\n")
    done = program("from otel_llmon.testing import Recorder\nwith Recorder():" + source)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{b'1 2 3 4 5 6 7 8'}"
    assert before
