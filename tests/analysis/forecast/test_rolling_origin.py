"""Errors beyond earlier ends of the data: none where the law holds, those of the bend where it does not."""

import numpy as np
import pytest

from rlscale.analysis.forecast.extended_map import LawWithMap
from rlscale.analysis.forecast.rolling_origin import RollingOrigin, as_far, nearest_in_reach
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.theory.power_law import PowerLaw

LOG_N = np.log(1e4 * 2.0 ** np.arange(6))
LOG_E = np.log(np.geomspace(1e5, 1e8, 20))
LAW = PowerLaw.from_constants(0.3, 0.5, 1e-3).stated_at(float(LOG_N.mean() + LOG_E.mean()))
TOP = LOG_N[-1] + LOG_E[-1]
SPAN = np.ptp(LOG_N) + np.ptp(LOG_E)


def origin(returns_at, keep=slice(None)) -> RollingOrigin:
    """Of six sizes at twenty lengths, returns from ``returns_at(log N, log E)``."""
    n, e = (x.ravel() for x in np.meshgrid(LOG_N[keep], LOG_E, indexing="ij"))
    returns = returns_at(n, e)
    size = np.repeat(np.arange(len(LOG_N[keep])), len(LOG_E))
    points = BinnedPoints(n, e, returns, returns, returns, np.full(len(n), 1 / len(n)), size)
    return RollingOrigin(LAW, points, "return", LawWithMap.through)


def true(n, e):
    return 0.1 * LAW.log_intrinsic(n, e)


def bent(n, e):
    return true(n, e) - 0.01 * np.maximum(n + e - (TOP - 0.5 * SPAN), 0.0) ** 2


def test_a_law_that_holds_misses_nothing_and_one_that_bends_ever_more():
    e = TOP - LOG_N[-1] + SPAN * np.array([0.05, 0.3, 0.6])
    n = np.full(3, LOG_N[-1])
    assert np.all(origin(true).half_width(n, e) < 1e-9)
    widths = origin(bent).half_width(n, e)
    assert np.all(np.diff(widths) > 0.02)
    assert widths[-1] > 0.1


def test_within_the_points_nothing_is_added():
    ends = origin(bent)
    assert np.all(ends.half_width(LOG_N[[0, 2, 5]], LOG_E[[19, 10, 19]]) == 0)
    assert not len(ends.misses_later(LOG_N[-1], LOG_E[-1]))
    assert not len(ends.misses_larger(LOG_N[-1] + 0.01))


def test_a_larger_size_is_missed_as_the_last_ones_were():
    odd = LOG_N[-1]
    moved = origin(lambda n, e: true(n, e) + 0.2 * (n == odd))
    cuts = moved.beyond_sizes
    assert [len(np.unique(distance)) for distance, _ in cuts] == [2, 1]
    near, missed = np.log(2.0), 0.2 * np.sqrt(1.5)  # of two cuts
    for distance, error in cuts:
        last = np.isclose(distance, distance.max())
        assert error[last] == pytest.approx(missed)
    assert moved.half_width(np.array([odd + near]), LOG_E[:1]) == pytest.approx(missed)
    assert origin(true).half_width(np.array([odd + near]), LOG_E[:1]) == pytest.approx(0, abs=1e-9)


def test_too_little_to_fit_below_a_cut_says_nothing():
    small = origin(bent, keep=slice(3))
    assert small.beyond_sizes == []
    few = RollingOrigin(
        LAW, small.points.only(np.arange(len(small.points.log_n)) % 4 == 0), "return", LawWithMap.through
    )
    assert not len(few.beyond_compute[0])
    assert few.half_width(LOG_N[2:3], LOG_E[-1:] + 1) == 0


def test_the_errors_nearest_in_reach_are_chosen_and_grow_beyond_all():
    reach = np.linspace(0.1, 1.0, 100)
    chosen = nearest_in_reach(reach, reach, 0.5)
    assert len(chosen) == 20
    assert np.ptp(chosen) < 0.2
    assert np.mean(chosen) == pytest.approx(0.5, abs=0.01)
    far = nearest_in_reach(reach, np.ones(100), 2.0)
    assert far == pytest.approx(2.0 / np.median(reach[-20:]))


def test_the_size_as_far_away_is_chosen_and_its_errors_grow_with_distance():
    distance, errors = np.array([1.0, 1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert as_far(distance, errors, 1.2).tolist() == [1.2, 2.4]
    assert as_far(distance, errors, 1.9).tolist() == [3.0, 4.0]
    assert as_far(distance, errors, 4.0).tolist() == [6.0, 8.0]
