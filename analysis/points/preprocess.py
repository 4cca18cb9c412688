"""From raw curves to the points of a fit: drop early training, bin in log E, average seeds.

* **Early training.** A point is dropped if its E is below ``early_exclusion`` times the longest run *of
  its size*. Sizes of one sweep may train for very different times: a share of the longest run of
  all would remove short sizes altogether, and a share of each single run would make the cut
  depend on when each seed was stopped.
* **A late start.** Rows before it are dropped too (``rlscale.analysis.points.onset``).
* **Weights.** The weight of a point is the width of log E around it (trapezoid widths), cut at the start:
  the paper's weight 1/E for evenly spaced points, and correct for any spacing. Runs of one size share
  one weight, so a size with more seeds counts no more than one with fewer.
* **Bins.** Within a size, points of all its seeds that fall in one bin of log E are averaged, in E as in
  return. The average is centred: unlike a moving average over the past it shifts no curve to
  the right. The cost of a fit does not depend on how often returns were logged.
* **Smoothing**, only for the paper's objective, which noise in the return biases: a local quadratic
  over a window of log E centred on each bin, whose error is of third order in the width.
* **Response.** The default objective explains the weighted mid-rank of a return among all, in units of its
  own noise (``rlscale.analysis.points.noise_scale``). Ranks are taken before any averaging, so an increasing
  function of all returns does not change them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rlscale.analysis.arrays import Bools, Floats, Ints
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.points.fixed_logs import logs_on_grid, on_grid
from rlscale.analysis.points.noise_scale import noise_units
from rlscale.analysis.points.sorted_rows import SortedRows
from rlscale.analysis.theory.delay import Delay

EARLY_EXCLUSION = 1 / 64
#: A curved return averaged over a bin is not the return at its middle; at 0.02 that moves exponents of
#: noise-free curves by less than 1e-3, at 0.1 by up to 7e-3.
BIN_WIDTH = 0.02
SMOOTHING = 0.3


@dataclass(frozen=True)
class BinnedPoints:
    """Averaged points of all sizes, arrays of shape ``(n,)`` ordered by size, then E.

    Attributes:
        log_n, log_e: natural logarithms of size and environment steps, on the grid of
            ``rlscale.analysis.points.fixed_logs``.
        returns: mean return over the seeds of a size.
        smooth_returns: the same, smoothed along the curve.
        response: mean over the seeds of the rank of the return, in units of its noise.
        resolution: difference of responses within the noise: 1 in units of noise, 0 without noise.
        weight: sums to 1.
        size: position of the size among the sizes of the curves.
    """

    log_n: Floats
    log_e: Floats
    returns: Floats
    smooth_returns: Floats
    response: Floats
    weight: Floats
    size: Ints
    resolution: float = 0.0

    def counted(self, delay: Delay) -> BinnedPoints:
        """The points with the experience that counts, E' of ``rlscale.analysis.theory.delay``, as E."""
        if not delay:
            return self
        start = float(on_grid(np.log(delay.steps)))
        return replace(self, log_e=on_grid(replace(delay, steps=1.0).log_counted(self.log_e - start)) + start)

    def only(self, kept: Bools) -> BinnedPoints:
        """The points that are ``kept``, shape ``(n,)``, their weights summing to 1 again."""
        fields = ("log_n", "log_e", "returns", "smooth_returns", "response", "size")
        weight = self.weight[kept]
        chosen = {name: getattr(self, name)[kept] for name in fields}
        return replace(self, **chosen, weight=weight / weight.sum())


class Preprocessor:
    """Sorts and bins once; a draw of the bootstrap then only changes weights."""

    def __init__(
        self,
        curves: Curves,
        *,
        early_exclusion: float = EARLY_EXCLUSION,
        bin_width: float = BIN_WIDTH,
        smoothing: float = SMOOTHING,
        not_before: float = 0.0,
        rows: SortedRows | None = None,
    ) -> None:
        """Prepare.

        Args:
            curves: left unchanged.
            early_exclusion: share of the longest run of a size that is dropped from its start, in [0, 1).
            bin_width: width of a bin in the natural logarithm of E.
            smoothing: full width of the smoothing window in the natural logarithm of E; 0 for none.
            not_before: E in environment steps before which rows are dropped besides, for a late start.
            rows: of these curves, from another preprocessor of them, to save sorting again.
        """
        self.rows = rows if rows and rows.bin_width == bin_width else SortedRows.of(curves, bin_width)
        self._smoothing = smoothing
        self.sizes = curves.sizes
        self._log_n = logs_on_grid(self.sizes)
        self._runs_per_size = np.bincount(self.rows.size_of_run)
        self._log_exclusion = float(on_grid(np.log(early_exclusion))) if early_exclusion > 0 else -np.inf
        self._log_not_before = float(on_grid(np.log(not_before))) if not_before > 0 else -np.inf
        self._whole = self._weight(np.ones(curves.num_runs, dtype=np.int64))
        self._ranks, self._response, self._resolution = self._noise_units()

    @property
    def start_response(self) -> Floats:
        """What a late start is looked for in, shape ``(rows,)``: returns, or their ranks without noise."""
        return self.rows.returns if self._resolution else self._ranks

    @property
    def response(self) -> Floats:
        """The response of each of ``rows``, shape ``(rows,)``."""
        return self._response

    @property
    def used(self) -> Bools:
        """Which of ``rows`` lie after early training, shape ``(rows,)``."""
        return self._whole > 0

    def points(self, counts: Ints | None = None, *, smooth: bool = True) -> BinnedPoints:
        """The points with run ``i`` repeated ``counts[i]`` times (once each by default).

        Without ``smooth`` the smoothed returns equal the plain ones, which saves most of the time.
        """
        weight = self._whole if counts is None else self._weight(counts)
        total = np.bincount(self.rows.bin, weights=weight).astype(float)
        kept = total > 0

        def averaged(values: Floats) -> Floats:
            return np.asarray(np.bincount(self.rows.bin, weights=weight * values)[kept] / total[kept])

        size = self.rows.bin_size[kept]
        first = float(self.rows.log_e.min())
        log_e, returns = on_grid(averaged(self.rows.log_e - first)) + first, averaged(self.rows.returns)
        return BinnedPoints(
            log_n=self._log_n[size],
            log_e=log_e,
            returns=returns,
            smooth_returns=_smoothed(log_e, returns, total[kept], size, self._smoothing if smooth else 0.0),
            response=averaged(self._response),
            weight=total[kept] / total.sum(),
            size=size,
            resolution=self._resolution,
        )

    def by_run(self) -> tuple[Floats, Floats]:
        """Weight of each run in each bin of ``points()``, and that weight times its mean response there.

        Sums over runs, some of them counted several times, are the bins of a draw of runs, with the cut of
        early training of all runs. Shape ``(n, runs)`` each, unnormalised.
        """
        runs = len(self.rows.size_of_run)
        shape = (len(self.rows.bin_size), runs)
        cell = self.rows.bin * runs + self.rows.run
        weight = np.bincount(cell, weights=self._whole, minlength=shape[0] * shape[1]).reshape(shape)
        response = np.bincount(cell, weights=self._whole * self._response, minlength=weight.size).reshape(
            shape
        )
        kept = weight.sum(axis=1) > 0
        return weight[kept], response[kept]

    def _weight(self, counts: Ints) -> Floats:
        """Width of log E around each row, divided by the number of runs of its size; 0 before the cut."""
        rows = self.rows
        last = np.full(len(self._log_n), -np.inf)
        np.maximum.at(last, rows.size_of_run, np.where(counts > 0, rows.end_of_run, -np.inf))
        start = np.maximum(last + self._log_exclusion, self._log_not_before)[rows.size_of_run][rows.run]
        # Rounding in the logarithms must not drop a point that lies on the cut.
        late = rows.log_e >= start - 1e-12
        np.maximum(rows.left, start, out=start)
        weight = np.subtract(rows.right, start, out=start)
        weight *= late
        weight *= (counts / self._runs_per_size[rows.size_of_run])[rows.run]
        return weight

    def _noise_units(self) -> tuple[Floats, Floats, float]:
        """Mid-rank of each return among all that are used, the rank in units of its noise, and 1.

        Without noise the rank once more, and 0.
        """
        ranks = self.rows.mid_ranks(self._whole)
        units = noise_units(self.rows, ranks, self._whole > 0)
        return (ranks, ranks, 0.0) if units is None else (ranks, units, 1.0)


def _smoothed(log_e: Floats, values: Floats, weight: Floats, size: Ints, window: float) -> Floats:
    """Local quadratic in log E at each point of each size, by moments summed over the window.

    A window with fewer than five points is left unchanged, because a quadratic would only copy it.
    """
    if window <= 0:
        return values
    # Offsetting each size beyond the others' reach lets one search serve all sizes.
    key = (log_e - log_e.min()) + size * (np.ptp(log_e) + 2 * window)
    first = np.searchsorted(key, key - window / 2, side="left")
    stop = np.searchsorted(key, key + window / 2, side="right")
    reach = int((stop - first).max())
    index = first[:, None] + np.arange(reach)  # (n, reach)
    inside = index < stop[:, None]
    index = np.minimum(index, len(key) - 1)
    w = np.where(inside, weight[index], 0.0)
    x = (key[index] - key[:, None]) / (window / 2)  # within -1..1
    m0, m1, m2, m3, m4 = (np.einsum("ij,ij->i", w, x**power) for power in range(5))
    # First row of the inverse of the 3 x 3 moment matrix, times its determinant.
    c0, c1, c2 = m2 * m4 - m3 * m3, m2 * m3 - m1 * m4, m1 * m3 - m2 * m2
    determinant = m0 * c0 + m1 * c1 + m2 * c2
    enough = (stop - first >= 5) & (determinant > 1e-9 * m0**3)
    kernel = w * (c0[:, None] + c1[:, None] * x + c2[:, None] * x * x)
    fitted = np.einsum("ij,ij->i", kernel, values[index])
    return np.where(enough, fitted / np.where(enough, determinant, 1.0), values)
