"""Performance profiles of sizes with many seeds."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures.fit import return_label
from rlscale.analysis.figures.style import axes_or_new, size_colours, size_key, styled
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.analysis.statistics.seeds import LEAST_SEEDS, performance_profile, performance_profile_band

#: Share of a run's interactions, at its end, over which its final return is averaged.
FINAL_SHARE = 0.1
_LEVELS = 200


def final_returns(curves: Curves) -> Floats:
    """Mean return over the last tenth of each run, shape ``(runs,)``."""
    found = []
    for run in range(curves.num_runs):
        e, r = curves.curve(run)
        found.append(r[e >= (1 - FINAL_SHARE) * e[-1]].mean())
    return np.array(found)


def scores_by_size(curves: Curves) -> dict[float, Floats]:
    """Final returns of the sizes with at least ``LEAST_SEEDS`` seeds, by size."""
    scores = final_returns(curves)
    by_size = {float(size): scores[curves.run_sizes == size] for size in curves.sizes}
    return {size: mine for size, mine in by_size.items() if len(mine) >= LEAST_SEEDS}


@styled
def plot_performance_profiles(curves: Curves, *, ax: Axes | None = None) -> Axes:
    """Share of the runs of each size whose final return is above each level, with 90% intervals."""
    ax = axes_or_new(ax)
    scores = scores_by_size(curves)
    values = np.concatenate(list(scores.values()))
    pad = 0.04 * np.ptp(values)
    levels = np.linspace(values.min() - pad, values.max() + pad, _LEVELS)
    for (_, mine), colour in zip(scores.items(), size_colours(list(scores)), strict=True):
        low, high = performance_profile_band(mine, levels)
        ax.fill_between(levels, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(levels, performance_profile(mine, levels), color=colour)
    label = return_label(curves.minimize)
    ax.set_xlabel(f"{label}, mean of the last tenth of training")
    ax.set_ylabel("Share of runs above it")
    size_key(ax, list(scores), SIZE_WORDS[curves.size].legend)
    return ax
