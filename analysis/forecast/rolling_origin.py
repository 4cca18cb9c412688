"""How far predictions miss beyond the data, as earlier ends of the data show.

The residuals of a law are those of the points it was fitted to. They do not show how far a law that is only
nearly true bends beyond them. So the points are cut at an earlier end, the law is fitted again to those below
the cut, and those above it are predicted (evaluation with a rolling origin, Tashman 2000). There are two
kinds of cuts:

* in compute, at ``CUTS`` of the span of log C from its top. The reach of a point is its distance in log C
  above the cut, over the span of log C below. An interval at some reach holds 90% of the errors nearest in
  reach, ``_NEAR`` of all;
* in size, below each of the largest third of the sizes. An interval for a larger size holds 90% of the errors
  of those sizes, one a cut, that lie most nearly as far above it.

Errors count in both directions, because in few cuts they may lie all on one side by chance. All errors above
one cut go together, so with n cuts they are widened by sqrt(1 + 1/n). Farther out than any of them they grow
in proportion. A delay of learning stays that of all points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Bools, Floats
from rlscale.analysis.choices import Objective
from rlscale.analysis.curves.curve_set import MIN_SIZES
from rlscale.analysis.fit.objectives import make_objective
from rlscale.analysis.fit.search import search_near
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.records import INTERVAL_LEVEL
from rlscale.analysis.theory.power_law import PowerLaw

#: Shares of the span of log C that the cuts leave out.
CUTS = (0.1, 0.2, 0.3, 0.4, 0.5)
_LARGEST = 1 / 3  # share of the sizes that cuts leave out
_LEAST_POINTS = 20  # that a law is fitted to
_NEAR = 0.2  # share of the errors that an interval rests on
_LEAST_NEAR = 12
_NEARLY = np.log(1.05)  # a size that is less than this above the others counts as measured


class Predictor(Protocol):
    """Returns at (N, E), given as natural logarithms that broadcast together."""

    def predict(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats: ...


@dataclass(frozen=True)
class RollingOrigin:
    """Errors of predictions from the points below earlier ends of the data.

    Attributes:
        law: of all points; searches start from it.
        points: ordered by size, then E.
        objective: that refits minimise.
        made: the predictor of a law fitted to some of the points.
    """

    law: PowerLaw
    points: BinnedPoints
    objective: Objective
    made: Callable[[PowerLaw, BinnedPoints], Predictor]

    def misses_later(self, log_n: float, log_e: float) -> Floats:
        """|measured - predicted| as far beyond a cut in compute as (N, E) beyond the points; empty within."""
        log_c = self.points.log_n + self.points.log_e
        reach = (log_n + log_e - log_c.max()) / max(np.ptp(log_c), 1e-300)
        if reach <= 0 or not len(self.beyond_compute[0]):
            return np.empty(0)
        return nearest_in_reach(*self.beyond_compute, float(reach))

    def misses_larger(self, log_n: float) -> Floats:
        """|measured - predicted| as far above a cut in size as N is above the sizes; empty within."""
        distance = float(log_n - self.points.log_n.max())
        if distance <= _NEARLY or not self.beyond_sizes:
            return np.empty(0)
        return np.concatenate([as_far(*cut, distance) for cut in self.beyond_sizes])

    def typical_miss(self, log_n: float, log_e: float) -> float | None:
        """Median ``|measured - predicted|`` as far beyond a cut as (N, E) beyond the points; None within."""
        missed = self.misses_later(log_n, log_e)
        return float(np.median(missed)) / self.widening if len(missed) else None

    @property
    def widening(self) -> float:
        """Factor by which the errors of ``beyond_compute`` are widened, 1 without any."""
        return _widened(len(self._cuts)) if self._cuts else 1.0

    @property
    def tested(self) -> float:
        """The farthest that a point lies above its cut, in log C; 0 if no cut leaves enough to fit."""
        return max((float(distance.max()) for distance, _, _ in self._cuts), default=0.0)

    def half_width(self, log_n: Floats, log_e: Floats) -> Floats:
        """Least half width of a 90% interval at (N, E), shape ``(n,)``; 0 within the points."""
        return np.array(
            [
                max(_held(self.misses_later(n, e)), _held(self.misses_larger(n)))
                for n, e in zip(log_n.tolist(), log_e.tolist(), strict=True)
            ]
        )

    @cached_property
    def beyond_compute(self) -> tuple[Floats, Floats]:
        """Reach and widened |error| of the points above each cut in compute, shape ``(n,)``."""
        if not self._cuts:
            return np.empty(0), np.empty(0)
        reaches = [distance / span for distance, span, _ in self._cuts]
        errors = [error for *_, error in self._cuts]
        return np.concatenate(reaches), _widened(len(errors)) * np.concatenate(errors)

    @cached_property
    def _cuts(self) -> list[tuple[Floats, float, Floats]]:
        """Distance in log C above each cut in compute, the span of log C below it, and |error| above it."""
        log_c = self.points.log_n + self.points.log_e
        found = []
        for share in CUTS:
            cut = float(log_c.max() - share * np.ptp(log_c))
            error = self._errors_above(log_c > cut)
            if error is not None:
                found.append((log_c[log_c > cut] - cut, cut - float(log_c.min()), error))
        return found

    @cached_property
    def beyond_sizes(self) -> list[tuple[Floats, Floats]]:
        """Distance in log N above the sizes left, and widened |error|, of points above each cut in size."""
        log_n = self.points.log_n
        sizes = np.unique(log_n)
        found = []
        for last in sizes[-1 - max(round(_LARGEST * len(sizes)), 1) : -1]:
            error = self._errors_above(log_n > last)
            if error is not None:
                found.append((log_n[log_n > last] - last, error))
        return [(distance, _widened(len(found)) * error) for distance, error in found]

    def _errors_above(self, above: Bools) -> Floats | None:
        """|measured - predicted| of the points above a cut; None if too little is left to fit."""
        below = self.points.only(~above)
        if (
            len(below.log_n) < _LEAST_POINTS
            or len(np.unique(below.log_n)) < MIN_SIZES
            or np.ptp(below.returns) == 0
        ):
            return None
        objective = make_objective(self.objective, below.counted(self.law.delay), self.law.log_c0)
        theta = search_near(objective, self.law.theta).theta
        predictor = self.made(PowerLaw.from_theta(theta, self.law.log_c0, self.law.delay), below)
        measured = self.points.returns[above]
        return np.abs(measured - predictor.predict(self.points.log_n[above], self.points.log_e[above]))


def nearest_in_reach(reach: Floats, errors: Floats, wanted: float) -> Floats:
    """The errors nearest to the ``wanted`` reach, larger in proportion if most lie nearer.

    Args:
        reach, errors: shape ``(n,)``.
    """
    count = min(max(int(_NEAR * len(reach)), _LEAST_NEAR), len(reach))
    chosen = np.argsort(np.abs(reach - wanted), kind="stable")[:count]
    return errors[chosen] * max(wanted / float(np.median(reach[chosen])), 1.0)


def as_far(distance: Floats, errors: Floats, wanted: float) -> Floats:
    """The errors of the size nearest to the ``wanted`` distance, larger in proportion if it is nearer.

    Args:
        distance, errors: shape ``(n,)``, the distance the same for all points of a size.
    """
    near = distance[np.abs(distance - wanted).argmin()]
    return errors[np.isclose(distance, near)] * max(wanted / float(near), 1.0)


def _widened(cuts: int) -> float:
    """Factor for errors of which all above one cut go together: a further one varies by 1 + 1/cuts."""
    return float(np.sqrt(1 + 1 / cuts))


def _held(errors: Floats) -> float:
    """The half width that holds 90% of the errors, and a further one with that probability; 0 without any."""
    if not len(errors):
        return 0.0
    return float(np.quantile(errors, INTERVAL_LEVEL, method="weibull"))
