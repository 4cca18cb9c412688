"""Figures of the further analyses of one sweep: periods of training, measures of size, natural metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from rlscale.analysis.figures.fit import intrinsic_label
from rlscale.analysis.figures.nu import shade_intervals
from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    axes_or_new,
    dot_mark,
    key_above,
    line_mark,
    log_ticks,
    size_colours,
    styled,
)
from rlscale.analysis.fit.findings import Refit, StraightLine
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.numbers import compact_count
from rlscale.analysis.records import Interval
from rlscale.analysis.studies.natural_metrics import transformed

#: What y is on the axis of each metric.
_METRIC_LABELS = {
    "return": "Return $R$",
    "log-failure": r"Failure $R_{max} - R$",
    "fail-ratio": r"Failures to successes $\frac{R_{max} - R}{R - R_{min}}$",
    "elo": r"Odds $\exp(-k R)$",
    "trueskill": r"Odds $\exp(-k R)$",
}


@styled
def plot_refits(
    fit: FitResult,
    others: Sequence[tuple[str, Refit]],
    *,
    name: str,
    label: str,
    own: str,
    ax: Axes | None = None,
) -> Axes:
    """One estimate of this fit and of refits, a row each with its interval; hollow if not identified.

    Args:
        others: name and fit of each row.
        name: which estimate, e.g. ``nu``; ``N_opt_ref`` is drawn on a logarithmic axis.
        label: of the axis.
        own: name of the row of this fit.
    """
    ax = axes_or_new(ax)
    rows: list[tuple[str, float, Interval | None, bool, str]] = [
        (own, getattr(fit, name), fit.intervals.get(name), fit.identified, ACCENT)
    ]
    rows += [(text, getattr(o, name), o.intervals.get(name), o.identified, INK) for text, o in others]
    shade_intervals(fit, name, ax)
    for place, (_, value, interval, identified, colour) in enumerate(rows):
        if interval:
            ax.plot(interval, [place, place], color=colour)
        fill = colour if identified else "white"
        ax.plot([value], [place], "o", color=fill, markeredgecolor=colour, markersize=4)
    ax.set_yticks(range(len(rows)), [text for text, *_ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(label)
    if name == "N_opt_ref":
        ax.set_xscale("log")
        log_ticks(ax.xaxis, counts=True)
    return ax


@styled
def plot_metric_line(fit: FitResult, line: StraightLine, *, key: bool = True, ax: Axes | None = None) -> Axes:
    """A natural metric against intrinsic performance: averaged points of all sizes and the fitted line.

    Args:
        line: one of the candidates of the fit's study.
        key: whether to add the legend.
    """
    ax = axes_or_new(ax)
    assert fit.metric is not None, "draw this only for a fit with a metric"
    points = fit.metric.points
    n, i = np.asarray(points.N), np.asarray(points.intrinsic)
    y = transformed(line.name, line.constants, np.asarray(points.return_))
    plain = line.name == "return"
    shown = -y if plain else np.exp(y)
    sizes = np.unique(n.round(6))
    for size, colour in zip(sizes, size_colours(sizes), strict=True):
        rows = np.isclose(n, size) & np.isfinite(shown)
        ax.plot(i[rows], shown[rows], "o", color=colour, markersize=2.4, markeredgewidth=0, alpha=0.8)
    grid = np.geomspace(i.min(), i.max(), 50)
    value = line.intercept - line.q * np.log(grid)
    ax.plot(grid, -value if plain else np.exp(value), color=INK, linewidth=1.2)
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    if not plain:
        ax.set_yscale("log")
        log_ticks(ax.yaxis)
    ax.set_xlabel(intrinsic_label(fit.provenance.size))
    ax.set_ylabel(_METRIC_LABELS[line.name])
    if key:
        slope = f"slope {line.q:.3g} per e-fold" if plain else rf"$\propto I^{{-{line.q:.3f}}}$"
        sizes_text = f"{compact_count(sizes[0])} to {compact_count(sizes[-1])}, dark to light"
        key_above(ax, [(dot_mark(), sizes_text), (line_mark(INK), slope)])
    return ax
