"""Bootstrap draws of a model's coordinates, linear about its fit.

A draw repeats whole runs (``pooled.PairedResampling``), which changes the mean response and the weight of
each bin. The draw's response is regressed on the spline of y and on the slopes of the fit at once, so the map
is drawn too; the coefficients of the slopes are the steps from the fit. One draw is one linear regression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import norm
from scipy.stats import t as student

from rlscale.analysis.arrays import Floats, Ints
from rlscale.analysis.records import INTERVAL_LEVEL
from rlscale.analysis.studies.compare.models import Found, Model, PairProblem, Recipes
from rlscale.analysis.studies.compare.pooled import PairedPreprocessor, PairedResampling

_RIDGE = 1e-9  # of the largest eigenvalue: what the points do not determine does not move


@dataclass(frozen=True)
class Spread:
    """Draws of one model.

    Attributes:
        model: its bounds and coordinates.
        x: where the fit is.
        draws: coordinates, widened for few seeds, shape ``(draws, coordinates)``.
        widening: by which factor.
        freedom: degrees of freedom of the variance between seeds.
    """

    model: Model
    x: Floats
    draws: Floats
    widening: float
    freedom: float

    def recipes(self) -> list[Recipes]:
        """The laws and relation of each draw."""
        return [self.model.recipes(self.model.inside(row)) for row in self.draws]

    def standard_error(self, values: Floats) -> float:
        """Of what the draws give as ``values``, corrected for few seeds, for use with Student's quantiles."""
        level = (1 + INTERVAL_LEVEL) / 2
        return float(np.std(values, ddof=1) * norm.ppf(level) / student.ppf(level, self.freedom))

    def p_value(self, estimate: float, values: Floats) -> float:
        """Two-sided, of an estimate against 0."""
        error = self.standard_error(values)
        return float(2 * student.sf(abs(estimate) / max(error, 1e-300), self.freedom))

    def p_value_of(self, contrasts: Floats) -> float:
        """That ``contrasts @ x`` is 0 (Hotelling's T²); ``contrasts`` of shape ``(q, coordinates)``."""
        estimate, drawn = contrasts @ self.x, self.draws @ contrasts.T
        level = (1 + INTERVAL_LEVEL) / 2
        shrink = norm.ppf(level) / student.ppf(level, self.freedom)
        covariance = np.atleast_2d(np.cov(drawn.T)) * shrink**2
        square = float(estimate @ np.linalg.pinv(covariance) @ estimate)
        q, rest = len(contrasts), self.freedom - len(contrasts) + 1
        if rest <= 0:
            return 1.0
        return float(fisher.sf(square * rest / (self.freedom * q), q, rest))


def draw(
    model: Model,
    found: Found,
    problem: PairProblem,
    preprocessor: PairedPreprocessor,
    resampling: PairedResampling,
    counts: Ints,
) -> Spread:
    """The draws of one model.

    Args:
        counts: how often each run of A, then B, occurs in each draw, shape ``(draws, runs)``.
    """
    basis = problem.spline(model.recipes(found.x).levels(problem.points))
    design = np.hstack([basis, -found.slopes])
    weight, response = preprocessor.in_draws(counts)  # (draws, n) each
    start = _steps(design, problem.points.both.weight, problem.points.both.response, basis.shape[1])
    rows = [
        found.x + _steps(design, w, r, basis.shape[1]) - start for w, r in zip(weight, response, strict=True)
    ]
    drawn = np.array(rows)
    middle = np.median(drawn, axis=0)
    factor = resampling.widening
    return Spread(model, found.x, middle + factor * (drawn - middle), factor, resampling.freedom)


def _steps(design: Floats, weight: Floats, response: Floats, first: int) -> Floats:
    """Coefficients of the columns from ``first`` on."""
    weighted = design * weight[:, None]
    square = weighted.T @ design
    square[np.diag_indices_from(square)] += _RIDGE * np.trace(square)
    return np.asarray(np.linalg.solve(square, weighted.T @ response)[first:])
