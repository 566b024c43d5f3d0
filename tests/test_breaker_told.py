"""What a breaker exports, and what it says to the caller."""

from __future__ import annotations

import pickle

import pytest
from circuit import fail, transitions, work

from otel_llmon import Breaker, phase, telemetry
from otel_llmon.errors import CircuitOpenError, LlmonError


def states(recorder):
    """What the gauge says of each state."""
    points = recorder.points().get("llmon.circuit.state", [])
    return {
        point.attributes["llmon.state"]: point.value
        for point in points
        if point.attributes["llmon.circuit"] == "ollama"
    }


@pytest.mark.row("H15")
def test_state_and_transitions_are_exported(breakers, recorder, clock):
    """A gauge with a series per state, a counter by the state that was come to, and one of refused calls."""
    breaker = breakers()
    assert states(recorder) == {"closed": 1, "half_open": 0, "open": 0}
    fail(breaker)
    assert states(recorder) == {"closed": 0, "half_open": 0, "open": 1}
    for _ in range(2):
        with pytest.raises(CircuitOpenError), breaker:
            pass
    assert recorder.value("llmon.circuit.refused", {"llmon.circuit": "ollama"}) == 2
    clock.now += 30
    with breaker:
        assert states(recorder) == {"closed": 0, "half_open": 1, "open": 0}
    assert states(recorder) == {"closed": 1, "half_open": 0, "open": 0}
    assert transitions(recorder) == {"open": 1, "half_open": 1, "closed": 1}


@pytest.mark.row("H15")
def test_a_change_is_an_event_on_the_span_and_a_log_record(breakers, llmon_recorder, clock):
    """With the state that it came to, and what opened it."""
    breaker = breakers()
    with phase("ask"):
        fail(breaker)
        clock.now += 30
        work(breaker)
    facts = [
        {"llmon.circuit": "ollama", "llmon.state": "open", "error.type": "TimeoutError"},
        {"llmon.circuit": "ollama", "llmon.state": "half_open"},
        {"llmon.circuit": "ollama", "llmon.state": "closed"},
    ]
    span = llmon_recorder.spans()["ask"]
    assert [(each.name, dict(each.attributes)) for each in span.events] == [
        ("llmon.circuit.transition", each) for each in facts
    ]
    records = llmon_recorder.logs()
    assert [dict(record.attributes) for record in records] == facts
    assert [record.severity_text for record in records] == ["WARN", "INFO", "INFO"]
    assert {record.span_id for record in records} == {span.context.span_id}


def test_breakers_of_one_name_say_the_worst(breakers, recorder):
    """Two workers' clients of one target: closed and open is open."""
    one, other = breakers(), breakers()
    fail(one)
    assert states(recorder)["open"] == 1
    assert other.state == "closed"


def test_a_breaker_that_is_gone_reports_no_state(recorder):
    """Its series ends."""
    gone = Breaker("gone")

    def names():
        return {point.attributes["llmon.circuit"] for point in recorder.points().get("llmon.circuit.state", [])}

    assert "gone" in names()
    del gone
    assert "gone" not in names()


def test_disabled_it_works_and_says_nothing(breakers, llmon_recorder, monkeypatch):
    """A breaker is more than telemetry."""
    monkeypatch.setattr(telemetry.state, "level", telemetry.DISABLED)
    breaker = breakers()
    fail(breaker)
    with pytest.raises(CircuitOpenError), breaker:
        pass
    assert llmon_recorder.logs() == []
    assert not [name for name, points in llmon_recorder.points().items() if "circuit" in name and points]


def test_a_refusal_says_who_and_for_how_long(breakers, clock):
    """It is one of ours, and survives the way from a worker process."""
    breaker = breakers(recovery=12)
    fail(breaker)
    clock.now += 1.5
    with pytest.raises(LlmonError) as refused, breaker:
        pass
    error = pickle.loads(pickle.dumps(refused.value))
    assert (error.name, error.retry_after) == ("ollama", 10.5)
    assert str(error) == (
        "circuit 'ollama': open for another 10.5 s; call again then, or call another target (first_up)"
    )
