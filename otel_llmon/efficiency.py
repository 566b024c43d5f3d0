"""What a phase used, what that costs, and how well it was done, as metrics; the arithmetic stands in `scores`.

Each function takes the phase and the pipeline that run now, unless it is told another phase. Prices are settings.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_llmon import metering
from otel_llmon.context import where
from otel_llmon.metering import values
from otel_llmon.scores import conveyance as conveying
from otel_llmon.scores import efficiency as scores
from otel_llmon.scores.conveyance import Conveyance
from otel_llmon.scores.efficiency import Score, Use
from otel_llmon.semconv import efficiency as rows
from otel_llmon.telemetry import state, warn_once

Place = tuple[str | None, str | None]
"""Names of a pipeline and of a phase."""

time = metering.Counter(rows.RESOURCE_TIME)
_memory = metering.Counter(rows.RESOURCE_MEMORY)
_energy = metering.Counter(rows.RESOURCE_ENERGY)
_carbon = metering.Counter(rows.CARBON)
_cost = metering.Counter(rows.COST)
_score = metering.Gauge(rows.EFFICIENCY_SCORE)
_part = metering.Gauge(rows.EFFICIENCY_PART)
_weight = metering.Gauge(rows.EFFICIENCY_WEIGHT)
_component = metering.Gauge(rows.CONVEYANCE_CONTEXT)
_conveyance = {
    "value": metering.Gauge(rows.CONVEYANCE),
    "w": metering.Gauge(rows.CONVEYANCE_W),
    "r": metering.Gauge(rows.CONVEYANCE_R),
    "h": metering.Gauge(rows.CONVEYANCE_H),
    "t": metering.Gauge(rows.CONVEYANCE_T),
    "ctx": metering.Gauge(rows.CONVEYANCE_CTX),
    "alpha": metering.Gauge(rows.CONVEYANCE_ALPHA),
}


def spend(
    *,
    cpu: float | None = None,
    gpu: float | None = None,
    memory: float | None = None,
    energy: float | None = None,
    phase: str | None = None,
) -> None:
    """Count what a phase used: seconds of CPUs and GPUs, byte-seconds of memory, joules; and what they cost.

    What is no finite number, or negative, is refused and counted.
    """
    if state.level:
        pipeline, current, _ = where.get()
        charge(Use(cpu, gpu, memory, energy), (pipeline, current if phase is None else phase))


def charge(use: Use, place: Place) -> None:
    """Count what the phase at `place` used, and what that costs."""
    pipeline, phase = place
    use = Use(*(None if each is None else _known(field, each) for field, each in zip(Use._fields, use, strict=True)))
    for resource in ("cpu", "gpu"):
        if (seconds := getattr(use, resource)) is not None:
            time.at(resource, phase, pipeline).add(seconds)
    if use.memory is not None:
        _memory.at(phase, pipeline).add(use.memory)
    if use.energy is not None:
        _energy.at(phase, pipeline).add(use.energy)
        if state.carbon_intensity is not None:
            _carbon.at(phase, pipeline).add(scores.carbon(use.energy, state.carbon_intensity))
    if state.prices is not None:
        for resource, dollars in scores.cost(use, state.prices).items():
            _cost.at(resource, phase, pipeline, None).add(dollars)


def charge_cpu(seconds: float, place: Place) -> None:
    """Count CPU seconds as `charge` does, at a cost that every phase can bear."""
    pipeline, phase = place
    time.at("cpu", phase, pipeline).add(seconds)
    if state.prices is not None and (price := state.prices.cpu_hour) is not None:
        _cost.at("cpu", phase, pipeline, None).add(seconds * price / scores.HOUR)


def charge_tokens(model: object, answered_by: object, tokens: Mapping[str, object], place: Place) -> None:
    """Count what a call to a model costs; nothing where neither model that was asked nor that answered has a price.

    `tokens` holds `input`, `output` and `cached`, as far as the provider said.
    """
    if state.prices is None:
        return
    price = state.prices.models.get(str(answered_by)) or state.prices.models.get(str(model))
    counts = {name: int(values.number(count) or 0) for name, count in tokens.items() if count is not None}
    if price is None or not counts:
        return
    pipeline, phase = place
    dollars = scores.token_cost(price, counts.get("input", 0), counts.get("output", 0), counts.get("cached", 0))
    for resource, amount in dollars.items():
        _cost.at(resource, phase, pipeline, model).add(amount)


def score(parts: Mapping[str, float | None], *, phase: str | None = None) -> Score | None:
    """Report how well a phase or pipeline is done, from `utilization`, `success` and `throughput`, each 0 to 1.

    A part that is None is not known: the others take its weight. Nothing is reported, and a warning said once, for
    what is no part.
    """
    try:
        found = scores.score(parts)
    except ValueError as exc:
        warn_once("efficiency: %s; not reported", exc)
        return None
    if found is not None and state.level:
        pipeline, current, _ = where.get()
        place = (current if phase is None else phase, pipeline)
        _score.at(*place).set(found.value)
        for part in scores.WEIGHTS:
            _part.at(part, *place).set(found.parts.get(part))
            _weight.at(part, *place).set(found.weights.get(part))
    return found


def conveyance(  # noqa: PLR0913  # the formula's
    w: float,
    r: float,
    h: float,
    t: float,
    context: float | Mapping[str, float] = 1.0,
    *,
    alpha: float | None = None,
    phase: str | None = None,
) -> Conveyance | None:
    """Report C = (W * R * H / T) * Ctx^alpha with its parts; `t` in seconds, `context` as Ctx or by L, I, A and G.

    Alpha is the setting `conveyance_alpha` unless it is given. Nothing is reported, and a warning said once, where a
    part is negative or `t` is not above 0.
    """
    components = context if isinstance(context, Mapping) else {}
    try:
        ctx = conveying.context(components) if isinstance(context, Mapping) else context
        found = conveying.conveyance(w, r, h, t, ctx, state.conveyance_alpha if alpha is None else alpha)
    except (ValueError, OverflowError) as exc:
        warn_once("conveyance: %s; not reported", exc)
        return None
    if state.level:
        pipeline, current, _ = where.get()
        place = (current if phase is None else phase, pipeline)
        for name, gauge in _conveyance.items():
            gauge.at(*place).set(getattr(found, name))
        for name in conveying.COMPONENTS:
            _component.at(name, *place).set(components.get(name))
    return found


def _known(field: str, amount: object) -> float | None:
    """Return an amount that can be added up, or count its refusal."""
    counter = {"memory": _memory, "energy": _energy}.get(field, time)
    return counter.refuse(amount)
