"""Health checks: `checks.http("ollama", url, every=15)` checks from now on, and tells as metrics, events and calls.

A check never runs in the program's event loop and takes `timeout` at most. What every check can be told:

- `every=15`: seconds from one check to the next, 10 % more or less by chance
- `timeout=5`: seconds for the whole check, its retries included
- `retries=0`: how often to try again within that time
- `rise=1`, `fall=1`: after how many checks in a row a target that was down is up, and the other way round
- `required=True`: whether the program is ready only where this target is up
- `on_change=`: called with the Result when the verdict changes; not when the first one is a good one
- `breaker=`: its `record(ok)` is called with each verdict
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypedDict, TypeVar, Unpack, overload

from otel_llmon import targets
from otel_llmon.checks.loops import Loop
from otel_llmon.checks.probes import PROBES, Probe, database_probe, function_probe
from otel_llmon.checks.running import runner
from otel_llmon.checks.verdicts import Check, Fed, Result
from otel_llmon.decorating import code_of
from otel_llmon.errors import SettingsError
from otel_llmon.prices import NotAllowedError
from otel_llmon.targets import Target, Targets

__all__ = [
    "Check",
    "Result",
    "database",
    "disk",
    "function",
    "http",
    "ollama",
    "openai",
    "results",
    "start",
    "stop",
    "tcp",
]

CallT = TypeVar("CallT", bound=Callable[[], Any])
TOLD = ("on_change", "breaker")


class Plan(TypedDict, total=False):
    """What every check can be told; see above."""

    every: float
    timeout: float
    retries: int
    rise: int
    fall: int
    required: bool
    on_change: Callable[[Result], object] | None
    breaker: Fed | None


def http(  # noqa: PLR0913  # what can be expected of a page, by name
    name: str,
    url: str,
    *,
    status: int | Collection[int] | None = None,
    has: Mapping[str, str] | None = None,
    contains: str | None = None,
    matches: str | None = None,
    json: Mapping[str, Any] | None = None,
    certificate_days: float | None = None,
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
    ca: str | None = None,
    **plan: Unpack[Plan],
) -> Check:
    """Check a page: any 2xx, or this `status`; redirects are not followed.

    Its headers must hold what `has` says, its body must contain a text, match a regular expression, and as JSON have
    these values: `json={"status": "ok", "data.0.id": "x"}`. `headers` are sent and never told to anybody. `ca` is a
    file with the certificates to trust.
    """
    said: dict[str, Any] = {"status": status, "has": has, "contains": contains, "matches": matches, "json": json}
    said |= {"certificate_days": certificate_days, "headers": headers, "method": method, "ca": ca}
    return _add("http", name, url, said, plan)


def tcp(name: str, host: str, port: int | None = None, **plan: Unpack[Plan]) -> Check:
    """Check that a port takes connections: `tcp("db", "localhost", 5432)` or `tcp("db", "localhost:5432")`."""
    return _add("tcp", name, _joined(host, port), {}, plan)


def ollama(  # noqa: PLR0913  # by name
    name: str,
    host: str = "localhost",
    port: int | None = None,
    *,
    model: str | None = None,
    headers: Mapping[str, str] | None = None,
    ca: str | None = None,
    **plan: Unpack[Plan],
) -> Check:
    """Check an Ollama server, by host and port or URL, and that it has `model`; tells how many models it has."""
    return _add("ollama", name, _joined(host, port), {"model": model, "headers": headers, "ca": ca}, plan)


def openai(  # noqa: PLR0913  # by name
    name: str,
    host: str = "localhost",
    port: int | None = None,
    *,
    model: str | None = None,
    health: str | None = None,
    headers: Mapping[str, str] | None = None,
    ca: str | None = None,
    **plan: Unpack[Plan],
) -> Check:
    """Check an OpenAI-compatible server by its `/v1/models`; vLLM and TGI have `health="/health"` besides."""
    said = {"model": model, "health": health, "headers": headers, "ca": ca}
    return _add("openai", name, _joined(host, port), said, plan)


def database(name: str, connect: Callable[[], Any], *, query: str | None = None, **plan: Unpack[Plan]) -> Check:
    """Check a database: `connect()` returns a DB-API connection, which is asked `SELECT 1` and closed."""
    _check_call(name, connect, "a function that returns a connection")
    return _add("database", name, "", {"query": query}, plan, lambda target: database_probe(target, connect))


def disk(name: str, path: str, *, free: float | None = None, **plan: Unpack[Plan]) -> Check:
    """Check that at least this share of a disk is free, 0.05 unless said."""
    return _add("disk", name, path, {"free": free}, plan)


@overload
def function(name: str, call: None = None, **plan: Unpack[Plan]) -> Callable[[CallT], CallT]: ...
@overload
def function(name: str, call: Callable[[], Any], **plan: Unpack[Plan]) -> Check: ...
def function(name: str, call: Any = None, **plan: Unpack[Plan]) -> Any:
    """Check by calling a function of yours, plain or async; it raises or returns False where something is down.

    A coroutine runs in the event loop in which the check was made; one that was made in none runs in a loop of its own.
    Also a decorator: `@checks.function("cache")`.
    """
    loop = Loop()

    def add(call: Any) -> Check:
        _check_call(name, call, "a function without arguments")
        return _add("function", name, "", {}, plan, lambda _: function_probe(call, loop), loop)

    def decorate(call: CallT) -> CallT:
        add(call)
        return call

    return decorate if call is None else add(call)


def results() -> dict[str, Result]:
    """Return what each check found last, by name."""
    runner.ensure()
    return {name: check.result for name, check in list(runner.checks.items())}


def start(wanted: Targets | Iterable[Target]) -> list[Check]:
    """Check what the settings name."""
    return [_begun(target, PROBES[target.kind](target), {}) for target in wanted]


def stop() -> None:
    """Check nothing any more."""
    for check in list(runner.checks.values()):
        check.stop()
    runner.pool.close()


def _add(  # noqa: PLR0913, PLR0917  # what is told of a check
    kind: str,
    name: str,
    address: str,
    said: Mapping[str, Any],
    plan: Plan,
    make: Callable[[Target], Probe] | None = None,
    loop: Loop | None = None,
) -> Check:
    told: dict[str, Any] = {option: plan.get(option) for option in TOLD}
    options = {**said, **{option: value for option, value in plan.items() if option not in TOLD}}
    try:
        target = targets.target(kind, name, address, options)
    except NotAllowedError as exc:
        raise SettingsError(f"checks{exc}") from None
    _check_told(name, told)
    return _begun(target, (make or PROBES[kind])(target), told, loop)


def _check_call(name: str, call: Any, expected: str) -> None:
    """Refuse what cannot be called, and what does nothing when it is."""
    if not callable(call):
        raise SettingsError(f"checks.{name}: found {call!r}, expected {expected}")
    code = None if isinstance(call, type) else code_of(call)
    if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        raise SettingsError(f"checks.{name}: found a generator, of which a call runs nothing; expected {expected}")
    try:
        inspect.signature(call).bind()
    except ValueError:  # of builtins there is no signature
        return
    except TypeError as exc:
        raise SettingsError(f"checks.{name}: found {call!r}: {exc}; expected {expected}") from None


def _check_told(name: str, told: Mapping[str, Any]) -> None:
    if told["on_change"] is not None and not callable(told["on_change"]):
        raise SettingsError(f"checks.{name}.on_change={told['on_change']!r}: expected a function of the result")
    if told["breaker"] is not None and not callable(getattr(told["breaker"], "record", None)):
        raise SettingsError(f"checks.{name}.breaker={told['breaker']!r}: expected a Breaker")


def _begun(target: Target, probe: Probe, told: Mapping[str, Any], loop: Loop | None = None) -> Check:
    check = Check(target, probe, runner, **told, loop=loop)
    runner.add(check)
    return check


def _joined(host: Any, port: Any) -> Any:
    """Return `host:port`; what is neither is left to the form of addresses, which says what is expected."""
    if port is None or not isinstance(host, str):
        return host
    return f"[{host}]:{port}" if ":" in host and "//" not in host and not host.startswith("[") else f"{host}:{port}"
