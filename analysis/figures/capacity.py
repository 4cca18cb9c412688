"""The figure of capacity losses: learning curves, and below them what actor and critic can still learn."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from rlscale.analysis.figures.style import (
    Colour,
    axes_or_new,
    house_style,
    log_ticks,
    new_figure,
    return_axis,
    size_colours,
    size_key,
    styled,
)
from rlscale.analysis.formatting.numbers import compact_count
from rlscale.analysis.studies.capacity import CapacityResult, CapacityRun, Part

_LABELS: dict[Part, str] = {"actor": "Actor: KL that is left", "critic": "Critic: error that is left"}


def capacity_figure(result: CapacityResult) -> Figure:
    """Three panels over the same interactions: returns, capacity loss of the actor, of the critic."""
    with house_style():
        figure = new_figure((5.2, 6.2))
        top, middle, bottom = figure.subplots(3, 1, sharex=True)
        plot_returns(result, ax=top)
        plot_capacity(result, "actor", ax=middle)
        plot_capacity(result, "critic", ax=bottom)
        bottom.set_xlabel("Environment interactions $E$")
        bottom.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact_count(value)))
        sizes = sorted({_size(run) for run in result.runs})
        if len(sizes) > 1:
            size_key(top, sizes, "$N$")
    return figure


@styled
def plot_returns(result: CapacityResult, *, ax: Axes | None = None) -> Axes:
    """The learning curve of each run, coloured by size."""
    ax = axes_or_new(ax)
    for run, colour in _coloured(result):
        ax.plot(run.curve_interactions, run.curve_return, color=colour, linewidth=1.0)
    returns = np.concatenate([run.curve_return for run in result.runs])
    if returns.size:
        return_axis(ax.yaxis, returns)
    return ax


@styled
def plot_capacity(result: CapacityResult, part: Part, *, ax: Axes | None = None) -> Axes:
    """The capacity loss of each run, with the 90% interval over targets shaded."""
    ax = axes_or_new(ax)
    for run, colour in _coloured(result):
        at = [point.interactions for point in run.points]
        estimates = [getattr(point, part) for point in run.points]
        ax.plot(at, [each.value for each in estimates], "o-", color=colour, markersize=2.4)
        intervals = [each.interval for each in estimates if each.interval is not None]
        if len(intervals) == len(at):
            low, high = np.array(intervals).T
            ax.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    ax.set_ylabel(_LABELS[part])
    return ax


def _coloured(result: CapacityResult) -> list[tuple[CapacityRun, Colour]]:
    sizes = sorted({_size(run) for run in result.runs})
    colours = dict(zip(sizes, size_colours(sizes), strict=True))
    return [(run, colours[_size(run)]) for run in result.runs]


def _size(run: CapacityRun) -> float:
    return float(run.columns.get("num_params") or 1)
