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
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from analysis.curves import MIN_SIZES, Curves
from analysis.objectives import law_of, make_objective
from analysis.power_law import PowerLaw
from analysis.preprocess import Preprocessor
from analysis.result import INTERVAL_LEVEL
from analysis.search import search_near

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Scheme = Literal["seeds", "sizes", "none"]

#: Above this share of sizes with a single seed, sizes are drawn rather than seeds.
MAX_SINGLE_SEED_SHARE = 1 / 3


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


def scheme_for(curves: Curves) -> Scheme:
    """Whether seeds within size or whole sizes are drawn."""
    single = np.bincount(curves.size_index) == 1
    return "sizes" if single.mean() > MAX_SINGLE_SEED_SHARE else "seeds"


def resample(curves: Curves, scheme: Scheme, rng: np.random.Generator) -> Ints:
    """How many times each run is in one replicate, shape ``(runs,)``.

    Replicates of sizes have at least three distinct ones, without which no fit is possible.
    """
    size_index = curves.size_index
    num_sizes = int(size_index.max()) + 1
    if scheme == "sizes":
        while True:
            counts = np.bincount(rng.integers(num_sizes, size=num_sizes), minlength=num_sizes)
            if np.count_nonzero(counts) >= MIN_SIZES:
                return counts[size_index]
    counts = np.zeros(curves.num_runs, dtype=np.int64)
    for size in range(num_sizes):
        runs = np.flatnonzero(size_index == size)
        np.add.at(counts, rng.choice(runs, size=len(runs)), 1)
    return counts


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


def percentile_interval(values: Floats) -> Floats:
    """Lower and upper end of the central 90% along the first axis, shape ``(2, ...)``.

    Quantiles at i/(n + 1), between which a further draw falls with that very probability, however few
    there are.
    """
    tail = (1 - INTERVAL_LEVEL) / 2
    return np.quantile(values, [tail, 1 - tail], axis=0, method="weibull")


def bias_corrected_interval(values: Floats, estimate: Floats) -> Floats:
    """As ``percentile_interval``, corrected for the median bias of the draws (Efron 1981, BC).

    Args:
        values: draws along the first axis.
        estimate: from all the data, shape of one draw.
    """
    count = len(values)
    below = np.sum(values < estimate, axis=0) + 0.5 * np.sum(values == estimate, axis=0)
    shift = norm.ppf(np.clip(below / count, 0.5 / count, 1 - 0.5 / count))
    tail = norm.ppf((1 - INTERVAL_LEVEL) / 2)
    levels = norm.cdf(2 * shift + np.multiply.outer([tail, -tail], np.ones_like(shift)))
    flat = values.reshape(count, -1)
    levels = levels.reshape(2, -1)
    ends = [np.quantile(flat[:, i], levels[:, i], method="weibull") for i in range(flat.shape[1])]
    return np.array(ends).T.reshape(2, *values.shape[1:])


def widened(values: Floats, curves: Curves) -> Floats:
    """Draws along the first axis, moved away from their median because seeds (or sizes) are few."""
    middle = np.median(values, axis=0)
    return np.asarray(middle + _widening(curves, scheme_for(curves)) * (values - middle))


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


def _widening(curves: Curves, scheme: Scheme) -> float:
    """Factor by which draws are moved away from their median; see the head of this module."""
    seeds = np.bincount(curves.size_index)
    if scheme == "sizes":
        n, freedom = float(len(seeds)), float(len(seeds) - 1)
    else:
        n, freedom = float(1 / np.mean(1 / seeds)), float(np.sum(seeds - 1))
    level = (1 + INTERVAL_LEVEL) / 2
    return float(np.sqrt(n / (n - 1)) * student.ppf(level, freedom) / norm.ppf(level))
