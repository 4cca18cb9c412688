"""The figure of a tuning: score against learning rate, a line for each size. Made without pyplot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rlscale.analysis.studies.tuning.rates import Floats
from rlscale.analysis.studies.tuning.study import SizeResult, TuningStudy
from rlscale.scaling.errors import InputError
from rlscale.scaling.files import replacing

_STYLE: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.3,
}
_PANEL = (4.6, 3.1)  # inches
_COLUMNS = 3
_QUIET = "#7a7a7a"
_DOT: Any = {"markersize": 2.4, "markeredgewidth": 0, "alpha": 0.7}
_PATH_KINDS = (".png", ".pdf", ".svg")


def write_figure(study: TuningStudy, path: Path) -> None:
    """Write the figure as PNG, PDF or SVG, by the name of the file.

    Raises:
        InputError: if the name ends otherwise, or the file cannot be written.
    """
    try:
        with rc_context(_STYLE), replacing(path) as temporary:
            tuning_figure(study).savefig(temporary, dpi=150, format=path.suffix[1:].lower())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; name a file in a folder that exists."
        ) from error


def check_figure_name(path: Path) -> None:
    """Refuse before the work what could only fail after it.

    Raises:
        InputError: if it is not the name of a figure.
    """
    if path.suffix.lower() not in _PATH_KINDS:
        raise InputError(f"--figure {path}: give a name that ends in {', '.join(_PATH_KINDS)}.")


def tuning_figure(study: TuningStudy) -> Figure:
    """A panel for each setting of the axes but the first one of the spec, by which lines are coloured."""
    panels = _panels(study)
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (title, results) in zip(axes, panels.items(), strict=False):
        _draw(ax, results, study)
        ax.set_title(title, fontsize=9.5)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    return figure


def _panels(study: TuningStudy) -> dict[str, list[SizeResult]]:
    names = list(study.sizes[0].size.apart)
    panels: dict[str, list[SizeResult]] = {}
    for result in study.sizes:
        told = [f"{name} {result.size.text_of(name)}" for name in names[1:]]
        panels.setdefault(", ".join(told), []).append(result)
    return panels


def _draw(ax: Axes, results: list[SizeResult], study: TuningStudy) -> None:
    """Mean scores with the points of the seeds, the best rates with their intervals, the spec's base rate."""
    rates = np.array(study.rates)
    shades = colormaps["viridis"](np.linspace(0.0, 0.9, len(results)))
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
    ax.axvline(results[0].size.config.agent.learning_rate, color=_QUIET, linestyle=":", linewidth=1.0)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(rates.tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel("Base learning rate (dotted: the spec's; wedges: lower or diverged)")
    ax.set_ylabel("Mean return of the last tenth")
    ax.legend(handles=handles[::-1], loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0.0)


def _cut_below(ax: Axes, results: list[SizeResult], rates: Floats, shades: Floats) -> None:
    """End the axis below what surrounds the best rates; runs below, or diverged, are marked at its foot."""
    near = [_near_best(result) for result in results if result.best]
    if not near:
        return
    low, high = min(map(min, near)), max(map(max, near))
    foot = low - 0.15 * (high - low or 1.0)
    for result, shade in zip(results, shades, strict=True):
        i, _ = np.nonzero(result.scores < foot)
        nudge = 1.0 + 0.02 * (np.flatnonzero((shades == shade).all(axis=1))[0] - len(shades) / 2)
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
    """The scores that must be seen: of the best rate, of those about it and of the base rate."""
    response, best, rule = result.response, result.best, result.rule
    assert best is not None
    at = int(np.argmax(response.means))
    means = response.means[max(at - 1, 0) : at + 2]
    base = [rule.score] if rule is not None else []
    return [float(score) for score in (best.score, *means, *base) if np.isfinite(score)]


def _mark_best(ax: Axes, result: SizeResult, shade: Any) -> None:
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
