"""Cells and sentences of forecasts, shared by terminal and report."""

from __future__ import annotations

from rlscale.analysis.forecast.result import Forecast
from rlscale.analysis.formatting.numbers import brief_number, interval_text

#: Marks a return that continues the map.
EXTRAPOLATED = "*"
EXTRAPOLATED_MEANING = "The increasing map is continued beyond the measured returns: an extrapolation."
MISSED_MEANING = (
    "missed: the median error of returns that were predicted as far beyond earlier ends of these data, "
    "in proportion to what lies below."
)


def return_cell(item: Forecast, *, between: str) -> str:
    """The return of a forecast, marked if it is extrapolated, its interval, and what earlier ones missed.

    Args:
        between: what stands between these.
    """
    if item.return_extrapolated is not None:
        value = f"{item.return_extrapolated.estimate:.4g}{EXTRAPOLATED}"
        interval = item.return_extrapolated.interval
    elif item.return_ is not None:
        value, interval = f"{item.return_:.4g}", item.intervals.get("return")
    else:  # of an earlier version
        return "unknown"
    parts = [value]
    if interval is not None:
        parts.append(interval_text(interval, ".3g"))
    if item.earlier_ends is not None:
        parts.append(f"missed {item.earlier_ends.median_absolute:.2g}")
    return between.join(parts)


def outside_parts(item: Forecast) -> list[str]:
    """What of a forecast lies outside the data, each with its decades; empty if nothing does."""
    if item.outside is None:  # of an earlier version
        return [f"compute {item.extrapolation:.1f}"] if item.extrapolation > 0 else []
    named = (
        ("compute", item.outside.compute),
        ("size", item.outside.size),
        ("steps", item.outside.interactions),
    )
    return [f"{name} {decades:.1f}" for name, decades in named if decades > 0]


def identified_text(identified: bool, forecasts: list[Forecast]) -> str:
    """Whether the exponents are identified, and how far beyond that the farthest forecast asks."""
    if not identified:
        return "no"
    far = max(forecasts, key=lambda item: item.extrapolation, default=None)
    if far is None or far.extrapolation == 0:
        return "yes"
    asked = f"{brief_number(far.compute)} is {far.extrapolation:.1f} decades outside them"
    return f"yes, within the data; {asked}, {tested_text(far)}."


def tested_text(item: Forecast) -> str:
    """Whether predictions so far outside the data could be tested, as the end of a sentence."""
    if item.earlier_ends is None:
        return "which these data cannot test"
    reach = f"{item.earlier_ends.tested_decades:.1f} decades"
    if item.extrapolation > item.earlier_ends.tested_decades:
        return f"farther than the {reach} that tests on these data reach: do not rely on it alone"
    return f"and tests on these data reach {reach}"
