"""Fits of interactions as an affine function of x = h - 2 + 1/h, and tests of whether they are affine.

``rlscale.analysis.theory.horizon`` has the proposition: E = a + b x, 1 + κ x times E at h = 1, κ = b/a.

Errors are relative: the spread of log E between seeds. If the points scatter about the line by more than
these errors, intervals are widened by the ratio; they are never narrowed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import chi2, norm
from statsmodels.regression.linear_model import WLS

from rlscale.analysis.arrays import Floats, Ints
from rlscale.analysis.records import INTERVAL_LEVEL, Interval
from rlscale.analysis.theory.horizon import log_growth

#: Half width of an interval in standard deviations.
Z = float(norm.ppf(0.5 + INTERVAL_LEVEL / 2))
#: Range of the search for κ: from no visible growth with h to no inherent term.
_LOG_KAPPA = (np.log(1e-6), np.log(1e6))
#: Share of the sum of squares below which a variance is rounding.
_ROUNDING = 1e-24


@dataclass(frozen=True)
class AffineLine:
    """Weighted least squares E = a + b x.

    Attributes:
        a, b, kappa: coefficients and b/a.
        a_interval, b_interval: 90%.
        kappa_interval: by Fieller's theorem, None where it is unbounded.
        r_squared: share of the weighted variance explained.
        quadratic_p: p-value that a term c x² is 0, None with fewer than three points.
    """

    a: float
    b: float
    kappa: float
    a_interval: Interval
    b_interval: Interval
    kappa_interval: Interval | None
    r_squared: float
    quadratic_p: float | None


@dataclass(frozen=True)
class CommonKappa:
    """log E = log a_g + log(1 + κ x^q), one κ and q for all groups g (sizes).

    Attributes:
        log_a: of each group.
        kappa, kappa_interval: with q = 1.
        power, power_interval: q when it is free, None with too few points.
        affine_p: p-value that q = 1, None likewise.
    """

    log_a: Floats
    kappa: float
    kappa_interval: Interval
    power: float | None
    power_interval: Interval | None
    affine_p: float | None


def affine_line(x: Floats, interactions: Floats, relative_sd: Floats) -> AffineLine:
    """Fit one series.

    Args:
        x: at least two distinct values, shape ``(n,)``.
        interactions: E, positive, shape ``(n,)``.
        relative_sd: standard deviation of log E, positive, shape ``(n,)``.
    """
    weights = 1 / (interactions * relative_sd) ** 2
    fitted = WLS(interactions, np.column_stack([np.ones_like(x), x]), weights=weights).fit()
    a, b = (float(value) for value in fitted.params)
    covariance = np.asarray(fitted.normalized_cov_params) * _scale(float(fitted.ssr), len(x) - 2)
    reach_a, reach_b = Z * np.sqrt(np.diag(covariance))
    quadratic_p = None
    if len(np.unique(x)) >= 3:
        design = np.column_stack([np.ones_like(x), x, x * x])
        curved = WLS(interactions, design, weights=weights).fit()
        error = curved.normalized_cov_params[2, 2] * _scale(float(curved.ssr), len(x) - 3)
        quadratic_p = float(2 * norm.sf(abs(curved.params[2]) / np.sqrt(error)))
    return AffineLine(
        a=a,
        b=b,
        kappa=b / a,
        a_interval=(a - float(reach_a), a + float(reach_a)),
        b_interval=(b - float(reach_b), b + float(reach_b)),
        kappa_interval=_fieller(a, b, covariance),
        r_squared=_explained(float(fitted.ssr), interactions, weights),
        quadratic_p=quadratic_p,
    )


def _explained(unexplained: float, interactions: Floats, weights: Floats) -> float:
    """Share of the weighted variance that the line explains; 1 where E is the same at every x."""
    spread = interactions - np.average(interactions, weights=weights)
    total = float(np.sum(weights * spread**2))
    if total <= _ROUNDING * float(np.sum(weights * interactions**2)):
        return 1.0
    return float(np.clip(1 - unexplained / total, 0.0, 1.0))  # within, up to rounding


def common_kappa(x: Floats, log_e: Floats, sd: Floats, group: Ints) -> CommonKappa:
    """Fit all series at once, each with its own level.

    Args:
        x, log_e, sd: all points, shape ``(n,)``; ``sd`` of ``log_e``.
        group: series of each point, 0 and up.
    """
    groups = int(group.max()) + 1

    def solve(free_power: bool, start: Floats) -> tuple[Floats, float, Floats]:
        """(log κ and q), chi-square, their covariance."""

        def residuals(theta: Floats) -> Floats:
            power = float(theta[1]) if free_power else 1.0
            y = log_e - log_growth(x, float(theta[0]), power)
            level = np.bincount(group, y / sd**2, groups) / np.bincount(group, 1 / sd**2, groups)
            return np.asarray((y - level[group]) / sd)

        low, high = ([_LOG_KAPPA[0], 0.05], [_LOG_KAPPA[1], 10.0])
        size = 2 if free_power else 1
        found = least_squares(residuals, start[:size], bounds=(low[:size], high[:size]), x_scale=0.1)
        return found.x, 2 * float(found.cost), np.linalg.pinv(found.jac.T @ found.jac)

    starts = [np.array([value, 1.0]) for value in np.log([1e-3, 1e-1, 10.0])]
    theta, misfit, covariance = min((solve(False, s) for s in starts), key=lambda one: one[1])
    freedom = len(x) - groups - 1
    reach = Z * float(np.sqrt(covariance[0, 0] * _scale(misfit, freedom)))
    log_kappa = float(theta[0])
    ends = np.exp(np.clip([log_kappa - reach, log_kappa + reach], *_LOG_KAPPA))
    y = log_e - log_growth(x, log_kappa, 1.0)
    level = np.bincount(group, y / sd**2, groups) / np.bincount(group, 1 / sd**2, groups)
    power, power_interval, affine_p = None, None, None
    if len(np.unique(x)) >= 3:
        free, free_misfit, free_covariance = solve(True, np.array([log_kappa, 1.0]))
        scale = _scale(free_misfit, freedom - 1)
        power = float(free[1])
        spread = Z * float(np.sqrt(free_covariance[1, 1] * scale))
        power_interval = (power - spread, power + spread)
        affine_p = float(chi2.sf(max(misfit - free_misfit, 0.0) / scale, 1))
    return CommonKappa(
        log_a=np.asarray(level),
        kappa=float(np.exp(log_kappa)),
        kappa_interval=(float(ends[0]), float(ends[1])),
        power=power,
        power_interval=power_interval,
        affine_p=affine_p,
    )


def _scale(misfit: float, freedom: int) -> float:
    return max(misfit / freedom, 1.0) if freedom > 0 else 1.0


def _fieller(a: float, b: float, covariance: Floats) -> Interval | None:
    """90% interval of b/a: all κ for which b - κ a is not significantly different from 0."""
    z2 = Z**2
    quadratic = a * a - z2 * covariance[0, 0]
    linear = -2 * (a * b - z2 * covariance[0, 1])
    constant = b * b - z2 * covariance[1, 1]
    discriminant = linear * linear - 4 * quadratic * constant
    if quadratic <= 0 or discriminant < 0:
        return None
    root = float(np.sqrt(discriminant))
    return float((-linear - root) / (2 * quadratic)), float((-linear + root) / (2 * quadratic))
