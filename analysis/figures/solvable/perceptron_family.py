"""Figures of perceptrons of many sizes: curves, optimal sizes and horizons beside the equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    TWO_PANELS,
    axes_or_new,
    dot_mark,
    even_colours,
    house_style,
    key_above,
    line_mark,
    log_ticks,
    new_figure,
    size_colours,
    size_key,
    styled,
)
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.statistics.intervals import interval_of
from rlscale.analysis.studies.solvable.perceptron_family import StudentFamily
from rlscale.analysis.studies.solvable.perceptron_recovery import CrossingTime

_WIDE = (8.6, 3.3)


def family_figure(curves: Curves, fit: FitResult, family: StudentFamily) -> Figure:
    """Learning curves and optimal sizes, beside the equations."""
    with house_style():
        figure = new_figure(_WIDE)
        left, right = figure.subplots(1, 2)
        plot_curves(curves, family, ax=left)
        plot_optimum(fit, family, ax=right)
    return figure


@styled
def plot_curves(curves: Curves, family: StudentFamily, *, ax: Axes | None = None) -> Axes:
    """The share of right steps: seeds averaged as dots, the equations as lines, one colour a size."""
    ax = axes_or_new(ax)
    for index, (size, colour) in enumerate(zip(curves.sizes, size_colours(curves.sizes), strict=True)):
        runs = np.flatnonzero(curves.size_index == index)
        e = np.concatenate([curves.curve(int(run))[0] for run in runs])
        returns = np.concatenate([curves.curve(int(run))[1] for run in runs])
        bins = np.floor(8 * np.log10(e))
        for each in np.unique(bins):
            mine = bins == each
            middle = np.exp(np.log(e[mine]).mean())
            ax.plot(middle, returns[mine].mean(), "o", color=colour, markersize=2.4, zorder=3)
        grid = np.geomspace(e.min(), e.max(), 200)
        ax.plot(grid, family.returns(float(size), grid), color=colour, linewidth=0.9)
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    ax.set_xlabel("Interactions $E$, steps of a student")
    ax.set_ylabel("Share of right steps")
    size_key(ax, curves.sizes, "$N = D$")
    key_above(ax, [(line_mark(INK), "equations"), (dot_mark(INK), "simulation")])
    return ax


@styled
def plot_optimum(fit: FitResult, family: StudentFamily, *, ax: Axes | None = None) -> Axes:
    """N_opt of the fit, with the 90% band of its draws, over that of the equations."""
    ax = axes_or_new(ax)
    computes = np.geomspace(*fit.range.C, 60)
    drawn = np.array([[law.N_opt(compute) for law in fit.draw_laws()] for compute in computes])
    low, high = np.array([interval_of(row) for row in drawn]).T
    ax.fill_between(computes, low, high, color=ACCENT, alpha=0.25, linewidth=0)
    ax.plot(computes, [fit.law.N_opt(compute) for compute in computes], color=ACCENT)
    ax.plot(computes, [family.N_opt(compute) for compute in computes], color=INK, linestyle="--")
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis, counts=True)
    ax.set_xlabel("Compute $C = N E$")
    ax.set_ylabel("Optimal size $N_{opt}$")
    key_above(
        ax,
        [
            (line_mark(INK, "--"), "equations"),
            (line_mark(ACCENT), "fit"),
            (Patch(color=ACCENT, alpha=0.25, linewidth=0), "90% interval"),
        ],
    )
    return ax


def horizon_figure(
    times: Sequence[CrossingTime], families: Mapping[float, StudentFamily], size: float
) -> Figure:
    """Interactions to each level by the horizon, at one size and for all sizes."""
    with house_style():
        figure = new_figure(TWO_PANELS)
        left, right = figure.subplots(1, 2)
        plot_horizons([each for each in times if each.size == size], families, ax=left)
        left.set_title(f"$D = {size:g}$", loc="right")
        plot_ratios(times, ax=right)
    return figure


@styled
def plot_horizons(
    times: Sequence[CrossingTime], families: Mapping[float, StudentFamily], *, ax: Axes | None = None
) -> Axes:
    """Interactions to each level of return by the horizon T, at one size; dots are measured."""
    ax = axes_or_new(ax)
    levels = sorted({each.level for each in times})
    entries: list[tuple[Line2D | Patch, str]] = []
    for level, colour in zip(levels, even_colours(len(levels)), strict=True):
        mine = [each for each in times if each.level == level]
        ax.plot([each.horizon for each in mine], [each.measured for each in mine], "o", color=colour, ms=4)
        horizons = sorted(families)
        spent = [families[horizon].interactions_to(level, mine[0].size) for horizon in horizons]
        ax.plot(horizons, spent, color=colour)
        entries.append((Line2D([], [], color=colour), f"{level:g}"))
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    ax.set_xticks(sorted(families))
    ax.set_xlabel("Horizon $T$, steps of an episode")
    ax.set_ylabel("Interactions to the return")
    key_above(ax, entries)
    return ax


@styled
def plot_ratios(times: Sequence[CrossingTime], *, ax: Axes | None = None) -> Axes:
    """Measured interactions over those of the equations, by size; one colour a horizon."""
    ax = axes_or_new(ax)
    horizons = sorted({each.horizon for each in times})
    entries: list[tuple[Line2D | Patch, str]] = []
    for horizon, colour in zip(horizons, even_colours(len(horizons)), strict=True):
        mine = [each for each in times if each.horizon == horizon]
        ax.plot(
            [each.size for each in mine],
            [each.measured / each.exact for each in mine],
            "o",
            color=colour,
            ms=4,
        )
        dot = Line2D([], [], color=colour, linestyle="", marker="o", markersize=3.5)
        entries.append((dot, f"$T = {horizon:g}$"))
    ax.axhline(1.0, color=INK, linewidth=0.8)
    ax.set_xscale("log")
    log_ticks(ax.xaxis, counts=True)
    ax.set_xlabel("$N = D$")
    ax.set_ylabel("Measured over equations")
    key_above(ax, entries)
    return ax
