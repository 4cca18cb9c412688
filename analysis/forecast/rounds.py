"""The next round of a closed loop: which runs to go on with, repeat or begin, so that N_opt becomes certain.

A loop measures in rounds. The first knows nothing: runs of several sizes and of equal compute, whose lengths
fall as sizes grow, because on the frontier of the law a larger size is worth less training. From then on the
law fitted so far plans each round, which spends as much as all before it, so that a plan never rests on a law
known from much less compute than it spends. Steps are chosen one by one, each the one that lowers the
criterion most for its cost:

    mean over laws of log( variance of log N_opt(C*) by the linear model about that law )  +  2 log widening

(``rlscale.analysis.forecast.design``), over the estimate and some of the bootstrap's laws; the widening is
that of intervals for few seeds (``rlscale.analysis.points.resampling``). A step

* trains all runs of a size longer, by a power of two, which costs only what is added,
* does so with a size and all smaller ones, or all larger ones: what one size says only counts where others
  reach the same performance, so that lengthening one alone may tell nothing,
* adds a seed to a size, or
* begins a new size.

Runs of one size are equally long, so what has been measured is one ``Group`` a size.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.design import DesignModel, Group, Moments
from rlscale.analysis.points.resampling import scheme_of, widening_of
from rlscale.analysis.theory.power_law import PowerLaw

#: Sizes of the first round, and seeds of a new size: a bootstrap over seeds needs two.
FIRST_SIZES = 5
NEW_SEEDS = 2
#: Share of the budget that the first round spends.
FIRST_SHARE = 1 / 32
_LENGTHENINGS = (2.0, 4.0, 8.0, 16.0, 32.0)
_LAWS = 6  # draws over which, with the estimate, a step's gain is averaged
_PRIOR = 1e-9  # precision of what is known without runs, as in the linear model
_LEAST_GAIN = 1e-4  # in the criterion: less is no reason to train anything
_NEW_LENGTHS = 2.0 ** np.arange(
    -3, 2
)  # of a new size, in units of the length of equal compute of its neighbour


@dataclass(frozen=True)
class Bounds:
    """What a loop may run.

    Attributes:
        sizes: N of the sizes that there are, ascending.
        prices: what an interaction of each size costs, in the unit of the budget: N, or hours of training.
        shortest, longest: E of a run.
        least_seeds, most_seeds: runs of a size.
        budget: of all runs together.
        closed: sizes whose runs stay as they are, because some of them failed.
    """

    sizes: tuple[float, ...]
    prices: tuple[float, ...]
    shortest: float
    longest: float
    least_seeds: int
    most_seeds: int
    budget: float
    closed: frozenset[float] = frozenset()

    def cost(self, group: Group) -> float:
        """What the runs of a group cost, in the unit of the budget."""
        return self.prices[self.sizes.index(group.size)] * group.length * group.seeds

    def spent(self, groups: Sequence[Group]) -> float:
        """What all runs cost."""
        return sum(self.cost(group) for group in groups)

    @property
    def new_seeds(self) -> int:
        """Seeds that a new size begins with."""
        return min(max(NEW_SEEDS, self.least_seeds), self.most_seeds)


@dataclass(frozen=True)
class Round:
    """What is measured once the round is done, one group a size, ascending; and why, in a sentence.

    ``shrinkage`` is the factor that the round is expected to shrink the standard deviation of log N_opt(C*)
    by; null where no law says so.
    """

    groups: tuple[Group, ...]
    reason: str
    shrinkage: float | None = None


def first_round(bounds: Bounds) -> Round:
    """Runs of ``FIRST_SIZES`` sizes, evenly spaced in log N, of equal cost each, within the bounds.

    They spend ``FIRST_SHARE`` of the budget, or what the shortest runs cost if that is more.
    """
    share = FIRST_SHARE * bounds.budget / (FIRST_SIZES * bounds.new_seeds)
    prices = np.asarray(bounds.prices)
    fits = max(int((prices * bounds.shortest <= share).sum()), FIRST_SIZES)  # of the smallest sizes
    last = min(fits, len(prices)) - 1
    groups = [
        Group(
            bounds.sizes[i],
            float(np.clip(share / prices[i], bounds.shortest, bounds.longest)),
            bounds.new_seeds,
        )
        for i in np.unique(np.round(np.linspace(0, last, FIRST_SIZES)).astype(int))
    ]
    return Round(
        tuple(groups),
        f"Nothing is measured yet: {len(groups)} sizes of equal cost, {bounds.new_seeds} seeds each.",
    )


def longer_round(groups: Sequence[Group], bounds: Bounds, why: str) -> Round | None:
    """All runs twice as long, the cheapest first as far as the budget goes; None if none can be.

    Args:
        why: a clause that says why no law plans the round.
    """
    left = bounds.budget - bounds.spent(groups)
    new: dict[float, Group] = {group.size: group for group in groups}
    for group in sorted(groups, key=bounds.cost):
        longer = replace(group, length=min(2 * group.length, bounds.longest))
        added = 0.0 if group.size in bounds.closed else bounds.cost(longer) - bounds.cost(group)
        if 0 < added <= left:
            new[group.size], left = longer, left - added
    found = tuple(new[size] for size in sorted(new))
    return None if found == tuple(groups) else Round(found, f"Runs are trained twice as long, because {why}.")


def next_round(fit: FitResult, groups: Sequence[Group], bounds: Bounds, target: float | None) -> Round | None:
    """The steps that make N_opt at the target most certain, for as much as was spent so far.

    Args:
        fit: of what is measured, with a bootstrap.
        groups: what is measured, one a size, ascending.
        target: C* = N·E; None to make nu most certain instead.

    Returns:
        None if the budget is used up or no step gains anything.
    """
    laws = fit.draw_laws()
    spread = laws[:: max(len(laws) // _LAWS, 1)][:_LAWS]
    models = [_model(fit, law, target) for law in (fit.law, *spread)]
    search = _Search(models, bounds)
    now = {group.size: group for group in groups}
    start = level = search.level(now)
    allowance = min(bounds.spent(groups), bounds.budget - bounds.spent(groups))
    while (step := search.best_step(now, level, allowance)) is not None:
        now = {**now, **step.changed}
        level, allowance = step.level, allowance - step.cost
    found = tuple(now[size] for size in sorted(now))
    if found == tuple(groups):  # the linear model knows nothing of what longer runs would show
        return longer_round(groups, bounds, "no other step within the bounds tells more")
    shrinkage = float(np.exp(0.5 * (level - start)))
    wanted = "nu" if target is None else "log N_opt"
    reason = f"These steps lower the expected spread of {wanted} most for their cost, to {shrinkage:.0%}."
    return Round(found, reason, shrinkage)


def _model(fit: FitResult, law: PowerLaw, target: float | None) -> DesignModel:
    if target is not None:
        return DesignModel.of(fit, law, target)
    model = DesignModel.of(fit, law, fit.range.C[1])
    return replace(model, gradient=np.array([law.nu * (1 - law.nu), 0.0, 0.0]))


Runs = dict[float, Group]  # by size


@dataclass(frozen=True)
class _Step:
    """The sizes that a step changes, what it costs, and the criterion with it."""

    changed: Runs
    cost: float
    level: float = np.nan


def _is_ordered(runs: Runs) -> bool:
    """Whether no size is trained longer than a smaller one."""
    lengths = [runs[size].length for size in sorted(runs)]
    return all(later <= earlier * (1 + 1e-9) for earlier, later in itertools.pairwise(lengths))


class _Search:
    """Greedy steps; the moments of one size's runs are computed once for all steps that try them."""

    def __init__(self, models: Sequence[DesignModel], bounds: Bounds) -> None:
        self._models, self._bounds = models, bounds
        self._known: dict[Group, Moments] = {}

    def level(self, now: Runs) -> float:
        """The criterion of what is measured."""
        return float(self._levels([now])[0])

    def best_step(self, now: Runs, level: float, allowance: float) -> _Step | None:
        """The step within the allowance that gains most for its cost, None if none gains."""
        options = [
            step
            for step in self.options(now)
            if 0 < step.cost <= allowance * (1 + 1e-9) and _is_ordered({**now, **step.changed})
        ]
        if not options:
            return None
        levels = self._levels([{**now, **step.changed} for step in options])
        costs = np.array([step.cost for step in options])
        best = int(((level - levels) / costs).argmax())
        if level - levels[best] < _LEAST_GAIN:
            return None
        return replace(options[best], level=float(levels[best]))

    def options(self, now: Runs) -> Iterator[_Step]:
        """Every step from what is measured."""
        bounds = self._bounds
        open_sizes = [size for size in sorted(now) if size not in bounds.closed]
        for i, size in enumerate(open_sizes):
            for sizes in ([size], open_sizes[: i + 1], open_sizes[i:]):
                for factor in _LENGTHENINGS:
                    yield self._step(now, [self._longer(now[one], factor) for one in sizes])
            if now[size].seeds < bounds.most_seeds:
                yield self._step(now, [replace(now[size], seeds=now[size].seeds + 1)])
        for size in bounds.sizes:
            if size not in now and size not in bounds.closed:
                near = min(now.values(), key=lambda one: abs(np.log(one.size / size)))
                for factor in _NEW_LENGTHS:
                    length = near.length * near.size / size * factor
                    length = float(np.clip(length, bounds.shortest, bounds.longest))
                    yield self._step(now, [Group(size, length, bounds.new_seeds)])

    def _longer(self, group: Group, factor: float) -> Group:
        return replace(group, length=min(factor * group.length, self._bounds.longest))

    def _step(self, now: Runs, groups: Sequence[Group]) -> _Step:
        cost = self._bounds.cost
        added = sum(cost(one) - (cost(now[one.size]) if one.size in now else 0.0) for one in groups)
        return _Step({one.size: one for one in groups}, added)

    def _moments(self, group: Group) -> Moments:
        """A and B of a size's runs by each model, shape ``(models, 3 + knots, 3 + knots)``."""
        if group not in self._known:
            parts = [model.moments([group]) for model in self._models]
            self._known[group] = np.stack([a for a, _ in parts]), np.stack([b for _, b in parts])
        return self._known[group]

    def _levels(self, options: Sequence[Runs]) -> Floats:
        """The criterion of each option, shape ``(options,)``."""
        parts = [[self._moments(group) for group in runs.values()] for runs in options]
        a, b = (np.stack([np.sum([part[i] for part in mine], axis=0) for mine in parts]) for i in (0, 1))
        b = b + _PRIOR * np.eye(b.shape[-1])  # what no run tells anything of is unknown, not certain
        logs = [np.log(model.variances(a[:, i], b[:, i])) for i, model in enumerate(self._models)]
        seeds = [np.array([group.seeds for group in runs.values()]) for runs in options]
        widenings = [widening_of(mine, scheme_of(mine)) for mine in seeds]
        return np.asarray(np.mean(logs, axis=0) + 2 * np.log(widenings))
