"""GPUs as Prometheus and Jaeger tell of them, held against the script that the driver follows."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from gpus import GIB, NAME, gpu
from servers import until

READS = """
import otel_llmon as llmon, threading
from otel_llmon import observers
handle = llmon.configure("{service}", observers=("gpu",))
assert observers.read_now(20) and observers.read_now(20)
{more}
handle.flush()
"""
SPENDS = """
import json, time
import otel_llmon as llmon
from otel_llmon import observers

llmon.configure("spends", observers=("gpu",))
assert observers.read_now(20)
walls = {}
with llmon.pipeline("papers"):
    for name, seconds, items in (("load", 0.3, 0), ("embed", 1.5, 20)):
        began = time.monotonic()
        with llmon.phase(name):
            for _ in llmon.progress(range(items), "documents"):
                time.sleep(seconds / items)
            time.sleep(0 if items else seconds)
        walls[name] = time.monotonic() - began
print(json.dumps(walls))
"""
PROFILES = """
import otel_llmon as llmon, os, time
from pathlib import Path

llmon.configure("profiles", observers=())
asked = Path(os.environ["FAKE_NVML_CALLS"])

def calls():
    return asked.read_text().count("nvmlDeviceGetUtilizationRates") if asked.exists() else 0

with llmon.phase("embed", probes=("gpu",)):
    deadline = time.monotonic() + 20
    while calls() < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
"""


@pytest.fixture
def ask(stack):
    """A function that asks Prometheus until it answers with as many series, and returns their values by a label."""

    def ask(query, label="hw_id", series=1):
        def answer():
            found = stack.prometheus.query(query).series
            return found if len(found) >= series else None

        return {one.labels.get(label): one.value for one in until(answer, 40)}

    return ask


@pytest.fixture
def ran(program, stack, gpus):
    """A function that runs a program to its end."""

    def ran(source, **environ):
        done = program(source, timeout=100, **stack.environ, **gpus.environ, **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ran


def reads(service, more=""):
    """A program that reads its GPUs twice."""
    return READS.format(service=service, more=more)


@pytest.mark.row("G1")
@pytest.mark.row("G2")
@pytest.mark.row("G4")
@pytest.mark.row("G5")
def test_prometheus_has_what_the_drivers_script_says(gpus, ran, ask):
    """Two whole GPUs and one that is divided: utilisation, memory, temperature, power and energy of each."""
    part = {"uuid": "MIG-1", "name": f"{NAME} MIG 1g.10gb", "memory.used": GIB, "memory.total": 10 * GIB}
    part = {f"gpu2.mig0.{key}": value for key, value in part.items()}
    gpus.say({"count": 3, **gpu(0), **gpu(1), **gpu(2, migs=1, busy=None), **part})
    ran(reads("read"))
    of = '{service_name="read"}'
    a, b, c = "GPU-aaaa", "GPU-bbbb", "GPU-cccc"
    assert ask(f"hw_gpu_utilization_ratio{of}", series=2) == {a: 0.40, b: 0.41}
    memory = {a: 10 * GIB, b: 11 * GIB, c: 12 * GIB, "MIG-1": GIB}
    assert ask(f"hw_gpu_memory_usage_bytes{of}", series=4) == memory
    assert ask(f"hw_gpu_memory_limit_bytes{of}", series=4)["MIG-1"] == 10 * GIB
    assert ask(f"hw_gpu_memory_utilization_ratio{of}", series=4)[a] == 0.125
    assert ask('count(hw_gpu_memory_usage_bytes{service_name="read",hw_parent=""})', None) == {None: 3}
    assert ask(f"hw_gpu_memory_usage_bytes{of}", "llmon_gpu_index", 4).keys() == {"0", "1", "2", "2:0"}
    named = f'hw_gpu_memory_usage_bytes{{service_name="read",hw_name="{NAME} MIG 1g.10gb",hw_parent="{c}"}}'
    assert ask(named) == {"MIG-1": GIB}
    assert ask('hw_temperature_celsius{service_name="read",hw_sensor_location="gpu"}', series=3) == {
        a: 61,
        b: 62,
        c: 63,
    }
    assert ask(f"hw_power_watts{of}", series=3)[b] == pytest.approx(412.5)
    assert ask(f"hw_energy_joules_total{of}", series=3)[a] == pytest.approx(123_456.789)
    assert ask(f"llmon_self_gpu_available{of}", None) == {None: 1}


@pytest.mark.row("G11")
def test_prometheus_has_what_holds_a_gpu_down_and_what_failed_in_it(gpus, ran, ask):
    """Memory that was repaired or lost, replayed packets, critical errors of the driver, and why clocks are low."""
    gpus.say({"count": 1, **gpu(xids="79,31")})
    ran(reads("failing"))
    errors = ask('hw_errors_total{service_name="failing"}', "error_type", 5)
    assert errors == {"corrected": 5, "uncorrected": 1, "pcie_replay": 2, "nvlink_crc": 3, "xid": 2}
    assert ask('llmon_gpu_throttle{service_name="failing"} == 1', "llmon_reason", 2) == {
        "sw_power_cap": 1,
        "hw_thermal": 1,
    }
    assert (
        ask('llmon_gpu_throttle_time_seconds_total{service_name="failing"}', "llmon_reason", 2)["sw_power_cap"] == 2.5
    )


@pytest.mark.row("G2")
def test_two_gibibytes_that_are_taken_are_two_more_in_prometheus(gpus, ran, ask):
    """As the script does in the name of an allocation."""
    gpus.say({"count": 1, **gpu()})
    ran(reads("taking"))
    before = ask('hw_gpu_memory_usage_bytes{service_name="taking"}')["GPU-aaaa"]
    gpus.say({"gpu0.memory.used": before + 2 * GIB})
    ran(reads("taken"))
    assert ask('hw_gpu_memory_usage_bytes{service_name="taken"}')["GPU-aaaa"] == before + 2 * GIB


@pytest.mark.row("G9")
def test_each_of_two_processes_has_its_own_memory_on_the_gpu(gpus, program, stack, ask):
    """The driver tells of three processes; one of the two reports the device."""
    gpus.say({"count": 1, **gpu()})
    environ = {**stack.environ, **gpus.environ, "OTEL_SERVICE_NAME": "pair", "OTEL_LLMON_OBSERVER_INTERVAL": "0.1"}
    lasting = reads("pair", "print('ready', flush=True); threading.Event().wait(60)")
    processes = [program.start(program.command(lasting), **environ, OTEL_METRIC_EXPORT_INTERVAL="300") for _ in "ab"]
    try:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
        held = ask('llmon_process_gpu_memory_usage_bytes{service_name="pair"}', "service_instance_id", 2)
        assert list(held.values()) == [3 * GIB] * 2
        assert len(ask('hw_gpu_memory_usage_bytes{service_name="pair"}', "service_instance_id")) == 1
    finally:
        for process in processes:
            process.terminate()
            process.communicate(timeout=20)


@pytest.mark.row("G10")
def test_without_a_gpu_prometheus_has_a_zero_and_no_series_of_devices(gpus, ran, ask, stack):
    """The program ends as it should, and nothing is counted as an error."""
    gpus.uninstall()
    ran(reads("bare"))
    assert ask('llmon_self_gpu_available{service_name="bare"}', None) == {None: 0}
    assert not stack.prometheus.query('{service_name="bare",__name__=~"hw_.*|llmon_self_errors.*"}').series


@pytest.mark.row("G7")
@pytest.mark.row("F16")
def test_phases_are_charged_with_the_gpus_that_the_process_holds(gpus, ran, ask):
    """Time is wall time by devices, of one that another process holds too the half; energy and CO2 follow from it."""
    held = {"gpu0.field.83": "@300000", "gpu1.field.83": "@100000"}  # 300 W and 100 W
    gpus.say({"count": 3, **gpu(0), **gpu(1), **gpu(2), **held})
    gpus.say({"gpu0.processes": "self:1", "gpu1.processes": "4711:1,self:1", "gpu2.processes": "4711:1"})
    prices = {"OTEL_LLMON_PRICES": json.dumps({"gpu_hour": 3.6}), "OTEL_LLMON_CARBON_INTENSITY": "360"}
    walls = json.loads(ran(SPENDS, OTEL_LLMON_OBSERVER_INTERVAL="0.2", **prices))
    of = 'service_name="spends",llmon_resource="gpu"'
    found = ask(f"llmon_resource_time_seconds_total{{{of}}}", "llmon_phase", 2)
    found.pop(None, None)  # what the pipeline took beside its phases
    assert found == pytest.approx({name: 1.5 * wall for name, wall in walls.items()}, abs=0.05)
    embed = '{service_name="spends",llmon_phase="embed"}'
    joules = ask(f"llmon_resource_energy_joules_total{embed}", "llmon_phase")["embed"]
    # a reading spans the end of one phase and the start of the next, and says nothing of where in it energy went
    assert joules == pytest.approx(350 * walls["embed"], rel=0.05)
    items = 'sum(llmon_progress_items_total{service_name="spends"})'
    assert ask(f"sum(llmon_resource_energy_joules_total{embed}) / {items}", None)[None] == pytest.approx(joules / 20)
    grams = joules / 3.6e6 * 360
    assert ask(f"llmon_resource_carbon_grams_total{embed}", None)[None] == pytest.approx(grams)
    assert ask(f"llmon_cost_total{{{of},llmon_phase='embed'}}", None)[None] == pytest.approx(found["embed"] * 0.001)


@pytest.mark.row("G12")
def test_milliwatts_and_a_gauge_of_ones_own_for_a_device_without_a_meter(gpus, ran, ask):
    """The driver's milliwatts are watts; a board that has its own meter reports under the same name."""
    gpus.say({"count": 1, **gpu(), "gpu0.field.186": 15, "gpu0.field.83": 2})
    board = 'llmon.gauge("hw.power", lambda: 0.004, unit="W", attributes={"hw.id": "edge", "hw.type": "gpu"})'
    ran(reads("edge", f"{board}; assert observers.read_now(20)"))
    assert ask('hw_power_watts{service_name="edge"}', series=2) == pytest.approx({"GPU-aaaa": 0.015, "edge": 0.004})
    assert ask('hw_energy_joules_total{service_name="edge"}') == pytest.approx({"GPU-aaaa": 0.002})


@pytest.mark.row("G3")
@pytest.mark.row("G6")
@pytest.mark.row("K4")
def test_a_phases_span_in_jaeger_has_its_peak_and_its_mean(gpus, ran, stack):
    """Over the samples that the script made up: 1, 7 and then 3 GiB on one GPU, 2 on the other; 20 % and 60 % busy."""
    gpus.say({"count": 2, **gpu(0, busy=20), **gpu(1, busy=60)})
    gpus.say({"gpu0.memory.used": f"{GIB},{7 * GIB},{3 * GIB}", "gpu1.memory.used": 2 * GIB})
    ran(PROFILES)
    now = time.time()
    [trace] = until(lambda: stack.jaeger.find("profiles", start=now - 600, end=now + 60))
    [span] = trace.spans
    assert span.attributes["llmon.gpu.memory.peak"] == 9 * GIB
    assert span.attributes["llmon.gpu.utilization.mean"] == pytest.approx(0.4)


def test_every_question_of_the_page_has_an_answer(gpus, program, stack, ask):
    """The names are those that Prometheus has; torch is not there, nor is a GPU broken."""
    gpus.say({"count": 1, **gpu(), "gpu0.field.83": "@300000", "gpu0.field.74": "@1000000000", "gpu0.field.4": "@1"})
    environ = {**stack.environ, **gpus.environ, "OTEL_LLMON_CARBON_INTENSITY": "360"}
    environ |= {"OTEL_LLMON_OBSERVER_INTERVAL": "0.1", "OTEL_METRIC_EXPORT_INTERVAL": "300"}
    lasting = """
import time
with llmon.phase("embed"):
    for _ in llmon.progress(range(3000), "documents"):
        time.sleep(0.01)
"""
    with program.start(program.command(reads("page", lasting)), **environ) as process:
        page = (Path(__file__).parents[2] / "docs/gpu.md").read_text()
        [table] = re.findall(r"(?ms)^\| question .*?\n\n", page)
        asked = [query.replace("\\|", "|") for query in re.findall(r"`([^`]+)`", table)]
        for query in asked:
            if "torch" not in query and "== 1" not in query:
                assert ask(query if "_" in query else f"sum({query})", None), query
        process.terminate()
        process.communicate(timeout=20)
