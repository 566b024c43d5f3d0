"""Where time goes: self time, critical path, and what holds a phase up."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llmon.scores import bottleneck
from otel_llmon.scores.bottleneck import Evidence, Spell

amounts = st.floats(0, 1e6, allow_nan=False)
positive = st.floats(1e-3, 1e6)


@st.composite
def traces(draw):
    """A tree of spans; children may overlap each other, begin before their parents and outlive them."""
    count = draw(st.integers(1, 12))
    spells = [Spell(0, None, 0, draw(st.integers(1, 100)), "root")]
    for number in range(1, count):
        start, length = draw(st.integers(-10, 110)), draw(st.integers(0, 60))
        parent = draw(st.integers(0, number - 1))
        spells.append(Spell(number, parent, start, start + length, draw(st.sampled_from("abc"))))
    return draw(st.permutations(spells))


@given(traces())
def test_the_critical_path_covers_the_root_once(trace):
    """Its stretches follow one another from the root's start to its end, and each lies within its span."""
    path = bottleneck.critical_path(trace)
    root = next(spell for spell in trace if spell.parent is None)
    spells = {spell.id: spell for spell in trace}
    assert (path[0].start, path[-1].end) == (root.start, root.end)
    assert all(one.end == other.start for one, other in itertools.pairwise(path))
    for part in path:
        assert spells[part.id].start <= part.start < part.end <= spells[part.id].end
    assert math.fsum(share.share for share in bottleneck.blamed(trace)) == pytest.approx(1)


@given(traces())
def test_self_time_is_never_more_than_the_span_and_never_negative(trace):
    """However children overlap."""
    found = bottleneck.self_times(trace)
    for name, seconds in found.items():
        assert 0 <= seconds <= sum(spell.end - spell.start for spell in trace if spell.name == name)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_of_work_one_after_the_other_self_times_add_up_to_the_whole(lengths):
    """Then self time and critical path say the same."""
    at, trace = 0, []
    for number, length in enumerate(lengths):
        trace.append(Spell(number, "root", at, at + length, f"step {number}"))
        at += length
    trace.append(Spell("root", None, 0, at, "root"))
    found = bottleneck.self_times(trace)
    assert math.fsum(found.values()) == at
    assert {share.name: share.seconds for share in bottleneck.blamed(trace)} == {
        name: seconds for name, seconds in found.items() if seconds
    }


def test_ten_thirty_and_five_seconds_blame_the_thirty():
    """Two thirds of the time, and first."""
    trace = [
        Spell(1, None, 0, 45, "pipeline"),
        Spell(2, 1, 0, 10, "extraction"),
        Spell(3, 1, 10, 40, "embedding"),
        Spell(4, 1, 40, 45, "storage"),
    ]
    first, *_ = bottleneck.bottlenecks(trace)
    assert (first.name, first.seconds, round(first.share, 3)) == ("embedding", 30, 0.667)


def test_the_longest_of_parallel_stages_is_not_blamed_when_nobody_waits_for_it():
    """A prefetch of nine seconds beside two steps of four and six: the steps are what takes time."""
    trace = [
        Spell(1, None, 0, 10, "run"),
        Spell(2, 1, 0, 9, "prefetch"),
        Spell(3, 1, 0, 4, "load"),
        Spell(4, 1, 4, 10, "write"),
    ]
    assert [(share.name, share.seconds) for share in bottleneck.blamed(trace)] == [("write", 6), ("load", 4)]
    assert bottleneck.bottlenecks(trace)[0].name == "prefetch"


def test_what_is_odd_in_a_trace_is_taken_as_a_root():
    """A parent that did not arrive, spans that are each other's parents, one that is its own; a clock set back."""
    lost = [Spell(1, 9, 0, 2, "a"), Spell(2, 1, 0, 1, "b")]
    assert bottleneck.self_times(lost) == {"a": 1, "b": 1}
    for ring in ([Spell(1, 2, 0, 4, "a"), Spell(2, 1, 1, 2, "b")], [Spell(1, 1, 0, 4, "a")]):
        assert sum(bottleneck.self_times(ring).values()) == 4
        assert bottleneck.critical_path(ring)[0].name == "a"
    assert bottleneck.bottlenecks([Spell(1, None, 5, 3, "a")]) == [("a", 0, 0)]
    assert bottleneck.critical_path([]) == []


def test_a_trace_may_be_deep():
    """No recursion."""
    deep = [Spell(number, number - 1 if number else None, 0, 10_000 - number, str(number)) for number in range(5000)]
    assert len(bottleneck.critical_path(deep)) == 5000


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Evidence(10, cpu=9.5), "cpu-bound"),
        (Evidence(10, cpu=60), "cpu-bound"),
        (Evidence(10, cpu=9.9, gpu=8), "gpu-bound"),
        (Evidence(10, cpu=9.9, gpu=8, gpus=2), "cpu-bound"),
        (Evidence(10, cpu=1, gpu=6), "gpu-bound"),
        (Evidence(10, cpu=0.5, gpu=0), "waiting"),
        (Evidence(10, cpu=1, disk=7), "disk"),
        (Evidence(10, cpu=1, limited=6), "rate-limited"),
        (Evidence(10, limited=6), "rate-limited"),
        (Evidence(10, cpu=4, disk=3), "mixed"),
        (Evidence(10, gpu=1), "insufficient"),
        (Evidence(10), "insufficient"),
        (Evidence(0.01, cpu=0.01), "insufficient"),
        (Evidence(0, cpu=0), "insufficient"),
    ],
)
def test_a_phase_is_held_up_by_what_takes_most_of_its_time(evidence, expected):
    """A CPU that spins while the GPU works is not to blame; what was not measured allows no verdict."""
    found = bottleneck.verdict(evidence)
    assert found.verdict == expected
    assert found.why


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_no_finite_number_was_not_measured(odd):
    """It allows no verdict, and is not said."""
    assert bottleneck.verdict(Evidence(10, cpu=odd)) == bottleneck.verdict(Evidence(10))
    assert bottleneck.verdict(Evidence(10, cpu=9, gpu=odd)) == bottleneck.verdict(Evidence(10, cpu=9))


def test_time_that_is_no_number_allows_no_verdict():
    """Nor any share of it."""
    found = bottleneck.verdict(Evidence(math.nan, cpu=1))
    assert (found.verdict, found.shares) == ("insufficient", {})


@given(positive, st.none() | amounts, st.none() | amounts, st.none() | amounts, st.none() | amounts, st.integers(0, 8))
def test_a_verdict_shows_its_evidence(wall, cpu, gpu, disk, limited, gpus):  # noqa: PLR0917
    """Each share is from 0 to 1, there for what was measured and for nothing else; a blamed one is large."""
    found = bottleneck.verdict(Evidence(wall, cpu, gpu, disk, limited, gpus))
    measured = {"cpu": cpu, "gpu": gpu, "disk": disk, "limited": limited}
    assert found.shares.keys() == {name for name, seconds in measured.items() if seconds is not None}
    assert all(0 <= share <= 1 for share in found.shares.values())
    for name, verdict in bottleneck.VERDICTS.items():
        if found.verdict == verdict:
            assert found.shares[name] >= bottleneck.MOST
