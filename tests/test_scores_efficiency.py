"""Cost, efficiency score and Conveyance: what they give by hand, and what holds whatever they are given."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llmon.prices import Prices, TokenPrice
from otel_llmon.scores import conveyance, efficiency
from otel_llmon.scores.efficiency import Use

amounts = st.floats(0, 1e6, allow_nan=False)
positive = st.floats(1e-3, 1e6)
units = st.floats(0, 1)


def test_cost_is_each_amount_times_its_price():
    """100 items by hand: 0.035 CPU hours, 0.042 GPU hours and 0.63 GB hours."""
    use = Use(cpu=0.035 * 3600, gpu=0.042 * 3600, memory=0.63e9 * 3600, energy=1.8e6)
    found = efficiency.cost(use, Prices(cpu_hour=0.05, gpu_hour=2.0, memory_gb_hour=0.005, kwh=0.3))
    assert found == pytest.approx({"cpu": 0.00175, "gpu": 0.084, "memory": 0.00315, "energy": 0.15})
    assert efficiency.per_thousand(sum(found.values()), 100) == pytest.approx(2.389)
    assert efficiency.carbon(use.energy, 380) == pytest.approx(190)


def test_what_has_no_price_or_was_not_measured_costs_nothing_and_is_not_zero_either():
    """An absent key says that nobody knows."""
    assert efficiency.cost(Use(cpu=1), Prices(gpu_hour=2)) == {}
    assert efficiency.per_thousand(5, 0) is None


def test_tokens_are_priced_by_the_million_and_cached_ones_for_less():
    """A price without `cached` takes all tokens of a prompt for new ones."""
    assert efficiency.token_cost(TokenPrice(2.5, 10), 1000, 200) == {"input_tokens": 0.0025, "output_tokens": 0.002}
    assert efficiency.token_cost(TokenPrice(2.5, 10, 1.25), 1000, 0, 400)["input_tokens"] == pytest.approx(0.002)
    assert efficiency.token_cost(TokenPrice(2.5, 10), 1000, 0, 400)["input_tokens"] == 0.0025


@given(amounts, amounts, st.floats(0, 100), st.floats(0, 100))
def test_cost_adds_up(one, other, price, dearer):
    """Two uses cost as much as both at once, and a higher price never less."""
    low, high = sorted((price, dearer))
    both = efficiency.cost(Use(cpu=one + other), Prices(cpu_hour=low))["cpu"]
    apart = sum(efficiency.cost(Use(cpu=each), Prices(cpu_hour=low))["cpu"] for each in (one, other))
    assert both == pytest.approx(apart)
    assert (
        efficiency.cost(Use(cpu=one), Prices(cpu_hour=high))["cpu"]
        >= efficiency.cost(Use(cpu=one), Prices(cpu_hour=low))["cpu"]
    )


@given(st.dictionaries(st.text(), amounts, max_size=8))
def test_shares_add_up_to_one_and_the_largest_comes_first(times):
    """Where there is no time at all there are no shares."""
    found = efficiency.shares(times)
    if not sum(times.values()):
        assert found == {}
        return
    assert math.fsum(found.values()) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)


@given(amounts, positive, positive)
def test_utilization_is_a_share(seconds, wall, capacity):
    """From 0 to 1, whatever the clocks say."""
    assert 0 <= efficiency.utilization(seconds, wall, capacity) <= 1
    assert efficiency.utilization(seconds, 0, capacity) is None


@given(st.dictionaries(st.sampled_from(sorted(efficiency.WEIGHTS)), st.none() | units))
def test_parts_and_weights_recombine_to_the_score(parts):
    """Exactly; the weights of what is known add up to 1, and the score lies between the worst and the best part."""
    found = efficiency.score(parts)
    known = {name: value for name, value in parts.items() if value is not None}
    if not known:
        assert found is None
        return
    assert found.parts == known
    assert found.value == math.fsum(found.weights[name] * value for name, value in found.parts.items())
    assert math.fsum(found.weights.values()) == pytest.approx(1)
    assert min(known.values()) - 1e-12 <= found.value <= max(known.values()) + 1e-12


@given(units, units, units, st.sampled_from(sorted(efficiency.WEIGHTS)), units)
def test_a_better_part_never_makes_a_lower_score(one, two, three, name, better):
    """The score rises with each part."""
    parts = dict(zip(efficiency.WEIGHTS, (one, two, three), strict=True))
    raised = parts | {name: max(parts[name], better)}
    assert efficiency.score(raised).value >= efficiency.score(parts).value - 1e-12


@pytest.mark.parametrize(
    ("parts", "said"), [({"speed": 1}, "part 'speed': expected one of"), ({"success": 2}, "0 to 1")]
)
def test_a_part_that_is_none_is_refused(parts, said):
    """An unknown name, and a value outside."""
    with pytest.raises(ValueError, match=said):
        efficiency.score(parts)


@given(positive, positive, positive, positive, positive, st.floats(0, 10), st.floats(0, 4))
def test_slower_never_scores_higher(w, r, h, t, slower, ctx, alpha):  # noqa: PLR0917
    """Whatever the other parts, the score falls with time."""
    quick, slow = sorted((t, slower))
    assert (
        conveyance.conveyance(w, r, h, slow, ctx, alpha).value
        <= conveyance.conveyance(w, r, h, quick, ctx, alpha).value
    )


@given(units, units, units, positive, units, st.floats(0, 4))
def test_twice_the_time_conveys_half(w, r, h, t, ctx, alpha):  # noqa: PLR0917
    """And the parts recombine."""
    found = conveyance.conveyance(w, r, h, t, ctx, alpha)
    assert conveyance.conveyance(w, r, h, 2 * t, ctx, alpha).value == pytest.approx(found.value / 2)
    assert found.value == pytest.approx(found.w * found.r * found.h / found.t * found.ctx**found.alpha)
    assert found.capability == pytest.approx(conveyance.conveyance(w, r, h, 1, ctx, alpha).value)


@given(st.permutations([0.0, 0.5, 1.0]), positive, st.floats(0, 0.99))
def test_without_w_r_or_h_nothing_is_conveyed(parts, t, ctx):
    """Zero, whatever the context; even alpha 0, which would make 1 of it."""
    assert conveyance.conveyance(*parts, t, ctx, 0).value == 0
    assert conveyance.conveyance(1e200, 1e200, 0, t, ctx).value == 0


def test_context_is_the_mean_of_its_components():
    """Or the weighted one."""
    assert conveyance.context({"L": 1, "I": 0.5}) == 0.75
    assert conveyance.context({"L": 1, "I": 0.5}, {"L": 3, "I": 1}) == 0.875
    with pytest.raises(ValueError, match="component 'X': expected one of L, I, A, G"):
        conveyance.context({"X": 1})
    with pytest.raises(ValueError, match="at least one"):
        conveyance.context({})


@pytest.mark.parametrize("t", [0, -1, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(t):
    """It cannot be divided by."""
    with pytest.raises(ValueError, match=r"T: found .* expected seconds above 0"):
        conveyance.conveyance(1, 1, 1, t)
    with pytest.raises(ValueError, match="W: found"):
        conveyance.conveyance(-1, 1, 1, 1)
