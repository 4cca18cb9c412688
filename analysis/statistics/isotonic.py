"""Weighted isotonic regression: min Σ w (y - f(x))² over increasing f, by pooling adjacent violators."""

from __future__ import annotations

import numpy as np
from scipy.optimize import isotonic_regression

from rlscale.analysis.arrays import Floats


def isotonic_fit(x: Floats, y: Floats, weight: Floats) -> Floats:
    """Increasing function of ``x`` closest to ``y`` in weighted least squares, at each ``x``.

    Points of equal ``x`` are pooled first, because a function has one value there.

    Args:
        x, y, weight: shape ``(n,)``; weights positive.

    Returns:
        Fitted values, shape ``(n,)``, in the order of the input.
    """
    return TiedOrder(x, weight).fit(y)


class TiedOrder:
    """Isotonic regression on a fixed ``x``, for many responses; sorts and pools ties once."""

    def __init__(self, x: Floats, weight: Floats) -> None:
        """Prepare for ``x`` and positive ``weight``, both of shape ``(n,)``."""
        _, self._group = np.unique(x, return_inverse=True)
        self._weight = weight
        self._group_weight = np.bincount(self._group, weights=weight)

    def fit(self, y: Floats) -> Floats:
        """Fitted values for response ``y``, shape ``(n,)``, in the order of the input."""
        pooled = np.bincount(self._group, weights=self._weight * y) / self._group_weight
        return isotonic_regression(pooled, weights=self._group_weight).x[self._group]


def isotonic_loss(x: Floats, y: Floats, weight: Floats) -> float:
    """Weighted sum of squares of ``y`` about its best increasing function of ``x``.

    Does not pool ties in ``x``, which a continuous ``x`` does not have.
    """
    order = np.argsort(x, kind="stable")  # curves are sorted runs, which a merge sort exploits
    y, weight = y[order], weight[order]
    residual = y - isotonic_regression(y, weights=weight).x
    return float(weight @ (residual * residual))
