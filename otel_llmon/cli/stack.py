"""`llmon stack`: start, show and end the real servers."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from otel_llmon.cli._output import as_json, as_table
from otel_llmon.stack import WITH, Stack, StackError, Standing, State, compose, default_data, native, standings

app = typer.Typer(
    name="stack",
    help="Start, show and end the Collector, Prometheus, Alertmanager, Jaeger and Loki.",
    no_args_is_help=True,
    add_completion=False,
)

Data = Annotated[Path | None, typer.Option(help="The folder that holds all of their data.", show_default=False)]
With = Annotated[list[str] | None, typer.Option("--with", help=f"Also: {', '.join(WITH)}; may be repeated.")]
Webhook = Annotated[str | None, typer.Option(help="A URL that alerts are posted to (native only).")]
Native = Annotated[bool, typer.Option("--native", help="Plain processes, even where containers run.")]


@app.command()
def up(
    data: Data = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    extras: With = None,
    webhook: Webhook = None,
    as_processes: Native = False,
) -> None:
    """Start the servers, in containers where an engine answers, else from the binaries that `make stack` builds."""
    wanted = Stack.of(data or default_data(), host, extras or ())
    if webhook is not None and not re.match(r"https?://[^/\s]", webhook):
        raise StackError(f"--webhook {webhook}: expected a URL such as http://localhost:9099/alerts")
    call = None if as_processes else compose.command()
    if call and webhook:
        raise StackError("--webhook: with containers, set LLMON_ALERTMANAGER_CONFIG=webhook.yml; or add --native")
    if call:
        state = compose.up(wanted, call, _told)
    elif native.binaries():
        state = native.up(wanted, webhook, _told)
    else:
        raise StackError(
            "no container engine answers and no servers are built; install Docker with compose, "
            "or build them in a clone with: make stack"
        )
    _print_addresses(state.stack)


@app.command()
def status(
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="Print it for a program.")] = False,
) -> None:
    """Ask each server whether it works; exit status 1 when one does not."""
    state = State.load(data or default_data())
    processes = native.running(state) if state else {}
    found = list(standings(state.stack if state else Stack.of(data or default_data()), processes))
    if json:
        as_json([asdict(standing) for standing in found])
    else:
        as_table(("server", "state", "address", "process"), map(_cells, found))
    if not all(standing.ready for standing in found):
        raise typer.Exit(1)


@app.command()
def down(data: Data = None) -> None:
    """End what `llmon stack up` started, and nothing else; the data stays."""
    folder = data or default_data()
    state = State.load(folder)
    if state is None:
        print(f"nothing to end: 'llmon stack up' started nothing with its data in {folder}")
    elif state.kind == "native":
        print(f"ended: {', '.join(native.down(state)) or 'nothing, all had ended'}; the data stays in {folder}")
    else:
        call = compose.command()
        if call is None:
            raise StackError("the servers run in containers, but no engine answers; start it and try again")
        compose.down(state, call)
        print("ended; the data stays in the volumes llmon_*")


def _told(server: str, seconds: float) -> None:
    print(f"{server:<13}ready after {seconds:4.1f} s", flush=True)


def _cells(standing: Standing) -> tuple[str, str, str, str]:
    return (
        standing.server,
        "ready" if standing.ready else "not ready",
        standing.address,
        str(standing.process or ""),
    )


def _print_addresses(stack: Stack) -> None:
    urls = stack.urls
    rows = (
        ("send OTLP to", urls["otlp"], "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("traces", urls["jaeger"], "Jaeger"),
        ("metrics", urls["prometheus"], "Prometheus"),
        ("logs", urls["loki"], "Loki, through Grafana or logcli"),
        ("alerts", urls["alertmanager"], "Alertmanager"),
        ("data", str(stack.data), ""),
    )
    print()
    as_table(("what", "where", ""), rows)
    elsewhere = _elsewhere(stack)
    if elsewhere:
        print("\nprograms, and `llmon doctor`, find it by these:\n")
        for name, value in elsewhere.items():
            print(f"export {name}={value}")
    print("\ncheck the whole way with: llmon doctor", file=sys.stderr)


def _elsewhere(stack: Stack) -> dict[str, str]:
    """Return what must be set where the servers do not listen at their usual addresses."""
    usual = Stack(stack.data).urls
    names = {"otlp": "OTEL_EXPORTER_OTLP_ENDPOINT"} | {
        server: f"OTEL_LLMON_{server.upper()}_URL"
        for server in ("prometheus", "jaeger", "loki", "alertmanager", "collector_health", "collector_metrics")
    }
    return {name: stack.urls[server] for server, name in names.items() if stack.urls[server] != usual[server]}
