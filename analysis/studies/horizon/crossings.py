"""Interactions with which each size first reaches a level of return.

The level is read off the seed-averaged curve, smoothed along log E. A curve that never reaches it, or starts
above it, has no such E; that is reported, never filled in. The error of log E is the spread between
single seeds, pooled over all sizes and horizons, because two seeds alone hardly determine it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.points.preprocess import Preprocessor

Reason = Literal["", "never reached", "reached before the first row"]

#: Full width of the smoothing window in the natural logarithm of E.
SMOOTHING = 0.5
_LEAST_SD = 1e-3  # curves without noise have no spread to weight points by


@dataclass(frozen=True)
class SmoothCurve:
    """One smoothed learning curve: natural logarithms of E, and returns."""

    log_e: Floats
    returns: Floats

    def crossing(self, level: float) -> tuple[float | None, Reason]:
        """log E at which the curve first is at ``level``, or why there is none."""
        above = np.flatnonzero(self.returns >= level)
        if not len(above):
            return None, "never reached"
        first = int(above[0])
        if first == 0:
            return None, "reached before the first row"
        r0, r1 = self.returns[first - 1 : first + 1]
        e0, e1 = self.log_e[first - 1 : first + 1]
        return float(e0 + (level - r0) / (r1 - r0) * (e1 - e0)), ""


@dataclass(frozen=True)
class SizeCurves:
    """The smoothed curves of one size: averaged over seeds, and each seed's."""

    size: float
    mean: SmoothCurve
    seeds: tuple[SmoothCurve, ...]


def smooth_curves(curves: Curves) -> list[SizeCurves]:
    """Smoothed curves of each size, ascending."""
    preprocessor = Preprocessor(curves, early_exclusion=0.0, smoothing=SMOOTHING)
    everything = preprocessor.points()
    singles = []
    for run in range(curves.num_runs):
        counts = np.zeros(curves.num_runs, dtype=np.int64)
        counts[run] = 1
        points = preprocessor.points(counts)
        singles.append(SmoothCurve(points.log_e, points.smooth_returns))
    found = []
    for index, size in enumerate(curves.sizes):
        mine = everything.size == index
        mean = SmoothCurve(everything.log_e[mine], everything.smooth_returns[mine])
        seeds = tuple(singles[run] for run in np.flatnonzero(curves.size_index == index))
        found.append(SizeCurves(float(size), mean, seeds))
    return found


def pooled_sd(groups: list[list[float]]) -> float | None:
    """Standard deviation within groups, pooled; None if no group has two members."""
    freedom = sum(len(group) - 1 for group in groups if group)
    if freedom == 0:
        return None
    squares = sum(float(np.sum((np.array(group) - np.mean(group)) ** 2)) for group in groups if group)
    return max(float(np.sqrt(squares / freedom)), _LEAST_SD)
