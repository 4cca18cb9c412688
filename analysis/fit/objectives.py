"""The two objectives of the joint fit and how each is minimised.

Both have an inner problem, the increasing map by isotonic regression, and an outer one, the coordinates
θ = (logit ν, log k, m) of the law (``rlscale.analysis.theory.power_law``).

* ``return``: Σ w (T(R) - h(log I))², h increasing in log I, T(R) the return in units of its own noise
  (``rlscale.analysis.points.noise_scale``). It needs only the order of log I, so no slope can shrink a
  scale; the noise is in the response, as least squares assumes, and has equal variance there.
* ``paper``: Σ w (log I - f(R))², f increasing in R, R averaged over seeds as the paper does. Smooth in θ, but
  noise in R biases it, and one-sided data drive ν to a bound. Intrinsic performance is undefined above
  the best return, so a plateau of equal or nearly equal returns at the top is left out
  (with much noise not all of it is recognised, and the objective remains biased).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import minimize
from scipy.special import logit

from rlscale.analysis.arrays import Floats
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.statistics.isotonic import TiedOrder, isotonic_loss
from rlscale.analysis.theory.power_law import PowerLaw

NU_BOUNDS = (0.02, 0.98)
K_BOUNDS = (0.02, 30.0)
M_MARGIN = float(np.log(1e3))  # how far beyond the sizes the optimum at C0 may lie
MAX_PLATEAU = 0.05  # share of the weight that may lie at the best return
_GRID_NU = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
_GRID_K = (0.1, 0.3, 0.8, 2.0, 6.0)
_GRID_M = 9
#: Initial steps of a simplex in (logit ν, log k, m): about the spacing of the grid.
_STEPS = np.array([0.4, 0.5, 0.6])


@dataclass(frozen=True)
class Minimum:
    """Where a search ended: θ, its loss, and how many times the objective was evaluated."""

    theta: Floats
    loss: float
    evaluations: int


class Objective(Protocol):
    """An objective as the joint fit and the bootstrap use it."""

    log_c0: float
    bounds: Floats

    def loss(self, theta: Floats) -> float:
        """The objective at θ of shape ``(3,)``."""
        ...

    def polish(self, start: Floats, *, scale: float, max_evaluations: int) -> Minimum:
        """Local search from θ, first steps of relative size ``scale``."""
        ...

    def centred(self, minimum: Minimum) -> Minimum:
        """The middle of the points that are as good as the minimum."""
        ...


def make_objective(name: str, points: BinnedPoints, log_c0: float) -> Objective:
    """The objective called ``return`` or ``paper`` on these points."""
    return ReturnObjective(points, log_c0) if name == "return" else PaperObjective(points, log_c0)


def mid_compute(points: BinnedPoints) -> float:
    """log C0: halfway between the least and the largest log compute of the points."""
    log_c = points.log_n + points.log_e
    return float(0.5 * (log_c.min() + log_c.max()))


def start_grid(bounds: Floats) -> Floats:
    """Coarse grid of starting points, shape ``(starts, 3)``."""
    low, high = bounds[2] + np.array([M_MARGIN - 1, 1 - M_MARGIN])
    nu, k, m = np.meshgrid(logit(_GRID_NU), np.log(_GRID_K), np.linspace(low, high, _GRID_M), indexing="ij")
    return np.stack([nu.ravel(), k.ravel(), m.ravel()], axis=1)


def at_bounds(theta: Floats, bounds: Floats) -> list[str]:
    """Names of the parameters that lie at a bound."""
    near = (theta - bounds[:, 0] < 0.02) | (bounds[:, 1] - theta < 0.02)
    return [name for name, hit in zip(("nu", "alpha_N + alpha_E", "N_opt"), near, strict=True) if hit]


def _below_plateau(points: BinnedPoints) -> BinnedPoints:
    """The points without those at the top that do not differ by more than noise, if these are many."""
    top = points.response >= points.response.max() - points.resolution - 1e-12
    return points if points.weight[top].sum() <= MAX_PLATEAU else points.only(~top)


def _bounds(points: BinnedPoints) -> Floats:
    m = (points.log_n.min() - M_MARGIN, points.log_n.max() + M_MARGIN)
    return np.array([logit(NU_BOUNDS), np.log(K_BOUNDS), m])


class ReturnObjective:
    """Share of the variance of the response that no increasing function of log I explains."""

    def __init__(self, points: BinnedPoints, log_c0: float) -> None:
        """Prepare for ``points`` with m at log compute ``log_c0``."""
        self.log_c0, self.bounds = log_c0, _bounds(points)
        self._points = points
        centred = points.response - points.weight @ points.response
        self._variance = max(float(points.weight @ (centred * centred)), 1e-300)

    def loss(self, theta: Floats) -> float:
        """1 - R², in 0..1."""
        points = self._points
        log_i = PowerLaw.from_theta(theta, self.log_c0).log_intrinsic(points.log_n, points.log_e)
        return isotonic_loss(log_i, points.response, points.weight) / self._variance

    def polish(self, start: Floats, *, scale: float, max_evaluations: int) -> Minimum:
        """Nelder-Mead, because the loss depends only on an order and is constant in pieces."""
        simplex = np.vstack([start, start + scale * np.diag(_STEPS)])
        inside = np.clip(simplex, self.bounds[:, 0], self.bounds[:, 1])
        inside[1:] -= 2 * (simplex - inside)[1:]  # a step beyond a bound goes inwards instead
        found = minimize(
            self.loss,
            inside[0],
            method="Nelder-Mead",
            bounds=self.bounds,
            options={
                "initial_simplex": np.clip(inside, self.bounds[:, 0], self.bounds[:, 1]),
                "xatol": 1e-2 * abs(scale),
                "fatol": np.inf,
                "maxfev": max_evaluations,
            },
        )
        return Minimum(found.x, float(found.fun), int(found.nfev))

    def centred(self, minimum: Minimum) -> Minimum:
        """Middle, axis by axis, of the region of equal loss around a minimum.

        Without noise the loss is exactly 0 wherever the order of log I is that of the returns. No point of
        that region is better than another; its centre has the smallest maximal error.
        """
        theta, evaluations = minimum.theta.copy(), minimum.evaluations

        def edge(axis: int, direction: float) -> float:
            nonlocal evaluations
            inside, outside = 0.0, 1e-4
            limit = 0.5
            while outside < limit and same(axis, direction * outside):
                inside, outside = outside, 2 * outside
            for _ in range(6):
                middle = 0.5 * (inside + outside)
                inside, outside = (middle, outside) if same(axis, direction * middle) else (inside, middle)
            return direction * inside

        def same(axis: int, step: float) -> bool:
            nonlocal evaluations
            evaluations += 1
            moved = theta.copy()
            moved[axis] += step
            return self.loss(moved) <= minimum.loss + 1e-13

        for _ in range(2):
            for axis in range(3):
                theta[axis] += 0.5 * (edge(axis, 1.0) + edge(axis, -1.0))
        return Minimum(np.clip(theta, self.bounds[:, 0], self.bounds[:, 1]), minimum.loss, evaluations)


class PaperObjective:
    """Weighted mean square of log I - f(R), f increasing in the seed-averaged return."""

    def __init__(self, points: BinnedPoints, log_c0: float) -> None:
        """Prepare for ``points`` with m at log compute ``log_c0``."""
        self.log_c0, self.bounds = log_c0, _bounds(points)
        self._points = points = _below_plateau(points)
        self._order = TiedOrder(points.smooth_returns, points.weight)

    def loss(self, theta: Floats) -> float:
        """Mean square residual, in squared natural logarithms."""
        points = self._points
        log_i = PowerLaw.from_theta(theta, self.log_c0).log_intrinsic(points.log_n, points.log_e)
        residual = log_i - self._order.fit(log_i)
        return float(points.weight @ (residual * residual))

    def loss_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """The loss and its gradient, by the envelope theorem: f may be held fixed.

        The loss is the squared distance of log I to the cone of increasing functions of R, which is
        continuously differentiable although the blocks of the isotonic fit change with θ.
        """
        points = self._points
        law = PowerLaw.from_theta(theta, self.log_c0)
        log_i, slope = law.log_intrinsic_gradient(points.log_n, points.log_e)
        residual = log_i - self._order.fit(log_i)
        weighted = points.weight * residual
        return float(weighted @ residual), 2 * slope @ weighted

    def polish(self, start: Floats, *, scale: float, max_evaluations: int) -> Minimum:
        """SLSQP with the gradient; ``scale`` has no effect.

        It gets as near to the minimum as L-BFGS-B in as many evaluations. But L-BFGS-B calls threaded BLAS on
        3 x 3 matrices, whose threads wait for each other, up to 30 times as long on busy cores.
        """
        found = minimize(
            self.loss_and_gradient,
            np.clip(start, self.bounds[:, 0], self.bounds[:, 1]),
            jac=True,
            method="SLSQP",
            bounds=self.bounds,
            options={"maxiter": max_evaluations, "ftol": 1e-13},
        )
        return Minimum(found.x, float(found.fun), int(found.nfev))

    def centred(self, minimum: Minimum) -> Minimum:
        """The minimum itself: the loss is smooth and its minimum a point."""
        return minimum
