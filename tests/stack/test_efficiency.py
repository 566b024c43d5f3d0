"""What work uses and costs, and how long it takes, as the real servers tell it; the arithmetic was done by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from processes import BIN
from servers import until

from otel_llmon.scores import bottleneck
from otel_llmon.scores.bottleneck import Spell

PRICES = {"cpu_hour": 0.05, "gpu_hour": 2.0, "memory_gb_hour": 0.005, "kwh": 0.30}
EXECUTION = """
    import otel_llmon as llmon
    from otel_llmon import efficiency, telemetry
    from otel_llmon.testing import Clock

    GB_HOUR = 1e9 * 3600
    llmon.configure("execution", observers=())
    telemetry.state.clock = clock = Clock()
    with llmon.pipeline("papers"):
        with llmon.phase("extraction"):
            for _ in llmon.progress(range(100), "documents"):
                clock.now += 0.5
            efficiency.spend(cpu=0.014 * 3600, gpu=0.0, memory=0.28 * GB_HOUR)
        with llmon.phase("embedding"):
            clock.now += 150
            efficiency.spend(cpu=0.021 * 3600, gpu=0.042 * 3600, memory=0.35 * GB_HOUR, energy=90_000)
        efficiency.score({"utilization": 0.5, "success": 1.0, "throughput": 0.8})
"""
DOLLARS = 0.035 * 0.05 + 0.042 * 2.0 + 0.63 * 0.005 + 0.025 * 0.30
CONVEYED = """
    import otel_llmon as llmon
    from otel_llmon import efficiency

    llmon.configure("conveyed", observers=())
    for name, w, t in (("once", 0.8, 30.0), ("slower", 0.8, 60.0), ("nothing", 0.0, 30.0)):
        efficiency.conveyance(w, 0.9, 0.5, t, {"L": 0.9, "I": 0.7, "A": 0.8, "G": 0.6}, phase=name)
"""
STAGES = """
    import time
    import otel_llmon
    from opentelemetry import trace

    otel_llmon.configure("stages", observers=())
    tracer, second = trace.get_tracer("app"), 1_000_000_000
    began = time.time_ns() - 60 * second
    def span(name, start, end, parent=None):
        context = None if parent is None else trace.set_span_in_context(parent)
        made = tracer.start_span(name, context, start_time=began + start * second)
        made.end(began + end * second)
        return made
    root = span("pipeline", 0, 45)
    for name, start, end in (("extraction", 0, 10), ("embedding", 10, 40), ("storage", 40, 45)):
        span(name, start, end, root)
"""
OPERATIONS = """
    import contextlib
    import numpy
    import otel_llmon as llmon
    from otel_llmon import telemetry
    from otel_llmon.testing import Clock

    llmon.configure("operations", observers=())
    telemetry.state.level = telemetry.BASIC
    telemetry.state.clock = clock = Clock()

    @llmon.phase("decorated")
    def decorated():
        clock.now += 0.25

    with llmon.pipeline("measured"):
        for seconds in numpy.random.default_rng(7).lognormal(-1, 0.6, 10_000):
            with llmon.phase("x"):
                clock.now += float(seconds)
        for _ in range(40):
            decorated()
        for number in range(10):
            with contextlib.suppress(TimeoutError), llmon.phase("fragile"):
                if number < 3:
                    raise TimeoutError("late")
        with llmon.phase("extract"):
            for _ in llmon.progress(range(10), "documents"):
                clock.now += 3.05
"""
CALLS = """
    import importlib.util
    import otel_llmon as llmon
    from otel_llmon.instrumentors.openai import OpenAIInstrumentor

    llmon.configure("calls", observers=())
    OpenAIInstrumentor().instrument()
    import openai

    spec = importlib.util.spec_from_file_location("local_llm", EXAMPLE)
    local_llm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(local_llm)
    with local_llm.serve() as url, openai.OpenAI(base_url=url, api_key="none") as client:
        with llmon.pipeline("chatting"), llmon.phase("answer"):
            for model in ("parrot", "parrot", "owl"):
                client.chat.completions.create(model=model, messages=[{"role": "user", "content": "how are you?"}])
"""
BUSY = """
    import time
    import otel_llmon as llmon

    llmon.configure("busy", observers=("efficiency",))
    with llmon.pipeline("work"):
        with llmon.phase("compute"):
            began = time.process_time()
            while time.process_time() - began < 0.5:
                sum(range(1000))
        with llmon.phase("wait"):
            time.sleep(0.3)
    print(time.process_time())
"""
LASTING = """
    import time
    import otel_llmon as llmon

    handle = llmon.configure("lasting", observers=())
    for _ in range(7):
        with llmon.phase("done"):
            pass
    handle.flush()
    print("sent", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def ask(stack):
    """A function that asks Prometheus until it answers with one number."""

    def ask(query):
        return until(lambda: (stack.prometheus.query(query).value or 0.0) + 0.0, 40)

    return ask


@pytest.fixture
def ran(program, stack):
    """A function that runs a program to its end, with telemetry that goes to the servers."""

    def ran(source, **environ):
        done = program(source, timeout=100, **stack.environ, **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ran


@pytest.mark.row("F6", "F7", "F8", "F9", "F10")
def test_an_execution_is_told_in_seconds_dollars_and_shares(ran, ask):
    """100 items in two phases of 50 and 150 seconds, with the resources that each used."""
    ran(EXECUTION, OTEL_LLMON_PRICES=json.dumps(PRICES), OTEL_LLMON_CARBON_INTENSITY="400")
    of = '{service_name="execution"}'
    assert ask(
        'sum(llmon_resource_time_seconds_total{service_name="execution",llmon_resource="cpu"})'
    ) == pytest.approx(126)
    embedding = '{service_name="execution",llmon_resource="gpu",llmon_phase="embedding"}'
    assert ask(f"llmon_resource_time_seconds_total{embedding}") == pytest.approx(151.2)
    assert ask(f"sum(llmon_resource_memory_By_s_total{of})") == pytest.approx(0.63e9 * 3600)
    items, wall = f"sum(llmon_progress_items_total{of})", f"sum(llmon_pipeline_duration_seconds_sum{of})"
    assert ask(f"3600 * {items} / {wall}") == pytest.approx(1800)
    assert ask(f"1000 * sum(llmon_cost_total{of}) / {items}") == pytest.approx(10 * DOLLARS)
    assert ask(f"sum(llmon_resource_energy_joules_total{of}) / {items}") == pytest.approx(900)
    assert ask(f"sum(llmon_resource_carbon_grams_total{of}) / {items}") == pytest.approx(0.1)
    used = 'sum(llmon_resource_time_seconds_total{service_name="execution",llmon_resource="gpu"})'
    assert ask(f"{used} / (1 * {wall})") == pytest.approx(151.2 / 200)
    weighted = f"llmon_efficiency_part_ratio{of} * on (llmon_part) llmon_efficiency_weight_ratio{of}"
    assert ask(f"llmon_efficiency_score_ratio{of}") == pytest.approx(0.74)
    assert ask(f"sum({weighted})") == pytest.approx(0.74)


@pytest.mark.row("F12", "F13", "F14", "F15")
def test_conveyance_halves_when_time_doubles(ran, ask, stack):
    """Its parts recombine; without W it is 0; efficiency is C over T, and capability does not know of T."""
    ran(CONVEYED, OTEL_LLMON_CONVEYANCE_ALPHA="2")
    c = {name: f'llmon_conveyance{{service_name="conveyed",llmon_phase="{name}"}}' for name in ("once", "slower")}
    assert ask(c["once"]) == pytest.approx(0.8 * 0.9 * 0.5 / 30 * 0.75**2)
    assert ask(f"{c['once']} / ignoring (llmon_phase) {c['slower']}") == pytest.approx(2)
    w, r, h, t, x, a = (f"llmon_conveyance_{part}" for part in ("w", "r", "h", "t_seconds", "ctx", "alpha"))
    slower = f"({w} * {r} * {h} / {t} * {x} ^ {a}) and on (llmon_phase) {c['slower']}"
    assert ask(slower) == pytest.approx(0.8 * 0.9 * 0.5 / 60 * 0.75**2)
    assert ask(f"{c['once']} / llmon_conveyance_t_seconds") == pytest.approx(0.006750 / 30)
    for series in c.values():
        assert ask(f"{series} * llmon_conveyance_t_seconds / 60") == pytest.approx(0.8 * 0.9 * 0.5 / 60 * 0.75**2)
    assert ask('llmon_conveyance_context{llmon_component="G",llmon_phase="once"}') == pytest.approx(0.6)
    assert stack.prometheus.query('llmon_conveyance{llmon_phase="nothing"}').value == 0


@pytest.mark.row("F1")
def test_stages_of_ten_thirty_and_five_seconds_blame_the_thirty(ran, stack):
    """The trace as Jaeger has it: embedding comes first, with two thirds of the time."""
    ran(STAGES)
    now = time.time()
    [trace] = until(lambda: stack.jaeger.find("stages", start=now - 3600, end=now + 60))
    assert len(trace.spans) == 4
    spells = [Spell(span.span_id, span.parent_id, span.start / 1e9, span.end / 1e9, span.name) for span in trace.spans]
    first, *_ = bottleneck.bottlenecks(spells)
    assert (first.name, round(first.share, 3), round(first.seconds, 3)) == ("embedding", 0.667, 30)
    assert bottleneck.blamed(spells)[0].name == "embedding"


@pytest.mark.row("F11")
def test_calls_to_models_are_priced_by_model(ran, ask, stack):
    """Tokens that Prometheus has, times the price; a model without a price costs nothing that is known."""
    models = {"parrot": {"input": 2.5, "output": 10}}
    example = BIN.parents[1] / "examples" / "local_llm.py"
    ran(CALLS.replace("EXAMPLE", repr(str(example))), OTEL_LLMON_PRICES=json.dumps({"models": models}))
    tokens = {
        kind: ask(
            'sum(gen_ai_client_token_usage_sum{service_name="calls",gen_ai_request_model="parrot",'
            f'gen_ai_token_type="{kind}"}})'
        )
        for kind in ("input", "output")
    }
    by_model = 'sum by (gen_ai_request_model) (llmon_cost_total{service_name="calls",llmon_phase="answer"})'
    assert ask(by_model) == pytest.approx((tokens["input"] * 2.5 + tokens["output"] * 10) / 1e6)
    [series] = stack.prometheus.query(by_model)
    assert series.labels == {"gen_ai_request_model": "parrot"}


def test_cpu_seconds_count_for_the_phase_that_used_them(ran, ask):
    """Half a second of computing and none of waiting; together no more than the process used."""
    spent = float(ran(BUSY))
    series = 'llmon_resource_time_seconds_total{service_name="busy",llmon_resource="cpu",llmon_phase="%s"}'
    assert 0.5 <= ask(series % "compute") < spent
    assert ask(series % "wait") < 0.3
    assert ask('sum(llmon_resource_time_seconds_total{service_name="busy"})') <= spent
    assert 0 < ask('llmon_resource_utilization_ratio{service_name="busy"}') <= 1


@pytest.mark.row("E2", "E3", "E6", "E12")
def test_operations_are_counted_and_their_quantiles_are_those_of_numpy(ran, ask):
    """10,000 measured times in native histograms: p95 within 5 %, mean and standard deviation likewise."""
    ran(OPERATIONS, OTEL_LLMON_HISTOGRAMS="exponential")
    seconds = np.random.default_rng(7).lognormal(-1, 0.6, 10_000)
    series = 'llmon_phase_duration_seconds{service_name="operations",llmon_phase="x"}'
    assert ask(f"histogram_count({series})") == 10_000
    for quantile in (0.5, 0.95, 0.99):
        assert ask(f"histogram_quantile({quantile}, {series})") == pytest.approx(
            np.quantile(seconds, quantile), rel=0.05
        )
    assert ask(f"histogram_avg({series})") == pytest.approx(seconds.mean())
    assert ask(f"histogram_stddev({series})") == pytest.approx(seconds.std(), rel=0.05)
    decorated = series.replace('"x"', '"decorated"')
    assert ask(f"histogram_count({decorated})") == 40
    assert ask(f"histogram_sum({decorated})") == pytest.approx(10)


@pytest.mark.row("E5", "E13", "E14", "E17")
def test_throughput_errors_and_successes_are_ratios_of_counters(ran, ask):
    """Ten documents in 30.5 seconds; three of ten that fail with a TimeoutError."""
    ran(OPERATIONS, OTEL_LLMON_HISTOGRAMS="explicit", OTEL_SERVICE_NAME="ratios")
    took = 'sum(llmon_phase_duration_seconds_sum{service_name="ratios",llmon_phase="extract"})'
    assert ask(f'sum(llmon_progress_items_total{{service_name="ratios"}}) / {took}') == pytest.approx(10 / 30.5)
    assert ask('llmon_phase_errors_total{service_name="ratios",error_type="TimeoutError"}') == 3
    ended = 'llmon_phase_duration_seconds_count{service_name="ratios",llmon_phase="fragile",llmon_outcome="%s"}'
    assert ask(ended % "success") == 7
    assert ask(ended % "failure") == 3


@pytest.mark.row("E10")
def test_what_was_sent_outlives_the_program(program, stack, ask):
    """Killed without a last word: Prometheus has its history."""
    with program.start(program.command(LASTING), **stack.environ) as process:
        assert process.stdout.readline() == "sent\n"
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert ask('llmon_phase_duration_seconds_count{service_name="lasting"}') == 7


@pytest.mark.row("E18", "E19", "E20")
def test_benchmarks_of_two_builds_have_a_history(program, stack, ask):
    """Each `llmon bench` adds its runs under its build; a regression is a log line that leads to the trace."""
    quick = [sys.executable, "-S", "-c", "pass"]
    slow = [sys.executable, "-S", "-c", "sum(range(6_000_000))"]

    def bench(*arguments):
        command = [str(BIN / "llmon"), "bench", "-n", "6", "--name", "start", *arguments]
        return subprocess.run(
            command,
            env=program.environ | stack.environ,
            cwd=program.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    assert bench("--build", "v1", "--", *quick).returncode == 0
    against = ["--against", " ".join(quick), "--against-build", "v1-again", "--by", "cpu", "--fail-above", "1.2"]
    done = bench("--build", "v2", *against, "--", *slow)
    assert done.returncode == 1, done.stdout + done.stderr
    series = 'llmon_benchmark_duration_seconds{llmon_benchmark="start",llmon_build="%s"}'
    for build in ("v1", "v2", "v1-again"):
        assert ask(f"sum(histogram_count({series % build}))") == 6
    cpu = 'llmon_benchmark_cpu_time_seconds{llmon_benchmark="start",llmon_build="%s"}'
    assert ask(f"histogram_quantile(0.5, {cpu % 'v2'}) / scalar(histogram_quantile(0.5, {cpu % 'v1'}))") > 1.2
    [line] = until(lambda: stack.loki.lines('{service_name="llmon-bench"} |= "regression.detected"'))
    assert float(line.attributes["duration"]) > float(line.attributes["baseline"])
    trace = until(lambda: stack.jaeger.trace(line.trace_id))
    assert trace.root.name == "bench"
