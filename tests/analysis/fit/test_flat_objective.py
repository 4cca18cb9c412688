"""Where the objective is flat beyond the interval of nu, the law is not identified."""

import numpy as np
import pytest

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.findings import NuProfile
from rlscale.analysis.fit.flat_objective import reaches_beyond, with_stretch
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.objectives import ReturnObjective
from rlscale.analysis.fit.search import profile
from rlscale.analysis.statistics.intervals import interval_of

NU = np.linspace(0.04, 0.96, 24)


def drawn(spread: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0.4, spread, 400)


@pytest.mark.parametrize("spread", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("depth", [1e-6, 1.0])
def test_of_one_valley_the_stretch_is_about_the_interval(spread, depth):
    draws = drawn(spread)
    found = with_stretch(NuProfile(nu=NU, loss=depth * (1 + (NU - 0.4) ** 2)), 0.4, depth, draws)
    assert found.flat == pytest.approx(interval_of(draws), abs=0.02)
    assert not reaches_beyond(found, interval_of(draws))


@pytest.mark.parametrize(("floor", "flat"), [(0.001, True), (0.1, False)])
def test_a_second_valley_counts_if_it_is_as_deep_within_noise(floor, flat):
    loss = 1 + np.minimum((NU - 0.4) ** 2, floor + (NU - 0.8) ** 2)
    found = with_stretch(NuProfile(nu=NU, loss=loss), 0.4, 1.0, drawn(0.05))
    assert reaches_beyond(found, interval_of(drawn(0.05))) == flat
    assert (found.flat[1] > 0.8) == flat


def test_without_draws_the_noise_is_not_known():
    assert with_stretch(NuProfile(nu=NU, loss=NU), 0.04, 0.04, np.empty(0)).flat is None


def test_few_rows_without_noise_fit_laws_of_any_exponent():
    sweep = SyntheticSweep(
        sizes=(5e4, 1e5, 2e5), seeds=1, points=6, first_interactions=1e6, max_interactions=1e8, N_c=1e-3
    )
    fit = JointScalingFit(replicates=20, check_replicates=20).fit(sweep.curves(np.random.default_rng(0)))
    assert not fit.identified
    assert "flat_objective" in fit.warning_codes
    low, high = fit.profile.flat
    assert high - low > 0.2
    total = fit.intervals_total["nu"]
    assert total[0] <= low < high <= total[1]


def test_the_profile_does_not_depend_on_the_valley_it_starts_in():
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(6)), seeds=2, noise=0.03, points=60)
    estimate = JointScalingFit().estimate(sweep.curves(np.random.default_rng(0)))
    objective = ReturnObjective(estimate.points, estimate.law.log_c0)
    nus = NU[3:-3]
    here = profile(objective, estimate.law.theta, nus)
    there = profile(objective, np.array([-2.0, 1.0, estimate.law.theta[2] + 5.0]), nus)
    np.testing.assert_allclose(there, here, rtol=0.1)
