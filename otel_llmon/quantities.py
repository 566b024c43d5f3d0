"""What a training run tells of itself: gauges of losses, rates and norms; those that are no finite number, counted.

What lies on a GPU is read later: `.item()` on every step would make the program wait for the GPU on every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from otel_llmon import metering, telemetry
from otel_llmon.goodput import EVALUATION, PRODUCTIVE
from otel_llmon.metering import values
from otel_llmon.metering.binding import api, current
from otel_llmon.metering.cells import LARGEST, CountSeries, GaugeSeries
from otel_llmon.semconv import training as rows

TRAIN = "train"
LOSS, ACCURACY, RATE, NORM = "loss", "accuracy", "learning_rate", "gradient_norm"

MOST_LATE = 64
"""Values on a GPU that wait to be read."""
LONGEST_LATE = 1.0
"""Seconds after which they are read, however few they are."""

_steps = metering.Counter(rows.TRAINING_STEPS)
_samples = metering.Counter(rows.TRAINING_SAMPLES)
_tokens = metering.Counter(rows.TRAINING_TOKENS)
_not_finite = metering.Counter(rows.TRAINING_NOT_FINITE)
_gauges = {
    LOSS: metering.Gauge(rows.TRAINING_LOSS),
    ACCURACY: metering.Gauge(rows.TRAINING_ACCURACY),
    RATE: metering.Gauge(rows.TRAINING_RATE),
    NORM: metering.Gauge(rows.TRAINING_NORM),
}

Run = tuple[str, str | None]
"""Names of the run and of its model."""


class Lane(NamedTuple):
    """The series of one part of the data, looked up once."""

    split: str
    kind: str
    steps: CountSeries
    samples: CountSeries
    tokens: CountSeries
    gauges: Mapping[str, GaugeSeries]


def lane(run: Run, split: str) -> Lane:
    """Return the series of this part of the data; they change with the provider."""
    if api._METER_PROVIDER is not current.provider:
        metering.bind()
    try:
        return _steps.memo[run, split]  # type: ignore[no-any-return]
    except (KeyError, TypeError):
        found: object = split  # whatever the annotation says
        name = values.text(found)
        if not isinstance(found, str):
            kind = type(found).__name__
            telemetry.warn_once("training %r: split is a %s, expected text; it counts as %r", run[0], kind, name)
        kind = PRODUCTIVE if name == TRAIN else EVALUATION
        where = (*run, name)
        gauges = {what: gauge.at(*where[: len(gauge.row.attributes)]) for what, gauge in _gauges.items()}
        made = Lane(name, kind, _steps.at(*where), _samples.at(*where), _tokens.at(*where), gauges)
        return _steps.remember((run, name), made)


class Values:
    """The newest values of a run; `diverged` is called with the first loss that is no number."""

    __slots__ = ("_diverged", "_late", "_run", "_since", "last")

    def __init__(self, run: Run, diverged: Callable[[str, float], None]) -> None:
        self._run = run
        self._diverged: Callable[[str, float], None] | None = diverged
        self._late: list[tuple[Lane, str, Any]] = []
        self._since = 0.0
        self.last: dict[tuple[str, str], float] = {}
        """By part of the data and quantity."""

    def tell(self, lane: Lane, what: str, value: Any, now: float) -> None:
        """Take a value; one that lies on a GPU is read with others."""
        if value.__class__ is not float:
            if _is_elsewhere(value):
                self._keep(lane, what, value, now)
                return
            number = values.number(value)
            if number is None:
                lane.gauges[what].set(value)  # refused and counted there
                return
            value = number
        self.last[lane.split, what] = value
        if -LARGEST <= value <= LARGEST:
            lane.gauges[what].set(value)
        else:
            self._count(lane, what, value)

    def settle(self) -> None:
        """Read what is on a GPU."""
        late, self._late = self._late, []
        for lane, what, value in late:
            number = values.number(value)
            if number is None:
                lane.gauges[what].set(value)  # as in tell()
            else:
                self.tell(lane, what, number, 0.0)

    def _keep(self, lane: Lane, what: str, value: Any, now: float) -> None:
        try:
            kept = value.detach().clone()  # the next step may write into it, and its graph need not live on
        except Exception:  # whatever it is, it is no tensor
            kept = values.number(value)
        if not self._late:
            self._since = now
        self._late.append((lane, what, kept))
        if len(self._late) >= MOST_LATE or now - self._since >= LONGEST_LATE:
            self.settle()

    def _count(self, lane: Lane, what: str, value: float) -> None:
        _not_finite.at(*self._run, lane.split, what).add()
        lane.gauges[what].set(None)
        if what == LOSS and self._diverged is not None:
            tell, self._diverged = self._diverged, None
            tell(lane.split, value)


def _is_elsewhere(value: Any) -> bool:
    """Tell whether to read it would wait for a device; torch's tensors say where they are."""
    try:
        return getattr(getattr(value, "device", None), "type", "cpu") != "cpu"
    except Exception:  # a foreign object's own code
        return False
