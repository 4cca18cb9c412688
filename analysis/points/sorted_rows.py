"""The rows of curves in ascending order of return, with everything that a cut of early training leaves alone.

In that order ranks are running sums and the map to units of noise is one pass. Another cut, or a draw of the
bootstrap, then costs a few passes over the rows; sorting, the most expensive step, happens once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlscale.analysis.arrays import Bools, Floats, Ints
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.points.fixed_logs import logs_on_grid


@dataclass(frozen=True)
class SortedRows:
    """Rows in ascending order of return: arrays of shape ``(rows,)`` unless stated.

    Attributes:
        bin_width: of the bins, in the natural logarithm of E.
        run: run of each row.
        log_e: natural logarithm of the environment steps, as ``rlscale.analysis.points.fixed_logs`` gives it.
        left, right: ends of the interval of log E around a row, which is its weight.
        returns: ascending.
        ties: first row of each distinct return, shape ``(distinct,)``; None if no two are equal.
        bin: bin of each row, numbered from 0 by size, then by log E.
        bin_size: position of the size of each bin, shape ``(bins,)``.
        size_of_run: position of the size of each run, shape ``(runs,)``.
        end_of_run: log E of the last row of each run, shape ``(runs,)``.
    """

    bin_width: float
    run: Ints
    log_e: Floats
    left: Floats
    right: Floats
    returns: Floats
    ties: Ints | None
    bin: Ints
    bin_size: Ints
    size_of_run: Ints
    end_of_run: Floats

    @classmethod
    def of(cls, curves: Curves, bin_width: float) -> SortedRows:
        """Sort the rows of ``curves`` and number their bins of width ``bin_width``."""
        log_e = logs_on_grid(curves.interactions)
        left, right = _cells(log_e, curves.run_index, bin_width)
        last = np.searchsorted(curves.run_index, np.arange(curves.num_runs), side="right") - 1
        order = np.argsort(curves.returns, kind="stable")
        returns = curves.returns[order]
        new = np.append(True, returns[1:] != returns[:-1])
        run, sorted_log_e = curves.run_index[order], log_e[order]
        # Counted from the first point, so the unit of E does not matter.
        start = float(log_e.min())
        span = int(bin_numbers(log_e.max(keepdims=True), start, bin_width)[0]) + 1
        keys = bin_numbers(sorted_log_e, start, bin_width)
        keys += (curves.size_index * span)[run]
        distinct, bins = grouped(keys, len(curves.sizes) * span)
        return cls(
            bin_width=bin_width,
            run=run,
            log_e=sorted_log_e,
            left=left[order],
            right=right[order],
            returns=returns,
            ties=None if new.all() else np.flatnonzero(new),
            bin=bins,
            bin_size=distinct // span,
            size_of_run=curves.size_index,
            end_of_run=log_e[last],
        )

    def mid_ranks(self, weight: Floats) -> Floats:
        """Weighted mid-rank of each return among all, in 0..1; equal returns have equal ranks."""
        below = np.cumsum(weight)
        total = below[-1]
        if self.ties is None:
            below -= 0.5 * weight
            below /= total
            return below
        stops = np.append(self.ties[1:], len(weight))
        upto = below[stops - 1]
        middle = 0.5 * (upto + np.append(0.0, upto[:-1])) / total
        return np.repeat(middle, stops - self.ties)


def bin_numbers(log_e: Floats, start: float, width: float) -> Ints:
    """Bin of each value in bins of ``width`` from ``start``, 0 for values below; 1e-9 absorbs rounding."""
    position = log_e - start
    position /= width
    position += 1e-9
    return np.maximum(position, 0, out=position).astype(np.int64)


def grouped(keys: Ints, bound: int) -> tuple[Ints, Ints]:
    """``np.unique(keys, return_inverse=True)`` of whole numbers below ``bound``, by counting, not sorting."""
    if _sparse(keys, bound):
        distinct, index = np.unique(keys, return_inverse=True)
        return distinct, index
    there = np.bincount(keys, minlength=bound) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[keys]


def group_means(keys: Ints, bound: int, values: Floats, used: Bools) -> tuple[Ints, Floats]:
    """Distinct keys of the rows that are used, whole numbers below ``bound``, and the mean value of each."""
    if _sparse(keys, bound):
        distinct, keys = np.unique(keys, return_inverse=True)
    else:
        distinct = np.arange(bound)
    number = np.bincount(keys, weights=used, minlength=len(distinct))
    total = np.bincount(keys, weights=values * used, minlength=len(distinct))
    there = number > 0
    return distinct[there], total[there] / number[there]


def _sparse(keys: Ints, bound: int) -> bool:
    """Whether there are so many possible keys that sorting costs less than counting."""
    return bound > 4 * len(keys) + 1_000_000


def _cells(log_e: Floats, run: Ints, bin_width: float) -> tuple[Floats, Floats]:
    """The interval of log E around each point: halfway to its neighbours in the run."""
    middle = 0.5 * (log_e[1:] + log_e[:-1])
    same = run[1:] == run[:-1]
    left, right = log_e.copy(), log_e.copy()
    left[1:] = np.where(same, middle, log_e[1:])
    right[:-1] = np.where(same, middle, log_e[:-1])
    alone = right <= left  # a run of one point
    left[alone] -= bin_width / 2
    right[alone] += bin_width / 2
    return left, right
