"""`llmon run`: the program as if we were not there, and its telemetry where somebody can see it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import psutil
import pytest
from processes import BIN, until
from sink import free_port
from terminals import CTRL_C, Terminal

from otel_llmon.backends import Embedded
from otel_llmon.cli import _beside, _target

RUN = (str(BIN / "llmon"), "run", "--")
PHASE = "from otel_llmon import phase\nwith phase('work'): print('working', flush=True)\n"
SLEEP = "import time\nprint('started', flush=True)\ntime.sleep(60)\n"


@pytest.fixture
def quiet(program, tmp_path):
    """The environment of a person whose state is nobody else's, at an address where nobody listens."""
    return program.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "COLUMNS": "200",
    }


@pytest.fixture
def run(program):
    """A function that runs `llmon run -- COMMAND` with the sink as its target, without a terminal."""

    def run(*command, given="", **environ):
        return subprocess.run(
            [*RUN, *command],
            check=False,
            env=program.environ | environ,
            cwd=program.folder,
            input=given,
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run


def test_the_program_runs_and_its_telemetry_arrives(run, program, sink):
    """Nothing in the program says so, and the name of the script is that of the service."""
    done = run("python", str(program.write("shop.py", PHASE)))
    assert (done.returncode, done.stdout) == (0, "working\n")
    assert [span.name for span in sink.spans()] == ["work"]
    assert {resource["service.name"] for resource in sink.resources()} == {"shop"}


def test_it_says_in_one_line_where_telemetry_goes(run, sink):
    """On stderr, which is not the program's output."""
    done = run("python", "-c", "")
    assert (done.stdout, done.stderr) == ("", f"llmon: telemetry goes to {sink.endpoint}\n")


def test_it_says_in_one_line_that_nobody_listens(run):
    """Without a terminal no viewer is started; the program runs all the same."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = run("python", "-c", "print('ran')", OTEL_EXPORTER_OTLP_ENDPOINT=nowhere, OTEL_METRICS_EXPORTER="none")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr == f"llmon: nothing listens at {nowhere}, so nothing is kept; to see it: llmon view\n"


def test_a_collector_elsewhere_that_is_silent_is_not_replaced_by_a_viewer(quiet, tmp_path):
    """At an address that is not this machine's own the way out is another one, in a terminal too."""
    environ = quiet | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://127.0.0.1:{free_port()}",
        "OTEL_METRICS_EXPORTER": "none",
    }
    with Terminal([*RUN, "python", "-c", ""], environ, tmp_path) as terminal:
        assert terminal.ends() == 0
    assert "so nothing is kept; is the Collector running?" in terminal.shown


@pytest.mark.parametrize(
    "switched_off",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_LLMON_LEVEL": "disabled"},
        dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "none"),
    ],
    ids=["by upstream's switch", "by our level", "by its exporters"],
)
def test_what_is_switched_off_needs_no_target(switched_off, run, sink):
    """The program runs, one line says why nothing will be seen, and nothing is sent."""
    done = run("python", "-c", PHASE, **switched_off)
    assert (done.returncode, done.stdout) == (0, "working\n")
    assert done.stderr == "llmon: no telemetry is sent by OTLP here\n"
    assert not sink.resources()


def test_input_output_and_arguments_pass_unchanged(run, program):
    """Standard input to its end, arguments with dashes of their own, and bytes that are no text."""
    code = "import sys; print(sys.argv[1:]); sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])"
    file = str(program.write("app.py", code))
    arguments = ["--", "--service", "x", "-h", "--", "a b", "--help", ""]
    done = run("python", file, *arguments, given="abc\n")
    assert done.stdout == f"{arguments}\n\ncba"


def test_the_first_dashes_may_be_left_out(program):
    """What comes after the command is the command's."""
    command = [*RUN[:2], "python", "-c", "import sys; print(sys.argv[1:])", "--service", "x"]
    with program.start(command, OTEL_SDK_DISABLED="true") as process:
        out, _ = process.communicate(timeout=30)
    assert out == "['--service', 'x']\n"


@pytest.mark.parametrize("status", [0, 3, 255])
def test_the_exit_status_is_the_programs(status, run):
    """Whatever it is."""
    assert run("python", "-c", f"raise SystemExit({status})", OTEL_SDK_DISABLED="true").returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_reaches_the_program(number, program):
    """There is one process, and it is the program; so it ends by the signal."""
    with program.start([*RUN, sys.executable, "-c", SLEEP]) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == -number


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        ("no-such-thing", 127, "no-such-thing: command not found"),
        ("./no-such-thing", 127, "./no-such-thing: command not found"),
        ("./text", 126, "./text: may not be executed; run: chmod +x text"),
        ("./garbage", 126, "./garbage: exec format error, no program"),
        ("..", 126, "..: is a folder, expected a program"),
    ],
)
def test_a_command_that_cannot_be_run_is_one_line(command, status, says, run, program):
    """With the status that a shell would end with, and without a traceback."""
    program.write("text", "no program")
    program.write("garbage", "no program").chmod(0o755)
    done = run(command)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.splitlines()[-1] == f"llmon: {says}"
    assert "Traceback" not in done.stderr


def test_without_a_command_it_says_how_to_use_it(run):
    """A usage error, as of any other command."""
    done = run()
    assert done.returncode == 2
    assert "COMMAND" in done.stderr


def test_pytest_and_servers_run_too(run, program, sink):
    """A test run is a program like any other; what it does arrives."""
    program.write("test_shop.py", "from otel_llmon import phase\n\ndef test_work():\n    with phase('work'): pass\n")
    done = run("pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")
    assert done.returncode == 0, done.stdout
    assert "work" in [span.name for span in sink.spans()]
    assert sink.resources()[0]["service.name"] == "pytest"


def test_a_test_run_whose_warnings_are_errors_passes(run, program):
    """That we are imported before pytest is nothing to warn of; FastAPI brings a plugin that is imported early too."""
    program.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    program.write("test_shop.py", "def test_work():\n    pass\n")
    done = run("pytest", "-q", "test_shop.py", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="fastapi", PYTHONWARNINGS="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr


def test_a_viewer_is_started_for_somebody_at_the_terminal(quiet, program, tmp_path):
    """It takes what the program sends, stays after the program until Ctrl-C, and is gone then."""
    file = str(program.write("shop.py", PHASE + "raise SystemExit(3)\n"))
    with Terminal([*RUN, "python", file], quiet, tmp_path) as terminal:
        assert terminal.shows("the program ended with status 3"), terminal.shown
        page = terminal.shown.partition("llmon: look at ")[2].split()[0]
        found = [(trace.root, trace.service) for trace in Embedded(page).traces()]
        assert found == [("work", "shop")], terminal.shown
        assert f"{page} stays until Ctrl-C" in terminal.shown
        terminal.press(CTRL_C)
        assert terminal.ends() == 3
    assert not Embedded(page).ready()
    assert "Traceback" not in terminal.shown


def test_ctrl_c_is_the_programs_first(quiet, program, tmp_path):
    """It reaches the program once and the viewer not at all; the next one ends the viewer."""
    file = program.write("app.py", f"{PHASE}{SLEEP}")
    with Terminal([*RUN, "python", str(file)], quiet, tmp_path) as terminal:
        assert terminal.shows("started"), terminal.shown
        terminal.press(CTRL_C)
        assert terminal.shows("the program was ended by SIGINT"), terminal.shown
        assert terminal.shown.count("KeyboardInterrupt") == 1
        page = terminal.shown.partition("llmon: look at ")[2].split()[0]
        assert [found.root for found in Embedded(page).traces()] == ["work"]
        terminal.press(CTRL_C)
        assert terminal.ends() == -signal.SIGINT


def test_ctrl_c_before_the_program_has_begun_shows_nothing_of_ours(quiet, program, tmp_path):
    """What is on its way to becoming the program ends by the key, without a traceback."""
    program.press_at("opentelemetry.instrumentation.auto_instrumentation")
    with Terminal([*RUN, "python", "-c", "print('began')"], quiet, tmp_path) as terminal:
        assert terminal.shows("the program was ended by SIGINT"), terminal.shown
        terminal.press(CTRL_C)
        assert terminal.ends() == -signal.SIGINT
    assert "Traceback" not in terminal.shown
    assert "began" not in terminal.shown


@pytest.mark.parametrize(
    ("number", "key"),
    [(signal.SIGINT, CTRL_C), (signal.SIGQUIT, b"\x1c"), (signal.SIGINT, None), (signal.SIGUSR1, None)],
)
def test_a_signal_is_the_programs_once_beside_a_viewer(number, key, quiet, program, tmp_path):
    """A key reaches it from the terminal; what somebody sends to us is handed on."""
    code = (
        f"import signal, time\nfor n in (2, 3, 10): signal.signal(n, lambda n, _: print('got', n, flush=True))\n{SLEEP}"
    )
    with Terminal([*RUN, "python", str(program.write("app.py", code))], quiet, tmp_path) as terminal:
        assert terminal.shows("started"), terminal.shown
        if key:
            terminal.press(key)
        else:
            terminal.process.send_signal(number)
        assert terminal.shows(f"got {number.value}"), terminal.shown
        terminal.process.terminate()
        assert terminal.ends() == -signal.SIGTERM
    assert terminal.shown.count("got") == 1


@pytest.mark.parametrize("moment", ["started", "stays until Ctrl-C"])
def test_a_request_to_end_ends_everything(moment, quiet, program, tmp_path):
    """SIGTERM while the program runs, and while the viewer stays: nothing is left behind."""
    code = SLEEP if moment == "started" else ""
    with Terminal([*RUN, "python", str(program.write("app.py", code))], quiet, tmp_path) as terminal:
        assert terminal.shows(moment), terminal.shown
        below = psutil.Process(terminal.process.pid).children(recursive=True)
        assert below
        terminal.process.terminate()
        assert terminal.ends() in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert until(lambda: not any(child.is_running() for child in below))


@pytest.mark.parametrize(
    ("number", "says"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGRTMIN + 6, f"signal {signal.SIGRTMIN + 6}")]
)
def test_a_program_that_was_killed_is_told_by_its_signal(number, says, quiet, program, tmp_path):
    """By a signal that nobody can handle, and by one without a name: we end by the same one."""
    code = f"import os; os.kill(os.getpid(), {int(number)})"
    with Terminal([*RUN, "python", str(program.write("app.py", code))], quiet, tmp_path) as terminal:
        assert terminal.shows(f"the program was ended by {says}; "), terminal.shown
        terminal.press(CTRL_C)
        assert terminal.ends() == -number
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize("moment", ["started", "stays until Ctrl-C"])
def test_a_closed_window_ends_everything(moment, quiet, program, tmp_path):
    """The terminal tells the leader of its session only, which is us in a window of our own; the program hears it."""
    heard = tmp_path / "heard"
    code = f"import signal, sys\nsignal.signal(1, lambda *_: sys.exit(open({str(heard)!r}, 'w').close()))\n{SLEEP}"
    code = code if moment == "started" else ""
    with Terminal([*RUN, "python", str(program.write("app.py", code))], quiet, tmp_path) as terminal:
        assert terminal.shows(moment), terminal.shown
        below = psutil.Process(terminal.process.pid).children(recursive=True)
        assert below
        terminal.hang_up()
        assert terminal.ends() == (0 if moment == "started" else 128 + signal.SIGHUP)
    assert until(lambda: not any(child.is_running() for child in below))
    assert heard.exists() == (moment == "started")


@pytest.mark.parametrize("moment", ["started", "stays until Ctrl-C"])
def test_when_we_are_killed_the_viewer_ends_too(moment, quiet, program, tmp_path):
    """Nobody is left to end it; what the program has sent is kept, and the program itself goes on."""
    code = SLEEP if moment == "started" else ""
    with Terminal([*RUN, "python", str(program.write("app.py", code))], quiet, tmp_path) as terminal:
        assert terminal.shows(moment), terminal.shown
        below = psutil.Process(terminal.process.pid).children(recursive=True)
        [viewer] = [child for child in below if "view" in child.cmdline()]
        terminal.process.kill()
        terminal.process.wait()
        try:
            assert until(lambda: not viewer.is_running())
        finally:
            for child in below:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


def test_a_viewer_that_dies_takes_nothing_along(quiet, program, tmp_path):
    """The program runs on and ends as it would have."""
    code = f"print('started', flush=True)\ninput()\n{PHASE}raise SystemExit(4)\n"
    with Terminal([*RUN, "python", str(program.write("app.py", code))], quiet, tmp_path) as terminal:
        assert terminal.shows("started"), terminal.shown
        [viewer] = [
            child
            for child in psutil.Process(terminal.process.pid).children(recursive=True)
            if "view" in child.cmdline()
        ]
        viewer.kill()
        terminal.press(b"\n")
        assert terminal.ends() == 4
    assert "working" in terminal.shown


def test_a_viewer_that_cannot_start_is_one_line(quiet, program, tmp_path):
    """The reason is said, and the program runs without it."""
    (tmp_path / "state").write_text("no folder")
    with Terminal([*RUN, "python", "-c", PHASE], quiet | {"OTEL_METRICS_EXPORTER": "none"}, tmp_path) as terminal:
        assert terminal.ends() == 0
    assert "llmon: no viewer: " in terminal.shown
    assert "give another folder with XDG_STATE_HOME" in terminal.shown
    assert "working" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_a_pipe_after_it_sees_the_end_of_the_output(quiet, tmp_path):
    """Although the viewer stays, whoever reads the program's output knows that there is no more."""
    reading, writing = os.pipe()
    with Terminal([*RUN, "python", "-c", "print('said')"], quiet, tmp_path, stdout=writing) as terminal:
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as pipe:
            assert pipe.read() == "said\n"
        assert terminal.shows("stays until Ctrl-C"), terminal.shown
        terminal.press(CTRL_C)
        assert terminal.ends() == 0


def test_a_viewer_that_is_there_is_used_and_left_alone(quiet, program, tmp_path):
    """Its page is named, the program takes our place, and the viewer goes on."""
    from otel_llmon.viewer import Viewer

    with Viewer(data=tmp_path / "data", otlp=("127.0.0.1", 0), page=("127.0.0.1", 0)) as viewer:
        there = {"OTEL_EXPORTER_OTLP_ENDPOINT": viewer.otlp_url, "OTEL_LLMON_VIEWER_URL": viewer.page_url}
        with Terminal([*RUN, "python", "-c", PHASE], quiet | there, tmp_path) as terminal:
            assert terminal.ends() == 0
        assert f"llmon: look at {viewer.page_url}\n" in terminal.shown
        assert [found.root for found in Embedded(viewer.page_url).traces()] == ["work"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python app.py --port 1", "app"),
        ("/usr/bin/python3.12 -X dev -u src/shop.py", "shop"),
        ("python -m shop.main serve", "shop"),
        ("python -W error -c pass", "python"),
        ("python", "python"),
        ("uvicorn shop.api:app --port 1", "shop.api"),
        ("uvicorn --app-dir src api:app", "api"),
        ("python -m uvicorn api:app", "api"),
        ("gunicorn -w 2 api:app", "api"),
        ("pytest -q", "pytest"),
        ("./run.sh", "run"),
    ],
)
def test_a_program_is_named_after_what_it_runs(command, name):
    """The script, the module, or the application that a server is given."""
    assert _target.name_of(command.split()) == name


def test_what_is_set_stays():
    """Defaults are for what nobody has set; --service is said on purpose and wins."""
    mine = {
        "OTEL_SERVICE_NAME": "mine",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_METRIC_EXPORT_INTERVAL": "60000",
        "PATH": "/bin",
    }
    assert _target.environment(["app"], mine).items() >= {**mine, "PATH": _target._path({"PATH": "/bin"})}.items()
    assert _target.environment(["app"], mine, "other")["OTEL_SERVICE_NAME"] == "other"
    assert "OTEL_SERVICE_NAME" not in _target.environment(["app"], {"OTEL_RESOURCE_ATTRIBUTES": "service.name=x"})
    assert _target.environment(["app"], {"OTEL_SERVICE_NAME": ""})["OTEL_SERVICE_NAME"] == "app"
    assert _target.environment(["app"], {"OTEL_LLMON_SERVICE": "shop"})["OTEL_SERVICE_NAME"] == "shop"


@pytest.mark.parametrize(
    ("environ", "service", "guess"),
    [
        ({}, None, "app"),
        ({"OTEL_SERVICE_NAME": ""}, None, "app"),
        ({"LLMON_GUESSED_SERVICE": "before"}, None, "app"),
        ({"OTEL_SERVICE_NAME": "app"}, None, None),
        ({"OTEL_LLMON_SERVICE": "app"}, None, None),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=app"}, None, None),
        ({}, "app", None),
        ({"OTEL_SERVICE_NAME": "sh", "LLMON_GUESSED_SERVICE": "sh"}, "sh", None),
        ({"OTEL_SERVICE_NAME": "sh", "LLMON_GUESSED_SERVICE": "sh"}, None, "sh"),
    ],
)
def test_a_name_that_is_a_guess_is_marked_as_one(environ, service, guess):
    """Anybody's own word, by variable, setting or option, is none."""
    made = _target.environment(["app"], environ, service)
    assert made.get("LLMON_GUESSED_SERVICE") == guess
    assert guess is None or made["OTEL_SERVICE_NAME"] == guess


def test_the_programs_own_name_wins_over_a_guess(run, program, sink):
    """What `configure(service=...)` says is its author's word; the name of the script is nobody's."""
    source = f"import otel_llmon\notel_llmon.configure(service='ingest')\n{PHASE}"
    assert run("python", str(program.write("app.py", source))).returncode == 0
    assert {resource["service.name"] for resource in sink.resources()} == {"ingest"}


def test_programs_of_our_environment_come_first():
    """Only there is what instruments them; where another environment is active, its owner has decided."""
    here = str(BIN)
    assert _target._path({"PATH": "/bin"}) == f"{here}{os.pathsep}/bin"
    assert _target._path({"PATH": "/bin", "VIRTUAL_ENV": "/elsewhere"}) == "/bin"


@pytest.mark.parametrize(
    ("environ", "target", "ours"),
    [
        ({}, "http://127.0.0.1:4317", True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, "http://127.0.0.1:4318", True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1]:4318/"}, "http://[::1]:4318", True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.7:4318"}, "http://127.0.0.7:4318", True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/otlp"}, "http://127.0.0.1:4318", False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:4318"}, "https://127.0.0.1:4318", False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://localhost:4318"}, "https://127.0.0.1:4318", False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otlp.example"}, "https://otlp.example:443", False),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "http://collector:4317",
            False,
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://127.0.0.1:4317", False),
    ],
)
def test_the_target_is_read_from_the_endpoint(environ, target, ours):
    """Host and port; only plain HTTP on this machine could be a viewer's."""
    found = _target.of(environ)
    assert (str(found), found.could_be_ours) == (target, ours)


def test_a_page_is_named_only_where_it_shows_what_is_sent(viewer):
    """A viewer on this machine takes nothing that goes to another one's port of the same number, or by TLS."""
    port = urlsplit(viewer.otlp_url).port
    for target, shown in (
        (_target.Target("127.0.0.1", port, could_be_ours=True), viewer.page_url),
        (_target.Target("127.0.0.1", port + 1, could_be_ours=True), None),
        (_target.Target("otlp.example", port, could_be_ours=False), None),
        (_target.Target("127.0.0.1", port, could_be_ours=False, scheme="https"), None),
    ):
        assert _beside.page_of(target, viewer.page_url) == shown


HERE, THERE, BESIDE = "http://127.0.0.1:4318", "http://otlp.example:4318", "http://127.0.0.1:5318"


@pytest.mark.parametrize(
    ("traces", "metrics", "logs", "more", "target", "ours"),
    [
        (THERE, THERE, THERE, {}, THERE, False),
        (f"{BESIDE}/v1/traces", f"{BESIDE}/v1/metrics", f"{BESIDE}/v1/logs", {}, BESIDE, True),
        (THERE, "", None, {}, HERE, True),
        (THERE, None, None, {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}, THERE, False),
        (BESIDE, None, THERE, {"OTEL_METRICS_EXPORTER": "none"}, BESIDE, True),
        (BESIDE, BESIDE, BESIDE, {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, BESIDE, False),
    ],
)
def test_a_signal_may_have_an_endpoint_of_its_own(traces, metrics, logs, more, target, ours):  # noqa: PLR0917
    """Where all have one, nothing goes to the common place; where some have, the others do."""
    own = {"TRACES": traces, "METRICS": metrics, "LOGS": logs}
    given = {f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": url for signal, url in own.items() if url is not None}
    found = _target.of({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, **given, **more})
    assert (str(found), found.could_be_ours) == (target, ours)


@pytest.mark.parametrize("endpoint", ["http://", "http://host:port", "http://[::1"])
def test_an_endpoint_that_is_none_is_left_to_the_program(endpoint):
    """The program says so itself, in one line."""
    assert _target.of({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}) is None
