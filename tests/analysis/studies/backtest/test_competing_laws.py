"""Each law recovers curves of its own making; without the lemma a free map leaves nothing else to fit."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.studies.backtest.competing_laws import (
    LAWS,
    fit_anchored,
    fit_chinchilla,
    fit_lemma,
    fit_sigmoid,
)
from rlscale.analysis.theory.power_law import PowerLaw

SIZES = 1e4 * 2.0 ** np.arange(8)
LAW = PowerLaw.from_constants(0.3, 0.5, 1e-3)


def points_of(returns_at, sizes=SIZES, noise: float = 0.0) -> BinnedPoints:
    """Points of every size at 30 lengths, returns from ``returns_at(N, E)``."""
    n, e = (x.ravel() for x in np.meshgrid(sizes, np.geomspace(1e5, 1e8, 30), indexing="ij"))
    clean = returns_at(n, e)
    returns = clean + noise * np.random.default_rng(0).standard_normal(len(n))
    weight = np.full(len(n), 1 / len(n))
    size = np.searchsorted(sizes, n)
    shared = dict(log_n=np.log(n), log_e=np.log(e), weight=weight, size=size)
    return BinnedPoints(returns=returns, smooth_returns=clean, response=returns, **shared)


def log_i(n: np.ndarray, e: np.ndarray) -> np.ndarray:
    """log I by the true law."""
    return LAW.log_intrinsic(np.log(n), np.log(e))


def only(points: BinnedPoints, rows: np.ndarray) -> BinnedPoints:
    """Some of the points."""
    arrays = {name: value[rows] for name, value in vars(points).items() if isinstance(value, np.ndarray)}
    return replace(points, **arrays)


def grid() -> tuple[np.ndarray, np.ndarray]:
    """(N, E) beyond the fitted ones in both."""
    return SIZES[-1] * np.array([1.0, 2.0, 4.0]), np.array([1e8, 2e8, 4e8])


def test_the_lemma_law_with_its_map_returns_what_made_the_points():
    points = points_of(lambda n, e: 0.02 * log_i(n, e))
    n, e = grid()
    np.testing.assert_allclose(
        fit_lemma(points, LAW).predict(np.log(n), np.log(e)), 0.02 * log_i(n, e), atol=2e-3
    )


def test_beta_and_a_factor_on_both_terms_change_no_return_if_the_map_is_free():
    """S = (N_c/N)^a + (E_c/E)^b orders points as log I does, whatever power and factor are put on it."""
    points = points_of(lambda n, e: np.tanh(0.1 * log_i(n, e) - 2))
    n, e = np.exp(points.log_n), np.exp(points.log_e)
    total = (LAW.N_c / n) ** LAW.alpha_N + (LAW.E_c / e) ** LAW.alpha_E
    for power, factor in ((1.0, 1.0), (0.2, 50.0)):
        level = -np.log(factor * total) / power
        np.testing.assert_array_equal(np.argsort(level), np.argsort(log_i(n, e)))


def test_anchored_to_the_measured_frontier_beta_obeys_the_lemma_where_the_lemma_holds():
    sizes = 500 * 2.0 ** np.arange(0, 13, 0.5)  # so small and large that the best size is never at an end
    points = points_of(lambda n, e: 0.02 * log_i(n, e), sizes=sizes)
    start = PowerLaw.from_constants(0.4, 0.4, 1e-2)
    found = fit_anchored(points, start)
    assert found is not None
    assert found.constants["beta_over_lemma"] == pytest.approx(1, abs=0.03)
    assert found.constants["nu"] == pytest.approx(LAW.nu, abs=0.02)
    n, e = grid()
    np.testing.assert_allclose(found.predict(np.log(n), np.log(e)), 0.02 * log_i(n, e), atol=1e-2)


def test_anchored_needs_a_frontier():
    assert fit_anchored(points_of(lambda n, e: 0.1 + 0 * n, sizes=SIZES[:1]), LAW) is None


@pytest.mark.parametrize("shares", [True, False])
def test_the_power_law_plus_constant_recovers_its_own(shares):
    def loss(n, e):
        return 0.05 + 40 * n**-0.5 + 300 * e**-0.6

    scale = 1.0 if shares else 250.0
    points = points_of(lambda n, e: scale * (1 - loss(n, e)))
    found = fit_chinchilla(points, LAW)
    n, e = grid()
    np.testing.assert_allclose(
        found.predict(np.log(n), np.log(e)), scale * (1 - loss(n, e)), atol=1e-3 * scale
    )
    assert found.a == pytest.approx(0.5, abs=0.01)
    assert found.b == pytest.approx(0.6, abs=0.01)
    if shares:
        assert pytest.approx(0.05, abs=1e-3) == found.E_0


def test_outliers_hardly_move_the_power_law_plus_constant():
    points = points_of(lambda n, e: 1 - (0.05 + 40 * n**-0.5 + 300 * e**-0.6))
    points.returns[::40] -= 0.2
    found = fit_chinchilla(points, LAW)
    assert found.a == pytest.approx(0.5, abs=0.02)
    assert found.b == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("beyond", ["compute", "size"])
def test_the_sigmoid_recovers_its_own_later_and_at_other_sizes(beyond):
    def sigmoid(n, e):
        log_n = np.log(n / 1e4)
        top = 0.6 + 0.03 * log_n
        return 0.1 + (top - 0.1) * expit(0.9 * (np.log(n * e) - 24 - 0.5 * log_n))

    found = fit_sigmoid(points_of(sigmoid), LAW)
    assert found is not None
    n = SIZES[[0, 3, 7]] if beyond == "compute" else SIZES[-1] * np.array([1.5, 2, 2.5])
    e = np.array([3e8, 2e8, 2e8]) if beyond == "compute" else np.array([1e7, 5e7, 1e8])
    np.testing.assert_allclose(found.predict(np.log(n), np.log(e)), sigmoid(n, e), atol=1e-2)


def test_a_size_with_few_points_gets_its_sigmoid_from_the_others():
    points = points_of(lambda n, e: 0.5 + 0.01 * np.log(n * e))
    few = (points.size < 2) & (np.arange(len(points.size)) % 10 != 0)
    found = fit_sigmoid(only(points, ~few), LAW)
    assert found is not None
    assert len(found.log_n) == len(SIZES) - 2
    assert np.isfinite(found.predict(np.log(SIZES), np.full(len(SIZES), 16.0))).all()
    assert fit_sigmoid(only(points, points.size < 2), LAW) is None


def test_every_law_predicts_finite_returns_of_any_shape_from_noisy_points():
    points = points_of(lambda n, e: expit(0.4 * (log_i(n, e) - 26)) * 0.98, noise=0.005)
    for kind in LAWS:
        law = kind.fit(points, LAW)
        assert law is not None
        assert law.predict(np.log(SIZES)[:, None], np.log([[1e5, 1e7, 1e9]])).shape == (len(SIZES), 3)
        assert np.isfinite(law.predict(7.0, 23.0))
        assert all(np.isfinite(value) for value in law.constants.values())
