"""A terminal of its own for a program: what it shows there, and the keys that are pressed."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil
from processes import until

CTRL_C = b"\x03"

# The program must lead a session to have a terminal; pty.fork() would fork this process with its threads.
# That its window is closed is told to it also where whoever runs the tests has said to ignore that.
_LEAD = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A program that runs in a terminal. `stdout` sends its standard output elsewhere, as a pipe in a shell does."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], folder: Path, stdout: int | None = None
    ) -> None:
        self._here, there = pty.openpty()
        self._shown = b""
        self._hung_up = False
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LEAD, *command],
            env=environ,
            cwd=folder,
            stdin=there,
            stdout=there if stdout is None else stdout,
            stderr=there,
            start_new_session=True,
        )
        os.close(there)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # how Linux says that nobody has the terminal open any more
            while not self._hung_up:
                if select.select([self._here], [], [], 0.05)[0]:
                    self._shown += os.read(self._here, 65_536)

    @property
    def shown(self) -> str:
        """Return what the terminal has shown until now."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def shows(self, text: str) -> bool:
        """Wait until this was shown, or the program ended; return whether it was."""
        until(lambda: text in self.shown or self.process.poll() is not None)
        return text in self.shown or bool(until(lambda: text in self.shown, 1))

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._here, keys)

    def hang_up(self) -> None:
        """Close the window."""
        if not self._hung_up:
            self._hung_up = True
            self._reader.join(5)  # while it reads, the terminal stays open
            os.close(self._here)

    def ends(self) -> int:
        """Wait for the end, and return the exit status, or minus the signal."""
        status = self.process.wait(30)
        self._reader.join(5)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self.process.pid)
            for process in (
                *leader.children(recursive=True),
                leader,
            ):  # a test that failed leaves nothing behind either
                process.kill()
        self.process.wait()
        self.hang_up()
