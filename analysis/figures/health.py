"""Returns and metrics of representation against interactions, a panel a size, coloured by health."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    QUIET,
    axes_or_new,
    house_style,
    line_mark,
    log_ticks,
    new_figure,
    styled,
)
from rlscale.analysis.fit.findings import RunHealth
from rlscale.analysis.formatting.numbers import compact_count

#: Names on the axes, and whether the axis is logarithmic.
METRIC_LABELS = {
    "return": ("Return", False),
    "policy_approximate_rank": ("Feature rank", False),
    "policy_dead_share": ("Dead units", False),
    "policy_variance": ("Policy variance", False),
    "policy_preactivation_norm": ("Pre-activations", True),
    "excess_ratio": ("Excess ratio", True),
}
_COLOURS = {"healthy": QUIET, "degrading": INK, "collapsed": ACCENT}
_MOST_SIZES = 5


@styled
def plot_health(
    curves: Curves, health: Sequence[RunHealth], *, name: str, size: float, ax: Axes | None = None
) -> Axes:
    """The runs of one size: ``return`` or a metric against E; a dot where a run fell ill.

    Args:
        health: of each run, in the order of ``curves.run_ids``.
        name: ``return``, or one of ``rlscale.analysis.curves.curve_set.METRICS``.
        size: N of the runs.
    """
    ax = axes_or_new(ax)
    values = curves.returns if name == "return" else curves.metric(name)
    runs = [run for run in range(curves.num_runs) if curves.run_sizes[run] == size]
    for run in sorted(runs, key=lambda run: list(_COLOURS).index(health[run].state)):
        rows = (curves.run_index == run) & np.isfinite(values)
        if not rows.any():
            continue
        e, y, state = curves.interactions[rows], values[rows], health[run]
        ax.plot(e, y, color=_COLOURS[state.state], linewidth=0.9)
        if state.began is not None:
            at = min(int(np.searchsorted(e, state.began)), len(e) - 1)
            ax.plot(e[at], y[at], marker="o", markersize=3.5, color=_COLOURS[state.state])
    ax.set_xscale("log")
    log_ticks(ax.xaxis, counts=True)
    if METRIC_LABELS[name][1]:
        ax.set_yscale("log")
    return ax


def health_figure(curves: Curves, health: Sequence[RunHealth]) -> Figure:
    """A row for the return and each metric that was measured, a column for each of at most five sizes."""
    sizes = curves.sizes
    if len(sizes) > _MOST_SIZES:
        sizes = sizes[np.unique(np.linspace(0, len(sizes) - 1, _MOST_SIZES).round().astype(int))]
    names = [name for name in METRIC_LABELS if name == "return" or name in curves.metrics]
    with house_style():
        figure = new_figure((7.6, 0.9 + 1.15 * len(names)))
        panels = figure.subplots(len(names), len(sizes), sharex="col", sharey="row", squeeze=False)
        for row, name in zip(panels, names, strict=True):
            for ax, size in zip(row, sizes, strict=True):
                plot_health(curves, health, name=name, size=size, ax=ax)
            row[0].set_ylabel(METRIC_LABELS[name][0])
        for ax, size in zip(panels[0], sizes, strict=True):
            ax.set_title(f"N = {compact_count(size)}", loc="right", fontsize="small")
        for ax in panels[-1]:
            ax.set_xlabel("Interactions $E$")
        states = {run.state for run in health}
        marks = [(line_mark(colour), state) for state, colour in _COLOURS.items() if state in states]
        # Of the whole figure: above one panel it would lie on the name of its size, and stretch its column.
        figure.legend(*zip(*marks, strict=True), loc="outside upper left", ncols=len(marks), frameon=False)
    return figure
