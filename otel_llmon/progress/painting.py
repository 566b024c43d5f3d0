"""Bars that are drawn again and again at one place, below what the program itself says."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rich.console import Console

from otel_llmon.terminal.bars import Bars
from otel_llmon.wording import Snapshot

UP, ERASE, LINE_END = "\x1b[{}A", "\x1b[J", "\x1b[K"
COLUMNS = 100
"""Width in a notebook."""


class Painter(Protocol):
    """A place where bars are drawn."""

    def paint(self, left: Sequence[Snapshot], shots: Sequence[Snapshot], heading: str) -> None:
        """Leave loops that are over for good, and draw those under way."""

    def close(self) -> None:
        """Leave the place as it is."""

    def release(self) -> None:
        """Forget the place, without touching it: it is another process's."""


class InTerminal:
    """The lower end of a terminal.

    What the program writes to standard output and standard error passes us: the bars make room for it, and wait while a
    line is not at its end. The cursor rests in an empty line above the bars, so that what comes another way, from a
    child process or the keyboard, goes there, and that a terminal made narrower is erased from the first bar on.
    """

    def __init__(self, stream: Any, lock: Any, before_text: Callable[[], None]) -> None:
        self._stream = stream
        self._lock = lock
        self._before_text = before_text
        self._console = Console(file=stream, force_terminal=True, force_jupyter=False, highlight=False, soft_wrap=True)
        self._bars = Bars()
        self._block = ""
        self._open = False  # whether the program is amid a line
        self._inside = self._begun = False
        self._writes: dict[int, tuple[Any, Callable[[str], int]]] = {}
        for each in (stream, *([sys.stdout] if _same_terminal(sys.stdout, stream) else [])):
            self._take(each)

    def _take(self, stream: Any) -> None:
        """Let what is written to a stream pass us; whoever holds the stream, a logging handler say, need not know."""
        write = stream.write

        def passing(text: str) -> int:
            return self._pass(write, stream, text)

        try:
            stream.write = passing
        except AttributeError:  # one of somebody's own that cannot be changed
            return
        self._writes[id(stream)] = (stream, write)

    def _pass(self, write: Callable[[str], int], stream: Any, text: str) -> int:
        with self._lock:
            if self._inside or not text:
                return write(text)
            self._inside = True
            try:
                self._before_text()
                if not self._writes:  # they are done, and we with them
                    return write(text)
                self._open = not text.endswith("\n")
                said = ("" if self._open and not self._block else ERASE) + text
                if not self._open:
                    said += self._block
                write(said)
                stream.flush()
            finally:
                self._inside = False
        return len(text)

    def paint(self, left: Sequence[Snapshot], shots: Sequence[Snapshot], heading: str) -> None:
        """Leave loops that are over for good, and draw those under way."""
        columns, lines = _size(self._stream)
        with self._lock:
            if not self._begun:
                self._begun = True
                self._say(
                    " " * columns + "\r"
                )  # nobody knows where the cursor is; amid a line this begins the next one
            above = self._drawn(left, "", columns, len(left) * 32) if left else []
            block = ["", *self._drawn(shots, heading, columns, lines - 2)] if shots else []
            self._block = "\n".join(line + LINE_END for line in block) + "\r"
            if len(block) > 1:
                self._block += UP.format(len(block) - 1)
            if self._open and not left:
                return
            said = ("\n" if self._open else "") + ERASE + "".join(f"{line}\n" for line in above)
            self._open = False
            self._say(said + self._block)

    def _drawn(self, shots: Sequence[Snapshot], heading: str, columns: int, most: int) -> list[str]:
        self._bars.shots, self._bars.heading = shots, heading
        self._console.width = columns
        with self._console.capture() as captured:
            self._console.print(self._bars)
        return captured.get().splitlines()[: max(most, 1)]

    def _say(self, text: str) -> None:
        before, self._inside = self._inside, True
        try:
            self._stream.write(text)
            self._stream.flush()
        finally:
            self._inside = before

    def close(self) -> None:
        """Leave what was drawn, and let the program write by itself."""
        with self._lock:
            if self._block.strip("\r"):
                rows = self._block.count("\n")
                self._say("\n" * (rows + 1))
            self._block = ""
            self.release()

    def release(self) -> None:
        """Let the program write by itself."""
        for stream, write in self._writes.values():
            if getattr(stream, "write", None) is not write:
                try:
                    del stream.write
                except AttributeError:
                    stream.write = write
        self._writes = {}


class InNotebook:
    """An output of a notebook's cell, replaced again and again."""

    def __init__(self) -> None:
        self._bars = Bars()
        self._display: Any = None
        self._left: list[Snapshot] = []

    def paint(self, left: Sequence[Snapshot], shots: Sequence[Snapshot], heading: str) -> None:
        """Leave loops that are over for good, and draw those under way."""
        from IPython import display  # type: ignore[import-not-found]  # it is there where a notebook runs

        self._left += left
        self._bars.shots, self._bars.heading = [*self._left, *shots], heading
        shown = _Drawn(self._bars)
        if self._display is None:
            self._display = display.display(shown, display_id=True)
        else:
            self._display.update(shown)

    def close(self) -> None:
        """Leave it as it is."""

    def release(self) -> None:
        """Leave it as it is."""


class _Drawn:
    """What a notebook shows."""

    def __init__(self, bars: Bars) -> None:
        console = Console(file=io.StringIO(), record=True, width=COLUMNS, force_jupyter=False, force_terminal=True)
        console.print(bars)
        self._html = console.export_html(
            inline_styles=True, clear=False, code_format='<pre style="line-height: 1.3; white-space: pre">{code}</pre>'
        )
        self._text = console.export_text().rstrip()

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


def _same_terminal(one: Any, other: Any) -> bool:
    try:
        return bool(one.isatty()) and os.ttyname(one.fileno()) == os.ttyname(other.fileno())
    except Exception:  # no terminal, or somebody's own stream
        return False


def _size(stream: Any) -> tuple[int, int]:
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError, AttributeError):
        columns = lines = 0
    return columns or 80, lines or 24
