"""The report's section on sizes with many seeds: interquartile means and performance profiles."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures.seeds import plot_performance_profiles, scores_by_size
from rlscale.analysis.figures.style import new_figure
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.numbers import compact_count, interval_text, typeset_number
from rlscale.analysis.reports.figures import WIDE, ReportFigure
from rlscale.analysis.statistics.seeds import (
    LEAST_SEEDS,
    interquartile_mean,
    interquartile_mean_interval,
)


def seed_rows(curves: Curves) -> list[dict[str, str]]:
    """A row for each size with enough seeds."""
    return [
        {
            "N": compact_count(size),
            "seeds": str(len(scores)),
            "iqm": typeset_number(float(interquartile_mean(scores)), 4),
            "iqm_interval": interval_text(
                interquartile_mean_interval(scores), lambda end: typeset_number(end, 4)
            ),
            "mean": typeset_number(float(scores.mean()), 4),
            "median": typeset_number(float(np.median(scores)), 4),
            "range": interval_text(
                (float(scores.min()), float(scores.max())), lambda end: typeset_number(end, 4)
            ),
        }
        for size, scores in scores_by_size(curves).items()
    ]


def seed_figures(curves: Curves) -> list[ReportFigure]:
    """Performance profiles, if a size has enough seeds."""
    scores = scores_by_size(curves)
    if not scores:
        return []
    middle = {size: float(interquartile_mean(mine)) for size, mine in scores.items()}
    best = max(middle, key=lambda size: middle[size])
    return [
        ReportFigure(
            "performance_profiles",
            "Performance profiles over seeds",
            "Share of the runs of each size whose final return is above each level, for sizes with at "
            f"least {LEAST_SEEDS} seeds, with 90% intervals. A line further right is better; a line with a "
            "long foot on the left has seeds that fail; where lines cross, one size is better on the "
            "whole and worse at its worst.",
            f"Falling steps of {len(scores)} sizes. The best by its interquartile mean is "
            f"{compact_count(best)} with {typeset_number(middle[best], 4)}; the worst mean is "
            f"{typeset_number(min(middle.values()), 4)}.",
            _drawn,
        )
    ]


def _drawn(curves: Curves, _: FitResult) -> Figure:
    figure = new_figure(WIDE)
    plot_performance_profiles(curves, ax=figure.add_subplot())
    return figure
