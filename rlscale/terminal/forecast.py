"""Forecasts for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from rlscale.analysis.forecast.result import Forecast, ForecastResult, ReturnForecast, SampleEfficiency
from rlscale.analysis.formatting.forecasts import (
    EXTRAPOLATED,
    EXTRAPOLATED_MEANING,
    MISSED_MEANING,
    identified_text,
    outside_parts,
    return_cell,
)
from rlscale.analysis.formatting.numbers import brief_number, interval_text
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.terminal.tables import new_table, print_line, print_verdict, with_interval

_BUDGETS = {"flops": "FLOPs", "gpu-hours": "GPU hours"}


def print_forecast(result: ForecastResult, console: Console) -> None:
    """Print a row for each compute and return, the optima with the environment's cost, then the warnings."""
    unit = SIZE_WORDS[result.options["size"]].unit
    if result.forecasts:
        console.print(_optima_table(result, unit))
    if any(item.return_extrapolated is not None for item in result.forecasts):
        print_line(f"{EXTRAPOLATED} {EXTRAPOLATED_MEANING}", console)
    if any(item.earlier_ends is not None for item in result.forecasts):
        print_line(MISSED_MEANING, console)
    for item in result.forecasts:
        if item.budget is not None:
            bought = f"{brief_number(item.budget.value)} {_BUDGETS[item.budget.unit]}"
            text = f"{bought} buy C = {brief_number(item.compute)}: "
            print_line(text + item.budget.conversion, console)
    env_cost = result.options["env_cost"]
    if env_cost is not None and result.forecasts:
        console.print(_env_cost_table(result.forecasts, env_cost))
    for taken in result.returns:
        console.print(_return_table(taken, unit))
    if result.sample_efficiency is not None:
        print_line(_efficiency_text(result.sample_efficiency), console)
    print_verdict(identified_text(result.identified, result.forecasts), result.warnings, console)


def _optima_table(result: ForecastResult, unit: str) -> Table:
    title = f"Compute-optimal sizes in {unit}, E in steps; below each: 90% interval"
    table = new_table(title, "compute", "N_opt", "E_opt", "return", "decades\noutside")
    table.collapse_padding = True  # six columns of intervals in 80 characters
    for item in result.forecasts:
        table.add_row(
            brief_number(item.compute),
            with_interval(item.N_opt, item.total_interval("N_opt")),
            with_interval(item.E_opt, item.total_interval("E_opt")),
            return_cell(item, between="\n"),
            "\n".join(outside_parts(item)) or "none",
        )
    return table


def _return_table(item: ReturnForecast, unit: str) -> Table:
    table = new_table(f"What a return of {item.return_:.4g} takes", "", "estimate", "90% interval", "")
    rows = {
        "intrinsic": ("I = C", "least compute"),
        "N_opt": ("N_opt", f"{unit} at C"),
        "E_opt": ("E_opt", "steps at C"),
        "E_inf": ("E_inf", "steps, infinite width"),
        "N_inf": ("N_inf", f"{unit}, infinite data"),
        "width_gain": ("E_opt/E_inf", ""),
    }
    for name, (symbol, meaning) in rows.items():
        interval = interval_text(item.intervals.get(name), ".3g")
        table.add_row(symbol, brief_number(getattr(item, name)), interval, meaning)
    return table


def _efficiency_text(found: SampleEfficiency) -> str:
    return (
        f"Return {found.reference_return:.4g} takes an infinitely wide agent {brief_number(found.E_inf)} "
        f"interactions, the reference {brief_number(found.reference_interactions)}: the reference is "
        f"{brief_number(found.ratio)} times as sample efficient "
        f"(90% interval {interval_text(found.intervals.get('ratio'), '.3g')})."
    )


def _env_cost_table(forecasts: list[Forecast], env_cost: float) -> Table:
    title = f"The same performance at the least E·(N + {env_cost:.4g})"
    table = new_table(title, "compute", "N", "E", "cost of N_opt")
    for item in forecasts:
        # All are set together with the environment's cost.
        assert item.N_with_env_cost is not None
        assert item.E_with_env_cost is not None
        table.add_row(
            brief_number(item.compute),
            with_interval(item.N_with_env_cost, item.intervals.get("N_with_env_cost")),
            with_interval(item.E_with_env_cost, item.intervals.get("E_with_env_cost")),
            f"{item.overspend:.3g} times\n{interval_text(item.intervals.get('overspend'), '.3g')}",
        )
    return table
