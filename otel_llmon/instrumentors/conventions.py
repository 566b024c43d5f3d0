"""What OpenTelemetry's conventions call the things we measure of a call: two tables, one code.

Which of them are in force says the setting `genai_semconv`; the reasons for its default stand in docs/decisions/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from otel_llmon import metering, telemetry
from otel_llmon.instrumentors import Received, Target
from otel_llmon.metering.cells import HistogramSeries
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import genai as rows
from otel_llmon.telemetry import state

UNKNOWN = "unknown"
"""The modality of tokens of which the provider says none."""

INFERENCE = frozenset(("chat", "generate_content", "text_completion"))
"""Operations that are inference to the newer convention; it keeps the older names for all others."""


class Convention(NamedTuple):
    """Where each thing is recorded."""

    duration: metering.Histogram
    first_chunk: metering.Histogram
    gap: metering.Histogram
    sizes: tuple[tuple[str, metering.Histogram, str | None], ...]
    """Tokens of one call: field of Received, where to record it, and its type where the type is an attribute."""

    sums: tuple[tuple[str, metering.Counter], ...]
    """Tokens added up by modality: field of Received, and where to add it."""

    cache_write: str
    """The span attribute that had another name before."""

    unfinished: str | None
    """Finish reason of an answer that did not come to its end."""


LEGACY = Convention(
    metering.Histogram(rows.OPERATION_DURATION),
    metering.Histogram(rows.OPERATION_FIRST_CHUNK),
    metering.Histogram(rows.OPERATION_CHUNK_GAP),
    tuple(
        (f"{kind}_tokens", usage, kind)
        for usage in (metering.Histogram(rows.TOKEN_USAGE),)
        for kind in ("input", "output")
    ),
    (),
    key.GEN_AI_CACHE_CREATION_TOKENS,
    None,
)
LATEST = Convention(
    metering.Histogram(rows.INFERENCE_DURATION),
    metering.Histogram(rows.INFERENCE_FIRST_CHUNK),
    metering.Histogram(rows.INFERENCE_CHUNK_GAP),
    (
        ("input_tokens", metering.Histogram(rows.CALL_INPUT_TOKENS), None),
        ("output_tokens", metering.Histogram(rows.CALL_OUTPUT_TOKENS), None),
    ),
    (
        ("input_tokens", metering.Counter(rows.INPUT_TOKENS)),
        ("output_tokens", metering.Counter(rows.OUTPUT_TOKENS)),
        ("cache_read", metering.Counter(rows.CACHE_READ_TOKENS)),
        ("cache_write", metering.Counter(rows.CACHE_WRITE_TOKENS)),
        ("reasoning", metering.Counter(rows.REASONING_TOKENS)),
    ),
    key.GEN_AI_CACHE_WRITE_TOKENS,
    "error",
)
OTHERS = LATEST._replace(duration=LEGACY.duration, first_chunk=LEGACY.first_chunk, gap=LEGACY.gap, sizes=(), sums=())
"""The newer convention for what is no inference."""

CHOICES: Mapping[str, tuple[Convention, ...]] = {"legacy": (LEGACY,), "latest": (LATEST,), "both": (LEGACY, LATEST)}


class Lane(NamedTuple):
    """The series of all calls of a course that one model answered, or that ended with one kind of error."""

    key: tuple[Any, ...]
    durations: tuple[Callable[..., None], ...]
    sizes: tuple[tuple[str, Callable[..., None]], ...]
    sums: tuple[tuple[str, Callable[[float], None], metering.Counter], ...]
    firsts: tuple[Callable[..., None], ...]
    gaps: tuple[HistogramSeries, ...]


class Course:
    """What all calls of one operation to one target share, so that it is looked up once."""

    __slots__ = ("_lanes", "_target", "chosen", "facts", "name", "operation")

    def __init__(self, operation: str, target: Target) -> None:
        model = telemetry.carried(target.model)
        self.operation, self._target = operation, target
        self.name = operation if model is None else f"{operation} {model}"
        self.chosen = _in_force(operation)
        self.facts = telemetry.clean(
            {
                key.GEN_AI_OPERATION: operation,
                key.GEN_AI_PROVIDER: target.provider,
                key.GEN_AI_REQUEST_MODEL: model,
                key.SERVER_ADDRESS: target.address,
                key.SERVER_PORT: target.port,
            }
        )
        self._lanes: dict[Any, Lane] = {}

    def lane(self, answered_by: Any, error: str | None = None) -> Lane:
        """Return the series of calls that this model answered, or that failed with this kind of error."""
        try:
            return self._lanes[answered_by, error]
        except TypeError:  # what a server gave for a model cannot be a key
            return self._lane(telemetry.carried(answered_by), error)
        except KeyError:
            found = self._lane(answered_by, error)
            if len(self._lanes) < MOST_LANES:
                self._lanes[answered_by, error] = found
            return found

    def _lane(self, answered_by: Any, error: str | None) -> Lane:
        target, chosen = self._target, self.chosen
        call = (self.operation, target.provider, target.model, answered_by, target.address, target.port)
        return Lane(
            call,
            tuple(convention.duration.at(*call, error).record for convention in chosen),
            tuple(
                (name, histogram.at(*call, kind or error).record)
                for convention in chosen
                for name, histogram, kind in convention.sizes
            ),
            tuple(
                (name, counter.at(*call, UNKNOWN).add, counter)
                for convention in chosen
                for name, counter in convention.sums
            ),
            tuple(convention.first_chunk.at(*call).record for convention in chosen),
            tuple(convention.gap.at(*call) for convention in chosen),
        )


MOST_LANES = 16
"""Lanes that a course remembers; further ones are looked up at each call."""


def course(operation: str, target: Target) -> Course:
    """Return the course of calls of this operation to this target."""
    metering.follow_provider()
    memo, place = LEGACY.duration.memo, (state.genai_semconv, operation, target)
    try:
        return memo[place]  # type: ignore[no-any-return]
    except TypeError:  # what somebody gave for a model cannot be a key
        return Course(operation, target._replace(model=telemetry.carried(target.model)))
    except KeyError:
        return LEGACY.duration.remember(place, Course(operation, target))


def _in_force(operation: str) -> tuple[Convention, ...]:
    """Return the conventions to follow for an operation."""
    if operation in INFERENCE:
        return CHOICES[state.genai_semconv]
    return (OTHERS,) if state.genai_semconv == "latest" else (LEGACY,)


def spend(lane: Lane, received: Received, span: Any) -> None:
    """Record the tokens of a call. A sum takes 0 where nobody said how many, a distribution takes nothing."""
    for name, record in lane.sizes:
        count = getattr(received, name)
        if count is not None:
            record(count, span)
    for name, add, counter in lane.sums:
        parts = received.modalities.get(name)
        if parts is None:
            add(getattr(received, name) or 0)
            continue
        for modality, count in parts.items():
            counter.at(*lane.key, modality).add(count)


def described(chosen: tuple[Convention, ...], received: Received, expected: int) -> dict[str, Any]:
    """Return the span's attributes for what came back; of several answers each has a finish reason."""
    facts = {
        key.GEN_AI_RESPONSE_ID: received.id,
        key.GEN_AI_RESPONSE_MODEL: received.model,
        key.GEN_AI_FINISH_REASONS: _reasons(chosen, received, expected) or None,
        key.GEN_AI_INPUT_TOKENS: received.input_tokens,
        key.GEN_AI_OUTPUT_TOKENS: received.output_tokens,
        key.GEN_AI_CACHE_READ_TOKENS: received.cache_read,
        key.GEN_AI_REASONING_TOKENS: received.reasoning,
    }
    for convention in chosen:
        facts[convention.cache_write] = received.cache_write
    return facts | received.attributes


def _reasons(chosen: tuple[Convention, ...], received: Received, expected: int) -> list[Any]:
    if expected == 1 and len(received.finish) == 1 and (reason := received.finish.get(0)) is not None:
        return [reason]
    if received.model is None and not received.finish:  # nothing came, so nothing ended
        return []
    places = dict.fromkeys([*range(min(expected, telemetry.LONGEST_SEQUENCE)), *received.finish])
    found = [received.finish.get(place) or chosen[-1].unfinished for place in places]
    return [reason for reason in found if reason is not None]
