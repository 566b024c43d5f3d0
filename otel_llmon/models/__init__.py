"""ModelMonitor: what a model in service says, how sure it is, how right it was, and whether its inputs have changed.

`log()` counts in place and keeps rows for those who watch them in blocks. It raises nothing: what cannot be taken is
counted in `llmon.prediction.violations`, and told once.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from otel_llmon import metering, telemetry
from otel_llmon.errors import SettingsError
from otel_llmon.events import errors
from otel_llmon.metering import Reading, cells, values
from otel_llmon.metering.leaving import Left
from otel_llmon.models import lanes, parts, watchers
from otel_llmon.models.classes import NOTHING, Classes, Found, number_of
from otel_llmon.models.records import OUTCOME, PREDICTION, Privacy, Records
from otel_llmon.models.reports import ModelReport
from otel_llmon.models.truths import Truths
from otel_llmon.scores import given
from otel_llmon.telemetry import state

if TYPE_CHECKING:
    from otel_llmon.models.performing import Measure
    from otel_llmon.models.rows import Rows
    from otel_llmon.models.watching import Told
    from otel_llmon.scores.drift import Limits
    from otel_llmon.scores.quality import Checks, Wanted
    from otel_llmon.scores.reference import Reference
    from otel_llmon.scores.surprise import Surprise

SOURCE = "prediction"
OF_PREDICTION, OF_CONFIDENCE = "@prediction", "@confidence"
"""Columns of a reference that are no features: what the model said, and how sure it was."""

_monitors: weakref.WeakSet[ModelMonitor] = weakref.WeakSet()
_left: Left[Rows] = Left()
"""Rows of monitors that are gone."""


class ModelMonitor:
    """Watches a model: `log()` or `log_batch()` each prediction, and tell `outcome()` once its truth is known.

    `reference` is what its inputs looked like when all was well, or the file that holds it; a column `@prediction` in
    it is what it predicted. `sample_rate` is the share of predictions with a log record; metrics see all. Features
    leave only as `send_features` says: names, or True for all but texts, and for categories that the reference has;
    `hash_features` as a hash, which `hash_key` makes the same in all processes. `task` is "classification" or
    "regression" where the predictions do not tell: floats are numbers, everything else is a class. `classes` names
    those that metrics tell apart, in the order in which probabilities come; without it the first `most_classes` are.
    As many predictions as `most_waiting` wait for their truth. `checks` are QualityWatch's, `window`, `limits`,
    `weights` and `top` DriftWatch's: every `window` rows are judged. `baseline` is the share of right answers, or
    the mean error, that the model had once.

    Raises SettingsError for what cannot be meant, and for a reference of another model or version; CheckError for a
    check.
    """

    __slots__ = (
        "__weakref__", "_classes", "_key", "_names", "_nothing", "_own", "_records", "_refuse", "_rows", "_said",
        "_truths", "drift", "quality", "reference",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913  # as many as there are choices
        self,
        name: str,
        version: str | None = None,
        reference: Reference | str | os.PathLike[str] | None = None,
        *,
        task: str | None = None,
        classes: Collection[Any] = (),
        most_classes: int = 20,
        sample_rate: float = 1.0,
        send_features: bool | Collection[str] = False,
        hash_features: Collection[str] = (),
        hash_key: str | bytes | None = None,
        most_waiting: int = 100_000,
        checks: Checks | Wanted | None = None,
        window: int = 1000,
        limits: Limits | None = None,
        weights: Mapping[str, float] | None = None,
        top: int = 20,
        baseline: Measure | None = None,
    ) -> None:
        _hand_over_left()
        self._key = (_text("name", name), None if version is None else _text("version", version))
        self._refuse = partial(lanes.refuse, self._key)
        given.whole(window=window, top=top)
        self.reference = watchers.reference_of(self._key, reference)
        self._classes = Classes(task, most_classes, classes)
        privacy = Privacy(send_features, hash_features, hash_key, self.reference)
        who = dict(zip(("model", "version"), self._key, strict=True))
        self._records = Records(who, sample_rate, privacy, self._refuse)
        known = () if self.reference is None else tuple(feature.name for feature in self.reference.features)
        self._own = tuple(name for name in (OF_PREDICTION, OF_CONFIDENCE) if name in known)
        self._names = tuple(name for name in known if name not in self._own)
        self._nothing: Mapping[Any, Any] | None = {} if self._own and not self._names else None
        """The features of a prediction that has none: where the reference has some, nothing is known of that row."""
        numbers = self.reference is not None and OF_PREDICTION in self.reference.numeric
        self._said = number_of if numbers else attrgetter("sent")
        self.drift = watchers.drift_of(self._key, self.reference, window, limits, weights, top)
        self.quality = watchers.quality_of(self._key, self.reference, checks, window, top)
        self._rows = watchers.rows_of(self.reference, self.drift, self.quality, window)
        performance = watchers.performance_of(self.drift, baseline, window)
        self._truths = Truths(self._key, self._classes, most_waiting, performance, self._refuse)
        with cells.lock:
            _monitors.add(self)
        if self._rows is not None:
            _left.hold(self, self._rows)

    @property
    def name(self) -> str:
        """The model's name."""
        return self._key[0]

    @property
    def version(self) -> str | None:
        """The model's version."""
        return self._key[1]

    def log(  # noqa: PLR0913, PLR0917  # what there is to say of a prediction
        self,
        features: Any,
        prediction: Any,
        proba: Any = None,
        truth: Any = None,
        latency: Any = None,
        id: Any = None,  # noqa: A002  # what people call it
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Take note of one prediction.

        `features` by name, or in the reference's order; None where they are nobody's business. `proba` is how sure the
        model is: a number from 0 to 1, or one for each class. `latency` is in seconds, or a timedelta. With an `id`,
        the truth may be told later. An array or a list of one value is that value; None and NaN are none.
        """
        if not state.level:
            return
        try:
            self._log(features, prediction, proba, truth, latency, id, metadata)
        except Exception as exc:  # a foreign object's own code must not reach the caller's work
            self._fail(exc)

    def _log(  # noqa: PLR0913, PLR0917  # as log()
        self, features: Any, prediction: Any, proba: Any, truth: Any, latency: Any, one: Any, metadata: Any
    ) -> None:
        found = self._classes.of(prediction)
        if found is NOTHING:
            parts.refuse_prediction(prediction, self._refuse)
        facts = self._measure(found, proba, latency)
        if one is not None:
            facts["id"] = one = parts.key(one, self._refuse)
        if truth is not None and (truth := self._truths.known(truth)) is not None:
            facts |= self._truths.settle(self._classes.kept(prediction, found), truth)
        elif one is not None:
            self._truths.wait(one, self._classes.kept(prediction, found))
        if features is not None and type(features) is not dict:
            features = parts.named(features, self._names, self._refuse)
        watched = self._nothing if features is None else features
        surprise = None if watched is None else self._look(watched, found, facts["confidence"])
        if self._records.chosen(one):
            self._records.send(PREDICTION, facts, features, metadata)
        if surprise is not None:
            lanes.anomaly(self._key)
            self._records.anomaly(surprise, one, found)

    def _look(self, features: Mapping[Any, Any], found: Found, confidence: float | None) -> Surprise | None:
        """Hand the features to those who watch them; return what is surprising."""
        if self._rows is None:
            return None
        try:
            return self._rows.add({**features, **self._of_own(found, confidence)} if self._own else features)
        except Exception as exc:  # as in log(), and of these only
            self._refuse("features", f"found values that raised {type(exc).__name__}")
            return None

    def _measure(self, found: Found, proba: Any, latency: Any) -> dict[str, Any]:
        """Count a prediction, how sure it is and how long it took; return what its record says of that."""
        lane, span = lanes.lane(self._key), _span()
        lanes.count(self._key, found.label)
        confidence = seconds = None
        if (
            proba is not None
            and (confidence := parts.confidence(proba, found, self._classes, self._refuse)) is not None
        ):
            lane.confidence.record(confidence, span)
        if latency is not None and (seconds := parts.seconds(latency, self._refuse)) is not None:
            lane.duration.record(seconds, span)
        return {"prediction": found.sent, "confidence": confidence, "duration": seconds}

    def log_batch(  # noqa: PLR0913, PLR0917  # as log()
        self,
        features: Any,
        prediction: Any,
        proba: Any = None,
        truth: Any = None,
        latency: Any = None,
        id: Any = None,  # noqa: A002
        metadata: Any = None,
    ) -> None:
        """Take note of many predictions: each argument is a column of what `log()` takes, `features` a table.

        One number as `latency` is what every prediction of the batch took; one mapping as `metadata` belongs to all. A
        truth that is None or NaN is not known yet.
        """
        if not state.level:
            return
        told = {"prediction": prediction, "proba": proba, "truth": truth, "latency": latency}
        try:
            from otel_llmon.models import batches  # which loads NumPy

            batches.take(self, features, {**told, "id": id, "metadata": metadata}, _span())
        except Exception as exc:  # as in log()
            self._fail(exc)

    def outcome(self, id: Any, truth: Any, prediction: Any = None) -> None:  # noqa: A002  # as in log()
        """Tell the truth of an earlier prediction: an event that carries its id, and a count where it is known here.

        `prediction` is what was predicted, for a process that did not predict it, or long ago.
        """
        if not state.level:
            return
        try:
            one = parts.key(id, self._refuse)
            if one is None:
                self._refuse("id", f"found {type(id).__name__}, expected the id of a prediction")
            facts = self._truths.tell(one, truth, prediction)
            if facts is not None and self._records.chosen(one):
                self._records.send(OUTCOME, facts)
        except Exception as exc:  # as in log()
            self._fail(exc)

    def watch(self, function: Any = None, *, told: Told | None = None, batch: bool = False) -> Any:
        """Return a function that predicts, or a coroutine, with each call logged: `@monitor.watch`, or with options.

        Its first argument is the features, what it returns the prediction. Where it returns more, `told` is called with
        that, and says it in the words of `log()`: `told=lambda result: {"prediction": result[0], "proba": result[1]}`.
        With `batch` both are columns. A call that raises is counted as a failure, and raises. Raises TypeError for what
        cannot be watched.
        """
        from otel_llmon.models.watching import watched

        if told is not None and not callable(told):
            raise TypeError(f"model {self.name!r}: told={told!r}: expected a function of what was returned")
        if function is None:
            return lambda function: watched(self, function, told, batch=batch)
        return watched(self, function, told, batch=batch)

    def report(self) -> ModelReport:
        """Return the numbers of this model and version in this process, the same as are exported."""
        self.flush()
        drift = None if self.drift is None else self.drift.last
        quality = self.quality and self.quality.report()
        return lanes.report(self._key, len(self._truths), self._classes.unnamed, drift, quality)

    def flush(self) -> None:
        """Hand the rows that wait to those who watch them."""
        if self._rows is not None:
            self._rows.flush()

    # what a prediction is made of

    def _fail(self, exc: Exception) -> None:
        """Count what was lost to an error of somebody's code, and tell the first one, without what it says."""
        errors.at(SOURCE).add()
        once = f"model {self.name!r}: not reported: ".replace("%", "%%")
        telemetry.warn_once(once + "%s", type(exc).__name__)

    def _count_failure(self, error: str) -> None:
        lanes.fail(self._key, error)

    def _of_own(self, found: Found, confidence: float | None) -> dict[str, Any]:
        own = {OF_PREDICTION: self._said(found), OF_CONFIDENCE: confidence}
        return {name: own[name] for name in self._own}

    def _after_fork(self) -> None:
        """Go on in a child without what is its parent's."""
        self._truths.forget()
        self._records.renew()
        if self._rows is not None:
            self._rows.forget()


def _span() -> trace.Span | None:
    span = trace.get_current_span()
    return None if span is trace.INVALID_SPAN else span


def _text(what: str, given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise SettingsError(f'model {what}={given!r}: expected text: ModelMonitor("churn", "1.2.0")')
    return values.text(given)


def _hand_over_left() -> None:
    for rows in _left.taken():
        rows.flush()


def _settle(*, last: bool) -> None:  # noqa: ARG001  # as of all settlers
    _hand_over_left()
    for monitor in list(_monitors):
        monitor.flush()


telemetry.settlers.append(_settle)
metering.before_collection.append(partial(_settle, last=False))


def _wait_readings() -> list[Reading]:
    """Read at collection how many wait; of several monitors of one model the sum."""
    return lanes.waiting((monitor._key, len(monitor._truths)) for monitor in list(_monitors)) if state.level else []


lanes.waits.sources["monitors"] = _wait_readings


def _after_fork() -> None:
    _left.forget()
    for monitor in list(_monitors):
        monitor._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
