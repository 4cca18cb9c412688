"""How sure ν is: bootstrap draws, the profile of the objective, and ν by other choices of the analysis."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rlscale.analysis.figures.style import ACCENT, INK, QUIET, axes_or_new, styled
from rlscale.analysis.fit.findings import NuProfile
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.numbers import simple_fraction


def shade_intervals(fit: FitResult, name: str, ax: Axes) -> None:
    """The total interval of an estimate as a shade across the plot, that of seeds alone darker within it."""
    for interval in (fit.total_interval(name), fit.intervals.get(name)):
        if interval:
            ax.axvspan(*interval, color=ACCENT, alpha=0.1, linewidth=0)


@styled
def plot_nu(fit: FitResult, *, ax: Axes | None = None) -> Axes:
    """Histogram of the bootstrap draws of ν, its intervals shaded; over them the profile of the objective."""
    ax = axes_or_new(ax)
    draws = np.asarray(fit.bootstrap.nu)
    if len(draws):
        bins = min(max(int(np.sqrt(len(draws))), 8), 40)
        ax.hist(draws, bins=bins, color=QUIET, alpha=0.6)
        shade_intervals(fit, "nu", ax)
        ax.axvline(fit.nu, color=ACCENT)
    else:
        ax.text(0.5, 0.5, "no bootstrap was drawn", transform=ax.transAxes, ha="center", va="center")
    ax.set_xlabel(r"Exponent $\nu$ of $N_{opt} \propto C^{\nu}$")
    ax.set_ylabel("Bootstrap draws")
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    if fit.profile is not None:
        _profile(fit.profile, ax.get_xlim(), ax.twinx())
    return ax


@styled
def plot_nu_choices(fit: FitResult, *, ax: Axes | None = None) -> Axes:
    """ν of this fit and of others on the same curves: less of early training, no delay, other ways."""
    ax = axes_or_new(ax)
    other = fit.other_objective
    mine = float(fit.options["early_exclusion"])
    rows = [(f"this fit (drops first {simple_fraction(mine)})", fit.nu, fit.intervals.get("nu"), ACCENT)]
    rows += [
        (f"drops first {simple_fraction(f.early_exclusion)}", f.nu, None, INK) for f in fit.exclusion_fits
    ]
    rows += [("no delay of learning", nu, None, INK) for nu in _without_delay(fit)]
    rows.append((f"objective “{other.objective}”", other.nu, other.intervals.get("nu"), INK))
    if fit.isoflop is not None and fit.isoflop.nu is not None:
        rows.append(("parabolas, no law", fit.isoflop.nu, fit.isoflop.nu_interval, INK))
    shade_intervals(fit, "nu", ax)
    for place, (_, nu, interval, colour) in enumerate(rows):
        if interval:
            ax.plot(interval, [place, place], color=colour)
        ax.plot([nu], [place], "o", color=colour, markersize=4)
    ax.set_yticks(range(len(rows)), [label for label, *_ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(r"Exponent $\nu$ of $N_{opt} \propto C^{\nu}$")
    return ax


def _without_delay(fit: FitResult) -> list[float]:
    """ν without a delay, where several delays were weighed."""
    weighed = fit.late_start.delays if fit.late_start else []
    return [one.nu for one in weighed if one.delay == 0]


def _profile(profile: NuProfile, shown: tuple[float, float], ax: Axes) -> None:
    """The loss over ν, in multiples of the least, on a second axis of the same plot."""
    middle, half = 0.5 * (shown[0] + shown[1]), max(0.5 * (shown[1] - shown[0]), 0.15)
    nu, loss = np.asarray(profile.nu), np.asarray(profile.loss)
    near = np.abs(nu - middle) <= half
    ax.set_xlim(middle - half, middle + half)
    if near.sum() >= 2 and loss.min() > 0:
        ax.plot(nu[near], loss[near] / loss.min(), color=INK, linewidth=1.0)
    ax.set_ylabel("Loss (line), least = 1")
    ax.spines["right"].set_visible(True)
