"""How the frontiers of two recipes relate, and the search for the relation that fits best.

Both recipes share one increasing map from return to a common scale y, the log compute with which recipe B
reaches a return on its efficient frontier. Each has its own law of intrinsic performance (Hilton, Tang,
Schulman 2023, eq. 1), and recipe A reaches the same return with

    log C_A = y + δ + γ (y - y_0)

δ is the log of the compute multiplier at y_0, γ its growth with log compute: with one law of loss per recipe,
L ∝ I^-β, it is β_B/β_A - 1. A ceiling is a third, constant term of eq. 1, which no compute removes:
e^(-β y) = I^-β + u e^(-β y_top), u > 0 for recipe A and, with the roles exchanged, u < 0 for recipe B.

Three models are compared:

* ``factor``: both have the exponents ν and k, each its own optimal size; γ = 0, u = 0;
* ``exponents``: each has its own law, and γ is free;
* ``ceiling``: ``factor``, and u is free.

The loss is that of the joint fit in return space, with a spline in place of the increasing map: the
response (ranks of returns in units of their noise) is regressed on a cubic spline of y, whose coefficients
are solved for at each step (variable projection). In trials δ differed from that of a search with isotonic
regression by less than half of its standard error. The spline makes the loss smooth: a fit takes a tenth of
the time, and a draw of the bootstrap, linear in the coordinates about the fit, a thousandth. But a spline may
fall, so two recipes far apart in y cost it nothing: starts are judged by isotonic regression, and δ stays
within reach of its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.interpolate import BSpline
from scipy.optimize import OptimizeResult, least_squares
from scipy.special import logit

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.objectives import K_BOUNDS, M_MARGIN, NU_BOUNDS, ReturnObjective, start_grid
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.statistics.isotonic import isotonic_loss
from rlscale.analysis.studies.compare.pooled import PairPoints
from rlscale.analysis.theory.power_law import PowerLaw

ModelName = Literal["factor", "exponents", "ceiling"]
MODELS: tuple[ModelName, ...] = ("factor", "exponents", "ceiling")

#: Bounds of δ about its start, of log(1 + γ), and of the ceiling u on its scale asinh(u).
_MAX_DELTA = float(np.log(20.0))
_MAX_LOG_SLOPE = float(np.log(4.0))
_MAX_CEILING = float(np.arcsinh(200.0))
#: Coordinates in which each model is searched: logit ν, log k, m, δ, log(1 + γ), asinh u.
_COORDINATES: dict[ModelName, tuple[str, ...]] = {
    "factor": ("nu", "k", "m_a", "m_b", "delta"),
    "exponents": ("nu_a", "k_a", "m_a", "nu_b", "k_b", "m_b", "delta", "slope"),
    "ceiling": ("nu", "k", "m_a", "m_b", "delta", "ceiling"),
}
#: Contrasts of the coordinates of ``exponents`` that are 0 in ``factor``: ν and k differ, γ.
SAME_EXPONENTS = np.array(
    [[1.0, 0, 0, -1, 0, 0, 0, 0], [0, 1.0, 0, 0, -1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1.0]]
)
_KNOTS = 16  # inner knots of the spline, at quantiles of y: enough for four steps of a return
_STEP = 1e-4  # of numerical derivatives: far above rounding, far below what changes the fit
_SCALE = 0.3  # of a usual change of a coordinate
_FIRST_DELTAS = np.linspace(-10, 10, 41)
_FIRST, _THEN = 5, 60  # evaluations from each start, and from the best of them


@dataclass(frozen=True)
class Recipes:
    """Two laws and how they relate.

    Attributes:
        law_a, law_b: m of A's law is at the compute with which A reaches what B reaches at ``log_pivot``.
        log_factor: δ, natural logarithm.
        growth: γ.
        ceiling: u at ``log_top``; positive for A, negative for B, 0 for none.
        log_pivot: y_0.
        log_top: y_top.
    """

    law_a: PowerLaw
    law_b: PowerLaw
    log_factor: float
    growth: float
    ceiling: float
    log_pivot: float
    log_top: float

    def level_a(self, log_n: Floats, log_e: Floats) -> Floats:
        """y that recipe A reaches with these sizes and interactions (logarithms)."""
        return self.best_level_a(self.law_a.log_intrinsic(log_n, log_e))

    def best_level_a(self, log_c: Floats) -> Floats:
        """y that recipe A reaches at best with this log compute."""
        y = self.log_pivot + (log_c - self.log_pivot - self.log_factor) / (1 + self.growth)
        return _capped(y, max(self.ceiling, 0.0), self.law_b.beta, self.log_top)

    def level_b(self, log_n: Floats, log_e: Floats) -> Floats:
        """y that recipe B reaches."""
        return self.best_level_b(self.law_b.log_intrinsic(log_n, log_e))

    def best_level_b(self, log_c: Floats) -> Floats:
        """y that recipe B reaches at best with this log compute."""
        return _capped(log_c, max(-self.ceiling, 0.0), self.law_b.beta, self.log_top)

    def levels(self, points: PairPoints) -> Floats:
        """y of all points, shape ``(n,)``."""
        both, a = points.both, points.num_a
        return np.concatenate(
            [self.level_a(both.log_n[:a], both.log_e[:a]), self.level_b(both.log_n[a:], both.log_e[a:])]
        )

    def log_compute_a(self, y: Floats) -> Floats:
        """Least log compute with which A reaches level y; infinite above its ceiling."""
        z = _uncapped(y, max(self.ceiling, 0.0), self.law_b.beta, self.log_top)
        return (1 + self.growth) * z + self.log_factor - self.growth * self.log_pivot

    def log_compute_b(self, y: Floats) -> Floats:
        """The same for B: y itself below a ceiling."""
        return _uncapped(y, max(-self.ceiling, 0.0), self.law_b.beta, self.log_top)

    def log_multiplier(self, y: Floats) -> Floats:
        """log(C_A/C_B) at level y; infinite above a ceiling."""
        return self.log_compute_a(y) - self.log_compute_b(y)

    @property
    def log_ceiling(self) -> float:
        """y that the recipe with a ceiling approaches; infinite without one."""
        if self.ceiling == 0:
            return np.inf
        return float(self.log_top - np.log(abs(self.ceiling)) / self.law_b.beta)


def _capped(y: Floats, u: float, beta: float, top: float) -> Floats:
    return y if u == 0 else y - np.log1p(u * np.exp(np.minimum(beta * (y - top), 700.0))) / beta


def _uncapped(y: Floats, u: float, beta: float, top: float) -> Floats:
    if u == 0:
        return np.asarray(y, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = 1 - u * np.exp(np.minimum(beta * (y - top), 700.0))
        return np.where(left > 0, y - np.log(np.maximum(left, 1e-300)) / beta, np.inf)


class PairProblem:
    """Least squares of the response on a spline of y, for the points of both recipes."""

    def __init__(self, points: PairPoints, log_pivot: float, log_top: float) -> None:
        self.points, self.log_pivot, self.log_top = points, log_pivot, log_top
        both = points.both
        self._root = np.sqrt(both.weight)
        centred = both.response - both.weight @ both.response
        self.variance = max(float(both.weight @ (centred * centred)), 1e-300)

    def spline(self, y: Floats) -> Floats:
        """Values of the basis at y, shape ``(n, knots + 4)``."""
        order = np.argsort(y, kind="stable")
        weight = self.points.both.weight[order]
        share = np.cumsum(weight) - 0.5 * weight
        low, high = float(y.min()), float(max(y.max(), y.min() + 1e-9))
        inner = np.interp(np.arange(1, _KNOTS + 1) / (_KNOTS + 1), share, y[order])
        knots = np.concatenate([np.full(4, low), np.clip(inner, low, high), np.full(4, high)])
        return np.asarray(BSpline.design_matrix(np.clip(y, low, high), knots, 3).toarray())

    def residuals(self, recipes: Recipes) -> Floats:
        """Weighted response less its projection on the spline, shape ``(n,)``."""
        basis, _ = np.linalg.qr(self._root[:, None] * self.spline(recipes.levels(self.points)))
        response = self._root * self.points.both.response
        return np.asarray(response - basis @ (basis.T @ response))

    def loss(self, recipes: Recipes) -> float:
        """1 - R² of the best increasing function of y, in 0..1."""
        both = self.points.both
        return isotonic_loss(recipes.levels(self.points), both.response, both.weight) / self.variance


@dataclass(frozen=True)
class Found:
    """Where the search of a model ended.

    Attributes:
        x: its coordinates.
        loss: 1 - R² of the spline.
        slopes: derivative of the unweighted residuals with respect to x, shape ``(n, coordinates)``.
    """

    x: Floats
    loss: float
    slopes: Floats


@dataclass(frozen=True)
class Model:
    """One of the three models, as coordinates for a search.

    Attributes:
        name: of the model.
        log_pivot, log_top: y_0 and y_top.
        bounds: of its coordinates, shape ``(coordinates, 2)``.
    """

    name: ModelName
    log_pivot: float
    log_top: float
    bounds: Floats

    @classmethod
    def of(cls, name: ModelName, problem: PairProblem, delta: float) -> Model:
        """The model with bounds for these points, and about a first δ."""
        both = problem.points.both
        limits = {
            "nu": tuple(logit(NU_BOUNDS)),
            "k": tuple(np.log(K_BOUNDS)),
            "m": (both.log_n.min() - M_MARGIN, both.log_n.max() + M_MARGIN),
            "delta": (delta - _MAX_DELTA, delta + _MAX_DELTA),
            "slope": (-_MAX_LOG_SLOPE, _MAX_LOG_SLOPE),
            "ceiling": (-_MAX_CEILING, _MAX_CEILING),
        }
        bounds = np.array([limits[coordinate.split("_")[0]] for coordinate in _COORDINATES[name]], float)
        return cls(name, problem.log_pivot, problem.log_top, bounds)

    def recipes(self, x: Floats) -> Recipes:
        """The two laws and their relation at coordinates x."""
        at = dict(zip(_COORDINATES[self.name], x.tolist(), strict=True))
        delta = at["delta"]
        law_a, law_b = (
            PowerLaw.from_theta(
                np.array([at.get("nu", at.get(f"nu_{r}")), at.get("k", at.get(f"k_{r}")), at[f"m_{r}"]]),
                log_c0,
            )
            for r, log_c0 in (("a", self.log_pivot + delta), ("b", self.log_pivot))
        )
        return Recipes(
            law_a=law_a,
            law_b=law_b,
            log_factor=delta,
            growth=float(np.expm1(at.get("slope", 0.0))),
            ceiling=float(np.sinh(at.get("ceiling", 0.0))),
            log_pivot=self.log_pivot,
            log_top=self.log_top,
        )

    def inside(self, x: Floats) -> Floats:
        """x moved inside the bounds."""
        return np.clip(x, self.bounds[:, 0] + 1e-6, self.bounds[:, 1] - 1e-6)

    def at_bound(self, x: Floats) -> bool:
        """Whether a coordinate lies at its bound."""
        return bool(((x - self.bounds[:, 0] < 0.02) | (self.bounds[:, 1] - x < 0.02)).any())

    def search(self, problem: PairProblem, starts: Sequence[Floats]) -> Found:
        """Least squares from each start for a few steps, then from the best of them to its end."""

        def solve(start: Floats, evaluations: int) -> OptimizeResult:
            return least_squares(
                lambda x: problem.residuals(self.recipes(x)),
                self.inside(start),
                bounds=(self.bounds[:, 0], self.bounds[:, 1]),
                diff_step=_STEP,
                x_scale=_SCALE,
                max_nfev=evaluations,
            )

        first = [solve(start, _FIRST) for start in starts]
        best = solve(min(first, key=lambda found: problem.loss(self.recipes(found.x))).x, _THEN)
        return Found(
            x=best.x,
            loss=2 * float(best.cost) / problem.variance,
            slopes=best.jac / np.sqrt(problem.points.both.weight)[:, None],
        )


def fit_models(problem: PairProblem) -> dict[ModelName, tuple[Model, Found]]:
    """Each model at its best: from the recipes' own laws, and from the smaller model's best."""
    pivot = problem.log_pivot
    theta_a, theta_b = (_own_law(points, pivot) for points in (problem.points.a, problem.points.b))
    law_a = PowerLaw.from_theta(theta_a, pivot)

    def own(delta: float) -> Floats:
        return np.array([*theta_a[:2], law_a.log_N_opt(pivot + delta), *theta_b, delta, 0.0])

    anywhere = Model.of("exponents", problem, 0.0)
    separate = min(map(own, _FIRST_DELTAS), key=lambda x: problem.loss(anywhere.recipes(x)))
    delta = float(separate[-2])
    models = {name: Model.of(name, problem, delta) for name in MODELS}
    shared = [
        np.array([*theta[:2], separate[2], separate[5], delta])
        for theta in (theta_a, theta_b, 0.5 * (theta_a + theta_b))
    ]
    factor = models["factor"].search(problem, shared)
    nu, k, m_a, m_b, delta = factor.x
    exponents = models["exponents"].search(
        problem, [separate, np.array([nu, k, m_a, nu, k, m_b, delta, 0.0])]
    )
    ceiling = models["ceiling"].search(problem, [np.append(factor.x, 0.0)])
    return {
        "factor": (models["factor"], factor),
        "exponents": (models["exponents"], exponents),
        "ceiling": (models["ceiling"], ceiling),
    }


def _own_law(points: BinnedPoints, log_c0: float) -> Floats:
    """θ of the law of one recipe alone, roughly, shape ``(3,)``."""
    objective = ReturnObjective(points, log_c0)
    starts = start_grid(objective.bounds)
    first = np.argsort([objective.loss(start) for start in starts], kind="stable")[:2]
    found = [objective.polish(starts[i], scale=1.0, max_evaluations=150) for i in first]
    return min(found, key=lambda minimum: minimum.loss).theta
