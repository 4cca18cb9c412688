"""The law with unhealthy runs, with what they did until they fell ill, and without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from rlscale.analysis.choices import UnhealthyChoice
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.findings import HealthStudy, Refit, RunHealth
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.records import CodedWarning, warning_fields
from rlscale.analysis.studies.health.runs import assess_health, without_unhealthy
from rlscale.analysis.studies.refits import REPLICATES, at_compute
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

_LISTED = 4


def fit_with_health(
    curves: Curves, estimator: JointScalingFit, unhealthy: UnhealthyChoice = "keep"
) -> tuple[Curves, FitResult]:
    """Fit a law to curves whose runs may be ill; returns the curves that were used, and the fit.

    ``health`` of the fit says which runs are not healthy (``rlscale.analysis.studies.health.runs``) and, if
    any is, what the law is with each treatment of them.

    Args:
        unhealthy: ``keep`` uses all runs and warns, ``cut`` uses unhealthy ones until they fell ill, ``drop``
            leaves them out.

    Raises:
        InputError: as ``JointScalingFit.fit``, of the curves that are left.
    """
    if unhealthy not in get_args(UnhealthyChoice):
        choices = ", ".join(get_args(UnhealthyChoice))
        raise InputError(f"unhealthy is {unhealthy!r}: choose one of {choices}.", code="unknown_choice")
    health = assess_health(curves)
    used = treated(curves, health, unhealthy)
    try:
        fit = estimator.fit(used)
    except InputError as error:
        if unhealthy == "keep" or used.num_points == curves.num_points:
            raise
        raise InputError(
            f"With unhealthy runs treated by {unhealthy}: {error} Or keep them.", code=error.code
        ) from error
    return used, _with_health(curves, health, unhealthy, fit, estimator)


def used_for(curves: Curves, fit: FitResult) -> Curves:
    """The curves that a stored fit was made of, by its options: all, or without what it left out."""
    how: UnhealthyChoice = fit.options.get("unhealthy", "keep")
    return treated(curves, assess_health(curves), how)


def treated(curves: Curves, health: Sequence[RunHealth], unhealthy: UnhealthyChoice) -> Curves:
    """The curves with one treatment of unhealthy runs."""
    if unhealthy == "keep" or all(run.began is None for run in health):
        return curves
    return without_unhealthy(curves, health, whole_runs=unhealthy == "drop")


def _with_health(
    curves: Curves,
    health: Sequence[RunHealth],
    unhealthy: UnhealthyChoice,
    fit: FitResult,
    estimator: JointScalingFit,
) -> FitResult:
    ill = [run for run in health if run.state != "healthy"]
    study = HealthStudy(
        unhealthy=unhealthy,
        measured=bool(curves.metrics),
        num_healthy=len(health) - len(ill),
        runs=ill,
    )
    options = {**fit.options, "unhealthy": unhealthy}
    if not ill:
        return fit.model_copy(update={"health": study, "options": options})
    lighter = replace(estimator, replicates=min(estimator.replicates, REPLICATES))
    refits: dict[UnhealthyChoice, Refit] = {}
    refused: dict[UnhealthyChoice, str] = {}
    for how in get_args(UnhealthyChoice):
        try:
            refit = fit if how == unhealthy else lighter.fit(treated(curves, health, how))
            refits[how] = Refit(**at_compute(refit, fit.compute_ref))
        except InputError as error:
            refused[how] = str(error)
    study = study.model_copy(update={"refits": refits, "refused": refused})
    warnings = warning_fields(fit, unhealthy_warnings(study))
    return fit.model_copy(update={"health": study, "options": options, **warnings})


def unhealthy_warnings(study: HealthStudy) -> list[CodedWarning]:
    """The warning of a fit that used unhealthy runs as if they were healthy; empty if it did not."""
    if study.unhealthy != "keep" or not study.runs:
        return []
    collapsed = sum(run.state == "collapsed" for run in study.runs)
    named = ", ".join(f"{run.run_id} from {run.began:.3g}" for run in study.runs[:_LISTED])
    more = f" and {len(study.runs) - _LISTED} more" if len(study.runs) > _LISTED else ""
    without = " and ".join(
        f"{study.refits[how].nu:.3f} with {how}" for how in ("cut", "drop") if how in study.refits
    )
    return [
        (
            "unhealthy_runs",
            f"{len(study.runs)} of {study.num_healthy + len(study.runs)} runs do not train well to their end "
            f"({collapsed} collapsed): {named}{more}. They are used as they are; nu is "
            f"{without or 'not known without them'}: see {either('--unhealthy', 'unhealthy')}.",
        )
    ]
