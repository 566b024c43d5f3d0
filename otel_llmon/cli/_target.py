"""Where a program's telemetry would go, and the `OTEL_*` defaults that `llmon run` gives it."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from otel_llmon.errors import LlmonError
from otel_llmon.settings import Settings

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
NAME, GUESSED = "OTEL_SERVICE_NAME", "LLMON_GUESSED_SERVICE"
"""With the same value in both, the name is nobody's word: `configure(service=...)` in the program wins."""
DEFAULT = "http://127.0.0.1:4318"
SIGNALS = ("TRACES", "METRICS", "LOGS")
SOONER = {
    "OTEL_METRIC_EXPORT_INTERVAL": "5000",
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
    "OTEL_BLRP_SCHEDULE_DELAY": "1000",
}
"""Milliseconds: somebody watches, so metrics come after seconds and not after a minute."""

_PYTHON = re.compile(r"(python|pypy)[\d.]*(\.exe)?")
_SERVERS = ("uvicorn", "gunicorn", "hypercorn", "granian")


class Target(NamedTuple):
    """The host and port of an OTLP endpoint."""

    host: str
    port: int
    could_be_ours: bool
    """Whether a viewer on this machine could listen there."""
    scheme: str = "http"

    def __str__(self) -> str:
        return f"{self.scheme}://{address(self.host, self.port)}"

    def answers(self) -> bool:
        """Tell whether anybody listens there."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1):
                return True
        except OSError:
            return False


def address(host: str, port: int) -> str:
    """Return a host and a port as a URL spells them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def environment(command: Sequence[str], environ: Mapping[str, str], service: str | None = None) -> dict[str, str]:
    """Return the environment for a program: what is set stays, what nobody has set gets a default."""
    known = settings(environ)
    wanted = dict(SOONER)
    if not environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http").startswith("grpc"):
        wanted[ENDPOINT] = known.endpoint or DEFAULT
    if service:
        wanted[NAME] = service
    elif "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", "") and not environ.get(NAME):
        wanted[NAME] = known.service or name_of(command)
        if not known.service:
            wanted[GUESSED] = wanted[NAME]
    said = {NAME, GUESSED} if service else {GUESSED} & wanted.keys()
    given = {name: value for name, value in environ.items() if (value or name not in wanted) and name not in said}
    return wanted | given | {"PATH": _path(environ)}


def of(environ: Mapping[str, str]) -> Target | None:
    """Return where telemetry goes; None where there is none, or where the program itself will complain.

    Where signals go to different places it is that of those without an endpoint of their own, else that of the first.
    """
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or settings(environ).level == "disabled"
    sent = [signal for signal in SIGNALS if "otlp" in environ.get(f"OTEL_{signal}_EXPORTER", "otlp")]
    if off or not sent:
        return None
    signal = next((signal for signal in sent if not environ.get(_own(signal, "ENDPOINT"))), sent[0])
    protocol = environ.get(_own(signal, "PROTOCOL")) or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    try:
        url = environ.get(_own(signal, "ENDPOINT")) or environ.get(ENDPOINT, "http://127.0.0.1:4317")
        parts = urlsplit(url if "//" in url else f"//{url}")
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 4317)
    except ValueError:
        return None
    if not parts.hostname:
        return None
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    plain = parts.scheme == "http" and not protocol.startswith("grpc")
    ours = plain and is_loopback(host) and parts.path in ("", "/", f"/v1/{signal.lower()}")
    return Target(host, port, ours, parts.scheme or "http")


def _own(signal: str, what: str) -> str:
    """Return the variable that says something for one signal alone."""
    return f"OTEL_EXPORTER_OTLP_{signal}_{what}"


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def name_of(command: Sequence[str]) -> str:
    """Return what a program would be called: its script, its module, or the application that a server is given."""
    words = list(command)
    if _PYTHON.fullmatch(Path(words[0]).name):
        words = _after_python(words[1:]) or ["python"]
    name = Path(words[0]).stem
    if name in _SERVERS:
        name = next((word.partition(":")[0] for word in words[1:] if re.fullmatch(r"[\w.]+:\w+", word)), name)
    return name


def _after_python(words: list[str]) -> list[str]:
    """Return what an interpreter is told to run, without its own options."""
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "-c" or not words:
            return []
        if option == "-m":
            return [words[0].partition(".")[0], *words[1:]]
        if option in ("-W", "-X"):
            words.pop(0)
    return words


def settings(environ: Mapping[str, str]) -> Settings:
    try:
        return Settings.load(environ)
    except LlmonError:  # the program will be told, and starts with the defaults
        return Settings()


def _path(environ: Mapping[str, str]) -> str:
    """Return a PATH with our virtual environment first: only there is a program sure to find what instruments it."""
    path = environ.get("PATH", "")
    active = environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX") or sys.prefix
    if sys.prefix == sys.base_prefix or Path(active) != Path(sys.prefix):
        return path
    return os.pathsep.join(part for part in (str(Path(sys.executable).parent), path) if part)
