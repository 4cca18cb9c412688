"""The figure of a tuning study: score against learning rate, a line for each size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rlscale.analysis.figures.style import (
    ONE_PANEL,
    QUIET,
    Colour,
    axes_or_new,
    even_colours,
    house_style,
    new_figure,
    styled,
)
from rlscale.analysis.studies.tuning.rates import Floats
from rlscale.analysis.studies.tuning.study import SizeResult, TuningStudy

_COLUMNS = 3
_DOT: Any = {"markersize": 2.4, "markeredgewidth": 0, "alpha": 0.7}


def tuning_figure(study: TuningStudy) -> Figure:
    """A panel for each combination of the spec's axes except the first; that one sets the lines' colours."""
    panels = _panels(study)
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    with house_style():
        return _figure(panels, study, rows, columns)


def _figure(panels: dict[str, list[SizeResult]], study: TuningStudy, rows: int, columns: int) -> Figure:
    figure = new_figure((ONE_PANEL[0] * columns, ONE_PANEL[1] * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (title, results) in zip(axes, panels.items(), strict=False):
        plot_tuning(study, results, ax=ax)
        ax.set_title(title)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    return figure


def _panels(study: TuningStudy) -> dict[str, list[SizeResult]]:
    names = list(study.sizes[0].size.apart)
    panels: dict[str, list[SizeResult]] = {}
    for result in study.sizes:
        title = ", ".join(f"{name} {result.size.text_of(name)}" for name in names[1:])
        panels.setdefault(title, []).append(result)
    return panels


@styled
def plot_tuning(
    study: TuningStudy, results: Sequence[SizeResult] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Mean scores with the points of the seeds, the best rates with their intervals, the spec's base rate.

    Args:
        results: the sizes to draw; None for all.
    """
    ax, results = axes_or_new(ax), study.sizes if results is None else results
    rates = np.array(study.rates)
    shades = even_colours(len(results))
    names = list(results[0].size.apart)[:1]
    handles = []
    for result, shade in zip(results, shades, strict=True):
        ax.plot(rates, np.where(np.isfinite(result.scores), result.scores, np.nan), "o", color=shade, **_DOT)
        kept = result.response.finite
        ax.plot(np.exp(result.response.log_rates[kept]), result.response.means[kept], color=shade)
        _mark_best(ax, result, shade)
        label = " ".join(f"{name} {result.size.text_of(name)}" for name in names)
        handles.append(Line2D([], [], color=shade, linewidth=2.2, label=label or study.sweep))
    _cut_below(ax, results, rates, shades)
    ax.axvline(results[0].size.config.agent.learning_rate, color=QUIET, linestyle=":", linewidth=1.0)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(rates.tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel("Base learning rate (dotted: the spec's; wedges: lower or diverged)")
    ax.set_ylabel("Mean return of the last tenth")
    ax.legend(handles=handles[::-1], loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0.0)
    return ax


def _cut_below(ax: Axes, results: Sequence[SizeResult], rates: Floats, shades: Sequence[Colour]) -> None:
    """End the axis below the scores around the best rates; mark lower and diverged runs at its foot."""
    near = [_near_best(result) for result in results if result.best]
    if not near:
        return
    low, high = min(map(min, near)), max(map(max, near))
    foot = low - 0.15 * (high - low or 1.0)
    for position, (result, shade) in enumerate(zip(results, shades, strict=True)):
        i, _ = np.nonzero(result.scores < foot)
        nudge = 1.0 + 0.02 * (position - len(shades) / 2)
        ax.plot(
            rates[i] * nudge,
            np.full(len(i), foot),
            "v",
            color=shade,
            **_DOT | {"markersize": 4.5},
            clip_on=False,
        )
    ax.set_ylim(foot, high + 0.1 * (high - low or 1.0))


def _near_best(result: SizeResult) -> list[float]:
    """The scores that the axis must show: of the best rate, of its neighbours and of the base rate."""
    response, best, rule = result.response, result.best, result.rule
    assert best is not None
    at = int(np.argmax(response.means))
    means = response.means[max(at - 1, 0) : at + 2]
    base = [rule.score] if rule is not None else []
    return [float(score) for score in (best.score, *means, *base) if np.isfinite(score)]


def _mark_best(ax: Axes, result: SizeResult, shade: Colour) -> None:
    """The best rate: a filled mark inside the grid, a hollow one at its edge."""
    best = result.best
    if best is None:
        return
    face = "white" if best.edge else shade
    if best.interval:
        ax.plot(
            best.interval, [best.score] * 2, color=shade, linewidth=3.2, alpha=0.35, solid_capstyle="butt"
        )
    ax.plot(best.rate, best.score, "D", color=shade, markerfacecolor=face, markersize=5.0, zorder=3)
