"""The increasing map from log I to return, continued beyond the measured returns.

Predictions beyond the largest measured intrinsic performance need an assumption of how the map continues,
because isotonic regression has none. With d = log I - top, the assumption is

    R = a + b (1 - e^(-q d))/q,    b >= 0,  0 <= q <= 1.5,

a straight line for q = 0 and a return that levels off for q > 0, by least squares through averages of the
last part of the map. Learning curves level off sooner or later: a straight line alone is too high. The
curve is drawn on one of two scales,

* ``linear``: return itself;
* ``failure``: log(1 - R), for returns that are shares of success in 0..1, whose failure rate falls as a power
  of intrinsic performance (Hilton, Tang, Schulman 2023, section on natural performance metrics).

If both are possible, the data decide: a line through the third quarter is continued into the last one on
either scale, and the scale with the smaller error is used. Below the measured range the continuation is a
straight line down to the least measured return: an agent that has learned nothing does not get worse.
"""

from __future__ import annotations

from collections.abc import Sequence
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
TAIL = 0.35
#: How fast a continuation may level off, per unit of log I.
RATES = tuple(np.round(np.arange(0, 1.51, 0.02), 2).tolist())
STRAIGHT = (0.0,)
#: Share of the range that the line below goes through, and of each of two stretches that decide the scale.
_BELOW = 0.25
_BINS = 16  # averages that a curve goes through; a mean of logarithms of single noisy returns is biased
_MIN_FAILURE = 1e-6


@dataclass(frozen=True)
class Tail:
    """The scaled return ``level + slope (1 - e^(-rate d))/rate`` with d = log I - ``end``."""

    end: float
    level: float
    slope: float
    rate: float = 0.0

    def at(self, log_i: ArrayLike) -> Floats:
        """Scaled return at log I."""
        return self.level + self.slope * _rise(np.asarray(log_i, float) - self.end, self.rate)


@dataclass(frozen=True)
class ExtendedMap:
    """Return for log I: a piecewise-linear increasing map inside, smooth curves beyond its two ends.

    Attributes:
        inside: the map within the measured range.
        scale: of the curves.
        below, above: the curves, from the first and the last knot on.
        least: return at which the curve below ends.
        shares: whether returns may be shares of success.
    """

    inside: MonotoneMap
    scale: ExtensionScale
    below: Tail
    above: Tail
    least: float
    shares: bool

    @classmethod
    def through(
        cls,
        log_i: Floats,
        returns: Floats,
        weight: Floats,
        *,
        tail: float = TAIL,
        rates: Sequence[float] = RATES,
        scale: ExtensionScale | None = None,
    ) -> ExtendedMap:
        """Isotonic regression of return on log I with its continuations.

        Args:
            log_i, returns, weight: shape ``(n,)``.
            tail: share of the range of log I that the continuation above is drawn through, at most 1.
            rates: values of q to choose from; ``STRAIGHT`` for a straight line.
            scale: of the continuations; chosen by the data if not given.
        """
        inside = MonotoneMap.from_points(returns, log_i, weight)
        scale = scale or _scale(log_i, returns, weight)
        low, high = log_i.min(), log_i.max()
        span = high - low
        first, last = float(inside.log_intrinsic[0]), float(inside.log_intrinsic[-1])
        below = _tail(log_i, returns, weight, scale, (low, low + _BELOW * span), first, STRAIGHT)
        above = _tail(log_i, returns, weight, scale, (high - tail * span, high), last, rates)
        # The ends of an isotonic regression are extremes of noise; the curves are averages.
        bottom = float(_unscaled(below.level, scale))
        top = max(float(_unscaled(above.level, scale)), bottom)
        inside = inside.model_copy(update={"return_": np.clip(inside.return_, bottom, top)})
        return cls(inside, scale, below, above, min(float(returns.min()), bottom), are_shares(returns))

    def return_of(self, log_i: ArrayLike) -> Floats:
        """Return at log I, natural logarithm, any shape."""
        x = np.asarray(log_i, float)
        inside = np.interp(x, self.inside.log_intrinsic, self.inside.return_)
        floor = float(_scaled(self.least, self.scale))
        below = np.maximum(self.below.at(np.minimum(x, self.below.end)), floor)
        above = _unscaled(self.above.at(np.maximum(x, self.above.end)), self.scale)
        below = _unscaled(below, self.scale)
        return np.where(x < self.below.end, below, np.where(x > self.above.end, above, inside))

    def bounded(self, returns: Floats) -> Floats:
        """Returns that are shares within 0..1, others as they are."""
        return np.clip(returns, 0.0, 1.0) if self.shares else returns

    def beyond(self, log_i: ArrayLike) -> Bools:
        """Whether log I lies outside the measured range, so that its return is an extrapolation."""
        x = np.asarray(log_i, float)
        return (x < self.below.end) | (x > self.above.end)


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
        *,
        tail: float = TAIL,
        rates: Sequence[float] = RATES,
        scale: ExtensionScale | None = None,
    ) -> LawWithMap:
        """The map that fits these points best given the law; arguments as of ``ExtendedMap.through``."""
        log_i = law.log_intrinsic(points.log_n, points.log_e)
        made = ExtendedMap.through(log_i, points.returns, points.weight, tail=tail, rates=rates, scale=scale)
        return cls(law, made)

    def predict(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """Return at (N, E), given as natural logarithms that broadcast together."""
        return self.map.return_of(self.law.log_intrinsic(log_n, log_e))

    def beyond(self, log_n: ArrayLike, log_e: ArrayLike) -> Bools:
        """Whether the return at (N, E), given as logarithms, needs the map's continuation."""
        return self.map.beyond(self.law.log_intrinsic(log_n, log_e))


def are_shares(returns: Floats) -> bool:
    """Whether returns may be shares of success: all in 0..1, and never quite 1."""
    return bool(returns.min() >= 0 and returns.max() < 1)


def _scale(log_i: Floats, returns: Floats, weight: Floats) -> ExtensionScale:
    """The scale on which the third quarter of the map, continued as a line, is nearest to the last one."""
    if not are_shares(returns):
        return "linear"
    high, reach = log_i.max(), _BELOW * np.ptp(log_i)
    last = log_i > high - reach
    stretch = (high - 2 * reach, high - reach)

    def error(scale: ExtensionScale) -> float:
        line = _tail(log_i, returns, weight, scale, stretch, float(high - reach), STRAIGHT)
        return float(weight[last] @ np.abs(_unscaled(line.at(log_i[last]), scale) - returns[last]))

    return "linear" if error("linear") <= error("failure") else "failure"


def _tail(
    log_i: Floats,
    returns: Floats,
    weight: Floats,
    scale: ExtensionScale,
    stretch: tuple[float, float],
    end: float,
    rates: Sequence[float],
) -> Tail:
    """Weighted least-squares curve through averages of the points in ``stretch``, stated at ``end``.

    Falls back to a level line where the points do not give a rising one.
    """
    low, high = stretch
    rows = (log_i >= low) & (log_i <= high)
    cell = np.minimum(((log_i[rows] - low) / max(high - low, 1e-300) * _BINS).astype(np.int64), _BINS - 1)
    mass = np.bincount(cell, weights=weight[rows], minlength=_BINS)
    used = mass > 0
    if not used.any():
        nearest = int(np.abs(log_i - end).argmin())
        return Tail(end, float(_scaled(returns[nearest], scale)), 0.0)

    def averaged(values: Floats) -> Floats:
        return np.bincount(cell, weights=weight[rows] * values[rows], minlength=_BINS)[used] / mass[used]

    x, z, w = averaged(log_i), _scaled(averaged(returns), scale), mass[used] / mass.sum()
    rise = np.stack([_rise(x - end, rate) for rate in rates])  # (rates, bins)
    middle, dz = rise @ w, z - w @ z
    spread = (rise - middle[:, None]) ** 2 @ w
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(spread > 1e-12, np.maximum(((rise - middle[:, None]) * dz) @ w / spread, 0.0), 0.0)
    left = (dz - slope[:, None] * (rise - middle[:, None])) ** 2 @ w
    best = int(left.argmin())
    return Tail(end, float(w @ z - slope[best] * middle[best]), float(slope[best]), float(rates[best]))


def _rise(d: Floats, rate: float) -> Floats:
    return -np.expm1(-rate * d) / rate if rate > 0 else d


def _scaled(returns: ArrayLike, scale: ExtensionScale) -> Floats:
    values = np.asarray(returns, float)
    return -np.log(np.maximum(1 - values, _MIN_FAILURE)) if scale == "failure" else values


def _unscaled(values: ArrayLike, scale: ExtensionScale) -> Floats:
    scaled = np.asarray(values, float)
    return 1 - np.exp(-scaled) if scale == "failure" else scaled
