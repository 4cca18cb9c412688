"""Differences between sizes that neither the law nor the seeds explain.

The tuning of a size, the rounding of its shape, or a kink of the family moves its whole curve, all seeds
alike. As a shift of log I that is, to first order, a shift of the response by δ h'(log I), h the increasing
map. Per size

    δ_s = Σ w r h' / Σ w h'²,        r = response - h(log I),

and σ² is the mean of δ_s² less what seeds alone give. The law has taken up part of the shifts with its three
parameters: of S sizes S - 3 are left. A bootstrap over seeds keeps the same sizes, so its draws add shifts of
this spread, with Student's quantiles for S - 3 degrees of freedom. The widening of draws for few seeds
is not meant for these shifts and is divided out. The paper's objective sees the smoothed return, not the
response, so the same shift of log I moves that too, by the slope of its own map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import norm
from scipy.stats import t as student

from rlscale.analysis.arrays import Floats, StoredFloats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.points.resampling import resample, scheme_for, widening
from rlscale.analysis.records import INTERVAL_LEVEL, Record
from rlscale.analysis.theory.power_law import PowerLaw

_RESAMPLES = 40
_LAW_PARAMETERS = 3
_MIN_SIZES = 5
_KNOTS = 16  # of the slope of h: fewer would blur it, more would follow noise


class SizeEffect(Record):
    """Shifts of log I of whole sizes.

    Attributes:
        sigma: their standard deviation beyond the noise of seeds, natural logarithm; 0 if seeds explain all.
        N: the sizes, shape ``(sizes,)``.
        shift: estimated shift of each, as measured, with the noise of seeds.
    """

    sigma: float
    N: StoredFloats
    shift: StoredFloats


def _log_i(law: PowerLaw, points: BinnedPoints) -> Floats:
    """log I - log C0 at the points, shape ``(n,)``: the same, bit for bit, in all units."""
    counted = points.counted(law.delay)
    return law.without_delay().log_relative_intrinsic(counted.log_n, counted.log_e)


@dataclass(frozen=True)
class ResponseMap:
    """h, the increasing function of log I closest to the response of points, and its slope.

    Attributes:
        law: gives log I.
        log_i, level: knots of h, ascending; log I relative to C0.
        middle, slope: knots of its slope.
    """

    law: PowerLaw
    log_i: Floats
    level: Floats
    middle: Floats
    slope: Floats

    @classmethod
    def of_returns(cls, law: PowerLaw, points: BinnedPoints) -> ResponseMap:
        """The same map with the smoothed returns for the response."""
        return cls.through(law, replace(points, response=points.smooth_returns))

    @classmethod
    def through(cls, law: PowerLaw, points: BinnedPoints) -> ResponseMap:
        """Isotonic regression, a knot at the middle of each level."""
        log_i = _log_i(law, points)
        order = np.argsort(log_i, kind="stable")
        x, w = log_i[order], points.weight[order]
        result = isotonic_regression(points.response[order], weights=w)
        first = result.blocks[:-1]
        knots = np.add.reduceat(w * x, first) / np.add.reduceat(w, first)
        grid = np.linspace(x[0], x[-1], _KNOTS + 1)
        heights = np.interp(grid, knots, result.x[first])
        rise = np.diff(heights) / np.maximum(np.diff(grid), 1e-300)
        smooth = np.convolve(np.pad(rise, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
        return cls(law, knots, result.x[first], 0.5 * (grid[1:] + grid[:-1]), smooth)

    def response(self, points: BinnedPoints) -> Floats:
        """h at the points, shape ``(n,)``."""
        return np.interp(_log_i(self.law, points), self.log_i, self.level)

    def slopes(self, points: BinnedPoints) -> Floats:
        """h' at the points, shape ``(n,)``."""
        return np.interp(_log_i(self.law, points), self.middle, self.slope)

    def shifts(self, points: BinnedPoints, num_sizes: int) -> tuple[Floats, Floats]:
        """δ and Σ w h'² of each size, shape ``(sizes,)``; δ is 0 where the latter is."""
        slope, residual = self.slopes(points), points.response - self.response(points)
        pull = np.bincount(points.size, points.weight * residual * slope, minlength=num_sizes)
        grip = np.bincount(points.size, points.weight * slope**2, minlength=num_sizes)
        return np.divide(pull, grip, out=np.zeros(num_sizes), where=grip > 0), np.asarray(grip, float)


@dataclass(frozen=True)
class ShiftedSizes:
    """Adds the shifts of sizes that a draw of the bootstrap has.

    Attributes:
        found: what was estimated; None where sizes cannot be told from seeds.
        spread: standard deviation of the shifts to add.
        map: turns them into shifts of the response; ``returns_map``: of smoothed returns.
    """

    found: SizeEffect | None
    spread: float
    map: ResponseMap
    returns_map: ResponseMap

    def draw(self, replicates: int, num_sizes: int, rng: np.random.Generator) -> Floats:
        """Shifts of log I, shape ``(replicates, sizes)``."""
        return self.spread * rng.standard_normal((replicates, num_sizes))

    def shifted(self, points: BinnedPoints, shifts: Floats) -> BinnedPoints:
        """The points with each size shifted by ``shifts`` of shape ``(sizes,)``."""
        if self.spread == 0:
            return points
        mine = shifts[points.size]
        return replace(
            points,
            response=points.response + mine * self.map.slopes(points),
            smooth_returns=points.smooth_returns + mine * self.returns_map.slopes(points),
        )


def estimate_size_effects(
    curves: Curves, preprocessor: Preprocessor, points: BinnedPoints, law: PowerLaw, rng: np.random.Generator
) -> ShiftedSizes:
    """σ from the shifts that the fitted law leaves.

    Args:
        curves: those of ``preprocessor``.
        points: all of them.
        law: fitted to the points.
    """
    fitted, of_returns = ResponseMap.through(law, points), ResponseMap.of_returns(law, points)
    scheme, num_sizes = scheme_for(curves), len(curves.sizes)
    seeds = np.bincount(curves.size_index)
    told = seeds > 1
    if scheme != "seeds" or told.sum() < _MIN_SIZES:
        return ShiftedSizes(None, 0.0, fitted, of_returns)
    shift, grip = fitted.shifts(points, num_sizes)
    drawn = np.array(
        [
            fitted.shifts(preprocessor.points(resample(curves, scheme, rng), smooth=False), num_sizes)[0]
            for _ in range(_RESAMPLES)
        ]
    )
    by_seeds = drawn.var(axis=0, ddof=1)[told] * seeds[told] / (seeds[told] - 1)
    left = num_sizes / (num_sizes - _LAW_PARAMETERS)
    share = grip[told] / max(grip[told].sum(), 1e-300)
    variance = float(share @ (left * shift[told] ** 2 - by_seeds))
    sigma = float(np.sqrt(max(variance, 0.0)))
    level = (1 + INTERVAL_LEVEL) / 2
    quantiles = student.ppf(level, num_sizes - _LAW_PARAMETERS) / norm.ppf(level)
    found = SizeEffect(sigma=sigma, N=curves.sizes, shift=shift)
    return ShiftedSizes(found, float(sigma * quantiles / widening(curves, scheme)), fitted, of_returns)
