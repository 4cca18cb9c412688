"""Figures of how far updates move a policy, and of runs that measure themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rlscale.analysis.figures.style import ACCENT, INK, QUIET, axes_or_new, key_above, line_mark, styled
from rlscale.analysis.formatting.numbers import with_minus_signs
from rlscale.analysis.theory.clipping import two_state_ratios


@styled
def plot_two_states(
    feature: float,
    alpha: float,
    *,
    theta: tuple[float, float] = (0.0, 0.0),
    clip: float = 0.1,
    updates: int = 20,
    ax: Axes | None = None,
) -> Axes:
    """Ratios in the two states that share features, after each update, with the bounds of the clip."""
    ax = axes_or_new(ax)
    ratios = two_state_ratios(feature, alpha, theta=theta, clip=clip, updates=updates)
    for bound in (1 - clip, 1 + clip):
        ax.axhline(bound, color=QUIET, linestyle=":", linewidth=0.8)
    for i, colour in enumerate((INK, ACCENT)):
        ax.plot(np.arange(updates + 1), ratios[:, i], color=colour, marker="o", markersize=2.2)
    ax.set(xlabel="Updates, in turn on $x$ and $y$", ylabel=r"Ratio $\pi/\pi_{\mathrm{old}}$ of $a_1$")
    ax.set_xticks(range(0, updates + 1, 5))
    names = f"$x$, feature {feature:g}", with_minus_signs(f"$y$, feature {alpha * feature:g}")
    entries = list(zip((line_mark(INK), line_mark(ACCENT)), names, strict=True))
    key_above(ax, [*entries, (line_mark(QUIET, ":"), "clip")])
    return ax


@styled
def plot_band(
    interactions: ArrayLike,
    values: Sequence[ArrayLike],
    *,
    colour: str,
    geometric: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """The mean of runs of one recipe, and the band from the least to the largest.

    Args:
        interactions: (rows,), the same for all runs.
        values: of each run (rows,), NaN where it was not measured; a row that none measured is left open.
        geometric: whether the mean is that of logarithms, for a logarithmic axis.
    """
    ax = axes_or_new(ax)
    x, y = np.asarray(interactions, float), np.array([np.asarray(each, float) for each in values])
    known = np.isfinite(y).any(axis=0)
    x, y = x[known], y[:, known]
    ax.fill_between(x, np.nanmin(y, axis=0), np.nanmax(y, axis=0), color=colour, alpha=0.18, linewidth=0)
    mean = np.exp(np.nanmean(np.log(y), axis=0)) if geometric else np.nanmean(y, axis=0)
    ax.plot(x, mean, color=colour)
    return ax
