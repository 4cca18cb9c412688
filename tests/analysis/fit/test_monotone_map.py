"""The increasing map: isotonic regression with weights and ties, and what is known of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize

from rlscale.analysis.fit.monotone_map import MonotoneMap
from rlscale.analysis.statistics.isotonic import TiedOrder, isotonic_fit, isotonic_loss

numbers = st.floats(-5, 5)
points = st.lists(st.tuples(st.integers(0, 6), numbers, st.floats(0.1, 3)), min_size=1, max_size=25)


def columns(rows):
    x, y, w = map(np.array, zip(*rows, strict=True))
    return x.astype(float), y, w


@given(points)
def test_the_fit_is_an_increasing_function_of_x(rows):
    x, y, w = columns(rows)
    fitted = isotonic_fit(x, y, w)
    for a in np.unique(x):
        assert np.ptp(fitted[x == a]) == 0
    assert (np.diff(fitted[np.argsort(x, kind="stable")]) >= 0).all()


@given(points)
def test_the_fit_keeps_the_weighted_mean(rows):
    x, y, w = columns(rows)
    assert w @ isotonic_fit(x, y, w) == pytest.approx(w @ y, abs=1e-9)


def test_no_increasing_function_is_closer():
    rng = np.random.default_rng(0)
    y, w = rng.normal(size=8), rng.uniform(0.5, 2, 8)
    x = np.arange(8.0)
    increasing = LinearConstraint(np.diff(np.eye(8), axis=0), 0, np.inf)
    best = minimize(lambda f: w @ (y - f) ** 2, np.sort(y), constraints=increasing, options={"ftol": 1e-14})
    np.testing.assert_allclose(isotonic_fit(x, y, w), best.x, atol=1e-5)


def test_ties_are_pooled_by_weight():
    fitted = isotonic_fit(np.array([1.0, 1.0, 2.0]), np.array([0.0, 3.0, 9.0]), np.array([2.0, 1.0, 1.0]))
    np.testing.assert_allclose(fitted, [1.0, 1.0, 9.0])


@given(points)
def test_weights_count_like_repeated_points(rows):
    x, y, _ = columns(rows)
    repeats = 1 + np.arange(len(x)) % 3
    long = isotonic_fit(np.repeat(x, repeats), np.repeat(y, repeats), np.ones(repeats.sum()))
    np.testing.assert_allclose(
        isotonic_fit(x, y, repeats.astype(float)), long[np.cumsum(repeats) - 1], atol=1e-9
    )


def test_the_order_of_the_points_given_does_not_matter():
    rng = np.random.default_rng(1)
    x, y, w = rng.normal(size=30), rng.normal(size=30), rng.uniform(size=30)
    shuffle = rng.permutation(30)
    np.testing.assert_allclose(
        isotonic_fit(x, y, w)[shuffle], isotonic_fit(x[shuffle], y[shuffle], w[shuffle])
    )
    assert isotonic_loss(x, y, w) == pytest.approx(isotonic_loss(x[shuffle], y[shuffle], w[shuffle]))
    assert isotonic_loss(x, y, w) == pytest.approx(w @ (y - TiedOrder(x, w).fit(y)) ** 2)


def test_both_directions_of_the_map_agree_within_its_range():
    log_i = np.linspace(5, 20, 200)
    returns = np.tanh(log_i - 12)
    fitted = MonotoneMap.from_points(returns, log_i, np.full(200, 1 / 200))
    assert (np.diff(fitted.return_) > 0).all()
    assert (np.diff(fitted.log_intrinsic) > 0).all()
    for intrinsic in np.exp([6.0, 12.3, 15.0]):
        back = fitted.intrinsic_of(fitted.return_of(intrinsic))
        assert np.log(back) == pytest.approx(np.log(intrinsic), abs=1e-6)
    assert fitted.return_of(np.exp(12.3)) == pytest.approx(np.tanh(0.3), abs=1e-3)


def test_the_return_is_unknown_beyond_the_map():
    fitted = MonotoneMap(return_=np.array([0.0, 1.0]), intrinsic=np.array([1e3, 1e6]))
    assert fitted.known_return_of(1e3) == pytest.approx(0.0)
    assert fitted.known_return_of(999.0) is None
    assert fitted.known_return_of(1.1e6) is None


def test_a_map_of_noisy_points_has_strictly_increasing_knots():
    rng = np.random.default_rng(2)
    log_i = rng.uniform(0, 10, 500)
    fitted = MonotoneMap.from_points(log_i + rng.normal(size=500), log_i, rng.uniform(0.1, 1, 500))
    assert (np.diff(fitted.return_) > 0).all()
    assert (np.diff(fitted.log_intrinsic) > 0).all()


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.3, 12.0]), numbers, st.floats(0.1, 3)), min_size=1, max_size=40
    )
)
def test_a_map_increases_where_points_share_their_intrinsic_performance(rows):
    x, y, w = columns(rows)
    found = MonotoneMap.from_points(y, x, w)  # refuses knots that do not increase
    assert len(found.intrinsic) <= 40


def test_knots_of_equal_intrinsic_performance_are_one():
    x = np.array([-1.0, 0.1, np.nextafter(0.1, 1.0), 0.1, 2.0])
    found = MonotoneMap.from_points(np.array([0.1, 0.2, 0.3, 0.25, 0.4]), np.sort(x), np.full(5, 0.2))
    assert found.intrinsic.tolist() == np.exp([-1.0, 0.1, 2.0]).tolist()
