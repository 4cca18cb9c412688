"""The figures of a comparison of two recipes: their frontiers, and the compute multiplier."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    QUIET,
    TWO_PANELS,
    axes_or_new,
    dot_mark,
    house_style,
    key_above,
    line_mark,
    log_ticks,
    new_figure,
    return_axis,
    styled,
)
from rlscale.analysis.formatting.compare import factor_text
from rlscale.analysis.studies.compare.result import Comparison, Recipe

_COLOURS = (ACCENT, "#21618c")
_LONGEST = 24  # characters of a name in a legend


def comparison_figure(result: Comparison) -> Figure:
    """Both frontiers, and beside them the multiplier against compute."""
    with house_style():
        figure = new_figure(TWO_PANELS)
        left, right = figure.subplots(1, 2)
        plot_frontiers(result, ax=left)
        plot_multiplier(result, ax=right)
    return figure


@styled
def plot_frontiers(result: Comparison, *, ax: Axes | None = None) -> Axes:
    """Return against the least compute for it: measured over sizes as dots, by the laws as lines."""
    ax = axes_or_new(ax)
    curve = result.curve
    entries: list[tuple[Line2D | Patch, str]] = []
    sides = zip((result.a, result.b), (curve.compute_a, curve.compute_b), _COLOURS, strict=True)
    for recipe, compute, colour in sides:
        step = max(len(recipe.frontier.compute) // 30, 1)
        ax.plot(
            recipe.frontier.compute[::step],
            recipe.frontier.return_[::step],
            "o",
            color="white",
            markeredgecolor=colour,
            markersize=3.2,
            markeredgewidth=0.8,
        )
        ax.plot(compute, curve.return_, color=colour)
        entries.append((line_mark(colour), _short(recipe)))
    entries.append((dot_mark("white", edge=QUIET), "best size, measured"))
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    ax.set_xlabel("Compute $C = N\\,E$")
    returns = np.concatenate([curve.return_, result.a.frontier.return_, result.b.frontier.return_])
    return_axis(ax.yaxis, returns)
    key_above(ax, entries)
    return ax


@styled
def plot_multiplier(result: Comparison, *, ax: Axes | None = None) -> Axes:
    """C_A/C_B against C_B, with its 90% interval; dots: the measured frontiers alone."""
    ax = axes_or_new(ax)
    curve, measured = result.curve, result.measured
    ax.axhline(1.0, color=QUIET, linewidth=0.8)
    if result.replicates:
        ax.fill_between(curve.compute_b, curve.low, curve.high, color=INK, alpha=0.15, linewidth=0)
    ax.plot(curve.compute_b, curve.multiplier, color=INK)
    ax.plot(measured.compute_b, measured.multiplier, "o", color=QUIET, markersize=2.6, markeredgewidth=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    seen = np.concatenate([curve.low, curve.high, [1.0]])
    low, high = (float(np.clip(end, 1e-3, 1e3)) for end in (seen.min(), seen.max()))
    ax.set_ylim(min(low, 1 / 1.25) / 1.15, max(high, 1.25) * 1.15)
    log_ticks(ax.xaxis)
    ticks = [tick for tick in _TICKS if ax.get_ylim()[0] <= tick <= ax.get_ylim()[1]]
    ax.set_yticks(_thinned(ticks), [factor_text(tick).rstrip("0").rstrip(".") for tick in _thinned(ticks)])
    ax.set_yticks([], minor=True)
    ax.set_xlabel(f"Compute of {_short(result.b)}")
    ax.set_ylabel(f"Compute of {_short(result.a)}\nover that of {_short(result.b)}")
    entries: list[tuple[Line2D | Patch, str]] = [(line_mark(INK), "fitted")]
    if result.replicates:
        entries.append((Patch(color=INK, alpha=0.15, linewidth=0), "90% interval"))
    if len(measured.multiplier):
        entries.append((dot_mark(), "measured frontiers"))
    key_above(ax, entries)
    return ax


_TICKS = (
    0.001,
    0.01,
    0.1,
    0.2,
    0.3,
    0.5,
    0.7,
    0.8,
    0.9,
    1.0,
    1.1,
    1.2,
    1.5,
    2.0,
    3.0,
    5.0,
    10.0,
    100.0,
    1000.0,
)


def _thinned(ticks: list[float]) -> list[float]:
    """Ticks far enough apart to be read, 1 among them."""
    kept = [1.0]
    reach = np.ptp(np.log(ticks)) / 9 if len(ticks) > 1 else 0.0
    for tick in sorted(ticks, key=lambda value: abs(np.log(value))):
        if all(abs(np.log(tick / other)) >= reach for other in kept):
            kept.append(tick)
    return sorted(kept)


def _short(recipe: Recipe) -> str:
    name = recipe.name.replace("$", r"\$")
    return name if len(name) <= _LONGEST else f"…{name[-_LONGEST + 1 :]}"
