"""The studies of one fit as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from rlscale.analysis.fit.findings import HealthStudy, MetricStudy, PeriodFit, Refit, SizeMeasureFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.health import TREATMENTS, signs_text
from rlscale.analysis.formatting.numbers import brief_number, interval_text
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.analysis.formatting.studies import PERIODS, SIZE_MEASURES, constants_text
from rlscale.analysis.records import Interval
from rlscale.terminal.tables import new_table, print_line, stored_text, with_interval

_LISTED = 10


def print_studies(fit: FitResult, console: Console) -> None:
    """Print the studies that the fit has: health, periods of training, measures of size, natural metrics."""
    if fit.health and fit.health.runs:
        _print_unhealthy(fit.health, console)
        console.print(_treatments_table(fit, fit.health))
        print_line(f"--unhealthy {'; '.join(f'{how}: {TREATMENTS[how]}' for how in TREATMENTS)}.", console)
        for how, why in fit.health.refused.items():
            print_line(f"--unhealthy {how}: no law: {why}", console)
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


def _print_unhealthy(study: HealthStudy, console: Console) -> None:
    """A line for each run that is not healthy, the first ones of many."""
    print_line("Runs that do not train well:", console)
    for run in study.runs[:_LISTED]:
        name = stored_text(run.run_id)
        print_line(f"  {name} (N = {brief_number(run.N)}), {run.state}: {signs_text(run)}", console)
    if len(study.runs) > _LISTED:
        print_line(f"  and {len(study.runs) - _LISTED} more", console)


def _treatments_table(fit: FitResult, study: HealthStudy) -> Table:
    table = _refits_table(fit, "With and without them", "fitted to")
    for how, refit in study.refits.items():
        _add_refit(table, how, refit)
    return table


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
    title = f"{title}, N_opt in {SIZE_WORDS[fit.provenance.size].unit}; below each: 90% interval of seeds"
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
