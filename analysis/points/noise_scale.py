"""Ranks of returns in units of their own noise, the scale on which least squares treats all returns alike.

The noise of returns depends on their level: seeds agree near the least and the greatest return and differ in
between. Least squares needs noise of equal variance in its response, so mid-ranks u of returns become

    T(u) = ∫ du' / σ(u'),        σ(u) the spread of runs of one size whose mean rank is u

(the variance-stabilising transform). Ranks do not depend on the scale of the return, so neither does T. An
increasing function of R changes σ by its own slope, so apart from noise T equals the same transform of the
returns themselves.

Over 60 draws of (mostly) 8 sizes, 3 seeds and autocorrelated noise, the root mean square error of ν with T
(with plain mid-ranks; with returns as they are) was: linear curves at 3% noise 0.026 (0.028; 0.026),
exponential at 2% 0.032 (0.037; 0.030), sigmoid at 5% 0.041 (0.054; 0.040), a plateau at the top at 2%
0.014 (0.021; 0.016), random splines at 3% 0.030 (0.046; 0.029), saturating at 1% 0.020 (0.055; 0.019):
as good as plain returns, without depending on their scale.
"""

from __future__ import annotations

import numpy as np

from rlscale.analysis.arrays import Bools, Floats
from rlscale.analysis.points.sorted_rows import SortedRows, bin_numbers, group_means

#: Width in log E of the cells whose mean returns are compared between runs.
_CELL = 0.1
_MAX_LEVELS = 10
_FREEDOM_PER_LEVEL = 8  # degrees of freedom that a level's σ needs
#: σ is at least this share of its median: below that, seeds may agree by chance.
_FLOOR = 0.05
_NOISE_FREE = 1e-9


def noise_units(rows: SortedRows, ranks: Floats, used: Bools) -> Floats | None:
    """Each rank in units of the noise at its level, shape ``(rows,)``; None if there is no noise.

    Args:
        rows: at least one of them used.
        ranks: of their returns, shape ``(rows,)``, ascending.
        used: rows that count, shape ``(rows,)``; the others are put on the same scale.
    """
    level, square, freedom = _spread(rows, ranks, used)
    order = np.argsort(level, kind="stable")
    level, square, freedom = level[order], square[order], freedom[order]
    count = int(np.clip(freedom.sum() // _FREEDOM_PER_LEVEL, 1, min(_MAX_LEVELS, max(len(level), 1))))
    groups = np.array_split(np.arange(len(level)), count)
    total = float(freedom.sum())
    if not total or square.sum() <= total * _NOISE_FREE**2:
        return None
    middle = np.array([level[rows].mean() for rows in groups])
    variance = np.array([square[rows].sum() / freedom[rows].sum() for rows in groups])
    variance = np.convolve(np.pad(variance, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    variance = np.maximum(variance, _FLOOR**2 * np.median(variance))
    return _integrated(ranks, middle, variance)


def _integrated(returns: Floats, middle: Floats, variance: Floats) -> Floats:
    """∫ dR/σ, with σ² between two levels the mean of theirs, beyond the outermost its own."""
    middle, first = np.unique(middle, return_index=True)
    variance = variance[first]
    knots = np.concatenate(
        [[min(returns.min(), middle[0]) - 1], middle, [max(returns.max(), middle[-1]) + 1]]
    )
    padded = np.pad(variance, 1, mode="edge")
    between = 0.5 * (padded[1:] + padded[:-1])
    heights = np.concatenate([[0.0], np.cumsum(np.diff(knots) / np.sqrt(between))])
    return np.interp(returns, knots, heights)


def _spread(rows: SortedRows, ranks: Floats, used: Bools) -> tuple[Floats, Floats, Floats]:
    """(mean rank, sum of squares about it, degrees of freedom) of independent looks at the noise.

    Runs of one size are compared in cells of log E. Where too few sizes have several seeds, each run is
    compared with a cubic through its neighbouring cells instead, which misses what whole runs
    have in common, but not how noise depends on the return.
    """
    start = float(np.min(rows.log_e, where=used, initial=np.inf))
    cells = bin_numbers(rows.log_e, start, _CELL)
    span = int(cells.max()) + 1
    cells += (np.arange(len(rows.size_of_run)) * span)[rows.run]
    keys, mean = group_means(cells, len(rows.size_of_run) * span, ranks, used)
    run, cell = keys // span, keys % span
    groups, inverse = np.unique(rows.size_of_run[run] * span + cell, return_inverse=True)
    seeds = np.bincount(inverse)
    level = np.bincount(inverse, weights=mean) / seeds
    square = np.bincount(inverse, weights=np.square(mean - level[inverse])).astype(float)
    several = seeds > 1
    if several.sum() >= max(_FREEDOM_PER_LEVEL, len(groups) / 3):
        return level[several], square[several], (seeds[several] - 1).astype(float)
    inner = (run[4:] == run[:-4]) & (cell[4:] - cell[:-4] == 4)
    rough = np.convolve(mean, [1, -4, 6, -4, 1], mode="valid")[inner]  # of a cubic: 0
    return mean[2:-2][inner], np.square(rough) / 70, np.ones(int(inner.sum()))
