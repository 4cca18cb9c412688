"""Weighted isotonic regression: the increasing map f between return and intrinsic performance.

The map is whatever increasing function fits best, so nothing is assumed about how return
grows with intrinsic performance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

Floats = NDArray[np.float64]


def isotonic_fit(x: Floats, y: Floats, weight: Floats) -> Floats:
    """Increasing function of ``x`` closest to ``y`` in weighted least squares, at each ``x``.

    Points of equal ``x`` are pooled first: a function has one value for each of them.

    Args:
        x, y, weight: shape ``(n,)``; weights positive.

    Returns:
        Fitted values, shape ``(n,)``, in the order given.
    """
    return TiedOrder(x, weight).fit(y)


class TiedOrder:
    """Isotonic regression on a fixed ``x``, for many responses: sorts and pools ties once."""

    def __init__(self, x: Floats, weight: Floats) -> None:
        """Prepare for ``x`` and positive ``weight``, both of shape ``(n,)``."""
        _, self._group = np.unique(x, return_inverse=True)
        self._weight = weight
        self._group_weight = np.bincount(self._group, weights=weight)

    def fit(self, y: Floats) -> Floats:
        """Fitted values for response ``y``, shape ``(n,)``, in the order given."""
        pooled = np.bincount(self._group, weights=self._weight * y) / self._group_weight
        return isotonic_regression(pooled, weights=self._group_weight).x[self._group]


def isotonic_loss(x: Floats, y: Floats, weight: Floats) -> float:
    """Weighted sum of squares of ``y`` about its best increasing function of ``x``.

    Ties in ``x`` are not pooled: for a continuous ``x`` they do not occur.
    """
    order = np.argsort(x, kind="stable")  # curves are sorted runs, which a merge sort makes use of
    y, weight = y[order], weight[order]
    residual = y - isotonic_regression(y, weights=weight).x
    return float(weight @ (residual * residual))


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
