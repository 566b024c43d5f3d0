"""The servers as containers, from the shipped compose file, where an engine answers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping

from otel_llmon.stack import READY, Stack, StackError, State, files, other_options, wait

PROJECT = "llmon"
PATIENCE = 120.0
"""Seconds that a server may take until it works, once its image is here."""


def command(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """Return how compose is called here, None where no engine answers."""
    path = environ.get("PATH")
    docker, standalone = shutil.which("docker", path=path), shutil.which("docker-compose", path=path)
    for call in ([docker, "compose"], [standalone]):
        if call[0] and _answers([*call, "version"], environ) and _engine(docker, call, environ):
            return [part for part in call if part]
    return None


def up(
    stack: Stack,
    call: Collection[str],
    told: Callable[[str, float], None] = lambda _server, _seconds: None,
    environ: Mapping[str, str] = os.environ,
    services: Collection[str] = (),
) -> State:
    """Start the containers, all or these, and wait until every server works; pulling images may take minutes.

    Raises StackError when compose fails or a server does not become ready.
    """
    if stack.host != "127.0.0.1":
        raise StackError(f"--host {stack.host}: containers are published on 127.0.0.1, or use --native")
    before = State.load(stack.data)
    if before is not None and (before.kind, before.stack) != ("compose", stack):
        raise other_options(stack)
    state = State("compose", stack)
    stack.data.mkdir(parents=True, exist_ok=True)
    state.save()  # first, so that `down` also ends what was started before a failure
    _run([*call, *_project(), "up", "-d", *services], _environment(stack, environ))
    for server in READY:
        told(server, _wait(server, stack))
    return state


def down(state: State, call: Collection[str], environ: Mapping[str, str] = os.environ) -> None:
    """Stop and remove the containers; their volumes stay."""
    _run([*call, *_project(), "down"], _environment(state.stack, environ))
    state.forget()


def _project() -> list[str]:
    return ["-p", PROJECT, "-f", str(files() / "docker-compose.otel.yml")]


def _environment(stack: Stack, environ: Mapping[str, str]) -> dict[str, str]:
    overlays = " ".join(f"--config=/etc/otel-llmon/{name}.yaml" for name in stack.extras)
    ports = {name: str(port) for name, port in stack.ports.items()}
    return {**environ, **ports, "LLMON_COLLECTOR_WITH": overlays}


def _wait(server: str, stack: Stack) -> float:
    works, took = wait(stack.ready_url(server), PATIENCE, 0.5)
    if not works:
        raise StackError(f"{server} is not ready after {took:.0f} s, see: docker logs {PROJECT}-{server}-1")
    return took


def _run(command: Collection[str], environ: Mapping[str, str]) -> None:
    done = subprocess.run(list(command), env=dict(environ), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise StackError(f"compose ended with {done.returncode}: {said[-1] if said else 'it said nothing'}")


def _engine(docker: str | None, call: Collection[str | None], environ: Mapping[str, str]) -> bool:
    return _answers([docker, "info"] if docker else [*call, "ls"], environ)


def _answers(command: Collection[str | None], environ: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(  # noqa: S603
            [part for part in command if part], env=dict(environ), capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
