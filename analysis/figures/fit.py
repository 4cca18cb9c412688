"""The figures of a fit. Each function draws a result on ``ax``, or on a new figure, and returns the axes.

Colours are sizes, from dark to light. Black is what the fit says about all sizes together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from rlscale.analysis.arrays import Floats
from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    QUIET,
    Colour,
    ReturnScale,
    axes_or_new,
    dot_mark,
    key_above,
    line_mark,
    log_ticks,
    return_axis,
    size_colours,
    size_key,
    styled,
)
from rlscale.analysis.fit.result import FitPoints, FitResult
from rlscale.analysis.forecast.optimum import optimum_ends
from rlscale.analysis.formatting.numbers import percent
from rlscale.analysis.formatting.sizes import SIZE_WORDS

INTERACTIONS = "Environment interactions $E$"
#: Decades of compute beyond the data that the figure of the optimum shows.
DECADES_BEYOND = 2.5
#: Bins of dots and curves per decade: enough for any shape, few enough to see single dots.
_BINS_PER_DECADE = 16
#: Opacity of the total interval, and of that of seeds alone drawn over it.
_TOTAL, _OF_SEEDS = 0.18, 0.3
_MANY_DOTS = 1500  # an SVG with more of them becomes heavy, so they are drawn as an image in it


def compute_label(size: SizeColumn) -> str:
    """Axis label of compute."""
    return rf"Compute $C = N \cdot E$ ({SIZE_WORDS[size].unit} × interactions)"


def return_label(minimize: bool) -> str:
    """Label of an axis of returns; those of a loss are its negative."""
    return "Return $R$ = - loss" if minimize else "Return $R$"


def intrinsic_label(size: SizeColumn) -> str:
    """Axis label of intrinsic performance, which has the unit of compute."""
    return f"Intrinsic performance $I$\n({SIZE_WORDS[size].unit} × interactions)"


@dataclass(frozen=True)
class SeedBand:
    """Mean and range over the seeds of one size in bins of log E, arrays of shape ``(bins,)``."""

    size: float
    interactions: Floats
    mean: Floats
    low: Floats
    high: Floats


def seed_bands(curves: Curves, bins_per_decade: int = _BINS_PER_DECADE) -> list[SeedBand]:
    """For each size, ascending: each run averaged in bins of log E, then mean and range over runs."""
    bins = np.floor(np.log10(curves.interactions) * bins_per_decade).astype(np.int64)
    run_bin = np.stack([curves.run_index, bins])
    (run, bin_), group = np.unique(run_bin, axis=1, return_inverse=True)
    group = group.ravel()
    count = np.bincount(group)
    mean_r = np.bincount(group, weights=curves.returns) / count
    mean_log_e = np.bincount(group, weights=np.log(curves.interactions)) / count
    bands = []
    for index, size in enumerate(curves.sizes):
        mine = curves.size_index[run] == index
        _, cell = np.unique(bin_[mine], return_inverse=True)
        seeds = np.bincount(cell)
        low, high = np.full(len(seeds), np.inf), np.full(len(seeds), -np.inf)
        np.minimum.at(low, cell, mean_r[mine])
        np.maximum.at(high, cell, mean_r[mine])
        mean = np.bincount(cell, weights=mean_r[mine]) / seeds
        e = np.exp(np.bincount(cell, weights=mean_log_e[mine]) / seeds)
        bands.append(SeedBand(float(size), e, mean, low, high))
    return bands


@styled
def plot_learning_curves(
    curves: Curves,
    *,
    early_exclusion: float = 0.0,
    not_before: float = 0.0,
    onset: float | None = None,
    scale: ReturnScale | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Return against interactions: mean over the seeds of each size, band from the least to the greatest.

    Args:
        early_exclusion: the first share of each size's longest run that is drawn pale.
        not_before: environment steps before which curves are drawn pale too.
        onset: environment steps at which learning starts late, marked by a dotted line; None for no mark.
        scale: of the returns; None to judge by them.
    """
    ax = axes_or_new(ax)
    bands = seed_bands(curves)
    for band, colour in zip(bands, size_colours(curves.sizes), strict=True):
        early = band.interactions < max(early_exclusion * band.interactions[-1], not_before)
        late_from = max(int(early.sum()) - 1, 0)
        ax.plot(band.interactions[early], band.mean[early], color=colour, alpha=0.3)
        ax.plot(band.interactions[late_from:], band.mean[late_from:], color=colour)
        ax.fill_between(band.interactions, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    ax.set_xlabel(INTERACTIONS)
    means = np.concatenate([band.mean for band in bands])
    return_axis(ax.yaxis, means, scale=scale, label=return_label(curves.minimize))
    size_key(ax, curves.sizes, SIZE_WORDS[curves.size].legend)
    if onset is not None:
        ax.axvline(onset, color=INK, linewidth=0.8, linestyle=":")
        key_above(ax, [(line_mark(INK, ":", linewidth=0.8), "learning starts")])
    return ax


@styled
def plot_intrinsic(fit: FitResult, *, ax: Axes | None = None) -> Axes:
    """Intrinsic performance against interactions: f(return) as dots, the law as lines, sizes as colours."""
    ax = axes_or_new(ax)
    law = fit.law
    measured = np.log(fit.points.mapped_intrinsic)
    for size, colour, rows in by_size(fit.points):
        e, log_i = binned(fit.points, measured, rows)
        ax.plot(e, np.exp(log_i), "o", color=colour, markersize=2.6, markeredgewidth=0, alpha=0.8)
        grid = np.geomspace(e[0], e[-1], 80)
        ax.plot(grid, law.intrinsic(size, grid), color=colour, linewidth=1.1)
    compute, seen = fitted_frontier(fit)
    best = np.exp(law.log_best_intrinsic(np.log(compute)))
    ax.plot(law.E_opt(compute)[seen], best[seen], "--", color=INK, linewidth=1.0)
    _log_log(ax, INTERACTIONS, intrinsic_label(fit.provenance.size))
    size_key(ax, fit.provenance.sizes, SIZE_WORDS[fit.provenance.size].legend)
    entries = [(dot_mark(), "measured, $f(R)$"), (line_mark(), "fitted law")]
    if seen.any():
        entries.append((line_mark(INK, "--", linewidth=1.0), "frontier" if law.delay else "frontier $I = C$"))
    key_above(ax, entries)
    return ax


@styled
def plot_frontier(fit: FitResult, *, scale: ReturnScale | None = None, ax: Axes | None = None) -> Axes:
    """Return against compute for each size, the best over sizes as dots, the fitted frontier as a line.

    The fitted frontier is dashed where its sizes or its interactions lie outside the data.
    """
    ax = axes_or_new(ax)
    returns = np.asarray(fit.points.return_)
    for size, colour, rows in by_size(fit.points):
        e, r = binned(fit.points, returns, rows)
        ax.plot(size * e, r, color=colour, linewidth=1.1)
    compute, seen = fitted_frontier(fit)
    log_i = fit.law.log_best_intrinsic(np.log(compute))
    best = fit.monotone_map.return_of_log(log_i)
    known = log_i <= np.log(fit.monotone_map.intrinsic[-1])
    ax.plot(compute[known], best[known], ":", color=INK, linewidth=1.0)
    ax.plot(compute[known & seen], best[known & seen], color=INK, linewidth=1.4)
    step = max(len(fit.frontier.compute) // 30, 1)
    ax.plot(
        fit.frontier.compute[::step],
        fit.frontier.return_[::step],
        "o",
        color="white",
        markeredgecolor=INK,
        markersize=3.4,
        markeredgewidth=0.8,
    )
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    ax.set_xlabel(compute_label(fit.provenance.size))
    return_axis(ax.yaxis, returns, scale=scale, label=return_label(bool(fit.options.get("minimize"))))
    size_key(ax, fit.provenance.sizes, SIZE_WORDS[fit.provenance.size].legend)
    entries = [(dot_mark("white", edge=INK), "best size, measured"), (line_mark(INK), "fitted frontier")]
    key_above(ax, entries)
    return ax


@styled
def plot_optimal_size(fit: FitResult, *, ax: Axes | None = None) -> Axes:
    """N_opt against compute with its interval; what lies beyond the data is dashed and paler."""
    ax = axes_or_new(ax)
    low, high = fit.range.C
    inside, beyond = np.geomspace(low, high, 50), np.geomspace(high, high * 10**DECADES_BEYOND, 50)
    for compute, style, paler in ((inside, "-", 1.0), (beyond, "--", 0.5)):
        ax.plot(compute, fit.law.N_opt(compute), style, color=ACCENT)
        ends = optimum_ends(fit, compute)
        if ends is not None:
            ax.fill_between(compute, *ends.total, color=ACCENT, alpha=_TOTAL * paler, linewidth=0)
            ax.fill_between(compute, *ends.plain, color=ACCENT, alpha=_OF_SEEDS * paler, linewidth=0)
            if style == "--":
                for end in ends.total:
                    ax.plot(compute, end, ":", color=ACCENT, linewidth=0.7)
    compute, best = np.asarray(fit.frontier.compute), np.asarray(fit.frontier.N)
    free = smaller_still_runs(fit)
    ax.plot(compute[free], best[free], "o", color=INK, markersize=2.6, markeredgewidth=0)
    ax.plot(compute[~free], best[~free], "o", color="white", markersize=2.6, markeredgecolor=QUIET)
    vertices = fit.isoflop.vertices if fit.isoflop else []
    for vertex in vertices:
        ax.plot(vertex.compute, vertex.N, "D", color=INK, markersize=3.4, markeredgewidth=0)
        if vertex.interval:
            ax.plot([vertex.compute] * 2, vertex.interval, color=INK, linewidth=0.8)
    ax.axvline(high, color=QUIET, linewidth=0.7, linestyle=":")
    _log_log(
        ax, compute_label(fit.provenance.size), f"Optimal {SIZE_WORDS[fit.provenance.size].unit} $N_{{opt}}$"
    )
    log_ticks(ax.yaxis, counts=True)
    entries: list[tuple[Line2D | Patch, str]] = [(dot_mark(INK), "best size, measured")]
    if (~free).any():
        entries.append((dot_mark("white", edge=QUIET), "next smaller ended"))
    if vertices:
        entries.append((dot_mark(INK, shape="D"), "vertex of a parabola"))
    entries.append((line_mark(ACCENT), "fitted law"))
    if fit.intervals:
        level = percent(fit.interval_level)
        shade = 1 - (1 - _TOTAL) * (1 - _OF_SEEDS)  # one over the other
        entries.append((Patch(color=ACCENT, alpha=_TOTAL, linewidth=0), f"{level} interval"))
        entries.append((Patch(color=ACCENT, alpha=shade, linewidth=0), "of seeds alone"))
    entries += [(line_mark(ACCENT, "--"), "extrapolated"), (line_mark(QUIET, ":"), "end of the data")]
    key_above(ax, entries)
    return ax


@styled
def plot_monotone_map(fit: FitResult, *, scale: ReturnScale | None = None, ax: Axes | None = None) -> Axes:
    """The fitted map between return and intrinsic performance, and the points of all sizes about it."""
    ax = axes_or_new(ax)
    returns, log_i = np.asarray(fit.points.return_), np.log(fit.points.intrinsic)
    for _, colour, rows in by_size(fit.points):
        _, r = binned(fit.points, returns, rows)
        _, x = binned(fit.points, log_i, rows)
        ax.plot(np.exp(x), r, "o", color=colour, markersize=2.6, markeredgewidth=0, alpha=0.8)
    ax.plot(fit.monotone_map.intrinsic, fit.monotone_map.return_, color=INK, linewidth=1.2)
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    ax.set_xlabel(intrinsic_label(fit.provenance.size).replace("\n", " "))
    return_axis(ax.yaxis, returns, scale=scale, label=return_label(bool(fit.options.get("minimize"))))
    size_key(ax, fit.provenance.sizes, SIZE_WORDS[fit.provenance.size].legend)
    key_above(ax, [(dot_mark(), "measured, at the law's $I$"), (line_mark(INK), "fitted map $f$")])
    return ax


@styled
def plot_residuals(fit: FitResult, *, key: bool = True, ax: Axes | None = None) -> Axes:
    """log10 I by the map minus log10 I by the law, against interactions; lines are averages of each size.

    Args:
        key: whether to add the legend of sizes.
    """
    ax = axes_or_new(ax)
    residual = residuals_of(fit)
    e = np.asarray(fit.points.E)
    rasterise = len(e) > _MANY_DOTS
    ax.axhline(0, color=INK, linewidth=0.7)
    for _, colour, rows in by_size(fit.points):
        (dots,) = ax.plot(e[rows], residual[rows], "o", color=colour, markersize=1.8, markeredgewidth=0)
        dots.set(alpha=0.25, rasterized=rasterise)
        ax.plot(*binned(fit.points, residual, rows, bins_per_decade=6), color=colour)
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    ax.set_xlabel(INTERACTIONS)
    ax.set_ylabel("Residual (decades of $I$)")
    ax.set_ylim(*_symmetric_limits(residual))
    if key:
        size_key(ax, fit.provenance.sizes, SIZE_WORDS[fit.provenance.size].legend)
    return ax


@styled
def plot_residuals_by_size(fit: FitResult, *, ax: Axes | None = None) -> Axes:
    """The same residuals against size: median and central 80%, before and past each size's optimum."""
    ax = axes_or_new(ax)
    residual, n = residuals_of(fit), np.asarray(fit.points.N)
    past = np.asarray(fit.points.size_limited)
    ax.axhline(0, color=INK, linewidth=0.7)
    groups = ((~past, 1 / 1.06, INK, "o", "before its optimum"), (past, 1.06, ACCENT, "s", "past it"))
    entries: list[tuple[Line2D | Patch, str]] = []
    for chosen, shift, colour, marker, label in groups:
        for size in fit.provenance.sizes:
            values = residual[chosen & (n == _nearest(n, size))]
            if len(values):
                low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
                ax.plot([size * shift] * 2, [low, high], color=colour, linewidth=1.0)
                ax.plot([size * shift], [middle], marker, color=colour, markersize=3.4)
        if chosen.any():
            entries.append((dot_mark(colour, shape=marker), label))
    ax.set_xscale("log")
    log_ticks(ax.xaxis, counts=True)
    ax.set_xlabel(SIZE_WORDS[fit.provenance.size].axis)
    ax.set_ylabel("Residual (decades of $I$)")
    ax.set_ylim(*_symmetric_limits(residual))
    key_above(ax, entries)
    return ax


def residuals_of(fit: FitResult) -> Floats:
    """log10 f(R) - log10 I(N, E) of each point of the fit."""
    return np.log10(fit.points.mapped_intrinsic) - np.log10(fit.points.intrinsic)


# -- helpers ----------------------------------------------------------------------


def by_size(points: FitPoints) -> Iterator[tuple[float, Colour, NDArray[np.bool_]]]:
    """(size, colour, rows) of each size."""
    n = np.asarray(points.N)
    sizes = np.unique(n)
    for size, colour in zip(sizes, size_colours(sizes), strict=True):
        yield float(size), colour, n == size


def fitted_frontier(fit: FitResult) -> tuple[Floats, NDArray[np.bool_]]:
    """Computes of the data, and whether the optimum at each has a size and interactions within the data."""
    compute = np.geomspace(*fit.range.C, 200)
    n, e = fit.law.N_opt(compute), fit.law.E_opt(compute)
    (n_low, n_high), (e_low, e_high) = fit.range.N, fit.range.E
    return compute, (n >= n_low) & (n <= n_high) & (e >= e_low) & (e <= e_high)


def smaller_still_runs(fit: FitResult) -> NDArray[np.bool_]:
    """For each point of the model-free frontier, whether the next smaller size has data at its compute.

    If it has not, a larger size may be best only for want of a rival.
    """
    n, e = np.asarray(fit.points.N), np.asarray(fit.points.E)
    sizes = np.unique(n)
    last_compute = np.array([size * e[n == size].max() for size in sizes])
    place = np.array([np.abs(sizes - best).argmin() for best in fit.frontier.N], dtype=np.int64)
    return (place == 0) | (last_compute[place - 1] >= np.asarray(fit.frontier.compute))


def binned(
    points: FitPoints, values: Floats, rows: NDArray[np.bool_], bins_per_decade: int = _BINS_PER_DECADE
) -> tuple[Floats, Floats]:
    """Weighted averages of E (in logarithms) and values over bins of log E."""
    log_e, weight = np.log10(np.asarray(points.E)[rows]), np.asarray(points.weight)[rows]
    _, cell = np.unique(np.floor(log_e * bins_per_decade), return_inverse=True)
    total = np.bincount(cell, weights=weight)
    mean_e = np.bincount(cell, weights=weight * log_e) / total
    return 10.0**mean_e, np.bincount(cell, weights=weight * values[rows]) / total


def _log_log(ax: Axes, xlabel: str, ylabel: str) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)


def _nearest(values: Floats, wanted: float) -> float:
    """The value closest to ``wanted``: sizes went through a logarithm and back."""
    return float(values[np.abs(values - wanted).argmin()])


def _symmetric_limits(values: Floats) -> tuple[float, float]:
    """Limits about 0 that hold all but the outermost 1% of the values."""
    reach = 1.25 * max(float(np.quantile(np.abs(values), 0.99)), 1e-3)
    return -reach, reach
