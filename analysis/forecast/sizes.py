"""Compute-optimal sizes from a stored fit, with intervals, and how far each is an extrapolation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.optimum import optimum_ends
from rlscale.analysis.forecast.prediction import ReturnPredictor
from rlscale.analysis.forecast.result import (
    Budget,
    EarlierEnds,
    ExtrapolatedReturn,
    Forecast,
    ForecastResult,
    Outside,
)
from rlscale.analysis.forecast.returns import at_returns, sample_efficiency, within_map
from rlscale.analysis.records import CodedWarning, Interval, warning_fields
from rlscale.analysis.statistics.intervals import interval_of
from rlscale.analysis.theory.power_law import PowerLaw, check_env_cost
from rlscale.analysis.theory.quantities import check_quantity
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either


def forecast(
    fit: FitResult,
    computes: float | Sequence[float] = (),
    *,
    env_cost: float | None = None,
    budgets: Sequence[Budget] = (),
    returns: float | Sequence[float] = (),
    reference: tuple[float, float] | None = None,
) -> ForecastResult:
    """Forecast for each compute, budget and return.

    Args:
        fit: a result of ``JointScalingFit.fit``.
        computes: one or more C = N·E, positive, in units of the fit's size x environment steps.
        env_cost: N_e, what one environment step costs in units of size; adds the size that reaches the
            intrinsic performance of the optimum, I = C without a delay, at the least E·(N + N_e).
        budgets: from ``rlscale.analysis.forecast.budgets``, each with the compute that it buys.
        returns: one or more to reach, within the fitted map; see ``rlscale.analysis.forecast.returns``. One
            outside it gets a warning (code ``return_outside_map``) if there is anything else to forecast for.
        reference: (return, interactions) of another learner, to compare with infinite width.

    Returns:
        One forecast a compute, then one a budget, in the order given, with the fit's warnings and one for
        each extrapolation.

    Raises:
        InputError: if there is nothing to forecast for, or a number cannot be used.
    """
    spent: list[float] = np.atleast_1d(np.asarray(computes, float)).tolist()
    wanted: list[float] = np.atleast_1d(np.asarray(returns, float)).tolist()
    if not (spent or len(budgets) or wanted or reference):
        raise InputError(
            "Nothing to forecast for: give a compute, a budget or a return, e.g. "
            f"{either('--compute 1e12', 'computes=[1e12]')}.",
            code="nothing_to_forecast",
        )
    for compute in spent:
        check_quantity("Compute", compute)
    if env_cost is not None:
        check_env_cost(env_cost)
    known, outside = within_map(fit, wanted)
    if not (spent or budgets or known or reference):
        known = wanted  # of which the first is refused
    laws = fit.draw_laws()
    predictor = ReturnPredictor.of(fit)
    forecasts = [_forecast(fit, predictor, laws, compute, env_cost) for compute in spent]
    for budget in budgets:
        bought = _forecast(fit, predictor, laws, budget.compute, env_cost)
        forecasts.append(bought.model_copy(update={"budget": budget}))
    extrapolated: list[CodedWarning] = [
        (
            "extrapolation",
            f"Compute {item.compute:.3g} is {item.extrapolation:.1f} decades outside the data: "
            f"its figures are an extrapolation.",
        )
        for item in forecasts
        if item.extrapolation > 0
    ]
    extrapolated += [
        (
            "untested_extrapolation",
            f"Compute {item.compute:.3g} lies farther out than the {item.earlier_ends.tested_decades:.1f} "
            f"decades over which earlier ends of these data can test predictions: measure in between first.",
        )
        for item in forecasts
        if item.earlier_ends is not None and item.extrapolation > item.earlier_ends.tested_decades
    ]
    return ForecastResult(
        forecasts=forecasts,
        objective=fit.objective,
        identified=fit.identified,
        **warning_fields(fit, extrapolated, outside),
        options={
            "computes": spent,
            "env_cost": env_cost,
            "size": fit.provenance.size,
            "returns": wanted,
        },
        returns=at_returns(fit, known),
        sample_efficiency=sample_efficiency(fit, *reference) if reference else None,
    )


def optimal_size(fit: FitResult, compute: float, *, env_cost: float | None = None) -> Forecast:
    """The compute-optimal size for one compute, with its interval; arguments as for ``forecast``.

    Raises:
        InputError: if the compute or the cost cannot be used.
    """
    return forecast(fit, [compute], env_cost=env_cost).forecasts[0]


def decades_outside(value: float, low: float, high: float) -> float:
    """How many decades ``value`` lies outside [low, high]; 0 inside."""
    return float(max(np.log10(value / high), np.log10(low / value), 0.0))


def _forecast(
    fit: FitResult, predictor: ReturnPredictor, laws: list[PowerLaw], compute: float, env_cost: float | None
) -> Forecast:
    law = fit.law
    intrinsic = _best_intrinsic(law, compute)
    best_n, best_e = float(law.N_opt(compute)), float(law.E_opt(compute))
    if best_n < 1 and fit.provenance.size != "flops":
        raise InputError(
            f"Compute {compute:.3g} is too small: the optimum there would be {best_n:.2g} of a parameter; "
            f"give a compute nearer to the data ({fit.range.C[0]:.3g} to {fit.range.C[1]:.3g}).",
            code="below_one_parameter",
        )
    beyond = decades_outside(compute, *fit.range.C)
    found = Forecast(
        compute=compute,
        N_opt=best_n,
        E_opt=best_e,
        **_optimum_intervals(fit, compute),
        extrapolation=beyond,
        return_=None,
        outside=Outside(
            compute=beyond,
            size=decades_outside(best_n, *fit.range.N),
            interactions=decades_outside(best_e, *fit.range.E),
        ),
        earlier_ends=_earlier_ends(predictor, best_n, best_e),
    )
    found = _with_return(fit, predictor, found)
    if env_cost is None:
        return found
    n, e = law.optimum_with_env_cost(intrinsic, env_cost)
    reached = [(one, _best_intrinsic(one, compute)) for one in laws]
    drawn = np.array([one.optimum_with_env_cost(i, env_cost) for one, i in reached]).reshape(-1, 2)
    spent = np.array([one.env_cost_overspend(i, env_cost)[1] for one, i in reached])
    with_cost = _intervals(N_with_env_cost=drawn[:, 0], E_with_env_cost=drawn[:, 1], overspend=spent)
    return found.model_copy(
        update={
            "env_cost": env_cost,
            "N_with_env_cost": n,
            "E_with_env_cost": e,
            "overspend": law.env_cost_overspend(intrinsic, env_cost)[1],
            "intervals": {**found.intervals, **with_cost},
        }
    )


def _best_intrinsic(law: PowerLaw, compute: float) -> float:
    """I on the frontier: the compute itself (lemma), less with a delay."""
    return float(np.exp(law.log_best_intrinsic(np.log(compute)))) if law.delay else compute


def _with_return(fit: FitResult, predictor: ReturnPredictor, item: Forecast) -> Forecast:
    """The forecast with the return of its optimum, known or extrapolated, and the interval of it."""
    at = predictor.at(np.log([item.N_opt]), np.log([item.E_opt]))
    ends = (float(at.low[0]), float(at.high[0])) if item.intervals else None
    known = fit.monotone_map.known_return_of(_best_intrinsic(fit.law, item.compute))
    if known is None:
        beyond = ExtrapolatedReturn(estimate=float(at.returns[0]), interval=ends)
        return item.model_copy(update={"return_extrapolated": beyond})
    if ends is None:
        return item.model_copy(update={"return_": known})
    held = {"return": (min(ends[0], known), max(ends[1], known))}
    return item.model_copy(update={"return_": known, "intervals": {**item.intervals, **held}})


def _optimum_intervals(fit: FitResult, compute: float) -> dict[str, dict[str, Interval]]:
    """Intervals of N_opt and E_opt = C/N_opt, whose ends belong together, of each kind."""
    ends = optimum_ends(fit, compute)
    if ends is None:
        return {"intervals": {}}
    kinds = {
        "intervals": ends.plain,
        "intervals_bias_corrected": ends.bias_corrected,
        "intervals_total": ends.total,
    }
    return {
        kind: {"N_opt": (float(low), float(high)), "E_opt": (float(compute / high), float(compute / low))}
        for kind, (low, high) in ((kind, both[:, 0]) for kind, both in kinds.items())
    }


def _earlier_ends(predictor: ReturnPredictor, n: float, e: float) -> EarlierEnds | None:
    """What predictions of returns missed as far beyond earlier ends of the data; None within the data."""
    ends = predictor.earlier_ends
    missed = ends.typical_miss(float(np.log(n)), float(np.log(e)))
    if missed is None:
        return None
    return EarlierEnds(median_absolute=missed, tested_decades=ends.tested / float(np.log(10)))


def _intervals(**draws: Floats) -> dict[str, Interval]:
    return {name: interval_of(values) for name, values in draws.items() if len(values)}
