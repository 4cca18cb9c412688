"""What is seen in the main figures, in words and numbers, for people who do not see them."""

from __future__ import annotations

import numpy as np

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures.fit import residuals_of, seed_bands
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.numbers import (
    compact_count,
    fixed_point,
    interval_text,
    percent,
    scientific,
    simple_fraction,
    typeset_number,
)
from rlscale.analysis.formatting.sizes import SIZE_WORDS


def alternatives(curves: Curves, fit: FitResult) -> dict[str, str]:
    """A text for each figure of a fit, by the name of the figure."""
    return {
        "learning_curves": _learning_curves(curves),
        "intrinsic_performance": _intrinsic(fit),
        "compute_frontier": _frontier(fit),
        "optimal_size": _optimal_size(fit),
        "monotone_map": _monotone_map(fit),
        "residuals": _residuals(fit),
        "nu_uncertainty": _uncertainty(fit),
    }


def _learning_curves(curves: Curves) -> str:
    bands = seed_bands(curves)
    first, last, best = bands[0], bands[-1], max(bands, key=lambda band: band.mean[-1])
    unit = SIZE_WORDS[curves.size].unit
    text = (
        f"Return against interactions for {len(bands)} sizes. The smallest, {compact_count(first.size)} "
        f"{unit}, goes from {typeset_number(first.mean[0])} to {typeset_number(first.mean[-1])} in "
        f"{compact_count(first.interactions[-1])} interactions; the largest, {compact_count(last.size)}, "
        f"from {typeset_number(last.mean[0])} to {typeset_number(last.mean[-1])} in "
        f"{compact_count(last.interactions[-1])}."
    )
    if best.size in (first.size, last.size):
        return text
    return f"{text} The highest end is that of {compact_count(best.size)}: {typeset_number(best.mean[-1])}."


def _intrinsic(fit: FitResult) -> str:
    i = fit.points.mapped_intrinsic
    return (
        f"Intrinsic performance against interactions: dots of {fit.num_sizes} sizes rise from "
        f"{scientific(float(i.min()))} to {scientific(float(i.max()))} and lie about the lines of the "
        f"fitted law, half of them within {_middle_half(fit)} decades."
    )


def _frontier(fit: FitResult) -> str:
    frontier = fit.frontier
    return (
        f"Return against compute, a line a size. The best measured return rises from "
        f"{typeset_number(float(frontier.return_[0]))} at C = {scientific(float(frontier.compute[0]))}, with "
        f"{compact_count(float(frontier.N[0]))}, to {typeset_number(float(frontier.return_[-1]))} at C = "
        f"{scientific(float(frontier.compute[-1]))}, with {compact_count(float(frontier.N[-1]))}; the fitted "
        "frontier follows it as a black line."
    )


def _optimal_size(fit: FitResult) -> str:
    low, high = fit.range.C
    ends = (compact_count(float(n)) for n in fit.law.N_opt([low, high]))
    return (
        f"Optimal size against compute on logarithmic axes. The law rises from {next(ends)} at C = "
        f"{scientific(low)} to {next(ends)} at C = {scientific(high)}, where the data end, and goes on as a "
        f"dashed line. The best trained sizes at each compute lie between "
        f"{compact_count(float(fit.frontier.N.min()))} and {compact_count(float(fit.frontier.N.max()))}."
    )


def _monotone_map(fit: FitResult) -> str:
    known = fit.monotone_map
    return (
        f"Return against intrinsic performance. The fitted map rises from "
        f"{typeset_number(float(known.return_[0]))} at I = {scientific(float(known.intrinsic[0]))} to "
        f"{typeset_number(float(known.return_[-1]))} at I = {scientific(float(known.intrinsic[-1]))}; the "
        f"points of all sizes lie about it, half of them within {_middle_half(fit)} decades."
    )


def _residuals(fit: FitResult) -> str:
    low, high = np.quantile(residuals_of(fit), [0.1, 0.9])
    past = np.asarray(fit.points.size_limited)
    text = (
        f"Residuals of intrinsic performance: 80% of the points lie between {fixed_point(low, 2)} and "
        f"{fixed_point(high, 2)} decades of 0."
    )
    if not past.any() or past.all():
        return text
    residual = residuals_of(fit)
    medians = (fixed_point(float(np.median(residual[rows])), 3) for rows in (~past, past))
    return (
        f"{text} Their median is {next(medians)} before the optimum of their size, {next(medians)} past it."
    )


def _uncertainty(fit: FitResult) -> str:
    interval = fit.total_interval("nu")
    others = [fit.other_objective.nu, *(one.nu for one in fit.exclusion_fits)]
    mine = simple_fraction(float(fit.options["early_exclusion"]))
    drawn = (
        "no bootstrap was drawn"
        if interval is None
        else f"its {percent(fit.interval_level)} interval is {interval_text(interval, '.2f')}, of seeds "
        f"alone {interval_text(fit.intervals['nu'], '.2f')}"
    )
    return (
        f"The exponent: {fit.nu:.2f} with the first {mine} left out; {drawn}. Other shares of early training "
        f"and the other objective give {min(others):.2f} to {max(others):.2f}."
    )


def _middle_half(fit: FitResult) -> str:
    return f"{np.median(np.abs(residuals_of(fit))):.2g}"
