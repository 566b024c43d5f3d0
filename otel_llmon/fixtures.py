"""The pytest fixtures `llmon_recorder` and `llmon_clock`. pytest loads this at its start; we load the rest on use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from otel_llmon.testing import Clock, Recorder


@pytest.fixture
def llmon_recorder() -> Iterator[Recorder]:
    """Spans, metrics and logs in memory, for the length of a test."""
    from otel_llmon.testing import Recorder

    with Recorder() as recorder:
        yield recorder


@pytest.fixture
def llmon_clock() -> Iterator[Clock]:
    """The clock that phases read, standing still until the test moves it."""
    from otel_llmon import telemetry
    from otel_llmon.testing import Clock

    before, telemetry.state.clock = telemetry.state.clock, Clock()
    try:
        yield telemetry.state.clock
    finally:
        telemetry.state.clock = before
