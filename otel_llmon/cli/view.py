"""`llmon view`: the embedded viewer, until it is stopped."""

from __future__ import annotations

import _thread
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otel_llmon.errors import SettingsError

if TYPE_CHECKING:
    from otel_llmon.viewer import Viewer

_STOPS = (signal.SIGINT, signal.SIGTERM)
_UNITS: dict[str, float] = {"": 1} | {
    letter + kind: base**power
    for kind, base in (("", 1000), ("i", 1024))
    for power, letter in enumerate("kmgt", start=1)
}
_SMALLEST = 32 << 20
_SECONDS: dict[str, float] = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def run(  # noqa: PLR0913, PLR0917  # an option each
    otlp: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to take OTLP/HTTP.")] = "127.0.0.1:4318",
    page: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to show the page.")] = "127.0.0.1:4319",
    data: Annotated[Path | None, typer.Option(help="Folder to keep it in; default: llmon where state is kept.")] = None,
    tee: Annotated[str | None, typer.Option(metavar="URL", help="A Collector to hand everything on to.")] = None,
    max_size: Annotated[str, typer.Option(help="Most that is kept, such as 500MB; the oldest goes.")] = "2GB",
    max_age: Annotated[str, typer.Option(help="Longest that it is kept, such as 12h or 7d.")] = "7d",
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    until_input_ends: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Take telemetry over OTLP/HTTP and show it on a page, until Ctrl-C."""
    from otel_llmon.viewer import Limits, Viewer

    limits = Limits(_roomy(max_size), _age(max_age))
    viewer = Viewer(data, _address("--otlp", otlp), _address("--page", page), _url(tee), limits)
    for number in _STOPS:
        signal.signal(number, _stop)
    if until_input_ends:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    try:
        _show(viewer, show)
    finally:
        for number in _STOPS:  # the interpreter's own end would bring the default action back
            signal.signal(number, signal.SIG_IGN)


def _show(viewer: Viewer, show: bool) -> None:
    with viewer:
        print(f"page  {viewer.page_url}")
        print(f"OTLP  {viewer.otlp_url}")
        print(f"data  {viewer.folder}", flush=True)
        if show:
            _open(viewer.page_url)
        viewer.wait()


def _stop(*_: object) -> None:
    """Leave, closing everything; being told twice makes no difference."""
    for number in _STOPS:
        signal.signal(number, lambda *_: None)  # with SIG_IGN, Python complains of one that is already there
    raise SystemExit(0)


def _stop_at_end_of_input() -> None:
    """Leave when whoever started us is gone, however that came: the pipe that it holds ends with it."""
    while os.read(sys.stdin.fileno(), 1):  # not by way of its buffer, whose lock the interpreter's end would want
        pass
    _thread.interrupt_main(signal.SIGTERM)


def _open(url: str) -> None:
    import webbrowser

    webbrowser.open(url)


def _address(option: str, given: str) -> tuple[str, int]:
    host, _, port = given.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise SettingsError(f"{option} {given!r}: expected HOST:PORT, such as 127.0.0.1:4318")
    return host.strip("[]"), int(port)


def _url(given: str | None) -> str | None:
    if given is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", given):
        raise SettingsError(f"--tee {given!r}: expected a URL such as http://127.0.0.1:4320")
    return given


def _size(given: str) -> int:
    return int(_amount("--max-size", given, r"([kmgt]?i?)b?", _UNITS, "500MB"))


def _roomy(given: str) -> int:
    found = _size(given)
    if found < _SMALLEST:  # what was just taken would be the first to go
        raise SettingsError(f"--max-size {given!r}: expected at least 32MiB, twice the largest request")
    return found


def _age(given: str) -> float:
    return _amount("--max-age", given, r"([smhdw])", _SECONDS, "12h or 7d")


def _amount(option: str, given: str, unit: str, units: dict[str, float], example: str) -> float:
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*{unit}", given.strip().lower())
    if match is None or not float(match[1]):
        raise SettingsError(f"{option} {given!r}: expected a number and a unit, such as {example}")
    return float(match[1]) * units[match[2]]
