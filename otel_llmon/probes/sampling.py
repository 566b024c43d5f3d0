"""One thread that samples for all phases that ask for it, and rests while none does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from otel_llmon import telemetry
from otel_llmon.errors import NoDataError
from otel_llmon.events import errors

EVERY = 0.1
"""Seconds between two samples. NVML's utilisation is a mean over 1/6 s and more, and its calls share a lock."""
IDLE = 10.0
"""Seconds without a phase after which the thread ends."""
REST = 60.0, 3600.0
"""Seconds until a source that failed is tried again: at first, and at most; each time twice as long."""

SampleT_contra = TypeVar("SampleT_contra", contravariant=True)
AnyT = TypeVar("AnyT")


class Window(Protocol[SampleT_contra]):
    """What a phase keeps of the samples that are taken while it runs."""

    def take(self, sample: SampleT_contra) -> None:
        """Take one in."""


class Beat(Generic[AnyT]):
    """`connect` is called in the thread, and returns what takes a sample: neither may cost the phase its time."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Callable[[], AnyT]],
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._connect = connect
        self._every = every
        self._clock = clock
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._windows: dict[int, Window[AnyT]] = {}
        self._thread: threading.Thread | None = None
        self._rest = REST[0]
        self._not_before = 0.0

    def resting(self) -> bool:
        """Tell whether there will be no samples, because the source failed a while ago."""
        return self._thread is None and self._clock() < self._not_before

    def begin(self, window: Window[AnyT]) -> None:
        """Let `window` take samples from now on."""
        with self._lock:
            self._windows[id(window)] = window
            self._wake.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"llmon-{self._name}", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # Python 3.12.0 and 3.12.1 start none at exit
                    self._thread = None

    def end(self, window: Window[AnyT]) -> None:
        """Let it take no more."""
        with self._lock:
            self._windows.pop(id(window), None)
            if not self._windows:
                self._wake.clear()

    def _run(self) -> None:
        try:
            sample = self._connect()
            while self._wake.wait(IDLE) or not self._leave():
                found = sample()
                self._rest = REST[0]
                with self._lock:
                    for window in self._windows.values():
                        window.take(found)
                time.sleep(self._every)
        except BaseException as exc:  # the guard around foreign code
            self._give_up(exc)

    def _leave(self) -> bool:
        """End the thread, unless somebody has come."""
        with self._lock:
            if not self._windows:
                self._thread = None
            return self._thread is None

    def _give_up(self, exc: BaseException) -> None:
        with self._lock:
            self._thread = None
            self._not_before = self._clock() + self._rest
            self._rest = min(2 * self._rest, REST[1])
        if isinstance(exc, NoDataError):
            telemetry.log.info("probe %s: %s", self._name, exc)
            return
        errors.at(f"probe.{self._name}").add()
        telemetry.warn_once("probe %s: %s: %s; its attributes are left out", self._name, type(exc).__name__, exc)
