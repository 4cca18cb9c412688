"""The results of forecasts: frozen models, and their JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rlscale.analysis.choices import Objective
from rlscale.analysis.formatting.numbers import brief_number, counted, interval_text
from rlscale.analysis.records import (
    INTERVAL_LEVEL,
    SCHEMA_VERSION,
    Interval,
    Record,
    read_stored,
    return_field,
)
from rlscale.analysis.results import Result, ends, frame_of_rows, with_interval

if TYPE_CHECKING:
    import pandas as pd


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


class ReturnForecast(Result):
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

    def headline(self) -> str:
        """The least compute that reaches the return."""
        compute = with_interval(self.intrinsic, self.intervals.get("intrinsic"))
        return f"return {self.return_:.4g} takes compute {compute}"

    def summary(self) -> pd.DataFrame:
        """A row for each quantity, with its interval."""
        names = ("intrinsic", "N_opt", "E_opt", "E_inf", "N_inf", "width_gain")
        rows = {name: {"estimate": getattr(self, name), **ends(self.intervals.get(name))} for name in names}
        return frame_of_rows(rows, "estimate of")

    def to_frame(self) -> pd.DataFrame:
        """One row: the return, then each quantity with the ends of its interval."""
        return _wide({"return": self.return_}, self.summary())


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


class Forecast(Result):
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

    def headline(self) -> str:
        """The optimal size with its interval, and whether it is an extrapolation."""
        far = f", {self.extrapolation:.1f} decades outside the data" if self.extrapolation else ""
        size = with_interval(self.N_opt, self.total_interval("N_opt"))
        return (
            f"compute {brief_number(self.compute)}: N_opt = {size}, E_opt = {brief_number(self.E_opt)}{far}"
        )

    def summary(self) -> pd.DataFrame:
        """A row for each quantity with its interval, which holds other shares of early training where they
        are known.

        ``extrapolated`` says of each whether it goes beyond the data.
        """
        beyond = self.extrapolation > 0
        found: dict[str, tuple[float | None, Interval | None, bool]] = {
            name: (getattr(self, name), self.total_interval(name), beyond)
            for name in ("N_opt", "E_opt", "N_with_env_cost", "E_with_env_cost", "overspend")
        }
        found["return"] = (self.return_, self.intervals.get("return"), False)
        if self.return_extrapolated is not None:
            found["return"] = (self.return_extrapolated.estimate, self.return_extrapolated.interval, True)
        rows = {
            name: {"estimate": value, **ends(interval), "extrapolated": extrapolated}
            for name, (value, interval, extrapolated) in found.items()
            if value is not None
        }
        return frame_of_rows(rows, "estimate of")

    def to_frame(self) -> pd.DataFrame:
        """One row: the compute, then each quantity with the ends of its interval."""
        table = self.summary()
        extrapolated = bool(table["extrapolated"].get("return", False))
        first = {"compute": self.compute, "extrapolation": self.extrapolation}
        return _wide(first, table.drop(columns="extrapolated")).assign(return_extrapolated=extrapolated)


class ForecastResult(Result):
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

    def headline(self) -> str:
        """How much it forecasts, and whether the fit's exponents are identified."""
        parts = [
            *([counted(len(self.forecasts), "optimal size")] if self.forecasts else []),
            *([counted(len(self.returns), "return") + " to reach"] if self.returns else []),
        ]
        known = "identified" if self.identified else "not identified"
        return f"{' and '.join(parts) or 'the sample efficiency of a reference'}; exponents {known}"

    def summary(self) -> pd.DataFrame:
        """As ``to_frame``."""
        return self.to_frame()

    def to_frame(self) -> pd.DataFrame:
        """A row for each compute and budget, as ``Forecast.to_frame``; without any, a row for each return."""
        return _stacked(self.forecasts or self.returns)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Both kinds of rows, each number with its interval in one cell."""
        found = {}
        if self.forecasts:
            title = "Optimal sizes; * beyond the data"
            found[title] = _cells({brief_number(item.compute): item for item in self.forecasts}, "compute")
        if self.returns:
            found["Returns to reach"] = _cells(
                {f"{item.return_:.4g}": item for item in self.returns}, "return"
            )
        return found


def read_forecast(path: str | Path) -> ForecastResult:
    """The forecast stored in a JSON file by ``rlscale forecast --json``.

    Raises:
        InputError: if the file is missing, not JSON, or not a forecast of this version.
    """
    return read_stored(path, ForecastResult, "rlscale forecast FIT.json --json FILE")


def _wide(first: dict[str, float], table: pd.DataFrame) -> pd.DataFrame:
    """One row: the cells of ``first``, then for each row of ``table`` its estimate and the ends."""
    import pandas as pd

    cells: dict[str, float] = dict(first)
    for name, row in table.to_dict("index").items():
        cells |= {str(name): row["estimate"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
    return pd.DataFrame([cells])


def _stacked(items: Sequence[Forecast] | Sequence[ReturnForecast]) -> pd.DataFrame:
    import pandas as pd

    frames = [item.to_frame() for item in items]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _cells(items: Mapping[str, Forecast] | Mapping[str, ReturnForecast], index: str) -> pd.DataFrame:
    """A row for each item, its quantities as text: the estimate, then its interval."""
    rows = {}
    for name, item in items.items():
        rows[name] = {
            str(quantity): brief_number(row["estimate"])
            + ("*" if row.get("extrapolated") else "")
            + ("" if math.isnan(row["low"]) else f" ({interval_text((row['low'], row['high']))})")
            for quantity, row in item.summary().to_dict("index").items()
        }
    return frame_of_rows(rows, index)
