"""The intrinsic-performance power law, its constants and its optima, in paper order.

Hilton, Tang, Schulman 2023 (arXiv 2301.13442), eq. 1:

    I^-β = (N_c/N)^α_N + (E_c/E)^α_E,        1/β = 1/α_N + 1/α_E

Intrinsic performance I is the least compute C = N·E with which some size of the family
reaches a return. That definition fixes the product N_c·E_c, so three parameters are free.
They are held as

    ν = α_E/(α_N + α_E)         exponent of N_opt(C) ∝ C^ν
    k = α_N + α_E               curvature of log I along a line of equal compute
    m = log N_opt(C0)           place of the optimum, at a compute C0 within the data

because the lemma "max of I over N·E = C is C" then holds for all their values. The constants
log N_c and log E_c are extrapolations to C = 1 and have ten times the error of m.

A search moves θ = (logit ν, log k, m), which has no bounds. N, E, C and I span many decades, so the
arithmetic is in their natural logarithms (``log_*``); methods with plain names take and give the
quantities themselves.

If learning starts late (``rlscale.analysis.theory.delay``), E' of the interactions E count in eq. 1, and with
g = d log E'/d log E the optimum of a compute C = N·E solves

    α_N (N_c/N)^α_N = α_E (E_c/E')^α_E g(E)

so N_opt(C) is no longer a power of C, though it nears one as E exceeds the delay. The constants, ν, k and m
are those of the law between N and E'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit, logit

from rlscale.analysis.arrays import Bools, Floats
from rlscale.analysis.theory.delay import NO_DELAY, Delay
from rlscale.analysis.theory.quantities import check_quantity
from rlscale.scaling.errors import InputError

#: Of the bracket about an optimum of a delayed law: 20 e-folds become 6e-7, and a line within them is exact.
_REFINEMENTS = 5
_DOUBLINGS = 8  # of its half-width, from an e-fold: no optimum lies further from the delay
_UNIT_GRID = np.linspace(0.0, 1.0, 33)


@dataclass(frozen=True)
class PowerLaw:
    """The law with its three free parameters; everything else is derived.

    Attributes:
        nu: ν, within (0, 1).
        k: α_N + α_E, positive.
        m: natural logarithm of N_opt(C0) without the delay, parameters.
        log_c0: natural logarithm of the reference compute C0, parameters x environment steps.
        delay: of learning.

    Raises:
        InputError: if the parameters make no law (code ``invalid_law``).
    """

    nu: float
    k: float
    m: float
    log_c0: float = 0.0
    delay: Delay = NO_DELAY

    def __post_init__(self) -> None:
        if not (0 < self.nu < 1 and self.k > 0 and math.isfinite(self.m) and math.isfinite(self.log_c0)):
            raise InputError(
                f"A power law needs 0 < nu < 1, k > 0 and a finite m: got {self!r}.", code="invalid_law"
            )

    # -- coordinates --------------------------------------------------------------

    @classmethod
    def from_theta(cls, theta: Floats, log_c0: float, delay: Delay = NO_DELAY) -> PowerLaw:
        """The law at θ = (logit ν, log k, m), shape ``(3,)``, with m at log compute ``log_c0``."""
        return cls(float(expit(theta[0])), float(np.exp(theta[1])), float(theta[2]), log_c0, delay)

    @property
    def theta(self) -> Floats:
        """θ = (logit ν, log k, m), shape ``(3,)``."""
        return np.array([logit(self.nu), np.log(self.k), self.m])

    @classmethod
    def from_constants(cls, alpha_N: float, alpha_E: float, N_c: float, *, log_c0: float = 0.0) -> PowerLaw:
        """The law with the paper's constants (E_c follows from the lemma).

        Args:
            alpha_N, alpha_E: exponents, positive.
            N_c: parameters, positive.
            log_c0: natural logarithm of the reference compute.

        Raises:
            InputError: if a constant is not positive (code ``invalid_law``).
        """
        if not (alpha_N > 0 and alpha_E > 0 and N_c > 0):
            raise InputError("alpha_N, alpha_E and N_c must be positive.", code="invalid_law")
        k = alpha_N + alpha_E
        nu = alpha_E / k
        return cls(nu, k, np.log(N_c) - np.log(nu) / alpha_N + nu * log_c0, log_c0)

    @classmethod
    def from_optimum(
        cls, nu: float, k: float, *, N_opt: float, compute: float, delay: Delay = NO_DELAY
    ) -> PowerLaw:
        """The law with ν and k whose optimal size at ``compute`` is ``N_opt``: what a fit's JSON holds."""
        log_n, log_c0 = float(np.log(N_opt)), float(np.log(compute))
        if not delay:
            return cls(nu, k, log_n, log_c0)
        log_e = log_c0 - log_n
        shift = nu * (log_c0 - delay.log_counted(log_e)) + delay.log_slope(log_e) / k
        return cls(nu, k, float((1 - nu) * log_n + shift), log_c0, delay)

    def stated_at(self, log_c0: float) -> PowerLaw:
        """The same law with m at another log compute."""
        return replace(self, m=float(self.without_delay().log_N_opt(log_c0)), log_c0=log_c0)

    def without_delay(self) -> PowerLaw:
        """The law between N and the interactions that count."""
        return replace(self, delay=NO_DELAY) if self.delay else self

    # -- derived constants (lemma) ------------------------------------------------

    @property
    def alpha_N(self) -> float:
        """Exponent of the size term."""
        return self.k * (1 - self.nu)

    @property
    def alpha_E(self) -> float:
        """Exponent of the experience term."""
        return self.k * self.nu

    @property
    def beta(self) -> float:
        """1/β = 1/α_N + 1/α_E."""
        return self.k * self.nu * (1 - self.nu)

    @property
    def log_N_c(self) -> float:
        """Natural logarithm of N_c, parameters."""
        return float(self.m - self.nu * self.log_c0 + np.log(self.nu) / self.alpha_N)

    @property
    def log_E_c(self) -> float:
        """Natural logarithm of E_c, environment steps."""
        return float(self.nu * self.log_c0 - self.m + np.log1p(-self.nu) / self.alpha_E)

    @property
    def N_c(self) -> float:
        """N_c in parameters (infinite where it exceeds a double)."""
        return _exp(self.log_N_c)

    @property
    def E_c(self) -> float:
        """E_c in environment steps (infinite where it exceeds a double)."""
        return _exp(self.log_E_c)

    def estimates(self) -> dict[str, float]:
        """Everything that gets an interval; ``N_opt_ref`` is N_opt(C0)."""
        return {
            "alpha_N": self.alpha_N,
            "alpha_E": self.alpha_E,
            "beta": self.beta,
            "nu": self.nu,
            "N_c": self.N_c,
            "E_c": self.E_c,
            "log10_N_c": self.log_N_c / float(np.log(10)),
            "log10_E_c": self.log_E_c / float(np.log(10)),
            "N_opt_ref": float(np.exp(self.log_N_opt(self.log_c0) if self.delay else self.m)),
        }

    # -- eq. 1 and its limits -----------------------------------------------------

    def log_intrinsic(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """log I(N, E) by eq. 1.

        Args:
            log_n, log_e: natural logarithms of parameters and environment steps, broadcast together.

        Returns:
            Natural logarithm of I, in units of parameters x environment steps; minus infinity before a
            sharp start.
        """
        return np.asarray(self.log_c0 + self.log_relative_intrinsic(log_n, log_e))

    def log_relative_intrinsic(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """log I(N, E) - log C0, which no unit of N and E changes; arguments as for ``log_intrinsic``."""
        x, y = self._log_terms(np.asarray(log_n, float), np.asarray(log_e, float))
        return np.asarray(-np.logaddexp(x, y) / self.beta)

    def size_share(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """Share of the size term (N_c/N)^α_N in I^-β, in 0..1."""
        x, y = self._log_terms(np.asarray(log_n, float), np.asarray(log_e, float))
        return np.asarray(np.exp(x - np.logaddexp(x, y)))

    def limited_by_size(self, log_n: ArrayLike, log_e: ArrayLike) -> Bools:
        """Whether more experience helps less than more parameters: the size term's share is above ν.

        With a delay, above ν g/(1 - ν + ν g): interactions before the start are spent already.
        """
        share, bound = self.size_share(log_n, log_e), np.asarray(self.nu)
        if self.delay:
            gain = np.exp(-self.delay.log_slope(np.asarray(log_e, float)))  # 1/g
            bound = self.nu / ((1 - self.nu) * gain + self.nu)
        return np.asarray(share > bound)

    def log_intrinsic_gradient(self, log_n: Floats, log_e: Floats) -> tuple[Floats, Floats]:
        """log I and its derivatives.

        Args:
            log_n, log_e: shape ``(n,)``.

        Returns:
            ``log I`` of shape ``(n,)`` and its gradient of shape ``(3, n)`` with respect to θ.
        """
        p, k = self.nu, self.k
        u, v = log_n - self.m, self.delay.log_counted(log_e) - (self.log_c0 - self.m)
        x, y = np.log(p) - k * (1 - p) * u, np.log1p(-p) - k * p * v
        total = np.logaddexp(x, y)
        share_n = np.exp(x - total)
        share_e = 1 - share_n
        beta = self.beta
        # d(total)/dν; the outer -1/β has dlog β/dν = (1 - 2ν)/(ν(1 - ν)), dν/dlogit ν = ν(1 - ν).
        d_total_p = share_n * (1 / p + k * u) + share_e * (-1 / (1 - p) - k * v)
        d_logit_p = (-d_total_p * p * (1 - p) + total * (1 - 2 * p)) / beta
        d_log_k = (k * (share_n * (1 - p) * u + share_e * p * v) + total) / beta
        d_m = -(share_n * k * (1 - p) - share_e * k * p) / beta
        return self.log_c0 - total / beta, np.stack([d_logit_p, d_log_k, d_m])

    def _log_terms(self, log_n: Floats, log_e: Floats) -> tuple[Floats, Floats]:
        """Logarithms of the two terms of I^-β, both times C0^β."""
        x = np.log(self.nu) - self.k * (1 - self.nu) * (log_n - self.m)
        counted = self.delay.log_counted(log_e)
        y = np.log1p(-self.nu) - self.k * self.nu * (counted - (self.log_c0 - self.m))
        return x, y

    def intrinsic(self, num_params: ArrayLike, interactions: ArrayLike) -> Floats:
        """I(N, E), eq. 1, inputs broadcast; never above N·E', and equal to it on its frontier (lemma)."""
        return np.exp(self.log_intrinsic(_log(num_params), _log(interactions)))

    def intrinsic_infinite_width(self, interactions: ArrayLike) -> Floats:
        """Limit of I for N → ∞: (E/E_c)^(1 + α_E/α_N)."""
        return np.exp((self.delay.log_counted(_log(interactions)) - self.log_E_c) / (1 - self.nu))

    def intrinsic_infinite_experience(self, num_params: ArrayLike) -> Floats:
        """Limit of I for E → ∞: (N/N_c)^(1 + α_N/α_E)."""
        return np.exp((_log(num_params) - self.log_N_c) / self.nu)

    def E_inf(self, intrinsic: ArrayLike) -> Floats:
        """Environment steps an infinitely wide agent needs for I: E_c · I^(β/α_E)."""
        return np.exp(self.delay.log_elapsed(self.log_E_c + (1 - self.nu) * _log(intrinsic)))

    def N_inf(self, intrinsic: ArrayLike) -> Floats:
        """Parameters an agent with endless experience needs for I: N_c · I^(β/α_N)."""
        return np.exp(self.log_N_c + self.nu * _log(intrinsic))

    @property
    def width_gain(self) -> float:
        """E'_opt/E'_inf = (1 + α_E/α_N)^(1/α_E), the same for every I: what infinite width saves."""
        return float(np.exp(-np.log1p(-self.nu) / self.alpha_E))

    def log_interactions_for(self, log_n: ArrayLike, log_i: ArrayLike) -> Floats:
        """Log of the environment steps with which N reaches I; infinite where that size never does."""
        log_s = -self.beta * np.asarray(log_i, float)
        log_x = self.alpha_N * (self.log_N_c - np.asarray(log_n, float))
        with np.errstate(divide="ignore", invalid="ignore"):
            log_y = log_s + np.log(-np.expm1(np.minimum(log_x - log_s, 0.0)))
        return np.asarray(self.delay.log_elapsed(self.log_E_c - log_y / self.alpha_E))

    def interactions_for(self, num_params: ArrayLike, intrinsic: ArrayLike) -> Floats:
        """Environment steps with which N parameters reach I; infinite where that size never does."""
        return np.exp(self.log_interactions_for(_log(num_params), _log(intrinsic)))

    # -- optima (lemma) -----------------------------------------------------------

    def log_N_opt(self, log_c: ArrayLike) -> Floats:
        """Log of the compute-optimal parameters at log compute: m + ν (log C - log C0) without a delay."""
        log_c = np.asarray(log_c, float)
        if self.delay:
            return log_c - self._on_frontier(log_c, lambda log_e: self._log_n_of(log_e) + log_e)
        return np.asarray(self.m + self.nu * (log_c - self.log_c0))

    def log_E_opt_of(self, log_n: ArrayLike) -> Floats:
        """Log of the environment steps for which N is the compute-optimal size."""
        log_n = np.asarray(log_n, float)
        if self.delay:
            return self._on_frontier(log_n, self._log_n_of)
        return np.asarray(self.log_c0 + (log_n - self.m) / self.nu - log_n)

    def log_best_intrinsic(self, log_c: ArrayLike) -> Floats:
        """Log of the greatest I that log compute reaches: log C itself without a delay (lemma)."""
        log_c = np.asarray(log_c, float)
        log_n = self.log_N_opt(log_c)
        return self.log_intrinsic(log_n, log_c - log_n) if self.delay else log_c

    def log_least_compute(self, log_i: ArrayLike) -> Floats:
        """Log of the least compute that reaches log I, the inverse of ``log_best_intrinsic``."""
        log_i = np.asarray(log_i, float)
        if not self.delay:
            return log_i
        log_e = self._on_frontier(log_i, lambda log_e: self.log_intrinsic(self._log_n_of(log_e), log_e))
        return np.asarray(self._log_n_of(log_e) + log_e)

    def _log_n_of(self, log_e: Floats) -> Floats:
        """Log of the size that is compute-optimal with log E, by the condition above."""
        counted = self.delay.log_counted(log_e)
        with np.errstate(invalid="ignore"):
            log_n = self.m + self.nu * (counted - self.log_c0) - self.delay.log_slope(log_e) / self.k
        return np.asarray(log_n / (1 - self.nu))

    def _on_frontier(self, target: Floats, quantity: Callable[[Floats], Floats]) -> Floats:
        """log E where a quantity that rises along the frontier of a delayed law has its target.

        A grid over a bracket is refined about the target until a straight line is exact to rounding.
        """
        wanted = target.ravel()
        low = np.full(wanted.shape, np.log(self.delay.steps))
        high = low + 1.0
        for end, step in ((low, -1.0), (high, 1.0)):
            # Before a sharp start nothing is optimal: the lower end already lies below every target.
            for doubling in range(_DOUBLINGS):
                outside = step * (wanted - quantity(end)) > 0
                if not outside.any():
                    break
                end[outside] += step * 2.0**doubling
        columns = np.arange(len(wanted))
        for _ in range(_REFINEMENTS):
            grid = low + (high - low) * _UNIT_GRID[:, None]  # (grid, targets)
            at = quantity(grid)
            below = np.clip((at < wanted).sum(axis=0) - 1, 0, len(grid) - 2)
            low, high = grid[below, columns], grid[below + 1, columns]
        first, last = at[below, columns], at[below + 1, columns]
        share = np.divide(wanted - first, last - first, out=np.zeros_like(first), where=last > first)
        return np.asarray((low + share * (high - low)).reshape(target.shape))

    def N_opt(self, compute: ArrayLike) -> Floats:
        """Compute-optimal parameters: N_c (1 + α_N/α_E)^(1/α_N) C^ν without a delay."""
        return np.exp(self.log_N_opt(_log(compute)))

    def E_opt(self, compute: ArrayLike) -> Floats:
        """Compute-optimal environment steps, C / N_opt(C)."""
        return np.asarray(compute, float) / self.N_opt(compute)

    # -- cost of the environment --------------------------------------------------

    def optimum_with_env_cost(self, intrinsic: float, env_cost: float) -> tuple[float, float]:
        """(N, E) that reach I at the least cost E·(N + N_e).

        The best N solves (N_c/N)^α_N · [1 + (α_N/α_E)(1 + N_e/N)/g] = I^-β, g = 1 without a delay; E then
        follows from eq. 1.

        Args:
            intrinsic: target I, in parameters x environment steps.
            env_cost: N_e, cost of one environment step in parameters, at least 0.

        Raises:
            InputError: if ``env_cost`` is negative or not finite, or ``intrinsic`` not positive
                (code ``invalid_number``).
        """
        check_env_cost(env_cost)
        check_quantity("Intrinsic performance", intrinsic)
        log_i = float(np.log(intrinsic))
        log_s = -self.beta * log_i
        ratio = self.alpha_N / self.alpha_E

        def excess(log_n: float) -> float:
            paid = 1 + env_cost * np.exp(-log_n)
            if self.delay:
                paid = paid * np.exp(-self.delay.log_slope(self.log_interactions_for(log_n, log_i)))
            return float(self.alpha_N * (self.log_N_c - log_n) + np.log1p(ratio * paid) - log_s)

        # An expensive environment only makes N larger.
        low = float(self.log_N_opt(self.log_least_compute(log_i)))
        if env_cost == 0 or excess(low) <= 0:
            best = low
        else:
            high = low + 1.0
            while excess(high) > 0:
                high = low + 2 * (high - low)
            best = float(brentq(excess, low, high, xtol=1e-13, rtol=1e-14))
        return float(np.exp(best)), float(np.exp(self.log_interactions_for(best, log_i)))

    def env_cost_overspend(self, intrinsic: float, env_cost: float) -> tuple[float, float]:
        """What ignoring the environment's cost N_e costs at I.

        Returns:
            The best size with it over N_opt(I), and the cost E·(N + N_e) of N_opt(I) over the least one.

        Raises:
            InputError: as ``optimum_with_env_cost``.
        """
        best_n, best_e = self.optimum_with_env_cost(intrinsic, env_cost)
        compute = float(np.exp(self.log_least_compute(np.log(intrinsic)))) if self.delay else intrinsic
        n, e = float(self.N_opt(compute)), float(self.E_opt(compute))
        return best_n / n, e * (n + env_cost) / (best_e * (best_n + env_cost))


def check_env_cost(env_cost: float) -> None:
    """Refuse a cost of the environment that is negative or not finite (code ``invalid_number``)."""
    check_quantity("The environment's cost in parameters", env_cost, may_be_zero=True)


def _log(values: ArrayLike) -> Floats:
    return np.log(np.asarray(values, float))


def _exp(value: float) -> float:
    return float(np.exp(value)) if value < 709.0 else float("inf")
