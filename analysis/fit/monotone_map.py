"""Weighted isotonic regression: the increasing map f between return and intrinsic performance.

I = f(R) (Hilton, Tang, Schulman 2023, section 2): f is whichever increasing function fits best, so
nothing is assumed about how return grows with intrinsic performance.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import model_validator
from scipy.optimize import isotonic_regression

from rlscale.analysis.arrays import Bools, Floats, StoredFloats
from rlscale.analysis.records import Columns, return_field


class MonotoneMap(Columns):
    """A piecewise-linear increasing map between return and log I.

    Attributes:
        return_: knots, strictly increasing, shape ``(k,)`` (``return`` in the JSON).
        intrinsic: I at the knots, strictly increasing, shape ``(k,)``.
    """

    return_: StoredFloats = return_field()
    intrinsic: StoredFloats

    @model_validator(mode="after")
    def _is_increasing(self) -> Self:
        if not len(self.intrinsic) or self.intrinsic[0] <= 0:
            raise ValueError("a map needs knots of positive intrinsic performance")
        if not ((np.diff(self.intrinsic) > 0).all() and (np.diff(self.return_) > 0).all()):
            raise ValueError("the map does not increase")
        return self

    @classmethod
    def from_points(cls, returns: Floats, log_intrinsic: Floats, weight: Floats) -> MonotoneMap:
        """Isotonic regression of return on log I: a knot for each of its levels.

        Return is the response, because the noise is in it. A level's knot is at the weighted mean
        log I of its points.

        Args:
            returns, log_intrinsic, weight: shape ``(n,)``.
        """
        order = np.argsort(log_intrinsic, kind="stable")
        x, y, w = log_intrinsic[order], returns[order], weight[order]
        result = isotonic_regression(y, weights=w)
        first = result.blocks[:-1]
        mass = np.add.reduceat(w, first)
        knots_x = np.add.reduceat(w * x, first) / mass
        knots_y = result.x[first]
        intrinsic = np.exp(knots_x)
        # Means of equal logarithms differ by rounding, in either direction.
        keep = _is_above_all_before(intrinsic) & _is_above_all_before(knots_y)
        return cls(return_=knots_y[keep], intrinsic=intrinsic[keep])

    @property
    def log_intrinsic(self) -> Floats:
        """Natural logarithm of I at the knots, shape ``(k,)``."""
        return np.log(self.intrinsic)

    def log_intrinsic_of(self, returns: ArrayLike) -> Floats:
        """log I for a return; beyond the map's range the nearest end's."""
        return np.interp(np.asarray(returns, float), self.return_, self.log_intrinsic)

    def intrinsic_of(self, returns: ArrayLike) -> Floats:
        """I for a return; beyond the map's range the nearest end's."""
        return np.exp(self.log_intrinsic_of(returns))

    def return_of_log(self, log_i: ArrayLike) -> Floats:
        """Return for log I; beyond the map's range the nearest end's."""
        return np.interp(np.asarray(log_i, float), self.log_intrinsic, self.return_)

    def return_of(self, intrinsic: ArrayLike) -> Floats:
        """Return for I; beyond the map's range the nearest end's."""
        return self.return_of_log(np.log(np.asarray(intrinsic, float)))

    def known_return_of_log(self, log_i: ArrayLike) -> Floats:
        """Return for log I, not a number where the map would have to be extrapolated."""
        x, knots = np.asarray(log_i, float), self.log_intrinsic
        return np.where((x >= knots[0]) & (x <= knots[-1]), self.return_of_log(x), np.nan)

    def known_return_of(self, intrinsic: float) -> float | None:
        """Return for I, or None where the map would have to be extrapolated."""
        found = float(self.known_return_of_log(np.log(intrinsic)))
        return None if np.isnan(found) else found


def _is_above_all_before(values: Floats) -> Bools:
    """Whether each value is larger than every earlier one, shape ``(n,)``."""
    highest = np.maximum.accumulate(values)
    return np.concatenate([[True], values[1:] > highest[:-1]])
