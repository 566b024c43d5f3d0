"""Where a person sees how far loops are: bars in a terminal or a notebook, a line now and then elsewhere."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

from otel_llmon import metering, telemetry, wording
from otel_llmon.events import errors
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import phases as rows
from otel_llmon.wording import UNDER_WAY, Snapshot

if TYPE_CHECKING:
    from otel_llmon.progress.loops import Loop
    from otel_llmon.progress.painting import Painter

Manner = Literal["bars", "notebook", "lines", "nothing"]

SHORT = 0.3
"""Seconds: a loop that is over sooner gets no bar."""
LINE = 10.0
"""Seconds between two lines about one loop, at least; later on a fiftieth of the time that it ran."""
SHARE = 100
"""Drawing takes one part in so many of the time."""
FASTEST, SLOWEST, IDLE = 0.1, 0.5, 2.0
"""Seconds between two drawings, at least and at most; and how long a thread without loops waits for another one."""


def manner() -> Manner:
    """Return how loops are shown now, by the setting and by what standard error is."""
    wanted, stream = telemetry.state.progress_bar, sys.stderr
    if wanted == "off" or stream is None or getattr(stream, "closed", False):
        return "nothing"
    if _notebook():
        return "notebook"
    if wanted == "on" or (_terminal(stream) and os.environ.get("TERM") != "dumb"):
        return "bars"
    return "lines"


def _notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def _terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except Exception:  # somebody's own stream
        return False


def tells_lines() -> bool:
    """Tell whether lines are written now and then."""
    return manner() == "lines"


def began(loop: Loop) -> None:
    """Show a loop that has begun."""
    loop.line_at = loop.began
    loop.drawn = loop.parent is None and manner() in ("bars", "notebook")
    if loop.drawn:
        _bars.add(loop)


def looked(loop: Loop, now: float) -> None:
    """Show a loop that somebody looked at: a line where it is time for one, its end at once."""
    if loop.drawn:
        if loop.over:
            _bars.draw()
        return
    root = loop
    while root.parent is not None:
        root = root.parent
    ran = root.active(now)
    due = now - root.line_at >= max(LINE, ran / 50) and (ran >= LINE or not root.over)  # however late somebody looks
    if (due or (root.over and root.lines)) and manner() == "lines":
        say(root, root.snapshot(now), now)


def say(loop: Loop, shot: Snapshot, now: float) -> None:
    """Write a line, where lines are written."""
    loop.line_at = now
    if manner() == "lines":
        loop.lines = loop.lines + 1 if shot.state in UNDER_WAY else 0  # its last line is the last one
        try:
            sys.stderr.write(wording.line(shot) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError) as exc:  # a pipe whose reader is gone, a stream that was closed
            telemetry.warn_once("progress: cannot write to standard error: %s", exc)


class _Bars:
    """Draws on a thread of its own, which is there as long as something is drawn."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._loops: list[Loop] = []
        self._thread: threading.Thread | None = None
        self._painter: Painter | None = None

    def add(self, loop: Loop) -> None:
        """Draw a loop from now on, if it lasts."""
        with self._lock:
            self._loops.append(loop)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="llmon-bars", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # at exit
                    self._thread = None

    def _run(self) -> None:
        wait, idle = FASTEST, 0.0
        while True:
            time.sleep(wait)
            with self._lock:
                if self._thread is not threading.current_thread():
                    return
                if not self._loops:
                    idle += wait
                    if idle > IDLE:
                        self._thread = None
                        return
                    continue
            idle = 0.0
            wait = self._timed_draw()

    def _timed_draw(self) -> float:
        first, began = self._painter is None, time.thread_time()
        self.draw()
        # the first time rich is imported
        return FASTEST if first else min(max((time.thread_time() - began) * SHARE, FASTEST), SLOWEST)

    def draw(self) -> None:
        """Draw what is to be seen now."""
        with self._lock:
            try:
                self._draw(telemetry.state.clock())
            except Exception as exc:  # a terminal that is gone must not end the loop
                self._loops.clear()
                telemetry.warn_once("progress: cannot draw: %s: %s", type(exc).__name__, exc)

    def _draw(self, now: float) -> None:
        for loop in self._loops:
            loop.shown = loop.shown or (loop.active(now) >= SHORT and loop.state != "waiting")
        over = [loop for loop in self._loops if loop.over]
        self._loops = [loop for loop in self._loops if not loop.over]
        left, shots = _shots(over, now), _shots(self._loops, now)
        for loop in over:
            loop.drawn = False
        if left or shots or self._painter is not None:
            if self._painter is None:
                self._painter = self._new_painter()
            self._painter.paint(left, shots, _phase())
            if not shots:
                self._painter.close()
                self._painter = None

    def _new_painter(self) -> Painter:
        from otel_llmon.progress import painting  # rich, at the first bar

        return (
            painting.InNotebook()
            if manner() == "notebook"
            else painting.InTerminal(sys.stderr, self._lock, self.before_text)
        )

    def before_text(self) -> None:
        """Let a loop that is over stand above what the program says next."""
        if any(loop.over for loop in self._loops):
            self.draw()

    def leave(self) -> None:
        """Draw for the last time."""
        with self._lock:
            self._thread = None
            if self._painter is not None:
                self.draw()
            if self._painter is not None:
                self._painter.close()
            self._painter = None
            self._loops.clear()

    def after_fork(self) -> None:
        """Leave the terminal to the parent."""
        painter = self._painter
        self.__init__()  # type: ignore[misc]  # a child begins with nothing
        if painter is not None:
            painter.release()


def _shots(loops: list[Loop], now: float) -> list[Snapshot]:
    """Return how far those are that are shown, but for one that cannot be told."""
    found = []
    for loop in loops:
        try:
            found += [loop.snapshot(now)] if loop.shown else []
        except Exception as exc:  # its own failure: the others are drawn all the same
            errors.at("progress").add()
            telemetry.warn_once("progress: cannot draw: %s: %s", type(exc).__name__, exc)
    return found


def _phase() -> str:
    """Return the names of the pipeline and the phase that began last and still run."""
    present = getattr(metering.instrument_of(rows.PHASE_ACTIVE), "present", {})
    try:
        found = present[next(reversed(present))].attributes
    except (StopIteration, KeyError, RuntimeError):  # none, or one that came or went meanwhile
        return ""
    return " > ".join(str(found[name]) for name in (key.PIPELINE, key.PHASE) if name in found)


_bars = _Bars()
atexit.register(_bars.leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bars.after_fork)
