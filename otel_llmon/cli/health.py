"""`llmon health`: are the targets up; once, or for others to ask."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from otel_llmon import checks, health, telemetry
from otel_llmon.checks.probes import DAY
from otel_llmon.checks.verdicts import word
from otel_llmon.cli._output import as_json, as_table
from otel_llmon.errors import LlmonError, SettingsError, reason
from otel_llmon.settings import CONFIG, Settings
from otel_llmon.targets import refused, without_password

FILE = "llmon.yaml"
EXPECTED = "expected http://, https://, tcp://, ollama:// or openai:// and a place"


def run(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(help="What to check besides: http://, https://, tcp://, ollama:// or openai://"),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds for each of these addresses.")] = 5.0,
    serve: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Check on, and answer there.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was found for a program.")] = False,
) -> None:
    """Check what `checks` in the settings names, and these addresses.

    Leaves with 0 when all of them are up, else with 1. With --serve it stays, answers /health, /ready and /live, and
    sends what it finds as metrics.
    """
    settings = Settings.load()
    if not settings.checks and not addresses:
        raise SettingsError(_none(os.environ.get(CONFIG)))
    if serve is not None:
        _serve(serve, addresses or (), timeout)
    telemetry.log.setLevel(logging.ERROR)  # the table says it
    wanted = [*checks.start(settings.checks), *_given(addresses or (), timeout)]
    with ThreadPoolExecutor(len(wanted)) as pool:
        results = list(pool.map(_asked, wanted))
    if json:
        as_json({check.name: health.component(check) for check in wanted})
    else:
        as_table(("target", "type", "status", "seconds", "found"), map(_row, results))
    raise typer.Exit(0 if all(result.up for result in results) else 1)


def _none(named: str | None) -> str:
    """Return what is said where there is nothing to check: where checks were looked for, and what to do."""
    if not named and Path(FILE).exists():
        return (
            f"no checks: {FILE} lies here, but is read only where {CONFIG} names it; run: {CONFIG}={FILE} llmon health"
        )
    where = named or f"the settings, and {CONFIG} names no file"
    return (
        f"no checks: found none in {where}; give an address such as http://localhost:8000/health or ollama://localhost"
    )


def _given(addresses: Iterable[str], timeout: float) -> list[checks.Check]:
    """Begin to check addresses, each by a name that everybody may read."""
    found: dict[str, str] = {}
    for address in dict.fromkeys(addresses):
        told = _told(address)
        names = chain((told,), (f"{told} ({number})" for number in count(2)))
        name = next(each for each in names if each not in found)
        found[name] = address
    return [_check(name, address, timeout) for name, address in found.items()]


def _told(address: str) -> str:
    """Return an address without its secrets, no longer than a name may be, with room for a number."""
    try:
        urlsplit(address).port  # noqa: B018  # it is read here
    except ValueError:
        raise SettingsError(f"{refused(address)}: {EXPECTED}") from None
    return without_password(address)[:120]


def _check(name: str, address: str, timeout: float) -> checks.Check:
    kind, separator, place = address.partition("://")
    if kind in ("http", "https") and separator:
        return checks.http(name, address, timeout=timeout)
    kinds: dict[str, Any] = {"tcp": checks.tcp, "ollama": checks.ollama, "openai": checks.openai}
    if kind not in kinds or not separator:
        raise SettingsError(f"{refused(address)}: {EXPECTED}")
    return kinds[kind](name, place, timeout=timeout)  # type: ignore[no-any-return]


def _asked(check: checks.Check) -> checks.Result:
    """Ask until there is a verdict, which may want several answers in a row."""
    for _ in range(max(check.plan.rise, check.plan.fall)):
        if check.ask().up is not None:
            break
    return check.result


def _row(result: checks.Result) -> tuple[str, ...]:
    seconds = "" if result.seconds is None else f"{result.seconds:.3f}"
    return result.name, result.kind, word(result.up), seconds, result.reason or _found(result)


def _found(result: checks.Result) -> str:
    return ", ".join(say(result.facts[fact]) for fact, say in FACTS.items() if fact in result.facts)


FACTS: Mapping[str, Callable[[float], str]] = {
    "models": lambda number: f"{number:.0f} model{'' if number == 1 else 's'}",
    "http_status": lambda status: f"{status:.0f}",
    "certificate": lambda seconds: f"certificate for {seconds / DAY:.1f} days",
}
"""What was found beside, as the table has it."""


def _serve(place: str, addresses: Iterable[str], timeout: float) -> None:
    """Answer until somebody ends us."""
    from otel_llmon.lifecycle import configure

    server = _listening(place)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    with server, configure("llmon-health", observers=()):
        _given(addresses, timeout)
        print(f"health  http://{place}/health", flush=True)
        server.serve_forever()


def _stop(*_: object) -> None:
    raise SystemExit(0)


def _listening(place: str) -> ThreadingHTTPServer:
    host, _, port = place.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise SettingsError(f"--serve {place!r}: expected HOST:PORT, such as 127.0.0.1:8086")
    try:
        return ThreadingHTTPServer((host.strip("[]"), int(port)), _Page)
    except OSError as exc:
        raise LlmonError(f"--serve {place}: {reason(exc)}; choose another port") from exc


class _Page(BaseHTTPRequestHandler):
    """Answers a request."""

    timeout = 10  # a client that says nothing is let go

    def do_GET(self) -> None:
        """Say how things are."""
        path = self.path.partition("?")[0]
        answer = health.answer(self.command, path) or health.refusal(path)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_POST = do_GET  # noqa: N815  # their names there

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
        """Say nothing: who looks every second does not want a line for it."""
