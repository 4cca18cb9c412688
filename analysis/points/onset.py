"""Where learning starts, and whether it starts late: sharply, softly or not at all.

Of each size, runs are averaged in cells of log E, mean returns μ_0, μ_1, … of all rows, early ones too (ranks
in place of returns if these have no noise, so that no increasing function of them changes the gate). With

    s = 1.4826 median|μ_{j+1} - 2 μ_j + μ_{j-1}| / sqrt(6),
    D = range of all returns without 0.5% at each end,

learning has started in the first cell k with μ_k > mean(μ_0 … μ_{k-1}) + max(0.04 D, 4 s); the onset E_on is
in the middle, in log E, between the last row before that cell and its first. The median over sizes speaks for
all.

A power law between N and E bends at no E of its own. A start does: the mean curve over sizes has the slope
b_pre before L = log E_on, b_1 just after it and b_2 later (per e-fold of E). The *gate* is

    sharp    if b_pre/b_1 < 0.2 and b_1/b_2 > 1.15: flat, then fast, then slower;
    soft     if b_pre/b_1 < 0.35 after a long flat stretch;
    none     otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.points.fixed_logs import on_grid
from rlscale.analysis.points.sorted_rows import SortedRows, bin_numbers
from rlscale.analysis.theory.delay import DelayKind

#: Width in log E of the cells in which the runs of a size are averaged.
CELL = 0.1
_RISE, _RISE_NOISE = 0.04, 4.0  # above the flat stretch: of the range of returns, of the noise of a cell
#: Ends, in log E from the onset, of the stretches before, after and later.
_BEFORE, _AFTER, _LATER = (-1.1, -0.1), (-0.1, 0.405), (0.405, 1.1)
_SHARP_FLAT, _SHARP_BEFORE = 0.2, 0.08  # e-folds that the flat stretch and its measured part must have
_SHARP_RATIO, _SHARP_BEND = 0.2, 1.15
_SOFT_FLAT, _SOFT_RATIO = 1.0, 0.25


@dataclass(frozen=True)
class Start:
    """Where the curves of a sweep start to rise.

    Attributes:
        gate: ``none``, ``sharp`` or ``soft``: how the fit treats the start.
        interactions: E_on, the median over sizes; not a number if most sizes never rise.
        by_size: E_on of each size, shape ``(sizes,)``; not a number where it never rises.
        flat: median over sizes of the flat stretch before the onset, in e-folds of E.
        slopes: (b_pre, b_1, b_2) of the mean curve in returns per e-fold; not a number without rows there.
    """

    gate: DelayKind
    interactions: float
    by_size: Floats
    flat: float
    slopes: tuple[float, float, float]


def find_start(rows: SortedRows, response: Floats) -> Start:
    """The start of the curves and the gate.

    Args:
        rows: all rows, early ones too.
        response: return of each row, or an increasing function of it, shape ``(rows,)``.
    """
    cells = _cells_by_size(rows, response)
    span = float(np.subtract(*np.quantile(response, [0.995, 0.005])))
    onsets = np.array([_onset(size, span) for size in cells])  # (sizes, 2): log E_on, flat
    found = np.isfinite(onsets[:, 0])
    if found.sum() <= len(cells) / 2:
        nan = float("nan")
        return Start("none", nan, np.exp(onsets[:, 0]), nan, (nan, nan, nan))
    log_on, flat = (float(value) for value in on_grid(np.median(onsets[found], axis=0)))
    slopes = _slopes(cells, log_on)
    first = float(np.median([size.log_e[0] for size in cells]))
    return Start(
        gate=_gate(flat, log_on - first, slopes),
        interactions=float(np.exp(log_on)),
        by_size=np.exp(onsets[:, 0]),
        flat=flat,
        slopes=slopes,
    )


@dataclass(frozen=True)
class _Cells:
    """One size: mean response and log E of each cell that has rows, with its first and its last row."""

    log_e: Floats
    mean: Floats
    first: Floats
    last: Floats


def _cells_by_size(rows: SortedRows, response: Floats) -> list[_Cells]:
    sizes = len(np.unique(rows.size_of_run))
    size = rows.size_of_run[rows.run]
    cell = bin_numbers(rows.log_e, float(rows.log_e.min()), CELL)
    width = int(cell.max()) + 1
    key = size * width + cell
    count = np.bincount(key, minlength=sizes * width)
    first, last = np.full(len(count), np.inf), np.full(len(count), -np.inf)
    np.minimum.at(first, key, rows.log_e)
    np.maximum.at(last, key, rows.log_e)
    with np.errstate(invalid="ignore"):
        mean_e = np.bincount(key, weights=rows.log_e, minlength=len(count)) / count
        mean = np.bincount(key, weights=response, minlength=len(count)) / count
    found = []
    for start in range(0, sizes * width, width):
        there = np.flatnonzero(count[start : start + width]) + start
        found.append(_Cells(mean_e[there], mean[there], first[there], last[there]))
    return found


def _onset(size: _Cells, span: float) -> tuple[float, float]:
    """(log E_on, flat stretch in e-folds); not a number if the size never rises above its start."""
    mean = size.mean
    bend = np.abs(mean[2:] - 2 * mean[1:-1] + mean[:-2])
    noise = 1.4826 * float(np.median(bend)) / np.sqrt(6) if len(bend) else 0.0
    before = np.cumsum(mean)[:-1] / np.arange(1, len(mean))
    risen = mean[1:] > before + max(_RISE * span, _RISE_NOISE * noise)
    if not risen.any():
        return float("nan"), float("nan")
    k = int(risen.argmax()) + 1
    return 0.5 * float(size.last[k - 1] + size.first[k]), float(size.last[k - 1] - size.first[0])


def _slopes(cells: list[_Cells], log_on: float) -> tuple[float, float, float]:
    """Slopes of the mean curve over sizes before, after and later than the onset."""
    start = max(log_on + _BEFORE[0], float(np.median([size.log_e[0] for size in cells])))

    def slope(low: float, high: float) -> float:
        if high - low < _SHARP_BEFORE:
            return float("nan")
        ends = [np.interp([low, high], size.log_e, size.mean) for size in cells]
        return float(np.subtract(*np.mean(ends, axis=0)[::-1]) / (high - low))

    return (
        slope(start, log_on + _BEFORE[1]),
        slope(log_on + _AFTER[0], log_on + _AFTER[1]),
        slope(log_on + _LATER[0], log_on + _LATER[1]),
    )


def _gate(flat: float, before: float, slopes: tuple[float, float, float]) -> DelayKind:
    """The gate by the flat stretch, the stretch before the onset that has rows, and the three slopes."""
    b_pre, b1, b2 = slopes
    if (
        flat >= _SHARP_FLAT
        and before >= _SHARP_BEFORE
        and b_pre < _SHARP_RATIO * b1
        and b1 > _SHARP_BEND * b2
    ):
        return "sharp"
    return "soft" if b_pre < _SOFT_RATIO * b1 and flat > _SOFT_FLAT else "none"
