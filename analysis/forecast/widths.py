"""The width of a model of a given size, by the widths of the sizes of a sweep."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats

_DIGITS = 3


def width_of(size: float, sizes: ArrayLike, widths: ArrayLike) -> float | None:
    """The width whose model has about ``size`` parameters; None if the sweep's sizes have no widths.

    A size of the sweep has its own width. Others are on straight lines in logarithms between neighbours,
    beyond the ends on the line of the nearest two sizes, rounded to three significant digits.

    Args:
        sizes: N of the sweep, ascending, shape ``(n,)``.
        widths: of these sizes, shape ``(n,)`` or empty.
    """
    n, w = np.asarray(sizes, float), np.asarray(widths, float)
    if len(w) < 2:
        return None
    own = np.flatnonzero(np.isclose(n, size, rtol=1e-6))
    if len(own):
        return float(w[own[0]])
    x, y = np.log(n), np.log(w)
    left = int(np.clip(np.searchsorted(x, np.log(size)) - 1, 0, len(x) - 2))
    slope: Floats = np.diff(y) / np.diff(x)
    return float(f"{np.exp(y[left] + slope[left] * (np.log(size) - x[left])):.{_DIGITS}g}")
