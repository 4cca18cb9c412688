"""Rounds of a closed loop: within bounds and budget, and worth their compute."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.forecast.design import Group, measured_groups
from rlscale.analysis.forecast.rounds import Bounds, first_round, longer_round, next_round

SIZES = tuple(4e4 * 2.0 ** np.arange(8))


def bounds_of(budget, **changes):
    usual = {"sizes": SIZES, "prices": SIZES, "shortest": 1e5, "longest": 1e9}
    return Bounds(**{**usual, "least_seeds": 1, "most_seeds": 5, "budget": budget, **changes})


@given(st.floats(1e11, 1e17), st.integers(1, 3), st.integers(3, 5))
def test_first_runs_cost_alike_and_stay_within_the_bounds(budget, least, most):
    bounds = bounds_of(budget, least_seeds=least, most_seeds=most)
    groups = first_round(bounds).groups
    assert len(groups) == 5
    assert all(bounds.shortest <= group.length <= bounds.longest for group in groups)
    assert {group.seeds for group in groups} == {max(least, 2)}
    free = [bounds.cost(g) for g in groups if bounds.shortest < g.length < bounds.longest]
    assert free == pytest.approx([budget / 32 / 5] * len(free))


def test_first_runs_follow_the_price_of_a_size():
    prices = tuple(1e-9 + 1e-15 * size for size in SIZES)  # a step has a cost of its own
    bounds = bounds_of(10.0, prices=prices)
    groups = first_round(bounds).groups
    assert [bounds.cost(group) for group in groups] == pytest.approx([10 / 32 / 5] * 5)


def test_longer_runs_double_the_cheapest_first_as_far_as_the_budget_goes():
    groups = [Group(4e4, 1e6, 2), Group(8e4, 1e6, 2), Group(1.6e5, 1e6, 2)]
    everything = sum(group.compute for group in groups)
    found = longer_round(groups, bounds_of(2 * everything), "of a test")
    assert [group.length for group in found.groups] == [2e6, 2e6, 2e6]
    found = longer_round(groups, bounds_of(everything + 2.5e11), "of a test")
    assert [group.length for group in found.groups] == [2e6, 2e6, 1e6]
    assert longer_round(groups, bounds_of(everything + 1e9), "of a test") is None
    closed = bounds_of(2 * everything, closed=frozenset([4e4]))
    assert [group.length for group in longer_round(groups, closed, "of a test").groups] == [1e6, 2e6, 2e6]


@pytest.fixture(scope="module")
def fit():
    sweep = SyntheticSweep(sizes=SIZES[::2], seeds=2, noise=0.03, points=80, max_interactions=2e7)
    curves = sweep.curves(np.random.default_rng(3))
    return JointScalingFit(replicates=40, check_replicates=0, seed=1).fit(curves)


@settings(max_examples=8)
@given(st.floats(0.02, 3.0), st.booleans(), st.sampled_from([None, 1e15]))
def test_a_round_adds_within_bounds_and_budget(fit, share, with_a_failure, target):
    groups = measured_groups(fit)
    now = sum(group.compute for group in groups)
    closed = frozenset([groups[0].size] if with_a_failure else [])
    bounds = bounds_of(now * (1 + share), sizes=tuple(sorted({*SIZES, *fit.provenance.sizes})), closed=closed)
    bounds = bounds_of(bounds.budget, sizes=bounds.sizes, prices=bounds.sizes, closed=closed)
    found = next_round(fit, groups, bounds, target)
    if found is None:
        return
    assert bounds.spent(found.groups) <= bounds.budget * (1 + 1e-6)
    assert bounds.spent(found.groups) <= 2 * now * (1 + 1e-6)
    assert [group.size for group in found.groups] == sorted({group.size for group in found.groups})
    new = {group.size: group for group in found.groups}
    for group in groups:
        assert new[group.size].length >= group.length
        assert group.seeds <= new[group.size].seeds <= bounds.most_seeds
        assert group.size not in closed or new[group.size] == group
    if found.shrinkage is not None:
        assert 0 < found.shrinkage < 1


def test_more_budget_is_never_expected_to_tell_less(fit):
    groups = measured_groups(fit)
    now = sum(group.compute for group in groups)
    sizes = tuple(fit.provenance.sizes)
    expected = [
        next_round(fit, groups, bounds_of(now * (1 + share), sizes=sizes, prices=sizes), 1e15).shrinkage
        for share in (0.1, 0.3, 1.0)
    ]
    assert expected[2] < expected[0] < 1
