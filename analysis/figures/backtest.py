"""The figures of a backtest: what was predicted beside what was held out."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.figures.fit import compute_label
from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    QUIET,
    ReturnScale,
    axes_or_new,
    dot_mark,
    house_style,
    key_above,
    line_mark,
    log_ticks,
    new_figure,
    return_axis,
    size_colours,
    size_key,
    styled,
)
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.analysis.studies.backtest.result import SplitBacktest

#: Inches: two panels with room for a legend beside the first.
_WIDE = (7.6, 3.2)


@styled
def plot_held_out_returns(
    backtest: SplitBacktest, *, size: SizeColumn, scale: ReturnScale | None = None, ax: Axes | None = None
) -> Axes:
    """Measured (dots) and predicted (lines, with their interval) returns of the held-out points."""
    ax = axes_or_new(ax)
    points = backtest.points
    n, e, measured = (np.asarray(x) for x in (points.N, points.E, points.return_))
    predicted, low, high = (np.asarray(x) for x in (points.predicted, points.low, points.high))
    sizes = np.unique(n)
    for value, colour in zip(sizes, size_colours(sizes), strict=True):
        rows = n == value
        ax.fill_between(e[rows], low[rows], high[rows], color=colour, alpha=0.15, linewidth=0)
        ax.plot(e[rows], predicted[rows], color=colour, linewidth=1.1)
        ax.plot(e[rows], measured[rows], "o", color=colour, markersize=2.4, markeredgewidth=0)
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    ax.set_xlabel("Environment interactions $E$")
    return_axis(ax.yaxis, measured, scale=scale)
    size_key(ax, sizes, SIZE_WORDS[size].legend)
    key_above(ax, [(dot_mark(), "held out"), (line_mark(), "predicted"), (_band(), "90% interval")])
    return ax


@styled
def plot_held_out_optimum(backtest: SplitBacktest, *, size: SizeColumn, ax: Axes | None = None) -> Axes:
    """N_opt over the held-out computes: by the training part, by all, and the best trained sizes."""
    ax = axes_or_new(ax)
    points = backtest.optimum_points
    compute = [point.compute for point in points]
    intervals = [point.interval for point in points if point.interval is not None]
    if len(intervals) == len(points):
        low, high = zip(*intervals, strict=True)
        ax.fill_between(compute, low, high, color=ACCENT, alpha=0.18, linewidth=0)
    ax.plot(compute, [point.N_opt for point in points], color=ACCENT)
    ax.plot(compute, [point.full_fit for point in points], "--", color=INK, linewidth=1.0)
    frontier = backtest.frontier_points
    ax.plot(frontier.compute, frontier.best_size, "o", color=INK, markersize=2.8, markeredgewidth=0)
    ax.plot(compute, [point.naive for point in points], ":", color=QUIET)
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis, counts=True)
    ax.set_xlabel(compute_label(size))
    ax.set_ylabel(SIZE_WORDS[size].axis.replace("$N$", "$N_{opt}$"))
    entries: list[tuple[Line2D | Patch, str]] = [(line_mark(ACCENT), "training part")]
    entries += [(line_mark(INK, "--"), "all curves"), (line_mark(QUIET, ":"), "baseline")]
    if len(frontier.compute):
        entries.append((dot_mark(INK), "best size, held out"))
    key_above(ax, entries)
    return ax


def backtest_figure(backtest: SplitBacktest, *, size: SizeColumn, scale: ReturnScale | None = None) -> Figure:
    """Both panels."""
    with house_style():
        figure = new_figure(_WIDE)
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        plot_held_out_returns(backtest, size=size, scale=scale, ax=left)
        plot_held_out_optimum(backtest, size=size, ax=right)
    return figure


def _band() -> Patch:
    return Patch(color=QUIET, alpha=0.3, linewidth=0)
