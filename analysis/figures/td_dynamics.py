"""The figure of TD on a ring: rates by smoothness, what is left of each mode, roughness of the values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    QUIET,
    axes_or_new,
    even_colours,
    house_style,
    key_above,
    line_mark,
    log_ticks,
    new_figure,
    styled,
)
from rlscale.analysis.theory.td_ring import RingDemo, RingMoment

_FOUR_PANELS = (7.2, 6.0)
_LEAST_LEFT = 1e-6
_ORDER = "Eigenvalue $l$ of the mode (left: rough, right: smooth)"


def td_figure(demo: RingDemo) -> Figure:
    """Rates; the error by mode under the flow and under value iteration; roughness of the values."""
    with house_style():
        figure = new_figure(_FOUR_PANELS)
        (rates, rough), (flow, sweeps) = figure.subplots(2, 2)
        plot_rates(demo, ax=rates)
        plot_roughness(demo, ax=rough)
        plot_error_spectrum(demo.eigenvalues, demo.flow, f"TD({demo.lam:g}), $t$ =", ax=flow)
        plot_error_spectrum(demo.eigenvalues, demo.value_iteration, "value iteration, sweeps:", ax=sweeps)
    return figure


@styled
def plot_rates(demo: RingDemo, *, ax: Axes | None = None) -> Axes:
    """The rate at which each mode is learned, by the kind of target."""
    ax = axes_or_new(ax)
    ax.plot(demo.eigenvalues, demo.one_step_rates, color=INK)
    ax.plot(demo.eigenvalues, demo.n_step_rates, color=QUIET)
    ax.plot(demo.eigenvalues, demo.lambda_rates, color=ACCENT)
    ax.plot(demo.eigenvalues, np.ones_like(demo.eigenvalues), "--", color=QUIET, linewidth=0.9)
    ax.set_ylim(0, 2.05)
    ax.set_xlabel(_ORDER)
    ax.set_ylabel("Rate of learning")
    entries: list[tuple[Line2D | Patch, str]] = [
        (line_mark(INK), "TD(0)"),
        (line_mark(ACCENT), f"TD({demo.lam:g})"),
        (line_mark(QUIET), f"{demo.n_step}-step"),
        (line_mark(QUIET, "--", linewidth=0.9), "Monte Carlo"),
    ]
    key_above(ax, entries)
    return ax


@styled
def plot_roughness(demo: RingDemo, *, ax: Axes | None = None) -> Axes:
    """Roughness of the values against time, and that of the true values and of the reward."""
    ax = axes_or_new(ax)
    ax.plot(demo.curve_times, demo.one_step_curve, color=INK)
    ax.plot(demo.curve_times, demo.lambda_curve, color=ACCENT)
    ax.plot(demo.curve_times, demo.monte_carlo_curve, "--", color=QUIET, linewidth=0.9)
    ax.axhline(demo.value_roughness, color=QUIET, linestyle=":", linewidth=0.9)
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("Time $t$")
    ax.set_ylabel(r"Roughness of $V_t$,  $D(V)/||V||^2$")
    entries: list[tuple[Line2D | Patch, str]] = [
        (line_mark(INK), "TD(0)"),
        (line_mark(ACCENT), f"TD({demo.lam:g})"),
        (line_mark(QUIET, "--", linewidth=0.9), "Monte Carlo"),
        (line_mark(QUIET, ":", linewidth=0.9), r"$V_\pi$"),
    ]
    key_above(ax, entries)
    return ax


@styled
def plot_error_spectrum(
    eigenvalues: np.ndarray, moments: Sequence[RingMoment], words: str, *, ax: Axes | None = None
) -> Axes:
    """What is left of each mode's error, a line for each moment."""
    ax = axes_or_new(ax)
    colours = even_colours(len(moments))
    for moment, colour in zip(moments, colours, strict=True):
        ax.plot(eigenvalues, np.maximum(moment.error_left, _LEAST_LEFT / 10), color=colour)
    ax.set_yscale("log")
    ax.set_ylim(_LEAST_LEFT, 2)
    log_ticks(ax.yaxis)
    ax.set_xlabel(_ORDER)
    ax.set_ylabel("Share of the error that is left")
    handles = [Line2D([], [], color=colour) for colour in colours]
    ax.legend(
        handles,
        [f"{moment.time:g}" for moment in moments],
        title=words,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=len(moments),
        borderaxespad=0.2,
        columnspacing=1.0,
        alignment="left",
    )
    return ax
