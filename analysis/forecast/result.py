"""What a forecast returns: frozen models that survive a round trip through JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rlscale.analysis.choices import Objective
from rlscale.analysis.fit.findings import Budget, ReturnForecast, SampleEfficiency
from rlscale.analysis.records import (
    INTERVAL_LEVEL,
    SCHEMA_VERSION,
    Interval,
    Record,
    read_stored,
    return_field,
)


class Forecast(Record):
    """What the law says for one compute.

    Attributes:
        compute: N·E.
        N_opt: compute-optimal size, in the unit of the fit's sizes.
        E_opt: environment steps for it.
        intervals: 90% intervals of ``N_opt`` and ``E_opt``; empty without a bootstrap.
        intervals_bias_corrected: the same, corrected for the median bias of the draws.
        intervals_total: the same, stretched to hold the optima of refits without more of early training.
        extrapolation: decades beyond the data's range of compute, 0 inside.
        return_: the return there, null where the map would have to be extrapolated.
        env_cost: environment's cost of one step in units of size, or null.
        N_with_env_cost, E_with_env_cost: the size and steps that reach the same intrinsic
            performance at the least E·(N + env_cost), or null.
        overspend: cost of (N_opt, E_opt) over that of the optimum with the environment's cost.
        budget: what the compute was bought with, null where it was given itself.
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


class ForecastResult(Record):
    """Forecasts with the warnings of the fit they rest on.

    Attributes:
        forecasts: one a compute or budget.
        returns: one a return that was asked for.
        sample_efficiency: of a reference learner, null where none was given.
    """

    kind: Literal["rlscale forecast"] = "rlscale forecast"
    schema_version: int = SCHEMA_VERSION
    forecasts: list[Forecast]
    objective: Objective
    identified: bool
    interval_level: float = INTERVAL_LEVEL
    warnings: list[str]
    options: dict[str, Any]
    returns: list[ReturnForecast] = Field(default_factory=list)
    sample_efficiency: SampleEfficiency | None = None


def read_forecast(path: str | Path) -> ForecastResult:
    """The forecast stored in a JSON file by ``rlscale forecast --json``.

    Raises:
        InputError: if the file is missing, not JSON, or not a forecast of this version.
    """
    return read_stored(path, ForecastResult, "rlscale forecast FIT.json --json FILE")
