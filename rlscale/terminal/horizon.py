"""A study of the horizon as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from rlscale.analysis.formatting.horizon import (
    SLOWER_LEARNING,
    level_sentences,
    outside_text,
    sample_law_sentence,
)
from rlscale.analysis.formatting.numbers import brief_number, interval_text
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.analysis.studies.horizon.result import HorizonResult, LevelStudy
from rlscale.terminal.tables import new_table, print_line, print_warnings, with_interval


def print_horizon(result: HorizonResult, console: Console) -> None:
    """Print the laws by horizon, the interactions to each level with κ, the predictions and the warnings."""
    console.print(_laws_table(result))
    slope = result.nu_slope
    p_value = "" if slope.p_value is None else f", p = {slope.p_value:.2g}"
    print_line(
        f"nu changes by {slope.per_decade:+.4f} for each tenfold h "
        f"(90% interval {interval_text(slope.interval, '.3f')}{p_value}).",
        console,
    )
    print_line(SLOWER_LEARNING, console)
    if result.shifts:
        console.print(_shifts_table(result))
    for study in result.levels:
        console.print(_level_table(study))
        for sentence in level_sentences(study):
            print_line(sentence, console)
    print_line("p: probability of such curvature (a quadratic term) by chance.", console)
    print_line(sample_law_sentence(result), console)
    if result.predictions:
        console.print(_predictions_table(result))
    print_warnings(result.warnings, console)


def _laws_table(result: HorizonResult) -> Table:
    title = f"Laws by horizon, sizes in {SIZE_WORDS[result.size].unit}; below each: 90% interval"
    table = new_table(title, "h", "nu", "N_opt", "runs", "identified")
    for fit in result.fits:
        nu = f"{fit.nu:.3f}\n{interval_text(fit.intervals.get('nu'), '.3f')}"
        optimum = with_interval(fit.N_opt_ref, fit.intervals.get("N_opt_ref"))
        runs = f"{fit.num_runs} of {fit.num_sizes} sizes"
        table.add_row(f"{fit.horizon:g}", nu, optimum, runs, "yes" if fit.identified else "no")
    table.caption = f"N_opt at C = {brief_number(result.compute)}"
    table.caption_justify = "left"
    return table


def _shifts_table(result: HorizonResult) -> Table:
    first = result.fits[0].horizon
    title = f"N_opt({brief_number(result.compute)}) over that at h = {first:g}; below each: 90% interval"
    table = new_table(title, "h", "measured", "predicted, m^-nu")
    for item in result.shifts:
        predicted = with_interval(item.predicted, item.intervals.get("predicted"))
        table.add_row(f"{item.horizon:g}", with_interval(item.ratio, item.intervals.get("ratio")), predicted)
    return table


def _level_table(study: LevelStudy) -> Table:
    title = f"Interactions to a return of {study.level:.4g}: E = a + b (h - 2 + 1/h), kappa = b/a"
    table = new_table(title, "N", "a", "b", "kappa", "R²", "p")
    for line in study.lines:
        cells = []
        for name in ("a", "b", "kappa"):
            interval = line.intervals.get(name)
            bounds = "unbounded" if interval is None else interval_text(interval, ".2g", between="–")
            cells.append(f"{brief_number(getattr(line, name))}\n{bounds}")
        curved = "" if line.quadratic_p is None else f"{line.quadratic_p:.2g}"
        label = "optimal" if line.N is None else brief_number(line.N)
        table.add_row(f"{label}\n{line.num_horizons} h", *cells, f"{line.r_squared:.3f}", curved)
    return table


def _predictions_table(result: HorizonResult) -> Table:
    title = f"Interactions that a compute-optimal agent of N {SIZE_WORDS[result.size].unit} needs"
    table = new_table(title, "N", "h", "interactions", "outside data")
    for item in result.predictions:
        value = with_interval(item.interactions, item.interval)
        table.add_row(brief_number(item.N), f"{item.horizon:g}", value, outside_text(item))
    return table
