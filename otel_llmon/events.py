"""event(): something that happened, as a log record in the current span; and what all log records have in common."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otel_llmon import metering, telemetry
from otel_llmon.context import bound
from otel_llmon.limiting import MOST, Limiter
from otel_llmon.metering import values
from otel_llmon.semconv import Metric
from otel_llmon.semconv.events import EVENTS, EVENTS_DROPPED, Event
from otel_llmon.semconv.selfmetrics import SELF_ERRORS
from otel_llmon.telemetry import state

_SEVERITIES = {
    "trace": (SeverityNumber.TRACE, "TRACE"),
    "debug": (SeverityNumber.DEBUG, "DEBUG"),
    "info": (SeverityNumber.INFO, "INFO"),
    "warning": (SeverityNumber.WARN, "WARN"),
    "warn": (SeverityNumber.WARN, "WARN"),
    "error": (SeverityNumber.ERROR, "ERROR"),
    "critical": (SeverityNumber.FATAL, "FATAL"),
    "fatal": (SeverityNumber.FATAL, "FATAL"),
}
_INFO = _SEVERITIES["info"]
_NUMBERS = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
    (logging.DEBUG, SeverityNumber.DEBUG),
)
TOO_MANY = (
    "%s: more than %g a second: the others are only counted, in %s; OTEL_LLMON_EVENT_RATE says how many are reported"
)

errors = metering.Counter(SELF_ERRORS)
_dropped = metering.Counter(EVENTS_DROPPED)
limiter = Limiter(lambda: state.event_rate)
_looked: set[tuple[str, ...]] = set()
"""Names of events of the vocabulary, each with fields that it was seen with."""
_ways = {"counter": "add", "updowncounter": "add", "gauge": "set", "histogram": "record"}
_declared: dict[str, dict[str, Callable[[Any, Mapping[str, Any]], None]]] = {}
"""By the name of an event: what records each of its fields that is a metric too."""


def declare(name: str, metrics: Mapping[str, Metric]) -> None:
    """Record these fields of every event of this name as metrics too; a metric's attributes are other fields of it.

    Events that `event_rate` leaves out are in the metrics all the same. Raises ValueError for a metric that exists and
    is another one, and TypeError for what is no metric.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(f"declare({name!r}): found {type(metrics).__name__}, expected a mapping of fields to metrics")
    for field, row in metrics.items():
        _check(field, row)
    found = {}
    for field, row in metrics.items():
        instrument = metering.instrument_of(row)
        if instrument.row != row:
            raise ValueError(f"metric {row.name!r}: exists already and differs; give another name, or the same row")
        found[field] = getattr(instrument, _ways[row.kind])
    _declared[name] = found


def _check(field: str, row: Metric) -> None:
    if not isinstance(row, Metric):
        raise TypeError(f"field {field!r}: found {type(row).__name__}, expected a Metric")
    if row.kind not in _ways:
        raise TypeError(f"metric {row.name!r}: found kind {row.kind!r}, expected one of {', '.join(_ways)}")


def event(
    name: str,
    attributes: Mapping[str, Any] | None = None,
    severity: str | None = None,
    error: BaseException | None = None,
) -> None:
    """Report that something happened: a log record with this event name, in the current span.

    Any name will do; those in docs/events.md have fields that others know too, and a severity where none is given.
    `error` adds an exception's class, message and stack. A severity that is not known is taken as `info`, with one line
    in the log. What is more than `event_rate` allows is counted and not reported.
    """
    if not state.level:
        return
    try:
        if name.__class__ is not str or len(name) > values.LONGEST or not name.isascii():
            name = values.text(name)
        if name in _declared:
            _measure(_declared[name], attributes or {})
        if not limiter.of(name).take():
            drop(name, name)
            return
        number, word = _INFO if severity is None else _severity(name, severity)
        fields = telemetry.clean(attributes)
        if name in EVENTS:
            row = EVENTS[name]
            if severity is None:
                number, word = _SEVERITIES[row.severity]
            if (name, *fields) not in _looked:
                _look_at(row, fields)
        if error is not None:
            fields |= telemetry.told_by(error)
        send(telemetry.logger(), name, fields, number, word, time.time_ns(), name)
    except Exception as exc:  # a processor's bug must not reach the caller's work
        failed("event", name, exc)


def _measure(records: dict[str, Callable[[Any, Mapping[str, Any]], None]], fields: Mapping[str, Any]) -> None:
    for field, record in records.items():
        if fields.get(field) is not None:
            record(fields[field], fields)


def _severity(name: str, severity: str) -> tuple[SeverityNumber, str]:
    found = _SEVERITIES.get(values.text(severity).lower())
    if found is None:
        telemetry.warn_once("event %r: severity %r: expected one of %s", name, severity, ", ".join(_SEVERITIES))
        return _INFO
    return found


def _look_at(row: Event, fields: Mapping[str, Any]) -> None:
    """Warn of fields that look like one of the event's; each set of fields is looked at once."""
    from difflib import get_close_matches

    if len(_looked) >= MOST:
        return
    _looked.add((row.name, *fields))
    for field in fields.keys() - row.fields.keys():
        for meant in get_close_matches(field, row.fields, n=1, cutoff=0.7):
            if (row.name, field) not in _looked:
                telemetry.log.warning("event %r: unknown field %r, did you mean %r?", row.name, field, meant)
                _looked.add((row.name, field))


def send(  # noqa: PLR0913, PLR0917  # as many as a record has; in a mapping they would cost twice as much
    logger: Logger,
    body: Any,
    fields: dict[str, Any],
    number: SeverityNumber,
    word: str | None,
    timestamp: int,
    event_name: str | None = None,
) -> None:
    """Hand a log record to OpenTelemetry, in the current span and with what is bound here; its own fields win."""
    here = bound()
    logger.emit(
        LogRecord(
            timestamp=timestamp,
            context=otel_context.get_current(),
            severity_number=number,
            severity_text=word,
            body=body,
            attributes={**here, **fields} if here else fields,
            event_name=event_name,
        )
    )


def note(name: str, facts: Mapping[str, Any]) -> None:
    """Put an event on the current span."""
    try:
        span = trace.get_current_span()
        if state.level and span.is_recording():
            span.add_event(name, facts)
    except Exception as exc:  # a foreign span's own failure must not reach the caller's work
        failed("event", name, exc)


def allowed(kind: Hashable, source: str) -> bool:
    """Tell whether one more of this kind may be reported; one that may not is counted, and told the first time."""
    if limiter.of(kind).take():
        return True
    drop(kind, source)
    return False


def drop(kind: Hashable, source: str) -> None:
    """Count one that is not reported; the first time it is told."""
    _dropped.at(source).add(1)
    bucket = limiter.of(kind)
    if not bucket.told:
        bucket.told = True
        telemetry.log.warning(TOO_MANY, source, state.event_rate, EVENTS_DROPPED.name)


def mute(logger: str) -> bool:
    """Tell whether nothing of this logger is sent: telemetry is off, or speaks of itself, or someone while it exports.

    Either of the latter could cause the next record, for ever.
    """
    return (
        not state.level
        or logger.startswith("opentelemetry.")
        or bool(otel_context.get_value(_SUPPRESS_INSTRUMENTATION_KEY))
    )


def failed(source: str, what: str, exc: Exception) -> None:
    """Count a record that was lost to an error, and tell the first one."""
    errors.at(source).add()
    telemetry.warn_once("%s %r: not reported: %s: %s", source, what, type(exc).__name__, exc)


def severity_of(level: int) -> SeverityNumber:
    """Return the severity of a level of stdlib logging, which others have taken over."""
    return next((number for least, number in _NUMBERS if level >= least), SeverityNumber.TRACE)
