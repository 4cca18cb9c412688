"""The best runs to add for a budget: greedy courses through candidate groups of runs.

Each step adds the candidate that lowers the variance of log N_opt(C*) most for its compute, by the linear
model of ``rlscale.analysis.forecast.design`` about several of the bootstrap's laws. Cheap runs gain most for
their compute at first and soon gain nothing more, so several courses are followed, each with candidates of
another scale of cost, and the best is kept. Where the next step of a course no longer fits, the rest goes to
cheaper runs. A larger budget follows every course of a smaller one further, so more compute never
promises less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.forecast.design import DesignModel, Group, Moments
from rlscale.analysis.progress import told

#: Why a plan does not take the whole budget, see ``Plan``.
Left = Literal["groups", "cost", "gain"]
_MOST_GROUPS = 40
_LEAST_GAIN = 1e-3  # in the logarithm of the variance
_COSTS = 64.0  # the most expensive candidate of a course costs this many times the cheapest
#: Of the compute of a step that does not fit: cheaper runs than that may share the rest.
_REST_SHARES = (1.0, 0.5, 0.25, 0.125)
_SCALE_STEP = 3  # doublings from one scale of a course to the next


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        groups: the runs.
        shrinkage: factor by which they shrink the standard deviation of log N_opt(C*).
        left: why they do not take the whole budget: ``groups`` (there may be no more of them), ``cost`` (no
            candidate costs as little as what is left), or ``gain`` (none that does narrows it much).
        most_left: factor by which the best run for what is left would shrink it further; 1 without any.
    """

    groups: list[Group]
    shrinkage: float
    left: Left = "cost"
    most_left: float = 1.0


@dataclass(frozen=True)
class _Runs:
    """Groups chosen so far, and the log variance with them by each model, shape ``(models,)``."""

    chosen: tuple[Group, ...]
    log_variances: Floats

    @cached_property
    def spent(self) -> float:
        return sum(group.compute for group in self.chosen)

    @cached_property
    def level(self) -> float:
        """Mean over the models of the logarithm of the variance."""
        return float(self.log_variances.mean())


def best_plan(
    models: Sequence[DesignModel], measured: Sequence[Group], candidates: Sequence[Group], budget: float
) -> Plan:
    """The best of the greedy courses within the budget.

    Args:
        models: about several laws, to average the gain over.
        measured: groups of the sweep, one a size.
        candidates: groups to choose from.
        budget: compute of all chosen groups together.
    """
    if not candidates:
        return Plan([], 1.0)
    costs = [group.compute for group in candidates]
    # Caps do not depend on the budget, which only decides how many there are.
    caps = min(costs) * 2.0 ** np.arange(0, np.ceil(np.log2(max(costs) / min(costs))) + 1)
    scales = [[c for c in candidates if cap / _COSTS <= c.compute <= min(cap, max(costs))] for cap in caps]
    search = _Search(models, measured)
    start = best = search.start()
    beginnings = np.flatnonzero(caps / 2 < budget)
    for first in told("courses of runs", beginnings, len(beginnings)):
        course = search.course(start, scales[first::_SCALE_STEP], budget)
        best = min(best, course, key=lambda runs: runs.level)
    left, gain = search.left_over(best, candidates, budget)
    shrinkage = float(np.exp(0.5 * (best.level - start.level)))
    return Plan(list(best.chosen), shrinkage, left, float(np.exp(-0.5 * gain)))


class _Search:
    """Greedy search from the measured runs.

    Moments of the groups of one size are cached: courses try the same groups repeatedly, and a plan takes
    minutes without the cache.
    """

    def __init__(self, models: Sequence[DesignModel], measured: Sequence[Group]) -> None:
        self._models = models
        self._measured = measured
        self._known: dict[tuple[Group, ...], Moments] = {}

    def start(self) -> _Runs:
        """The measured runs alone."""
        total = self._total(())
        return _Runs((), self._log_variances(total[0][None], total[1][None])[0])

    def course(self, start: _Runs, scales: Sequence[Sequence[Group]], budget: float) -> _Runs:
        """The greedy course as far as the budget goes, its rest spent on cheaper runs than the next step.

        Where candidates of one scale of cost gain nothing any more, those of the next follow.
        """
        runs = start
        for candidates in scales:
            runs, step = self._followed(runs, candidates, budget)
            if step is not None:
                break
        else:
            return runs
        found = [runs]
        for share in _REST_SHARES:
            cheaper = [c for c in candidates if c.compute < share * step.chosen[-1].compute]
            found.append(self._followed(runs, cheaper, budget, floor=step.level)[0])
        return min(found, key=lambda one: one.level)

    def left_over(self, runs: _Runs, candidates: Sequence[Group], budget: float) -> tuple[Left, float]:
        """Why no more runs follow, and what one for the rest of the budget would gain at most."""
        if len(runs.chosen) >= _MOST_GROUPS:
            return "groups", 0.0
        options = [one for one in self._options(runs, candidates) if one.spent <= budget]
        if not options:
            return "cost", 0.0
        return "gain", max(0.0, *(runs.level - one.level for one in options))

    def _followed(
        self, runs: _Runs, candidates: Sequence[Group], budget: float, *, floor: float | None = None
    ) -> tuple[_Runs, _Runs | None]:
        """Add the candidate that gains most for its compute until that one does not fit or nothing gains.

        The gain is the mean over the models of the fall of the logarithm of the variance. With ``floor``,
        a level to stay above, one more is then added: of those that fit, the one that gains most. So the rest
        never gains more than the step that it could not pay for.

        Returns:
            The runs, and the same with the step that did not fit; None if nothing gains any more.
        """
        while candidates and len(runs.chosen) < _MOST_GROUPS:
            options = self._options(runs, candidates)
            gain = np.array([runs.level - one.level for one in options])
            compute = np.array([one.chosen[-1].compute for one in options])
            best = int((gain / compute).argmax())
            if gain[best] < _LEAST_GAIN:
                break
            step = options[best]
            if step.spent > budget or (floor is not None and step.level < floor):
                fits = (runs.spent + compute <= budget) & (gain > 0) & (floor is not None)
                fits &= np.array([floor is None or one.level >= floor for one in options])
                if fits.any():
                    runs = options[int(np.where(fits, gain, -np.inf).argmax())]
                return runs, step
            runs = step
        return runs, None

    def _options(self, runs: _Runs, candidates: Sequence[Group]) -> list[_Runs]:
        """The runs with each candidate added: all its seeds at first, one seed more afterwards."""
        kinds = {(group.size, group.length) for group in runs.chosen}
        steps = [Group(c.size, c.length, 1) if (c.size, c.length) in kinds else c for c in candidates]
        total_a, total_b = self._total(runs.chosen)
        by_size = self._by_size(runs.chosen)
        a, b = [], []
        for step in steps:
            old = by_size.get(step.size, ())
            new_a, new_b = self._moments((*old, step))
            old_a, old_b = self._moments(old) if old else (0.0, 0.0)
            a.append(total_a - old_a + new_a)
            b.append(total_b - old_b + new_b)
        logs = self._log_variances(np.stack(a), np.stack(b))
        return [_Runs((*runs.chosen, step), row) for step, row in zip(steps, logs, strict=True)]

    def _by_size(self, chosen: Sequence[Group]) -> dict[float, tuple[Group, ...]]:
        """The measured and the chosen groups of each size."""
        found: dict[float, tuple[Group, ...]] = {}
        for group in (*self._measured, *chosen):
            found[group.size] = (*found.get(group.size, ()), group)
        return found

    def _total(self, chosen: Sequence[Group]) -> Moments:
        """Sums over sizes of A and B, shape ``(models, 3 + knots, 3 + knots)``."""
        parts = [self._moments(groups) for groups in self._by_size(chosen).values()]
        return np.sum([a for a, _ in parts], axis=0), np.sum([b for _, b in parts], axis=0)

    def _moments(self, groups: tuple[Group, ...]) -> Moments:
        """A and B of all groups of one size by each model."""
        if groups not in self._known:
            parts = [model.moments(groups) for model in self._models]
            self._known[groups] = np.stack([a for a, _ in parts]), np.stack([b for _, b in parts])
        return self._known[groups]

    def _log_variances(self, a: Floats, b: Floats) -> Floats:
        """Log variance of each option by each model, shape ``(options, models)``."""
        return np.log([model.variances(a[:, i], b[:, i]) for i, model in enumerate(self._models)]).T
