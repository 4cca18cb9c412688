"""Fits and forecasts as text for a terminal, and the reading of what was typed there."""

from __future__ import annotations

from fractions import Fraction
from typing import cast, get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.findings import ReturnForecast, SampleEfficiency
from analysis.record import Interval, SizeColumn
from analysis.result import FitResult, Forecast, ForecastResult, Objective
from scaling.errors import InputError

#: Unit of each choice of size.
UNITS = {"params": "parameters", "params_total": "parameters", "flops": "FLOP"}
#: What ``JointScalingFit`` takes, checked here under the names of the options.
MAX_EARLY_EXCLUSION = 0.5
MIN_DRAWS = 20
_BUDGETS = {"flops": "FLOPs", "gpu-hours": "GPU hours"}
_MEANINGS = {
    "nu": "N_opt ∝ C^nu",
    "alpha_N": "size",
    "alpha_E": "experience",
    "beta": "",
    "log10_N_c": "extrapolated",
    "log10_E_c": "extrapolated",
}


def parse_columns(text: str | None) -> dict[str, str]:
    """``num_params=n,interactions=steps`` as a dictionary.

    Raises:
        InputError: if a part is not of the form OURS=THEIRS, or names a column of ours twice.
    """
    columns: dict[str, str] = {}
    for part in (text or "").split(",") if text else []:
        ours, equals, theirs = part.strip().partition("=")
        if not (ours and equals and theirs):
            raise InputError(
                f"--columns {text!r}: {part!r} is not of the form OURS=THEIRS, e.g. num_params=n."
            )
        if ours.strip() in columns:
            raise InputError(f"--columns {text!r} names {ours.strip()} twice; give each column once.")
        columns[ours.strip()] = theirs.strip()
    return columns


def parse_share(text: str) -> float:
    """A share given as ``1/64`` or ``0.02``.

    Raises:
        InputError: if it is neither, or not a share that can be left out.
    """
    try:
        share = float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"--early-exclusion {text!r} is not a share: give a fraction such as 1/64, or 0.02."
        ) from error
    if not 0 <= share <= MAX_EARLY_EXCLUSION:
        raise InputError(f"--early-exclusion must be between 0 and 1/2: got {text}.")
    return share


def check_draws(draws: int) -> int:
    """A number of bootstrap draws.

    Raises:
        InputError: if they are too few for an interval.
    """
    if draws != 0 and draws < MIN_DRAWS:
        raise InputError(f"--bootstrap must be 0, or at least {MIN_DRAWS}: got {draws}.")
    return draws


def parse_size(text: str) -> SizeColumn:
    """The name of a choice of N.

    Raises:
        InputError: if there is no such choice.
    """
    return cast(SizeColumn, _choice("--size", text, get_args(SizeColumn)))


def parse_objective(text: str) -> Objective:
    """The name of an objective.

    Raises:
        InputError: if there is no such objective.
    """
    return cast(Objective, _choice("--objective", text, get_args(Objective)))


def print_fit(fit: FitResult, console: Console) -> None:
    """The exponents with their intervals, what they rest on, then the warnings."""
    table = new_table(
        f"Scaling law, objective {fit.objective}", "", "estimate", "90% interval", "systematic", ""
    )
    for name, meaning in _MEANINGS.items():
        shift = fit.systematic.get(name)
        table.add_row(
            name,
            f"{getattr(fit, name):.4f}",
            interval_text(fit.intervals.get(name), ".4f"),
            "" if shift is None else f"± {shift:.4f}",
            meaning,
        )
    table.add_row(
        "N_opt",
        short(fit.N_opt_ref),
        interval_text(fit.intervals.get("N_opt_ref"), ".3g"),
        f"x/÷ {10 ** fit.systematic['log10_N_opt_ref']:.3g}",
        f"at C = {short(fit.compute_ref)}",
    )
    console.print(table)
    low, high = fit.range.C
    other = fit.other_objective
    lines = [
        f"{fit.num_points} points of {fit.num_runs} runs of {fit.num_sizes} sizes, "
        f"compute {low:.3g} to {high:.3g}.",
        f"Objective {other.objective} for comparison: nu = {other.nu:.4f}, 90% interval "
        f"{interval_text(other.intervals.get('nu'), '.4f')}.",
        *_checks(fit),
        *(f"Note: {note}" for note in fit.provenance.notes),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    print_verdict(fit.identified, fit.warnings, console)


def _checks(fit: FitResult) -> list[str]:
    lines = []
    if fit.isoflop is not None:
        free = fit.isoflop
        lines.append(
            "Parabolas through the sizes at equal compute have too few vertices to check nu."
            if free.nu is None
            else f"Parabolas through the sizes at equal compute, no law: nu = {free.nu:.4f}, 90% interval "
            f"{interval_text(free.nu_interval, '.4f')}."
        )
    if "nu" in fit.intervals_bias_corrected:
        corrected, total = fit.intervals_bias_corrected["nu"], fit.intervals_total["nu"]
        lines.append(
            f"90% interval of nu, bias-corrected: {interval_text(corrected, '.4f')}; stretched to hold other "
            f"shares of early training: {interval_text(total, '.4f')}."
        )
    return lines


def print_forecast(result: ForecastResult, console: Console) -> None:
    """A row for each compute and return, the optima with the environment's cost, then the warnings."""
    unit = UNITS[result.options["size"]]
    if result.forecasts:
        console.print(_optima_table(result, unit))
    for item in result.forecasts:
        if item.intervals_total:
            low, high = item.intervals_total["N_opt"]
            text = f"N_opt at {short(item.compute)} with other shares of early training left out: "
            console.print(
                f"{text}{short(low)} to {short(high)}.", highlight=False, markup=False, soft_wrap=True
            )
    for item in result.forecasts:
        if item.budget is not None:
            text = f"{short(item.budget.value)} {_BUDGETS[item.budget.unit]} buy C = {short(item.compute)}: "
            console.print(text + item.budget.conversion, highlight=False, markup=False, soft_wrap=True)
    env_cost = result.options["env_cost"]
    if env_cost is not None and result.forecasts:
        console.print(_env_cost_table(result.forecasts, env_cost))
    for taken in result.returns:
        console.print(_return_table(taken, unit))
    if result.sample_efficiency is not None:
        console.print(_efficiency_text(result.sample_efficiency), highlight=False, soft_wrap=True)
    print_verdict(result.identified, result.warnings, console)


def _optima_table(result: ForecastResult, unit: str) -> Table:
    title = f"Compute-optimal sizes in {unit}, E in steps; below each: 90% interval"
    table = new_table(title, "compute", "N_opt", "E_opt", "return", "outside data")
    for item in result.forecasts:
        table.add_row(
            short(item.compute),
            with_interval(item.N_opt, item.intervals.get("N_opt")),
            with_interval(item.E_opt, item.intervals.get("E_opt")),
            "unknown" if item.return_ is None else f"{item.return_:.4g}",
            f"{item.extrapolation:.1f} decades" if item.extrapolation > 0 else "none",
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
        table.add_row(symbol, short(getattr(item, name)), interval, meaning)
    return table


def _efficiency_text(found: SampleEfficiency) -> str:
    return (
        f"Return {found.reference_return:.4g} takes an infinitely wide agent {short(found.E_inf)} "
        f"interactions, the reference {short(found.reference_interactions)}: the reference is "
        f"{short(found.ratio)} times as sample efficient "
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
            short(item.compute),
            with_interval(item.N_with_env_cost, item.intervals.get("N_with_env_cost")),
            with_interval(item.E_with_env_cost, item.intervals.get("E_with_env_cost")),
            f"{item.overspend:.3g} times\n{interval_text(item.intervals.get('overspend'), '.3g')}",
        )
    return table


def new_table(title: str, *headings: str) -> Table:
    """A table in the style of all: text left, numbers right, nothing wrapped."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if heading and position else "left", no_wrap=True)
    return table


def with_interval(value: float, interval: Interval | None) -> str:
    """A number, and below it its interval."""
    return f"{short(value)}\n{interval_text(interval, '.3g')}"


def print_verdict(identified: bool, warnings: list[str], console: Console) -> None:
    """The warnings, then whether the exponents are identified."""
    for warning in warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
    console.print(f"Identified: [bold]{'yes' if identified else 'no'}[/bold]", highlight=False)


def interval_text(interval: Interval | None, form: str) -> str:
    """``0.4 to 0.5``, or ``unknown``."""
    return "unknown" if interval is None else " to ".join(short(end, form) for end in interval)


def short(value: float, form: str = ".3g") -> str:
    """1.2e6 for 1.2e+06: a terminal is 80 columns wide."""
    return f"{value:{form}}".replace("e+0", "e").replace("e+", "e")


def _choice(option: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise InputError(f"{option} {text!r} is not known: choose {' or '.join(choices)}.")
    return text
