"""The increasing map from log I to return, continued beyond the measured returns.

Predictions beyond the largest measured intrinsic performance need an assumption of how the map continues,
because isotonic regression has none. The assumption is a straight line in log I through the last quarter of
the map, on one of two scales,

* ``linear``: return itself;
* ``failure``: log(1 - R), for returns that are shares of success in 0..1, whose failure rate falls as a power
  of intrinsic performance (Hilton, Tang, Schulman 2023, section on natural performance metrics).

If both are possible, the data decide: a line through the third quarter is continued into the last one on
either scale, and the scale with the smaller error is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Bools, Floats
from rlscale.analysis.fit.monotone_map import MonotoneMap
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.theory.power_law import PowerLaw

ExtensionScale = Literal["linear", "failure"]

#: Share of the map's range in log I through which its continuation is drawn.
TAIL = 0.25
_BINS = 8  # averages that a line goes through; a mean of logarithms of single noisy returns is biased
_MIN_FAILURE = 1e-6


@dataclass(frozen=True)
class Line:
    """A straight line in log I through (``x``, ``level``) on the scale of the map's continuation."""

    x: float
    level: float
    slope: float

    def at(self, log_i: ArrayLike) -> Floats:
        """Scaled return at log I."""
        return self.level + self.slope * (np.asarray(log_i, float) - self.x)


@dataclass(frozen=True)
class ExtendedMap:
    """Return for log I: a piecewise-linear increasing map inside, straight lines beyond its two ends.

    Attributes:
        inside: the map within the measured range.
        scale: of the lines.
        below, above: the lines, from the first and the last knot on.
    """

    inside: MonotoneMap
    scale: ExtensionScale
    below: Line
    above: Line

    @classmethod
    def through(cls, log_i: Floats, returns: Floats, weight: Floats, tail: float = TAIL) -> ExtendedMap:
        """Isotonic regression of return on log I with its continuations.

        Args:
            log_i, returns, weight: shape ``(n,)``.
            tail: share of the range of log I that a continuation is drawn through, at most a half.
        """
        inside = MonotoneMap.from_points(returns, log_i, weight)
        scale = _scale(log_i, returns, weight, tail)
        low, high = log_i.min(), log_i.max()
        reach = tail * (high - low)
        first, last = float(inside.log_intrinsic[0]), float(inside.log_intrinsic[-1])
        below = _line(log_i, returns, weight, scale, (low, low + reach), first)
        above = _line(log_i, returns, weight, scale, (high - reach, high), last)
        # The ends of an isotonic regression are extremes of noise; the lines are averages.
        bottom = float(_unscaled(below.level, scale))
        top = max(float(_unscaled(above.level, scale)), bottom)
        return cls(
            inside.model_copy(update={"return_": np.clip(inside.return_, bottom, top)}), scale, below, above
        )

    def return_of(self, log_i: ArrayLike) -> Floats:
        """Return at log I, natural logarithm, any shape."""
        x = np.asarray(log_i, float)
        inside = np.interp(x, self.inside.log_intrinsic, self.inside.return_)
        below, above = (_unscaled(line.at(x), self.scale) for line in (self.below, self.above))
        return np.where(x < self.below.x, below, np.where(x > self.above.x, above, inside))

    def beyond(self, log_i: ArrayLike) -> Bools:
        """Whether log I lies outside the measured range, so that its return is an extrapolation."""
        x = np.asarray(log_i, float)
        return (x < self.below.x) | (x > self.above.x)


@dataclass(frozen=True)
class LawWithMap:
    """Returns by the power law and the map fitted with it."""

    law: PowerLaw
    map: ExtendedMap

    @classmethod
    def through(
        cls,
        law: PowerLaw,
        points: BinnedPoints,
        tail: float = TAIL,
    ) -> LawWithMap:
        """The map that fits these points best given the law."""
        log_i = law.log_intrinsic(points.log_n, points.log_e)
        return cls(law, ExtendedMap.through(log_i, points.returns, points.weight, tail))

    def predict(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """Return at (N, E), given as natural logarithms that broadcast together."""
        return self.map.return_of(self.law.log_intrinsic(log_n, log_e))

    def beyond(self, log_n: ArrayLike, log_e: ArrayLike) -> Bools:
        """Whether the return at (N, E), given as logarithms, needs the map's continuation."""
        return self.map.beyond(self.law.log_intrinsic(log_n, log_e))


def are_shares(returns: Floats) -> bool:
    """Whether returns may be shares of success: all in 0..1, and never quite 1."""
    return bool(returns.min() >= 0 and returns.max() < 1)


def _scale(log_i: Floats, returns: Floats, weight: Floats, tail: float) -> ExtensionScale:
    """The scale on which the stretch before the tail, continued, is nearest to the tail."""
    if not are_shares(returns):
        return "linear"
    high, reach = log_i.max(), tail * np.ptp(log_i)
    last = log_i > high - reach

    def error(scale: ExtensionScale) -> float:
        line = _line(log_i, returns, weight, scale, (high - 2 * reach, high - reach), float(high - reach))
        return float(weight[last] @ np.abs(_unscaled(line.at(log_i[last]), scale) - returns[last]))

    return "linear" if error("linear") <= error("failure") else "failure"


def _line(
    log_i: Floats,
    returns: Floats,
    weight: Floats,
    scale: ExtensionScale,
    stretch: tuple[float, float],
    end: float,
) -> Line:
    """Weighted least-squares line through averages of the points in ``stretch``, stated at ``end``.

    Falls back to a level line where the points do not give a rising one.
    """
    low, high = stretch
    rows = (log_i >= low) & (log_i <= high)
    cell = np.minimum(((log_i[rows] - low) / max(high - low, 1e-300) * _BINS).astype(np.int64), _BINS - 1)
    mass = np.bincount(cell, weights=weight[rows], minlength=_BINS)
    used = mass > 0
    if not used.any():
        nearest = int(np.abs(log_i - end).argmin())
        return Line(end, float(_scaled(returns[nearest], scale)), 0.0)

    def averaged(values: Floats) -> Floats:
        return np.bincount(cell, weights=weight[rows] * values[rows], minlength=_BINS)[used] / mass[used]

    x, z, w = averaged(log_i), _scaled(averaged(returns), scale), mass[used] / mass.sum()
    dx, dz = x - w @ x, z - w @ z
    spread = float(w @ dx**2)
    slope = max(float(w @ (dx * dz)) / spread, 0.0) if spread > 1e-12 else 0.0
    return Line(end, float(w @ z + slope * (end - w @ x)), slope)


def _scaled(returns: ArrayLike, scale: ExtensionScale) -> Floats:
    values = np.asarray(returns, float)
    return -np.log(np.maximum(1 - values, _MIN_FAILURE)) if scale == "failure" else values


def _unscaled(values: ArrayLike, scale: ExtensionScale) -> Floats:
    scaled = np.asarray(values, float)
    return 1 - np.exp(-scaled) if scale == "failure" else scaled
