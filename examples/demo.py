"""`make demo`: run examples/pipeline.py against the embedded viewer, print what arrived, and leave the page up.

    python examples/demo.py [--once]

What it prints about the run it has asked the viewer for; the program itself knows nothing of it.
"""

# ruff: noqa: E402
from __future__ import annotations

import os
import signal

signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))  # what is imported next takes its time

import argparse
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from otel_llmon.backends import Embedded
from otel_llmon.terminal import Table, Tree, Value, newest
from otel_llmon.viewer import Viewer

PIPELINE = Path(__file__).with_name("pipeline.py")
METRICS = (
    "llmon.pipeline.duration",
    "llmon.phase.duration",
    "llmon.phase.errors",
    "llmon.progress.items",
    "gen_ai.client.operation.duration",
    "gen_ai.client.token.usage",
)

STOPS = (signal.SIGINT, signal.SIGTERM)

console = Console(highlight=False)


def main() -> int:
    """Run the demo; return the exit status: 0 where the program did well and its telemetry arrived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="end when everything is printed")
    parser.add_argument("--otlp", default="127.0.0.1:4318", help="where the viewer takes OTLP")
    parser.add_argument("--page", default="127.0.0.1:4319", help="where it shows its page")
    given = parser.parse_args()
    for number in STOPS:
        signal.signal(number, leave)
    with (
        tempfile.TemporaryDirectory(prefix="llmon-demo-") as folder,
        Viewer(data=folder, otlp=free(given.otlp), page=free(given.page)) as viewer,
    ):
        failed = run(viewer.otlp_url) or show(Embedded(viewer.page_url))
        if not given.once:
            stay(viewer)
    return failed


def leave(number: int, _: object) -> None:
    """Leave orderly; being told twice makes no difference."""
    for stop in STOPS:
        signal.signal(stop, lambda *_: None)
    sys.exit(128 + number)


def free(address: str) -> tuple[str, int]:
    """Return where to listen: at this address, or where somebody has its port, at any that is free."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            console.print(f"{address} is taken, so a free port stands in for it", style="yellow")
            return host, 0
    return host, int(port)


def run(endpoint: str) -> int:
    """Run the pipeline, which knows nothing of us, with a few variables set; return its exit status."""
    title("opentelemetry-instrument python examples/pipeline.py")
    program = Path(sys.executable).with_name("opentelemetry-instrument")
    environ = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "pipeline"}
    environ.setdefault("OTEL_LLMON_EXIT_TIMEOUT", "15")  # on a busy machine 2 s may be too little
    environ |= {"NO_PROXY": "*", "no_proxy": "*"}  # all that it talks to is on this machine
    command = [program, sys.executable, PIPELINE]
    # a session of its own: Ctrl-C comes to us alone, and we end it without a traceback
    return subprocess.run(command, env=environ, check=False, start_new_session=True).returncode


def show(viewer: Embedded) -> int:
    """Print the newest trace, the metrics that say most, and the logs, as the viewer has them; return 0 if it has."""
    title("the trace")
    for summary in viewer.traces(limit=1):
        console.print(Tree(viewer.trace(summary.trace_id)))
    title("the metrics")
    found = list(values(viewer, METRICS))
    console.print(Table(found))
    title("the logs")
    logs = viewer.logs()
    for log in reversed(logs):
        console.print(
            Text.assemble((f"{log.level:<7} ", "yellow" if log.level.startswith("WARN") else "dim"), log.body)
        )
    if not (found and logs and viewer.status().traces):
        console.print("not everything arrived", style="red")
        return 1
    return 0


def values(viewer: Embedded, wanted: Sequence[str]) -> Iterator[Value]:
    """Yield the newest values of these metrics, in this order."""
    known = {metric.name: metric for metric in viewer.metrics()}
    for name in wanted:
        if name in known:
            yield from newest(known[name], viewer.series(name))


def stay(viewer: Viewer) -> None:
    """Leave the page up until Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    title(f"the same on a page: {viewer.page_url}   (Ctrl-C ends it)")
    try:
        viewer.wait()
    except KeyboardInterrupt:
        console.print()


def title(text: str) -> None:
    """Print a heading."""
    console.print(Text(f"\n{text}", "bold"))


if __name__ == "__main__":
    sys.exit(main())
