"""training(): a run that learns, step by step: its losses, its pace, where its time went, its end."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Mapping
from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from otel_llmon import jobs, metering, quantities, telemetry
from otel_llmon.carrying import continued, inject
from otel_llmon.events import event
from otel_llmon.goodput import CHECKPOINT, OTHER, PRODUCTIVE, Goodput, Productive
from otel_llmon.metering import values
from otel_llmon.metering.cells import LARGEST, CountSeries
from otel_llmon.outcomes import CANCELLATION, FAILURE, SUCCESS, outcome
from otel_llmon.phases import phase
from otel_llmon.pipelines import pipeline
from otel_llmon.quantities import ACCURACY, LOSS, NORM, RATE, TRAIN
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import training as rows
from otel_llmon.telemetry import error_type, state

if TYPE_CHECKING:
    from otel_llmon.reports import Report

_epoch = metering.Gauge(rows.TRAINING_EPOCH)
_checkpoints = metering.Counter(rows.TRAINING_CHECKPOINTS)
_jobs = metering.Counter(rows.TRAINING_JOBS)
_on_spans = {
    LOSS: rows.TRAINING_LOSS,
    ACCURACY: rows.TRAINING_ACCURACY,
    RATE: rows.TRAINING_RATE,
    NORM: rows.TRAINING_NORM,
}

_open: dict[int, Training] = {}


def training(name: str, model: str | None = None, attributes: Mapping[str, Any] | None = None) -> Training:
    """Return a training run, as a context manager: a pipeline of this name that counts its steps and tells its values.

    `model` is a label of its metrics, `attributes` are its span's.
    """
    if not state.level:
        return _OFF
    return Training(name, model, attributes)


def _text(what: str, found: object) -> str:
    if not isinstance(found, str):
        raise TypeError(f'training: {what} is a {type(found).__name__}, expected text: training("finetune", "bert")')
    return values.text(found)


class Training:
    """A training run between `__enter__` and `__exit__`.

    Its time is cut at every step, evaluation, checkpoint and epoch; what passed since the cut before is of the kind
    that ended then. So a step is told once it is done.
    """

    __slots__ = (
        "_around", "_begun", "_depth", "_job", "_key", "_pid", "_pipeline", "_started", "_time", "_values",
        "epoch_number", "running", "steps",
    )  # fmt: skip
    _values: quantities.Values
    _time: Goodput
    _started: float
    _pid: int
    _job: str | None
    _begun: contextvars.Context

    def __init__(self, name: str, model: str | None = None, attributes: Mapping[str, Any] | None = None) -> None:
        self._key = (_text("name", name), None if model is None else _text("model", model))
        self._pipeline = pipeline(name, attributes=attributes)
        self._depth = 0
        self._around: Epoch | None = None
        self.running = False
        self.steps = 0
        """Steps of `split="train"`."""
        self.epoch_number: float | None = None

    def step(  # noqa: PLR0913  # what a step has to tell
        self,
        loss: Any = None,
        *,
        lr: Any = None,
        samples: float | None = None,
        tokens: float | None = None,
        grad_norm: Any = None,
        accuracy: Any = None,
        split: str = TRAIN,
    ) -> None:
        """Say that a step is done, and what it came to.

        A value may be a number, or a scalar of NumPy or torch; one on a GPU is read later, together with others. One
        that is NaN or infinite is counted, and its gauge falls silent.
        """
        if not self.running:
            self._tell_idle("step()")
            return
        lane = quantities.lane(self._key, split)
        if lane.kind is PRODUCTIVE:
            self.steps += 1
            if (epoch := self._around) is not None:  # another thread may end it
                epoch.pass_through(samples, tokens)
        now = self._time.spend(lane.kind)
        lane.steps.add(1)
        if samples is not None:
            lane.samples.add(samples)
        if tokens is not None:
            lane.tokens.add(tokens)
        tell = self._values.tell
        if loss is not None:
            tell(lane, LOSS, loss, now)
        if lr is not None:
            tell(lane, RATE, lr, now)
        if grad_norm is not None:
            tell(lane, NORM, grad_norm, now)
        if accuracy is not None:
            tell(lane, ACCURACY, accuracy, now)

    def measure(
        self, loss: Any = None, *, lr: Any = None, grad_norm: Any = None, accuracy: Any = None, split: str = TRAIN
    ) -> None:
        """Tell values without a step: `measure(loss=..., split="validation")` is the end of an evaluation."""
        if not self.running:
            self._tell_idle("measure()")
            return
        lane = quantities.lane(self._key, split)
        now = self._time.cut if lane.kind is PRODUCTIVE else self._time.spend(lane.kind)
        for what, value in ((LOSS, loss), (RATE, lr), (NORM, grad_norm), (ACCURACY, accuracy)):
            if value is not None:
                self._values.tell(lane, what, value, now)

    def epoch(self, number: float | None = None) -> Epoch:
        """Return an epoch, as a context manager: a span, and the event `training.epoch` with what it came to.

        Without a number it is the one after the epoch before, and the first is 1.
        """
        return Epoch(self, number)

    def checkpoint(self, path: str | os.PathLike[str] | None = None, step: int | None = None) -> None:
        """Say that a checkpoint was saved: the event `checkpoint.saved`, and the time since the step before was its."""
        if not self.running:
            self._tell_idle("checkpoint()")
            return
        before = self._time.cut
        seconds = self._time.spend(CHECKPOINT) - before
        _checkpoints.at(*self._key).add()
        facts = self.facts() | {"duration": seconds, "loss": self._last(TRAIN, LOSS)}
        facts["step"] = self.steps if step is None else step
        facts["path"] = None if path is None else values.text(path)
        event("checkpoint.saved", facts)

    def productive(self) -> Productive:
        """Return a context manager: time inside is productive and, from the first one on, time outside is not."""
        return Productive(self._time if self.running else None)

    def count(self, what: str, number: float = 1) -> None:
        """Count things that the run dealt with, as a phase does."""
        self._pipeline.count(what, number)

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes to the run's span."""
        self._pipeline.set(attributes)

    def report(self) -> Report:
        """Return where the time of the run's phases went, as a pipeline does."""
        return self._pipeline.report()

    def facts(self) -> dict[str, Any]:
        """Return what every event of the run says."""
        return {"run": self._key[0], "model": self._key[1], "epoch": self.epoch_number, "step": self.steps}

    def __enter__(self) -> Self:
        self._pipeline.__enter__()
        self._depth += 1
        if self._depth == 1:
            self._values = quantities.Values(self._key, self._tell_diverged)
            self._around, self.epoch_number, self.steps = None, None, 0
            self._pid = os.getpid()
            self._time = Goodput(self._key)
            self._started = self._time.cut
            self.running = True
            for how in (SUCCESS, FAILURE):
                _jobs.at(*self._key, how).add(0)
            self._job = jobs.begin(*self._key, inject())
            self._begun = contextvars.copy_context()
            _open[id(self)] = self
            event("training.started", {"run": self._key[0], "model": self._key[1]})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        self._depth = max(self._depth - 1, 0)
        if not self._depth:
            if self._around is not None:
                self._around.__exit__(kind, error, trace_back)
            self.end(SUCCESS if error is None else outcome(error), None if error is None else error_type(error))
        self._pipeline.__exit__(kind, error, trace_back)

    def end(self, how: str, reason: str | None = None) -> None:
        """Say how the run ended; once, and not in a forked child, whose parent says it."""
        if not self.running or self._pid != os.getpid():
            return
        self.running = False
        _open.pop(id(self), None)
        self._values.settle()
        seconds = self._time.spend(OTHER) - self._started
        _jobs.at(*self._key, how).add()
        facts = self.facts() | {"duration": seconds}
        if how == SUCCESS:
            event("training.finished", facts | {what: self._last(TRAIN, what) for what in (LOSS, ACCURACY)})
        else:
            event("training.failed", facts | {"reason": reason}, "error" if how == FAILURE else "warning")
        jobs.end(self._job)

    def _last(self, split: str, what: str) -> float | None:
        return self._values.last.get((split, what))

    def _tell_idle(self, what: str) -> None:
        telemetry.warn_once("training %r: %s counts only while it runs; it is left out", self._key[0], what)

    def _tell_diverged(self, split: str, loss: float) -> None:
        event("training.diverged", self.facts() | {"split": split, "loss": values.shown(loss)}, "error")


class Epoch:
    """An epoch between `__enter__` and `__exit__`: a phase named `epoch`, and events with what it came to."""

    __slots__ = ("_number", "_phase", "_run", "_samples", "_started", "_tokens")
    _samples: CountSeries
    _tokens: CountSeries

    def __init__(self, run: Training, number: float | None) -> None:
        self._run = run
        self._number = number
        self._started: float | None = None

    def __enter__(self) -> Self:
        run = self._run
        if not run.running:
            run._tell_idle("epoch()")
            return self
        if run._around is not None:
            telemetry.warn_once("training %r: an epoch begins in another one, which ends here", run._key[0])
            run._around.__exit__(None, None, None)
        self._samples, self._tokens = CountSeries({}, _counted), CountSeries({}, _counted)
        run._around = self
        run.epoch_number = self._numbered()
        _epoch.at(*run._key).set(run.epoch_number)
        self._phase = phase("epoch", {key.EPOCH: run.epoch_number})
        self._phase.__enter__()
        run._values.settle()
        run._values.last.clear()
        self._started = run._time.spend(OTHER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        run = self._run
        if self._started is None or run._around is not self:
            return
        run._around = None
        seconds = run._time.spend(OTHER) - self._started
        run._values.settle()
        if error is None:
            self._tell(seconds)
        self._phase.__exit__(kind, error, trace_back)

    def pass_through(self, samples: float | None, tokens: float | None) -> None:
        """Count what a step went through; other runs of this name count what theirs do."""
        if samples is not None:
            self._samples.add(samples)
        if tokens is not None:
            self._tokens.add(tokens)

    def _numbered(self) -> float:
        if self._number is not None:
            number = values.number(self._number)
            if number is not None and -LARGEST <= number <= LARGEST:
                return number
            found = values.shown(self._number if number is None else number)
            run = self._run._key[0]
            telemetry.warn_once("training %r: epoch(%s): expected a number; it is the next one", run, found)
        return (self._run.epoch_number or 0) + 1

    def _tell(self, seconds: float) -> None:
        """Report the event: one for each part of the data that something is known of, that which trains first."""
        run = self._run
        splits = dict.fromkeys((TRAIN, *(split for split, _ in run._values.last)))
        for split in splits:
            known = {what: value for (part, what), value in run._values.last.items() if part == split}
            facts = run.facts() | {"split": split, "duration": seconds} | known
            if split == TRAIN:
                facts |= {"samples": self._samples.read() or None, "tokens": self._tokens.read() or None}
                self._phase.set({row.name: known[what] for what, row in _on_spans.items() if what in known})
            event("training.epoch", facts)


class _Off(Training):
    """What level `disabled` hands out: shared, and does nothing."""

    __slots__ = ()

    def step(self, *_: Any, **__: Any) -> None:
        """Count nothing."""

    def measure(self, *_: Any, **__: Any) -> None:
        """Tell nothing."""

    def epoch(self, number: float | None = None) -> Any:  # noqa: ARG002
        """Return a context manager that does nothing."""
        return _NOTHING

    def checkpoint(self, path: str | os.PathLike[str] | None = None, step: int | None = None) -> None:
        """Report nothing."""

    def productive(self) -> Any:
        """Return a context manager that does nothing."""
        return _NOTHING

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


_NOTHING = nullcontext()
_OFF = _Off("")


def died(name: str, model: str | None, how: str, reason: str, headers: Mapping[str, str]) -> None:
    """Count a job that could not say itself how it ended; `headers` are of the trace that it was in."""
    _jobs.at(values.text(name), model, how).add()
    facts = {"run": name, "model": model, "reason": reason}
    with continued(headers):
        if how == SUCCESS:
            event("training.finished", facts)
        else:
            event("training.failed", facts, "error" if how == FAILURE else "warning")


def _counted(value: Any) -> float | None:
    """Return the number in a value; what is none the metric has refused."""
    number = values.number(value)
    return number if number is not None and 0 <= number <= LARGEST else None


def _settle(*, last: bool) -> None:
    """End the runs that are still open when the process ends, by a signal for example."""
    if last:
        signal = telemetry.state.ended_by
        why = "the process ended" if signal is None else f"was ended by {signal}"
        for run in list(_open.values()):
            run._begun.run(run.end, CANCELLATION, why)  # another thread may be here, in no trace


telemetry.settlers.append(_settle)
