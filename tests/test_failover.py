"""first_up(): the first target that is not known to be down."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_llmon import Breaker, phase
from otel_llmon.errors import NoneUpError, SettingsError
from otel_llmon.failover import first_up


def target(name, up):
    """What a check found."""
    return SimpleNamespace(name=name, up=up)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [([True, True], 0), ([None, True], 0), ([False, None, True], 1), ([False, False, True], 2)],
)
def test_the_first_that_is_not_known_to_be_down_is_taken(found, chosen):
    """One that nobody has looked at yet is worth a call."""
    targets = [target(str(number), up) for number, up in enumerate(found)]
    assert first_up(targets) is targets[chosen]


@pytest.mark.row("H13")
def test_a_failover_is_an_event_on_the_span(llmon_recorder, clock):
    """While the first one is up there is none."""
    local, hosted = Breaker("local", failures=1, clock=clock), Breaker("hosted")
    clients = {local: "http://localhost:11434", hosted: "https://models.example"}
    with phase("usual"):
        assert first_up(clients) is local
    local.record(False)
    with phase("fallen back"):
        assert clients[first_up(clients)] == "https://models.example"
    clock.now += 30
    with phase("back"):
        assert first_up(clients) is local
    spans = llmon_recorder.spans()
    [event] = spans["fallen back"].events
    assert event.name == "llmon.failover"
    assert dict(event.attributes) == {"llmon.failover.from": "local", "llmon.failover.to": "hosted"}
    assert not spans["usual"].events
    assert not spans["back"].events


def test_breakers_and_checks_may_stand_beside_each_other():
    """Each says whether it is up."""
    breaker = Breaker("hosted")
    assert first_up([target("local", up=False), breaker]) is breaker


def test_where_none_is_up_it_says_so():
    """With the names of those that were asked."""
    with pytest.raises(NoneUpError, match="'local', 'hosted': none is up"):
        first_up([target("local", up=False), target("hosted", up=False)])
    with pytest.raises(NoneUpError, match="no target: none is up"):
        first_up([])


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["a"], "first_up: found 'a', expected breakers, checks, or what has `name` and `up`"),
        ("ab", "first_up: found 'a', expected breakers"),
        (None, "first_up: found None, expected several: first_up([local, hosted])"),
        (Breaker("alone"), "first_up: found <otel_llmon.breaker.Breaker"),
        ([target("up", up=True), 3], "first_up: found 3, expected breakers"),
    ],
)
def test_what_is_no_target_is_named(targets, said):
    """Before anybody is asked, though the first one might be up."""
    with pytest.raises(SettingsError) as refused:
        first_up(targets)
    assert str(refused.value).startswith(said)
