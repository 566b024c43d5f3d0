"""The real servers: where their files are, where they listen, and what runs now.

Two ways run them, `compose` and `native`; both start the same five servers from the same files in `collector-config/`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from otel_llmon.errors import LlmonError, reason

WITH = ("redaction", "tail-sampling", "gateway", "files", "logs", "scrape")
"""Concerns that can be switched on: files in `collector-config/` that are given to the Collector after its own."""

LISTENING = {
    "alertmanager": {"LLMON_ALERTMANAGER_PORT": 9093},
    "prometheus": {"LLMON_PROMETHEUS_PORT": 9090},
    "jaeger": {
        "LLMON_JAEGER_PORT": 16686,
        "LLMON_JAEGER_GRPC_PORT": 16685,
        "LLMON_JAEGER_OTLP_PORT": 14317,
        "LLMON_JAEGER_HEALTH_PORT": 13134,
        "LLMON_JAEGER_METRICS_PORT": 8889,
    },
    "loki": {"LLMON_LOKI_PORT": 3100, "LLMON_LOKI_GRPC_PORT": 9096},
    "collector": {
        "LLMON_OTLP_GRPC_PORT": 4317,
        "LLMON_OTLP_HTTP_PORT": 4318,
        "LLMON_COLLECTOR_HEALTH_PORT": 13133,
        "LLMON_COLLECTOR_METRICS_PORT": 8888,
        "LLMON_SCRAPE_PORT": 8890,
    },
}
"""Each server's ports by the variable that moves them; the files in `collector-config/` name the same variables."""

PORTS = {name: port for ports in LISTENING.values() for name, port in ports.items()}

READY = {
    "alertmanager": ("LLMON_ALERTMANAGER_PORT", "/-/ready"),
    "prometheus": ("LLMON_PROMETHEUS_PORT", "/-/ready"),
    "jaeger": ("LLMON_JAEGER_HEALTH_PORT", "/status"),
    "loki": ("LLMON_LOKI_PORT", "/ready"),
    "collector": ("LLMON_COLLECTOR_HEALTH_PORT", "/"),
}
"""Where each server says that it is ready, in the order in which they start."""


NOTE = "stack.json"


class StackError(LlmonError):
    """A server cannot be started, found or stopped."""


def files() -> Path:
    """Return the folder that holds `collector-config/` and `docker-compose.otel.yml`: in the wheel, or the clone."""
    package = Path(__file__).parents[1]
    shipped = package / "_shipped"
    return shipped if shipped.is_dir() else package.parent


def default_data(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that `llmon stack` keeps its data in unless told otherwise."""
    state = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "llmon" / "stack"


@dataclass(frozen=True)
class Stack:
    """One stack: the folder that holds all of its data, where it listens, and which files of WITH it uses."""

    data: Path
    host: str = "127.0.0.1"
    ports: Mapping[str, int] = field(default_factory=lambda: dict(PORTS))
    extras: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        data: Path,
        host: str = "127.0.0.1",
        extras: Collection[str] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> Stack:
        """Return the stack that is asked for; raises StackError for a port or an extra that is none."""
        for name in extras:
            if name not in WITH:
                raise StackError(f"{name!r}: expected {', '.join(WITH[:-1])} or {WITH[-1]}")
        if not host.strip():
            raise StackError(f"--host {host!r}: expected an address of this machine, such as 127.0.0.1")
        return cls(data.absolute(), host, {name: _port(name, environ) for name in PORTS}, tuple(extras))

    def at(self, port: str) -> str:
        """Return `host:port` for one of PORTS."""
        return f"{self.host}:{self.ports[port]}"

    @property
    def urls(self) -> dict[str, str]:
        """Return where people and programs reach each server."""
        return {
            "otlp": f"http://{self.at('LLMON_OTLP_HTTP_PORT')}",
            "otlp_grpc": f"http://{self.at('LLMON_OTLP_GRPC_PORT')}",
            "prometheus": f"http://{self.at('LLMON_PROMETHEUS_PORT')}",
            "alertmanager": f"http://{self.at('LLMON_ALERTMANAGER_PORT')}",
            "jaeger": f"http://{self.at('LLMON_JAEGER_PORT')}",
            "loki": f"http://{self.at('LLMON_LOKI_PORT')}",
            "collector_health": f"http://{self.at('LLMON_COLLECTOR_HEALTH_PORT')}",
            "collector_metrics": f"http://{self.at('LLMON_COLLECTOR_METRICS_PORT')}",
        }

    def ready_url(self, server: str) -> str:
        """Return the URL that answers 200 once the server works."""
        port, path = READY[server]
        return f"http://{self.at(port)}{path}"


def ready(url: str, timeout: float = 2.0) -> bool:
    """Whether a server says that it works."""
    import urllib3

    try:
        answer = urllib3.request("GET", url, timeout=timeout, retries=False)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200


def wait(url: str, patience: float, pause: float, *, alive: Callable[[], bool] = lambda: True) -> tuple[bool, float]:
    """Ask until the server works, has ended or `patience` is over; return whether it works, and the seconds."""
    started = time.monotonic()
    while not (works := ready(url)) and alive() and time.monotonic() - started <= patience:
        time.sleep(pause)
    return works, time.monotonic() - started


def check_folder(data: Path) -> None:
    """Raise StackError for what is there and no folder."""
    if data.exists() and not data.is_dir():
        raise StackError(f"{data}: is no folder, give another with --data")


def other_options(stack: Stack) -> StackError:
    """Return the error for servers that run already, and differently."""
    return StackError(f"{stack.data}: servers run there with other options, end them first with: llmon stack down")


@dataclass
class State:
    """What `up` started, so that `down` ends that and nothing else; kept in the data folder."""

    kind: Literal["compose", "native"]
    stack: Stack
    processes: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Process id and start time by server; both, because ids are used again."""

    @classmethod
    def load(cls, data: Path) -> State | None:
        """Return what was noted, None when nothing was started; raises StackError when the note is unreadable."""
        path = data.absolute() / NOTE
        check_folder(data)
        try:
            noted = json.loads(path.read_text())
            processes = {server: (int(pid), float(begun)) for server, (pid, begun) in noted["processes"].items()}
            stack = Stack(path.parent, noted["host"], noted["ports"], tuple(noted["extras"]))
            return cls(noted["kind"], stack, processes)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StackError(f"{path}: {reason(exc)}, give another folder with --data") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise StackError(f"{path}: damaged, look for servers that still run by hand and delete it") from None

    def save(self) -> None:
        """Note it, whole or not at all."""
        path = self.stack.data / NOTE
        noted = asdict(self.stack) | {"kind": self.kind, "processes": self.processes, "data": None}
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(noted, indent=2))
        beside.replace(path)

    def forget(self) -> None:
        """Nothing runs any more."""
        (self.stack.data / NOTE).unlink(missing_ok=True)


@dataclass(frozen=True)
class Standing:
    """One server as `status` shows it."""

    server: str
    ready: bool
    address: str
    process: int | None = None


def standings(stack: Stack, processes: Mapping[str, int]) -> Iterator[Standing]:
    """Ask each server whether it works; `processes` are the ones that we started and that still run."""
    for server in READY:
        address = stack.urls.get(server, stack.urls["otlp"])
        yield Standing(server, ready(stack.ready_url(server)), address, processes.get(server))


def _port(name: str, environ: Mapping[str, str]) -> int:
    raw = environ.get(name) or str(PORTS[name])
    if not raw.isdecimal() or not 0 < int(raw) < 65536:
        raise StackError(f"{name}={raw!r}: expected a port, 1 to 65535")
    return int(raw)
