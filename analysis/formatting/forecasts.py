"""Cells of forecasts, shared by terminal and report."""

from __future__ import annotations

from rlscale.analysis.forecast.result import Forecast
from rlscale.analysis.formatting.numbers import interval_text

#: Marks a return that continues the map.
EXTRAPOLATED = "*"
EXTRAPOLATED_MEANING = "The increasing map is continued beyond the measured returns: an extrapolation."


def return_cell(item: Forecast, *, between: str) -> str:
    """The return of a forecast, marked if it is extrapolated, and its interval after ``between``."""
    if item.return_extrapolated is not None:
        value = f"{item.return_extrapolated.estimate:.4g}{EXTRAPOLATED}"
        interval = item.return_extrapolated.interval
    elif item.return_ is not None:
        value, interval = f"{item.return_:.4g}", item.intervals.get("return")
    else:  # of an earlier version
        return "unknown"
    return value if interval is None else f"{value}{between}{interval_text(interval, '.3g')}"
