"""The figures of a horizon study. Colours are sizes, from dark to light."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    QUIET,
    axes_or_new,
    dot_mark,
    key_above,
    line_mark,
    log_ticks,
    size_colours,
    size_key,
    styled,
)
from rlscale.analysis.formatting.numbers import compact_count, with_minus_signs
from rlscale.analysis.studies.horizon.result import HorizonResult, LevelStudy
from rlscale.analysis.theory.horizon import horizon_term

_HORIZON = "Horizon $h$"


@styled
def plot_interactions_to_level(study: LevelStudy, *, ax: Axes | None = None) -> Axes:
    """Interactions to a return against the horizon: measured by size, with the line a + b (h - 2 + 1/h)."""
    ax = axes_or_new(ax)
    lines = [line for line in study.lines if line.N is not None]
    sizes = sorted({cell.N for cell in study.crossings if cell.N is not None})
    colours = dict(zip(sizes, size_colours(sizes), strict=True))
    h = [cell.horizon for cell in study.crossings]
    for line in lines:
        reached = [cell.horizon for cell in study.crossings if cell.N == line.N and cell.interactions]
        grid = np.geomspace(min(reached), max(reached), 100)
        value = line.a + line.b * horizon_term(grid)
        ax.plot(grid[value > 0], value[value > 0], color=colours[line.N or 0], linewidth=1.0)
    for cell in study.crossings:
        if cell.N is not None and cell.interactions is not None:
            spread = np.exp(1.645 * (cell.relative_sd or 0.0))
            ends = [cell.interactions / spread, cell.interactions * spread]
            ax.plot([cell.horizon] * 2, ends, color=colours[cell.N], linewidth=0.9)
            ax.plot([cell.horizon], [cell.interactions], "o", color=colours[cell.N], markersize=3.2)
    ax.set_xscale("log")
    ax.set_yscale("log")
    _horizon_ticks(ax, h)
    log_ticks(ax.yaxis)
    ax.set_xlabel(_HORIZON)
    ax.set_ylabel(f"Interactions $E$ to a return of {study.level:.4g}")
    size_key(ax, sizes, "Parameters $N$")
    key_above(ax, [(dot_mark(), "measured"), (line_mark(), "$a + b\\,(h - 2 + 1/h)$")])
    return ax


@styled
def plot_common_growth(study: LevelStudy, *, ax: Axes | None = None) -> Axes:
    """Interactions over each size's own level a, against h - 2 + 1/h, with the line of one κ for all."""
    ax = axes_or_new(ax)
    common = study.common
    assert common is not None, "draw this only for a level with a common fit"
    sizes = sorted({cell.N for cell in study.crossings if cell.N is not None})
    colours = dict(zip(sizes, size_colours(sizes), strict=True))
    level = dict(zip(common.sizes, common.a, strict=True))
    largest = 0.0
    for cell in study.crossings:
        if cell.N in level and cell.interactions is not None:
            place = float(horizon_term(cell.horizon))
            largest = max(largest, place)
            y = cell.interactions / level[cell.N]
            spread = np.exp(1.645 * (cell.relative_sd or 0.0))
            ax.plot([place] * 2, [y / spread, y * spread], color=colours[cell.N], linewidth=0.9)
            ax.plot([place], [y], "o", color=colours[cell.N], markersize=3.2)
    x = np.linspace(0, 1.03 * largest, 50)
    ax.plot(x, 1 + common.kappa * x, color=INK)
    low, high = common.intervals["kappa"]
    ax.fill_between(x, 1 + low * x, 1 + high * x, color=INK, alpha=0.15, linewidth=0)
    ax.set_xlabel("$h - 2 + 1/h$")
    ax.set_ylabel("Interactions over those at $h = 1$")
    entries: list[tuple[Line2D | Patch, str]] = [
        (line_mark(INK), rf"$1 + \kappa\,(h - 2 + 1/h)$, $\kappa$ = {common.kappa:.3g}"),
        (Patch(color=INK, alpha=0.15, linewidth=0), "90% interval"),
    ]
    key_above(ax, entries)
    return ax


@styled
def plot_optimum_shift(result: HorizonResult, *, ax: Axes | None = None) -> Axes:
    """N_opt at one compute over that at the smallest horizon: measured, and m^-ν with its interval."""
    ax = axes_or_new(ax)
    first = result.fits[0].horizon
    trusted = set(result.law_horizons)
    h = [first, *(shift.horizon for shift in result.shifts)]
    law = result.sample_law
    grid = np.geomspace(h[0], h[-1], 100)
    x, x0 = horizon_term(grid), float(horizon_term(first))
    ax.plot(grid, ((1 + law.kappa * x) / (1 + law.kappa * x0)) ** -law.nu, color=INK)
    entries: list[tuple[Line2D | Patch, str]] = [(dot_mark(ACCENT), "measured")]
    if law.draws:
        _, kappa, nu = np.array(law.draws).T
        drawn = ((1 + kappa[:, None] * x) / (1 + kappa[:, None] * x0)) ** -nu[:, None]
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
        ax.fill_between(grid, low, high, color=INK, alpha=0.15, linewidth=0)
    ax.plot([first], [1.0], "o", color=QUIET, markersize=3.5)
    for shift in result.shifts:
        if "ratio" in shift.intervals:
            ax.plot([shift.horizon] * 2, shift.intervals["ratio"], color=ACCENT)
        fill = ACCENT if shift.horizon in trusted else "white"
        ax.plot([shift.horizon], [shift.ratio], "o", color=fill, markeredgecolor=ACCENT, markersize=4)
    if any(shift.horizon not in trusted for shift in result.shifts):
        entries.append((dot_mark("white", edge=ACCENT), "not identified"))
    entries.append((line_mark(INK), r"$m(h)^{-\nu}$"))
    ax.set_xscale("log")
    ax.set_yscale("log")
    _horizon_ticks(ax, h)
    log_ticks(ax.yaxis, counts=True)
    ax.set_xlabel(_HORIZON)
    ax.set_ylabel(f"$N_{{opt}}$ over that at $h$ = {first:g}")
    key_above(ax, entries)
    return ax


@styled
def plot_nu_by_horizon(result: HorizonResult, *, ax: Axes | None = None) -> Axes:
    """ν of each horizon with its interval, and its slope in log h."""
    ax = axes_or_new(ax)
    trusted = set(result.law_horizons)
    h = [fit.horizon for fit in result.fits]
    for fit in result.fits:
        if "nu" in fit.intervals:
            ax.plot([fit.horizon] * 2, fit.intervals["nu"], color=ACCENT)
        fill = ACCENT if fit.horizon in trusted else "white"
        ax.plot([fit.horizon], [fit.nu], "o", color=fill, markeredgecolor=ACCENT, markersize=4)
    used = [fit for fit in result.fits if fit.horizon in trusted]
    log_h = np.log10([fit.horizon for fit in used])
    width = [np.ptp(fit.intervals["nu"]) if "nu" in fit.intervals else 1.0 for fit in used]
    weight = 1 / np.maximum(width, 1e-6) ** 2
    middle_h, middle_nu = np.average(log_h, weights=weight), np.average([f.nu for f in used], weights=weight)
    ends = np.array([log_h[0], log_h[-1]])
    ax.plot(10.0**ends, middle_nu + result.nu_slope.per_decade * (ends - middle_h), color=INK, linewidth=1.0)
    entries: list[tuple[Line2D | Patch, str]] = [(dot_mark(ACCENT), "each fit")]
    if len(used) < len(h):
        entries.append((dot_mark("white", edge=ACCENT), "not identified"))
    slope = with_minus_signs(f"{result.nu_slope.per_decade:+.3f}")
    entries.append((line_mark(INK), f"{slope} a decade"))
    ax.set_xscale("log")
    _horizon_ticks(ax, h)
    ax.set_xlabel(_HORIZON)
    ax.set_ylabel(r"Exponent $\nu$ of $N_{opt} \propto C^{\nu}$")
    key_above(ax, entries)
    return ax


def _horizon_ticks(ax: Axes, horizons: list[float]) -> None:
    """A tick at each horizon that was measured."""
    there = sorted(set(horizons))
    ax.set_xticks(there, [compact_count(h) for h in there])
    ax.set_xticks([], minor=True)
    pad = (there[-1] / there[0]) ** 0.05
    ax.set_xlim(there[0] / pad, there[-1] * pad)
