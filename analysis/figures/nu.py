"""How sure ν is: bootstrap draws, the profile of the objective, and ν by other choices of the analysis."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rlscale.analysis.figures.style import ACCENT, INK, QUIET, axes_or_new, styled
from rlscale.analysis.fit.findings import NuProfile
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.numbers import simple_fraction


@styled
def plot_nu(fit: FitResult, *, ax: Axes | None = None) -> Axes:
    """Histogram of the bootstrap draws of ν, its interval shaded; over it the profile of the objective."""
    ax = axes_or_new(ax)
    draws = np.asarray(fit.bootstrap.nu)
    if len(draws):
        bins = min(max(int(np.sqrt(len(draws))), 8), 40)
        ax.hist(draws, bins=bins, color=QUIET, alpha=0.6)
        ax.axvspan(*fit.intervals["nu"], color=ACCENT, alpha=0.12, linewidth=0)
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
    """ν of this fit and of others on the same curves: other shares of early training, other objective."""
    ax = axes_or_new(ax)
    other = fit.other_objective
    mine = float(fit.options["early_exclusion"])
    rows = [(f"this fit (drops first {simple_fraction(mine)})", fit.nu, fit.intervals.get("nu"), ACCENT)]
    rows += [
        (f"drops first {simple_fraction(f.early_exclusion)}", f.nu, None, INK) for f in fit.exclusion_fits
    ]
    rows.append((f"objective “{other.objective}”", other.nu, other.intervals.get("nu"), INK))
    if fit.isoflop is not None and fit.isoflop.nu is not None:
        rows.append(("parabolas, no law", fit.isoflop.nu, fit.isoflop.nu_interval, INK))
    if fit.intervals:
        ax.axvspan(*fit.intervals["nu"], color=ACCENT, alpha=0.12, linewidth=0)
    for place, (_, nu, interval, colour) in enumerate(rows):
        if interval:
            ax.plot(interval, [place, place], color=colour)
        ax.plot([nu], [place], "o", color=colour, markersize=4)
    ax.set_yticks(range(len(rows)), [label for label, *_ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(r"Exponent $\nu$ of $N_{opt} \propto C^{\nu}$")
    return ax


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
