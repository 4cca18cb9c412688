"""Laws that predict returns from size and experience, each fitted to the same binned points.

``lemma``: the law of this toolkit: I^-β = (N_c/N)^α_N + (E_c/E)^α_E with 1/β = 1/α_N + 1/α_E and N_c·E_c
    from the lemma (Hilton, Tang, Schulman 2023), and an increasing map between return and I: 3 constants.

``neighbour``: that law corrected by the residual of the nearest trained size at the same E: what the backtest
    predicts with (``rlscale.analysis.forecast.prediction``).

``copying``: the nearest trained size's return at the same E, beyond its curve its last or first value.

``shifted``: that size's return where it has the same I by the law; its last value where it never has.

``anchored``: ``lemma`` without the lemma: α_N, α_E, β, N_c, E_c free. With a free map this would not be
    another law. R = h(S) with S = (N_c/N)^α_N + (E_c/E)^α_E: a power of S (β) and a factor on S are
    absorbed by h, so R determines α_N, α_E and the ratio N_c^α_N : E_c^α_E, three constants, as many
    as the lemma leaves; minimising N·E at equal S gives the same N_opt(C). The lemma only fixes the
    gauge of I. It becomes testable when I is measured without the law: here the map is the measured,
    model-free frontier, the least compute at which any trained size reached a return, and all five
    constants are fitted to it in return space. Where the lemma holds, β comes out as 1/(1/α_N + 1/α_E),
    up to the spacing of sizes, if the best size is an inner one along the frontier.

``chinchilla``: L = E_0 + A/N^a + B/E^b (Hoffmann et al. 2022, eq. 2 and appendix D.2): Huber loss,
    δ = 1e-3, on log L, L-BFGS from many starts, with the sum of losses minimised to convergence
    (stopping early is what biased the published constants: Besiroglu et al. 2024). L is the failure
    rate 1 - R where returns are shares of success. Otherwise L = (R_high - R)/(R_high - R_low), whose
    zero is arbitrary, so the loss is on L itself and E_0 may be negative.

``sigmoid``: R = R_0 + (A - R_0)/(1 + (C_mid/C)^B), the saturating curve in compute used for
    reinforcement learning of language models (Khatri et al. 2025), one for each size: it is a law of
    one model's training, and fitted to the frontier it would not predict the returns of a size. A size
    without enough points gets constants from robust lines (Theil-Sen) through those of the others
    against log N, which is our addition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares, minimize
from scipy.special import expit, logit, logsumexp
from scipy.stats import theilslopes

from rlscale.analysis.arrays import Floats
from rlscale.analysis.forecast.extended_map import ExtendedMap, LawWithMap, are_shares
from rlscale.analysis.forecast.prediction import NextToMeasured, nearest
from rlscale.analysis.points.frontier import efficient_frontier
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.studies.backtest.splits import naive_returns
from rlscale.analysis.theory.power_law import PowerLaw

HUBER_DELTA = 1e-3
_MIN_FRONTIER = 4  # points of a measured frontier that a map can be made of
_MIN_CURVE = 6  # points of a size that four constants can be fitted to


class ReturnLaw(Protocol):
    """A fitted law."""

    def predict(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """Return at (N, E), given as natural logarithms that broadcast together."""
        ...

    @property
    def constants(self) -> dict[str, float]:
        """What was fitted."""
        ...


@dataclass(frozen=True)
class LawKind:
    """A law to be fitted: its name, what it is called in tables, its constants, and the fit.

    ``fit`` takes the binned points of the training rows and the law fitted to them with the lemma, which
    ``lemma`` is and ``anchored`` starts from. It returns None where the points do not allow a fit.
    """

    name: str
    label: str
    num_constants: int
    fit: Callable[[BinnedPoints, PowerLaw], ReturnLaw | None]


# -- with and without the lemma -----------------------------------------------------


@dataclass(frozen=True)
class LemmaLaw(LawWithMap):
    """This toolkit's law."""

    @property
    def constants(self) -> dict[str, float]:
        """Exponents and the optimum's place."""
        law = self.law
        return {"alpha_N": law.alpha_N, "alpha_E": law.alpha_E, "beta": law.beta, "nu": law.nu}


def fit_lemma(points: BinnedPoints, law: PowerLaw) -> LemmaLaw:
    """The law as it is, with the map that fits these points best."""
    return LemmaLaw(law, LawWithMap.through(law, points).map)


@dataclass(frozen=True)
class AnchoredLaw:
    """log I = -(1/β) log(exp(a - α_N log N) + exp(b - α_E log E)), returned through the measured frontier."""

    a: float
    b: float
    alpha_N: float
    alpha_E: float
    beta: float
    map: ExtendedMap

    def predict(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """Return at (N, E)."""
        n, e = np.asarray(log_n, float), np.asarray(log_e, float)
        total = np.logaddexp(self.a - self.alpha_N * n, self.b - self.alpha_E * e)
        return self.map.return_of(-total / self.beta)

    @property
    def constants(self) -> dict[str, float]:
        """Exponents, and β over its value by the lemma: 1 where the lemma holds."""
        by_lemma = 1 / (1 / self.alpha_N + 1 / self.alpha_E)
        return {
            "alpha_N": self.alpha_N,
            "alpha_E": self.alpha_E,
            "beta": self.beta,
            "nu": self.alpha_E / (self.alpha_N + self.alpha_E),
            "beta_over_lemma": self.beta / by_lemma,
        }


def fit_anchored(points: BinnedPoints, law: PowerLaw) -> AnchoredLaw | None:
    """Five free constants on the measured frontier's map; None where hardly any frontier is seen."""
    frontier = efficient_frontier(points)
    if len(frontier.compute) < _MIN_FRONTIER:
        return None
    log_c, best = np.log(frontier.compute), np.asarray(frontier.return_)
    measured = ExtendedMap.through(log_c, best, np.full(len(log_c), 1 / len(log_c)))
    n0, e0 = float(points.weight @ points.log_n), float(points.weight @ points.log_e)
    root_weight = np.sqrt(points.weight)

    def made(x: Floats) -> AnchoredLaw:
        alpha_N, alpha_E, beta = np.exp(x[2:])
        return AnchoredLaw(x[0] + alpha_N * n0, x[1] + alpha_E * e0, alpha_N, alpha_E, beta, measured)

    def residual(x: Floats) -> Floats:
        predicted = made(x).predict(points.log_n, points.log_e)
        return root_weight * (predicted - points.returns)

    start = np.array(
        [
            law.alpha_N * (law.log_N_c - n0),
            law.alpha_E * (law.log_E_c - e0),
            *np.log([law.alpha_N, law.alpha_E, law.beta]),
        ]
    )
    # The map is linear in pieces, so there are starts on either side.
    steps = np.array([[0, 0, 0, 0, 0], [0, 0, 0.3, 0, 0.15], [0, 0, 0, 0.3, 0.15]])
    scale = [0.5, 0.5, 0.3, 0.3, 0.3]
    found = [least_squares(residual, start + x, method="lm", x_scale=scale, max_nfev=400) for x in steps]
    return made(min(found, key=lambda result: result.cost).x)


# -- the next size's curve ---------------------------------------------------------


@dataclass(frozen=True)
class NeighbourLaw(NextToMeasured):
    """The law with its lemma and the nearest trained size's residual."""

    @property
    def constants(self) -> dict[str, float]:
        """Those of the law."""
        return {"nu": self.base.law.nu}


def fit_neighbour(points: BinnedPoints, law: PowerLaw) -> NeighbourLaw:
    """The law as it is, with the map that fits these points best and their residuals."""
    return NeighbourLaw(LawWithMap.through(law, points), points)


@dataclass(frozen=True)
class CopiedCurve:
    """The nearest trained size's curve, read at the same E, or with ``law`` at the same I."""

    points: BinnedPoints
    law: PowerLaw | None = None

    def predict(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """Return at (N, E)."""
        n, e = (x.ravel() for x in np.broadcast_arrays(np.asarray(log_n, float), np.asarray(log_e, float)))
        sizes = np.unique(self.points.log_n)
        copied = sizes[nearest(sizes, n)]
        if self.law is not None:
            e = self.law.log_interactions_for(copied, self.law.log_intrinsic(n, e))
        return naive_returns(self.points, copied, e).reshape(np.broadcast(log_n, log_e).shape)

    @property
    def constants(self) -> dict[str, float]:
        """None are fitted to the copied curve."""
        return {} if self.law is None else {"nu": self.law.nu}


def fit_copying(points: BinnedPoints, _: PowerLaw) -> CopiedCurve:
    """The points themselves."""
    return CopiedCurve(points)


def fit_shifted(points: BinnedPoints, law: PowerLaw) -> CopiedCurve:
    """The points and the law."""
    return CopiedCurve(points, law)


# -- power law plus constant ----------------------------------------------------------


@dataclass(frozen=True)
class ChinchillaLaw:
    """L = E_0 + A/N^a + B/E^b with R = high - span·L.

    ``log_A`` and ``log_B`` are at N = exp(n0) and E = exp(e0), within the data.
    """

    E_0: float
    log_A: float
    log_B: float
    a: float
    b: float
    n0: float
    e0: float
    high: float
    span: float

    def predict(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """Return at (N, E)."""
        n, e = np.asarray(log_n, float), np.asarray(log_e, float)
        loss = np.exp(self.log_A - self.a * (n - self.n0)) + np.exp(self.log_B - self.b * (e - self.e0))
        return self.high - self.span * (self.E_0 + loss)

    @property
    def constants(self) -> dict[str, float]:
        """Exponents and the irreducible part."""
        return {"a": self.a, "b": self.b, "E_0": self.E_0, "nu": self.b / max(self.a + self.b, 1e-12)}


def fit_chinchilla(points: BinnedPoints, _: PowerLaw) -> ChinchillaLaw:
    """Least Huber loss from many starts, δ lowered to 1e-3 in steps, because its minima are sharp."""
    logs = are_shares(points.returns)
    high, low = (1.0, 0.0) if logs else (points.returns.max(), points.returns.min())
    span = float(high - low)
    loss = (high - points.returns) / span
    target = np.log(loss) if logs else loss
    n0, e0 = float(points.weight @ points.log_n), float(points.weight @ points.log_e)
    n, e = points.log_n - n0, points.log_e - e0
    weight = points.weight * len(points.weight)

    def objective(x: Floats, delta: float) -> tuple[float, Floats]:
        terms = np.stack([np.full(len(n), x[0]), x[1] - x[3] * n, x[2] - x[4] * e])  # (3, n)
        if logs:
            predicted = logsumexp(terms, axis=0)
            by_term = np.exp(terms - predicted)
        else:
            by_term = np.exp(np.minimum(terms, 50.0))
            by_term[0] = 1.0
            predicted = x[0] + by_term[1] + by_term[2]
        residual = predicted - target
        pull = weight * np.clip(residual / delta, -1, 1)
        size = np.abs(residual)
        huber = np.where(size <= delta, 0.5 * residual**2 / delta, size - 0.5 * delta)
        slopes = [by_term[0], by_term[1], by_term[2], -n * by_term[1], -e * by_term[2]]
        return float(weight @ huber), np.array([pull @ slope for slope in slopes])

    floor = np.quantile(loss, 0.02)
    bottoms = np.log([max(floor, 1e-6) / 2, max(floor, 1e-6) / 30]) if logs else [floor, floor - 0.3]
    middle = np.log(max(float(np.median(loss)), 1e-3))
    grid = np.meshgrid(bottoms, [middle, middle - 2], [middle, middle - 2], [0.1, 0.3, 0.8], [0.1, 0.3, 0.8])
    starts = np.stack([axis.ravel() for axis in grid], axis=1)
    order = np.argsort([objective(start, 0.1)[0] for start in starts], kind="stable")
    bounds = [(-30.0, 30.0)] * 3 + [(0.0, 10.0)] * 2

    def polished(x: Floats, delta: float, ftol: float = 1e-14) -> tuple[float, Floats]:
        found = minimize(
            objective,
            x,
            args=(delta,),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 3000, "maxfun": 6000, "ftol": ftol, "gtol": 1e-10},
        )
        return float(found.fun), found.x

    best = min((polished(starts[i], 0.1, 1e-8) for i in order[:6]), key=lambda pair: pair[0])[1]
    for delta in (0.1, 0.01, HUBER_DELTA):
        best = polished(best, delta)[1]
    e_0 = float(np.exp(best[0])) if logs else float(best[0])
    log_A, log_B, a, b = (float(x) for x in best[1:])
    return ChinchillaLaw(e_0, log_A, log_B, a, b, n0, e0, float(high), span)


# -- saturating sigmoid of compute, size by size ---------------------------------------


@dataclass(frozen=True)
class SigmoidLaw:
    """R = R_0 + (A - R_0)/(1 + (C_mid/C)^B) of each size.

    Attributes:
        log_n: logarithm of the fitted sizes, ascending, shape ``(sizes,)``.
        curves: R_0, A, log C_mid and log B of each, shape ``(sizes, 4)``.
        lines: intercept and slope of each constant against log N, shape ``(4, 2)``, for other sizes.
        ceiling: what A may not exceed.
    """

    log_n: Floats
    curves: Floats
    lines: Floats
    ceiling: float

    def predict(self, log_n: ArrayLike, log_e: ArrayLike) -> Floats:
        """Return at (N, E)."""
        n, e = np.broadcast_arrays(np.asarray(log_n, float), np.asarray(log_e, float))
        nearest = np.abs(n[..., None] - self.log_n).argmin(axis=-1)
        known = np.abs(n - self.log_n[nearest]) < 1e-6
        by_line = self.lines[:, 0] + self.lines[:, 1] * n[..., None]
        by_line[..., 1] = np.minimum(by_line[..., 1], self.ceiling)
        constants = np.where(known[..., None], self.curves[nearest], by_line)
        return _sigmoid(constants, n + e)

    @property
    def constants(self) -> dict[str, float]:
        """The largest fitted size's."""
        r_0, ceiling, log_mid, log_b = self.curves[-1]
        return {"R_0": r_0, "A": ceiling, "log10_C_mid": log_mid / np.log(10), "B": float(np.exp(log_b))}


def fit_sigmoid(points: BinnedPoints, _: PowerLaw) -> SigmoidLaw | None:
    """A least-squares curve for each size with enough points; None where fewer than three have."""
    low, high = float(points.returns.min()), float(points.returns.max())
    span = high - low
    ceiling = 1.0 if are_shares(points.returns) else high + span
    sizes, found = [], []
    for log_n in np.unique(points.log_n):
        rows = points.log_n == log_n
        if rows.sum() >= _MIN_CURVE:
            sizes.append(log_n)
            limits = (low - span, ceiling)
            found.append(
                _fit_curve(log_n + points.log_e[rows], points.returns[rows], points.weight[rows], limits)
            )
    if len(sizes) < 3:
        return None
    log_n, curves = np.array(sizes), np.array(found)
    slopes = [theilslopes(column, log_n) for column in curves.T]
    lines = np.array([[line.intercept, line.slope] for line in slopes])
    return SigmoidLaw(log_n, curves, lines, ceiling)


def _fit_curve(log_c: Floats, returns: Floats, weight: Floats, limits: tuple[float, float]) -> Floats:
    """R_0, A, log C_mid and log B of one size, by Levenberg-Marquardt on the logits of their ranges.

    MINPACK's, because other solvers call threaded BLAS on 4 x 4 matrices, which is slow on busy machines.
    """
    floor, ceiling = limits
    margin = 1e-6 * (ceiling - floor)
    root_weight = np.sqrt(weight / weight.sum())
    lower = np.array([floor, np.median(returns), log_c.min() - 7, np.log(0.05)])
    upper = np.array([returns.min() + margin, ceiling + margin, log_c.max() + 7, np.log(20)])

    def constants(y: Floats) -> Floats:
        return lower + (upper - lower) * expit(y)

    def residual(y: Floats) -> Floats:
        return root_weight * (_sigmoid(constants(y), log_c) - returns)

    def slopes(y: Floats) -> Floats:
        share = expit(y)
        inner = (upper - lower) * share * (1 - share)
        return root_weight[:, None] * _sigmoid_slopes(constants(y), log_c) * inner

    top = min(returns.max() + 0.02 * np.ptp(returns), ceiling)
    starts = [np.array([returns.min(), top, np.quantile(log_c, q), 0.0]) for q in (0.2, 0.7)]
    places = [np.clip((start - lower) / (upper - lower), 0.01, 0.99) for start in starts]
    fits = [least_squares(residual, logit(place), slopes, method="lm", max_nfev=200) for place in places]
    return constants(min(fits, key=lambda fit: fit.cost).x)


def _sigmoid(constants: Floats, log_c: Floats) -> Floats:
    r_0, ceiling, log_mid, log_b = np.moveaxis(constants, -1, 0)
    return r_0 + (ceiling - r_0) * expit(np.exp(log_b) * (log_c - log_mid))


def _sigmoid_slopes(constants: Floats, log_c: Floats) -> Floats:
    """Derivatives with respect to R_0, A, log C_mid and log B, shape ``(n, 4)``."""
    r_0, ceiling, log_mid, log_b = constants
    b = np.exp(log_b)
    share = expit(b * (log_c - log_mid))
    steep = (ceiling - r_0) * share * (1 - share) * b
    return np.stack([1 - share, share, -steep, steep * (log_c - log_mid)], axis=1)


#: What always competes with the backtest's own prediction, ``neighbour``: cheap, and hard to beat.
PREDICTORS = (
    LawKind("lemma", "the lemma, free map", 3, fit_lemma),
    LawKind("neighbour", "lemma + next's residual", 3, fit_neighbour),
    LawKind("copying", "copying the next size", 0, fit_copying),
    LawKind("shifted", "copying it at equal I", 3, fit_shifted),
)
LAWS = (
    *PREDICTORS,
    LawKind("anchored", "no lemma, frontier's map", 5, fit_anchored),
    LawKind("chinchilla", "E_0 + A/N^a + B/E^b", 5, fit_chinchilla),
    LawKind("sigmoid", "sigmoid, size by size", 4, fit_sigmoid),
)
