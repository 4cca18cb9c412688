"""The studies of one fit as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from rlscale.analysis.fit.findings import MetricStudy, PeriodFit, Refit, SizeMeasureFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.numbers import brief_number, interval_text
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.analysis.formatting.studies import PERIODS, SIZE_MEASURES, constants_text
from rlscale.analysis.records import Interval
from rlscale.terminal.tables import new_table, print_line, with_interval


def print_studies(fit: FitResult, console: Console) -> None:
    """Print the studies that the fit has: periods of training, measures of size, natural metrics."""
    if fit.periods:
        console.print(_periods_table(fit, fit.periods))
        print_line(PERIODS, console)
    if fit.size_measures:
        console.print(_sizes_table(fit, fit.size_measures))
        print_line(SIZE_MEASURES, console)
    if fit.metric:
        console.print(_metric_table(fit.metric))
        for line in fit.metric.candidates:
            constants = constants_text(line)
            print_line(f"{line.name}: {line.formula}{constants and ', ' + constants}. {line.chosen}", console)
        print_line(
            "F falls as I^-q. p: probability of such curvature (change of q per decade of I) by chance.",
            console,
        )


def _periods_table(fit: FitResult, periods: Sequence[PeriodFit]) -> Table:
    table = _refits_table(fit, "Periods of training", "period")
    for item in periods:
        low, high = item.span
        _add_refit(table, f"{item.period}\n{low:.2g} to {high:.2g}", item)
    return table


def _sizes_table(fit: FitResult, measures: Sequence[SizeMeasureFit]) -> Table:
    table = _refits_table(fit, "Measures of size", "N counts")
    _add_refit(table, SIZE_WORDS[fit.provenance.size].measure, fit)
    for item in measures:
        _add_refit(table, f"{SIZE_WORDS[item.size].measure}\n÷ {item.per_unit:.3g}", item)
    return table


def _refits_table(fit: FitResult, title: str, first: str) -> Table:
    at = f"N_opt({brief_number(fit.compute_ref)})"
    title = f"{title}, N_opt in {SIZE_WORDS[fit.provenance.size].unit}; below each: 90% interval"
    return new_table(title, first, "nu", "alpha_N", "alpha_E", at)


def _add_refit(table: Table, label: str, item: Refit | FitResult) -> None:
    cells = [
        f"{getattr(item, name):.3f}\n{_narrow(item.intervals.get(name))}"
        for name in ("nu", "alpha_N", "alpha_E")
    ]
    doubt = "" if item.identified else "\nnot identified"
    table.add_row(label + doubt, *cells, with_interval(item.N_opt_ref, item.intervals.get("N_opt_ref")))


def _metric_table(study: MetricStudy) -> Table:
    title = "Natural metrics, straightest first; below each: 90% interval"
    table = new_table(title, "metric", "q", "R²", "q's change/decade", "p")
    for line in study.candidates:
        table.add_row(
            f"{line.name}",
            with_interval(line.q, line.intervals.get("q")),
            f"{line.r_squared:.3f}\n{_narrow(line.intervals.get('r_squared'))}",
            f"{line.curvature:.3g}\n{interval_text(line.intervals.get('curvature'), '.2g')}",
            "" if line.curvature_p is None else f"{line.curvature_p:.2g}",
        )
    return table


def _narrow(interval: Interval | None) -> str:
    """An interval in few characters: tables have three columns with intervals in 80 characters."""
    return interval_text(interval, ".2f", between="–")
