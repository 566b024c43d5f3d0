"""What a program would send from here, read from the environment: where to, how, and what is switched off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from otel_llmon.doctor.verdict import SIGNALS
from otel_llmon.settings import Settings

SERVICE = "llmon-doctor"
LONGEST_EXPORT = 4
"""Seconds that doctor gives an exporter, whatever the program's own allow."""

_OTLP = "OTEL_EXPORTER_OTLP_"
_EXAMPLE = "http://localhost:4318"
_NO_EXEMPLARS = "OTEL_METRICS_EXEMPLAR_FILTER=always_off: programs send no exemplars; unset it"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be sent. `off` says of a signal why no program here would send it."""

    endpoints: Mapping[str, str]
    by_http: frozenset[str]
    off: Mapping[str, str]
    exemplars_off: str
    remarks: tuple[str, ...]
    environ: Mapping[str, str]
    """For the program that sends: the environment as it is, but bounded, and with names of our own."""

    @property
    def places(self) -> dict[str, list[str]]:
        """Each endpoint with the signals that go there."""
        found: dict[str, list[str]] = {}
        for signal, endpoint in self.endpoints.items():
            found.setdefault(endpoint, []).append(signal)
        return found

    def request(self, signal: str) -> str:
        """Return the address of one signal's requests by HTTP, path included."""
        own = self.environ.get(f"{_OTLP}{signal.upper()}_ENDPOINT")
        return own or f"{self.endpoints[signal].rstrip('/')}/v1/{signal}"


def plan(settings: Settings, environ: Mapping[str, str]) -> Plan:
    """Return what a program with these settings and this environment would send."""
    given = {name: value.strip() for name, value in environ.items() if name.startswith("OTEL_") and value.strip()}
    protocols = {signal: _protocol(signal, given) for signal in SIGNALS}
    endpoints = {signal: _endpoint(signal, protocols[signal], settings, given) for signal in SIGNALS}
    off = {signal: why for signal in SIGNALS if (why := _why_off(signal, settings, given))}
    for signal, protocol in protocols.items():
        if protocol.startswith("http") and not _is_url(endpoints[signal]):
            off.setdefault(signal, f"{shown(endpoints[signal])} is no endpoint; expected a URL such as {_EXAMPLE}")
    filtered = given.get("OTEL_METRICS_EXEMPLAR_FILTER", "").lower() == "always_off"
    return Plan(
        endpoints=endpoints,
        by_http=frozenset(signal for signal, protocol in protocols.items() if protocol.startswith("http")),
        off=off,
        exemplars_off=_NO_EXEMPLARS if filtered else "",
        remarks=tuple(_remarks(off, given)),
        environ={**environ, **_overrides(off, given)},
    )


def _protocol(signal: str, given: Mapping[str, str]) -> str:
    own = given.get(f"{_OTLP}{signal.upper()}_PROTOCOL")
    return own or given.get(f"{_OTLP}PROTOCOL", "http/protobuf")


def _endpoint(signal: str, protocol: str, settings: Settings, given: Mapping[str, str]) -> str:
    own = given.get(f"{_OTLP}{signal.upper()}_ENDPOINT")
    if own:
        return own.removesuffix(f"/v1/{signal}")
    default = "http://localhost:4318" if protocol.startswith("http") else "http://localhost:4317"
    return given.get(f"{_OTLP}ENDPOINT") or settings.endpoint or default


def shown(endpoint: str) -> str:
    """Return an endpoint without the password that it may hold."""
    scheme, slashes, rest = endpoint.rpartition("//")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def _is_url(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _why_off(signal: str, settings: Settings, given: Mapping[str, str]) -> str:
    """Return why no program would send this signal, or nothing where it would."""
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return "OTEL_SDK_DISABLED=true: programs send nothing; unset it"
    if settings.level == "disabled":
        return "the level is disabled: programs send nothing; set OTEL_LLMON_LEVEL=detailed"
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    if not _otlp_exporters(signal, given):
        return f"{variable}={given[variable]}: programs send no {signal} over OTLP; unset it"
    return _why_no_spans(settings, given) if signal == "traces" else ""


def _why_no_spans(settings: Settings, given: Mapping[str, str]) -> str:
    if settings.level == "basic":
        return "the level is basic: phases make no spans; set OTEL_LLMON_LEVEL=detailed"
    sampler = given.get("OTEL_TRACES_SAMPLER", "").lower()
    share = given.get("OTEL_TRACES_SAMPLER_ARG", "")
    if sampler.endswith("always_off") or (sampler.endswith("traceidratio") and _is_zero(share)):
        return f"OTEL_TRACES_SAMPLER={sampler}{' ' + share if share else ''}: programs send no spans; unset it"
    return ""


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _otlp_exporters(signal: str, given: Mapping[str, str]) -> list[str]:
    names = given.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").split(",")
    return [name.strip() for name in names if name.strip().startswith("otlp")]


def _remarks(off: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Return what a person should know of an unusual set-up that keeps nothing from being sent."""
    found = []
    sampler = given.get("OTEL_TRACES_SAMPLER", "").lower()
    if sampler and not sampler.endswith("always_on") and "traces" not in off:
        found.append(f"OTEL_TRACES_SAMPLER={sampler}: it may leave out traces of programs; doctor's is always sent")
    if given.get("OTEL_CONFIG_FILE"):
        found.append("OTEL_CONFIG_FILE is set: opentelemetry-instrument goes by that file; doctor goes by variables")
    if given.get(f"{_OTLP}METRICS_TEMPORALITY_PREFERENCE", "").lower() in ("delta", "lowmemory"):
        found.append(f"{_OTLP}METRICS_TEMPORALITY_PREFERENCE=delta: Prometheus takes cumulative metrics; unset it")
    return found


def _overrides(off: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    bounded = {name: str(LONGEST_EXPORT) for name in _timeouts(given)}
    exporters = {
        f"OTEL_{signal.upper()}_EXPORTER": "none" if signal in off else ",".join(_otlp_exporters(signal, given))
        for signal in SIGNALS
    }
    return {
        **bounded,
        **exporters,
        "OTEL_SERVICE_NAME": SERVICE,
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_LLMON_OBSERVERS": "none",
        "OTEL_LLMON_LOG_BRIDGE": "false",
    }


def _timeouts(given: Mapping[str, str]) -> list[str]:
    """Return the variables that bound an export and must be shorter than they are."""
    everywhere = f"{_OTLP}TIMEOUT"
    given = {everywhere: "10", **given}  # upstream's default
    names = (everywhere, *(f"{_OTLP}{signal.upper()}_TIMEOUT" for signal in SIGNALS))
    return [name for name in names if name in given and not 0 < _seconds(given[name]) < LONGEST_EXPORT]


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
