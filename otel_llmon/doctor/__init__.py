"""Sends one span, one metric with an exemplar and one log, looks for them where they should be, and names the hop."""

from __future__ import annotations

import os
import secrets
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from otel_llmon.backends import Backend, BackendError
from otel_llmon.doctor.asking import Limit, Search, together
from otel_llmon.doctor.embedded import Viewer
from otel_llmon.doctor.plan import LONGEST_EXPORT, Plan, plan, shown
from otel_llmon.doctor.sending import STARTING, Sent, send
from otel_llmon.doctor.stack import Stack
from otel_llmon.doctor.verdict import SIGNALS, Check, Report, of_clocks
from otel_llmon.settings import Settings

__all__ = ["Check", "Report", "examine"]

Way = Literal["stack", "embedded"]

WAIT = 7.0
"""Seconds in which what was sent must be found."""

MEETING = 2.5
"""Seconds for the servers to say who they are."""

_START = "start one: `llmon view`, or `llmon stack up`; or set OTEL_EXPORTER_OTLP_ENDPOINT"
_CA = "name its CA in OTEL_EXPORTER_OTLP_CERTIFICATE, and in REQUESTS_CA_BUNDLE where that is set"


def examine(environ: Mapping[str, str] = os.environ, way: Way | None = None, wait: float = WAIT) -> Report:
    """Send, look, and return what was found; takes `wait` and some 12 seconds at most.

    Raises SettingsError where our settings are wrong; all else that can go wrong is in the report.
    """
    settings = Settings.load(environ)
    clock = Limit(MEETING + 1 + LONGEST_EXPORT + STARTING + wait)
    return _Visit(settings, plan(settings, environ), clock).report(way, wait)


class _Visit:
    """One examination, from the first question to the report."""

    def __init__(self, settings: Settings, planned: Plan, clock: Limit) -> None:
        self.settings = settings
        self.plan = planned
        self.clock = clock
        self.mark = f"doctor-{secrets.token_hex(4)}"
        self.checks: list[Check] = []

    def report(self, wanted: Way | None, wait: float) -> Report:
        """Go the whole way."""
        ways: tuple[Stack, Viewer] = (
            Stack(self.settings, self.plan, MEETING),
            Viewer(self.settings, self.plan, MEETING),
        )
        answers = together(self._questions(ways, wanted), MEETING + 1)
        chosen, because = choose(self.plan, answers.get("viewer"), wanted, self.settings.viewer_url)
        way = ways[0] if chosen == "stack" else ways[1]
        way.take({name: answers[name] for name in way.questions()})
        sent = self._send()
        self.checks += self._arrivals(way, sent, wait, answers)
        servers = [*self._setting_up(), *way.servers(), of_clocks(way.clocks())]
        return Report(chosen, because, self.mark, sent.trace_id, (*servers, *self.checks), round(self.clock.spent, 2))

    def _questions(self, ways: tuple[Stack, Viewer], wanted: Way | None) -> dict[str, Callable[[], Any]]:
        found: dict[str, Callable[[], Any]] = {}
        for way in ways:
            if wanted in (None, way.name):
                found |= way.questions()
        return found | dict(self._probes())

    def _probes(self) -> Iterator[tuple[str, Callable[[], None]]]:
        for endpoint, signals in self.plan.places.items():
            signal = signals[0]
            if signal in self.plan.by_http and signal not in self.plan.off:
                request, environ = self.plan.request(signal), self.plan.environ
                yield endpoint, partial(_probe, request, _headers(environ), _trusted(environ, signal))

    def _send(self) -> Sent:
        if len(self.plan.off) == len(SIGNALS):
            return Sent()
        return send(self.mark, self.plan, self.clock.left(LONGEST_EXPORT + STARTING))

    def _setting_up(self) -> Iterator[Check]:
        """Say who we are, and what is unusual."""
        sdk = version("opentelemetry-sdk")
        python = ".".join(map(str, sys.version_info[:3]))
        yield Check("versions", "ok", f"otel-llmon {version('otel-llmon')}, OpenTelemetry SDK {sdk}, Python {python}")
        for remark in self.plan.remarks:
            yield Check.of("settings", "warn", remark)

    def _arrivals(self, way: Stack | Viewer, sent: Sent, wait: float, answers: dict[str, Any]) -> Iterator[Check]:
        """Say of each signal whether it arrived, and of each join whether it holds."""
        unsent = dict(self._unsent(sent))
        yield from self._endpoints(sent, answers)
        signals = [signal for signal in SIGNALS if signal not in unsent]
        limit = Limit(self.clock.left(wait))
        looked = way.look(self.mark, sent, signals, limit) if signals else {}
        for signal, thing in SIGNALS.items():
            if signal in unsent:
                yield Check.of(thing, "fail", unsent[signal])
            elif (searched := looked.get(signal)) is not None and searched.found is not None:
                yield Check(thing, "ok", f"arrived, found {searched.seconds:.1f} s after it was sent")
            else:
                yield way.lost(signal, searched, wait)
        yield from self._joins(way, sent, looked)

    def _joins(self, way: Stack | Viewer, sent: Sent, looked: Mapping[str, Search[Any]]) -> Iterator[Check]:
        found = {signal: searched.found for signal, searched in looked.items() if searched.found is not None}
        if self.plan.exemplars_off and "metrics" in found:
            yield Check.of("exemplar -> trace", "fail", self.plan.exemplars_off)
            found.pop("metrics")
        yield from way.joins(sent, found, self.mark, self.clock)

    def _unsent(self, sent: Sent) -> Iterator[tuple[str, str]]:
        """Yield each signal that did not leave, with the hop and the reason."""
        for signal, thing in SIGNALS.items():
            if signal in self.plan.off:
                yield signal, f"program: {self.plan.off[signal]}"
            elif sent.failed:
                yield signal, f"program: nothing was sent: {sent.failed}"
            elif signal in sent.lost:
                yield signal, f"program -> {shown(self.plan.endpoints[signal])}: the {thing} was not taken"

    def _endpoints(self, sent: Sent, answers: dict[str, Any]) -> Iterator[Check]:
        """Say of each endpoint what became of what was sent there; that counts more than what it said before."""
        for endpoint, signals in self.plan.places.items():
            tried = [signal for signal in signals if signal not in self.plan.off and not sent.failed]
            by_http = signals[0] in self.plan.by_http
            reasons = [sent.lost[signal] for signal in tried if signal in sent.lost]
            if _is_another(answers.get(endpoint)) and tried:
                yield Check("endpoint", "fail", f"{shown(endpoint)}: {answers[endpoint].reason}", _START)
            elif len(reasons) < len(tried):
                found = f"{shown(endpoint)} takes {'http/protobuf' if by_http else 'grpc'}"
                yield Check("endpoint", "ok", found) if not reasons else _refused(endpoint, reasons, by_http=by_http)
            elif tried and isinstance(answers.get(endpoint), BackendError):
                yield _unreachable(endpoint, answers[endpoint])
            elif tried:
                yield _refused(endpoint, reasons, by_http=by_http)


def _refused(endpoint: str, reasons: list[str], *, by_http: bool) -> Check:
    """Say what the exporters said: one of them knows more than the others."""
    reason = textwrap.shorten(max(reasons, key=len), 240, placeholder=" ...")
    if by_http:
        advice = "is the Collector, or the viewer, what listens there, and does it take all three signals"
        return Check("endpoint", "fail", f"{shown(endpoint)}: {reason}", advice)
    advice = "is that a port for gRPC (the Collector's is 4317), and http:// or https:// right"
    return Check("endpoint", "fail", f"{shown(endpoint)}: no answer by gRPC: {reason}", advice)


def _unreachable(endpoint: str, error: BackendError) -> Check:
    if "refused" in error.reason:
        return Check("endpoint", "fail", f"{shown(endpoint)}: nothing listens there", _START)
    return Check.of("endpoint", "fail", f"{shown(endpoint)}: {error.reason}")


def choose(planned: Plan, viewer: Any, wanted: Way | None, viewer_url: str) -> tuple[Way, str]:
    """Return which way is looked into, and why."""
    if wanted is not None:
        return wanted, f"asked for by --{wanted}"
    endpoints = ", ".join(sorted({shown(endpoint) for endpoint in planned.places}))
    if viewer is None or isinstance(viewer, BackendError):
        return "stack", f"no viewer at {viewer_url}, so what programs send to {endpoints} should reach the servers"
    receives = viewer.extra.otlp_url
    if _place(receives) in {_place(endpoint) for endpoint in planned.places}:
        return "embedded", f"the viewer at {viewer_url} receives at {receives}, where programs send"
    return "stack", f"the viewer at {viewer_url} receives at {receives}, but programs send to {endpoints}"


def _place(url: str) -> tuple[str, int | None]:
    """Return host and port, with one name for what is the same here."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        port = parts.port
    except ValueError:
        port = None
    host = parts.hostname or ""
    return ("127.0.0.1" if host in ("localhost", "::1", "0.0.0.0") else host), port  # noqa: S104  # a name, no bind


class _Endpoint(Backend):
    """What receives OTLP over HTTP."""

    name = "OTLP endpoint"
    authority = _CA


def _probe(request: str, headers: Mapping[str, str], trusted: str) -> None:
    """Send an empty request; raises BackendError where what listens does not take OTLP."""
    endpoint = _Endpoint(request, timeout=MEETING, headers=headers, trusted=trusted)
    answer = endpoint.ask("", post=True, body=b"", headers={"Content-Type": "application/x-protobuf"})
    if answer.status in (401, 403):
        raise endpoint.error(f"{answer.status}: it wants credentials; set OTEL_EXPORTER_OTLP_HEADERS", answer.status)
    if answer.status in (404, 405):
        reason = f"{answer.status}: what listens there takes no OTLP; another server has the port, or the path is wrong"
        raise endpoint.error(reason, answer.status)
    if answer.status >= 300:
        endpoint.parsed(answer)
    if answer.text and answer.content_type not in ("application/x-protobuf", "application/json"):
        kind = answer.content_type or "something without a type"
        raise endpoint.error(f"answers OTLP with {kind}: another server has the port", answer.status)


def _is_another(answer: Any) -> bool:
    """Tell whether a server took OTLP and showed by its answer that it knows nothing of it."""
    return isinstance(answer, BackendError) and answer.status == 200


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what programs send along to the endpoint."""
    from opentelemetry.util.re import parse_env_headers

    return dict(parse_env_headers(environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True))


def _trusted(environ: Mapping[str, str], signal: str) -> str:
    """Return the file of the CAs that exporters trust, which is not the one that OpenSSL goes by."""
    import certifi

    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
    named = (environ.get(name, "") for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", *names))
    return next((path for path in named if path and Path(path).is_file()), certifi.where())
