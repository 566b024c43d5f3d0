"""Running somebody's program as if we were not there: its signals, its exit status, its standard streams."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from otel_llmon.errors import LlmonError, reason

NOT_FOUND, NOT_EXECUTABLE = 127, 126
SI_KERNEL = 0x80
"""`si_code` of what the terminal sends: a key's signal goes to everybody in the foreground, the program included."""

PASSED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
KEYS = tuple(one for one in PASSED if one.name in ("SIGINT", "SIGQUIT"))
"""What keys send. A terminal that hangs up tells the leader of its session only, which may be us."""
ENDING = (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))


class CannotRunError(LlmonError):
    """A command cannot be run; `status` is what a shell would end with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    """Its exit status, or minus the signal that ended it."""
    by_request: bool
    """Whether somebody told us to end."""

    def __str__(self) -> str:
        return f"ended with status {self.code}" if self.code >= 0 else f"was ended by {_name(-self.code)}"

    def status(self) -> int:
        """Return the exit status; where a signal ended the program, end by the same one."""
        if self.code < 0:
            with contextlib.suppress(OSError):  # SIGKILL has no other action
                signal.signal(-self.code, signal.SIG_DFL)
            os.kill(os.getpid(), -self.code)
        return self.code if self.code >= 0 else 128 - self.code


def _name(number: int) -> str:
    known = signal.Signals.__members__.values()
    return next((one.name for one in known if one == number), f"signal {number}")  # real-time signals have no names


def find(name: str, environ: Mapping[str, str]) -> str:
    """Return the file that a command means; raises CannotRunError as a shell would."""
    found = shutil.which(name, path=environ["PATH"])
    if found is not None:
        return found
    folders = [""] if os.path.dirname(name) else environ["PATH"].split(os.pathsep)  # noqa: PTH120  # "./x" has one
    for folder in folders:
        file = Path(folder, name)
        if file.is_dir():
            raise CannotRunError(f"{name}: is a folder, expected a program", NOT_EXECUTABLE)
        if file.exists():
            raise CannotRunError(f"{name}: may not be executed; run: chmod +x {file}", NOT_EXECUTABLE)
    raise CannotRunError(f"{name}: command not found", NOT_FOUND)


def become(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Run the command under `opentelemetry-instrument` in place of this process."""
    from opentelemetry.instrumentation.auto_instrumentation import run as instrument

    sys.argv = ["opentelemetry-instrument", *command]
    os.environ.update(environ)
    try:
        instrument()
    except OSError as exc:
        raise CannotRunError(f"{command[0]}: {reason(exc)}, no program", NOT_EXECUTABLE) from exc
    raise AssertionError(command)  # execl() does not return


def run(command: Sequence[str], environ: Mapping[str, str]) -> Ended:
    """Run the command under `opentelemetry-instrument` to its end, and hand on the signals that we are sent."""
    watched = [sys.executable, "-P", "-c", f"from {__name__} import main; main()", *command]
    if not hasattr(signal, "pthread_sigmask"):
        return Ended(subprocess.call(watched, env=environ), by_request=False)  # noqa: S603  # the person's own command
    signals = {*PASSED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        process = subprocess.Popen(watched, env=environ)  # noqa: S603  # likewise
        return _hand_on(process, signals)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hand_on(process: subprocess.Popen[bytes], signals: set[Any]) -> Ended:
    by_request = False
    while process.poll() is None:
        number, from_terminal = _next(signals)
        by_request |= number in ENDING
        if number != signal.SIGCHLD and not from_terminal:
            process.send_signal(number)
    return Ended(process.returncode, by_request)


def _next(signals: set[Any]) -> tuple[int, bool]:
    """Wait for a signal; return it, and whether a key sent it to everybody."""
    if hasattr(signal, "sigwaitinfo"):
        told = signal.sigwaitinfo(signals)
        return told.si_signo, told.si_signo in KEYS and told.si_code == SI_KERNEL
    number = signal.sigwait(signals)
    return number, number in KEYS


def say(line: str) -> None:
    """Say it in one line, beside what the program says."""
    print(f"llmon: {line}", file=sys.stderr, flush=True)


def main() -> None:
    """Be the watched program: as `become()`, in a process whose signals were held back until now."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it is the program, there is no traceback to show
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*PASSED, signal.SIGCHLD})
    try:
        become(sys.argv[1:], {})
    except CannotRunError as exc:
        say(str(exc))
        raise SystemExit(exc.status) from None


if __name__ == "__main__":
    main()
