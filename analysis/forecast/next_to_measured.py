"""The law with its map, corrected by the nearest measured size.

A law that is only nearly true leaves residuals that neighbouring sizes share: learning starts at the same
time, batches grow on the same schedule, the map has a shape that the points do not resolve. So, with r(E) the
smoothed residual of the nearest measured size,

    R(N, E) = h(I(N, E)) + r(E).

Where the curve of that size has ended, r is read at its end and falls by e for every ``_FADES`` of log E
since.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats, Ints
from rlscale.analysis.forecast.extended_map import LawWithMap
from rlscale.analysis.points.preprocess import BinnedPoints

_WINDOW = 0.3  # of log E, over which the residuals of a size are averaged
_FADES = 1.5  # of log E beyond the end of a curve, over which its residual falls by e
_SAME = 1e-9  # of log E


@dataclass(frozen=True)
class NextToMeasured:
    """A law with its map, corrected by the residuals of measured sizes.

    Attributes:
        base: the law and map.
        points: the measured points, ordered by size, then E.
    """

    base: LawWithMap
    points: BinnedPoints

    def predict(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """Return at (N, E), given as natural logarithms that broadcast together."""
        n, e = np.broadcast_arrays(np.asarray(log_n, float), np.asarray(log_e, float))
        found = self.corrected(n.ravel(), e.ravel(), nearest(self.sizes, n.ravel()))
        return self.base.map.bounded(found.reshape(n.shape))

    def corrected(self, log_n: Floats, log_e: Floats, neighbour: Ints, lag: float = 0.0) -> Floats:
        """Return at (N, E) with the residual of a chosen size, all of shape ``(n,)``.

        Args:
            neighbour: position among ``sizes`` of the size whose residual is used.
            lag: the neighbour is read this much of log E earlier, as if its curve had ended there.
        """
        residual = np.empty(len(log_n))
        for size, (x, r) in enumerate(self.residual_curves):
            mine = neighbour == size
            read = np.clip(log_e[mine] - lag, x[0], x[-1])
            faded = np.exp(-np.abs(log_e[mine] - read) / _FADES)
            residual[mine] = faded * np.interp(read, x, r)
        return self.base.predict(log_n, log_e) + residual

    @cached_property
    def sizes(self) -> Floats:
        """log N of the measured sizes, ascending."""
        return np.unique(self.points.log_n)

    @cached_property
    def residual_curves(self) -> list[tuple[Floats, Floats]]:
        """(log E, smoothed residual) of each measured size."""
        points = self.points
        residual = points.returns - self.base.predict(points.log_n, points.log_e)
        found = []
        for log_n in self.sizes:
            mine = points.log_n == log_n
            log_e = points.log_e[mine]
            found.append((log_e, _smoothed(log_e, residual[mine], points.weight[mine])))
        return found


def nearest(sizes: Floats, log_n: Floats) -> Ints:
    """Position of the nearest of the ascending log ``sizes``, shape of ``log_n``."""
    return np.asarray(np.abs(log_n[..., None] - sizes).argmin(axis=-1))


def _smoothed(x: Floats, values: Floats, weight: Floats) -> Floats:
    """Weighted mean of the values within half a window of each ``x``, ascending."""
    first = np.searchsorted(x, x - _WINDOW / 2 - _SAME)
    stop = np.searchsorted(x, x + _WINDOW / 2 + _SAME)
    mass, total = (np.append(0.0, np.cumsum(part)) for part in (weight, weight * values))
    return np.asarray((total[stop] - total[first]) / (mass[stop] - mass[first]))
