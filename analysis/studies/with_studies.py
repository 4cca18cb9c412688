"""A fit together with the requested further analyses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.fit.search import SearchOptions
from rlscale.analysis.studies.natural_metrics import parse_metric, study_metric
from rlscale.analysis.studies.refits import fit_periods, fit_size_measures, interaction_flops


def with_studies(
    curves: Curves,
    fit: FitResult,
    *,
    workers: int = 1,
    periods: bool = False,
    size_measures: bool = False,
    metric: str | None = None,
) -> FitResult:
    """The fit with the requested studies that it does not have yet, and with the FLOPs of its curves.

    Args:
        curves: those of ``fit``.
        periods: thirds of training, see ``rlscale.analysis.studies.refits``.
        size_measures: other measures of size, if the source has any.
        metric: the text after ``--metric``, see ``rlscale.analysis.studies.natural_metrics``.

    Raises:
        InputError: if a study cannot be made of these curves.
    """
    request = None if metric is None else parse_metric(metric)  # refuse a wrong one before the work
    estimator = estimator_of(fit, workers)
    added: dict[str, Any] = {}
    if fit.interaction_flops is None:
        added["interaction_flops"] = interaction_flops(curves)
    if periods and fit.periods is None:
        added["periods"] = fit_periods(curves, fit, estimator)
    if size_measures and fit.size_measures is None:
        added["size_measures"] = fit_size_measures(curves, fit, estimator)
    if request is not None:
        added["metric"] = study_metric(curves, fit, request)
    return fit.model_copy(update=added)


def estimator_of(fit: FitResult, workers: int = 1) -> JointScalingFit:
    """The estimator that made a stored fit, by its options."""
    mine = {field.name for field in fields(JointScalingFit)} & set(fit.options)
    searched = {field.name for field in fields(SearchOptions)} & set(fit.options)
    search = SearchOptions(**{name: fit.options[name] for name in searched})
    return JointScalingFit(**{name: fit.options[name] for name in mine}, workers=workers, search=search)
