"""What `llmon reference` prints of references and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from otel_llmon.cli._output import as_table, replace_what_cannot_be_printed
from otel_llmon.scores.drift import Drift
from otel_llmon.scores.features import REST, Feature
from otel_llmon.scores.fitness import Note
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import Reference
from otel_llmon.scores.telling import STABLE, Told, counted, means, number, outcome, percent
from otel_llmon.terminal.text import plain

TOP = 3
"""Levels of a feature that a table names."""
MOST_STABLE = 30
"""Stable features that a table shows; --json has all."""


def age(created: str | None, now: datetime) -> float | None:
    """Return how many seconds ago a reference was made; None where it does not say."""
    try:
        made = datetime.fromisoformat(created or "")
    except ValueError:
        return None
    return (now - (made if made.tzinfo else made.replace(tzinfo=UTC))).total_seconds()


def ago(seconds: float) -> str:
    """Return how long ago something was."""
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return "just now" if seconds >= 0 else "in the future"


def facts(reference: Reference, now: datetime) -> dict[str, Any]:
    """Return a reference's facts for programs."""
    return {
        "model": reference.model,
        "version": reference.version,
        "hash": reference.hash,
        "created": reference.created,
        "age": age(reference.created, now),
        "rows": reference.rows,
        "ordered": reference.ordered,
        "excluded": list(reference.excluded),
        "correlations": len(reference.correlation.values) if reference.correlation else 0,
        "features": [_feature_facts(feature) for feature in reference.features],
    }


def _feature_facts(feature: Feature) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": feature.name,
        "kind": feature.kind,
        "rows": feature.rows,
        "missing": feature.missing,
        "infinite": feature.infinite,
        "rows_as_one": feature.effect,
    }
    if feature.levels:
        names = feature.levels.names
        found["levels"] = len(names) - (not feature.levels.whole)
        found["top"] = {
            name: count for name, count in zip(names[:10], feature.levels.counts, strict=False) if name != REST
        }
    if feature.kind == "numeric" and feature.tracks:
        track = feature.tracks[0]
        found |= {"low": track.low, "high": track.high, "mean": _mean(feature), "spread": track.spread}
    if feature.cloud and feature.kind == "embedding":
        found["width"] = feature.cloud.width
    return found


def _mean(feature: Feature) -> float:
    track = feature.tracks[0]
    return sum(map(float.__mul__, map(float, track.counts), track.centroids)) / max(track.rows, 1)


def show(reference: Reference, now: datetime) -> None:
    """Print a reference for people: what it is, and a line for each feature."""
    replace_what_cannot_be_printed()
    seconds = age(reference.created, now)
    made = f"{reference.created} ({ago(seconds)})" if seconds is not None else "it does not say"
    rows = f"{reference.rows:,}, {'in the order of time' if reference.ordered else 'in no order'}"
    about = {
        "model": " ".join(filter(None, (reference.model, reference.version))) or "it does not say",
        "hash": reference.hash,
        "made": made,
        "rows": rows,
        "correlations": f"{len(reference.correlation.values):,}" if reference.correlation else "none",
        "excluded": ", ".join(reference.excluded),
    }
    for name, value in about.items():
        if value:
            print(f"{name:<13}{plain(value)}")
    print()
    as_table(("feature", "kind", "rows", "missing", "values"), map(_feature_cells, reference.features))


def _feature_cells(feature: Feature) -> tuple[str, ...]:
    total = max(feature.total, 1)
    return (
        plain(feature.name),
        feature.kind,
        f"{feature.rows:,}",
        percent(feature.missing / total),
        plain(_values(feature)),
    )


def _values(feature: Feature) -> str:
    said = [_infinite(feature), f"1 of {feature.effect:.3g} rows counts" if feature.effect > 1.05 else ""]
    if feature.levels:
        names = [name for name in feature.levels.names if name != REST]
        pairs = zip(names[:TOP], feature.levels.counts, strict=False)
        top = ", ".join(f"{name[:24]!r} {percent(count / max(feature.rows, 1))}" for name, count in pairs)
        said.insert(0, f"{len(names)}{'' if feature.levels.whole else '+'} levels: {top}")
    elif feature.kind == "numeric" and feature.tracks:
        track = feature.tracks[0]
        low, high, mean = track.low, track.high, _mean(feature)
        said.insert(0, f"{number(low, high)} to {number(high, low)}, mean {number(mean, low, high)}")
    elif feature.kind == "text" and feature.tracks:
        said.insert(0, f"{number(feature.tracks[0].low)} to {number(feature.tracks[0].high)} characters")
    elif feature.cloud:
        said.insert(0, f"vectors of {feature.cloud.width} numbers")
    return "; ".join(filter(None, said))


def _infinite(feature: Feature) -> str:
    return f"{feature.infinite:,} infinite" if feature.infinite else ""


def show_notes(notes: Sequence[Note]) -> None:
    """Print what is to be known of a reference's features."""
    as_table(("feature", "finding"), ((plain(note.feature) or "(all)", plain(note.text)) for note in notes))


def comparison(drift: Drift, found: Sequence[Told], profile: Profile) -> dict[str, Any]:
    """Return a comparison's facts for programs, the features in the order of the table."""
    pairs = drift.correlation
    return {
        "outcome": outcome(drift),
        "reference": drift.reference,
        "model": profile.reference.model,
        "version": profile.reference.version,
        "reference_rows": profile.reference.rows,
        "rows": drift.rows,
        "share": drift.share,
        "features": [_told_facts(one, profile) for one in found],
        "correlation": pairs
        and {
            "changed": pairs.changed,
            "p_value": pairs.p_value,
            "pair": list(pairs.pair),
            "before": pairs.before,
            "now": pairs.now,
        },
    }


def _told_facts(one: Told, profile: Profile) -> dict[str, Any]:
    drift = one.drift
    found: dict[str, Any] = {
        "name": drift.name,
        "kind": drift.kind,
        "verdict": drift.verdict.value,
        "verdicts": [verdict.value for verdict in drift.verdicts],
        "outcome": one.group,
        "rows": drift.rows,
        "p_value": drift.p_value,
        "effect": one.effect and {"name": one.effect.name, "value": one.effect.value, "direction": one.effect.way},
        "what": list(one.what),
        "detail": list(drift.detail),
        "scores": dict(drift.scores),
    }
    if drift.kind == "numeric" and drift.rows and drift.name in profile.plan.of_names:
        before, now = means(profile, profile.plan.of_names[drift.name])
        found["mean"] = {"before": before, "now": now}
    return found


def show_comparison(drift: Drift, found: Sequence[Told], *, everything: bool) -> None:
    """Print a comparison for people: a line for each feature, the worst first, and the verdict."""
    stable = [one for one in found if one.group == STABLE]
    shown = found if everything else [*(one for one in found if one.group != STABLE), *stable[:MOST_STABLE]]
    as_table(("feature", "verdict", "effect", "p", "direction", "what changed"), map(_told_cells, shown))
    if len(shown) < len(found):
        print(f"and {len(found) - len(shown):,} more that are stable; to see them: --all")
    pairs = drift.correlation
    if pairs and pairs.changed:
        names = " and ".join(repr(plain(name)) for name in pairs.pair)
        print(
            f"correlations changed (p {pairs.p_value:.2g}): most that of {names}, {pairs.before:.2f} → {pairs.now:.2f}"
        )
    print(summary(drift, found))


def _told_cells(one: Told) -> tuple[str, ...]:
    drift = one.drift
    *cells, what = one.cells
    return plain(drift.name), drift.verdict.value, *cells, plain(what)


def summary(drift: Drift, found: Sequence[Told]) -> str:
    """Return the verdict in one line."""
    parts = counted(found)
    if drift.correlation and drift.correlation.changed:
        parts.append("correlations changed")
    return f"{outcome(drift)}: {', '.join(parts)}; {drift.rows:,} rows against reference {drift.reference}"
