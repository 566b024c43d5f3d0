"""The command line: what each command prints, for people and for programs, and how it fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import types
from importlib.metadata import entry_points, version
from pathlib import Path

import psutil
import pytest
from processes import BIN
from terminals import Terminal

from otel_llmon import cli, observers, semconv
from otel_llmon.cli import _commands
from otel_llmon.cli.observe import shown
from otel_llmon.errors import NoDataError
from otel_llmon.semconv import events, gpu
from otel_llmon.semconv.host import MEMORY_LIMIT, MEMORY_UTILIZATION
from otel_llmon.settings import Settings

ROOT = Path(cli.__file__).parents[2]


@pytest.fixture
def llmon(monkeypatch, capsys):
    """A function that runs `llmon` with arguments and returns exit status, stdout and stderr."""
    for row in ("OTEL_SDK_DISABLED", "OTEL_LLMON_LEVEL", "OTEL_LLMON_CONFIG", "OTEL_LLMON_OBSERVERS"):
        monkeypatch.delenv(row, raising=False)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["llmon", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return run


def test_the_help_names_every_command(llmon):
    """Each in the first column of the table, with what it does beside."""
    _, out, _ = llmon("--help")
    named = re.findall(r"^[^\w-]*([a-z]+) {2,}\S", out, re.MULTILINE)
    assert sorted(named) == sorted(cli.COMMANDS)


def test_the_command_is_installed():
    """The distribution puts `llmon` on the path, and it is our main."""
    [script] = entry_points(group="console_scripts", name="llmon")
    assert script.load() is cli.main


def test_it_says_its_version(llmon):
    """--version prints the version of the distribution and nothing else."""
    assert llmon("--version") == (0, f"{version('otel-llmon')}\n", "")


def test_metrics_lists_every_metric(llmon):
    """Each metric is one line in a pipe: name, kind and unit, meaning."""
    status, out, _ = llmon("metrics")
    lines = out.splitlines()
    assert status == 0
    assert [line.split("\t")[0] for line in lines] == ["metric", *(row.name for row in semconv.rows())]


def test_metrics_for_programs_are_the_rows(llmon):
    """--json prints every field of every row."""
    _, out, _ = llmon("metrics", "--json")
    printed = json.loads(out)
    assert [(row["name"], row["cap"]) for row in printed] == [(row.name, row.cap) for row in semconv.rows()]
    assert printed[0].keys() == {"name", "kind", "unit", "description", "attributes", "edges", "cap", "since", "shards"}


def test_events_lists_the_vocabulary(llmon):
    """Each event is one line with its fields; --json prints their meanings too."""
    status, out, _ = llmon("events")
    assert status == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["event", *(row.name for row in events.rows())]
    assert "Fields: model, version, deployment" in out
    printed = json.loads(llmon("events", "--json")[1])
    assert [row["fields"] for row in printed] == [dict(row.fields) for row in events.rows()]


def test_a_terminal_gets_a_table_with_unbroken_names(llmon, monkeypatch):
    """On 80 columns every metric's name can still be copied in one piece."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    _, out, _ = llmon("metrics")
    assert all(row.name in out for row in semconv.rows())
    assert "\t" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_settings_say_where_each_came_from(llmon, monkeypatch, tmp_path):
    """Every setting is shown with its value and its source."""
    file = tmp_path / "llmon.yaml"
    file.write_text("service: shop\n", encoding="utf-8")
    monkeypatch.setenv("OTEL_LLMON_LEVEL", "basic")
    _, out, _ = llmon("settings", "--config", str(file))
    lines = [line.split("\t") for line in out.splitlines()]
    assert ["level", "basic", "environment"] in lines
    assert ["service", "shop", "file"] in lines
    assert ["observers", "auto", "default"] in lines
    assert len(lines) == 1 + len(Settings.__dataclass_fields__)


def test_settings_for_programs_keep_their_types(llmon):
    """--json prints numbers, flags and lists as such."""
    _, out, _ = llmon("settings", "--json")
    printed = json.loads(out)
    assert printed["observers"] == {"value": ["auto"], "source": "default"}
    assert printed["log_bridge"]["value"] is True
    assert printed["endpoint"]["value"] is None


def test_what_the_user_can_put_right_is_one_line_on_stderr(llmon, monkeypatch):
    """A wrong setting ends with status 1 and no traceback."""
    monkeypatch.setenv("OTEL_LLMON_LEVEL", "loud")
    assert llmon("settings") == (
        1,
        "",
        "llmon: OTEL_LLMON_LEVEL='loud': expected disabled, basic, detailed or profiling\n",
    )


def test_any_error_of_ours_is_printed_once(llmon, monkeypatch):
    """Whatever command raises it, the top prints it."""

    def fail():
        raise NoDataError("no NVIDIA driver")

    monkeypatch.setattr(_commands, "app", fail)
    assert llmon() == (1, "", "llmon: no NVIDIA driver\n")


@pytest.mark.parametrize("moment", ["typer", "otel_llmon.cli.metrics", "rich"])
def test_ctrl_c_while_a_command_is_loaded_is_a_quiet_end(moment, program):
    """Whatever is being imported then: nothing is printed, and the status is a shell's for it."""
    program.press_at(moment)
    with program.start([str(BIN / "llmon"), *(["metrics"] if moment != "rich" else ["--help"])]) as process:
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 128 + signal.SIGINT


def test_what_starts_it_is_light():
    """Until Ctrl-C is a quiet end, nothing is loaded that takes its time."""
    code = "import sys, otel_llmon.cli; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-S", "-c", code], text=True, cwd=ROOT).split())
    assert not loaded & {"typer", "typing", "rich", "importlib.metadata", "opentelemetry", "json", "email"}


def test_an_unknown_command_is_a_usage_error(llmon):
    """A command that does not exist ends with status 2."""
    status, out, err = llmon("metricks")
    assert (status, out) == (2, "")
    assert "metricks" in err


def test_observe_prints_one_sample_of_everything(llmon):
    """A line for each reading; what this machine has not says so instead of a zero."""
    code, out, err = llmon("observe", "--over", "0.01")
    assert (code, err) == (0, "")
    header, *lines = [line.split("\t") for line in out.splitlines()]
    assert header == ["metric", "value", "of", "source"]
    told = {(metric, of): value for metric, value, of, _ in lines}
    assert told["system.cpu.logical.count", ""] == f"{os.cpu_count()} cpu"
    assert told["system.memory.limit", ""] == shown(psutil.virtual_memory().total, MEMORY_LIMIT)
    assert told["process.thread.count", ""].endswith(" thread")
    assert {source.partition(".")[0] for *_, source in lines} >= {*observers.OBSERVERS} - {"efficiency"}


def test_observe_takes_names_and_tells_programs(llmon):
    """The same as JSON, of what was named; a utilization is of the time that was waited."""
    code, out, _ = llmon("observe", "host.memory", "process.gc", "--json", "--over", "0")
    found = {one["source"]: one["readings"] for one in json.loads(out)}
    assert code == 0
    assert set(found) == {"host.memory", "process.gc"}
    [limit] = [one for one in found["host.memory"] if one["metric"] == "system.memory.limit"]
    assert limit == {
        "metric": "system.memory.limit",
        "value": psutil.virtual_memory().total,
        "unit": "By",
        "attributes": {},
    }


def test_observe_takes_names_as_the_setting_does(llmon):
    """With commas between them."""
    code, out, _ = llmon("observe", "host.load, host.memory", "process.gc,", "--json", "--over", "0")
    assert (code, out) == (1, "")
    code, out, _ = llmon("observe", "host.load, host.memory", "process.gc", "--json", "--over", "0")
    assert code == 0
    assert [one["source"] for one in json.loads(out)] == ["host.load", "host.memory", "process.gc"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (60, r"^llmon\.system\.load_average\n  [\d.]+ task  15m  host\.load$"),
        (80, r"^ llmon\.system\.load_average +[\d.]+ task +15m +host\.load *$"),
    ],
)
def test_a_table_can_be_read_in_a_narrow_terminal(program, tmp_path, columns, expected):
    """Where there is no room for columns, what follows the name stands below it; nothing is cut up."""
    command = f"stty cols {columns}; exec '{BIN / 'llmon'}' observe host.load process.usage --over 0"
    with Terminal(["sh", "-c", command], program.environ, tmp_path) as terminal:
        assert terminal.ends() == 0
        plain = re.sub(r"\x1b\[[\d;]*m", "", terminal.shown).replace("\r", "")
    assert re.search(expected, plain, re.MULTILINE), plain
    assert max(map(len, plain.splitlines())) <= columns


@pytest.mark.parametrize("over", ["nan", "inf", "-1", "1e12"])
def test_observe_waits_for_a_time_that_comes(llmon, over):
    """What is no such time is an error of one line."""
    code, out, err = llmon("observe", "process.gc", "--over", over)
    assert (code, out) == (1, "")
    assert err == f"llmon: --over {float(over):g}: expected seconds from 0 to 86400\n"


def test_a_yes_or_no_is_no_share():
    """Neither of a state nor of a cause there is a percentage."""
    assert shown(0.25, MEMORY_UTILIZATION) == "25.0 %"
    assert [shown(value, gpu.GPU_AVAILABLE) for value in (0, 1)] == ["0", "1"]
    assert shown(1, gpu.HW_STATUS) == shown(1, gpu.GPU_THROTTLE) == "1"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("flag", ["", "--json"])
@pytest.mark.parametrize(
    ("place", "line"),
    [(">/dev/full", "not written, no space left on device"), (">&-", "closed, nothing can be printed")],
)
def test_a_command_whose_output_cannot_be_written_says_so(place, line, flag):
    """One line, and nothing more at the interpreter's end."""
    command = f"exec '{BIN / 'llmon'}' observe process.gc --over 0 {flag} {place}"
    done = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"llmon: standard output: {line}\n")


def test_observe_goes_on_where_one_source_fails(llmon, monkeypatch):
    """Whoever is broken is named, and the others are shown; so is an observer that somebody adds."""

    def observe():
        raise RuntimeError("no driver")

    broken = types.SimpleNamespace(ROWS=(), observe=observe)
    monkeypatch.setitem(sys.modules, "broken_observer", broken)
    monkeypatch.setitem(observers.OBSERVERS, "broken", "broken_observer")
    code, out, _ = llmon("observe", "broken", "process.gc", "--over", "0")
    assert code == 0
    assert "-\tRuntimeError: no driver\t\tbroken" in out.splitlines()
    assert "cpython.gc.collections" in out
    code, out, err = llmon("observe", "nothing")
    assert code == 1
    assert err.startswith("llmon: observer 'nothing': expected one of auto, ")
