"""Fixtures: telemetry in memory through both histogram routes, and a clock that moves when told."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import chromium, stage, visit  # noqa: F401  # fixtures of the page's tests
from circuit import breakers  # noqa: F401  # the fixture of breakers' tests
from gpus import GPUs
from hypothesis import HealthCheck, settings
from processes import Program
from sink import Sink

from otel_llmon import metering, telemetry
from otel_llmon.semconv import Metric
from otel_llmon.testing import Clock, Recorder
from otel_llmon.viewer import Viewer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what only a person asks for."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the files that tests compare with")


def pytest_configure() -> None:
    """Let programs of the tests be interrupted: one started in a shell's background would have them ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """A function that compares text with a file of tests/golden, or writes it there with --update-golden."""

    def compare(name: str, text: str) -> None:
        file = Path(__file__).parent / "golden" / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8"), "changed on purpose? run: make test ARGS=--update-golden"

    return compare


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    """Each test hears what is said once."""
    telemetry._told.clear()


@pytest.fixture
def clock(llmon_clock: Clock) -> Clock:
    """The clock that phases read."""
    return llmon_clock


@pytest.fixture(params=["binned", "plain"])
def recorder(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """Telemetry in memory, once with our exporter wrapper and once without."""
    with Recorder(plain=request.param == "plain") as recorder:
        yield recorder


@pytest.fixture
def rows() -> Iterator[type[Rows]]:
    """Rows of the tests' own, with instruments that are gone afterwards."""
    before = dict(metering.instruments)
    yield Rows
    metering.instruments.clear()
    metering.instruments.update(before)


class Rows:
    """One row of each kind."""

    counter = Metric("llmon.test.counter", "counter", "{thing}", "Things.", ("a", "b", "c"), cap=5)
    updown = Metric("llmon.test.updown", "updowncounter", "{thing}", "Things now.", ("a",))
    gauge = Metric("llmon.test.gauge", "gauge", "1", "A thing.", ("a",))
    histogram = Metric("llmon.test.histogram", "histogram", "s", "How long.", ("a", "b"), (1.0, 2.0, 5.0))
    bare = Metric("llmon.test.bare", "counter", "{thing}", "Things without attributes.")


@pytest.fixture
def sink() -> Iterator[Sink]:
    """An OTLP/HTTP server that takes everything."""
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture
def program(tmp_path: Path, sink: Sink) -> Program:
    """A program to run as a process of its own: see Program."""
    return Program(tmp_path, sink.endpoint)


@pytest.fixture
def gpus(tmp_path: Path) -> GPUs:
    """NVIDIA's library as a script has it, for programs: `program(..., **gpus.environ)`."""
    made = GPUs(tmp_path / "gpus")
    made.install()
    return made


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Viewer]:
    """The embedded viewer, with a folder of its own."""
    with Viewer(tmp_path / "viewer", ("127.0.0.1", 0), ("127.0.0.1", 0)) as viewer:
        yield viewer
