"""The check without a law finds the exponent of known sweeps, and says when there is no vertex."""

import numpy as np
import pytest

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.isoflop import isoflop_check, vertices
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.objectives import ReturnObjective
from rlscale.analysis.fit.search import profile
from rlscale.analysis.points.preprocess import Preprocessor
from rlscale.analysis.statistics.intervals import bias_corrected_interval, percentile_interval

SIZES = tuple(1e4 * 2.0 ** np.arange(9))


def sweep(**options) -> SyntheticSweep:
    return SyntheticSweep(
        **{"alpha_N": 0.5, "alpha_E": 0.5, "N_c": 0.01, "sizes": SIZES, "points": 120, **options}
    )


def check(truth: SyntheticSweep, replicates: int = 0):
    curves = truth.curves(np.random.default_rng(0))
    return isoflop_check(curves, Preprocessor(curves), replicates=replicates, rng=np.random.default_rng(1))


def test_vertices_of_noise_free_curves_lie_near_the_optimum():
    truth = sweep()
    points = Preprocessor(truth.curves(np.random.default_rng(0))).points()
    log_c = np.log(np.geomspace(4e11, 1.5e12, 3))
    found = np.exp(vertices(points, log_c).log_n)
    # True curves are not parabolas; neighbouring sizes differ by a factor of 2.
    np.testing.assert_allclose(found, truth.law.N_opt(np.exp(log_c)), rtol=0.35)


@pytest.mark.parametrize(("alpha_N", "alpha_E", "N_c"), [(0.5, 0.5, 0.01), (0.6, 0.4, 0.2)])
def test_nu_of_noise_free_curves_is_found_roughly(alpha_N, alpha_E, N_c):
    found = check(sweep(alpha_N=alpha_N, alpha_E=alpha_E, N_c=N_c))
    assert found.nu == pytest.approx(alpha_E / (alpha_N + alpha_E), abs=0.1)


def test_nu_has_an_interval_that_holds_it():
    found = check(sweep(noise=0.02), replicates=60)
    assert found.nu_interval is not None
    low, high = found.nu_interval
    assert low < found.nu < high
    assert low - 0.1 < 0.5 < high + 0.1
    assert all(v.interval is None or v.interval[0] <= v.interval[1] for v in found.vertices)


def test_one_sided_curves_have_no_vertex():
    found = check(sweep(N_c=1e-9))  # experience limits every size, so the smallest is always best
    assert found.nu is None
    assert found.nu_interval is None


def test_returns_passed_through_an_increasing_function_leave_the_vertices():
    curves = sweep(noise=0.02).curves(np.random.default_rng(0))
    for other in (np.exp(5 * curves.returns), curves.returns**3 - 7):
        a, b = (
            isoflop_check(c, Preprocessor(c), replicates=0, rng=np.random.default_rng(0))
            for c in (curves, curves.with_returns(other))
        )
        assert [v.N for v in a.vertices] == pytest.approx([v.N for v in b.vertices], rel=1e-9)


def test_the_profile_touches_the_minimum_and_lies_above_it():
    curves = sweep(noise=0.03).curves(np.random.default_rng(0))
    estimate = JointScalingFit().estimate(curves)
    objective = ReturnObjective(estimate.points, estimate.law.log_c0)
    nus = np.array([0.3, estimate.law.nu, 0.7])
    losses = profile(objective, estimate.law.theta, nus)
    assert losses[1] == pytest.approx(estimate.minimum.loss, rel=1e-3)
    assert losses[0] > 1.1 * losses[1]
    assert losses[2] > 1.1 * losses[1]


def test_bias_correction_moves_an_interval_towards_the_estimate():
    draws = np.random.default_rng(0).normal(1.0, 1.0, size=(4000, 2))
    low, high = bias_corrected_interval(draws, np.array([1.0, 1.5]))
    plain = percentile_interval(draws)
    np.testing.assert_allclose([low[0], high[0]], plain[:, 0], atol=0.1)  # no bias, no change
    # A shift of 0.5 standard deviations moves both ends by twice as much.
    np.testing.assert_allclose([low[1], high[1]], plain[:, 1] + 1.0, atol=0.15)


def test_bias_correction_survives_draws_on_one_side():
    low, high = bias_corrected_interval(np.arange(40.0)[:, None], np.array([100.0]))
    assert np.isfinite([low, high]).all()
