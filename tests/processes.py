"""Programs that tests run as processes of their own, with an environment that holds nothing of ours."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"
BIN = Path(sys.executable).parent
INSTRUMENT = (str(BIN / "opentelemetry-instrument"),)
CONFIGURE = "import otel_llmon; handle = otel_llmon.configure('app')"


class Program:
    """Runs Python source: `program("...")`, or `program.start([...])` for a command line."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        self.environ |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_LLMON_EXIT_TIMEOUT": "20",  # what else this machine is busy with is not the tests' matter
            "PYTHONPATH": f"{PROGRAMS}{os.pathsep}{folder}",
            "PYTHONWARNINGS": "ignore:This process:DeprecationWarning",  # of a fork beside threads, since Python 3.12
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }

    def __call__(
        self, source: str, *, instrumented: bool = False, timeout: float = 30, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which comes before `timeout`, and return what it printed and how it ended."""
        with self.start(self.command(source, instrumented=instrumented), **environ) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def command(self, source: str, *, instrumented: bool = False) -> list[str]:
        """Return the command line that runs this source."""
        file = self.write("program.py", source)
        return [*(INSTRUMENT if instrumented else ()), sys.executable, str(file)]

    def write(self, name: str, source: str) -> Path:
        """Write a file that programs may import."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source), encoding="utf-8")
        return file

    def press_at(self, module: str) -> None:
        """Have every Python that is started from now on meet Ctrl-C where it imports this module."""
        self.write(
            "sitecustomize.py",
            f"""
            import os, signal, sys

            class Press:
                def find_spec(self, name, path=None, target=None):
                    if name == {module!r}:
                        os.kill(os.getpid(), signal.SIGINT)

            sys.meta_path.insert(0, Press())
            """,
        )

    def start(self, command: Sequence[str], **environ: str) -> subprocess.Popen[str]:
        """Start a command line; who calls this ends it too."""
        return subprocess.Popen(
            command,
            env=self.environ | environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@functools.cache
def instrument_passes_on() -> bool:
    """Tell whether this opentelemetry-instrument instruments what its program starts; older ones did not."""
    probe = [*INSTRUMENT, sys.executable, "-c", "import os; print(os.environ.get('PYTHONPATH', ''))"]
    quiet = {"OTEL_SDK_DISABLED": "true"}
    return "auto_instrumentation" in subprocess.check_output(probe, text=True, env=os.environ | quiet)


def needs_instrumented_children() -> None:
    """Skip the test where spawned children are not instrumented."""
    if not instrument_passes_on():
        pytest.skip("this opentelemetry-instrument leaves the processes that its program starts alone")


@contextmanager
def killed(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process when this is over, however it comes to that."""
    try:
        yield
    finally:
        process.kill()


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until `true()` is, and return what it said last."""
    deadline = time.monotonic() + seconds
    while not (said := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return said


def lines(text: str, word: str) -> list[str]:
    """Return the lines that hold `word`."""
    return [line for line in text.splitlines() if word in line]
