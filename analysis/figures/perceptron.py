"""Figures of the RL perceptron: learning curves, simulation beside theory, phases, schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    ONE_PANEL,
    QUIET,
    TWO_PANELS,
    Colour,
    axes_or_new,
    even_colours,
    house_style,
    key_above,
    line_mark,
    log_ticks,
    new_figure,
    styled,
)
from rlscale.analysis.theory.perceptron_demo import (
    Curve,
    PerceptronCurves,
    PerceptronPhases,
    PerceptronSchedules,
    PerceptronSimulation,
)

_THREE_PANELS = (9.6, 3.1)
_TIME = r"Time $\alpha$, episodes over $D$"
_BAND = 3  # standard errors


def curves_figure(demo: PerceptronCurves) -> Figure:
    """Overlap and norm over time, and the overlaps of other numbers of steps needed."""
    with house_style():
        figure = new_figure(_THREE_PANELS if demo.front else TWO_PANELS)
        axes = figure.subplots(1, 3 if demo.front else 2)
        plot_overlap(demo.curve, ax=axes[0])
        plot_norm(demo.curve, ax=axes[1])
        if demo.front:
            plot_front(demo.front, demo.steps, ax=axes[2])
    return figure


def _time_axis(ax: Axes, alpha: np.ndarray) -> None:
    ax.set_xscale("log")
    ax.set_xlim(alpha[0], alpha[-1])
    log_ticks(ax.xaxis)
    ax.set_xlabel(_TIME)


@styled
def plot_overlap(curve: Curve, *, ax: Axes | None = None) -> Axes:
    """The overlap, and the share of wrong steps."""
    ax = axes_or_new(ax)
    ax.plot(curve.alpha, curve.overlap, color=INK)
    ax.plot(curve.alpha, curve.error, color=ACCENT)
    _time_axis(ax, curve.alpha)
    ax.set_ylim(min(-0.02, float(curve.overlap.min())), 1.02)
    ax.set_ylabel(r"$\rho$,  $1 - P$")
    key_above(ax, [(line_mark(INK), r"overlap $\rho$"), (line_mark(ACCENT), "share of wrong steps")])
    return ax


@styled
def plot_norm(curve: Curve, *, ax: Axes | None = None) -> Axes:
    """The squared length of the student."""
    ax = axes_or_new(ax)
    ax.plot(curve.alpha, curve.norm, color=INK)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 0.5 * float(curve.norm.min())), max(high, 2 * float(curve.norm.max())))
    log_ticks(ax.yaxis)
    _time_axis(ax, curve.alpha)
    ax.set_ylabel(r"Squared length over $D$, $Q$")
    return ax


@styled
def plot_front(front: list[Curve], steps: int, *, ax: Axes | None = None) -> Axes:
    """Overlaps by the number of steps needed: who needs fewer starts sooner and ends lower."""
    ax = axes_or_new(ax)
    for curve, colour in zip(front, even_colours(len(front)), strict=True):
        ax.plot(curve.alpha, curve.overlap, color=colour)
    _time_axis(ax, front[0].alpha)
    ax.set_ylim(-0.02, 1.02)
    ax.set_ylabel(r"Overlap $\rho$")
    entries: list[tuple[Line2D | Patch, str]] = [
        (Line2D([], [], color=colour), f"{curve.name} of {steps}")
        for curve, colour in zip(front, even_colours(len(front)), strict=True)
    ]
    key_above(ax, entries)
    return ax


def simulation_figure(demo: PerceptronSimulation) -> Figure:
    """Means over students with bands of 3 standard errors over the equations."""
    with house_style():
        figure = new_figure(TWO_PANELS)
        left, right = figure.subplots(1, 2)
        at, line = demo.theory.alpha, demo.curve
        plot_beside_theory(line.alpha, line.overlap, at, demo.overlap_mean, demo.overlap_error, ax=left)
        left.set_ylabel(r"Overlap $\rho$")
        plot_beside_theory(line.alpha, line.norm, at, demo.norm_mean, demo.norm_error, ax=right)
        right.set_ylabel(r"Squared length over $D$, $Q$")
    return figure


@styled
def plot_beside_theory(
    times: np.ndarray,
    theory: np.ndarray,
    alpha: np.ndarray,
    mean: np.ndarray,
    error: np.ndarray,
    *,
    ax: Axes | None = None,
) -> Axes:
    """One order parameter: theory at ``times``, the simulation's means with standard errors at ``alpha``."""
    ax = axes_or_new(ax)
    bars = {"fmt": "o", "color": ACCENT, "markersize": 3, "capsize": 2, "linewidth": 0.9, "zorder": 3}
    ax.errorbar(alpha, mean, yerr=_BAND * error, **bars)  # type: ignore[arg-type]
    ax.plot(times, theory, color=INK)
    ax.set_xlabel(_TIME)
    simulated = line_mark(ACCENT, marker="o", markersize=3)
    key_above(ax, [(line_mark(INK), "equations"), (simulated, f"simulation ± {_BAND} standard errors")])
    return ax


def phases_figure(demo: PerceptronPhases) -> Figure:
    """The phase diagram in the horizon and the ratio of penalty and rate."""
    with house_style():
        figure = new_figure(ONE_PANEL)
        plot_phases(demo, ax=figure.subplots())
    return figure


@styled
def plot_phases(demo: PerceptronPhases, *, ax: Axes | None = None) -> Axes:
    """Critical ratios as a boundary; the ratio looked at is dashed."""
    ax = axes_or_new(ax)
    finite = [row for row in demo.rows if row.critical_ratio is not None]
    steps = np.array([row.steps for row in demo.rows], float)
    ax.set_yscale("log")
    if finite:
        at = np.array([row.steps for row in finite], float)
        critical = np.array([row.critical_ratio for row in finite], float)
        ax.plot(at, critical, "o-", color=INK, markersize=3)
        low, high = 0.2 * critical.min(), 5 * critical.max()
        ax.fill_between(at, critical, high, color=ACCENT, alpha=0.12, linewidth=0)
        ax.set_ylim(low, high)
        ax.text(0.96, 0.92, "hybrid-hard", ha="right", va="top", transform=ax.transAxes, color=ACCENT)
    ax.text(0.04, 0.06, "easy", ha="left", va="bottom", transform=ax.transAxes)
    if demo.ratio > 0:
        ax.axhline(demo.ratio, color=QUIET, linestyle="--", linewidth=0.9)
    log_ticks(ax.yaxis)
    ax.set_xlim(steps.min() - 0.3, steps.max() + 0.3)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    forgiven = f", {demo.missing} wrong forgiven" if demo.missing else ""
    ax.set_xlabel(f"Horizon $T${forgiven}")
    ax.set_ylabel(r"Penalty over rate, $\eta_2/\eta_1$")
    return ax


def schedules_figure(demo: PerceptronSchedules) -> Figure:
    """What is left to learn, the horizon and the rate over time, by schedule."""
    with house_style():
        figure = new_figure(_THREE_PANELS)
        misses, horizons, rates = figure.subplots(1, 3)
        colours = dict(
            zip((each.name for each in demo.schedules), even_colours(len(demo.schedules)), strict=True)
        )
        for each in demo.schedules:
            alpha, look = each.curve.alpha, _line_of(each.name, colours[each.name])
            misses.plot(alpha, 1 - each.curve.overlap, **look)
            horizons.plot(alpha, each.horizon, **look)
            rates.plot(alpha, each.relative_rate, **look)
        for ax, label in (
            (misses, r"Distance to the teacher, $1 - \rho$"),
            (horizons, "Horizon $T$"),
            (rates, r"Rate over length, $\eta/\sqrt{Q}$"),
        ):
            ax.set_yscale("log")
            log_ticks(ax.yaxis)
            _time_axis(ax, demo.schedules[0].curve.alpha)
            ax.set_ylabel(label)
        figure.legend(
            [Line2D([], [], **_line_of(name, colour)) for name, colour in colours.items()],
            [name.replace("-", " ") for name in colours],
            loc="outside upper center",
            ncols=len(colours),
        )
    return figure


def _line_of(name: str, colour: Colour) -> dict[str, Any]:
    """The constant schedule is dashed and on top, for others share its rate or its horizon."""
    return {"color": INK, "linestyle": "--", "zorder": 3} if name == "constant" else {"color": colour}
