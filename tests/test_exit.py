"""How real processes start and end: what arrives at a server, what they print, and their exit status."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys

import pytest
from opentelemetry.sdk import environment_variables
from processes import CONFIGURE, lines
from sink import Sink, all_of

from otel_llmon.observers import OBSERVERS

WAYS_OUT = {
    "the end of the program": ("", 0),
    "sys.exit": ("raise SystemExit(3)", 3),
    "an exception": ("raise ValueError('boom')", 1),
    "SIGINT": ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -2),
    "SIGTERM": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
}

WHY = {"refuses": "Connection refused", "hangs": "no answer within 2 s", "503": "Service Unavailable"}

needs_threads_at_exit = pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2), reason="this Python starts no thread at exit, as docs/lifecycle.md says"
)


@pytest.fixture(params=["instrumented", "configured"])
def started(request):
    """How telemetry gets into a program: under `opentelemetry-instrument`, or by a line of the program."""
    if request.param == "instrumented":
        return lambda source: {"source": source, "instrumented": True}
    return lambda source: {"source": f"{CONFIGURE}\n{source}"}


@pytest.fixture
def soon(program):
    """A program whose last flush may take as long as by default, and no longer."""
    del program.environ["OTEL_LLMON_EXIT_TIMEOUT"]
    return program


@pytest.fixture(params=["refuses", "hangs", "503"])
def dead(request, soon):
    """A server that takes nothing."""
    sink = Sink(request.param)
    yield sink
    sink.close()


@pytest.fixture
def vendor(program):
    """Another vendor's package, with a distro and a configurator."""
    program.write(
        "vendor.py",
        """
        import os
        from opentelemetry.instrumentation.distro import BaseDistro
        from opentelemetry.sdk._configuration import _OTelSDKConfigurator

        class Distro(BaseDistro):
            def _configure(self, **kwargs):
                os.environ.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
                for signal in ("TRACES", "METRICS", "LOGS"):
                    os.environ.setdefault(f"OTEL_{signal}_EXPORTER", "otlp")
                os.environ.setdefault("OTEL_RESOURCE_ATTRIBUTES", "vendor.distro=yes")

        class Configurator(_OTelSDKConfigurator):
            def _configure(self, **kwargs):
                super()._configure(resource_attributes={"vendor.configurator": "yes"}, **kwargs)
        """,
    )
    program.write("vendor-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
    program.write(
        "vendor-1.0.dist-info/entry_points.txt",
        "[opentelemetry_distro]\nvendor = vendor:Distro\n[opentelemetry_configurator]\nvendor = vendor:Configurator\n",
    )


@pytest.mark.parametrize("way", WAYS_OUT)
def test_whichever_way_a_process_ends_everything_has_arrived_and_its_status_is_its_own(way, started, program, sink):
    """Spans, log records and metrics of a short program arrive, and its exit status is what it would be without us."""
    leave, status = WAYS_OUT[way]
    ended = program(**started(f"from work import work\nwork(10)\n{leave}"))
    assert ended.returncode == status, ended.stderr
    assert sink.operations() == all_of(10)
    assert len(sink.instances()) == 1


def test_a_process_that_is_terminated_at_work_sends_what_it_did(started, program, sink):
    """SIGTERM comes between any two instructions; what was done before it has arrived."""
    source = "from work import work\nwhile True:\n    work(10)\n    print(flush=True)"
    with program.start(program.command(**started(source))) as process:
        for _ in range(20):
            process.stdout.readline()
        process.terminate()
        more, err = process.stdout.read(), process.stderr.read()  # communicate() leaves out what readline() read ahead
    assert (process.returncode, err) == (-signal.SIGTERM, "")
    arrived = sink.operations().values()
    begun = 200 + 10 * (more.count("\n") + 1)
    assert 200 <= min(arrived) <= max(arrived) <= begun


def test_a_lock_that_is_held_when_sigterm_comes_is_let_go(started, program, sink):
    """The last collection may need what the interrupted thread holds: the SDK's locks, or the user's as here."""
    source = """
import os, signal, threading, time
from opentelemetry import metrics
from work import work
lock = threading.Lock()

def read(_):
    with lock:
        return [metrics.Observation(1)]

metrics.get_meter("mine").create_observable_gauge("mine.gauge", [read])
work(10)
with lock:
    os.kill(os.getpid(), signal.SIGTERM)
time.sleep(10)
"""
    ended = program(**started(source))
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "")
    assert sink.operations() == all_of(10)
    assert "mine.gauge" in sink.metrics()


@needs_threads_at_exit
def test_a_collection_that_hangs_is_told_and_costs_metrics_only(soon, sink):
    """A callback of the user's that never comes back keeps neither the process nor the other signals."""
    source = f"""
import threading
{CONFIGURE}
from opentelemetry import metrics
from work import work
metrics.get_meter("mine").create_observable_gauge("mine.gauge", [lambda _: threading.Event().wait()])
work(10)
"""
    ended = soon(source, timeout=20)
    assert ended.returncode == 0
    assert ended.stderr.startswith("not sent: 1 batches of metrics: ")
    assert sink.operations() == all_of(0) | dict.fromkeys(("spans", "distinct spans", "logs"), 10)


def test_a_handler_of_the_users_keeps_the_last_word(started, program, sink):
    """A program that ends itself at SIGTERM does so with the status that it chose, before or after we came."""
    source = """
import os, signal, sys
from work import work
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
work(10)
os.kill(os.getpid(), signal.SIGTERM)
"""
    assert program(**started(source)).returncode == 7
    assert sink.operations() == all_of(10)


def test_a_handler_that_stood_before_us_stays(program, sink):
    """configure() puts no handler where one stands."""
    source = f"""
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
{CONFIGURE}
from work import work
work(10)
os.kill(os.getpid(), signal.SIGTERM)
"""
    assert program(source).returncode == 7
    assert sink.operations() == all_of(10)


def test_threads_that_work_on_do_not_keep_a_process_from_ending(started, program, sink):
    """A daemon thread that records while the process ends neither crashes nor delays it."""
    ended = program(**started("from work import work, work_on_and_on\nwork_on_and_on()\nwork(10)"), timeout=20)
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert sink.operations()["spans"] >= 10


@needs_threads_at_exit
@pytest.mark.parametrize("way", ["the end of the program", "an exception", "SIGTERM"])
def test_a_dead_collector_neither_holds_a_process_nor_changes_how_it_ends(way, dead, program):
    """With full queues a process ends soon, and one line says how much of what was not sent, and why."""
    leave, status = WAYS_OUT[way]
    source = f"{CONFIGURE}\nfrom work import work\nwork(2048)\n{leave}"
    ended = program(source, timeout=20, OTEL_EXPORTER_OTLP_ENDPOINT=dead.endpoint)
    assert ended.returncode == status, ended.stderr
    [line] = lines(ended.stderr, "not sent: ")
    assert "2048 spans, " in line
    assert "2048 log records" in line
    assert "batches of metrics" in line
    assert WHY[dead.mode] in line
    assert line.count("127.0.0.1") <= 1 + line.count("llmon view --otlp")
    assert len(lines(ended.stderr, "trying on with what comes next")) <= 2  # a batch that failed before the end


@needs_threads_at_exit
def test_a_dead_collector_holds_a_spawned_child_once(dead, program):
    """It has two ways out, multiprocessing's and then Python's own, and one bound for both."""
    source = f"""
        import multiprocessing, time

        def work(left):
            {CONFIGURE}
            with otel_llmon.phase("operation"):
                left.value = time.monotonic()

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            left = context.Value("d")
            child = context.Process(target=work, args=(left,))
            child.start()
            child.join()
            print(child.exitcode, time.monotonic() - left.value < 7.5)
    """
    ended = program(source, OTEL_EXPORTER_OTLP_ENDPOINT=dead.endpoint, OTEL_LLMON_EXIT_TIMEOUT="5")
    assert ended.stdout == "0 True\n", ended.stderr
    [line] = lines(ended.stderr, "not sent: ")
    assert "1 spans" in line


@needs_threads_at_exit
@pytest.mark.parametrize(
    ("way", "first", "status"),
    [
        ("the end of the program", "", 0),
        ("sys.exit", "sys.exit(3)", 3),
        ("SIGINT", "os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
        ("SIGTERM", "os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_who_presses_ctrl_c_in_the_last_flush_waits_no_more(way, first, status, program):
    """One line says what was not sent, and the exit status stays."""
    source = f"""
import atexit, os, signal, sys, threading, time
{CONFIGURE}
from opentelemetry import metrics
from work import work

ending = threading.Event()
atexit.register(ending.set)  # what is registered last is called first

def press(_):
    ending.wait()
    while sys._current_frames()[threading.main_thread().ident].f_code.co_name != "wait":
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()

metrics.get_meter("mine").create_observable_gauge("mine.gauge", [press])
work(10)
{first}
"""
    hanging = Sink("hangs")
    ended = program(source, timeout=12, OTEL_EXPORTER_OTLP_ENDPOINT=hanging.endpoint, OTEL_LLMON_EXIT_TIMEOUT="60")
    hanging.close()
    assert ended.returncode == status, ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert ended.stderr.count("Traceback") == (way == "SIGINT"), ended.stderr
    [line] = lines(ended.stderr, "not sent: ")
    assert {"10 spans", "10 log records"} <= set(line.removeprefix("not sent: ").partition(": ")[0].split(", "))
    assert line.endswith(": interrupted before there was an answer")


def test_a_collector_that_answers_slowly_gets_all_that_fits_into_the_time(program, sink):
    """A longer bound is used where it is needed, and the process still ends when it is done."""
    ended = program(f"{CONFIGURE}\nfrom work import work\nwork(2048)", OTEL_LLMON_EXIT_TIMEOUT="15")
    assert ended.stderr == ""
    assert sink.operations() == all_of(2048)


def test_under_opentelemetry_instrument_an_endpoint_is_enough(program, sink):
    """Spans, logs, host and process metrics arrive as http/protobuf, with a service name and an instance id."""
    ended = program("from work import work\nwork(10)", instrumented=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert sink.operations() == all_of(10)
    assert {"process.cpu.time", "process.memory.usage", "system.cpu.time", "system.memory.usage"} <= sink.metrics()
    assert sink.content_types == {"application/x-protobuf"}
    for resource in sink.resources():
        assert resource["service.name"]
        assert resource["service.instance.id"]
    spans = {span.span_id for span in sink.spans()}
    assert {record.span_id for record in sink.logs()} == spans


def test_upstreams_variables_are_honoured(program, sink):
    """Names, samplers, headers and resource attributes mean what OpenTelemetry says they mean."""
    ended = program(
        "from work import work\nwork(10)\nimport os\nprint(os.environ['OTEL_BSP_MAX_QUEUE_SIZE'])",
        instrumented=True,
        OTEL_SERVICE_NAME="checkout",
        OTEL_RESOURCE_ATTRIBUTES="team=a,deployment.environment.name=test",
        OTEL_TRACES_SAMPLER="always_off",
        OTEL_BSP_MAX_QUEUE_SIZE="4096",
    )
    assert (ended.stdout, ended.stderr) == ("4096\n", "")
    assert sink.operations() == all_of(10) | {"spans": 0, "distinct spans": 0}
    for resource in sink.resources():
        assert resource["service.name"] == "checkout"
        assert resource["team"] == "a"


def test_a_disabled_sdk_sends_and_says_nothing(started, program, sink):
    """OTEL_SDK_DISABLED turns everything off."""
    ended = program(**started("from work import work\nwork(10)"), OTEL_SDK_DISABLED="true")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sink.resources() == []


def test_an_exporter_named_none_is_none(started, program, sink):
    """A signal without an exporter costs the others nothing."""
    ended = program(**started("from work import work\nwork(10)"), OTEL_TRACES_EXPORTER="none")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sink.operations() == all_of(10) | {"spans": 0, "distinct spans": 0}


def test_the_console_is_an_exporter(started, program, sink):
    """Spans, metrics and logs are printed instead of sent."""
    names = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "console")
    ended = program(**started("from work import work\nwork(1)"), **names)
    assert (ended.returncode, ended.stderr) == (0, "")
    for word in ('"name": "operation"', '"llmon.phase.duration"', "operation 0"):
        assert word in ended.stdout
    assert sink.resources() == []


def test_two_exporters_of_metrics_both_get_the_histograms(started, program, sink):
    """Each reader hands on the same counts."""
    ended = program(**started("from work import work\nwork(10)"), OTEL_METRICS_EXPORTER="otlp,console")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sink.operations() == all_of(10)
    [line] = [text for text in ended.stdout.split("\n\n") if "llmon.phase.duration" in text]
    printed = json.loads(line)
    [duration] = [
        metric
        for scope in printed["resource_metrics"][0]["scope_metrics"]
        for metric in scope["metrics"]
        if metric["name"] == "llmon.phase.duration"
    ]
    assert [point["count"] for point in duration["data"]["data_points"]] == [10]


def test_an_exporter_that_nobody_knows_is_told_in_upstreams_words(program, sink):
    """Under opentelemetry-instrument the program runs; configure() raises."""
    unknown = {"OTEL_TRACES_EXPORTER": "nonsense"}
    ended = program("print('ran')", instrumented=True, **unknown)
    assert (ended.returncode, ended.stdout) == (0, "ran\n")
    assert "nonsense" in ended.stderr
    ended = program(f"{CONFIGURE}\nprint('ran')", **unknown)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "nonsense" in ended.stderr.splitlines()[-1]


def test_a_wrong_setting_is_one_line_under_opentelemetry_instrument_and_the_program_runs(program, sink):
    """The program did not ask for us in its code, so it runs, with the defaults."""
    ended = program("from work import work\nwork(10)", instrumented=True, OTEL_LLMON_LEVLE="basic")
    assert ended.returncode == 0
    [line] = ended.stderr.splitlines()
    assert "OTEL_LLMON_LEVLE" in line
    assert "OTEL_LLMON_LEVEL" in line
    assert sink.operations() == all_of(10)


@pytest.mark.parametrize("variable", ["OTEL_LLMON_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_an_endpoint_that_is_no_url_is_told_and_the_program_runs(variable, program):
    """Ours is refused at the start, upstream's when something is sent; neither reaches the program."""
    ended = program("from work import work\nwork(10)", instrumented=True, **{variable: "nonsense"})
    assert ended.returncode == 0
    assert "nonsense" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 4


def test_configure_refuses_an_endpoint_that_is_no_url(program):
    """Code that asks for the impossible learns it at once."""
    ended = program("import otel_llmon; otel_llmon.configure(endpoint='nonsense')")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("otel_llmon.errors.SettingsError: endpoint='nonsense'")


@pytest.mark.parametrize(
    ("mistake", "environ"),
    [
        ("observers=['bogus']", {}),
        ("service='a\\0b'", {}),
        ("level='loud'", {}),
        ("", {"OTEL_TRACES_EXPORTER": "bogus"}),
    ],
)
def test_a_configure_that_fails_may_be_called_again(mistake, environ, program, sink):
    """The error is a SettingsError, and leaves nothing half built."""
    source = f"""
import os, otel_llmon
from otel_llmon.errors import SettingsError
try:
    otel_llmon.configure({mistake})
except SettingsError as exc:
    print(exc)
os.environ.pop("OTEL_TRACES_EXPORTER", None)
otel_llmon.configure("app")
from work import work
work(10)
"""
    ended = program(source, **environ)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip()
    assert sink.operations() == all_of(10)


def test_an_unknown_observer_is_one_line_under_opentelemetry_instrument(program, sink):
    """The program starts with the defaults."""
    ended = program("from work import work; work(10)", instrumented=True, OTEL_LLMON_OBSERVERS="bogus")
    assert [line for line in ended.stderr.splitlines() if line] == [
        f"observer 'bogus': expected one of auto, {', '.join(OBSERVERS)}; going on with the defaults"
    ]
    assert sink.operations() == all_of(10)


def test_configure_outside_the_main_thread_says_what_it_cannot_do(program, sink):
    """Python sets signal handlers in the main thread only; everything else works, also from many threads at once."""
    source = """
import threading, otel_llmon
handles = set()
threads = [threading.Thread(target=lambda: handles.add(otel_llmon.configure("app"))) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(handles) == 1
from work import work
work(10)
"""
    ended = program(source)
    assert ended.stderr == "SIGTERM will end this process unflushed: call configure() in the main thread\n"
    assert sink.operations() == all_of(10)


def test_what_the_program_says_yields_to_the_environment(program, sink):
    """Arguments stand where no variable does."""
    source = """
import otel_llmon
otel_llmon.configure("app", endpoint="http://127.0.0.1:9", observers=[])
from work import work
work(10)
"""
    ended = program(source, OTEL_LLMON_OBSERVERS="host")
    assert ended.stderr == ""
    assert sink.operations() == all_of(10)
    assert "system.memory.usage" in sink.metrics()
    assert {resource["service.name"] for resource in sink.resources()} == {"app"}


def test_the_users_providers_are_kept(program, sink):
    """What was set before is used: our spans and metrics come out of the user's own pipeline, logs out of ours."""
    source = f"""
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
tracers, spans, reader = TracerProvider(), InMemorySpanExporter(), InMemoryMetricReader()
tracers.add_span_processor(SimpleSpanProcessor(spans))
meters = MeterProvider([reader])
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(meters)
{CONFIGURE}
from work import work
work(10)
assert trace.get_tracer_provider() is tracers and metrics.get_meter_provider() is meters
handle.shutdown()
found = {{
    metric.name: metric
    for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics
    for metric in scope.metrics
}}
print(len(spans.get_finished_spans()), found["llmon.phase.duration"].data.data_points[0].count)
"""
    ended = program(source)
    assert (ended.returncode, ended.stdout) == (0, "10 10\n")
    assert len(lines(ended.stderr, "a MeterProvider was set before")) == 1
    assert len(ended.stderr.splitlines()) == 1
    assert sink.operations() == all_of(0) | {"logs": 10}


def test_a_second_configure_returns_the_first_handle(program, sink):
    """The same call twice changes nothing; another one says that it came too late."""
    source = f"""
{CONFIGURE}
assert otel_llmon.configure("app") is handle
assert otel_llmon.configure("other") is handle
from work import work
work(10)
"""
    [line] = program(source).stderr.splitlines()
    assert "was called before" in line
    assert sink.operations() == all_of(10)


def test_configure_in_an_instrumented_program_joins_what_is_there(program, sink):
    """The program's own call finds the pipeline standing, and nothing is sent twice."""
    program(f"{CONFIGURE}\nfrom work import work\nwork(10)", instrumented=True)
    assert sink.operations() == all_of(10)


def test_after_shutdown_nothing_is_sent_and_nothing_breaks(program, sink):
    """What comes after shutdown() is dropped; the process ends as it would."""
    source = f"{CONFIGURE}\nfrom work import work\nwork(10)\notel_llmon.shutdown()\notel_llmon.shutdown()\nwork(5)"
    ended = program(source)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sink.operations() == all_of(10)


def test_flush_sends_what_there_is_while_the_program_goes_on(program, sink):
    """A program may ask for everything to leave now."""
    source = f"{CONFIGURE}\nfrom work import work\nwork(10)\nprint(handle.flush(), flush=True)\nimport os\nos._exit(0)"
    assert program(source).stdout == "True\n"
    assert sink.operations() == all_of(10)


def test_a_configurator_that_was_chosen_is_respected(vendor, program, sink):
    """OTEL_PYTHON_CONFIGURATOR names another: its providers are used, and one line says what is slower."""
    source = "from work import work\nwork(10)"
    ended = program(source, instrumented=True, OTEL_PYTHON_CONFIGURATOR="vendor", OTEL_PYTHON_DISTRO="llmon")
    assert ended.returncode == 0
    assert len(lines(ended.stderr, "another configurator was chosen")) == 1
    assert sink.operations() | {"logs": 10} == all_of(10)  # whether logs are sent is the vendor's affair
    assert {resource.get("vendor.configurator") for resource in sink.resources()} == {"yes"}


def test_a_vendor_that_comes_first_is_respected(vendor, program, sink):
    """With nothing chosen OpenTelemetry takes what it finds first; we join."""
    ended = program("from work import work\nwork(10)", instrumented=True)
    assert ended.returncode == 0
    assert len(lines(ended.stderr, "another configurator was chosen")) == 1
    assert sink.operations() | {"logs": 10} == all_of(10)  # whether logs are sent is the vendor's affair
    for resource in sink.resources():
        assert resource["vendor.distro"] == resource["vendor.configurator"] == "yes"


def test_our_configurator_takes_what_another_distro_has_set(vendor, program, sink):
    """A vendor's distro sets variables; our configurator builds from them."""
    ended = program(
        "from work import work\nwork(10)",
        instrumented=True,
        OTEL_PYTHON_DISTRO="vendor",
        OTEL_PYTHON_CONFIGURATOR="llmon",
    )
    assert ended.returncode == 0
    assert lines(ended.stderr, "slower") == []
    assert sink.operations() == all_of(10)
    assert {resource.get("vendor.distro") for resource in sink.resources()} == {"yes"}
    assert {resource.get("vendor.configurator") for resource in sink.resources()} == {None}


def test_a_configuration_file_is_left_to_upstream(program, sink):
    """OTEL_CONFIG_FILE is for OpenTelemetry's own configuration; its providers are used, and one line says so."""
    pytest.importorskip("opentelemetry.configuration", reason="opentelemetry-configuration is not installed")
    program.write("otel.yaml", OTEL_YAML.replace("ENDPOINT", sink.endpoint))
    ended = program("from work import work\nwork(10)", instrumented=True, OTEL_CONFIG_FILE="otel.yaml")
    assert ended.returncode == 0, ended.stderr
    [line] = ended.stderr.splitlines()
    assert line.startswith("OTEL_CONFIG_FILE is set")
    assert sink.operations() | {"logs": 10} == all_of(10)  # whether logs are sent is the file's affair
    assert {resource["service.name"] for resource in sink.resources()} == {"from-the-file"}


def test_a_configuration_file_without_its_package_is_told_in_upstreams_words(program, sink):
    """OpenTelemetry names the package that is missing and starts nothing; one that knows no files reads on."""
    if importlib.util.find_spec("opentelemetry.configuration") is not None:
        pytest.skip("opentelemetry-configuration is installed")
    ended = program("from work import work\nwork(10)", instrumented=True, OTEL_CONFIG_FILE="otel.yaml")
    assert ended.returncode == 0
    if hasattr(environment_variables, "OTEL_CONFIG_FILE"):
        assert "pip install opentelemetry-configuration" in ended.stderr
        assert sink.resources() == []
    else:
        assert sink.operations() == all_of(10)


OTEL_YAML = """
file_format: "1.0"
resource:
  attributes:
    - {name: service.name, value: from-the-file}
    - {name: service.instance.id, value: one}
tracer_provider:
  processors:
    - batch: {exporter: {otlp_http: {endpoint: ENDPOINT/v1/traces}}}
meter_provider:
  readers:
    - periodic: {exporter: {otlp_http: {endpoint: ENDPOINT/v1/metrics}}}
logger_provider:
  processors:
    - batch: {exporter: {otlp_http: {endpoint: ENDPOINT/v1/logs}}}
"""
