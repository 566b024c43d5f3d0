"""What predictions came to: counted against their truth at once, or when it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_llmon import telemetry
from otel_llmon.metering import values
from otel_llmon.models import lanes
from otel_llmon.models.classes import ANOTHER, NOTHING
from otel_llmon.models.converting import absent, single
from otel_llmon.models.parts import guarded, refuse_prediction
from otel_llmon.models.waiting import Waiting

if TYPE_CHECKING:
    from otel_llmon.models.classes import Classes
    from otel_llmon.models.parts import Refuse
    from otel_llmon.models.performing import Performance


class Truths:
    """The truths of one model's predictions, `most` of which wait for theirs."""

    def __init__(
        self, model: lanes.Model, classes: Classes, most: int, performance: Performance | None, refuse: Refuse
    ) -> None:
        self._model, self._classes, self._performance, self._refuse = model, classes, performance, refuse
        self._waiting = Waiting(most)

    def known(self, truth: Any, *, wanted: bool = False) -> Any:
        """Return a truth as a plain value; None where it is none, or is not known yet, which is no truth to be told."""
        return guarded("truth", self._refuse, lambda told: self._known(told, wanted=wanted), truth)

    def _known(self, truth: Any, *, wanted: bool) -> Any:
        found = single(truth)
        none = absent(found)
        if not none and self._classes.of(found) is not NOTHING:
            return found
        if wanted or not none:
            self._refuse("truth", f"found {_shown(truth)}, expected a class or a finite number")
        return None

    def __len__(self) -> int:
        return len(self._waiting)

    def forget(self) -> None:
        """Wait for nothing, as a forked child does."""
        self._waiting.forget()
        if self._performance is not None:
            self._performance.forget()

    def wait(self, id: Any, kept: Any) -> None:  # noqa: A002  # as everywhere here
        """Keep a prediction, as its class or number only, until its truth is told."""
        gone = self._waiting.put(id, kept)
        if gone:
            lanes.outcome(self._model, lanes.DROPPED, gone)
            telemetry.warn_once(
                f"model %r: more than {self._waiting.most} predictions wait for their truth, or two"
                " of one id: the older ones are only counted; most_waiting= says how many wait",
                self._model[0],
            )

    def tell(self, id: Any, truth: Any, prediction: Any) -> dict[str, Any] | None:  # noqa: A002  # likewise
        """Count the truth of an earlier prediction, the one that waits or this; return what its record says.

        None where no truth is told: that prediction waits on.
        """
        known = self.known(truth, wanted=True)
        if known is None:
            return None
        kept = None if prediction is None else self._said(prediction)
        waiting = None if id is None else self._waiting.take(id)
        kept = waiting if kept is None else kept
        lanes.outcome(self._model, lanes.UNKNOWN if kept is None else lanes.JOINED)
        facts = {"truth": self._classes.of(known).sent} if kept is None else self.settle(kept, known)
        return {"id": id, "prediction": self._classes.of(kept).sent, **facts}

    def _said(self, prediction: Any) -> Any:
        """Return what was predicted as it would have waited; None where it can be nothing."""
        found = self._classes.of(prediction)
        if found is not NOTHING:
            return self._classes.kept(prediction, found)
        refuse_prediction(prediction, self._refuse)
        return None

    def settle(self, kept: Any, truth: Any) -> dict[str, Any]:
        """Count a prediction whose truth is known; return what its record says of it.

        Both are plain values: as `Classes.kept()` and `known()` return them.
        """
        said, true = self._classes.alike(kept, truth)
        if said.number is not None:
            return self._settle_number(said.number, truth)
        if true.label is None:
            true = self._classes.label(truth)
        if said.label is None or true.label is None:
            return {"truth": true.sent}
        right = said.sent == true.sent
        lanes.label(self._model, said.label, true.label if right or said.label != true.label else ANOTHER)
        if self._performance is not None:
            self._performance.right(right=right)
        return {"truth": true.sent, "correct": right}

    def _settle_number(self, said: float, truth: Any) -> dict[str, Any]:
        true = self._classes.number(truth)
        missed = None if true.number is None else lanes.miss(self._model, said - true.number)
        if missed is None:
            self._refuse("truth", f"found {_shown(truth)} for a predicted number, expected a finite one")
            return {}
        if self._performance is not None:
            self._performance.miss(missed)
        return {"truth": true.sent, "error": missed}


def _shown(value: Any) -> str:
    return "None" if value is None else values.shown(value) if type(value) is float else type(value).__name__
