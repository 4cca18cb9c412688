"""Which runs to do next, so that N_opt at a target compute becomes most certain for the compute spent.

Candidates (``candidates``) are chosen greedily (``plan``) by how much they lower the variance of
log N_opt(C*) in a linear model of the fit (``design``).

The bootstrap's interval is scaled by the ratio of the model's standard deviations, so without new runs it is
the fit's own. The law extrapolates to the target, so the expected interval holds as far as the law does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from rlscale.analysis.arrays import Floats
from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.candidates import candidate_groups, missing_side
from rlscale.analysis.forecast.design import DesignModel, Group, measured_groups
from rlscale.analysis.forecast.plan import Plan, best_plan
from rlscale.analysis.forecast.widths import width_of
from rlscale.analysis.formatting.numbers import brief_number, counted
from rlscale.analysis.records import (
    INTERVAL_LEVEL,
    SCHEMA_VERSION,
    CodedWarning,
    Interval,
    Record,
    warning_fields,
)
from rlscale.analysis.results import Result, ends, frame_of_rows
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.analysis.theory.quantities import check_quantity
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

if TYPE_CHECKING:
    import pandas as pd

#: The target by default, in multiples of the largest measured compute.
DEFAULT_REACH = 10.0
#: Share of the budget of which nobody asks why it is left.
_HARDLY = 0.01
_LAWS = 4  # draws over which, with the estimate, the gain is averaged: no design should depend on one law


class SuggestedRuns(Record):
    """Runs of one size and length.

    Attributes:
        N: size, in the unit of the fit's sizes.
        E: environment steps of each run.
        seeds: how many runs.
        compute: N·E of all of them.
        new_size: whether the sweep has no such size yet.
        width: of the model of this size, by the widths of the sweep; null where it has none.
        longer_by: E over that of the sweep's runs of this size; null for a new size.
    """

    N: float
    E: float
    seeds: int
    compute: float
    new_size: bool
    longer_by: float | None
    width: float | None = None


class Suggestion(Result):
    """Runs for a budget, and what they are expected to do for N_opt at the target compute.

    Attributes:
        spent: compute of the runs, at most ``budget``.
        N_opt: at ``target_compute``, by the fit.
        interval_before: 90% interval by the fit's bootstrap.
        interval_after: expected with the runs.
        interval_by_repeating: expected if the budget went to more seeds of the same sizes and lengths.
        narrower: width of ``interval_before`` over that of ``interval_after``, in logarithms.
        why_unspent: why a part of the budget is left, a sentence; empty if hardly any is.
    """

    kind: Literal["rlscale suggest"] = "rlscale suggest"
    schema_version: int = SCHEMA_VERSION
    budget: float
    spent: float
    size: SizeColumn
    target_compute: float
    N_opt: float
    interval_level: float = INTERVAL_LEVEL
    interval_before: Interval
    interval_after: Interval
    interval_by_repeating: Interval
    narrower: float
    runs: list[SuggestedRuns]
    identified: bool
    warnings: list[str]
    warning_codes: list[str] = Field(default_factory=list)
    options: dict[str, Any]
    why_unspent: str = ""

    def headline(self) -> str:
        """How many runs, and how much narrower the interval of N_opt is expected to be."""
        runs = counted(sum(each.seeds for each in self.runs), "run")
        return (
            f"{runs} for compute {brief_number(self.spent)} of {brief_number(self.budget)} narrow the "
            f"interval of N_opt at compute {brief_number(self.target_compute)} "
            f"{brief_number(self.narrower)} times"
        )

    def summary(self) -> pd.DataFrame:
        """The 90% interval of N_opt at the target now, with these runs, and with more seeds instead."""
        intervals = {
            "now": self.interval_before,
            "expected with these runs": self.interval_after,
            "expected with more seeds instead": self.interval_by_repeating,
        }
        return frame_of_rows({name: ends(interval) for name, interval in intervals.items()}, "N_opt")

    def to_frame(self) -> pd.DataFrame:
        """A row for each size and length to run; columns as in ``SuggestedRuns``."""
        import pandas as pd

        return pd.DataFrame([runs.model_dump() for runs in self.runs])

    def tables(self) -> dict[str, pd.DataFrame]:
        """The runs, then what they are expected to do."""
        return {"Runs": self.to_frame(), "90% interval of N_opt at the target": self.summary()}


def suggest(
    fit: FitResult, budget: float, *, target: float | None = None, widths: Sequence[float] | None = None
) -> Suggestion:
    """Runs worth doing next.

    Args:
        fit: a result of ``JointScalingFit.fit`` with a bootstrap.
        budget: N·E to spend, summed over runs.
        target: compute at which N_opt is wanted; ten times the largest measured by default.
        widths: of the fit's sizes, shape ``(sizes,)``; by default those that the fit knows.

    Raises:
        InputError: if the budget or the target cannot be used (code ``invalid_number``), the budget is too
            small for any run (``budget_too_small``), or the fit has no bootstrap draws (``no_bootstrap``).
    """
    target = DEFAULT_REACH * fit.range.C[1] if target is None else target
    for name, value in (
        (either("--budget", "budget"), budget),
        (either("--target-compute", "target"), target),
    ):
        check_quantity(name, value)
    laws = fit.draw_laws()
    if not laws:
        raise InputError(
            "The fit has no bootstrap draws to narrow: fit again with "
            f"{either('--bootstrap 1000', 'replicates=1000')}.",
            code="no_bootstrap",
        )
    spread = laws[:: max(len(laws) // _LAWS, 1)][:_LAWS]
    models = [DesignModel.of(fit, law, target) for law in (fit.law, *spread)]
    measured = measured_groups(fit)
    candidates = candidate_groups(fit, measured)
    # The many small matrices take longer on several threads than on one.
    with threadpool_limits(1, user_api="blas"):
        plan = best_plan(models, measured, candidates, budget)
    if not plan.groups:
        cheapest = min((group.compute for group in candidates), default=float("nan"))
        raise InputError(
            f"No run that would help costs as little as {budget:.3g}; the cheapest considered costs "
            f"{cheapest:.3g}: give a larger {either('--budget', 'budget')}.",
            code="budget_too_small",
        )
    before = percentile_interval(np.array([law.N_opt(target) for law in laws]))
    centre = float(fit.law.N_opt(target))
    repeating = 1 / np.sqrt(1 + budget / sum(group.compute for group in measured))
    spent = sum(group.compute for group in plan.groups)
    known = fit.provenance.widths if widths is None else np.asarray(widths, float)
    return Suggestion(
        budget=budget,
        spent=spent,
        size=fit.provenance.size,
        target_compute=target,
        N_opt=centre,
        interval_before=(float(before[0]), float(before[1])),
        interval_after=_scaled(before, centre, plan.shrinkage),
        interval_by_repeating=_scaled(before, centre, float(repeating)),
        narrower=1 / plan.shrinkage,
        runs=_runs(plan.groups, measured, known),
        identified=fit.identified,
        **warning_fields(_about_sides(fit), fit, _about_reach(fit, target)),
        options={"budget": budget, "target_compute": target},
        why_unspent=why_unspent(plan, budget - spent, budget, min(group.compute for group in candidates)),
    )


def why_unspent(plan: Plan, left: float, budget: float, cheapest: float) -> str:
    """Why a part of the budget is left, a sentence; empty if it is less than 1%."""
    if left < _HARDLY * budget:
        return ""
    text = f"{left:.3g} of the budget is left: "
    if plan.left == "groups":
        return (
            f"{text}a plan has at most {len(plan.groups)} groups of runs; fit with these, then suggest again."
        )
    if plan.left == "cost":
        return f"{text}no run that would help costs as little (the cheapest considered: {cheapest:.3g})."
    return (
        f"{text}the best further run that it pays for would narrow the interval by only "
        f"{1 - plan.most_left:.1%}."
    )


def _runs(groups: Sequence[Group], measured: Sequence[Group], widths: Floats) -> list[SuggestedRuns]:
    """The groups by size and length, seeds of equal ones together."""
    seeds: dict[tuple[float, float], int] = {}
    for group in groups:
        seeds[group.size, group.length] = seeds.get((group.size, group.length), 0) + group.seeds
    own = {group.size: group.length for group in measured}
    sizes = [group.size for group in measured]
    return [
        SuggestedRuns(
            N=size,
            E=length,
            seeds=count,
            compute=size * length * count,
            new_size=size not in own,
            longer_by=length / own[size] if size in own else None,
            width=width_of(size, sizes, widths),
        )
        for (size, length), count in sorted(seeds.items())
    ]


def _scaled(interval: Floats, centre: float, factor: float) -> Interval:
    """The interval with its logarithmic distances from the estimate times ``factor``."""
    low, high = (centre * (end / centre) ** factor for end in interval)
    return float(low), float(high)


def _about_sides(fit: FitResult) -> list[CodedWarning]:
    if fit.identified:
        return []
    what = "smaller sizes and longer runs" if missing_side(fit) == "small" else "larger sizes"
    return [
        (
            "one_side_only",
            f"The exponents are not identified, so the expected interval is a guess; only {what} are "
            f"suggested, because they would show the optimum. Fit again with them before you plan further.",
        )
    ]


def _about_reach(fit: FitResult, target: float) -> list[CodedWarning]:
    decades = np.log10(target / fit.range.C[1])
    if decades <= 0:
        return []
    return [
        (
            "extrapolation",
            f"The target is {decades:.1f} decades beyond the data: "
            f"the intervals hold as far as the law does.",
        )
    ]
