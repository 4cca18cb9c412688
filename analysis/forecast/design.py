"""How certain further runs would make log N_opt(C*): the joint fit as a linear model about its estimate.

About the fitted θ = (logit ν, log k, m) a return in units of the noise of one run at its level, y, is

    y ≈ h(log I) + h'(log I) · (∂ log I/∂θ) δθ + noise,        noise of variance 1

with h unknown. Changes of h are sums of hat functions of log I, so a run informs about θ only as far as no
change of h has the same effect: a run whose log I no other size reaches says nothing of θ. The fit gives
equal weight to equal intervals of log E of all sizes, whatever their seeds, so its covariance is the sandwich

    A⁻¹ B A⁻¹,     A = Σ X'WX,     B = Σ X'WΣWX,

summed over sizes, Σ the covariance of averages over seeds: runs are independent, points of one run
correlate by exp(-Δ log E/τ), and each size keeps a little misfit that seeds do not average away. Only ratios
of such variances are used; the bootstrap sets the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.statistics.isotonic import isotonic_fit
from rlscale.analysis.theory.power_law import PowerLaw

#: Width in log E of the cells a run is described by.
_CELL = 0.15
_KNOTS = 18  # within the measured range of log I
_KNOTS_BEYOND = 8  # above it; below it nothing is promised
#: Variance that a size's curve keeps however many seeds it has, in that of one run: no law is exact.
_MISFIT = 0.15
_MISFIT_LENGTH = 1.0  # over which it correlates in log E
#: Weight of the second differences of h relative to the data: it only determines knots without data.
_SMOOTHNESS = 1e-4
_LEAST_NOISE = 0.25  # of its median
_TAU_BOUNDS = (0.05, 3.0)


@dataclass(frozen=True)
class Group:
    """Runs of one size and length.

    Attributes:
        size: N.
        length: E at which they end.
        seeds: how many.
    """

    size: float
    length: float
    seeds: int

    @property
    def compute(self) -> float:
        """N·E of all of them."""
        return self.size * self.length * self.seeds


Moments = tuple[Floats, Floats]  # A and B of one size


@dataclass(frozen=True)
class DesignModel:
    """The linear model of a fit.

    Attributes:
        law: the estimate.
        exclusion: share of the longest run of a size that is dropped at its start.
        knots: log I of the hat functions.
        slopes: h' in units of noise, at the middles between knots.
        tau: correlation length of a run's noise in log E.
        gradient: of log N_opt(C*) with respect to θ, as without a delay of learning: C* is far beyond it.
        log_not_before: log E before which a late start leaves out rows.
    """

    law: PowerLaw
    exclusion: float
    knots: Floats
    slopes: Floats
    tau: float
    gradient: Floats
    log_not_before: float = -np.inf

    @classmethod
    def of(cls, fit: FitResult, law: PowerLaw, target: float) -> DesignModel:
        """The model for the optimum at compute ``target``, about a law: the fit's, or one of its draws."""
        points = fit.points
        y, w, n, e = points.return_, points.weight, points.N, points.E
        x = law.log_intrinsic(np.log(n), np.log(e))
        step = (x.max() - x.min()) / (_KNOTS - 1)
        knots = x.min() + step * np.arange(_KNOTS + _KNOTS_BEYOND)
        fitted = _hats(knots[:_KNOTS], x)
        level = _smooth_levels(fitted, y, w)
        nearest = np.abs(np.log(n)[:, None] - np.log(fit.provenance.sizes)).argmin(axis=1)
        residual = (y - fitted @ level) * np.sqrt(fit.provenance.seeds_per_size[nearest])
        noise = np.sqrt(_smooth_levels(fitted, residual**2, w))
        # Without noise any design is as good as any other, and a lone point at an end has none about it.
        noise = np.maximum(noise, max(_LEAST_NOISE * float(np.median(noise)), 1e-9 * float(np.ptp(y))))
        middle = 0.5 * (noise[1:] + noise[:-1])
        mass = fitted.T @ w
        rising = isotonic_fit(np.arange(len(level), dtype=float), level, np.maximum(mass, 1e-12))
        inside = _slopes(rising, step) / middle
        slopes = np.concatenate([inside, _continued(inside, _KNOTS_BEYOND)])
        standard = residual / (fitted @ noise)
        exclusion = float(fit.options["early_exclusion"]) or float(np.min(e / e.max()))
        gradient = np.array([law.nu * (1 - law.nu) * (np.log(target) - law.log_c0), 0.0, 1.0])
        tau = _correlation_length(n, np.log(e), standard)
        not_before = float(np.log(fit.not_before)) if fit.not_before else -np.inf
        return cls(law, exclusion, knots, slopes, tau, gradient, not_before)

    def moments(self, groups: Sequence[Group]) -> Moments:
        """A and B of all groups of one size, early training cut by the longest of them."""
        size = groups[0].size
        longest = np.log(max(group.length for group in groups))
        count = max(int(np.ceil(-np.log(self.exclusion) / _CELL)), 1)
        log_e = longest - _CELL * (np.arange(count) + 0.5)
        log_e = log_e[log_e >= self.log_not_before]
        count = len(log_e)
        ends = np.array([np.log(group.length) for group in groups])
        seeds = np.array([group.seeds for group in groups], dtype=float)
        there = (log_e[:, None] <= ends + 1e-9).astype(float)  # (cells, groups)
        runs = there @ seeds
        together = (there * seeds) @ there.T  # runs that cover both cells
        correlation = np.exp(-np.abs(log_e[:, None] - log_e) / self.tau)
        covariance = correlation * together / (runs[:, None] * runs)
        covariance += _MISFIT * np.exp(-np.abs(log_e[:, None] - log_e) / _MISFIT_LENGTH)
        log_i, by_theta = self.law.log_intrinsic_gradient(np.full(count, np.log(size)), log_e)
        inside = (log_i >= self.knots[0]) & (log_i <= self.knots[-1])
        piece = np.clip(np.searchsorted(self.knots, log_i) - 1, 0, len(self.slopes) - 1)
        slopes = np.where(inside, self.slopes[piece], 0.0)
        hats = np.where(inside[:, None], _hats(self.knots, log_i), 0.0)
        x = np.hstack([(slopes * by_theta).T, hats])  # (cells, 3 + knots)
        return x.T @ x, x.T @ covariance @ x

    def variances(self, a: Floats, b: Floats) -> Floats:
        """Variance of log N_opt(C*), up to a factor, for sums over sizes of A and B.

        Args:
            a, b: shape ``(options, 3 + knots, 3 + knots)``; left unchanged.

        Returns:
            Shape ``(options,)``.
        """
        a = a.copy()
        count = len(self.knots)
        rough = np.diff(np.eye(count), n=2, axis=0)
        a[:, 3:, 3:] += _SMOOTHNESS * rough.T @ rough + 1e-9 * np.eye(count)
        a[:, :3, :3] += 1e-9 * np.eye(3)
        right = np.zeros((len(a), 3 + count, 1))
        right[:, :3, 0] = self.gradient
        v = np.linalg.solve(a, right)[..., 0]
        return np.einsum("ci,cij,cj->c", v, b, v)


def measured_groups(fit: FitResult) -> list[Group]:
    """The runs of a fit by size: as many as it had, each as long as the longest of its size."""
    n, e = fit.points.N, fit.points.E
    groups = []
    for size, seeds in zip(fit.provenance.sizes, fit.provenance.seeds_per_size, strict=True):
        mine = np.abs(np.log(n / size)) < 1e-6
        groups.append(Group(float(size), float(e[mine].max()), int(seeds)))
    return groups


def _hats(knots: Floats, x: Floats) -> Floats:
    """Hat functions of evenly spaced knots, shape ``(n, knots)``; beyond the ends their nearest's."""
    step = knots[1] - knots[0]
    inside = np.clip(x, knots[0], knots[-1])
    return np.maximum(1 - np.abs(inside[:, None] - knots) / step, 0.0)


def _smooth_levels(hats: Floats, values: Floats, weight: Floats) -> Floats:
    """Weighted averages of values about each knot; a knot without points has its neighbours'."""
    mass = hats.T @ weight
    known = mass > 1e-12
    levels = (hats.T @ (weight * values))[known] / mass[known]
    return np.interp(np.arange(len(mass)), np.flatnonzero(known), levels)


def _slopes(levels: Floats, step: float) -> Floats:
    """Slopes between knots, averaged with their neighbours': a step of an isotonic fit is no slope."""
    return np.convolve(np.pad(np.diff(levels) / step, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")


def _continued(slopes: Floats, count: int) -> Floats:
    """Slopes beyond the last: the trend of their logarithms over the last half, if it falls.

    A map that levels off continues to do so, and runs where it is flat are not informative.
    """
    half = slopes[len(slopes) // 2 :]
    logs = np.log(np.maximum(half, 1e-3 * max(float(slopes.max()), 1e-300)))
    trend, level = np.polyfit(np.arange(len(half)), logs, 1)
    ahead = len(half) + np.arange(count)
    return np.exp(level + trend * ahead) if trend < 0 else np.full(count, float(np.median(half)))


def _correlation_length(n: Floats, log_e: Floats, residual: Floats) -> float:
    """τ from the correlation of residuals of one size at most a quarter of an e-fold apart."""
    lags, products = [], []
    for size in np.unique(n):
        mine = n == size
        x, r = log_e[mine], residual[mine]
        far = np.abs(x[:, None] - x)
        chosen = (far > 0.05) & (far < 0.25)
        lags.append(far[chosen])
        products.append((r[:, None] * r)[chosen])
    lag, product = np.concatenate(lags), np.concatenate(products)
    correlation = float(product.mean() / np.mean(residual**2)) if len(product) else 0.5
    mean_lag = float(lag.mean()) if len(lag) else _CELL
    tau = -mean_lag / np.log(np.clip(correlation, 1e-3, 1 - 1e-3))
    return float(np.clip(tau, *_TAU_BOUNDS))
