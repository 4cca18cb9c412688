"""Intervals by resampling whole runs: the points of one run move together, so they are one draw.

Seeds are drawn within each size. Where too many sizes have one seed, sizes are drawn instead, all
seeds of a size together. Each replicate goes through the whole of preprocessing: cut, bins
and averages. Its search starts from the full fit and from a point displaced from it, in steps
large enough to leave the valley of the full fit.

A bootstrap of n seeds underestimates the variance of their mean by (n - 1)/n, 1/3 for three seeds, and a
variance that rests on few degrees of freedom calls for Student's quantiles. So draws are moved away from
their median by sqrt(n/(n - 1)) · t/z, n the harmonic mean of the seeds per size, t and z the 95% quantiles of
Student's distribution with Σ (seeds - 1) degrees of freedom and of the normal one (n the number of sizes and
n - 1 degrees, if sizes are drawn).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from rlscale.analysis.arrays import Floats, Ints
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.objectives import law_of, make_objective
from rlscale.analysis.fit.search import search_near
from rlscale.analysis.points.preprocess import Preprocessor
from rlscale.analysis.points.resampling import Scheme, _widening, resample, scheme_for, widened
from rlscale.analysis.statistics.intervals import bias_corrected_interval, percentile_interval
from rlscale.analysis.theory.power_law import PowerLaw


@dataclass(frozen=True)
class Draws:
    """Bootstrap draws of θ = (logit p, log k, m), shape ``(replicates, 3)``, widened for few seeds.

    Attributes:
        at_bound: share of the draws that ended at a bound of p or k.
    """

    scheme: Scheme
    theta: Floats = field(default_factory=lambda: np.empty((0, 3)))
    widening: float = 1.0
    at_bound: float = 0.0

    def laws(self, log_c0: float) -> list[PowerLaw]:
        """The law of each draw."""
        return [law_of(theta, log_c0) for theta in self.theta]


def bootstrap(
    curves: Curves,
    preprocessor: Preprocessor,
    *,
    objective: str,
    theta: Floats,
    log_c0: float,
    replicates: int,
    rng: np.random.Generator,
    workers: int = 1,
) -> Draws:
    """Draw the sampling distribution of θ.

    Which runs each replicate has is drawn here, in order, so the result does not depend on ``workers``.

    Args:
        curves: what ``preprocessor`` was made of.
        theta: the full fit's, shape ``(3,)``, at log compute ``log_c0``.
        replicates: 0 for none.
        workers: processes to share the replicates.
    """
    if replicates == 0:
        return Draws("none")
    scheme = scheme_for(curves)
    counts = [resample(curves, scheme, rng) for _ in range(replicates)]
    solve = partial(_solve, preprocessor, objective, theta, log_c0)
    if workers > 1:
        chunks = np.array_split(np.array(counts), min(workers * 4, replicates))
        with ProcessPoolExecutor(workers) as pool:
            drawn = np.concatenate(list(pool.map(solve, chunks)))
    else:
        drawn = solve(np.array(counts))
    widening = _widening(curves, scheme)
    bounds = make_objective(objective, preprocessor.points(), log_c0).bounds
    stuck = (drawn[:, :2] - bounds[:2, 0] < 0.02) | (bounds[:2, 1] - drawn[:, :2] < 0.02)
    wide = np.clip(widened(drawn, curves), bounds[:, 0], bounds[:, 1])
    return Draws(scheme, wide, widening, float(stuck.any(axis=1).mean()))


def intervals(laws: list[PowerLaw], centre: PowerLaw | None = None) -> dict[str, tuple[float, float]]:
    """90% intervals of what the laws of the draws give; empty if there are none.

    Percentile intervals, or, about ``centre``, the law of all the data, bias-corrected ones.
    """
    if not laws:
        return {}
    rows = np.array([[value for _, value in estimates(law)] for law in laws])
    names = [name for name, _ in estimates(laws[0])]
    middle = None if centre is None else np.array([value for _, value in estimates(centre)])
    low, high = percentile_interval(rows) if middle is None else bias_corrected_interval(rows, middle)
    return {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}


def estimates(law: PowerLaw) -> Iterator[tuple[str, float]]:
    """Name and value of everything that gets an interval."""
    yield "alpha_N", law.alpha_N
    yield "alpha_E", law.alpha_E
    yield "beta", law.beta
    yield "nu", law.nu
    yield "N_c", law.N_c
    yield "E_c", law.E_c
    yield "log10_N_c", law.log_N_c / float(np.log(10))
    yield "log10_E_c", law.log_E_c / float(np.log(10))
    yield "N_opt_ref", float(np.exp(law.m))


def _solve(preprocessor: Preprocessor, objective: str, theta: Floats, log_c0: float, counts: Ints) -> Floats:
    """θ of each replicate in ``counts`` of shape ``(replicates, runs)``."""
    found = []
    for drawn in counts:
        points = preprocessor.points(drawn, smooth=objective == "paper")
        found.append(search_near(make_objective(objective, points, log_c0), theta).theta)
    return np.array(found)
