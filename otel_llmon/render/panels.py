"""What the dashboard shows: panels whose queries are written from rows."""

from __future__ import annotations

from collections.abc import Mapping

from otel_llmon.render.dashboards import Panel, Query, as_file, choice, dashboard
from otel_llmon.render.promql import label, quantile, rate, ratio, select, series, total
from otel_llmon.semconv import Metric, genai, host, phases, process, progress, selfmetrics
from otel_llmon.semconv.attributes import (
    CPU_MODE,
    ERROR_TYPE,
    GEN_AI_OPERATION,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_TOKEN_TYPE,
    OPERATION,
    OUTCOME,
    PHASE,
    PIPELINE,
    SERVICE_NAME,
    SIGNAL,
    SOURCE,
    STATE,
    SYSTEM_MEMORY_STATE,
)

CHOSEN = {SERVICE_NAME: '=~"$service"'}
SHOWN = "$__range"
SCRAPED = "1m"
"""A range for what Prometheus reads every 15 seconds."""


def dashboard_file() -> str:
    """Return the dashboard as Grafana reads it from a file."""
    services = choice("service", "Service", f"label_values({series(selfmetrics.SELF_SERIES)}, {label(SERVICE_NAME)})")
    return as_file(dashboard(sections(), services))


def sections() -> tuple[tuple[str, tuple[Panel, ...]], ...]:
    """Return the dashboard's sections: a title and its panels."""
    return (
        ("At a glance", _glance()),
        ("Phases", _phases()),
        ("Models", _models()),
        ("Machine and programs", _machine()),
        ("Telemetry itself", _telemetry()),
    )


def _glance() -> tuple[Panel, ...]:
    runs = _shown(phases.PIPELINE_DURATION, "_count")
    failed = _shown(phases.PIPELINE_DURATION, "_count", {OUTCOME: '="failure"'})
    calls = _shown(genai.OPERATION_DURATION, "_count"), _shown(genai.INFERENCE_DURATION, "_count")
    return (
        _stat("Pipeline runs", runs, "In the range shown."),
        _stat("Runs that failed", ratio(failed, runs), "Share of the runs in the range shown.", "percentunit"),
        _stat("Items", _shown(progress.PROGRESS_ITEMS), "That loops dealt with in the range shown."),
        _stat("Running now", total(_of(phases.PIPELINE_ACTIVE)), "Runs of a pipeline."),
        _stat("Calls to models", " or ".join(calls), "In the range shown."),
        _stat("Programs", total(_of(selfmetrics.SELF_SERIES), how="count"), "That report."),
    )


def _phases() -> tuple[Panel, ...]:
    buckets = _of(phases.PHASE_DURATION, "_bucket")
    ended = rate(_of(phases.PHASE_DURATION, "_count"), (PHASE,))
    failed = rate(_of(phases.PHASE_ERRORS), (PHASE,))
    return (
        _panel(
            "How long phases take (p95)",
            _named(quantile(0.95, buckets, (PHASE,)), PHASE),
            "s",
            "95 of 100 took less. A dot leads to the trace of one.",
        ),
        _panel("Typical duration (p50)", _named(quantile(0.5, buckets, (PHASE,)), PHASE), "s"),
        _panel(
            "Where time goes",
            _named(rate(_of(phases.PHASE_DURATION, "_sum"), (PHASE,)), PHASE),
            "s",
            "Seconds of each phase per second; a phase inside another counts in both.",
        ),
        _panel("Phases per second", _named(ended, PHASE), "ops"),
        _panel(
            "Failing phases", _named(ratio(failed, ended), PHASE), "percentunit", "Share that ended in an exception."
        ),
        _panel(
            "Exceptions per second",
            _named(rate(_of(phases.PHASE_ERRORS), (PHASE, ERROR_TYPE)), PHASE, ERROR_TYPE),
            "ops",
            "By class; empty while there are none.",
        ),
        _panel(
            "Items per second",
            _named(rate(_of(progress.PROGRESS_ITEMS), (OPERATION, OUTCOME)), OPERATION, OUTCOME),
            "ops",
        ),
        _panel("Running now", _named(total(_of(phases.PHASE_ACTIVE), (PIPELINE, PHASE)), PIPELINE, PHASE)),
        _panel(
            "Loops by state",
            _named(f"{total(_of(progress.PROGRESS_STATE), (OPERATION, STATE))} > 0", OPERATION, STATE),
        ),
        Panel(
            "Logs",
            (Query(f'{{{label(SERVICE_NAME)}=~"$service"}}'),),
            description="What programs logged, and events. A line leads to its trace.",
            kind="logs",
            width=24,
        ),
    )


def _models() -> tuple[Panel, ...]:
    by = (GEN_AI_REQUEST_MODEL,)
    duration = genai.OPERATION_DURATION, genai.INFERENCE_DURATION
    first = genai.OPERATION_FIRST_CHUNK, genai.INFERENCE_FIRST_CHUNK
    gap = genai.OPERATION_CHUNK_GAP, genai.INFERENCE_CHUNK_GAP
    calls = _either(*(rate(_of(row, "_count"), by) for row in duration))
    failed = _either(*(rate(_of(row, "_count", {ERROR_TYPE: '!=""'}), by) for row in duration))
    kinds = (GEN_AI_OPERATION, *by)
    return (
        _panel(
            "Calls per second",
            _named(_either(*(rate(_of(row, "_count"), kinds) for row in duration)), *kinds),
            "ops",
        ),
        _panel("How long calls take (p95)", _p95(*duration), "s"),
        _panel("Time to the first chunk (p95)", _p95(*first), "s", "Of a streamed answer: looking at nothing."),
        _panel("Between two chunks (p95)", _p95(*gap), "s"),
        Panel(
            "Tokens per second",
            (Query(_tokens("input", genai.INPUT_TOKENS), "in"), Query(_tokens("output", genai.OUTPUT_TOKENS), "out")),
        ),
        _panel("Calls that fail", _named(ratio(failed, calls), *by), "percentunit"),
    )


def _machine() -> tuple[Panel, ...]:
    # one program reports a machine for all: the chosen service need not be it
    busy = {CPU_MODE: '!~"idle|iowait"'}
    held = select(host.MEMORY_USAGE, where={SYSTEM_MEMORY_STATE: '=~"used|cached"'})
    each = (SERVICE_NAME,)
    return (
        _panel(
            "CPU of the machine",
            _named(total(select(host.CPU_UTILIZATION, where=busy), (CPU_MODE,), "avg"), CPU_MODE),
            "percentunit",
        ),
        Panel(
            "Memory of the machine",
            (
                _named(total(held, (SYSTEM_MEMORY_STATE,), "max"), SYSTEM_MEMORY_STATE),
                Query(total(select(host.MEMORY_LIMIT), how="max"), "all there is"),
            ),
            "bytes",
        ),
        _panel(
            "CPU of the programs",
            _named(rate(_of(process.PROCESS_CPU_TIME), each), *each),
            "short",
            "Processors that are kept busy.",
        ),
        _panel("Memory of the programs", _named(total(_of(process.PROCESS_MEMORY_USAGE), each), *each), "bytes"),
        _panel("Threads", _named(total(_of(process.PROCESS_THREADS), each), *each)),
        _panel("Open files", _named(total(_of(process.PROCESS_FILES), each), *each)),
    )


def _telemetry() -> tuple[Panel, ...]:
    filled = "otelcol_exporter_queue_size / otelcol_exporter_queue_capacity"
    return (
        _panel(
            "Waiting in the Collector",
            Query(total(filled, ("exporter",), "max"), "{{exporter}}"),
            "percentunit",
            "Share of the queue on disk. A full queue drops.",
        ),
        _panel("Handed on", _collector("sent"), "ops"),
        Panel(
            "Dropped",
            (
                _collector("send_failed", "refused: "),
                _collector("enqueue_failed", "no room: "),
            ),
            "ops",
            "For good: too old or too large for a backend, or the queue was full.",
        ),
        _panel("Lost in programs", _or_zero(selfmetrics.SELF_LOST, SIGNAL), "ops", "Could not be handed over."),
        Panel(
            "Errors and refusals in programs",
            (_or_zero(selfmetrics.SELF_ERRORS, SOURCE), _or_zero(selfmetrics.SELF_REFUSED, SOURCE)),
            "ops",
        ),
        _panel(
            "Series per program",
            _named(total(_of(selfmetrics.SELF_SERIES), (SERVICE_NAME,), "max"), SERVICE_NAME),
            description="A name per request would show here first.",
        ),
    )


def _panel(title: str, query: Query, unit: str = "short", description: str = "") -> Panel:
    return Panel(title, (query,), unit, description)


def _stat(title: str, expr: str, description: str, unit: str = "short") -> Panel:
    return Panel(title, (Query(expr),), unit, description, "stat", width=4, height=4)


def _of(row: Metric, suffix: str = "", where: Mapping[str, str] | None = None) -> str:
    """Return the selector of a row's series, of the services that are chosen."""
    return select(row, suffix, {**CHOSEN, **(where or {})})


def _shown(row: Metric, suffix: str = "", where: Mapping[str, str] | None = None) -> str:
    """Return how much a row grew in the range that is shown."""
    return total(f"increase({_of(row, suffix, where)}[{SHOWN}])")


def _named(expr: str, *keys: str) -> Query:
    """Return a query whose answers are called by these attributes."""
    return Query(expr, " ".join(f"{{{{{label(key)}}}}}" for key in keys))


def _either(old: str, new: str) -> str:
    """Return model calls by whichever of the two conventions they are counted."""
    return f"({old} or {new})"


def _p95(old: Metric, new: Metric) -> Query:
    by = (GEN_AI_REQUEST_MODEL,)
    return _named(_either(*(quantile(0.95, _of(row, "_bucket"), by) for row in (old, new))), *by)


def _tokens(kind: str, counter: Metric) -> str:
    used = rate(_of(genai.TOKEN_USAGE, "_sum", {GEN_AI_TOKEN_TYPE: f'="{kind}"'}))
    return _either(used, rate(_of(counter)))


def _collector(step: str, prefix: str = "") -> Query:
    names = f'{{__name__=~"otelcol_exporter_{step}_(spans|metric_points|log_records)_total"}}'
    return Query(f"{rate(names, ('exporter',), SCRAPED)} or vector(0)", prefix + "{{exporter}}")


def _or_zero(row: Metric, key: str) -> Query:
    """Return a rate that is a flat line, and no gap, while nothing was ever counted."""
    return _named(f"{rate(_of(row), (key,))} or vector(0)", key)
