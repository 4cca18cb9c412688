"""The compute-efficient frontier without a model: the best return over sizes for each compute."""

from __future__ import annotations

import numpy as np

from rlscale.analysis.arrays import StoredFloats
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.records import Columns, return_field

STEPS_PER_E_FOLD = 10
_ROUNDING = 1e-9  # of the range of returns: averages of equal returns differ by less


def efficient_frontier(points: BinnedPoints) -> Frontier:
    """Best seed-averaged return over sizes for each compute C = N·E, and the size that has it.

    Curves are smoothed along log E and read at E = C/N within their own range. Only computes at which at
    least two sizes can be compared are considered, and only those where the best return exceeds
    every earlier one: a point is efficient if no less compute gives as much return.
    """
    log_c = points.log_n + points.log_e
    grid = np.arange(log_c.min(), log_c.max(), 1 / STEPS_PER_E_FOLD)
    sizes = np.unique(points.size)
    returns = np.full((len(sizes), len(grid)), -np.inf)
    for row, size in enumerate(sizes):
        mine = points.size == size
        covered = (grid >= log_c[mine].min()) & (grid <= log_c[mine].max())
        returns[row, covered] = np.interp(grid[covered], log_c[mine], points.smooth_returns[mine])
    comparable = np.isfinite(returns).sum(axis=0) >= 2
    best = returns.max(axis=0)
    equal = _ROUNDING * float(np.ptp(points.smooth_returns))
    before = np.concatenate([[-np.inf], np.maximum.accumulate(np.where(comparable, best, -np.inf))[:-1]])
    kept = comparable & (best > before + equal)
    log_n = np.array([points.log_n[points.size == size][0] for size in sizes])
    winner = log_n[(returns >= best - equal).argmax(axis=0)[kept]]  # the smallest of several
    return Frontier(
        compute=np.exp(grid[kept]),
        N=np.exp(winner),
        return_=best[kept],
        num_sizes=len(np.unique(winner)),
    )


class Frontier(Columns):
    """The model-free efficient frontier, points of increasing compute.

    Attributes:
        compute: N·E.
        N: the size that is best there.
        return_: its mean return over seeds (``return`` in the JSON).
        num_sizes: sizes that are best somewhere.
    """

    compute: StoredFloats
    N: StoredFloats
    return_: StoredFloats = return_field()
    num_sizes: int
