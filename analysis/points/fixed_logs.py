"""Logarithms on a fixed grid, so that a change of unit is an exact shift and no fit depends on it.

The loss of a fit depends on an order and is constant in pieces, so a search compares many losses that are
equal but for rounding. If E is stated in another unit, log E is shifted, the shift rounds every
number differently, and a search ends elsewhere in its flat valley. Multiples of one power of two are
added and subtracted without rounding: as long as logarithms are such multiples, their differences are the
same, bit for bit, in every unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats

#: Steps of the grid in one e-fold: 1.5e-8 of a size or an experience, far below what a fit can resolve, and
#: so far above the rounding of a logarithm that another unit changes the multiple of one number in 10^7.
_STEPS = 2.0**26


def on_grid(values: ArrayLike) -> Floats:
    """The nearest multiples of the grid, the upper one of two; infinities are left.

    ``np.rint`` would take the even one of two, which a shift by an odd multiple changes.
    """
    return np.floor(np.asarray(values, float) * _STEPS + 0.5) / _STEPS


def logs_on_grid(values: Floats) -> Floats:
    """Natural logarithms of positive numbers on the grid; another unit shifts all by the same multiple.

    Args:
        values: shape ``(n,)``.
    """
    unit = float(values.max())
    ratio = values / unit  # of whole numbers, the same in every unit that keeps them whole
    if not ratio.all():  # further apart than a double holds
        return on_grid(np.log(values))
    return np.asarray(on_grid(np.log(ratio)) + on_grid(np.log(unit)))
