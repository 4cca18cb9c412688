"""From a return to its intrinsic performance, its optimum, and the limits of infinite width and data.

Hilton, Tang, Schulman 2023: as N → ∞, I takes E_inf(I) = E_c I^(β/α_E) interactions, and the optimum takes
(1 + α_E/α_N)^(1/α_E) times as many, whatever I (with a delay of learning, of the interactions that count).
E_inf makes the sample efficiency of another learner independent of a size; the paper finds humans about
10,000 times as efficient on StarPilot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.monotone_map import MonotoneMap
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.result import ReturnForecast, SampleEfficiency
from rlscale.analysis.records import CodedWarning
from rlscale.analysis.statistics.intervals import interval_of
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.analysis.theory.quantities import check_quantity
from rlscale.scaling.errors import InputError


def at_returns(fit: FitResult, returns: Sequence[float]) -> list[ReturnForecast]:
    """For each return: I, the optimum that reaches it, E_inf and N_inf.

    Each draw of the bootstrap has its own map: the increasing function through the points of the fit, ordered
    by the draw's I. So a shift common to all I does not widen the intervals twice. Returns stay as measured;
    their noise enters only through the law.

    Args:
        fit: a result of ``JointScalingFit.fit``.
        returns: within the range of the fitted map.

    Raises:
        InputError: if a return lies outside the map.
    """
    fitted_map = fit.monotone_map
    for value in returns:
        _check_inside(value, fitted_map)
    laws = fit.draw_laws()
    drawn_i = _drawn_intrinsic(fit, laws, returns)
    found = []
    for column, value in enumerate(returns):
        intrinsic = float(fitted_map.intrinsic_of(value))
        drawn = [_quantities(law, float(i)) for law, i in zip(laws, drawn_i[:, column], strict=True)]
        intervals = {name: interval_of([one[name] for one in drawn]) for name in drawn[0]} if drawn else {}
        quantities = _quantities(fit.law, intrinsic)
        found.append(ReturnForecast(return_=float(value), intervals=intervals, **quantities))
    return found


def sample_efficiency(
    fit: FitResult, reference_return: float, reference_interactions: float
) -> SampleEfficiency:
    """How many times more sample efficient a reference learner is than an infinitely wide agent.

    Args:
        fit: a result of ``JointScalingFit.fit``.
        reference_return: what the reference reaches, within the range of the fitted map.
        reference_interactions: environment steps it had, positive.

    Raises:
        InputError: if the return lies outside the map, or the interactions cannot be used.
    """
    e_ref = check_quantity("The reference's interactions", reference_interactions)
    (item,) = at_returns(fit, [reference_return])
    intervals = {}
    if item.intervals:
        low, high = item.intervals["E_inf"]
        intervals = {"E_inf": (low, high), "ratio": (low / e_ref, high / e_ref)}
    return SampleEfficiency(
        reference_return=item.return_,
        reference_interactions=e_ref,
        E_inf=item.E_inf,
        ratio=item.E_inf / e_ref,
        intervals=intervals,
    )


def _quantities(law: PowerLaw, intrinsic: float) -> dict[str, float]:
    compute = float(np.exp(law.log_least_compute(np.log(intrinsic)))) if law.delay else intrinsic
    e_opt, e_inf = float(law.E_opt(compute)), float(law.E_inf(intrinsic))
    return {
        "intrinsic": intrinsic,
        "N_opt": float(law.N_opt(compute)),
        "E_opt": e_opt,
        "E_inf": e_inf,
        "N_inf": float(law.N_inf(intrinsic)),
        "width_gain": e_opt / e_inf if law.delay else law.width_gain,
    }


def _drawn_intrinsic(fit: FitResult, laws: list[PowerLaw], returns: Sequence[float]) -> Floats:
    """I of each return by the map of each draw, shape ``(draws, returns)``."""
    points = fit.points
    log_n, log_e = np.log(points.N), np.log(points.E)
    drawn = [
        MonotoneMap.from_points(points.return_, law.log_intrinsic(log_n, log_e), points.weight).intrinsic_of(
            returns
        )
        for law in laws
    ]
    return np.array(drawn).reshape(len(laws), len(returns))


def within_map(fit: FitResult, returns: Sequence[float]) -> tuple[list[float], list[CodedWarning]]:
    """The returns that the fitted map knows, and a warning for each of the others."""
    found: list[float] = []
    warnings: list[CodedWarning] = []
    for value in returns:
        try:
            _check_inside(value, fit.monotone_map)
        except InputError as error:
            warnings.append((error.code, str(error)))
        else:
            found.append(value)
    return found, warnings


def _check_inside(value: float, fitted_map: MonotoneMap) -> None:
    low, high = float(fitted_map.return_[0]), float(fitted_map.return_[-1])
    if not low <= value <= high:  # not a number compares false
        raise InputError(
            f"A return of {value:g} lies outside the fitted map, which knows returns from {low:.6g} to "
            f"{high:.6g}; give a return within, or add runs that reach it.",
            code="return_outside_map",
        )
