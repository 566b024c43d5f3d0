"""What each kind of check does: a function that returns where the target is well, and raises where it is not."""

from __future__ import annotations

import contextlib
import inspect
import re
import shutil
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from otel_llmon import telemetry
from otel_llmon.checks.asking import LARGEST, Answer, Asking, NotWellError, NoVerdictError
from otel_llmon.checks.connections import Enough, Pool
from otel_llmon.checks.loops import Loop
from otel_llmon.targets import Target

Probe = Callable[[Asking, Pool], None]
DAY = 86_400
SEARCHED = 4096
"""Characters that a pattern is searched in. Python lets nothing else of the program run meanwhile, and a plain `\\s+$`
takes time with the square of the length: a tenth of a second here, two hours in 1 MiB of spaces."""
SLOW = 0.1
"""Seconds after which a search is told of."""


def http_probe(target: Target) -> Probe:
    """Ask for a page, and compare the answer with what is expected."""
    options = target.options
    method = options.get("method", "get").upper()
    enough = _enough(options)

    def probe(asking: Asking, pool: Pool) -> None:
        answer = _ask(target, asking, pool, target.address, method, enough)
        for expectation, wanted in options.items():
            if expectation in EXPECTATIONS:
                EXPECTATIONS[expectation](answer, wanted)

    return probe


def _enough(options: Mapping[str, Any]) -> Enough:
    """Return what tells whether the beginning of an endless body will do."""
    if "matches" in options or "json" in options:
        return lambda _: False
    return lambda body: options.get("contains", "").encode() in body


def tcp_probe(target: Target) -> Probe:
    """Connect."""
    host, _, port = target.address.rpartition(":")

    def probe(asking: Asking, _: Pool) -> None:
        asking.connect(host.strip("[]"), int(port)).close()

    return probe


def ollama_probe(target: Target) -> Probe:
    """Ask which models there are, and look for the one that is needed."""

    def probe(asking: Asking, pool: Pool) -> None:
        answer = _ask(target, asking, pool, f"{target.address}/api/tags")
        wanted = target.options.get("model")
        has = _names(answer, "models", "name", "Ollama")
        asking.facts["models"] = len(has)
        if wanted is not None and not {wanted, f"{wanted}:latest"} & set(has):
            raise NotWellError(
                f"model {wanted!r} is not there, {_listed(answer, has)}; run there: ollama pull {wanted}"
            )

    return probe


def openai_probe(target: Target) -> Probe:
    """Ask which models there are, and look for the one that is needed."""
    base = target.address.removesuffix("/v1")

    def probe(asking: Asking, pool: Pool) -> None:
        if "health" in target.options:
            _ask(target, asking, pool, base + target.options["health"], enough=lambda _: True)
        answer = _ask(target, asking, pool, f"{base}/v1/models")
        wanted = target.options.get("model")
        has = _names(answer, "data", "id", "an OpenAI-compatible server")
        asking.facts["models"] = len(has)
        if wanted is not None and wanted not in has:
            raise NotWellError(f"model {wanted!r} is not there, {_listed(answer, has)}")

    return probe


def disk_probe(target: Target) -> Probe:
    """Look how much is free of what programs may use, as `df` and the observer of filesystems do."""
    least = target.options.get("free", 0.05)

    def probe(*_: Any) -> None:
        found = shutil.disk_usage(target.address)
        usable = found.used + found.free
        if not usable:
            raise NoVerdictError(f"{target.address} has no blocks: it lies on no disk")
        if found.free / usable < least:
            raise NotWellError(f"{found.free / usable:.1%} free, expected {least:.1%} or more")

    return probe


def database_probe(target: Target, connect: Callable[[], Any]) -> Probe:
    """Connect, ask and read one row, as PEP 249 has it."""
    query = target.options.get("query", "SELECT 1")

    def probe(*_: Any) -> None:
        with contextlib.closing(connect()) as connection, contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(query)
            cursor.fetchone()

    return probe


def function_probe(call: Callable[[], Any], loop: Loop) -> Probe:
    """Call a function; what it returns may be awaited, and False means down."""

    def probe(asking: Asking, _: Pool) -> None:
        said = call()
        if inspect.isawaitable(said):
            said = loop.begin(said).result(asking)
        if inspect.isgenerator(said) or inspect.isasyncgen(said):
            raise NoVerdictError("it returned a generator, of which nothing has run")
        if _is_false(said):
            raise NotWellError("it returned False")

    return probe


def _is_false(said: Any) -> bool:
    """Tell whether that is False, numpy's among it; 0 and what is empty are answers like others."""
    return said is False or (getattr(said, "ndim", None) == 0 and said.item() is False)


PROBES: Mapping[str, Callable[[Target], Probe]] = {
    "http": http_probe,
    "tcp": tcp_probe,
    "ollama": ollama_probe,
    "openai": openai_probe,
    "disk": disk_probe,
}
"""Those that need no more than their target."""


def _ask(  # noqa: PLR0913, PLR0917  # what is asked, and how
    target: Target, asking: Asking, pool: Pool, url: str, method: str = "GET", enough: Enough = lambda _: False
) -> Answer:
    options = target.options
    headers = dict(options.get("headers", ()))
    answer = pool.ask(asking, url, method=method, headers=headers, ca=options.get("ca"), enough=enough)
    asking.facts["http_status"] = answer.status
    if answer.expires is not None:
        asking.facts["certificate"] = answer.expires - time.time()
    _expect_status(answer, options.get("status"))
    return answer


def _expect_status(answer: Answer, wanted: tuple[int, ...] | None) -> None:
    if answer.status in wanted if wanted else 200 <= answer.status < 300:
        return
    found = f"{answer.status} {_phrase(answer.status)}".strip()
    if 300 <= answer.status < 400:
        found += ": it sends us elsewhere; use the address behind it"
    raise NotWellError(found)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return ""


def _expect_headers(answer: Answer, wanted: Mapping[str, str]) -> None:
    for name, text in wanted.items():
        found = answer.headers.get(name.lower())
        if found is None:
            raise NotWellError(f"header {name!r} is missing")
        if text.lower() not in found.lower():
            raise NotWellError(f"header {name!r} is {answer.shown(found)!r}, expected {text!r}")


def _expect_text(answer: Answer, wanted: str) -> None:
    if wanted.encode() not in answer.body:
        where = "the body" if answer.whole else f"the first {LARGEST >> 20} MiB of the body"
        raise NotWellError(f"{where} does not contain {wanted!r}")


def _expect_pattern(answer: Answer, wanted: str) -> None:
    text = answer.body[: 4 * SEARCHED + 4].decode("utf-8", "replace")  # a character has four bytes at most
    cut = len(text) > SEARCHED or not answer.whole
    began = time.thread_time()
    found = re.search(wanted, f"{text[:SEARCHED]}\0" if cut else text)  # what is cut off does not end here, for a `$`
    took = time.thread_time() - began
    if took > SLOW:
        telemetry.warn_once("checks: to search %r took %.1f s, in which the program stood still", wanted, took)
    if found is None:
        where = f"the beginning of {SEARCHED} characters" if cut else "the body"
        raise NotWellError(f"{where} does not match {wanted!r}")


def _expect_json(answer: Answer, wanted: Mapping[str, Any]) -> None:
    if not answer.whole:
        raise NotWellError(f"answers more than {LARGEST >> 20} MiB")
    found = answer.json()
    for path, value in wanted.items():
        at = _at(found, path)
        if at != value or isinstance(at, bool) != isinstance(value, bool):  # to Python 1 is True
            raise NotWellError(f"{path} is {answer.shown(repr(at))}, expected {value!r}")


def _at(found: Any, path: str) -> Any:
    """Return what stands at `data.0.id`."""
    for part in path.split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise NotWellError(f"{path} is not there") from None
    return found


def _expect_certificate(answer: Answer, wanted: float) -> None:
    if answer.expires is None:
        raise NotWellError("it shows no certificate; use https://")
    days = (answer.expires - time.time()) / DAY
    if days < wanted:
        raise NotWellError(f"its certificate expires in {days:.1f} days, expected {wanted:g} or more")


EXPECTATIONS: Mapping[str, Callable[[Answer, Any], None]] = {
    "has": _expect_headers,
    "contains": _expect_text,
    "matches": _expect_pattern,
    "json": _expect_json,
    "certificate_days": _expect_certificate,
}


def _names(answer: Answer, key: str, name: str, server: str) -> list[str]:
    """Return the names in `{key: [{name: ...}]}`."""
    try:
        found = [each[name] for each in answer.json()[key]]
    except (KeyError, TypeError):
        found = [None]
    if not all(isinstance(each, str) for each in found):
        raise NotWellError(f"answers JSON of another shape; is that {server}?")
    return found


def _listed(answer: Answer, names: list[str]) -> str:
    return f"only {answer.shown(', '.join(sorted(names)))}" if names else "there are none"
