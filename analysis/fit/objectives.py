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

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.optimize import minimize
from scipy.special import logit

from rlscale.analysis.arrays import Floats
from rlscale.analysis.points.fixed_logs import on_grid
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.statistics.isotonic import TiedOrder, isotonic_loss
from rlscale.analysis.theory.power_law import PowerLaw

NU_BOUNDS = (0.02, 0.98)
K_BOUNDS = (0.02, 30.0)
M_MARGIN = float(on_grid(np.log(1e3)))  # how far beyond the sizes the optimum at C0 may lie
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

    def polish_at_nu(self, start: Floats, *, scale: float, max_evaluations: int) -> Minimum:
        """Local search from θ over log k and m alone."""
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


class _Shifted(ABC):
    """Arithmetic that no unit of N and E changes: logarithms and m are counted from the least of the points.

    From outside θ has m as it is. Inside, and on the grid of ``rlscale.analysis.points.fixed_logs``, a search
    takes the same steps, bit for bit, whatever the units.
    """

    def __init__(self, points: BinnedPoints, log_c0: float) -> None:
        self.log_c0 = log_c0
        self._first_n, self._first_e = float(points.log_n.min()), float(points.log_e.min())
        self._log_n, self._log_e = points.log_n - self._first_n, points.log_e - self._first_e
        self._inner_c0 = log_c0 - self._first_n - self._first_e
        m = (-M_MARGIN, float(self._log_n.max()) + M_MARGIN)
        self._inner_bounds = np.array([logit(NU_BOUNDS), np.log(K_BOUNDS), m])
        self.bounds = self._inner_bounds + np.array([[0.0], [0.0], [self._first_n]])

    def loss(self, theta: Floats) -> float:
        """The objective at θ of shape ``(3,)``."""
        return self._loss(np.array([theta[0], theta[1], theta[2] - self._first_n]))

    @abstractmethod
    def _loss(self, inner: Floats) -> float:
        """The objective at θ with m counted from the smallest size."""

    def _law(self, inner: Floats) -> PowerLaw:
        return PowerLaw.from_theta(inner, self._inner_c0)

    def _log_intrinsic(self, inner: Floats) -> Floats:
        return self._law(inner).log_intrinsic(self._log_n, self._log_e)

    def _inside(self, theta: Floats) -> Floats:
        """Where a search starts, within the bounds."""
        inner = np.array([theta[0], theta[1], float(on_grid(theta[2] - self._first_n))])
        return np.clip(inner, self._inner_bounds[:, 0], self._inner_bounds[:, 1])

    def _outside(self, inner: Floats, evaluations: int) -> Minimum:
        """Where a search ended."""
        inner = np.array([inner[0], inner[1], float(on_grid(inner[2]))])
        theta = np.array([inner[0], inner[1], inner[2] + self._first_n])
        return Minimum(theta, self._loss(inner), evaluations + 1)


class ReturnObjective(_Shifted):
    """Share of the variance of the response that no increasing function of log I explains."""

    def __init__(self, points: BinnedPoints, log_c0: float) -> None:
        """Prepare for ``points`` with m at log compute ``log_c0``."""
        super().__init__(points, log_c0)
        self._response, self._weight = points.response, points.weight
        centred = points.response - points.weight @ points.response
        self._variance = max(float(points.weight @ (centred * centred)), 1e-300)

    def _loss(self, inner: Floats) -> float:
        """1 - R², in 0..1."""
        return isotonic_loss(self._log_intrinsic(inner), self._response, self._weight) / self._variance

    def polish(self, start: Floats, *, scale: float, max_evaluations: int) -> Minimum:
        """Nelder-Mead, because the loss depends only on an order and is constant in pieces."""
        found, evaluations = self._simplex_search(
            self._loss, self._inside(start), scale, self._inner_bounds, max_evaluations
        )
        return self._outside(found, evaluations)

    def polish_at_nu(self, start: Floats, *, scale: float, max_evaluations: int) -> Minimum:
        """The same over log k and m."""
        first = self._inside(start)
        found, evaluations = self._simplex_search(
            lambda rest: self._loss(np.array([first[0], *rest])),
            first[1:],
            scale,
            self._inner_bounds[1:],
            max_evaluations,
        )
        return self._outside(np.array([first[0], *found]), evaluations)

    @staticmethod
    def _simplex_search(
        loss: Callable[[Floats], float], start: Floats, scale: float, bounds: Floats, max_evaluations: int
    ) -> tuple[Floats, int]:
        simplex = np.vstack([start, start + scale * np.diag(_STEPS[-len(start) :])])
        inside = np.clip(simplex, bounds[:, 0], bounds[:, 1])
        inside[1:] -= 2 * (simplex - inside)[1:]  # a step beyond a bound goes inwards instead
        found = minimize(
            loss,
            inside[0],
            method="Nelder-Mead",
            bounds=bounds,
            options={
                "initial_simplex": np.clip(inside, bounds[:, 0], bounds[:, 1]),
                "xatol": 1e-2 * abs(scale),
                "fatol": np.inf,
                "maxfev": max_evaluations,
            },
        )
        return found.x, int(found.nfev)

    def centred(self, minimum: Minimum) -> Minimum:
        """Middle, axis by axis, of the region of equal loss around a minimum.

        Without noise the loss is exactly 0 wherever the order of log I is that of the returns. No point of
        that region is better than another; its centre has the smallest maximal error.
        """
        theta, evaluations = self._inside(minimum.theta), minimum.evaluations

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
            return self._loss(moved) <= minimum.loss + 1e-13

        for _ in range(2):
            for axis in range(3):
                theta[axis] += 0.5 * (edge(axis, 1.0) + edge(axis, -1.0))
        centre = np.clip(theta, self._inner_bounds[:, 0], self._inner_bounds[:, 1])
        return replace(self._outside(centre, evaluations), loss=minimum.loss)


class PaperObjective(_Shifted):
    """Weighted mean square of log I - f(R), f increasing in the seed-averaged return."""

    def __init__(self, points: BinnedPoints, log_c0: float) -> None:
        """Prepare for ``points`` with m at log compute ``log_c0``."""
        super().__init__(points, log_c0)
        used = _below_plateau(points)
        self._log_n, self._log_e = used.log_n - self._first_n, used.log_e - self._first_e
        self._weight = used.weight
        self._order = TiedOrder(_levels(used.smooth_returns), used.weight)

    def _loss(self, inner: Floats) -> float:
        """Mean square residual, in squared natural logarithms."""
        log_i = self._log_intrinsic(inner)
        residual = log_i - self._order.fit(log_i)
        return float(self._weight @ (residual * residual))

    def loss_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """The loss and its gradient, by the envelope theorem: f may be held fixed.

        The loss is the squared distance of log I to the cone of increasing functions of R, which is
        continuously differentiable although the blocks of the isotonic fit change with θ.
        """
        return self._loss_and_gradient(np.array([theta[0], theta[1], theta[2] - self._first_n]))

    def _loss_and_gradient(self, inner: Floats) -> tuple[float, Floats]:
        log_i, slope = self._law(inner).log_intrinsic_gradient(self._log_n, self._log_e)
        residual = log_i - self._order.fit(log_i)
        weighted = self._weight * residual
        return float(weighted @ residual), 2 * slope @ weighted

    def polish(self, start: Floats, *, scale: float, max_evaluations: int) -> Minimum:
        """SLSQP with the gradient; ``scale`` has no effect.

        It gets as near to the minimum as L-BFGS-B in as many evaluations. But L-BFGS-B calls threaded BLAS on
        3 x 3 matrices, whose threads wait for each other, up to 30 times as long on busy cores.
        """
        return self._descend(self._inside(start), self._inner_bounds, max_evaluations)

    def polish_at_nu(self, start: Floats, *, scale: float, max_evaluations: int) -> Minimum:
        """The same with ν at both of its bounds."""
        first, bounds = self._inside(start), self._inner_bounds.copy()
        bounds[0, :] = first[0]
        return self._descend(first, bounds, max_evaluations)

    def _descend(self, start: Floats, bounds: Floats, max_evaluations: int) -> Minimum:
        found = minimize(
            self._loss_and_gradient,
            start,
            jac=True,
            method="SLSQP",
            bounds=bounds,
            options={"maxiter": max_evaluations, "ftol": 1e-13},
        )
        return self._outside(found.x, int(found.nfev))

    def centred(self, minimum: Minimum) -> Minimum:
        """The minimum itself: the loss is smooth and its minimum a point."""
        return minimum


def _levels(returns: Floats) -> Floats:
    """Returns as shares of their range, on a grid on which averages of equal returns are equal."""
    low, high = float(returns.min()), float(returns.max())
    return on_grid((returns - low) / max(high - low, 1e-300))
