"""GPUs through the real pynvml in real processes; the library below it follows a script, the sink has what arrived."""

from __future__ import annotations

import contextlib
import json
import signal
from collections import Counter

import pytest
from gpus import GIB, NAME, gpu
from processes import lines, until

from otel_llmon.observers import nvidia
from otel_llmon.observers.gpu import BUDGET, LOOK_AGAIN

RUNS = """
import logging, otel_llmon, signal, threading
from otel_llmon import observers
logging.basicConfig(level=logging.INFO)
observers.PATIENCE = 0.3
otel_llmon.configure("app", observers={observers})
done = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
print([thread.native_id for thread in threading.enumerate() if thread.name == "llmon-observers"], flush=True)
{more}
done.wait(100)
if "child" in globals() and child:
    import os
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
"""
BEAT = {"OTEL_LLMON_OBSERVER_INTERVAL": "0.1", "OTEL_METRIC_EXPORT_INTERVAL": "100"}
FIRST = {"hw.id": "GPU-aaaa", "hw.name": NAME, "llmon.gpu.index": "0"}
AVAILABLE = "llmon.self.gpu.available"


@pytest.fixture
def running(program, gpus):
    """A function that starts a program: beats and exports of 100 ms; it ends with the test."""
    begun = []

    def start(observers=("gpu",), more="", **environ):
        command = program.command(RUNS.format(observers=observers, more=more))
        begun.append(program.start(command, **BEAT, **gpus.environ, **environ))
        return begun[-1]

    yield start
    for process in begun:
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(ValueError):  # a test has had what it said
            process.communicate(timeout=20)


def ended(process):
    """End a program, and return what it printed and logged."""
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=20)


def of(points, **wanted):
    """The values whose attributes hold these; dots are underscores here."""
    wanted = {key.replace("__", "."): value for key, value in wanted.items()}
    return [value for where, value in points if wanted.items() <= where.items()]


def by(points, *keys):
    """Values by these attributes."""
    return {tuple(where.get(key) for key in keys): value for where, value in points}


def whole(sink):
    """The last batch, once it has what is read last in a round."""
    return until(lambda: (batch := sink.latest()).get("llmon.process.gpu.utilization") and batch)


def test_what_the_driver_says_is_what_arrives(gpus, running, sink):
    """All of it, in base units, under upstream's names where there are any."""
    gpus.say({"count": 1, **gpu(xids="79,31")})
    running()
    found = whole(sink)
    assert found["hw.gpu.utilization"] == [(FIRST, 0.40)]
    assert found["llmon.gpu.memory.activity"] == [(FIRST, 0.15)]
    assert found["hw.gpu.memory.usage"] == [(FIRST, 10 * GIB)]
    assert found["hw.gpu.memory.limit"] == [(FIRST, 80 * GIB)]
    assert found["hw.gpu.memory.utilization"] == [(FIRST, 0.125)]
    kind = {**FIRST, "hw.type": "gpu"}
    assert found["hw.power"] == [(kind, pytest.approx(412.5))]
    assert found["hw.energy"] == [(kind, pytest.approx(123_456.789))]
    assert by(found["hw.temperature"], "hw.sensor_location", "hw.type") == {("gpu", "gpu"): 61, ("memory", "gpu"): 71}
    assert by(found["llmon.gpu.clock"], "llmon.clock") == {("sm",): 1.755e9, ("memory",): 2.619e9}
    expected = {("corrected",): 5, ("uncorrected",): 1, ("pcie_replay",): 2, ("nvlink_crc",): 3, ("xid",): 2}
    assert by(found["hw.errors"], "error.type") == expected
    assert by(found["hw.gpu.io"], "llmon.link", "network.io.direction") == {
        ("nvlink", "transmit"): 1_024_000,
        ("nvlink", "receive"): 2_048_000,
        ("pcie", "transmit"): 5_000_000,
        ("pcie", "receive"): 6_000_000,
    }
    held_down = {reason for (reason,), value in by(found["llmon.gpu.throttle"], "llmon.reason").items() if value}
    assert held_down == {"sw_power_cap", "hw_thermal"}
    assert len(found["llmon.gpu.throttle"]) == len(nvidia.REASONS)
    throttled = by(found["llmon.gpu.throttle.time"], "llmon.reason")
    assert throttled == pytest.approx({("sw_power_cap",): 2.5, ("sw_thermal",): 1.5})
    assert found["llmon.process.gpu.memory.usage"] == [(FIRST, 3 * GIB)]
    assert found["llmon.process.gpu.utilization"] == [(FIRST, 0.37)]
    assert by(found["hw.status"], "hw.state") == {("ok",): 1, ("failed",): 0}
    assert found[AVAILABLE] == [({}, 1)]


def test_each_gpu_and_each_instance_of_a_divided_one_has_its_series(gpus, running, sink):
    """A divided GPU has no utilisation of its own, and no zero; its instances have memory, and name their parent."""
    parts = {}
    for number in range(2):
        part = f"gpu1.mig{number}"
        parts |= {f"{part}.uuid": f"MIG-{number}", f"{part}.name": f"{NAME} MIG 1g.10gb"}
        parts |= {f"{part}.memory.used": (number + 1) * GIB, f"{part}.memory.total": 10 * GIB}
        parts |= {f"{part}.processes": "none" if number else f"self:{GIB}"}
    gpus.say({"count": 3, **gpu(0), **gpu(1, migs=2, busy=None), **gpu(2), **parts})
    running()
    found = whole(sink)
    assert set(by(found["hw.gpu.utilization"], "hw.id")) == {("GPU-aaaa",), ("GPU-cccc",)}
    memory = by(found["hw.gpu.memory.usage"], "hw.id", "llmon.gpu.index", "hw.parent")
    assert memory == {
        ("GPU-aaaa", "0", None): 10 * GIB,
        ("GPU-bbbb", "1", None): 11 * GIB,
        ("MIG-0", "1:0", "GPU-bbbb"): GIB,
        ("MIG-1", "1:1", "GPU-bbbb"): 2 * GIB,
        ("GPU-cccc", "2", None): 12 * GIB,
    }
    assert of(found["hw.gpu.memory.limit"], hw__id="MIG-0", hw__name=f"{NAME} MIG 1g.10gb") == [10 * GIB]
    held = by(found["llmon.process.gpu.memory.usage"], "hw.id")
    assert held == {("GPU-aaaa",): 3 * GIB, ("MIG-0",): GIB, ("GPU-cccc",): 3 * GIB}


def samples(gpus):
    """The calls of each whole sample, by GPU: it ends with the look for errors of all GPUs."""
    found = [Counter()]
    for call in gpus.calls():
        found[-1][call.gpu] += 1
        if call.function == "nvmlEventSetWait":
            found.append(Counter())
    return found[:-1]


def asked(gpus):
    """How often GPUs were asked how busy they are."""
    return gpus.counted()["nvmlDeviceGetUtilizationRates"]


@pytest.mark.parametrize("fields", [True, False])
def test_a_sample_takes_five_calls_for_a_gpu_and_none_is_made_where_metrics_are_collected(gpus, running, sink, fields):
    """Handles are kept. The first sample asks everything once; after it, what changes slowly is asked in turn."""
    gpus.say({"count": 2, **gpu(0), **gpu(1)})
    if not fields:
        gpus.say(None, "gpu0.field", "gpu1.field")
    process = running()
    assert until(lambda: len(samples(gpus)) > LOOK_AGAIN + 5)
    printed, _ = ended(process)
    assert len(sink.latest()) > 5
    [thread] = json.loads(printed)
    assert {call.thread for call in gpus.calls()[1:-1]} == {thread}
    first, *others = samples(gpus)
    assert max(max(sample[0], sample[1]) for sample in others) <= BUDGET
    assert max(sample[-1] for sample in others) == 2, "a look for errors, and now and then the number of GPUs"
    assert first[0] <= 5 + len(nvidia.WHOLE + nvidia.IN_TURN), "what it is, and all that it can be asked"
    counted = gpus.counted()
    assert counted["nvmlInit"] == 1
    assert counted["nvmlDeviceGetHandleByIndex"] == counted["nvmlDeviceGetUUID"] == 4, "at first, and looking again"


def of_all(sink, name):
    """The processes that ever reported a metric."""
    return {resource.get("service.instance.id") for resource, metric, _ in sink._points() if metric.name == name}


def lines_of(said):
    """What the observer logged."""
    return [line for line in said.splitlines() if "observer gpu" in line]


UTILIZATION, MEMORY, POWER = "hw.gpu.utilization", "hw.gpu.memory.usage", "hw.power"
OWN = "llmon.process.gpu.memory.usage"


@pytest.mark.parametrize(
    ("broken", "gone", "stays", "line"),
    [
        ({"gpu0.error": 15}, {MEMORY, UTILIZATION, POWER}, {AVAILABLE, "hw.status"}, "GPU is lost"),
        ({"gpu0.error": 16}, {MEMORY, UTILIZATION, POWER}, {AVAILABLE, "hw.status"}, "GPU requires restart"),
        ({"gpu0.error": 999}, {MEMORY, UTILIZATION, POWER}, {AVAILABLE, "hw.status"}, "Unknown Error"),
        ({"gpu0.error": 9, "error.nvmlInit": 9}, {MEMORY, UTILIZATION, "hw.status"}, {AVAILABLE}, "Driver Not Loaded"),
        ({"error.nvmlDeviceGetMemoryInfo": 4}, {MEMORY}, {UTILIZATION, POWER}, "Insufficient Permissions"),
        ({"error.nvmlDeviceGetComputeRunningProcesses": 4}, {OWN}, {MEMORY, POWER}, "Insufficient Permissions"),
        ({"error.nvmlDeviceGetUtilizationRates": 10}, {UTILIZATION}, {MEMORY, POWER}, "Timeout"),
        ({"error.nvmlDeviceGetFieldValues": 10}, {"hw.energy"}, {MEMORY, UTILIZATION}, "Timeout"),
        ({"hang.nvmlDeviceGetMemoryInfo": 1}, {MEMORY, UTILIZATION, AVAILABLE}, {"process.uptime"}, "hangs: no answer"),
    ],
    ids=lambda given: "-".join(given) if isinstance(given, dict) else None,
)
def test_a_failure_costs_its_series_and_one_line_and_they_come_back(  # noqa: PLR0917
    gpus, running, sink, broken, gone, stays, line
):
    """Absent, not 0, while it lasts; what does not depend on it stays; nothing is restarted."""
    gpus.say({"count": 1, **gpu()})
    process = running(("gpu", "process"))
    assert until(lambda: gone | stays <= set(whole(sink)))
    before = set(sink.latest())
    gpus.say(broken)
    assert until(lambda: (batch := sink.latest()) and not gone & set(batch) and stays <= set(batch))
    seen = asked(gpus)
    assert "hangs" in line or UTILIZATION in gone or until(lambda: asked(gpus) > seen + 10)
    assert not gone & set(sink.latest())
    failed = {("ok",): 0, ("failed",): 1}
    if AVAILABLE in stays:
        assert until(lambda: sink.latest()[AVAILABLE] == [({}, 0 if {MEMORY, UTILIZATION} <= gone else 1)])
    if "hw.status" in stays:
        assert until(lambda: by(sink.latest()["hw.status"], "hw.state") == failed)
    assert until(lambda: sum(value for _, value in sink.latest()["llmon.self.errors"]) > 0)
    gpus.say(None, *broken)
    assert until(lambda: before <= set(sink.latest()))
    assert until(lambda: by(sink.latest()["hw.status"], "hw.state") == {("ok",): 1, ("failed",): 0})
    _, said = ended(process)
    assert [line in each for each in lines_of(said)].count(True) == 1, said
    assert len([each for each in lines_of(said) if "WARNING" in each]) == 1, said


def test_a_snapshot_does_not_hang_where_the_driver_does(gpus, program):
    """Neither of everything nor of GPUs alone, whether they are read on the beat or not; the machine is in it."""
    gpus.say({"count": 1, **gpu()})
    done = program(
        """
        import os
        from pathlib import Path
        from otel_llmon import observers, snapshot
        from otel_llmon.testing import Recorder

        observers.PATIENCE = 0.3
        with Recorder():
            observers.attach("gpu", every=0.05)
            assert observers.read_now(20) and snapshot("gpu")
            with Path(os.environ["FAKE_NVML"]).open("a") as script:
                script.write("hang.nvmlDeviceGetMemoryInfo 1\\n")
            while snapshot("gpu") is not None:
                pass
            assert snapshot().gpu is None and snapshot().host.memory.limit
            observers.detach_all()
        assert snapshot("gpu") is None
        print("done", flush=True)
        """,
        **gpus.environ,
    )
    assert done.stdout.split() == ["done"], done.stderr


def test_observe_says_of_a_driver_that_hangs_that_it_gives_no_answer(gpus, program):
    """The others are shown, and the command ends."""
    gpus.say({"count": 1, **gpu(), "hang.nvmlDeviceGetMemoryInfo": 1})
    done = program(
        """
        from otel_llmon import cli, observers
        import sys

        observers.PATIENCE = 0.3
        sys.argv = ["llmon", "observe", "gpu", "host.memory", "--over", "0", "--json"]
        cli.main()
        """,
        **gpus.environ,
    )
    said = {each["source"]: each for each in json.loads(done.stdout)}
    assert said["gpu"]["nothing"] == "no answer for 0.3 s"
    assert said["host.memory"]["readings"]


def test_a_lost_gpu_takes_none_of_the_others_along(gpus, running, sink):
    """Its series alone are absent."""
    gpus.say({"count": 2, **gpu(0), **gpu(1)})
    running()
    assert len(whole(sink)[MEMORY]) == 2
    gpus.say({"gpu0.error": 15})
    assert until(lambda: set(by(sink.latest()[MEMORY], "hw.id")) == {("GPU-bbbb",)})
    states = {("GPU-aaaa", "ok"): 0, ("GPU-aaaa", "failed"): 1, ("GPU-bbbb", "ok"): 1, ("GPU-bbbb", "failed"): 0}
    assert until(lambda: by(sink.latest()["hw.status"], "hw.id", "hw.state") == states)


def test_gpus_that_are_not_there_any_more_are_told_and_counted(gpus, running, sink):
    """All at once, too; when they are back, that is told, and they are read again."""
    gpus.say({"count": 2, **gpu(0), **gpu(1)})
    process = running()
    assert len(whole(sink)[MEMORY]) == 2
    gpus.say({"count": 0})
    failed = {
        (which, state): int(state == "failed") for which in ("GPU-aaaa", "GPU-bbbb") for state in ("ok", "failed")
    }
    assert until(lambda: by(sink.latest().get("hw.status", ()), "hw.id", "hw.state") == failed)
    assert until(lambda: not {MEMORY, UTILIZATION} & set(sink.latest()))
    assert sink.latest()[AVAILABLE] == [({}, 0)]
    assert of(sink.latest()["llmon.self.errors"], llmon__source="gpu") == [2]
    gpus.say({"count": 2})
    assert until(lambda: len(sink.latest().get(MEMORY, ())) == 2)
    _, said = ended(process)
    [line, *back] = lines_of(said)
    assert line.count("is not there any more") == 2
    assert len(back) == 2
    assert all("is back" in each for each in back)


def test_more_than_all_is_no_utilisation(gpus, running, sink):
    """Some drivers say 255 where they do not know."""
    gpus.say({"count": 1, **gpu(busy=255, memory_busy=255, activity="self:255")})
    running()
    found = until(lambda: (batch := sink.latest()).get(OWN) and batch)
    assert not {UTILIZATION, "llmon.gpu.memory.activity", "llmon.process.gpu.utilization"} & set(found)


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("no library", "no NVIDIA driver: "),
        ({"error.nvmlInit": 9}, "Driver Not Loaded"),
        ({"error.nvmlInit": 18}, "version mismatch"),
        ({"error.nvmlInit": 4}, "Insufficient Permissions"),
        ({"count": 0}, "there is no GPU"),
    ],
    ids=str,
)
def test_where_there_is_no_gpu_one_line_says_why_and_one_that_comes_later_is_seen(gpus, running, sink, how, line):
    """`llmon.self.gpu.available` is 0 meanwhile, and no other series of GPUs is there; that is no error."""
    gpus.say({"count": 1, **gpu()})
    if how == "no library":
        gpus.uninstall()
    else:
        gpus.say(how)
    process = running()
    assert until(lambda: sink.latest().get(AVAILABLE) == [({}, 0)])
    assert {name for name in sink.latest() if "gpu" in name or name.startswith("hw.")} == {AVAILABLE}
    assert "llmon.self.errors" not in sink.latest()
    if how == "no library":
        gpus.install()
    else:
        gpus.say({"count": 1}, *(key for key in how if key != "count"))
    assert until(lambda: sink.latest()[AVAILABLE] == [({}, 1)] and sink.latest().get(MEMORY))
    _, said = ended(process)
    first, second = lines_of(said)
    assert line in first
    assert "there are GPUs now" in second
    assert "WARNING" not in first + second


def test_a_driver_too_old_for_a_function_costs_what_only_that_tells(gpus, running, sink):
    """The power comes by the older way; one line names what is missing."""
    gpus.install("-DOLD_DRIVER")
    gpus.say({"count": 2, **gpu(0), **gpu(1)})
    process = running()
    assert until(lambda: len(sink.latest().get(POWER, ())) == 2)
    found = sink.latest()
    assert {value for _, value in found[POWER]} == {350}
    assert found[MEMORY]
    assert not {"hw.energy", "llmon.gpu.throttle.time", OWN, "hw.gpu.io"} & set(found)
    assert until(lambda: asked(gpus) > 2 * (LOOK_AGAIN + 5)), "beyond the sample at which everything is tried again"
    _, said = ended(process)
    [line] = lines_of(said)
    assert all(name in line for name in ("nvmlDeviceGetFieldValues", "nvmlDeviceGetComputeRunningProcesses"))


def test_a_gpu_that_was_lost_before_the_program_began_is_seen_when_it_is_back(gpus, running, sink):
    """The others are read meanwhile."""
    gpus.say({"count": 2, **gpu(0), **gpu(1), "gpu0.error": 15})
    process = running()
    assert until(lambda: set(by(sink.latest().get(MEMORY, ()), "hw.id")) == {("GPU-bbbb",)})
    gpus.say(None, "gpu0.error")
    assert until(lambda: set(by(sink.latest().get(MEMORY, ()), "hw.id")) == {("GPU-aaaa",), ("GPU-bbbb",)})
    _, said = ended(process)
    [line] = lines_of(said)
    assert "GPU 0: GPU is lost" in line


def test_of_the_processes_of_a_service_one_reports_the_machine_and_each_itself(gpus, running, sink):
    """When the one ends, another takes over."""
    gpus.say({"count": 1, **gpu()})
    first = running(OTEL_SERVICE_NAME="served")
    whole(sink)
    running(OTEL_SERVICE_NAME="served")
    assert until(lambda: len(of_all(sink, OWN)) == 2)
    assert len(of_all(sink, MEMORY)) == 1
    first.kill()
    assert until(lambda: len(of_all(sink, MEMORY)) == 2)


def test_a_forked_child_connects_for_itself(gpus, running, sink):
    """Both report what they hold; the child does not end what its parent began."""
    gpus.say({"count": 1, **gpu()})
    running(more="import os; child = os.fork()")
    assert until(lambda: len(of_all(sink, OWN)) == 2)
    assert gpus.counted()["nvmlInit"] == 2
    assert gpus.counted()["nvmlShutdown"] == 0


def test_a_child_forked_amid_a_call_into_the_driver_says_so_and_does_not_hang(gpus, running, sink):
    """The driver's locks are held in that child for good; a fork waits for the call's end, but not for long."""
    gpus.say({"count": 1, **gpu(), "hang.nvmlDeviceGetName": 1})
    more = """
    from pathlib import Path
    asked = Path(os.environ["FAKE_NVML_CALLS"])
    while not (asked.exists() and "nvmlDeviceGetName" in asked.read_text()):
        pass
    child = os.fork()
    """
    process = running(more="import os" + more.replace("\n    ", "\n"))
    assert until(lambda: of_all(sink, AVAILABLE))
    gpus.say(None, "hang")
    assert until(lambda: len(of_all(sink, AVAILABLE)) == 2)
    assert until(lambda: len(of_all(sink, OWN)) == 1)
    _, said = ended(process)
    assert len(lines(said, "forked while its parent was in the driver")) == 1


def test_a_gpu_that_is_divided_while_the_program_runs_shows_its_instances(gpus, running, sink):
    """Now and then a sample is spent on looking which devices there are."""
    gpus.say({"count": 1, **gpu(migs=0)})
    running()
    whole(sink)
    part = {"uuid": "MIG-1", "name": "1g.10gb", "memory.used": GIB, "memory.total": 10 * GIB}
    gpus.say({"gpu0.migs": 1, **{f"gpu0.mig0.{key}": value for key, value in part.items()}})
    assert until(lambda: set(by(sink.latest()[MEMORY], "hw.id")) == {("GPU-aaaa",), ("MIG-1",)})


ON_A_DEVICE = """
import json, subprocess, threading
import otel_llmon
from otel_llmon import observers
handle = otel_llmon.configure("app", observers=("gpu", "torch"))
import torch
held = torch.ones(1 << 29, device="cuda")  # 2 GiB
end, done = threading.Event(), threading.Thread(target=lambda: [held.mul_(1.0) for _ in iter(end.is_set, True)])
done.start()
for _ in range(4):
    end.wait(1)
    assert observers.read_now(20)
names = "index,uuid,name,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw,clocks.sm"
command = ["nvidia-smi", f"--query-gpu={names}", "--format=csv,noheader,nounits"]
print(json.dumps([line.split(", ") for line in subprocess.check_output(command, text=True).splitlines()]))
handle.flush()
end.set()
done.join()
"""


@pytest.mark.gpu
def test_a_real_gpu_says_what_nvidia_smi_says(program, sink):
    """While torch keeps it busy with 2 GiB of its own; torch is on the first of the GPUs that are visible."""
    pytest.importorskip("torch")
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        pytest.skip(f"no NVIDIA GPU: {exc}")
    done = program(ON_A_DEVICE, timeout=100)
    assert done.returncode == 0, done.stderr
    found = sink.latest()
    assert found[AVAILABLE] == [({}, 1)]
    for index, uuid, name, busy, used, total, temperature, watts, clock in json.loads(done.stdout.splitlines()[-1]):
        where = {"hw__id": uuid, "hw__name": name, "llmon__gpu__index": index}
        assert of(found[UTILIZATION], **where) == [pytest.approx(float(busy) / 100, abs=0.05)]
        assert of(found["hw.gpu.memory.limit"], **where) == [pytest.approx(float(total) * (1 << 20), rel=0.02)]
        # nvidia-smi leaves out what the driver keeps for itself
        assert of(found[MEMORY], **where) == [pytest.approx(float(used) * (1 << 20), abs=GIB)]
        assert of(found["hw.temperature"], hw__sensor_location="gpu", **where) == [
            pytest.approx(float(temperature), abs=5)
        ]
        assert of(found[POWER], **where) == [pytest.approx(float(watts), rel=0.2)]
        assert of(found["llmon.gpu.clock"], llmon__clock="sm", **where) == [pytest.approx(float(clock) * 1e6, rel=0.1)]
        assert of(found["hw.energy"], **where)[0] > 0
        assert len(of(found["llmon.gpu.throttle"], **where)) == len(nvidia.REASONS)
        assert of(found["hw.errors"], error__type="xid", **where) == [0]
    assert sum(value for where, value in found["llmon.torch.memory.usage"]) >= 4 * GIB, "allocated, and reserved"
