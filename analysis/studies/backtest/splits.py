"""The splits of a backtest, and the baselines that it is compared with.

``sizes`` holds out all runs of the largest sizes, ``compute`` every row with N·E above a cutoff.
"""

from __future__ import annotations

import numpy as np

from rlscale.analysis.arrays import Bools, Floats
from rlscale.analysis.curves.curve_set import MIN_SIZES, Curves
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.points.frontier import Frontier, efficient_frontier
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.studies.backtest.result import Split
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

#: Width in log E of the bins in which predictions are compared: wider than the fit's, to reduce noise.
SCORE_BIN = 0.1
#: Share of the frontier's decades of compute that is held out by default.
CUTOFF_SHARE = 1 / 3
_LAST_STRETCH = 0.3  # of log E, over which a curve's last value is averaged


def hold_out_sizes(curves: Curves, count: int) -> Split:
    """The split that holds out the ``count`` largest sizes.

    Raises:
        InputError: if fewer than three sizes are left to fit.
    """
    sizes = curves.sizes
    if count < 1:
        raise InputError(
            f"{either('--hold-out-sizes', 'count')} must be 1 or more: got {count}.", code="invalid_number"
        )
    if len(sizes) - count < MIN_SIZES:
        raise InputError(
            f"{curves.source} has {len(sizes)} sizes: holding out {count} leaves fewer than the "
            f"{MIN_SIZES} that a fit needs; hold out fewer, or add sizes.",
            code="too_few_sizes",
        )
    return Split(kind="sizes", sizes=sizes[-count:].tolist())


def hold_out_compute(curves: Curves, cutoff: float) -> Split:
    """The split that holds out all rows with N·E above ``cutoff``.

    Raises:
        InputError: if the cutoff lies outside the data, or fewer than three sizes have rows below it.
    """
    compute = curves.run_sizes[curves.run_index] * curves.interactions
    low, high = float(compute.min()), float(compute.max())
    if not (np.isfinite(cutoff) and low < cutoff < high):
        raise InputError(
            f"The cutoff {cutoff:.3g} lies outside the compute of {curves.source}, {low:.3g} to {high:.3g}; "
            f"choose one inside.",
            code="cutoff_outside_data",
        )
    left = len(np.unique(curves.run_sizes[curves.run_index[compute <= cutoff]]))
    if left < MIN_SIZES:
        raise InputError(
            f"Only {left} of {len(curves.sizes)} sizes have points below the cutoff {cutoff:.3g}, and a fit "
            f"needs {MIN_SIZES}; choose a larger {either('--compute-cutoff', 'cutoff')}, or hold out "
            f"sizes ({either('--hold-out-sizes 1', 'hold_out_sizes')}).",
            code="too_few_sizes",
        )
    return Split(kind="compute", cutoff=float(cutoff))


def cutoff_for(curves: Curves, share: float, estimator: JointScalingFit) -> float:
    """The compute above which ``share`` of the decades of the measured frontier lie.

    Raises:
        InputError: if the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise InputError(
            f"{either('--cutoff-share', 'share')} must be above 0 and below 1: got {share}.",
            code="invalid_number",
        )
    points = score_points(curves, estimator)
    frontier = efficient_frontier(points).compute
    ends = np.log(frontier) if len(frontier) else points.log_n + points.log_e
    return float(np.exp(ends.max() - share * (ends.max() - ends.min())))


def default_splits(curves: Curves, estimator: JointScalingFit | None = None) -> list[Split]:
    """The largest size, and the top third of the decades of the frontier's compute.

    Raises:
        InputError: as ``hold_out_sizes`` and ``hold_out_compute``.
    """
    cutoff = cutoff_for(curves, CUTOFF_SHARE, estimator or JointScalingFit())
    return [hold_out_sizes(curves, 1), hold_out_compute(curves, cutoff)]


def held_out_rows(curves: Curves, split: Split) -> Bools:
    """Which rows a split holds out, shape ``(rows,)``."""
    size = curves.run_sizes[curves.run_index]
    if split.kind == "sizes":
        return np.isin(size, split.sizes)
    assert split.cutoff is not None  # a split by compute has one
    return np.asarray(size * curves.interactions > split.cutoff)


def score_points(curves: Curves, estimator: JointScalingFit, not_before: float = 0.0) -> BinnedPoints:
    """Points as the estimator makes them, in the bins in which predictions are compared.

    Args:
        not_before: of the fit, see ``late_rows``.
    """
    return Preprocessor(
        curves,
        early_exclusion=estimator.early_exclusion,
        bin_width=SCORE_BIN,
        smoothing=estimator.smoothing,
        not_before=not_before,
    ).points()


def late_rows(curves: Curves, early_exclusion: float, not_before: float = 0.0) -> Bools:
    """Rows that a fit of all curves would use: those past the early share of their size's longest run.

    Args:
        not_before: environment steps before which a late start leaves out rows.
    """
    size = curves.size_index[curves.run_index]
    longest = np.zeros(len(curves.sizes))
    np.maximum.at(longest, size, curves.interactions)
    return np.asarray(curves.interactions >= np.maximum(early_exclusion * longest[size], not_before))


# -- baselines ----------------------------------------------------------------------


def naive_returns(train: BinnedPoints, log_n: Floats, log_e: Floats) -> Floats:
    """The nearest trained size's return at the same E, and beyond its curve its last or first value."""
    sizes = np.unique(train.log_n)
    nearest = sizes[np.abs(log_n[:, None] - sizes).argmin(axis=1)]
    found = np.empty(len(log_n))
    for size in np.unique(nearest):
        rows, mine = nearest == size, train.log_n == size
        x, y, w = train.log_e[mine], train.returns[mine], train.weight[mine]
        last = x >= x[-1] - _LAST_STRETCH
        inside = np.interp(log_e[rows], x, y)
        found[rows] = np.where(log_e[rows] > x[-1], np.average(y[last], weights=w[last]), inside)
    return found


def naive_frontier(train: BinnedPoints, frontier: Frontier, log_c: Floats) -> tuple[Floats, Floats]:
    """Best return and best size where the training's own frontier has them, its last beyond."""
    if not len(frontier.compute):
        best = int(train.returns.argmax())
        size = float(np.exp(train.log_n[best]))
        return np.full(len(log_c), train.returns[best]), np.full(len(log_c), size)
    x = np.log(frontier.compute)
    place = np.clip(np.searchsorted(x, log_c, side="right") - 1, 0, len(x) - 1)
    return np.interp(log_c, x, frontier.return_), frontier.N[place]
