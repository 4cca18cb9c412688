"""The search for the minimum of an objective: thorough once, cheap for each bootstrap replicate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.objectives import Minimum, Objective, at_bounds, start_grid
from rlscale.scaling.errors import FitDidNotConverge

#: Displacements of θ = (logit ν, log k, m) that leave the valley of a warm start.
_CORNERS = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T * np.array([0.6, 0.6, 0.8])
_SETTLED = 1e-4  # a further round that lowers the loss by less than this share ends the search


@dataclass(frozen=True)
class SearchOptions:
    """How hard to search.

    Attributes:
        num_polish: best grid points from which a local search starts.
        max_evaluations: of the objective, in each local search.
        max_rounds: further local searches from the best point, each on a finer scale.
    """

    num_polish: int = 6
    max_evaluations: int = 300
    max_rounds: int = 8


def search(objective: Objective, options: SearchOptions) -> Minimum:
    """Global search: a grid over (ν, k, m), local searches from its best points, then finer ones.

    Raises:
        FitDidNotConverge: if the loss is finite nowhere (code ``objective_not_finite``), or still falls after
            the last round (``search_not_settled``).
    """
    starts = start_grid(objective.bounds)
    losses = np.array([objective.loss(start) for start in starts])
    finite = np.flatnonzero(np.isfinite(losses))
    if not len(finite):
        raise FitDidNotConverge(
            f"The objective is not finite at any of {len(starts)} starting points; check the curves "
            f"for values that span more than a double can hold.",
            code="objective_not_finite",
        )
    first = finite[np.argsort(losses[finite], kind="stable")[: options.num_polish]]
    found = [objective.polish(starts[i], scale=1.0, max_evaluations=options.max_evaluations) for i in first]
    evaluations = len(starts) + sum(minimum.evaluations for minimum in found)
    best = min(found, key=lambda minimum: minimum.loss)
    for turn in range(options.max_rounds):
        scale = (0.1, 0.01)[turn % 2]
        finer = objective.polish(best.theta, scale=scale, max_evaluations=options.max_evaluations)
        evaluations += finer.evaluations
        gain = best.loss - finer.loss
        best = finer if gain >= 0 else best
        if turn >= 1 and gain <= _SETTLED * best.loss + 1e-12:
            centre = objective.centred(best)
            return Minimum(centre.theta, centre.loss, evaluations + centre.evaluations)
    bounds = at_bounds(best.theta, objective.bounds)
    raise FitDidNotConverge(
        f"The fit did not settle: {len(first)} searches from {len(starts)} starting points and "
        f"{options.max_rounds} finer ones ({evaluations} evaluations) ended at a loss of {best.loss:.4g}, "
        f"still falling, {'at the bound of ' + ' and '.join(bounds) if bounds else 'inside the bounds'}; "
        f"add sizes or longer runs, or allow more evaluations (max_evaluations).",
        code="search_not_settled",
    )


def search_near(objective: Objective, theta: Floats) -> Minimum:
    """Cheap search for a replicate: from the full fit's θ, and from the best of eight points around it.

    The first steps are as large as the spacing of the grid of the full search. With smaller ones the search
    stays in the first of the many shallow pits of the loss, next to θ, and the intervals are a third
    narrower: 90% intervals of ν then hold the truth in 77% of 60 simulated sweeps, with large steps in 88%.
    """
    displaced = np.clip(theta + _CORNERS, objective.bounds[:, 0], objective.bounds[:, 1])
    corner = displaced[np.argmin([objective.loss(start) for start in displaced])]
    near = objective.polish(theta, scale=1.0, max_evaluations=100)
    far = objective.polish(corner, scale=0.5, max_evaluations=70)
    best = min(near, far, key=lambda minimum: minimum.loss)
    finer = objective.polish(best.theta, scale=0.2, max_evaluations=60)
    return finer if finer.loss <= best.loss else best


def profile(objective: Objective, best: Floats, nus: Floats) -> Floats:
    """The least loss at each ν of ``nus``, ascending, over k and m; shape ``(len(nus),)``.

    A search at one ν starts from its neighbour's result, so a row of searches follows a valley. Three rows
    may follow three: outwards from the best θ, and through all ν from the best of a grid at either end.
    """
    starts = start_grid(objective.bounds)
    ends = []
    for nu in (starts[:, 0].min(), starts[:, 0].max()):
        of_end = starts[starts[:, 0] == nu]
        losses = np.array([objective.loss(start) for start in of_end])
        ends.append(of_end[np.argmin(np.where(np.isfinite(losses), losses, np.inf))])
    found = np.full(len(nus), np.inf)
    middle = int(np.searchsorted(nus, expit(best[0])))
    for theta, order in (
        (best, range(middle, len(nus))),
        (best, range(middle - 1, -1, -1)),
        (ends[0], range(len(nus))),
        (ends[1], range(len(nus) - 1, -1, -1)),
    ):
        for index in order:
            start = np.array([logit(nus[index]), *theta[1:]])
            minimum = objective.polish_at_nu(start, scale=0.5, max_evaluations=60)
            theta, found[index] = minimum.theta, min(found[index], minimum.loss)
    return found
