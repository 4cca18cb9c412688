"""The results of forecasts: frozen models, and their JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rlscale.analysis.choices import Objective
from rlscale.analysis.records import (
    INTERVAL_LEVEL,
    SCHEMA_VERSION,
    Interval,
    Record,
    read_stored,
    return_field,
)


class Budget(Record):
    """A budget in FLOPs or GPU hours, and the compute N·E that it buys.

    Attributes:
        unit: ``flops`` or ``gpu-hours``.
        value: as given.
        flops: of all of training.
        compute: C whose optimum costs that.
        conversion: how the budget became compute, a sentence.
    """

    unit: Literal["flops", "gpu-hours"]
    value: float
    flops: float
    compute: float
    conversion: str


class ReturnForecast(Record):
    """The optimum and the limits that reach a return, by the fitted law and map.

    Attributes:
        return_: the return to reach (``return`` in the JSON).
        intrinsic: I = f(return), the least compute that reaches it (with a delay of learning, the least
            N·E' of the interactions that count).
        N_opt, E_opt: size and interactions that reach it with that compute.
        E_inf: interactions that an infinitely wide agent would need: an extrapolation by the law.
        N_inf: size that reaches it with endless experience: an extrapolation by the law.
        width_gain: E_opt/E_inf.
        intervals: 90% intervals of all of these; each draw has a law and a map of its own.
    """

    return_: float = return_field()
    intrinsic: float
    N_opt: float
    E_opt: float
    E_inf: float
    N_inf: float
    width_gain: float
    intervals: dict[str, Interval]


class SampleEfficiency(Record):
    """A learner outside the sweep, such as a human, against infinite width.

    Attributes:
        reference_return: its return.
        reference_interactions: the interactions it had.
        E_inf: interactions with which an infinitely wide agent reaches that return.
        ratio: E_inf over its own: how many times more sample efficient the reference is.
        intervals: 90% intervals of ``E_inf`` and ``ratio``.
    """

    reference_return: float
    reference_interactions: float
    E_inf: float
    ratio: float
    intervals: dict[str, Interval]


class ExtrapolatedReturn(Record):
    """A return where the map must be continued, see ``rlscale.analysis.forecast.prediction``.

    Attributes:
        estimate: the return.
        interval: 90% prediction interval; null without a bootstrap.
    """

    estimate: float
    interval: Interval | None


class EarlierEnds(Record):
    """How far off predictions were beyond earlier ends of the same data (``rolling_origin``).

    Attributes:
        median_absolute: of |measured - predicted| of returns as far above a cut in compute as the forecast is
            beyond the data, both relative to the span of log compute below; larger in proportion beyond all.
        tested_decades: the farthest in decades of compute that any of them lay above its cut.
    """

    median_absolute: float
    tested_decades: float


class Outside(Record):
    """How many decades a compute and its optimum lie outside the ranges of the data; 0 inside."""

    compute: float
    size: float
    interactions: float


class Forecast(Record):
    """What the law says for one compute.

    Attributes:
        compute: N·E.
        N_opt: compute-optimal size, in the unit of the fit's sizes.
        E_opt: environment steps for it.
        intervals: 90% intervals of ``N_opt``, ``E_opt`` and ``return``, where that is known; empty without a
            bootstrap. That of the return is for a mean over seeds of (N_opt, E_opt) trained.
        intervals_bias_corrected: the same, corrected for the median bias of the draws.
        intervals_total: ``intervals``, stretched to hold the optima by other choices of the analysis
            (``optimum``).
        extrapolation: decades beyond the data's range of compute, 0 inside.
        return_: the return there, null where the map would have to be extrapolated.
        return_extrapolated: the return there where the map has to be extrapolated, else null.
        env_cost: environment's cost of one step in units of size, or null.
        N_with_env_cost, E_with_env_cost: the size and steps that reach the same intrinsic
            performance at the least E·(N + env_cost), or null.
        overspend: cost of (N_opt, E_opt) over that of the optimum with the environment's cost.
        budget: the budget that the compute comes from, null if the compute was given.
        outside: the decades outside the data of the compute, of N_opt and of E_opt.
        earlier_ends: how well returns so far beyond the data could be predicted; null within them, or where
            too little is left to fit.
    """

    compute: float
    N_opt: float
    E_opt: float
    intervals: dict[str, Interval]
    extrapolation: float
    return_: float | None = return_field()
    env_cost: float | None = None
    N_with_env_cost: float | None = None
    E_with_env_cost: float | None = None
    overspend: float | None = None
    budget: Budget | None = None
    intervals_bias_corrected: dict[str, Interval] = Field(default_factory=dict)
    intervals_total: dict[str, Interval] = Field(default_factory=dict)
    return_extrapolated: ExtrapolatedReturn | None = None
    outside: Outside | None = None
    earlier_ends: EarlierEnds | None = None

    def total_interval(self, name: str) -> Interval | None:
        """The interval to state: the total one, or where only that of the draws is known, that.

        Args:
            name: ``N_opt``, ``E_opt`` or another one of ``intervals``.
        """
        return self.intervals_total.get(name) or self.intervals.get(name)


class ForecastResult(Record):
    """Forecasts with the warnings of their fit.

    Attributes:
        forecasts: one a compute or budget.
        returns: one a return to reach.
        sample_efficiency: of a reference learner, null where none was given.
    """

    kind: Literal["rlscale forecast"] = "rlscale forecast"
    schema_version: int = SCHEMA_VERSION
    forecasts: list[Forecast]
    objective: Objective
    identified: bool
    interval_level: float = INTERVAL_LEVEL
    warnings: list[str]
    warning_codes: list[str] = Field(default_factory=list)
    options: dict[str, Any]
    returns: list[ReturnForecast] = Field(default_factory=list)
    sample_efficiency: SampleEfficiency | None = None


def read_forecast(path: str | Path) -> ForecastResult:
    """The forecast stored in a JSON file by ``rlscale forecast --json``.

    Raises:
        InputError: if the file is missing, not JSON, or not a forecast of this version.
    """
    return read_stored(path, ForecastResult, "rlscale forecast FIT.json --json FILE")
