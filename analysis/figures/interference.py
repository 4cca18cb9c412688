"""Figures of update matrices: the matrices themselves, and their measures along training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rlscale.analysis.figures.style import Colour, axes_or_new, styled


@styled
def plot_update_matrix(matrix: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """U_ij / U_ii of n states by n: red where learning one raises the other, blue where it lowers it.

    The scale ends at 1, what a step does to its own state.
    """
    ax = axes_or_new(ax)
    ax.imshow(np.asarray(matrix, float), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
    return ax


@styled
def plot_with_band(
    steps: Sequence[float],
    values: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    colour: Colour | str,
    label: str,
    ax: Axes | None = None,
) -> Axes:
    """A mean along training with its interval, (steps,) each."""
    ax = axes_or_new(ax)
    ax.plot(steps, np.asarray(values, float), "o-", color=colour, markersize=2.4, label=label)
    ax.fill_between(
        steps, np.asarray(low, float), np.asarray(high, float), color=colour, alpha=0.18, linewidth=0
    )
    return ax
