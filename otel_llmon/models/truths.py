"""What predictions came to: counted against their truth at once, or when it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_llmon import telemetry
from otel_llmon.metering import values
from otel_llmon.models import lanes
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

    def __len__(self) -> int:
        return len(self._waiting)

    def forget(self) -> None:
        """Wait for nothing, as a forked child does."""
        self._waiting.forget()
        if self._performance is not None:
            self._performance.forget()

    def wait(self, id: Any, prediction: Any) -> None:  # noqa: A002  # as everywhere here
        """Keep a prediction until its truth is told."""
        gone = self._waiting.put(id, self._classes.kept(prediction))
        if gone:
            lanes.outcome(self._model, lanes.DROPPED, gone)
            telemetry.warn_once(
                f"model %r: more than {self._waiting.most} predictions wait for their truth, or two"
                " of one id: the older ones are only counted; most_waiting= says how many wait",
                self._model[0],
            )

    def tell(self, id: Any, truth: Any, prediction: Any) -> dict[str, Any]:  # noqa: A002  # likewise
        """Count the truth of an earlier prediction, the one that waits or this; return what its record says."""
        kept = self._waiting.take(id)
        prediction = kept if prediction is None else prediction
        lanes.outcome(self._model, lanes.UNKNOWN if prediction is None else lanes.JOINED)
        facts = self.settle(prediction, truth)
        return {"id": id, "prediction": self._classes.of(prediction).sent, **facts}

    def settle(self, prediction: Any, truth: Any) -> dict[str, Any]:
        """Count a prediction whose truth is known; return what its record says of it."""
        said, true = self._classes.alike(prediction, truth)
        if said.number is not None:
            return self._settle_number(said.number, truth)
        if true.label is None:
            true = self._classes.label(truth)
        if said.label is None or true.label is None:
            if not isinstance(truth, str):
                self._refuse("truth", f"found {_shown(truth)}, expected a class, as is predicted")
            return {"truth": true.sent}
        lanes.label(self._model, said.label, true.label)
        right = said.sent == true.sent
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
    return values.shown(value) if isinstance(value, float) else type(value).__name__
