"""Weighted isotonic regression: the increasing map f between return and intrinsic performance.

The map is whatever increasing function fits best, so nothing is assumed about how return
grows with intrinsic performance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from rlscale.analysis.arrays import Floats


@dataclass(frozen=True)
class MonotoneMap:
    """A piecewise-linear increasing map between return and log I.

    Attributes:
        returns: knots, strictly increasing, shape ``(k,)``.
        log_intrinsic: natural logarithm of I at the knots, strictly increasing, shape ``(k,)``.
    """

    returns: Floats
    log_intrinsic: Floats

    @classmethod
    def from_points(cls, returns: Floats, log_intrinsic: Floats, weight: Floats) -> MonotoneMap:
        """Isotonic regression of return on log I: a knot for each of its levels.

        Return is the response, for that is where the noise is. A level's knot is at the weighted mean
        log I of its points.
        """
        order = np.argsort(log_intrinsic, kind="stable")
        x, y, w = log_intrinsic[order], returns[order], weight[order]
        result = isotonic_regression(y, weights=w)
        first = result.blocks[:-1]
        mass = np.add.reduceat(w, first)
        knots_x = np.add.reduceat(w * x, first) / mass
        knots_y = result.x[first]
        keep = np.concatenate([[True], (np.diff(knots_x) > 0) & (np.diff(knots_y) > 0)])
        return cls(knots_y[keep], knots_x[keep])

    def intrinsic_of(self, returns: ArrayLike) -> Floats:
        """I for a return; beyond the map's range the nearest end's."""
        return np.exp(np.interp(np.asarray(returns, float), self.returns, self.log_intrinsic))

    def return_of(self, intrinsic: ArrayLike) -> Floats:
        """Return for I; beyond the map's range the nearest end's."""
        return np.interp(np.log(np.asarray(intrinsic, float)), self.log_intrinsic, self.returns)

    def known_return_of(self, intrinsic: float) -> float | None:
        """Return for I, or None where the map would have to be extrapolated."""
        log_i = np.log(intrinsic)
        if not self.log_intrinsic[0] <= log_i <= self.log_intrinsic[-1]:
            return None
        return float(self.return_of(intrinsic))
