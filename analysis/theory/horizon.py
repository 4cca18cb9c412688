"""How interactions grow with the horizon h of the return (Hilton, Tang, Schulman 2023, on the horizon).

With exact values and γ = 1 - 2/(h + 1), returns beyond the current step add noise to the policy gradient of a
bandit, of variance σ²γ²/(1 - γ²) = (σ²/4)(h - 2 + 1/h). So the interactions to a fixed return are affine in
x = h - 2 + 1/h:

    E(h) = a + b x = a (1 + κ x),        κ = b/a

and N_c(h) = N_c m^-ν, E_c(h) = E_c m^ν with m(h) = 1 + κ x: the exponent ν stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats


def horizon_term(horizon: ArrayLike) -> Floats:
    """x = h - 2 + 1/h, 0 at h = 1.

    Args:
        horizon: h in environment steps, at least 1.
    """
    h = np.asarray(horizon, float)
    return h - 2 + 1 / h


def log_growth(horizon_terms: ArrayLike, log_kappa: ArrayLike, power: float = 1.0) -> Floats:
    """log m = log(1 + κ x^q), 0 at x = 0; q = 1 is the proposition.

    Args:
        horizon_terms: x of ``horizon_term``, at least 0.
        log_kappa: natural logarithm of κ.
        power: q.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(np.logaddexp(0.0, log_kappa + power * np.log(np.asarray(horizon_terms, float))))
