"""Affine dependence on h - 2 + 1/h: recovery, intervals, and tests that notice when it is not affine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.analysis.studies.horizon.affine import affine_line, common_kappa
from rlscale.analysis.theory.horizon import horizon_term

HORIZONS = np.array([1.0, 4, 16, 64, 256])
X = horizon_term(HORIZONS)


def test_the_term_of_the_horizon_is_the_variance_of_discounted_noise():
    gamma = 1 - 2 / (HORIZONS + 1)
    assert horizon_term(HORIZONS) == pytest.approx(4 * gamma**2 / (1 - gamma**2))


@given(st.floats(1e2, 1e9), st.floats(1e-3, 1e2))
def test_a_line_without_noise_is_recovered(a, kappa):
    line = affine_line(X, a * (1 + kappa * X), np.full(5, 0.05))
    assert (line.a, line.kappa) == (pytest.approx(a, rel=1e-6), pytest.approx(kappa, rel=1e-5))
    assert line.r_squared == pytest.approx(1.0)
    assert line.quadratic_p > 0.9
    low, high = line.kappa_interval
    assert low < kappa < high


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        line = affine_line(X, 1e5 * (1 + 0.1 * X) * np.exp(0.07 * rng.standard_normal(5)), np.full(5, 0.07))
        held.append(line.kappa_interval[0] < 0.1 < line.kappa_interval[1])
    assert 0.84 < np.mean(held) < 0.98


def test_scatter_beyond_the_stated_error_widens_the_intervals():
    e = 1e5 * (1 + 0.1 * X)
    rough = e * np.array([1.3, 0.8, 1.2, 0.7, 1.1])

    def width(values):
        low, high = affine_line(X, values, np.full(5, 0.02)).kappa_interval
        return high - low

    assert width(rough) > 5 * width(e)


def test_two_horizons_give_a_line_and_no_test_of_it():
    line = affine_line(X[:2], np.array([100.0, 150.0]), np.full(2, 0.1))
    assert line.kappa == pytest.approx(0.5 / X[1])
    assert line.quadratic_p is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [2, 3, 5])
def test_interactions_that_are_the_same_at_every_horizon_leave_nothing_to_explain(count):
    line = affine_line(X[:count], np.full(count, 416_666.7), np.full(count, 0.05))
    assert line.r_squared == 1.0
    assert line.kappa == pytest.approx(0.0, abs=1e-12)
    low, high = line.kappa_interval
    assert low < 0 < high


def test_a_base_that_is_hardly_known_leaves_kappa_unbounded():
    assert affine_line(X[3:], 5.0 * X[3:], np.full(2, 0.3)).kappa_interval is None


def _series(power: float = 1.0, noise: float = 0.0) -> tuple[np.ndarray, ...]:
    """Four sizes at five horizons, E = a (1 + 0.1 x^power)."""
    group = np.repeat(np.arange(4), 5)
    x = np.tile(X, 4)
    shocks = noise * np.random.default_rng(1).standard_normal(20)
    return x, np.log(1e4 * 2.0**group * (1 + 0.1 * x**power)) + shocks, np.full(20, 0.05), group


def test_one_kappa_is_recovered_from_all_sizes():
    found = common_kappa(*_series(noise=0.05))
    low, high = found.kappa_interval
    assert found.kappa == pytest.approx(0.1, rel=0.1)
    assert low < 0.1 < high
    assert found.power == pytest.approx(1.0, abs=0.06)
    assert found.affine_p > 0.1
    assert np.exp(found.log_a) == pytest.approx(1e4 * 2.0 ** np.arange(4), rel=0.1)


def test_growth_that_is_not_affine_is_noticed():
    found = common_kappa(*_series(power=0.6, noise=0.05))
    assert found.affine_p < 1e-6
    assert found.power == pytest.approx(0.6, abs=0.1)
    assert found.power_interval[1] < 1.0


def test_no_growth_at_all_gives_a_kappa_near_nothing_with_finite_ends():
    group = np.zeros(5, dtype=int)
    found = common_kappa(X, np.full(5, 9.0), np.full(5, 0.05), group)
    assert found.kappa < 1e-3
    assert np.all(np.isfinite(found.kappa_interval))
