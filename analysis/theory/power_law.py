"""The intrinsic-performance power law, its constants and its optima, in paper order.

Hilton, Tang, Schulman 2023 (arXiv 2301.13442), eq. 1:

    I^-β = (N_c/N)^α_N + (E_c/E)^α_E,        1/β = 1/α_N + 1/α_E

Intrinsic performance I is the least compute C = N·E with which some size of the family
reaches a return. That definition fixes the product N_c·E_c, so three parameters are free.
They are held as

    p = α_E/(α_N + α_E) = ν     exponent of N_opt(C) ∝ C^ν
    k = α_N + α_E               curvature of log I along a line of equal compute
    m = log N_opt(C0)           place of the optimum, at a compute C0 amid the data

for then the lemma "max of I over N·E = C is C" holds whatever their values. The constants
log N_c and log E_c are extrapolations to C = 1 and carry ten times the error of m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from rlscale.analysis.arrays import Floats
from rlscale.scaling.errors import InputError


def log_intrinsic(p: float, k: float, m: float, log_c0: float, log_n: Floats, log_e: Floats) -> Floats:
    """log I(N, E) by eq. 1.

    Args:
        p, k, m: the parameters of this module's head, ``m`` at log compute ``log_c0``.
        log_n, log_e: natural logarithms of parameters and environment steps, any one shape.

    Returns:
        Natural logarithm of intrinsic performance, in units of parameters x environment steps.
    """
    x, y = _log_terms(p, k, m, log_c0, log_n, log_e)
    return log_c0 - np.logaddexp(x, y) / (k * p * (1 - p))


def size_share(p: float, k: float, m: float, log_c0: float, log_n: Floats, log_e: Floats) -> Floats:
    """Share of the size term (N_c/N)^α_N in I^-β, in 0..1; above ``p`` a point is limited by its size."""
    x, y = _log_terms(p, k, m, log_c0, log_n, log_e)
    return np.exp(x - np.logaddexp(x, y))


def log_intrinsic_gradient(
    p: float, k: float, m: float, log_c0: float, log_n: Floats, log_e: Floats
) -> tuple[Floats, Floats]:
    """log I and its derivatives.

    Returns:
        ``log I`` of shape ``(n,)`` and its gradient of shape ``(3, n)`` with respect to
        (logit p, log k, m).
    """
    u, v = log_n - m, log_e - (log_c0 - m)
    x, y = np.log(p) - k * (1 - p) * u, np.log1p(-p) - k * p * v
    total = np.logaddexp(x, y)
    share_n = np.exp(x - total)
    share_e = 1 - share_n
    beta = k * p * (1 - p)
    # d(total)/dp; the outer -1/β has dlog β/dp = (1 - 2p)/(p(1 - p)), dp/dlogit p = p(1 - p).
    d_total_p = share_n * (1 / p + k * u) + share_e * (-1 / (1 - p) - k * v)
    d_logit_p = (-d_total_p * p * (1 - p) + total * (1 - 2 * p)) / beta
    d_log_k = (k * (share_n * (1 - p) * u + share_e * p * v) + total) / beta
    d_m = -(share_n * k * (1 - p) - share_e * k * p) / beta
    return log_c0 - total / beta, np.stack([d_logit_p, d_log_k, d_m])


def _log_terms(
    p: float, k: float, m: float, log_c0: float, log_n: Floats, log_e: Floats
) -> tuple[Floats, Floats]:
    """Logarithms of the two terms of I^-β, both times C0^β."""
    x = np.log(p) - k * (1 - p) * (log_n - m)
    y = np.log1p(-p) - k * p * (log_e - (log_c0 - m))
    return x, y


@dataclass(frozen=True)
class PowerLaw:
    """The law with its three free parameters; everything else is derived.

    Attributes:
        p: ν, within (0, 1).
        k: α_N + α_E, positive.
        m: natural logarithm of N_opt(C0), parameters.
        log_c0: natural logarithm of the reference compute C0, parameters x environment steps.
    """

    p: float
    k: float
    m: float
    log_c0: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.p < 1 and self.k > 0 and np.isfinite(self.m) and np.isfinite(self.log_c0)):
            raise InputError(f"A power law needs 0 < p < 1, k > 0 and a finite m: got {self!r}.")

    @classmethod
    def from_constants(cls, alpha_N: float, alpha_E: float, N_c: float, *, log_c0: float = 0.0) -> PowerLaw:
        """The law with the paper's constants (E_c follows from the lemma).

        Args:
            alpha_N, alpha_E: exponents, positive.
            N_c: parameters, positive.
            log_c0: natural logarithm of the reference compute.
        """
        if not (alpha_N > 0 and alpha_E > 0 and N_c > 0):
            raise InputError("alpha_N, alpha_E and N_c must be positive.")
        k = alpha_N + alpha_E
        p = alpha_E / k
        return cls(p, k, np.log(N_c) - np.log(p) / alpha_N + p * log_c0, log_c0)

    # -- derived constants (lemma) ------------------------------------------------

    @property
    def alpha_N(self) -> float:
        """Exponent of the size term."""
        return self.k * (1 - self.p)

    @property
    def alpha_E(self) -> float:
        """Exponent of the experience term."""
        return self.k * self.p

    @property
    def beta(self) -> float:
        """1/β = 1/α_N + 1/α_E."""
        return self.k * self.p * (1 - self.p)

    @property
    def nu(self) -> float:
        """Exponent of N_opt(C) ∝ C^ν."""
        return self.p

    @property
    def log_N_c(self) -> float:
        """Natural logarithm of N_c, parameters."""
        return float(self.m - self.p * self.log_c0 + np.log(self.p) / self.alpha_N)

    @property
    def log_E_c(self) -> float:
        """Natural logarithm of E_c, environment steps."""
        return float(self.p * self.log_c0 - self.m + np.log1p(-self.p) / self.alpha_E)

    @property
    def N_c(self) -> float:
        """N_c in parameters (infinite where it exceeds a double)."""
        return _exp(self.log_N_c)

    @property
    def E_c(self) -> float:
        """E_c in environment steps (infinite where it exceeds a double)."""
        return _exp(self.log_E_c)

    # -- eq. 1 and its limits -----------------------------------------------------

    def log_intrinsic(self, num_params: ArrayLike, interactions: ArrayLike) -> Floats:
        """log I(N, E), eq. 1; inputs in parameters and environment steps, broadcast together."""
        log_n, log_e = np.broadcast_arrays(
            *(np.log(np.asarray(a, float)) for a in (num_params, interactions))
        )
        return log_intrinsic(self.p, self.k, self.m, self.log_c0, log_n, log_e)

    def intrinsic(self, num_params: ArrayLike, interactions: ArrayLike) -> Floats:
        """I(N, E), eq. 1; never above N·E, and equal to it on the frontier (lemma)."""
        return np.exp(self.log_intrinsic(num_params, interactions))

    def intrinsic_infinite_width(self, interactions: ArrayLike) -> Floats:
        """Limit of I for N → ∞: (E/E_c)^(1 + α_E/α_N)."""
        return np.exp((np.log(np.asarray(interactions, float)) - self.log_E_c) / (1 - self.p))

    def intrinsic_infinite_experience(self, num_params: ArrayLike) -> Floats:
        """Limit of I for E → ∞: (N/N_c)^(1 + α_N/α_E)."""
        return np.exp((np.log(np.asarray(num_params, float)) - self.log_N_c) / self.p)

    def E_inf(self, intrinsic: ArrayLike) -> Floats:
        """Environment steps an infinitely wide agent needs for I: E_c · I^(β/α_E)."""
        return np.exp(self.log_E_c + (1 - self.p) * np.log(np.asarray(intrinsic, float)))

    def N_inf(self, intrinsic: ArrayLike) -> Floats:
        """Parameters an agent with endless experience needs for I: N_c · I^(β/α_N)."""
        return np.exp(self.log_N_c + self.p * np.log(np.asarray(intrinsic, float)))

    @property
    def width_gain(self) -> float:
        """E_opt/E_inf = (1 + α_E/α_N)^(1/α_E), the same for every I: what infinite width saves."""
        return float(np.exp(-np.log1p(-self.p) / self.alpha_E))

    def interactions_for(self, num_params: ArrayLike, intrinsic: ArrayLike) -> Floats:
        """Environment steps with which N parameters reach I; infinite where that size never does."""
        log_s = -self.beta * np.log(np.asarray(intrinsic, float))
        log_x = self.alpha_N * (self.log_N_c - np.log(np.asarray(num_params, float)))
        with np.errstate(divide="ignore", invalid="ignore"):
            log_y = log_s + np.log(-np.expm1(np.minimum(log_x - log_s, 0.0)))
        return np.exp(self.log_E_c - log_y / self.alpha_E)

    # -- optima (lemma) -----------------------------------------------------------

    def N_opt(self, compute: ArrayLike) -> Floats:
        """Compute-optimal parameters: N_c (1 + α_N/α_E)^(1/α_N) C^ν."""
        return np.exp(self.m + self.p * (np.log(np.asarray(compute, float)) - self.log_c0))

    def E_opt(self, compute: ArrayLike) -> Floats:
        """Compute-optimal environment steps, C / N_opt(C)."""
        return np.asarray(compute, float) / self.N_opt(compute)

    # -- cost of the environment --------------------------------------------------

    def optimum_with_env_cost(self, intrinsic: float, env_cost: float) -> tuple[float, float]:
        """(N, E) that reach I at the least cost E·(N + N_e).

        The best N solves (N_c/N)^α_N · [1 + (α_N/α_E)(1 + N_e/N)] = I^-β, whose left side falls
        with N; E then follows from eq. 1.

        Args:
            intrinsic: target I, in parameters x environment steps.
            env_cost: N_e, cost of one environment step in parameters, at least 0.

        Raises:
            InputError: if ``env_cost`` is negative or not finite, or ``intrinsic`` not positive.
        """
        if not (np.isfinite(env_cost) and env_cost >= 0):
            raise InputError(f"The environment's cost must be 0 or more parameters: got {env_cost}.")
        if not (np.isfinite(intrinsic) and intrinsic > 0):
            raise InputError(f"Intrinsic performance must be positive and finite: got {intrinsic}.")
        log_s = -self.beta * np.log(intrinsic)
        ratio = self.alpha_N / self.alpha_E

        def excess(log_n: float) -> float:
            bracket = np.log1p(ratio * (1 + env_cost * np.exp(-log_n)))
            return float(self.alpha_N * (self.log_N_c - log_n) + bracket - log_s)

        low = float(np.log(self.N_opt(intrinsic)))  # an expensive environment only makes N larger
        if env_cost == 0 or excess(low) <= 0:
            best = low
        else:
            high = low + 1.0
            while excess(high) > 0:
                high = low + 2 * (high - low)
            best = float(brentq(excess, low, high, xtol=1e-13, rtol=1e-14))
        return float(np.exp(best)), float(self.interactions_for(np.exp(best), intrinsic))

    def env_cost_overspend(self, intrinsic: float, env_cost: float) -> tuple[float, float]:
        """What ignoring the environment's cost N_e costs at I.

        Returns:
            The best size with it over N_opt(I), and the cost E·(N + N_e) of N_opt(I) over the least one.

        Raises:
            InputError: as ``optimum_with_env_cost``.
        """
        best_n, best_e = self.optimum_with_env_cost(intrinsic, env_cost)
        n, e = float(self.N_opt(intrinsic)), float(self.E_opt(intrinsic))
        return best_n / n, e * (n + env_cost) / (best_e * (best_n + env_cost))


def _exp(value: float) -> float:
    return float(np.exp(value)) if value < 709.0 else float("inf")
