"""The same sweep fitted under other choices, at one compute: thirds of training, measures of size.

Periods of training (Hilton, Tang, Schulman 2023, section 5): if the exponents of the early, middle and
late third differ, the law has not settled, and the exponent of all of training depends on the length of the
runs. The paper finds lower constants early on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast, get_args

import numpy as np
import pandas as pd

from rlscale.analysis.arrays import Floats
from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.curves.curve_set import MIN_SIZES, SIZE_COLUMNS, Curves
from rlscale.analysis.fit.findings import InteractionFlops, Period, PeriodFit, SizeMeasureFit
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

#: At most so many bootstrap draws a refit: enough for its 90% intervals.
REPLICATES = 200


def fit_periods(curves: Curves, fit: FitResult, estimator: JointScalingFit) -> list[PeriodFit]:
    """Fit the early, the middle and the late third of training separately, each with its own bootstrap.

    The thirds are of log E between the end of the excluded start and the longest run of each size. In log E
    the weights of the fit are uniform, so the thirds carry equal weight, and each spans the same factor of
    E (4 for the paper's 1/64), which curves need to show any bend; the last third of E itself would span
    a factor of 1.5. Each size has its own thirds, because sizes of one sweep may train for
    very different times.

    Args:
        curves: those of ``fit``.
        fit: states the compute at which optimal sizes are compared.
        estimator: made ``fit``.

    Raises:
        InputError: if no early training is excluded, or a period holds too little for a fit.
    """
    start = estimator.early_exclusion
    if not start > 0:
        raise InputError(
            "Thirds of training are thirds of log E, which needs a start: give an "
            f"{either('--early-exclusion', 'early_exclusion')} above 0.",
            code="no_early_exclusion",
        )
    edges = np.round(start ** (1 - np.arange(4) / 3), 12)
    found = []
    for period, low, high in zip(get_args(Period), edges[:-1], edges[1:], strict=True):
        try:
            part = within_training(curves, float(low), float(high))
            refit = replace(_lighter(estimator), early_exclusion=0.0).fit(part, delay=fit.delay)
        except InputError as error:
            raise InputError(
                f"The {period} third of training cannot be fitted: {error}", code=error.code
            ) from error
        values = at_compute(refit, fit.compute_ref)
        found.append(PeriodFit(period=cast(Period, period), span=(float(low), float(high)), **values))
    return found


def within_training(curves: Curves, low: float, high: float) -> Curves:
    """The rows whose E lies above ``low`` and up to ``high`` times the longest run of their size.

    Runs without a row there are left out.

    Raises:
        InputError: if fewer than three sizes have rows there.
    """
    last = np.zeros(len(curves.sizes))
    np.maximum.at(last, curves.size_index[curves.run_index], curves.interactions)
    share = curves.interactions / last[curves.size_index[curves.run_index]]
    kept = (share > low * (1 + 1e-12)) & (share <= high * (1 + 1e-12))
    runs = np.unique(curves.run_index[kept])
    sizes = np.unique(curves.run_sizes[runs])
    if len(sizes) < MIN_SIZES:
        raise InputError(
            f"{curves.source} has rows of {len(sizes)} sizes between {low:.3g} and {high:.3g} of training, "
            f"a fit needs {MIN_SIZES}; record returns more often.",
            code="too_few_sizes",
        )
    return curves.with_rows(kept)


def fit_size_measures(curves: Curves, fit: FitResult, estimator: JointScalingFit) -> list[SizeMeasureFit]:
    """Fit with each other measure of size that the source has, its N in the unit of the main fit.

    A measure is divided by its median per unit of the main fit's size over runs, so compute and N_opt are
    comparable: for example, FLOPs of a forward pass become the parameters of a net with that many FLOPs and
    the sweep's median FLOPs per parameter.

    Args:
        curves: those of ``fit``.
        fit: the fit by the main measure.
        estimator: made ``fit``.

    Returns:
        One fit a measure, in the order of ``--size``; empty if the source has no other measure.
    """
    found = []
    for name in get_args(SizeColumn):
        measured = _measured(curves, name)
        if name == curves.size or measured is None:
            continue
        per_unit = float(np.median(measured / curves.run_sizes))
        refit = _lighter(estimator).fit(
            replace(curves, run_sizes=measured / per_unit, size=name), delay=fit.delay
        )
        found.append(SizeMeasureFit(size=name, per_unit=per_unit, **at_compute(refit, fit.compute_ref)))
    return found


def interaction_flops(curves: Curves) -> InteractionFlops | None:
    """Training FLOPs per interaction of each size, or None if the source does not know them."""
    if "flops_per_interaction" not in curves.table:
        return None
    flops = _numeric(curves, "flops_per_interaction")
    if not (np.isfinite(flops) & (flops > 0)).all():
        return None
    medians = [float(np.median(flops[curves.size_index == i])) for i in range(len(curves.sizes))]
    return InteractionFlops(N=curves.sizes, flops=np.array(medians))


def _lighter(estimator: JointScalingFit) -> JointScalingFit:
    return replace(estimator, replicates=min(estimator.replicates, REPLICATES))


def at_compute(refit: FitResult, compute: float) -> dict[str, Any]:
    """The fields of ``findings.Refit`` by a fit, N_opt at ``compute``."""
    intervals = {
        name: refit.intervals[name] for name in ("nu", "alpha_N", "alpha_E", "beta") if refit.intervals
    }
    if refit.intervals:
        low, high = percentile_interval(np.array([float(law.N_opt(compute)) for law in refit.draw_laws()]))
        intervals["N_opt_ref"] = (float(low), float(high))
    return {
        "nu": refit.nu,
        "alpha_N": refit.alpha_N,
        "alpha_E": refit.alpha_E,
        "beta": refit.beta,
        "N_opt_ref": float(refit.law.N_opt(compute)),
        "intervals": intervals,
        "num_sizes": refit.num_sizes,
        "compute": refit.range.C,
        "identified": refit.identified,
        "warning_codes": refit.warning_codes,
    }


def _measured(curves: Curves, name: SizeColumn) -> Floats | None:
    """The measure of each run, or None where a run lacks it."""
    column = SIZE_COLUMNS[name]
    if column not in curves.table:
        return None
    values = _numeric(curves, column)
    return values if (np.isfinite(values) & (values > 0)).all() else None


def _numeric(curves: Curves, column: str) -> Floats:
    return pd.to_numeric(curves.table[column], errors="coerce").to_numpy(float, na_value=np.nan)
