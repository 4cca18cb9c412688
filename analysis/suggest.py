"""Which runs to do next, so that N_opt at a target compute becomes surest for the compute spent.

Candidates are sizes of the sweep and a little beyond, at lengths a factor of two apart. Groups of runs are
added greedily, each time the one that lowers the variance of log N_opt(C*) most for its compute, by the
linear model of ``analysis.design`` about several of the bootstrap's laws. Cheap runs gain most for their
compute at first and soon nothing more, so the greedy course is taken several times, each with candidates
of another scale of cost, and the best is kept. Each course is cut where the budget ends and a larger budget
has every course of a smaller one, so more compute never promises less.

The bootstrap's interval is scaled by the ratio of the model's standard deviations: before any run it is the
fit's own. The target is extrapolated to by the law, so the promise holds as far as the law does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from analysis.bootstrap import percentile_interval
from analysis.design import DesignModel, Group, Moments, measured_groups
from analysis.record import INTERVAL_LEVEL, Interval, Record, SizeColumn
from analysis.result import SCHEMA_VERSION, FitResult
from scaling.errors import InputError

#: The target by default, in multiples of the largest measured compute.
DEFAULT_REACH = 10.0
_MOST_GROUPS = 40
_LEAST_GAIN = 1e-3  # in the logarithm of the variance
_LAWS = 4  # draws about which the gain is averaged, besides the estimate: a design must not hang on one law
_COSTS = 64.0  # the dearest candidate of a course is this many times the cheapest
_REACH = np.log(10.0)  # how far beyond the largest measured I a run may go: h is a guess there
_NEW_SIZES = (2, 3)  # below the sweep's smallest and above its largest


class SuggestedRuns(Record):
    """Runs of one size and length.

    Attributes:
        N: size, in the unit of the fit's sizes.
        E: environment steps of each run.
        seeds: how many runs.
        compute: N·E of all of them.
        new_size: whether the sweep has no such size yet.
        longer_by: E over that of the sweep's runs of this size; null for a new size.
    """

    N: float
    E: float
    seeds: int
    compute: float
    new_size: bool
    longer_by: float | None


class Suggestion(Record):
    """Runs for a budget, and what they are expected to do for N_opt at the target compute.

    Attributes:
        spent: compute of the runs, at most ``budget``.
        N_opt: at ``target_compute``, by the fit.
        interval_before: 90% interval by the fit's bootstrap.
        interval_after: expected with the runs.
        interval_by_repeating: expected if the budget went to more seeds of the same sizes and lengths.
        narrower: width of ``interval_before`` over that of ``interval_after``, in logarithms.
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
    options: dict[str, Any]


def suggest(fit: FitResult, budget: float, *, target: float | None = None) -> Suggestion:
    """Runs worth doing next.

    Args:
        fit: a result of ``JointScalingFit.fit`` with a bootstrap.
        budget: N·E to spend, summed over runs.
        target: compute at which N_opt is wanted; ten times the largest measured by default.

    Raises:
        InputError: if the budget or the target cannot be used, the budget is too small for any run, or
            the fit has no bootstrap draws.
    """
    target = DEFAULT_REACH * fit.range.C[1] if target is None else target
    for name, value in (("--budget", budget), ("--target-compute", target)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive, finite compute: got {value}.")
    laws = fit.draw_laws()
    if not laws:
        raise InputError("The fit has no bootstrap draws to narrow: fit again with --bootstrap 1000.")
    spread = laws[:: max(len(laws) // _LAWS, 1)][:_LAWS]
    models = [DesignModel.of(fit, law, target) for law in (fit.law, *spread)]
    measured = measured_groups(fit)
    candidates, restriction = _candidates(fit, measured)
    plan = best_plan(models, measured, candidates, budget)
    if not plan.groups:
        cheapest = min((group.compute for group in candidates), default=float("nan"))
        raise InputError(
            f"No run that would help costs as little as {budget:.3g}; the cheapest considered costs "
            f"{cheapest:.3g}: give a larger --budget."
        )
    before = percentile_interval(np.array([law.N_opt(target) for law in laws]))
    centre = float(fit.law.N_opt(target))
    repeating = 1 / np.sqrt(1 + budget / sum(group.compute for group in measured))
    return Suggestion(
        budget=budget,
        spent=sum(group.compute for group in plan.groups),
        size=fit.provenance.size,
        target_compute=target,
        N_opt=centre,
        interval_before=(float(before[0]), float(before[1])),
        interval_after=_scaled(before, centre, plan.shrinkage),
        interval_by_repeating=_scaled(before, centre, float(repeating)),
        narrower=1 / plan.shrinkage,
        runs=_runs(plan.groups, measured),
        identified=fit.identified,
        warnings=_warnings(fit, target, restriction),
        options={"budget": budget, "target_compute": target},
    )


@dataclass(frozen=True)
class Plan:
    """Groups to run, and the factor by which they shrink the standard deviation of log N_opt(C*)."""

    groups: list[Group]
    shrinkage: float


def best_plan(
    models: list[DesignModel], measured: list[Group], candidates: list[Group], budget: float
) -> Plan:
    """The best of the greedy courses within the budget."""
    if not candidates:
        return Plan([], 1.0)
    cheapest = min(group.compute for group in candidates)
    dearest = max(group.compute for group in candidates)
    # Caps do not depend on the budget, which only decides how many there are.
    caps = cheapest * 2.0 ** np.arange(0, np.ceil(np.log2(dearest / cheapest)) + 1)
    plans = [Plan([], 1.0)]
    for cap in caps[caps / 2 < budget]:
        within = [c for c in candidates if cap / _COSTS <= c.compute <= min(cap, dearest)]
        if within:
            plans.append(_course(models, measured, within, budget))
    return min(plans, key=lambda plan: plan.shrinkage)


def _course(models: list[DesignModel], measured: list[Group], candidates: list[Group], budget: float) -> Plan:
    """Add the candidate that gains most for its compute until the budget is spent or nothing gains.

    The gain is the mean over the models of the fall of the logarithm of the variance.
    """
    state: dict[float, list[Group]] = {group.size: [group] for group in measured}
    moments: dict[float, list[Moments]] = {size: _moments(models, groups) for size, groups in state.items()}
    total = [_summed([moments[size][i] for size in moments]) for i in range(len(models))]
    first = np.log([model.variances([one])[0] for model, one in zip(models, total, strict=True)])
    now, spent = first, 0.0
    chosen: list[Group] = []
    options: dict[int, tuple[Group, list[Moments]]] = {}
    while len(chosen) < _MOST_GROUPS:
        for index, group in enumerate(candidates):
            if index not in options:
                step = _next(group, chosen)
                options[index] = (step, _moments(models, [*state.get(step.size, []), step]))
        steps = [step for step, _ in options.values()]
        totals = [
            [_replaced(one, moments.get(step.size), new, i) for step, new in options.values()]
            for i, one in enumerate(total)
        ]
        found = np.log([model.variances(own) for model, own in zip(models, totals, strict=True)])
        gain = (now[:, None] - found).mean(axis=0)
        best = int((gain / np.array([step.compute for step in steps])).argmax())
        step = steps[best]
        if gain[best] < _LEAST_GAIN or spent + step.compute > budget:
            break
        spent, now, total = spent + step.compute, found[:, best], [own[best] for own in totals]
        chosen.append(step)
        state[step.size] = [*state.get(step.size, []), step]
        moments[step.size] = _moments(models, state[step.size])
        options = {i: kept for i, kept in options.items() if kept[0].size != step.size}
    return Plan(chosen, float(np.exp(0.5 * np.mean(now - first))))


def _moments(models: list[DesignModel], groups: list[Group]) -> list[Moments]:
    return [model.moments(groups) for model in models]


def _summed(parts: list[Moments]) -> Moments:
    return np.sum([a for a, _ in parts], axis=0), np.sum([b for _, b in parts], axis=0)


def _next(group: Group, chosen: list[Group]) -> Group:
    """One more seed of a group that was chosen before; all its first seeds if not."""
    again = any(c.size == group.size and c.length == group.length for c in chosen)
    return Group(group.size, group.length, 1 if again else group.seeds)


def _replaced(total: Moments, old: list[Moments] | None, new: list[Moments], model: int) -> Moments:
    """The sums with one size's part changed."""
    a, b = total[0] + new[model][0], total[1] + new[model][1]
    return (a, b) if old is None else (a - old[model][0], b - old[model][1])


def _candidates(fit: FitResult, measured: list[Group]) -> tuple[list[Group], str | None]:
    """Groups to choose from, and a sentence if not all were allowed."""
    sizes = np.array([group.size for group in measured])
    lengths = np.array([group.length for group in measured])
    ratio = float(np.clip(np.exp(np.median(np.diff(np.log(sizes)))), 1.5, 4.0))
    below = [sizes[0] / ratio**i for i in range(1, _NEW_SIZES[0] + 1)]
    above = [sizes[-1] * ratio**i for i in range(1, _NEW_SIZES[1] + 1)]
    usual = max(int(np.median([group.seeds for group in measured])), 2)
    grid = lengths.max() * 2.0 ** np.arange(-np.ceil(np.log2(lengths.max() / lengths.min())) - 2, 7)
    highest = float(np.log(fit.points.intrinsic).max()) + _REACH
    side = None if fit.identified else _missing_side(fit)
    found = []
    for size in [*sorted(below), *sizes, *above]:
        known = np.flatnonzero(sizes == size)
        own = lengths[known[0]] if len(known) else None
        for length in grid if own is None else own * 2.0 ** np.arange(-2, 7):
            # Seeds of runs that exist already may come one at a time; others need a spread of their own.
            same = own is not None and np.isclose(length, own)
            group = Group(float(size), float(length), 1 if same else usual)
            if fit.law.log_intrinsic(group.size, group.length) <= highest and _allowed(
                side, group, sizes, own
            ):
                found.append(group)
    if side is None:
        return found, None
    what = "smaller sizes and longer runs" if side == "small" else "larger sizes"
    return found, (
        f"The exponents are not identified, so the expected interval is a guess; only {what} are suggested, "
        f"which is what would show the optimum. Fit again with them before planning further."
    )


def _missing_side(fit: FitResult) -> Literal["small", "large"]:
    """Which sizes would show the optimum: small ones past theirs, or large ones short of theirs."""
    return "large" if fit.size_limited_share > 0.5 else "small"


def _allowed(side: Literal["small", "large"] | None, group: Group, sizes: Any, own: float | None) -> bool:
    if side is None:
        return True
    middle = float(np.median(sizes))
    if side == "large":
        return group.size > middle
    return group.size <= middle and (own is None or group.length > own * 1.01)


def _runs(groups: list[Group], measured: list[Group]) -> list[SuggestedRuns]:
    """The groups by size and length, seeds of equal ones together."""
    seeds: dict[tuple[float, float], int] = {}
    for group in groups:
        seeds[group.size, group.length] = seeds.get((group.size, group.length), 0) + group.seeds
    own = {group.size: group.length for group in measured}
    return [
        SuggestedRuns(
            N=size,
            E=length,
            seeds=count,
            compute=size * length * count,
            new_size=size not in own,
            longer_by=length / own[size] if size in own else None,
        )
        for (size, length), count in sorted(seeds.items())
    ]


def _scaled(interval: Any, centre: float, factor: float) -> Interval:
    """The interval with its logarithmic distances from the estimate times ``factor``."""
    low, high = (centre * (end / centre) ** factor for end in interval)
    return float(low), float(high)


def _warnings(fit: FitResult, target: float, restriction: str | None) -> list[str]:
    found = [] if restriction is None else [restriction]
    found += fit.warnings
    decades = np.log10(target / fit.range.C[1])
    if decades > 0:
        found.append(
            f"The target is {decades:.1f} decades beyond the data: the intervals hold as far as the law does."
        )
    return found
