"""Who watches the inputs of a model: made where somebody asked for it, since each loads NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from otel_llmon.errors import SettingsError
from otel_llmon.scores import given

if TYPE_CHECKING:
    from otel_llmon.drifts import DriftWatch
    from otel_llmon.models.lanes import Model
    from otel_llmon.models.performing import Measure, Performance
    from otel_llmon.models.rows import Rows
    from otel_llmon.quality import QualityWatch
    from otel_llmon.scores.drift import Limits
    from otel_llmon.scores.quality import Checks, Wanted
    from otel_llmon.scores.reference import Reference


def reference_of(model: Model, told: Any) -> Reference | None:
    """Return the reference that was given, or is in the file; raises SettingsError for another model's."""
    if told is None:
        return None
    reference = given.reference(told)
    name, version = model
    if reference.model not in (None, name):
        raise SettingsError(f"reference: found one of model {reference.model!r}, expected {name!r}; fit one for it")
    if version is not None and reference.version not in (None, version):
        raise SettingsError(
            f"reference of model {name!r}: found version {reference.version!r}, expected {version!r};"
            " fit one for it, or one without a version"
        )
    return reference


def drift_of(  # noqa: PLR0913, PLR0917  # as many as there are choices
    model: Model,
    reference: Reference | None,
    window: int,
    limits: Limits | None,
    weights: Mapping[str, float] | None,
    top: int,
) -> DriftWatch | None:
    """Return who compares the inputs with the reference."""
    if reference is None:
        _expect_none(limits=limits, weights=weights)
        return None
    from otel_llmon.drifts import DriftWatch

    name, version = model
    return DriftWatch(reference, name, version or "", window=window, limits=limits, weights=weights, top=top)


def quality_of(
    model: Model, reference: Reference | None, checks: Checks | Wanted | None, window: int, top: int
) -> QualityWatch | None:
    """Return who looks whether the inputs are as they should be."""
    if reference is None and checks is None:
        return None
    from otel_llmon.quality import QualityWatch

    name, version = model
    return QualityWatch(name, version or "", reference=reference, checks=checks, window=window, top=top)


def rows_of(
    reference: Reference | None, drift: DriftWatch | None, quality: QualityWatch | None, window: int
) -> Rows | None:
    """Return what holds the rows until there are enough for those who watch them."""
    watchers = [watcher for watcher in (drift, quality) if watcher is not None]
    if not watchers:
        return None
    from otel_llmon.models.rows import Rows

    return Rows(reference, watchers, window, () if quality is None else quality.checks.expected)


def performance_of(drift: DriftWatch | None, baseline: Measure | None, window: int) -> Performance | None:
    """Return who compares how right the model is with how right it was."""
    if baseline is None:
        return None
    from otel_llmon.models.performing import Performance

    return Performance(drift, baseline, window)


def _expect_none(**said: Any) -> None:
    """Refuse what says how to compare where there is nothing to compare with."""
    for name, value in said.items():
        if value is not None:
            raise SettingsError(f"{name}: found no reference, expected one: it says how inputs are compared with it")
