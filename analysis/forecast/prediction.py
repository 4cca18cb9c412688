"""Returns at (N, E) with 90% intervals: the law with its map, corrected by the nearest measured size.

An interval has two sources: the law and map of each bootstrap draw, and an error of predicting one
measured size from the next in the same way, drawn from the points nearest in log I. That error holds the
noise of seeds and the part of the misfit that neighbours do not share; few pairs of sizes tell of it, so it
is widened by Student's quantiles. In each draw the map is continued from a tail of another length, in a third
of them straight, because how it goes on is the least known of all.

Both are known from points that the law was fitted to. At more compute than was measured, or for a larger
size, an interval is also at least as wide as the errors of predictions from earlier ends of the data
(``rlscale.analysis.forecast.rolling_origin``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from rlscale.analysis.arrays import Bools, Floats, Ints
from rlscale.analysis.choices import Objective
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.extended_map import RATES, STRAIGHT, LawWithMap
from rlscale.analysis.forecast.next_to_measured import NextToMeasured, nearest
from rlscale.analysis.forecast.rolling_origin import RollingOrigin
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.records import INTERVAL_LEVEL
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.analysis.theory.power_law import PowerLaw

#: Width in log E of the bins of points that predictions rest on: wider than the fit's, to reduce noise.
PREDICTION_BIN = 0.1
_TAILS = (0.3, 0.8)  # shares of the map's range from which draws continue it
_STRAIGHT_SHARE = 1 / 3  # of the draws that continue it as a straight line
_NEAR = 0.15  # share of the measured points whose errors a prediction draws from
_LEAST_NEAR = 12
_MOST_DRAWS = 250  # of a stored fit: enough for the ends of an interval
_SAME = 1e-9  # of log N


@dataclass(frozen=True)
class Prediction:
    """Predicted returns, arrays of one shape.

    Attributes:
        returns: the estimates.
        low, high: ends of 90% prediction intervals of the mean over seeds; NaN without a bootstrap.
        beyond: whether a return needs the map's continuation.
    """

    returns: Floats
    low: Floats
    high: Floats
    beyond: Bools


@dataclass(frozen=True)
class ReturnPredictor:
    """A fit as a predictor of returns, with one like it for each bootstrap draw.

    Attributes:
        centre: the fit.
        draws: of the bootstrap.
        seed: of the errors that are drawn.
        objective: of the fit.
    """

    centre: NextToMeasured
    draws: list[NextToMeasured]
    seed: int
    objective: Objective = "return"

    @classmethod
    def through(
        cls,
        law: PowerLaw,
        draws: list[PowerLaw],
        points: BinnedPoints,
        seed: int,
        objective: Objective = "return",
    ) -> ReturnPredictor:
        """The maps that fit ``points`` best given the law and each drawn one."""
        centre = LawWithMap.through(law, points)
        made = []
        for drawn, how in zip(draws, continuations(len(draws), seed), strict=True):
            rates = STRAIGHT if how.straight else RATES
            made.append(LawWithMap.through(drawn, points, tail=how.tail, rates=rates, scale=centre.map.scale))
        drawers = [NextToMeasured(one, points) for one in made]
        return cls(NextToMeasured(centre, points), drawers, seed, objective)

    @classmethod
    def of(cls, fit: FitResult) -> ReturnPredictor:
        """The predictor of a stored fit, from its points and draws."""
        laws = fit.draw_laws()
        return cls.through(
            fit.law,
            [laws[draw] for draw in predicting_draws(len(laws))],
            _stored_points(fit),
            int(fit.options.get("seed", 0)),
            fit.objective,
        )

    def at(self, log_n: ArrayLike, log_e: ArrayLike) -> Prediction:
        """Returns at (N, E), given as natural logarithms of shape ``(n,)``, with their intervals."""
        n, e = np.broadcast_arrays(np.asarray(log_n, float), np.asarray(log_e, float))
        predicted = self.centre.predict(n, e)
        drawn = np.array([draw.predict(n, e) for draw in self.draws])
        low, high = self.interval(n, e, drawn, predicted)
        return Prediction(predicted, low, high, self.centre.base.beyond(n, e))

    def interval(self, log_n: Floats, log_e: Floats, drawn: Floats, predicted: Floats) -> Floats:
        """Ends of the 90% interval of what is measured at (N, E), shape ``(2, n)``.

        Args:
            log_n, log_e: shape ``(n,)``.
            drawn: returns there by each draw, shape ``(draws, n)``.
            predicted: by the fit, shape ``(n,)``; both ends, if there are no draws.
        """
        if not len(drawn):
            return np.stack([predicted, predicted])
        rng = self._errors_rng()
        log_i = self.centre.base.law.log_intrinsic(log_n, log_e)
        neighbour = nearest(self.centre.sizes, log_n)
        own = np.abs(self.centre.sizes[neighbour] - log_n) < _SAME
        noise = np.empty(drawn.shape)
        for mine, pool in (
            (~own, self._errors_between_sizes),
            (own, self._errors_later(log_e, neighbour, own)),
        ):
            noise[:, mine] = _drawn_near(*pool, log_i[mine], len(drawn), rng)
        noise *= self.error_factor
        low, high = percentile_interval(drawn + noise)
        missed = self.earlier_ends.half_width(log_n, log_e)
        beyond = missed > 0
        low = np.where(beyond, np.minimum(low, predicted - missed), low)
        high = np.where(beyond, np.maximum(high, predicted + missed), high)
        return self.centre.base.map.bounded(np.stack([low, high]))

    @property
    def error_factor(self) -> float:
        """Factor for the errors of one size from the next, of which few pairs of sizes tell."""
        return _few(len(self.centre.sizes) - 1)

    def errors_taken(self) -> Ints:
        """Which of the errors near a single (N, E) each draw takes, counted from the first, ``(draws,)``."""
        return self._errors_rng().integers(_num_near(len(self.centre.points.log_n)), size=len(self.draws))

    def _errors_rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, 1])

    @cached_property
    def earlier_ends(self) -> RollingOrigin:
        """What predictions from earlier ends of the same points missed."""
        base = self.centre.base

        def made(law: PowerLaw, points: BinnedPoints) -> NextToMeasured:
            return NextToMeasured(LawWithMap.through(law, points), points)

        return RollingOrigin(base.law, self.centre.points, self.objective, made)

    @cached_property
    def _errors_between_sizes(self) -> tuple[Floats, Floats]:
        """(log I, error) of each measured point, predicted from the next smaller size; ascending in log I."""
        points, sizes = self.centre.points, self.centre.sizes
        place = np.searchsorted(sizes, points.log_n)
        neighbour = np.where(place > 0, place - 1, min(1, len(sizes) - 1))
        return self._errors(neighbour, 0.0)

    def _errors_later(self, log_e: Floats, neighbour: Ints, own: Bools) -> tuple[Floats, Floats]:
        """The same of each measured point predicted from an earlier one of its own curve.

        It is earlier by the typical distance of the wanted points from the end of their curve.
        """
        if not own.any():
            return self._errors_between_sizes
        curves = self.centre.residual_curves
        ends = np.array([x[-1] for x, _ in curves])
        lag = float(np.median(np.maximum(log_e[own] - ends[neighbour[own]], 0.0)))
        points = self.centre.points
        return self._errors(np.searchsorted(self.centre.sizes, points.log_n), lag)

    def _errors(self, neighbour: Ints, lag: float) -> tuple[Floats, Floats]:
        points = self.centre.points
        predicted = self.centre.corrected(points.log_n, points.log_e, neighbour, lag)
        log_i = self.centre.base.law.log_intrinsic(points.log_n, points.log_e)
        order = np.argsort(log_i, kind="stable")
        return log_i[order], (points.returns - predicted)[order]


@dataclass(frozen=True)
class Continuation:
    """How a draw continues the map: from the last ``tail`` of its range, straight or levelling off."""

    tail: float
    straight: bool


def continuations(draws: int, seed: int) -> list[Continuation]:
    """How each draw continues the map."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        straight = bool(rng.random() < _STRAIGHT_SHARE)
        found.append(Continuation(float(rng.uniform(*_TAILS)), straight))
    return found


def predicting_draws(count: int) -> range:
    """Which of the draws of a stored fit predict returns."""
    return range(0, count, -(-count // _MOST_DRAWS) or 1)


def predict_returns(fit: FitResult, num_params: ArrayLike, interactions: ArrayLike) -> Prediction:
    """Returns after ``interactions`` environment steps with ``num_params``, with 90% intervals.

    Unlike ``FitResult.predict_return`` it uses the residuals of the nearest measured size, and continues the
    map.

    Args:
        fit: a result of ``JointScalingFit.fit``.
        num_params, interactions: positive, broadcast together to shape ``(n,)``.
    """
    n, e = (np.log(np.atleast_1d(np.asarray(x, float))) for x in (num_params, interactions))
    return ReturnPredictor.of(fit).at(n, e)


def _few(pairs: int) -> float:
    """Factor for the errors of a pair of sizes, known from ``pairs``: all points of one err together."""
    level = (1 + INTERVAL_LEVEL) / 2
    return float(np.sqrt(1 + 1 / pairs) * student.ppf(level, pairs) / norm.ppf(level))


def _drawn_near(
    log_i: Floats, errors: Floats, wanted: Floats, draws: int, rng: np.random.Generator
) -> Floats:
    """Errors of points near each wanted log I, shape ``(draws, wanted)``."""
    near = _num_near(len(log_i))
    first = np.clip(np.searchsorted(log_i, wanted) - near // 2, 0, len(log_i) - near)
    return errors[first + rng.integers(near, size=(draws, len(wanted)))]


def _num_near(points: int) -> int:
    return min(max(int(_NEAR * points), _LEAST_NEAR), points)


def _stored_points(fit: FitResult) -> BinnedPoints:
    """The points of a fit, averaged in bins of ``PREDICTION_BIN``."""
    stored = fit.points
    log_n, log_e = np.log(stored.N), np.log(stored.E)
    distinct, size = np.unique(log_n, return_inverse=True)
    cell = np.floor((log_e - log_e.min()) / PREDICTION_BIN + _SAME).astype(np.int64)
    _, first, group = np.unique(size * (cell.max() + 1) + cell, return_index=True, return_inverse=True)
    mass = np.bincount(group, weights=stored.weight)

    def averaged(values: Floats) -> Floats:
        return np.asarray(np.bincount(group, weights=stored.weight * values) / mass)

    returns = averaged(stored.return_)
    return BinnedPoints(
        log_n=distinct[size[first]],
        log_e=averaged(log_e),
        returns=returns,
        smooth_returns=returns,
        response=rankdata(returns),
        weight=np.asarray(mass, float),
        size=size[first],
    )
