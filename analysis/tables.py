"""Fits and forecasts as text for a terminal, and the reading of what was typed there."""

from __future__ import annotations

from fractions import Fraction
from typing import cast, get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.result import FitResult, Forecast, ForecastResult, Interval, Objective, SizeColumn
from scaling.errors import InputError

_UNITS = {"params": "parameters", "params_total": "parameters", "flops": "FLOP"}
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
        InputError: if a part is not of the form OURS=THEIRS.
    """
    columns: dict[str, str] = {}
    for part in (text or "").split(",") if text else []:
        ours, equals, theirs = part.strip().partition("=")
        if not (ours and equals and theirs):
            raise InputError(
                f"--columns {text!r}: {part!r} is not of the form OURS=THEIRS, e.g. num_params=n."
            )
        columns[ours.strip()] = theirs.strip()
    return columns


def parse_share(text: str) -> float:
    """A share given as ``1/64`` or ``0.02``.

    Raises:
        InputError: if it is neither.
    """
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"--early-exclusion {text!r} is not a share: give a fraction such as 1/64, or 0.02."
        ) from error


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
    table = _table(
        f"Scaling law, objective {fit.objective}", "", "estimate", "90% interval", "systematic", ""
    )
    for name, meaning in _MEANINGS.items():
        shift = fit.systematic.get(name)
        table.add_row(
            name,
            f"{getattr(fit, name):.4f}",
            _interval(fit.intervals.get(name), ".4f"),
            "" if shift is None else f"± {shift:.4f}",
            meaning,
        )
    table.add_row(
        "N_opt",
        _short(fit.N_opt_ref),
        _interval(fit.intervals.get("N_opt_ref"), ".3g"),
        f"x/÷ {10 ** fit.systematic['log10_N_opt_ref']:.3g}",
        f"at C = {_short(fit.compute_ref)}",
    )
    console.print(table)
    low, high = fit.range.C
    other = fit.other_objective
    lines = [
        f"{fit.num_points} points of {fit.num_runs} runs of {fit.num_sizes} sizes, "
        f"compute {low:.3g} to {high:.3g}.",
        f"Objective {other.objective} for comparison: nu = {other.nu:.4f}, 90% interval "
        f"{_interval(other.intervals.get('nu'), '.4f')}.",
        *(f"Note: {note}" for note in fit.provenance.notes),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    _print_verdict(fit.identified, fit.warnings, console)


def print_forecast(result: ForecastResult, console: Console) -> None:
    """A row for each compute, the optima with the environment's cost if asked for, then the warnings."""
    title = f"Compute-optimal sizes in {_UNITS[result.options['size']]}, E in steps; below each: 90% interval"
    table = _table(title, "compute", "N_opt", "E_opt", "return", "outside data")
    for item in result.forecasts:
        table.add_row(
            _short(item.compute),
            _with_interval(item.N_opt, item.intervals.get("N_opt")),
            _with_interval(item.E_opt, item.intervals.get("E_opt")),
            "unknown" if item.return_ is None else f"{item.return_:.4g}",
            f"{item.extrapolation:.1f} decades" if item.extrapolation > 0 else "none",
        )
    console.print(table)
    env_cost = result.options["env_cost"]
    if env_cost is not None:
        console.print(_env_cost_table(result.forecasts, env_cost))
    _print_verdict(result.identified, result.warnings, console)


def _env_cost_table(forecasts: list[Forecast], env_cost: float) -> Table:
    title = f"The same performance at the least E·(N + {env_cost:.4g})"
    table = _table(title, "compute", "N", "E", "cost of N_opt")
    for item in forecasts:
        # All are set together with the environment's cost.
        assert item.N_with_env_cost is not None
        assert item.E_with_env_cost is not None
        table.add_row(
            _short(item.compute),
            _with_interval(item.N_with_env_cost, item.intervals.get("N_with_env_cost")),
            _with_interval(item.E_with_env_cost, item.intervals.get("E_with_env_cost")),
            f"{item.overspend:.3g} times",
        )
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if heading and position else "left", no_wrap=True)
    return table


def _with_interval(value: float, interval: Interval | None) -> str:
    return f"{_short(value)}\n{_interval(interval, '.3g')}"


def _print_verdict(identified: bool, warnings: list[str], console: Console) -> None:
    for warning in warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
    console.print(f"Identified: [bold]{'yes' if identified else 'no'}[/bold]", highlight=False)


def _interval(interval: Interval | None, form: str) -> str:
    return "unknown" if interval is None else " to ".join(_short(end, form) for end in interval)


def _short(value: float, form: str = ".3g") -> str:
    """1.2e6 for 1.2e+06: a terminal is 80 columns wide."""
    return f"{value:{form}}".replace("e+0", "e").replace("e+", "e")


def _choice(option: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise InputError(f"{option} {text!r} is not known: choose {' or '.join(choices)}.")
    return text
