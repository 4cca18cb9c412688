"""Resampling whole runs, and the widening of intervals for few seeds."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from rlscale.analysis.arrays import Floats, Ints
from rlscale.analysis.curves.curve_set import MIN_SIZES, Curves
from rlscale.analysis.records import INTERVAL_LEVEL

Scheme = Literal["seeds", "sizes", "none"]

#: Above this share of sizes with a single seed, sizes are drawn rather than seeds.
MAX_SINGLE_SEED_SHARE = 1 / 3


def scheme_for(curves: Curves) -> Scheme:
    """Whether seeds within size or whole sizes are drawn."""
    return scheme_of(np.bincount(curves.size_index))


def scheme_of(seeds: Ints) -> Scheme:
    """``scheme_for`` sizes with so many seeds each, shape ``(sizes,)``."""
    return "sizes" if np.mean(seeds == 1) > MAX_SINGLE_SEED_SHARE else "seeds"


def resample(curves: Curves, scheme: Scheme, rng: np.random.Generator) -> Ints:
    """How often each run occurs in one replicate, shape ``(runs,)``.

    Replicates of sizes have at least three distinct ones, the fewest that can be fitted.
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


def widened(values: Floats, curves: Curves) -> Floats:
    """Draws along the first axis, moved away from their median by ``widening``."""
    middle = np.median(values, axis=0)
    return np.asarray(middle + widening(curves, scheme_for(curves)) * (values - middle))


def widening(curves: Curves, scheme: Scheme) -> float:
    """Factor by which draws are moved away from their median; see ``rlscale.analysis.fit.bootstrap``."""
    return widening_of(np.bincount(curves.size_index), scheme)


def widening_of(seeds: Ints, scheme: Scheme) -> float:
    """``widening`` of sizes with so many seeds each, shape ``(sizes,)``."""
    if scheme == "sizes":
        n, freedom = float(len(seeds)), float(len(seeds) - 1)
    else:
        n, freedom = float(1 / np.mean(1 / seeds)), float(np.sum(seeds - 1))
    level = (1 + INTERVAL_LEVEL) / 2
    return float(np.sqrt(n / (n - 1)) * student.ppf(level, freedom) / norm.ppf(level))
