"""What a person sees of a loop: bars in a terminal and in a notebook, a line now and then in a pipe."""

from __future__ import annotations

import io
import re
import signal
import sys

import pyte
import pytest
from rich.cells import cell_len
from rich.console import Console
from terminals import CTRL_C, Terminal

from otel_llmon import progress, telemetry, wording
from otel_llmon.terminal.bars import Bars
from otel_llmon.wording import Remaining, Snapshot

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

BUSY = """
    import logging, time
    from otel_llmon import phase, pipeline, progress

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    with pipeline("ingest"), phase("embed"):
        for epoch in progress(range(2), "epochs"):
            for batch in progress(range(30), "batches"):
                time.sleep(0.02)
                if batch == 10:
                    print(f"printed\\n{epoch}")
                if batch == 20:
                    logging.info("logged in %s", epoch)
    print("amid ", end="", flush=True)
    with progress(total=200, name="documents") as documents:
        for number in range(60):
            time.sleep(0.015)
            documents.update(outcome="failed" if number % 20 == 0 else "completed", tokens=7)
            if number == 40:
                print("a line")
    print("end")
"""
QUICK = """
    import sys, threading, time
    from otel_llmon import progress

    for _ in progress(range(10), "documents"):
        time.sleep(0.06)
    for _ in progress(iter(range(10)), "pages"):
        time.sleep(0.06)
    print("rich" in sys.modules, [thread.name for thread in threading.enumerate()])
"""


def seen(shown: str, columns: int = 80) -> list[str]:
    """What stands in a terminal after all this was written, without empty lines."""
    screen = pyte.HistoryScreen(columns, 60)
    pyte.Stream(screen).feed(shown.replace("\n", "\r\n"))
    assert not screen.cursor.hidden
    return [line.rstrip() for line in screen.display if line.strip()]


def run(program, source, tmp_path, *, keys=b"", after="", stdout=None, **environ):
    """Run a program in a terminal; return what was written and the exit status."""
    environ = {name: value for name, value in program.environ.items() if name != "NO_COLOR"} | {
        "TERM": "xterm-256color",
        **environ,
    }
    with Terminal(program.command(source), environ, tmp_path, stdout) as terminal:
        if keys:
            assert terminal.shows(after), terminal.shown
            terminal.press(keys)
        status = terminal.ends()
        return terminal.shown, status


def test_bars_and_what_is_printed_stand_each_on_their_own(program, tmp_path):
    """Afterwards every line is whole, in its order, and each loop has left one line."""
    shown, status = run(program, BUSY, tmp_path)
    assert status == 0, shown
    found = seen(shown)
    assert [line for line in found if not line.startswith(("✓", "■"))] == [
        "printed",
        "0",
        "INFO logged in 0",
        "printed",
        "1",
        "INFO logged in 1",
        "amid",
        "a line",
        "end",
    ]
    [epochs] = [line for line in found if line.startswith("✓")]
    assert re.fullmatch(r"✓ epochs +━+  100 % +2 of 2 +[\d./mins]+  in \d+ s", epochs)
    [documents] = [line for line in found if line.startswith("■")]
    assert re.fullmatch(r"■ documents  ━+╸?─+  30 %  .*stopped after \d+ s +3 failed", documents)


def test_the_tree_is_drawn_while_it_runs(program, tmp_path):
    """The phase around it, the loop, and the loop within it, with the time that is left."""
    shown, _ = run(program, BUSY, tmp_path)
    whole = shown.split("batches")
    middle = [seen("batches".join(whole[:cut]) + whole[cut][:0]) for cut in range(2, len(whole))]
    assert any("  ingest > embed" in frame for frame in middle)
    assert re.search(r"epochs .*━.* \d+ % +[01] of 2 .* left", "\n".join(line for frame in middle for line in frame))
    assert "└ " in shown


def test_a_bar_never_hides_the_cursor_and_ctrl_c_leaves_a_clean_line(program, tmp_path):
    """The traceback is Python's own, below it stands nothing of ours."""
    source = """
        import time
        from otel_llmon import progress

        for _ in progress(range(1000), "documents"):
            time.sleep(0.02)
    """
    shown, status = run(program, source, tmp_path, keys=CTRL_C, after="left")
    assert status in {-signal.SIGINT, 130}
    assert "\x1b[?25l" not in shown
    found = seen(shown.replace("^C", ""))
    assert found[-1] == "KeyboardInterrupt"
    assert len([line for line in found if "documents" in line and "stopped after" in line]) == 1


def test_what_goes_into_a_pipe_beside_a_bar_is_left_alone(program, tmp_path):
    """`python program.py | tee log` in a terminal."""
    file = tmp_path / "out.txt"
    with file.open("wb") as out:
        shown, _ = run(program, BUSY, tmp_path, stdout=out.fileno())
    assert file.read_text() == "printed\n0\nprinted\n1\namid a line\nend\n"
    assert "INFO logged in 1" in seen(shown)
    assert "printed" not in shown


def test_a_loop_that_is_over_at_once_draws_nothing(program, tmp_path):
    """Nor does it import what draws, nor leave a thread."""
    source = QUICK.replace("0.06", "0.001")
    shown, _ = run(program, source, tmp_path)
    assert seen(shown)[0].startswith("False ['MainThread', 'llmon-bars'")
    assert len(seen(shown)) == 1


@pytest.mark.row("A16")
@pytest.mark.parametrize("environ", [{}, {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}], ids=["plain", "colours forced"])
def test_a_pipe_gets_no_control_codes_and_short_loops_no_lines(program, environ):
    """No thread of ours runs, and rich is not imported."""
    done = program(QUICK, **environ)
    assert (done.stdout, done.stderr) == ("False ['MainThread']\n", "")


def test_a_dumb_terminal_is_treated_like_a_pipe(program, tmp_path):
    """It knows no control codes."""
    shown, _ = run(program, QUICK, tmp_path, TERM="dumb")
    assert shown == "False ['MainThread']\n"


@pytest.mark.parametrize("wanted", ["on", "off"])
def test_the_setting_has_the_last_word(program, tmp_path, wanted):
    """`off` in a terminal, `on` in a pipe."""
    environ = {"OTEL_LLMON_PROGRESS_BAR": wanted}
    if wanted == "off":
        assert run(program, QUICK, tmp_path, **environ)[0] == "False ['MainThread']\n"
    else:
        done = program(QUICK, **environ)
        assert [line.split()[1] for line in seen(done.stderr)] == ["documents", "pages"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_knows_few_characters_gets_those(program, tmp_path, encoding):
    """And no program fails for want of others."""
    shown, status = run(program, BUSY, tmp_path, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert status == 0, shown
    assert shown.isascii()
    assert "+ epochs" in "\n".join(seen(shown))


@pytest.mark.parametrize("how", ["list", "iterator", "steps", "many steps"])
def test_a_line_is_written_every_ten_seconds_where_nobody_draws(clock, capsys, how):
    """And a last one; later on they come at longer intervals. A collection, which also writes some, is not needed."""
    if "steps" in how:
        with progress(total=600, name="documents") as loop:
            for _ in range(60):
                clock.now += 1
                loop.update(10 if how == "many steps" else 1)
    else:
        for _ in progress([1] * 60 if how == "list" else iter([1] * 60), "documents", total=60):
            clock.now += 1
    found = capsys.readouterr().err.splitlines()
    assert 5 <= len(found) <= 7
    assert all(re.match(r"documents: \d+ %, \d+ of \d+, [\d.]+/s, ", line) for line in found)
    assert re.search(r"\d+ s left", found[2])
    assert re.search(r"(finished|stopped) after 1 min$", found[-1])


def test_collections_write_the_lines_of_a_list(recorder, clock, capsys):
    """It is gone over without a look of ours in between."""
    for number in progress(list(range(60)), "documents"):
        clock.now += 1
        if number % 15 == 14:
            recorder.points()
    found = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in found] == [f"documents: {part} %" for part in (23, 48, 73, 98, 100)]


def test_a_short_loop_gets_no_line_however_late_it_is_looked_at(recorder, clock, capsys):
    """A collection comes when it comes."""
    for _ in progress(list(range(10)), "documents"):
        clock.now += 0.1
    clock.now += 60
    recorder.points()
    assert capsys.readouterr().err == ""


def test_a_line_tells_the_loops_within(clock, capsys):
    """On the same line, so that there are not more of them."""
    for _ in progress(range(3), "epochs"):
        for _ in progress(iter(range(10)), "batches", total=10):
            clock.now += 1
    found = capsys.readouterr().err.splitlines()
    assert len(found) < 6
    assert re.match(r"epochs: \d+ %, \d of 3, .*; batches: \d+ %$", found[0])


class Full(io.StringIO):
    """A stream onto a full disk."""

    def write(self, _):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [None, Full()], ids=["none", "full"])
def test_standard_error_may_be_gone(clock, monkeypatch, caplog, stream):
    """That costs the lines, not the loop."""
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in progress(iter(range(30)), "documents"):
        clock.now += 1
    assert ("cannot write to standard error" in caplog.text) == (stream is not None)


NOTEBOOK = """
    import re, sys, time, types

    class Handle:
        def update(self, drawn):
            drawings.append(drawn)

    def display(drawn, display_id):
        displays.append(drawn)
        return Handle()

    displays, drawings = [], []
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = sys.modules["IPython.display"] = types.ModuleType("IPython.display")
    ipython.display.display = display
    sys.modules["IPython"] = ipython

    from otel_llmon import progress

    for number in progress(range(30), "documents"):
        time.sleep(0.03)
        if number == 15:
            print("printed")
    last = drawings[-1]
    assert len(displays) == 1 and len(drawings) > 2
    assert repr(last).startswith("✓ documents") and "100 %" in repr(last)
    assert last._repr_html_().startswith("<pre") and "documents" in last._repr_html_()
    assert not re.search("[\\x00-\\x08\\x0b-\\x1f]", repr(last) + last._repr_html_())
"""


def test_a_notebook_gets_one_output_that_changes(program):
    """Coloured HTML and plain text, without control codes; what is printed is not touched."""
    done = program(NOTEBOOK)
    assert (done.returncode, done.stdout) == (0, "printed\n"), done.stderr
    assert done.stderr == ""


def test_a_loop_that_cannot_be_drawn_goes_on(program, tmp_path):
    """Something is wrong with the terminal: one line says so, and nothing is drawn any more."""
    source = """
        import sys, time
        from otel_llmon import progress

        from rich.console import Console
        Console.capture = None
        print(sum(1 for _ in progress(range(30), "documents") if not time.sleep(0.03)))
    """
    shown, status = run(program, source, tmp_path)
    assert status == 0
    assert seen(shown) == ["progress: cannot draw: TypeError: 'NoneType' object is not callable", "30"]


SHOTS = (
    Snapshot("documents", "running", 420, 1000, 0.42, 33.0, 12.3, Remaining(40.0, 48.0, 55.0), 3, 2, 5000),
    Snapshot("日本語" * 10, "running", 7, None, None, 3600.0, None),
    Snapshot(
        "x" * 90, "paused", 1, 2, 0.5, 1.0, 0.001, below=(Snapshot("in\x1bside", "waiting", 0, 5, 0.0, 0.0, None),)
    ),
    Snapshot("all", "finished", 10, 10, 1.0, 86_400 * 3, 1e9),
)


@pytest.mark.parametrize("width", [*range(1, 40), 60, 80, 100, 200])
def test_bars_fit_any_width(width):
    """One line each, none wider than the terminal, and no character of a name moves the cursor."""
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(Bars(SHOTS, "ingest > embed"), soft_wrap=True)
    drawn = captured.get().splitlines()
    assert len(drawn) == 6
    assert max(map(cell_len, drawn)) <= width
    assert not CONTROL.search(captured.get().replace("\n", ""))


def test_a_wide_terminal_shows_everything():
    """Of each loop what is known."""
    console = Console(width=150, color_system=None)
    with console.capture() as captured:
        console.print(Bars(SHOTS[:1]))
    drawn = captured.get()
    for word in (
        "42 %",
        "420 of 1,000",
        "12.3/s",
        "48 s left (40 s to 55 s)",
        "3 failed, 2 skipped",
        "5,000 tokens, 152/s",
    ):
        assert word in drawn


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.2, "< 1 s"),
        (59.4, "59 s"),
        (125, "2 min 5 s"),
        (1800, "30 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (200_000, "2 d 7 h"),
        (9e6, "104 d"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, words):
    """With as many digits as matter."""
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("rate", "words"),
    [(12_345, "12.3k/s"), (128, "128/s"), (12.34, "12.3/s"), (1, "1/s"), (0.5, "30/min"), (0.001, "3.6/h")],
)
def test_rates_are_said_in_the_unit_that_fits(rate, words):
    """Per second, minute or hour."""
    assert wording.rate(rate) == words


@pytest.mark.parametrize(
    ("band", "words"),
    [
        ((40, 48, 55), "48 s left (40 s to 55 s)"),
        ((48, 48, 48), "48 s left"),
        ((10, 60, 120), "10 s to 2 min left"),
        ((0.2, 5, 20), "up to 20 s left"),
    ],
)
def test_what_is_not_known_well_is_said_as_a_band(band, words):
    """One number would pretend to know."""
    assert wording.left(Snapshot("x", "running", 1, 2, 0.5, 1.0, 1.0, Remaining(*map(float, band)))) == words


def test_the_bar_is_off_in_tests_of_ours():
    """Standard error is no terminal here."""
    assert telemetry.state.progress_bar == "auto"
