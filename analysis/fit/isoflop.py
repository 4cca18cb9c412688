"""The exponent without the law: vertices of parabolas through the returns of equal compute.

At each of several computes, every size is read at E = C/N; a parabola in log N through the sizes near the
best has its vertex at the optimal size; a line through log N_vertex against log C has slope ν (approach 2 of
Hoffmann et al. 2022). No law of N and E enters, so the result checks the joint fit. The check is rough:
it uses only the sizes around each optimum, and true curves are not parabolas, which shifts vertices a little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.findings import IsoflopCheck, IsoflopVertex
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.points.resampling import resample, scheme_for, widened
from rlscale.analysis.progress import told
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.analysis.theory.delay import NO_DELAY, Delay

STEPS_PER_DECADE = 4
#: Half-width in log E over which a curve is averaged where it is read.
_READING = 0.15
#: Sizes further than this factor from the best size do not enter the parabola.
_REACH = float(np.log(40.0))
_MIN_VERTICES = 3
_MIN_DECADES = 0.5


@dataclass(frozen=True)
class Vertices:
    """Optimal sizes at some computes, shape ``(computes,)``, NaN where there is no vertex among the sizes."""

    log_c: Floats
    log_n: Floats

    def line(self) -> tuple[float, float] | None:
        """(slope, log N at the middle compute) of log N_vertex against log C; None if there are too few."""
        found = np.isfinite(self.log_n)
        x, y = self.log_c[found], self.log_n[found]
        if len(x) < _MIN_VERTICES or np.ptp(x) < _MIN_DECADES * np.log(10):
            return None
        slope, level = np.polyfit(x - self.log_c.mean(), y, 1)
        return float(slope), float(level)


def vertices(points: BinnedPoints, log_c: Floats) -> Vertices:
    """The vertex at each log compute of ``log_c``, shape ``(computes,)``."""
    sizes = np.unique(points.size)
    log_n = np.array([points.log_n[points.size == size][0] for size in sizes])
    response = np.stack(
        [
            _read(points.log_e[rows], points.response[rows], points.weight[rows], log_c - n)
            for n, rows in ((n, points.size == size) for n, size in zip(log_n, sizes, strict=True))
        ]
    )  # (sizes, computes)
    return Vertices(log_c, np.array([_vertex(log_n, column) for column in response.T]))


def isoflop_check(
    curves: Curves,
    preprocessor: Preprocessor,
    *,
    replicates: int,
    rng: np.random.Generator,
    delay: Delay = NO_DELAY,
) -> IsoflopCheck:
    """Vertices and their exponent with 90% intervals from a bootstrap over runs.

    Args:
        curves: those of ``preprocessor``.
        replicates: 0 for no intervals.
        delay: of learning: parabolas are then through equal N·E', E' the experience that counts, because ν
            is the exponent of that; vertices are stated at their N·E.
    """
    points = preprocessor.points(smooth=False).counted(delay)
    log_c = computes(points)
    full = vertices(points, log_c)
    line = full.line()
    scheme = scheme_for(curves)
    drawn = [
        vertices(preprocessor.points(resample(curves, scheme, rng), smooth=False).counted(delay), log_c)
        for _ in told("parabolas of resampled runs", range(replicates), replicates)
    ]
    at_each = np.array([draw.log_n for draw in drawn]).reshape(len(drawn), len(log_c))
    found = [
        IsoflopVertex(
            compute=float(np.exp(n + delay.log_elapsed(c - n))),
            N=float(np.exp(n)),
            interval=_interval(at_each[:, i], curves, np.exp) if replicates else None,
        )
        for i, (c, n) in enumerate(zip(log_c, full.log_n, strict=True))
        if np.isfinite(n)
    ]
    if line is None:
        return IsoflopCheck(vertices=found, nu=None, nu_interval=None)
    slopes = np.array([fitted[0] if (fitted := draw.line()) else np.nan for draw in drawn])
    return IsoflopCheck(
        vertices=found, nu=line[0], nu_interval=_interval(slopes, curves) if replicates else None
    )


def computes(points: BinnedPoints) -> Floats:
    """Evenly spaced log computes at which at least three sizes can be compared."""
    log_c = points.log_n + points.log_e
    grid = np.arange(log_c.min(), log_c.max(), np.log(10) / STEPS_PER_DECADE)
    covered = np.zeros(len(grid), dtype=np.int64)
    for size in np.unique(points.size):
        mine = log_c[points.size == size]
        covered += (grid >= mine.min()) & (grid <= mine.max())
    return grid[covered >= 3]


def _read(log_e: Floats, values: Floats, weight: Floats, at: Floats) -> Floats:
    """Weighted straight line through the values within ``_READING`` of each ``at``; NaN beyond the curve."""
    offset = log_e[None, :] - at[:, None]
    w = np.where(np.abs(offset) <= _READING, weight, 0.0)
    m0, m1, m2 = w.sum(axis=1), (w * offset).sum(axis=1), (w * offset**2).sum(axis=1)
    y0, y1 = w @ values, (w * offset) @ values
    determinant = m0 * m2 - m1 * m1
    inside = (at >= log_e.min()) & (at <= log_e.max())
    with np.errstate(divide="ignore", invalid="ignore"):
        line = np.where(determinant > 1e-9 * m0**2, (m2 * y0 - m1 * y1) / determinant, y0 / m0)
    sparse = np.interp(at, log_e, values)
    return np.where(inside, np.where(m0 > 0, line, sparse), np.nan)


def _vertex(log_n: Floats, response: Floats) -> float:
    """log N at the top of the parabola, NaN unless it opens downwards with its top among the sizes."""
    there = np.isfinite(response)
    if there.sum() < 3:
        return float("nan")
    best = log_n[there][np.argmax(response[there])]
    near = there & (np.abs(log_n - best) <= _REACH)
    if near.sum() < 3 or not log_n[there].min() < best < log_n[there].max():
        return float("nan")
    x = log_n[near] - best
    curvature, slope, _ = np.polyfit(x, response[near], 2)
    if curvature >= 0:
        return float("nan")
    top = -slope / (2 * curvature)
    return float(best + top) if x.min() <= top <= x.max() else float("nan")


def _interval(values: Floats, curves: Curves, scale: np.ufunc | None = None) -> tuple[float, float] | None:
    """90% interval of the draws that have a value; None if fewer than half have one."""
    found = values[np.isfinite(values)]
    if len(found) < max(len(values) / 2, 1):
        return None
    low, high = percentile_interval(widened(found, curves))
    return (float(scale(low)), float(scale(high))) if scale else (float(low), float(high))
