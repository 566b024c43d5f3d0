"""`llmon bench`: runs are real processes; what arrived of them was sent over OTLP."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from processes import BIN
from sink import free_port

from otel_llmon.semconv.events import REGRESSION_DETECTED

BENCH = (str(BIN / "llmon"), "bench")
QUICK = (sys.executable, "-S", "-c", "pass")
BUSY = (sys.executable, "-S", "-c", "sum(range(8_000_000))")


@pytest.fixture
def bench(program):
    """A function that runs `llmon bench` with these arguments."""

    def run(*arguments, **environ):
        return subprocess.run(
            [*BENCH, *arguments],
            check=False,
            env=program.environ | environ,
            cwd=program.folder,
            capture_output=True,
            text=True,
            timeout=110,
        )

    return run


def series(sink, name):
    """Number of runs by the attributes of a histogram."""
    return {
        tuple(sorted((each.key, each.value.string_value) for each in point.attributes)): point.count
        for _, metric, point in sink._points()
        if metric.name == name
    }


def test_runs_are_printed_and_arrive(bench, sink):
    """Warming up counts nowhere; outside a repository there is no commit."""
    done = bench("-n", "3", "--name", "nothing", "--build", "v1", "--", *QUICK)
    header, row = (line.split("\t") for line in done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert header == ["command", "build", "runs", "elapsed (median, 95 %)", "CPU (median, 95 %)"]
    assert row[1:3] == ["v1", "3"]
    place = (("llmon.benchmark", "nothing"), ("llmon.build", "v1"), ("llmon.outcome", "success"))
    assert series(sink, "llmon.benchmark.duration") == {place: 3}
    assert series(sink, "llmon.benchmark.cpu.time") == {place: 3}


def test_for_programs_every_run_is_printed(bench, program):
    """A CPU second is one of the command's children, too; it waits without one."""
    program.write(
        "deeper.py", "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'sum(range(9_000_000))'])\n"
    )
    done = bench("-n", "2", "--warmup", "0", "--json", "--", sys.executable, "deeper.py")
    printed = json.loads(done.stdout)
    assert printed["name"] == "deeper"
    [command] = printed["commands"]
    assert command["command"] == [sys.executable, "deeper.py"]
    assert len(command["wall"]) == len(command["cpu"]) == 2
    assert all(seconds > 0.05 for seconds in command["cpu"])
    assert printed["comparison"] is None


def test_a_commit_is_named(bench, program, sink):
    """Where the working directory is a repository; with a word where it differs from the commit."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(program.folder)]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert bench("-n", "1", "--warmup", "0", "--", *QUICK).returncode == 0
    [place] = series(sink, "llmon.benchmark.duration")
    assert dict(place)["vcs.ref.head.revision"] == head


def test_a_slower_command_fails_the_gate_and_is_an_event(bench, sink):
    """Both are run in turn, and kept apart by build."""
    done = bench("-n", "6", "--fail-above", "1.2", "--against", shlex.join(QUICK), "--by", "cpu", "--", *BUSY)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1].startswith("regression: ")
    counts = {
        dict(place).get("llmon.build"): count for place, count in series(sink, "llmon.benchmark.duration").items()
    }
    assert counts == {None: 6, "against": 6}
    [log] = [log for log in sink.logs() if log.event_name == "regression.detected"]
    assert log.severity_text == "WARN"
    facts = {each.key: each.value.double_value for each in log.attributes}
    assert facts["duration"] > facts["baseline"] > 0
    assert facts["low"] <= facts["ratio"] <= facts["high"]
    assert facts.keys() & REGRESSION_DETECTED.fields.keys() == {
        "benchmark",
        "duration",
        "baseline",
        "ratio",
        "low",
        "high",
    }
    [span] = [span for span in sink.spans() if span.name == "bench"]
    assert log.trace_id == span.trace_id


def test_a_quicker_command_passes_the_gate(bench):
    """And the verdict says so."""
    done = bench("-n", "6", "--fail-above", "1.2", "--by", "cpu", "--against", shlex.join(BUSY), "--", *QUICK)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("improvement: ")


def test_too_few_runs_are_no_verdict(bench):
    """A gate that cannot tell does not pass silently."""
    done = bench("-n", "2", "--warmup", "0", "--fail-above", "1.2", "--against", shlex.join(BUSY), "--", *QUICK)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == "insufficient: found 2 runs, expected 5 or more of each"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--", sys.executable, "-c", "import sys; sys.exit('no\\nmodel')"), "run 1 left with status 1: model"),
        (("--", sys.executable, "-c", "import os; os.abort()"), "run 1 was ended by SIGABRT: no word on stderr"),
        (("--", "nosuchcommand"), "nosuchcommand: command not found"),
        (("--fail-above", "2", "--", "true"), "--fail-above=2: found no command to compare with; add --against"),
        (("--against", "'", "--", "true"), '--against="\'": no closing quotation, expected a command'),
        (("--against", " ", "--", "true"), "--against=' ': expected a command"),
    ],
)
def test_what_went_wrong_is_one_line(bench, arguments, said):
    """And status 1."""
    done = bench(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("llmon: ")
    assert line.endswith(said)


def test_a_run_that_fails_arrives_as_a_failure(bench, sink):
    """Beside those before it that did not."""
    count = (
        "import pathlib; file = pathlib.Path('ran'); file.write_text(file.read_text() + 'x' if file.exists() else 'x')"
    )
    done = bench("-n", "5", "--warmup", "0", "--", sys.executable, "-c", f"{count}; assert len(file.read_text()) < 3")
    assert done.returncode == 1
    counts = {dict(place)["llmon.outcome"]: count for place, count in series(sink, "llmon.benchmark.duration").items()}
    assert counts == {"success": 2, "failure": 1}


def test_where_nobody_listens_the_figures_are_printed_all_the_same(bench):
    """And one line says that they are not kept."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = bench("-n", "1", "--", *QUICK, OTEL_EXPORTER_OTLP_ENDPOINT=nowhere)
    assert done.returncode == 0
    assert done.stderr == f"llmon: nothing listens at {nowhere}, so the runs are not kept\n"
    assert len(done.stdout.splitlines()) == 2


def test_the_command_has_the_environment_that_it_would_have_without_us(bench, program):
    """Defaults that telemetry sets in our own process are not passed on."""
    show = "import json, os; json.dump(dict(os.environ), open('environ.json', 'w'))"
    assert bench("-n", "1", "--warmup", "0", "--", sys.executable, "-c", show).returncode == 0
    seen = json.loads(Path(program.folder, "environ.json").read_text())
    assert seen.items() <= (program.environ | {"LC_CTYPE": seen.get("LC_CTYPE", "")}).items()
