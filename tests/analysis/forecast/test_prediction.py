"""Returns beyond the map and beside measured sizes: exact where the assumptions hold, cautious where not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.forecast.extended_map import STRAIGHT, ExtendedMap, LawWithMap
from rlscale.analysis.forecast.next_to_measured import NextToMeasured
from rlscale.analysis.forecast.prediction import ReturnPredictor, predict_returns
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.theory.power_law import PowerLaw

LAW = PowerLaw.from_constants(0.3, 0.5, 1e-3)
SIZES = 1e4 * 2.0 ** np.arange(8)


def points_of(returns_at, sizes=SIZES) -> BinnedPoints:
    """Points of every size at 60 lengths, returns from ``returns_at(log N, log E)``."""
    n, e = (x.ravel() for x in np.meshgrid(np.log(sizes), np.log(np.geomspace(1e5, 1e8, 60)), indexing="ij"))
    returns = returns_at(n, e)
    size = np.repeat(np.arange(len(sizes)), 60)
    weight = np.full(len(n), 1 / len(n))
    return BinnedPoints(n, e, returns, returns, returns, weight, size)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_a_continuation_goes_on_as_the_map_levels_off(rate):
    x = np.linspace(0, 12, 600)
    returns = 3 + 40 * (-np.expm1(-rate * x) / rate if rate else x)
    known = x < 8
    weight = np.full(known.sum(), 1 / known.sum())
    made = ExtendedMap.through(x[known], returns[known], weight)
    np.testing.assert_allclose(made.return_of(x[~known]), returns[~known], rtol=0.02)
    straight = ExtendedMap.through(x[known], returns[known], weight, rates=STRAIGHT)
    assert np.all(straight.return_of(x[~known]) >= made.return_of(x[~known]) - 1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20), tail=st.floats(0.1, 0.9))
def test_a_map_with_its_continuations_never_falls_and_never_below_the_least_return(seed, tail):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 5, 200))
    returns = np.sqrt(x) + 0.2 * rng.standard_normal(200)
    made = ExtendedMap.through(x, returns, np.full(200, 1 / 200), tail=tail)
    found = made.return_of(np.linspace(-20, 30, 2000))
    assert np.all(np.diff(found) >= -1e-12)
    assert found.min() >= min(returns.min(), float(made.inside.return_[0])) - 1e-12


def test_what_neighbours_share_at_equal_experience_is_predicted_for_the_next_size():
    def bumped(n, e):
        return 0.02 * LAW.log_intrinsic(n, e) + 0.05 * np.exp(-((e - np.log(1e6)) ** 2))

    corrected = NextToMeasured(LawWithMap.through(LAW, points_of(bumped)), points_of(bumped))
    e = np.log(np.geomspace(2e5, 5e7, 20))
    n = np.full(20, np.log(2 * SIZES[-1]))
    error = np.abs(corrected.predict(n, e) - bumped(n, e))
    alone = np.abs(corrected.base.predict(n, e) - bumped(n, e))
    assert error.mean() < alone.mean() / 3


def test_a_residual_of_a_size_of_its_own_is_not_wholly_expected_of_the_next():
    rng = np.random.default_rng(0)
    shifts = dict(zip(np.log(SIZES).round(9), rng.choice([-0.3, 0.3], len(SIZES)), strict=True))
    points = points_of(lambda n, e: 0.2 * LAW.log_intrinsic(n, e) + [shifts[x] for x in n.round(9)])
    corrected = NextToMeasured(LawWithMap.through(LAW, points), points)
    assert corrected.shared == pytest.approx(2 / 3)
    e = np.log(np.geomspace(1e6, 5e7, 10))
    steps = np.array([0.0, 0.4, 1.0, 2.0])
    last, residual = corrected.residual_curves[-1]
    for step in steps:
        gap = corrected.predict(np.log(SIZES[-1]) + step * np.log(2), e) - corrected.base.predict(
            np.log(SIZES[-1]) + step * np.log(2), e
        )
        np.testing.assert_allclose(gap, (2 / 3) ** step * np.interp(e, last, residual), atol=1e-12)


def test_far_beyond_the_end_of_a_curve_the_law_stands_alone():
    odd = np.log(SIZES)[3]
    points = points_of(lambda n, e: 0.2 * LAW.log_intrinsic(n, e) + (n == odd))
    corrected = NextToMeasured(LawWithMap.through(LAW, points), points)
    n, e = odd, np.log([1e8, 1e9, 1e16])
    gap = corrected.predict(n, e) - corrected.base.predict(n, e)
    assert gap[0] > 0.3
    assert gap[1] == pytest.approx(gap[0] * 10 ** (-1 / 1.5), rel=0.05)
    assert abs(gap[2]) < 1e-3


@pytest.fixture(scope="module")
def sweep() -> SyntheticSweep:
    return SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(8)), noise=0.02, points=60, shape="saturating")


def test_intervals_of_a_stored_fit_hold_longer_and_larger_runs(sweep):
    fit = JointScalingFit(replicates=40, check_replicates=0).fit(sweep.curves(np.random.default_rng(0)))
    found = predict_returns(fit, [sweep.sizes[-1], 2 * sweep.sizes[-1]], [2e8, 1e8])
    assert np.all((found.low < found.returns) & (found.returns < found.high))
    assert np.all(found.high - found.low < 0.3)
    without = ReturnPredictor.of(fit.model_copy(update={"bootstrap": fit.bootstrap.of("none", [])}))
    alone = without.at(np.log([1e5]), np.log([1e7]))
    assert alone.low == alone.high == alone.returns


def test_predictions_depend_on_the_seed_alone(sweep):
    fit = JointScalingFit(replicates=20, check_replicates=0).fit(sweep.curves(np.random.default_rng(0)))
    one, other = (predict_returns(fit, [1e6, 3e6], 1e9) for _ in range(2))
    np.testing.assert_array_equal(one.high, other.high)
    shares = replace(ReturnPredictor.of(fit), seed=5).at(np.log([1e6, 3e6]), np.log([1e9, 1e9]))
    np.testing.assert_array_equal(shares.returns, one.returns)
