"""Shifts that all seeds of a size share are seen, measured and carried into the draws; others are not."""

from dataclasses import replace

import numpy as np
import pytest

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.bootstrap import bootstrap
from rlscale.analysis.fit.isoflop import isoflop_check
from rlscale.analysis.fit.isoflop_under_law import disagrees, with_law
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.size_effects import ResponseMap, ShiftedSizes, estimate_size_effects

SIZES = tuple(1.25e4 * 2.0 ** np.arange(8))
SWEEP = SyntheticSweep(alpha_N=0.5, alpha_E=0.5, N_c=0.01, sizes=SIZES, points=60, noise=0.02)


def estimated(sweep: SyntheticSweep, seed: int = 0):
    """(curves, point estimate, shifts of sizes) of one draw."""
    curves = sweep.curves(np.random.default_rng(seed))
    estimate = JointScalingFit().estimate(curves)
    rng = np.random.default_rng(seed)
    return (
        curves,
        estimate,
        estimate_size_effects(curves, estimate.preprocessor, estimate.points, estimate.law, rng),
    )


@pytest.mark.parametrize(("sigma", "low", "high"), [(0.0, 0.0, 0.08), (0.3, 0.2, 0.4)])
def test_sigma_is_that_of_the_sizes_beyond_their_seeds(sigma, low, high):
    found = [estimated(replace(SWEEP, size_effect=sigma), seed)[2].found for seed in range(5)]
    assert low <= np.sqrt(np.mean([one.sigma**2 for one in found])) <= high


def test_the_shift_of_one_size_is_found_where_it_is():
    curves = SWEEP.curves(np.random.default_rng(0))
    estimate = JointScalingFit().estimate(curves)
    made = ResponseMap.through(estimate.law, estimate.points)
    points = estimate.points
    moved = np.where(points.size == 3, 0.5, 0.0)
    shifted = replace(points, response=made.response(points) + moved * made.slopes(points))
    shift, grip = made.shifts(shifted, len(SIZES))
    assert np.all(grip > 0)
    np.testing.assert_allclose(shift, np.where(np.arange(len(SIZES)) == 3, 0.5, 0.0), atol=1e-9)


@pytest.mark.parametrize("objective", ["return", "paper"])
def test_draws_without_shifts_are_those_of_the_seeds_and_with_them_they_are_wider(objective):
    curves, estimate, sizes = estimated(SWEEP)

    def drawn(added: ShiftedSizes | None):
        law = estimate.law
        return bootstrap(
            curves,
            estimate.preprocessor,
            objective=objective,
            theta=law.theta,
            log_c0=law.log_c0,
            replicates=40,
            rng=np.random.default_rng(0),
            sizes=added,
        ).nu

    seeds_only = drawn(None)
    np.testing.assert_array_equal(drawn(replace(sizes, spread=0.0)), seeds_only)
    assert np.std(drawn(replace(sizes, spread=0.4))) > 1.5 * np.std(seeds_only)


@pytest.mark.parametrize("sweep", [replace(SWEEP, seeds=1), replace(SWEEP, sizes=SIZES[2:6])])
def test_without_seeds_or_sizes_enough_nothing_is_said(sweep):
    sizes = estimated(sweep)[2]
    assert sizes.found is None
    assert sizes.spread == 0


def test_parabolas_are_judged_by_what_they_give_where_the_law_is_true():
    curves, estimate, sizes = estimated(SWEEP)
    check = isoflop_check(curves, estimate.preprocessor, replicates=0, rng=np.random.default_rng(0))

    def judged(nu: float):
        return with_law(
            check.model_copy(update={"nu": nu}),
            curves,
            estimate.preprocessor,
            estimate.points,
            estimate.law,
            sizes,
            simulations=39,
            rng=np.random.default_rng(0),
        )

    usual = judged(check.nu)
    assert usual.p_value > 0.05
    assert not disagrees(usual)
    expected = estimate.law.nu + usual.difference_under_law
    assert judged(expected).p_value > 0.5
    for apart in (expected - 0.3, expected + 0.3):
        assert judged(apart).p_value == pytest.approx(0.05)
        assert disagrees(judged(apart))
    assert judged(expected + 0.3).difference_under_law == usual.difference_under_law


def test_a_fit_states_sigma_and_its_total_interval_holds_parabolas_that_disagree():
    curves = replace(SWEEP, size_effect=0.3).curves(np.random.default_rng(3))
    fit = JointScalingFit(replicates=40, check_replicates=40).fit(curves)
    assert 0.1 < fit.size_effect.sigma < 0.6
    assert fit.size_effect.N.tolist() == list(SIZES)
    if "isoflop_disagrees" in fit.warning_codes:
        low, high = fit.intervals_total["nu"]
        assert low <= fit.isoflop.nu <= high
