"""Which runs to do next, so that N_opt at a target compute becomes surest for the compute spent.

Candidates are sizes of the sweep and a little beyond, at lengths a factor of two apart. Groups of runs are
added greedily, each time the one that lowers the variance of log N_opt(C*) most for its compute, by the
linear model of ``analysis.design`` about several of the bootstrap's laws. Cheap runs gain most for their
compute at first and soon nothing more, so the greedy course is taken several times, each with candidates
of another scale of cost, and the best is kept. Where the next step of a course does not fit any more, what is
left goes to cheaper runs. A larger budget has every course of a smaller one, and further, so more compute
never promises less.

The bootstrap's interval is scaled by the ratio of the model's standard deviations: before any run it is the
fit's own. The target is extrapolated to by the law, so the promise holds as far as the law does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.design import DesignModel, Group, Moments, measured_groups
from rlscale.analysis.records import INTERVAL_LEVEL, SCHEMA_VERSION, Interval, Record
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.scaling.errors import InputError

#: The target by default, in multiples of the largest measured compute.
DEFAULT_REACH = 10.0
_MOST_GROUPS = 40
_LEAST_GAIN = 1e-3  # in the logarithm of the variance
_LAWS = 4  # draws about which the gain is averaged, besides the estimate: a design must not hang on one law
_COSTS = 64.0  # the dearest candidate of a course is this many times the cheapest
#: Of the compute of a step that does not fit: runs cheaper than that may share what is left.
_REST_SHARES = (1.0, 0.5, 0.25, 0.125)
_SCALE_STEP = 3  # doublings from one scale of a course to the next
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
    known = _Models(models)
    start = _Runs.of(known, measured)
    scales = [[c for c in candidates if cap / _COSTS <= c.compute <= min(cap, dearest)] for cap in caps]
    best = start
    for first in np.flatnonzero(caps / 2 < budget):
        course = _course(known, start, scales[first::_SCALE_STEP], budget)
        best = min(best, course, key=lambda runs: runs.level)
    return Plan(list(best.chosen), float(np.exp(0.5 * (best.level - start.level))))


class _Models:
    """The models; what groups of one size tell them is kept, for courses try the same ones again."""

    def __init__(self, models: list[DesignModel]) -> None:
        self._models = models
        self._known: dict[tuple[Group, ...], list[Moments]] = {}

    def moments(self, groups: Sequence[Group]) -> list[Moments]:
        """Of all groups of one size, one for each model."""
        key = tuple(groups)
        if key not in self._known:
            self._known[key] = [model.moments(key) for model in self._models]
        return self._known[key]

    def log_variances(self, totals: Sequence[Sequence[Moments]]) -> NDArray[np.float64]:
        """Of sums of moments, for each model those of each option, shape ``(models, options)``."""
        return np.log([model.variances(own) for model, own in zip(self._models, totals, strict=True)])


@dataclass(frozen=True)
class _Runs:
    """Runs there are and chosen ones, and what all of them tell.

    Attributes:
        chosen: groups added to the measured ones.
        by_size: all groups of each size.
        moments: of each size, one for each model.
        total: their sums, one for each model.
        logs: logarithm of the variance by each model, shape ``(models,)``.
    """

    chosen: tuple[Group, ...]
    by_size: dict[float, list[Group]]
    moments: dict[float, list[Moments]]
    total: list[Moments]
    logs: NDArray[np.float64]

    @classmethod
    def of(cls, models: _Models, measured: list[Group]) -> _Runs:
        by_size = {group.size: [group] for group in measured}
        moments = {size: models.moments(groups) for size, groups in by_size.items()}
        total = [_summed(parts) for parts in zip(*moments.values(), strict=True)]
        logs = models.log_variances([[one] for one in total])[:, 0]
        return cls((), by_size, moments, total, logs)

    @property
    def spent(self) -> float:
        return sum(group.compute for group in self.chosen)

    @property
    def level(self) -> float:
        """Mean over the models of the logarithm of the variance."""
        return float(self.logs.mean())

    def with_group(self, group: Group, own: list[Moments], logs: NDArray[np.float64]) -> _Runs:
        """One group more, its size's moments then being ``own``."""
        old = self.moments.get(group.size)
        return _Runs(
            (*self.chosen, group),
            {**self.by_size, group.size: [*self.by_size.get(group.size, []), group]},
            {**self.moments, group.size: own},
            [_replaced(one, old, own, i) for i, one in enumerate(self.total)],
            logs,
        )


def _course(models: _Models, start: _Runs, scales: list[list[Group]], budget: float) -> _Runs:
    """The greedy course as far as the budget goes, its rest spent on cheaper runs than the next step.

    Where candidates of one scale of cost gain nothing any more, it goes on with those of the next.
    More budget never gives less: the course is followed further, or the rest is spent on more; and no rest
    is kept that gains more than the step it could not pay for.
    """
    runs = start
    for candidates in scales:
        runs, step = _followed(models, runs, candidates, budget)
        if step is not None:
            break
    else:
        return runs
    found = [runs]
    for share in _REST_SHARES:
        cheaper = [c for c in candidates if c.compute < share * step.chosen[-1].compute]
        found.append(_followed(models, runs, cheaper, budget, floor=step.level)[0])
    return min(found, key=lambda one: one.level)


def _followed(
    models: _Models,
    runs: _Runs,
    candidates: list[Group],
    budget: float,
    *,
    floor: float | None = None,
) -> tuple[_Runs, _Runs | None]:
    """Add the candidate that gains most for its compute until that one does not fit or nothing gains.

    The gain is the mean over the models of the fall of the logarithm of the variance. With ``floor``, the
    level below which to stay, one more is then added: of those that fit, the one that gains most. It gains
    less than the step that does not fit, which is dearer and gains more for its compute.

    Returns:
        The runs, and the same with the step that did not fit; None if the course ended for want of gain.
    """
    options: dict[int, tuple[Group, list[Moments]]] = {}
    while candidates and len(runs.chosen) < _MOST_GROUPS:
        for index, group in enumerate(candidates):
            if index not in options:
                step = _next(group, runs.chosen)
                groups = [*runs.by_size.get(step.size, []), step]
                options[index] = (step, models.moments(groups))
        pairs = list(options.values())
        totals = [
            [_replaced(one, runs.moments.get(step.size), new, i) for step, new in pairs]
            for i, one in enumerate(runs.total)
        ]
        logs = models.log_variances(totals)
        gain = (runs.logs[:, None] - logs).mean(axis=0)
        compute = np.array([step.compute for step, _ in pairs])
        best = int((gain / compute).argmax())
        if gain[best] < _LEAST_GAIN:
            break
        onward = runs.with_group(*pairs[best], logs[:, best])
        if onward.spent > budget or (floor is not None and onward.level < floor):
            fits = np.flatnonzero((runs.spent + compute <= budget) & (gain > 0))
            fits = fits[:0] if floor is None else fits[runs.level - gain[fits] >= floor]
            if len(fits):
                end = int(fits[gain[fits].argmax()])
                runs = runs.with_group(*pairs[end], logs[:, end])
            return runs, onward
        runs = onward
        size = runs.chosen[-1].size
        options = {i: kept for i, kept in options.items() if kept[0].size != size}
    return runs, None


def _summed(parts: Sequence[Moments]) -> Moments:
    return np.sum([a for a, _ in parts], axis=0), np.sum([b for _, b in parts], axis=0)


def _next(group: Group, chosen: Sequence[Group]) -> Group:
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
            if fit.law.log_intrinsic(np.log(size), np.log(length)) <= highest and _allowed(
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
