"""What the test programs do: operations, each with a phase, a log record, and metrics of ours and of the SDK's."""

from __future__ import annotations

import logging
import os
import threading
import time

from opentelemetry import metrics

from otel_llmon import phase, progress

log = logging.getLogger("work")
log.setLevel(logging.INFO)
meter = metrics.get_meter("mine")
operations, seconds = meter.create_counter("mine.operations"), meter.create_histogram("mine.seconds")


def work(times: int) -> None:
    """Do `times` operations."""
    for number in progress(range(times), "operations"):
        with phase("operation", {"pid": os.getpid()}):
            log.info("operation %s", number, extra={"pid": os.getpid()})
            operations.add(1)
            seconds.record(0.1)


def work_on_and_on() -> None:
    """Do operations in another thread, for ever; fewer in a second than log records may be."""

    def again() -> None:
        while True:
            work(10)
            time.sleep(0.02)

    threading.Thread(target=again, daemon=True).start()
