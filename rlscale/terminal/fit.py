"""A fit for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.backtest import reach_text
from rlscale.analysis.formatting.estimates import held_text
from rlscale.analysis.formatting.health import health_sentence
from rlscale.analysis.formatting.late_start import late_start_sentence
from rlscale.analysis.formatting.numbers import brief_number, counted, interval_text
from rlscale.analysis.reports import text as report_text
from rlscale.analysis.studies.backtest.result import BacktestResult
from rlscale.analysis.studies.fits_by import FitsBy
from rlscale.terminal.tables import new_table, print_line, print_verdict, print_warnings, stored_text

if TYPE_CHECKING:  # page would import matplotlib, which a fit does not need
    from rlscale.analysis.reports.page import ReportPaths

_MEANINGS = {
    "nu": "N_opt ∝ C^nu",
    "alpha_N": "size",
    "alpha_E": "experience",
    "beta": "",
    "log10_N_c": "extrapolated",
    "log10_E_c": "extrapolated",
}


def print_fit(fit: FitResult, console: Console) -> None:
    """Print the exponents with their intervals, a summary of their data, then the warnings."""
    table = new_table(
        f"Scaling law, objective {fit.objective}", "", "estimate", "90% interval", "of seeds alone", ""
    )
    for name, meaning in _MEANINGS.items():
        form = ".2f" if name.startswith("log10") else ".4f"
        table.add_row(
            name,
            brief_number(getattr(fit, name), form),
            interval_text(fit.total_interval(name), form),
            interval_text(fit.intervals.get(name), form),
            meaning,
        )
    table.add_row(
        "N_opt",
        brief_number(fit.N_opt_ref),
        interval_text(fit.total_interval("N_opt_ref"), ".3g"),
        interval_text(fit.intervals.get("N_opt_ref"), ".3g"),
        f"at C = {brief_number(fit.compute_ref)}",
    )
    if fit.delay:
        table.add_row("delay", brief_number(fit.delay.steps), "", "", f"{fit.delay.kind} start")
    console.print(table)
    low, high = fit.range.C
    other = fit.other_objective
    lines = [
        *([f"The 90% intervals hold {held_text(fit)}."] if fit.intervals else []),
        f"{fit.num_points} points of {fit.num_runs} runs of {fit.num_sizes} sizes, "
        f"compute {low:.3g} to {high:.3g}.",
        f"Objective {other.objective} for comparison: nu = {other.nu:.4f}, 90% interval "
        f"{interval_text(other.intervals.get('nu'), '.4f')}.",
        *filter(None, [late_start_sentence(fit.late_start)]),
        *([health_sentence(fit.health)] if fit.health else []),
        *_checks(fit),
        *(f"Note: {note}" for note in fit.provenance.notes),
    ]
    for line in lines:
        print_line(line, console)
    print_verdict("yes" if fit.identified else "no", fit.warnings, console)


def print_fits_by(each: FitsBy, console: Console) -> None:
    """A row for each value of the column, then what was noted, warned of and refused, by value."""
    table = new_table("Scaling laws", each.by, "runs", "sizes", "nu", "90% interval", "identified")
    for value, fit in each.fits.items():
        table.add_row(
            stored_text(value),
            str(fit.num_runs),
            str(fit.num_sizes),
            f"{fit.nu:.3f}",
            interval_text(fit.total_interval("nu"), ".3f"),
            "yes" if fit.identified else "no",
        )
    for value in each.refused:
        table.add_row(stored_text(value), *[""] * 4, "not fitted")
    console.print(table)
    for value, fit in each.fits.items():
        for note in fit.provenance.notes:
            print_line(f"{value}: Note: {note}", console)
        print_warnings([f"{value}: {warning}" for warning in fit.warnings], console)
    print_warnings([f"{value}: not fitted: {why.sentence}" for value, why in each.refused.items()], console)


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
        if free.difference_under_law is not None and free.nu is not None:
            lines.append(
                f"They differ from the fit by {free.nu - fit.nu:+.3f}; if the law held, "
                f"{free.difference_under_law:+.3f} would be expected (p = {free.p_value:.2g})."
            )
    if fit.size_effect is not None and fit.size_effect.sigma > 0:
        lines.append(
            f"Sizes differ by more than their seeds: shifts of ln I of {fit.size_effect.sigma:.2g} (standard "
            f"deviation), which the intervals hold."
        )
    return lines


def print_summary(
    fit: FitResult, paths: ReportPaths, console: Console, backtest: BacktestResult | None = None
) -> None:
    """Print the answer, what the backtest says of it, and where the report is."""
    said = report_text.answer(fit)
    lines = [
        f"N_opt grows as C^{said.nu} [{said.nu_interval}]. Identified: {'yes' if fit.identified else 'no'}, "
        f"{counted(len(fit.warnings), 'warning')}.",
        *([reach_text(backtest.splits)] if backtest else []),
        f"Wrote {paths.html} and {len(paths.png)} figures, as PNG and SVG, in {paths.figures}.",
    ]
    for line in lines:
        print_line(line, console)
