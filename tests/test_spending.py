"""What work used becomes metrics: by phase and pipeline, with what it costs by the prices in the settings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from otel_llmon import efficiency, phase, pipeline, telemetry
from otel_llmon.prices import Prices, TokenPrice

PRICES = Prices(cpu_hour=3.6, gpu_hour=7.2, memory_gb_hour=3.6, kwh=0.36, models={"parrot": TokenPrice(2, 10)})
INGEST = {"llmon.phase": "embed", "llmon.pipeline": "ingest"}


@pytest.fixture
def priced(monkeypatch):
    """Prices as the settings would bring them."""
    monkeypatch.setattr(telemetry.state, "prices", PRICES)
    monkeypatch.setattr(telemetry.state, "carbon_intensity", 360.0)


def costs(recorder):
    """Dollars by resource."""
    return {point.attributes["llmon.resource"]: point.value for point in recorder.points().get("llmon.cost", [])}


def test_what_is_spent_counts_for_the_phase_that_runs(recorder, priced):
    """Times, memory, energy, CO2 and cost add up over calls."""
    with pipeline("ingest"), phase("embed"):
        efficiency.spend(cpu=2, gpu=1, memory=5e8, energy=500)
        efficiency.spend(cpu=3, memory=5e8, energy=500)
    assert recorder.value("llmon.resource.time", {"llmon.resource": "cpu", **INGEST}) == 5
    assert recorder.value("llmon.resource.time", {"llmon.resource": "gpu", **INGEST}) == 1
    assert recorder.value("llmon.resource.memory", INGEST) == 1e9
    assert recorder.value("llmon.resource.energy", INGEST) == 1000
    assert recorder.value("llmon.resource.carbon", INGEST) == pytest.approx(0.1)
    assert costs(recorder) == pytest.approx({"cpu": 0.005, "gpu": 0.002, "memory": 0.001, "energy": 0.0001})


def test_a_phase_can_be_named(recorder):
    """As for work that was measured elsewhere; it has no price here, so no cost."""
    efficiency.spend(gpu=np.float32(1.5), phase="remote")
    assert recorder.value("llmon.resource.time", {"llmon.resource": "gpu", "llmon.phase": "remote"}) == 1.5
    assert "llmon.cost" not in recorder.points()
    assert "llmon.resource.carbon" not in recorder.points()


@pytest.mark.parametrize("amount", [-1, math.nan, math.inf, "much", True])
def test_what_is_no_amount_is_refused_and_counted(recorder, priced, amount):
    """The others of the same call count."""
    efficiency.spend(cpu=amount, energy=amount, gpu=1)
    points = recorder.points()
    assert [point.value for point in points["llmon.resource.time"]] == [1]
    assert "llmon.resource.energy" not in points
    assert sum(point.value for point in points["llmon.self.refused"]) == 2
    assert costs(recorder).keys() == {"gpu"}


def test_a_models_price_is_found_by_who_answered_or_who_was_asked(recorder, priced):
    """Providers answer with a dated name; the cost goes by the name that was asked for."""
    place = ("ingest", "embed")
    efficiency.charge_tokens("parrot", "parrot-2026", {"input": 1000, "output": 100, "cached": None}, place)
    efficiency.charge_tokens("alias", "parrot", {"input": 1000, "output": 0}, place)
    efficiency.charge_tokens("owl", "owl-1", {"input": 1000, "output": 100}, place)
    efficiency.charge_tokens("parrot", None, {"input": None, "output": None}, place)
    found = {
        (point.attributes["gen_ai.request.model"], point.attributes["llmon.resource"]): point.value
        for point in recorder.points()["llmon.cost"]
    }
    assert found == pytest.approx(
        {
            ("parrot", "input_tokens"): 0.002,
            ("parrot", "output_tokens"): 0.001,
            ("alias", "input_tokens"): 0.002,
            ("alias", "output_tokens"): 0,
        }
    )


def test_a_score_is_reported_with_its_parts_and_weights(recorder):
    """What is not known takes no part, and later is no longer reported."""
    with pipeline("ingest"):
        efficiency.score({"utilization": 0.5, "success": 1.0, "throughput": 0.8})
        points = recorder.points()
        by_part = {
            name: {point.attributes["llmon.part"]: point.value for point in points[f"llmon.efficiency.{name}"]}
            for name in ("part", "weight")
        }
        recombined = sum(by_part["part"][part] * by_part["weight"][part] for part in by_part["part"])
        assert len(by_part["part"]) == 3
        assert recorder.value("llmon.efficiency.score", {"llmon.pipeline": "ingest"}) == pytest.approx(recombined)
        assert efficiency.score({"utilization": 0.5, "success": None}).value == 0.5
    assert recorder.value("llmon.efficiency.score", {"llmon.pipeline": "ingest"}) == 0.5
    assert [point.attributes["llmon.part"] for point in recorder.points()["llmon.efficiency.part"]] == ["utilization"]


def test_conveyance_is_reported_with_its_parts(recorder, monkeypatch):
    """Alpha comes from the settings, context from its components."""
    monkeypatch.setattr(telemetry.state, "conveyance_alpha", 2.0)
    found = efficiency.conveyance(0.8, 0.5, 1.0, 4.0, {"L": 1.0, "I": 0.0}, phase="answer")
    assert found.value == pytest.approx(0.025)
    place = {"llmon.phase": "answer"}
    parts = {part: recorder.value(f"llmon.conveyance.{part}", place) for part in ("w", "r", "h", "t", "ctx", "alpha")}
    assert parts == {"w": 0.8, "r": 0.5, "h": 1.0, "t": 4.0, "ctx": 0.5, "alpha": 2.0}
    assert recorder.value("llmon.conveyance", place) == found.value
    assert recorder.value("llmon.conveyance.context", {"llmon.component": "L", **place}) == 1


def test_a_mistake_is_said_once_and_reports_nothing(recorder, caplog):
    """No time, an unknown part: the program goes on."""
    for _ in range(2):
        assert efficiency.conveyance(1, 1, 1, 0) is None
        assert efficiency.score({"speed": 1}) is None
    assert not {name for name in recorder.points() if name.startswith(("llmon.conveyance", "llmon.efficiency"))}
    assert caplog.messages == [
        "conveyance: T: found 0.0, expected seconds above 0; not reported",
        "efficiency: part 'speed': expected one of utilization, success, throughput; not reported",
    ]


def test_a_wrong_type_is_said_at_the_call():
    """With the name of the part."""
    with pytest.raises(TypeError, match="T: found 'soon', expected a number"):
        efficiency.conveyance(1, 1, 1, "soon")
    with pytest.raises(TypeError, match="part 'success': found 'high', expected a number"):
        efficiency.score({"success": "high"})


def test_nothing_is_reported_at_level_disabled(recorder, priced, monkeypatch):
    """What is computed for the caller is computed all the same."""
    monkeypatch.setattr(telemetry.state, "level", telemetry.DISABLED)
    efficiency.spend(cpu=1)
    assert efficiency.conveyance(1, 1, 1, 1).value == 1
    assert efficiency.score({"success": 1.0}).value == 1
    assert recorder.points().keys() <= {"llmon.self.series"}


@pytest.mark.parametrize("parts", [None, 3, "utilization"])
def test_a_score_of_what_are_no_parts_is_refused_at_the_call(parts):
    """It is no wrong part: nothing can be told of it."""
    with pytest.raises(TypeError, match=f"score: found {type(parts).__name__}, expected a mapping"):
        efficiency.score(parts)
