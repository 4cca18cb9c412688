"""The points of two recipes on one scale of returns, and draws of their runs in pairs.

Both recipes' rows are ranked together, so a return has the same rank whichever recipe reached it, and
each size of each recipe is averaged over its own seeds (``rlscale.analysis.points.preprocess``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rlscale.analysis.arrays import Floats, Ints
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.points.resampling import Scheme, resample, scheme_for, widening

#: Width of a bin in log E. Coarser than a fit's, because draws are many and what is compared is averaged.
BIN_WIDTH = 0.1
#: Draws are linear about the fit and keep its relation, so they spread less than estimates do: by a factor of
#: 1.19, 1.18, 1.37 and 1.15 in the four settings of 200 synthetic pairs each (benchmarks/compare.py).
UNDERSTATED = 1.2


@dataclass(frozen=True)
class PairPoints:
    """Averaged points of both recipes, those of A first.

    Attributes:
        both: of all, ``log_n`` in the unit of the curves; ``size`` counts A's sizes, then B's.
        num_a: how many are A's.
    """

    both: BinnedPoints
    num_a: int

    @property
    def a(self) -> BinnedPoints:
        """Those of A, weights summing to 1."""
        return _part(self.both, slice(None, self.num_a))

    @property
    def b(self) -> BinnedPoints:
        """Those of B, weights summing to 1."""
        return _part(self.both, slice(self.num_a, None))


class PairedPreprocessor:
    """Sorts and bins the rows of both recipes once; a draw of the bootstrap then only changes weights."""

    def __init__(self, a: Curves, b: Curves, *, early_exclusion: float, bin_width: float = BIN_WIDTH) -> None:
        # A factor on B's sizes makes each size of each recipe a size of its own, A's first.
        apart = _apart(a, b)
        self._log_shift, self._sizes_a = float(np.log(apart)), len(a.sizes)
        self._preprocessor = Preprocessor(
            _pooled(a, b, apart), early_exclusion=early_exclusion, bin_width=bin_width
        )

    def points(self) -> PairPoints:
        """The points of all runs."""
        points = self._preprocessor.points()
        is_a = points.size < self._sizes_a
        log_n = np.where(is_a, points.log_n, points.log_n - self._log_shift)
        return PairPoints(replace(points, log_n=log_n), int(is_a.sum()))

    def in_draws(self, counts: Ints) -> tuple[Floats, Floats]:
        """Weight and mean response of each point in draws of runs.

        Args:
            counts: how often each run of A, then B, occurs in each draw, shape ``(draws, runs)``.

        Returns:
            Arrays of shape ``(draws, n)``; weight and response are 0 where a draw has no run.
        """
        weight, total = (part @ counts.T for part in self._preprocessor.by_run())
        return weight.T, np.divide(total, weight, out=np.zeros_like(total), where=weight > 0).T


@dataclass(frozen=True)
class PairedResampling:
    """How runs are drawn: within each size, the same seeds of both recipes where seeds match.

    Attributes:
        a, b: the curves.
        scheme: ``seeds`` or ``sizes``.
        partner: run of A with the size and seed of each run of B, -1 where there is none, shape ``(runs,)``.
    """

    a: Curves
    b: Curves
    scheme: Scheme
    partner: Ints

    @classmethod
    def of(cls, a: Curves, b: Curves) -> PairedResampling:
        """Pair the runs of sizes that both recipes have with the same seeds."""
        schemes = {scheme_for(a), scheme_for(b)}
        scheme: Scheme = "sizes" if "sizes" in schemes else "seeds"
        return cls(a, b, scheme, _partners(a, b))

    @property
    def paired(self) -> bool:
        """Whether every run has its partner."""
        return bool((self.partner >= 0).all()) and len(self.partner) == self.a.num_runs

    @property
    def _independent(self) -> Curves:
        """Runs whose draws are independent: A's if each run of B is drawn with its partner, otherwise all."""
        return self.a if self.paired else _pooled(self.a, self.b, _apart(self.a, self.b))

    @property
    def widening(self) -> float:
        """Factor for few seeds, ``rlscale.analysis.points.resampling.widening``, times ``UNDERSTATED``."""
        return UNDERSTATED * widening(self._independent, self.scheme)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance between seeds, or between sizes if sizes are drawn."""
        seeds = np.bincount(self._independent.size_index)
        return float(len(seeds) - 1 if self.scheme == "sizes" else np.sum(seeds - 1))

    @property
    def seeds(self) -> float:
        """Harmonic mean over sizes of the number of independent runs; of sizes, if sizes are drawn."""
        seeds = np.bincount(self._independent.size_index)
        return float(len(seeds) if self.scheme == "sizes" else 1 / np.mean(1 / seeds))

    def draws(self, count: int, rng: np.random.Generator) -> Ints:
        """How often each run of A, then B, occurs in each draw, shape ``(count, runs)``."""
        there = self.partner >= 0
        found = []
        for _ in range(count):
            mine = resample(self.a, self.scheme, rng)
            theirs = resample(self.b, self.scheme, rng)
            theirs[there] = mine[self.partner[there]]
            found.append(np.concatenate([mine, theirs]))
        return np.array(found)


def _apart(a: Curves, b: Curves) -> float:
    """A factor on B's sizes that makes each larger than all of A's."""
    return float(10 * a.sizes[-1] / b.sizes[0])


def _partners(a: Curves, b: Curves) -> Ints:
    partner = np.full(b.num_runs, -1)
    if "seed" not in a.table or "seed" not in b.table:
        return partner
    seeds_a, seeds_b = (pd.to_numeric(c.table["seed"], errors="coerce").to_numpy(float) for c in (a, b))
    for size in np.intersect1d(a.sizes, b.sizes):
        in_a, in_b = np.flatnonzero(a.run_sizes == size), np.flatnonzero(b.run_sizes == size)
        mine, theirs = seeds_a[in_a], seeds_b[in_b]
        same = sorted(mine) == sorted(theirs) and len(set(mine)) == len(mine) and np.isfinite(mine).all()
        if same:
            partner[in_b] = in_a[np.argsort(mine)][np.argsort(np.argsort(theirs))]
    return partner


def _pooled(a: Curves, b: Curves, factor: float) -> Curves:
    """All runs as one set of curves, B's sizes multiplied by ``factor``."""
    return Curves(
        run_ids=a.run_ids + b.run_ids,
        run_sizes=np.concatenate([a.run_sizes, b.run_sizes * factor]),
        run_index=np.concatenate([a.run_index, b.run_index + a.num_runs]),
        interactions=np.concatenate([a.interactions, b.interactions]),
        returns=np.concatenate([a.returns, b.returns]),
        table=pd.DataFrame(index=pd.RangeIndex(a.num_runs + b.num_runs)),
    )


def _part(points: BinnedPoints, where: slice) -> BinnedPoints:
    weight = points.weight[where]
    return BinnedPoints(
        log_n=points.log_n[where],
        log_e=points.log_e[where],
        returns=points.returns[where],
        smooth_returns=points.smooth_returns[where],
        response=points.response[where],
        weight=weight / weight.sum(),
        size=points.size[where],
        resolution=points.resolution,
    )
