"""The examples as people run them: what they print, and what arrived of them where telemetry is kept."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from processes import BIN, INSTRUMENT, until
from sink import attributes, free_port
from terminals import CTRL_C, Terminal

from otel_llmon.backends import Embedded
from otel_llmon.viewer import Viewer

EXAMPLES = Path(__file__).parents[1] / "examples"
PIPELINE = [sys.executable, str(EXAMPLES / "pipeline.py")]
DISTRIBUTED = [sys.executable, str(EXAMPLES / "distributed.py")]
EMBEDDING = [sys.executable, str(EXAMPLES / "batch_embedding.py")]
DRIFT = [sys.executable, str(EXAMPLES / "drift.py")]
DEMO = [sys.executable, str(EXAMPLES / "demo.py"), "--otlp", "127.0.0.1:0", "--page", "127.0.0.1:0"]
SERVER = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "fastapi_app:app", "--port"]

ANSWERS = """\
> How hot should water be for green tea?
  You said: Green tea wants water at 80 degrees.
> How often should I oil the chain?
  You said: Oil the chain every 300 kilometres.
You said: 5 notes, 2 questions, every one answered.
"""
NOTES = """\
notes
  load
  chunk
  embed
  answer
    retrieve
    ask
      chat parrot
  answer
    retrieve
    ask (error)
      chat busy (error)
    ask
      chat parrot-mini
  summarise
    chat parrot-mini
"""
REQUEST = """\
GET /notes/{topic}
  retrieve
  ask
    chat parrot
"""
MISSING = """\
GET /notes/{topic}
  retrieve
"""


class InSink:
    """What arrived at the tests' own OTLP server."""

    def __init__(self, sink):
        self.endpoint = sink.endpoint
        self.metrics = sink.metrics
        self._sink = sink

    def trees(self):
        """Return every trace as an indented text, oldest first."""
        spans = sorted(self._sink.spans(), key=lambda span: span.start_time_unix_nano)
        return trees(
            (span.trace_id, span.span_id, span.parent_span_id, span.name, span.status.code == 2) for span in spans
        )

    def logs(self):
        """Return severity (WARN or WARNING, as the bridge says), text and span of each record, oldest first."""
        names = {span.span_id: span.name for span in self._sink.spans()}
        records = sorted(self._sink.logs(), key=lambda record: record.time_unix_nano)
        return [(record.severity_text[:4], record.body.string_value, names.get(record.span_id)) for record in records]

    def services(self):
        """Return the services that sent something."""
        return {resource["service.name"] for resource in self._sink.resources()}

    def tokens(self):
        """Return the tokens of the spans that tell some."""
        told = [attributes(span) for span in self._sink.spans()]
        keys = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
        return [tuple(int(span[key]) for key in keys) for span in told if keys[0] in span]


class InViewer:
    """What arrived at the embedded viewer, by its answers."""

    def __init__(self, viewer):
        self.endpoint = viewer.otlp_url
        self._viewer = Embedded(viewer.page_url)

    def _traces(self):
        return [self._viewer.trace(found.trace_id) for found in reversed(self._viewer.traces())]

    def trees(self):
        """Return every trace as an indented text, oldest first."""
        spans = [span for trace in self._traces() for span in trace.spans]
        return trees((span.trace_id, span.span_id, span.parent_id, span.name, span.status == "error") for span in spans)

    def metrics(self):
        """Return the names of the metrics that have points."""
        return {metric.name for metric in self._viewer.metrics() if self._viewer.series(metric.name)}

    def logs(self):
        """Return severity (WARN or WARNING, as the bridge says), text and span of each record, oldest first."""
        names = {span.span_id: span.name for trace in self._traces() for span in trace.spans}
        return [(log.level[:4], log.body, names.get(log.span_id)) for log in reversed(self._viewer.logs())]

    def services(self):
        """Return the services that sent something."""
        return set(self._viewer.services())

    def tokens(self):
        """Return the tokens of the spans that tell some."""
        told = [span.attributes for trace in self._traces() for span in trace.spans]
        keys = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
        return [tuple(span[key] for key in keys) for span in told if keys[0] in span]


def trees(spans):
    """Return each trace as an indented text; `spans` are tuples in the order in which they started."""
    lines, children = {}, {}
    for trace, identity, parent, name, failed in spans:
        children.setdefault((trace, parent or None), []).append((identity, name + " (error)" * failed))
        lines.setdefault(trace, "")

    def tell(trace, parent, depth):
        for identity, name in children.get((trace, parent), ()):
            lines[trace] += "  " * depth + name + "\n"
            tell(trace, identity, depth + 1)

    for trace in lines:
        tell(trace, None, 0)
    return list(lines.values())


@pytest.fixture(params=["sink", "viewer"])
def kept(request, tmp_path):
    """A place that takes telemetry and tells what arrived."""
    if request.param == "sink":
        yield InSink(request.getfixturevalue("sink"))
    else:
        with Viewer(data=tmp_path / "data", otlp=("127.0.0.1", 0), page=("127.0.0.1", 0)) as viewer:
            yield InViewer(viewer)


def test_the_pipeline_runs_plain(program):
    """Without anything of OpenTelemetry's set up it does its work, and says nothing of telemetry."""
    with program.start(PIPELINE) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ANSWERS)
    assert err == "model busy answered 429, asking parrot-mini\n"


@pytest.mark.parametrize("how", [INSTRUMENT, (str(BIN / "llmon"), "run", "--")], ids=["instrumented", "llmon run"])
def test_the_pipelines_telemetry_arrives(how, kept, program):
    """The trace in its order, the failed call and its log record in the right place, tokens, metrics and the event."""
    with program.start([*how, *PIPELINE], OTEL_EXPORTER_OTLP_ENDPOINT=kept.endpoint) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ANSWERS), err
    assert kept.trees() == [NOTES]
    assert sorted(kept.tokens()) == [(7, 9), (17, 8), (19, 9)]
    assert kept.logs() == [
        ("INFO", "notes.ready", "notes"),
        ("WARN", "model busy answered 429, asking parrot-mini", "answer"),
    ]
    assert kept.metrics() >= {
        "llmon.pipeline.duration",
        "llmon.phase.duration",
        "llmon.phase.errors",
        "llmon.progress.items",
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "process.memory.usage",
    }


@pytest.mark.parametrize(
    "how", [INSTRUMENT, (str(BIN / "llmon"), "run", "--job", "lines", "--")], ids=["instrumented", "job"]
)
def test_the_training_runs_telemetry_arrives(how, kept, program):
    """A span for each epoch, the events of a run, its values."""
    command = [*how, sys.executable, str(EXAMPLES / "training.py")]
    with program.start(command, OTEL_EXPORTER_OTLP_ENDPOINT=kept.endpoint) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(out.splitlines()) == 6
    assert kept.trees() == ["lines\n" + "  epoch\n" * 6]
    told = [body for _, body, _ in kept.logs()]
    assert told == [
        "training.started",
        *["checkpoint.saved", "training.epoch", "training.epoch"] * 6,
        "training.finished",
    ]
    assert kept.metrics() >= {
        f"llmon.training.{name}" for name in ("loss", "accuracy", "steps", "time", "jobs", "epoch")
    }


def test_the_loops_telemetry_arrives(sink, program):
    """Every page by its outcome, the chunks that four processes counted, a log record every twenty, two spans."""
    done = program.start([sys.executable, str(EXAMPLES / "progress.py"), "--quick"])
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    assert {line.split(":")[0] for line in err.splitlines()} == {"index"}
    assert out.endswith("found on page 23\n")
    with program.start([*INSTRUMENT, sys.executable, str(EXAMPLES / "progress.py"), "--quick"]) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert sink.totals("llmon.progress.items") == 3 + 3 * 40 + 100 + 23
    assert sink.totals("llmon.progress.tokens") > 3 * 40 * 200
    assert {span.name for span in sink.spans()} >= {"training", "epoch", "pages", "index"}
    told = [attributes(record) for record in sink.logs() if record.event_name == "llmon.progress"]
    assert 1 <= len(told) <= 5
    assert float(told[-1]["llmon.done"]) == 100


@pytest.mark.parametrize("how", [(), INSTRUMENT], ids=["configured", "instrumented"])
def test_the_workers_work_is_one_trace_and_adds_up(how, sink, program):
    """Each chapter is handed out once, and counted inside by one of three workers; their words are those printed."""
    with program.start([*how, *DISTRIBUTED]) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("48,000 words in 24 chapters\nmost frequent: the and of\n\nLook at:\n")
    [tree] = InSink(sink).trees()
    assert sorted(set(tree.splitlines()), key=tree.index) == [
        "words", "  library", "    chapter", "      count", "  top", "    sort",
    ]  # fmt: skip
    assert tree.count("    chapter\n      count\n") == 24
    assert sink.totals("llmon.pipeline.items") == 48_000
    assert sink.totals("llmon.progress.items") == 24
    assert {resource.get("llmon.rank") for resource in sink.resources("spans")} == {None, "0", "1", "2"}
    assert InSink(sink).services() == {"words", "sort"}
    assert not sink.logs()


def test_a_worker_that_dies_is_seen_and_nothing_is_counted_twice(sink, program):
    """Its chapter is red and says how it died; the next attempt links to it; every chapter is counted once."""
    with program.start([*DISTRIBUTED, "--die"]) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out[:27]) == (0, "48,000 words in 24 chapters"), err
    assert re.fullmatch(r"worker \d ended with -9 amid chapter \('windmills', 3\); hiring another\n", err)
    assert [told for _, told, _ in InSink(sink).logs()] == [err.strip()]
    [failed] = [span for span in sink.spans() if span.status.code == 2]
    assert (failed.name, attributes(failed)["error.type"]) == ("chapter", "ChildProcessError")
    [again] = [span for span in sink.spans() if span.links]
    assert (again.links[0].span_id, attributes(again)["llmon.attempt"]) == (failed.span_id, "2")
    assert [span.name for span in sink.spans() if span.parent_span_id in (failed.span_id, again.span_id)] == ["count"]
    assert sink.totals("llmon.progress.items") == 24
    assert 48_000 - 24 * 2_000 / 3 < sink.totals("llmon.pipeline.items") < 48_000  # what the killed one had not sent


def test_the_workers_end_with_ctrl_c(program, tmp_path):
    """What is counted already is counted; then nobody is left, and one line says so."""
    environ = program.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    with Terminal(DISTRIBUTED, environ, tmp_path) as terminal:
        assert until(lambda: re.search(r"\b[1-7] of 8", terminal.shown)), terminal.shown
        below = psutil.Process(terminal.process.pid).children(recursive=True)
        terminal.press(CTRL_C)
        assert terminal.ends() == 1
    assert len(below) >= 3
    assert until(lambda: not any(child.is_running() for child in below))
    assert terminal.shown.endswith("stopped\n")
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize("how", [(), INSTRUMENT], ids=["configured", "instrumented"])
def test_the_embeddings_telemetry_arrives(how, kept, program):
    """Retries that link to what they repeat, checkpoints, what the hooks told, and what it cost."""
    prices = {"OTEL_LLMON_PRICES": '{"cpu_hour": 3.6}', "COLUMNS": "80"}
    with program.start([*how, *EMBEDDING], OTEL_EXPORTER_OTLP_ENDPOINT=kept.endpoint, **prices) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert re.search(r"│ embed +│ 47 +│ 12 +│", out)
    assert "\n2,225 chunks of 2,289 embedded, " in out
    assert re.search(r"\d s of CPU, 0\.\d{7} dollars for 1,000 chunks\n\nLook at:\n", out)
    [tree] = kept.trees()
    lines = [line.strip() for line in tree.splitlines()]
    assert {name: lines.count(name) for name in set(lines)} == {
        "embedding": 1, "read": 1, "chunk": 1, "chunks": 1,
        "batch": 35, "batch (error)": 1, "store": 35, "embed": 35, "embed (error)": 12,
    }  # fmt: skip
    told = [body for _, body, _ in kept.logs()]
    assert {body: told.count(body) for body in set(told)} == {
        "checkpoint.saved": 35,
        "batch.embedded": 35,
        "batch.repeated": told.count("batch.repeated"),
        "llmon.progress": 4,
        "attempt 1 of 3: the model is busy": 9,
        "attempt 2 of 3: the model is busy": 2,
        "attempt 3 of 3: the model is busy": 1,
    }
    assert kept.metrics() >= {"llmon.cost", "llmon.efficiency.score", "llmon.progress.tokens", "llmon.pipeline.items"}


def test_an_interrupted_embedding_goes_on_where_it_was(sink, program):
    """Ctrl-C ends it in one line; the next run counts what the first one did as done, and does the others only."""
    folder = program.folder / "vectors"
    with program.start([*EMBEDDING, str(folder)], OTEL_SDK_DISABLED="true") as process:
        until(lambda: process.poll() is not None or len(list(folder.glob("??????.npy"))) >= 3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.endswith("stopped; with a folder, the same command goes on from here\n")
    assert "Traceback" not in err
    left = 2_289 - 64 * len(list(folder.glob("??????.npy")))
    with program.start([*EMBEDDING, str(folder)]) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert sink.totals("llmon.progress.items") == left
    done = [point for _, metric, point in sink._points() if metric.name == "llmon.progress.done"]
    assert max(point.as_int or point.as_double for point in done) == 2_289


def test_the_drift_of_twelve_days_is_told(sink, program):
    """A line a day; an event when it begins and one when it is over, the verdict that was asked for, and all bins."""
    with program.start(DRIFT) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    days = [line.partition(": ")[2] for line in out.splitlines() if line.startswith("day ")]
    assert [line.partition(": ")[2] for line in days] == [
        *["stable"] * 4,
        *["income drifted, @prediction drifted"] * 4,
        *["income missing, @prediction drifted"] * 2,
        *["stable"] * 2,
    ]
    assert [body for _, body, _ in InSink(sink).logs()] == [
        "drift.detected", "drift.alarm", "drift.ended", "drift.checked"
    ]  # fmt: skip
    assert InSink(sink).trees() == ["drift check\n"]
    assert sink.totals("llmon.drift.bin.shift") > 0
    assert {"llmon.drift.score", "llmon.drift.state", "llmon.drift.bin.rows"} <= sink.metrics()


def test_an_example_of_drift_waits_for_a_receiver_once(program):
    """Where nobody listens on the first day, nothing is sent day by day: a batch of metrics for each would be lost."""
    nobody = f"http://127.0.0.1:{free_port()}"
    with program.start(DRIFT, OTEL_EXPORTER_OTLP_ENDPOINT=nobody, OTEL_LLMON_EXIT_TIMEOUT="1") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.count("day ") >= 12
    assert int(re.search(r"(\d+) batch(es)? of metrics", err)[1]) < 6


def test_an_example_of_drift_runs_without_telemetry(program, tmp_path):
    """It says that nobody watches; the reference is in the folder all the same."""
    with program.start([*DRIFT, str(tmp_path / "kept")], OTEL_SDK_DISABLED="true") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.count("telemetry is off") == 12
    assert (tmp_path / "kept" / "loans.json").exists()


def ask(port, topic):
    """Ask the web service about a topic; return the status and the answer, or None while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/notes/{topic}?question=why", timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return None


def test_the_web_services_telemetry_arrives(kept, program):
    """Each request is a trace with its phases and the model's call; one that found nothing says so in a log record."""
    port = free_port()
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": kept.endpoint, "OTEL_SERVICE_NAME": "notes-api"}
    with program.start([*INSTRUMENT, *SERVER, str(port)], **environ) as process:
        try:
            missing = until(lambda: process.poll() is not None or ask(port, "coffee"), 60)
            found = ask(port, "tea")
            process.terminate()
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert found == (200, {"answer": "You said: Green tea wants water at 80 degrees."}), err
    assert missing == (404, {"detail": "no note on coffee; there are: tea, bread"})
    assert kept.trees() == [MISSING, REQUEST]
    assert ("WARN", "no note on coffee", "GET /notes/{topic}") in kept.logs()
    assert kept.services() == {"notes-api"}
    assert kept.metrics() >= {"http.server.request.duration", "llmon.phase.duration", "gen_ai.client.token.usage"}


def test_an_example_without_its_library_says_what_to_install(program):
    """One line and no traceback."""
    program.write("openai.py", "raise ModuleNotFoundError(\"No module named 'openai'\", name='openai')")
    with program.start(PIPELINE) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "'openai' is not installed; run: pip install openai\n"


def test_the_demo_prints_what_arrived(program, tmp_path):
    """The program's output, its trace, a table of metrics, the logs; then it ends, and leaves nothing behind."""
    with program.start([*DEMO, "--once"], TMPDIR=str(tmp_path), COLUMNS="80") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert ANSWERS in out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in out
    drawn = lines[lines.index("the trace") : lines.index("the metrics")]
    assert [line.strip("│├└─ ").split("  ")[0] for line in drawn[2:-1] if "openai." not in line] == [
        f"✗ {line.strip().removesuffix(' (error)')}" if "error" in line else line.strip() for line in NOTES.splitlines()
    ]
    assert "16 spans · 2 errors" in out
    assert any(line.startswith("llmon.progress.items") and line.endswith("11 items") for line in lines)
    assert [re.fullmatch(r"(INFO|WARN|WARNING) +\w.*", line)[1][:4] for line in lines[-2:]] == ["INFO", "WARN"]
    assert out.endswith("model busy answered 429, asking parrot-mini\n")
    assert not list(tmp_path.glob("llmon-demo-*"))


def test_the_demo_leaves_the_page_up_until_ctrl_c(program, tmp_path):
    """It answers at the printed address as long as somebody looks."""
    environ = program.environ | {"TMPDIR": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "80"}
    with Terminal(DEMO, environ, tmp_path) as terminal:
        assert terminal.shows("Ctrl-C ends it"), terminal.shown
        page = terminal.shown.partition("the same on a page: ")[2].split()[0]
        [found] = Embedded(page).traces()
        assert (found.root, found.spans, found.errors) == ("notes", 16, 2)
        terminal.press(CTRL_C)
        assert terminal.ends() == 0
    assert not Embedded(page).ready()
    assert "Traceback" not in terminal.shown
    assert not list(tmp_path.glob("llmon-demo-*"))


def test_the_demo_can_be_stopped_at_any_time(program, tmp_path):
    """While the program runs, Ctrl-C ends both, without a traceback of the demo's own."""
    environ = program.environ | {"TMPDIR": str(tmp_path), "TERM": "xterm-256color"}
    with Terminal(DEMO, environ, tmp_path) as terminal:
        assert terminal.shows("> How hot"), terminal.shown
        terminal.press(CTRL_C)
        assert terminal.ends() == 128 + signal.SIGINT
    assert "demo.py" not in terminal.shown.partition("> How hot")[2]
    assert not list(tmp_path.glob("llmon-demo-*"))


@pytest.mark.parametrize("early", [True, False], ids=["while the demo is imported", "while its program is"])
def test_the_demo_can_be_stopped_before_it_has_begun(early, program, tmp_path):
    """Ctrl-C while Python loads what it needs: no traceback, and nothing is left."""
    waits = "print('loading', flush=True)\nimport time\ntime.sleep(60)\n"
    program.write("rich.py" if early else "openai.py", waits)
    environ = program.environ | {"TMPDIR": str(tmp_path), "TERM": "xterm-256color"}
    with Terminal(DEMO, environ, tmp_path) as terminal:
        assert terminal.shows("loading"), terminal.shown
        below = psutil.Process(terminal.process.pid).children(recursive=True)
        terminal.press(CTRL_C)
        assert terminal.ends() == 128 + signal.SIGINT
    assert terminal.shown.partition("loading")[2].strip() in ("", "^C")
    assert until(lambda: not any(child.is_running() for child in below))
    assert not list(tmp_path.glob("llmon-demo-*"))


def test_the_demo_takes_free_ports_where_its_own_are_taken(program, tmp_path):
    """It says so, and everything else is as usual."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [*DEMO[:2], "--once", "--otlp", address, "--page", address]
        done = subprocess.run(
            command,
            check=False,
            env=program.environ | {"TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"{address} is taken, so a free port stands in for it") == 2
    assert "16 spans" in done.stdout


def test_the_demo_fails_when_nothing_arrives(program, tmp_path):
    """A demo that shows nothing is no demo: it says so, and its exit status does too."""
    with program.start([*DEMO, "--once"], TMPDIR=str(tmp_path), OTEL_SDK_DISABLED="true") as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out.endswith("not everything arrived\n")


def test_a_proxy_does_not_come_between_the_demos_parts(program, tmp_path):
    """All of it is on this machine, whatever the environment says about the way out of it."""
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"), f"http://127.0.0.1:{free_port()}")
    with program.start([*DEMO, "--once"], TMPDIR=str(tmp_path), **proxies) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "16 spans" in out
