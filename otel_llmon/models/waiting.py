"""Predictions that wait for their truth, the oldest of which are given up when there are too many."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from otel_llmon.errors import SettingsError


class Waiting:
    """Predictions by id, `most` of them."""

    def __init__(self, most: int) -> None:
        if type(most) is not int or most < 0:
            raise SettingsError(f"most_waiting={most!r}: expected a whole number, 0 or more")
        self.most = most
        self.forget()

    def __len__(self) -> int:
        return len(self._kept)

    def forget(self) -> None:
        """Wait for nothing, as a forked child does: its parent is who predicted."""
        self._lock = threading.RLock()
        self._kept: OrderedDict[Any, Any] = OrderedDict()  # a dict finds its oldest by a walk past all that are gone

    def put(self, id: Any, prediction: Any) -> int:  # noqa: A002  # as everywhere here
        """Keep a prediction; return how many had to go, one of the same id among them."""
        with self._lock:
            gone = int(self._kept.pop(id, None) is not None)
            self._kept[id] = prediction
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
                gone += 1
        return gone

    def take(self, id: Any) -> Any:  # noqa: A002  # likewise
        """Return the prediction of this id and wait no more; None where none waits."""
        with self._lock:
            return self._kept.pop(id, None)
