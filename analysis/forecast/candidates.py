"""The runs that could be done next: sizes of the sweep and a little beyond, lengths in factors of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.design import Group

Side = Literal["small", "large"]

_REACH = np.log(10.0)  # how far beyond the largest measured I a run may go: h is a guess there
_LEAST_SIZE = 1.0  # parameter
_NEW_SIZES = (2, 3)  # below the sweep's smallest and above its largest


def candidate_groups(fit: FitResult, measured: Sequence[Group]) -> list[Group]:
    """Groups to choose from; of a fit that is not identified, only those that would show the optimum.

    Args:
        fit: with a bootstrap.
        measured: its runs by size, from ``measured_groups``.
    """
    sizes = np.array([group.size for group in measured])
    lengths = np.array([group.length for group in measured])
    ratio = float(np.clip(np.exp(np.median(np.diff(np.log(sizes)))), 1.5, 4.0))
    below = [size for i in range(1, _NEW_SIZES[0] + 1) if (size := sizes[0] / ratio**i) >= _LEAST_SIZE]
    above = [sizes[-1] * ratio**i for i in range(1, _NEW_SIZES[1] + 1)]
    usual = max(int(np.median([group.seeds for group in measured])), 2)
    grid = lengths.max() * 2.0 ** np.arange(-np.ceil(np.log2(lengths.max() / lengths.min())) - 2, 7)
    highest = float(np.log(fit.points.intrinsic).max()) + _REACH
    side = None if fit.identified else missing_side(fit)
    found = []
    for size in [*sorted(below), *sizes, *above]:
        known = np.flatnonzero(sizes == size)
        own = lengths[known[0]] if len(known) else None
        for length in grid if own is None else own * 2.0 ** np.arange(-2, 7):
            # Seeds of runs that exist already may come one at a time; others need a spread of their own.
            same = own is not None and np.isclose(length, own)
            group = Group(float(size), float(length), 1 if same else usual)
            within = fit.law.log_intrinsic(np.log(group.size), np.log(group.length)) <= highest
            if within and _shows(side, group, sizes, own):
                found.append(group)
    return found


def missing_side(fit: FitResult) -> Side:
    """Which sizes would show the optimum: small ones past theirs, or large ones short of theirs."""
    return "large" if fit.size_limited_share > 0.5 else "small"


def _shows(side: Side | None, group: Group, sizes: Floats, own: float | None) -> bool:
    """Whether a group lies on the side where the optimum is missing; ``own`` is the length of its size."""
    if side is None:
        return True
    middle = float(np.median(sizes))
    if side == "large":
        return group.size > middle
    return group.size <= middle and (own is None or group.length > own * 1.01)
