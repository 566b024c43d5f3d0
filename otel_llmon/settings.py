"""Settings: what the environment and `llmon.yaml` say, checked once and kept in one frozen object.

The fields of `Settings` are the table: each holds its default, its form and its meaning. Names in the environment,
messages and the printed docs all follow from it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, NamedTuple, get_args

from otel_llmon import forms, targets
from otel_llmon.errors import SettingsError, reason
from otel_llmon.prices import NotAllowedError, Prices

Level = Literal["disabled", "basic", "detailed", "profiling"]
Histograms = Literal["explicit", "exponential"]
GenAISemconv = Literal["latest", "legacy", "both"]
ProgressBar = Literal["auto", "on", "off"]
Source = Literal["default", "file", "environment"]

PREFIX = "OTEL_LLMON_"
CONFIG = f"{PREFIX}CONFIG"


class Row(NamedTuple):
    """One setting as the docs print it."""

    name: str
    variable: str
    default: str
    expected: str
    meaning: str


def _row(form: forms.Form, meaning: str) -> dict[str, Any]:
    return {"form": form, "meaning": meaning}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. A value that is not allowed raises SettingsError, however it came in."""

    level: Level = field(
        default="detailed",
        metadata=_row(forms.one_of(get_args(Level)), "how much is measured; `OTEL_SDK_DISABLED=true` means `disabled`"),
    )
    observers: tuple[str, ...] = field(
        default=("auto",),
        metadata=_row(
            forms.NAMES,
            "what is read on the observers' beat: `auto` (host and process; in a container cgroup and process;"
            " gpu where there is a driver), names of observers, or of their groups, such as `host.memory`",
        ),
    )
    observer_interval: float = field(
        default=10.0,
        metadata=_row(forms.SECONDS_ABOVE_ZERO, "seconds between two readings of the observers"),
    )
    checks: targets.Targets = field(
        default=targets.Targets(),  # it cannot be changed
        metadata=_row(
            targets.CHECKS, "what is checked for health, by name: its kind with its address, and options; see health.md"
        ),
    )
    instrumentors: tuple[str, ...] = field(
        default=("openai",),
        metadata=_row(forms.NAMES, "libraries whose calls to models are told, if the program imports them"),
    )
    histograms: Histograms = field(
        default="explicit",
        metadata=_row(
            forms.one_of(get_args(Histograms)), "buckets at the edges of the metric's row, or exponential ones"
        ),
    )
    exit_timeout: float = field(
        default=2.0,
        metadata=_row(forms.SECONDS, "seconds that the last flush may take when the process ends"),
    )
    log_bridge: bool = field(
        default=True,
        metadata=_row(forms.FLAG, "whether records of Python's `logging` are exported too"),
    )
    event_rate: float = field(
        default=1000.0,
        metadata=_row(
            forms.NUMBER,
            "events of one name, and log lines of one place in the code, that are reported per second;"
            " 10 seconds' worth may come at once; 0: no limit",
        ),
    )
    baggage_keys: tuple[str, ...] = field(
        default=(),
        metadata=_row(
            forms.NAMES,
            "keys of the W3C baggage that log records, events and phases' spans carry, and that `bind()` hands on to"
            " the services that are called",
        ),
    )
    max_value_length: int = field(
        default=8192,
        metadata=_row(forms.COUNT, "longest attribute string, in characters, that is handed on"),
    )
    genai_semconv: GenAISemconv = field(
        default="legacy",
        metadata=_row(
            forms.one_of(get_args(GenAISemconv)),
            "names of metrics and attributes of model calls: OpenTelemetry's up to v1.41, its successor's, or both",
        ),
    )
    capture_content: bool = field(
        default=False,
        metadata=_row(forms.FLAG, "whether prompts and answers are put on the spans of model calls"),
    )
    prices: Prices = field(
        default=Prices(),  # it cannot be changed
        metadata=_row(
            forms.PRICES,
            "US dollars for an hour of a CPU, of a GPU, of a GB of memory, for a kWh,"
            " and for a million tokens of a model; unset: no cost is counted",
        ),
    )
    carbon_intensity: float | None = field(
        default=None,
        metadata=_row(forms.NUMBER, "grams of CO2 for one kWh; unset: none are counted"),
    )
    conveyance_alpha: float = field(
        default=1.5,
        metadata=_row(forms.NUMBER, "how much context weighs in Conveyance: the exponent of Ctx"),
    )
    progress_bar: ProgressBar = field(
        default="auto",
        metadata=_row(
            forms.one_of(get_args(ProgressBar)),
            "whether `progress()` draws: in terminals and notebooks, elsewhere a line now and then; always; never",
        ),
    )
    service: str | None = field(
        default=None,
        metadata=_row(forms.TEXT, "name of this service; unset: what `OTEL_SERVICE_NAME` says"),
    )
    endpoint: str | None = field(
        default=None,
        metadata=_row(forms.URL, "where telemetry is sent; unset: what `OTEL_EXPORTER_OTLP_ENDPOINT` says"),
    )
    prometheus_url: str = field(
        default="http://127.0.0.1:9090",
        metadata=_row(forms.URL, "where Prometheus is asked"),
    )
    jaeger_url: str = field(
        default="http://127.0.0.1:16686",
        metadata=_row(forms.URL, "where Jaeger is asked"),
    )
    loki_url: str = field(
        default="http://127.0.0.1:3100",
        metadata=_row(forms.URL, "where Loki is asked"),
    )
    alertmanager_url: str = field(
        default="http://127.0.0.1:9093",
        metadata=_row(forms.URL, "where Alertmanager is asked"),
    )
    viewer_url: str = field(
        default="http://127.0.0.1:4319",
        metadata=_row(forms.URL, "where the viewer's page is"),
    )
    collector_health_url: str | None = field(
        default=None,
        metadata=_row(forms.URL, "the Collector's health check; unset: port 13133 of the endpoint's host"),
    )
    collector_metrics_url: str | None = field(
        default=None,
        metadata=_row(forms.URL, "the Collector's own metrics; unset: port 8888 of the endpoint's host"),
    )
    backend_headers: forms.Headers = field(
        default=forms.Headers(),  # it cannot be changed
        metadata=_row(
            forms.HEADERS, "headers for the servers that are asked, such as `Authorization=Bearer x`; never printed"
        ),
    )

    def __post_init__(self) -> None:
        for row in fields(self):
            object.__setattr__(self, row.name, _parsed(row, getattr(self, row.name), row.name))

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, file: str | os.PathLike[str] | None = None) -> Settings:
        """Return the settings in force: environment over file over defaults.

        The file is `file`, else what `OTEL_LLMON_CONFIG` names; none is looked for otherwise.
        Raises SettingsError for an unknown name, a value that is not allowed, or a file that cannot be read.
        """
        return cls(**{name: value for name, (value, _) in effective(environ, file).items()})


def effective(
    environ: Mapping[str, str] = os.environ,
    file: str | os.PathLike[str] | None = None,
) -> dict[str, tuple[Any, Source]]:
    """Return each setting's value and where it came from; raises like `Settings.load`."""
    path = file or environ.get(CONFIG)
    found: dict[str, tuple[Any, Source]] = {row.name: (row.default, "default") for row in fields(Settings)}
    if path:
        found |= {name: (value, "file") for name, value in _from_file(os.fspath(path)).items()}
    found |= {name: (value, "environment") for name, value in _from_environ(environ).items()}
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        found["level"] = ("disabled", "environment")
    return found


def rows() -> tuple[Row, ...]:
    """Return every setting in words, in the order of the fields."""
    return tuple(
        Row(row.name, _variable(row.name), spelt(row.default), row.metadata["form"].expected, row.metadata["meaning"])
        for row in fields(Settings)
    )


def spelt(value: object) -> str:
    """Return a value as one would write it in the environment; an unset one is empty, a password in a URL is hidden."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case forms.Headers():
            return value.hidden()
        case Prices() | targets.Targets():
            return value.spelt()
        case tuple():
            return ",".join(value) or "none"
    return targets.without_password(str(value))


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {_variable(row.name): row for row in fields(Settings)}
    given = {name: raw for name, raw in environ.items() if name.startswith(PREFIX) and name != CONFIG}
    for name in given:
        if name not in known:
            raise SettingsError(f"{name}: {_unknown(name, {*known, CONFIG})}")
    return {
        known[name].name: _parsed(known[name], raw, name) for name, raw in given.items() if not _unset(known[name], raw)
    }


def _from_file(path: str) -> dict[str, Any]:
    known = {row.name: row for row in fields(Settings)}
    given = _mapping(path)
    for name in given:
        if name not in known:
            raise SettingsError(f"{path}: {str(name)!r}: {_unknown(str(name), known)}")
    return {
        name: _parsed(known[name], raw, f"{path}: {name}")
        for name, raw in given.items()
        if not _unset(known[name], raw)
    }


def _mapping(path: str) -> dict[Any, Any]:
    from pathlib import Path

    import yaml

    try:
        content = yaml.load(Path(path).read_bytes(), _loader())  # noqa: S506  # a safe one
    except OSError as exc:
        raise SettingsError(f"{path}: {reason(exc)}, check {CONFIG}") from exc
    except yaml.YAMLError as exc:
        raise SettingsError(f"{path}: {_place(exc)}, expected YAML") from exc
    except (ValueError, RecursionError) as exc:  # from a date such as 2024-99-99, or from [[[[[...
        raise SettingsError(f"{path}: {exc}, expected YAML") from exc
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: found {type(content).__name__}, expected lines such as 'level: detailed'")
    return content


def _loader() -> Any:
    """Return what loads plain YAML, and takes no key twice: the last one would win without a word."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
            known = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in known:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
                known.add((key.tag, str(key.value)))
            return super().construct_mapping(node, deep)

    return Loader


def _place(exc: Any) -> str:
    mark = getattr(exc, "problem_mark", None)
    problem = str(getattr(exc, "problem", None) or "unreadable characters")
    return f"line {mark.line + 1}: {problem}" if mark else problem


def _parsed(row: Field[Any], raw: object, label: str) -> Any:
    if _unset(row, raw) or raw is row.default:
        return row.default
    form: forms.Form = row.metadata["form"]
    try:
        return form.parse(raw)
    except NotAllowedError as exc:
        raise SettingsError(f"{label}{exc}") from None
    except (ValueError, KeyError, OverflowError):
        found = "***" if form.secret else targets.refused(raw)
        raise SettingsError(f"{label}={found}: expected {form.expected}") from None


def _unset(row: Field[Any], raw: object) -> bool:
    """Whether nothing was said: for a list of names, an empty value says something."""
    return raw is None or (raw == "" and not isinstance(row.default, tuple))


def _unknown(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, known, n=1)
    if nearest:
        return f"unknown setting, did you mean {nearest[0]!r}"
    return f"unknown setting, expected one of {', '.join(sorted(known))}"


def _variable(name: str) -> str:
    return PREFIX + name.upper()


# opentelemetry-instrument makes a flag of each attribute that starts with OTEL_: --llmon_level, --llmon_config, ...
globals().update({name: name for name in (CONFIG, *(_variable(row.name) for row in fields(Settings)))})
