"""The share of interactions that is due to the horizon (Hilton, Tang, Schulman 2023, section 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats


def horizon_term(horizon: ArrayLike) -> Floats:
    """x = h - 2 + 1/h, 0 at h = 1."""
    h = np.asarray(horizon, float)
    return h - 2 + 1 / h
