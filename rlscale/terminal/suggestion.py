"""A suggestion of further runs as text for a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rlscale.analysis.forecast.suggest import SuggestedRuns, Suggestion
from rlscale.analysis.formatting.numbers import count_text
from rlscale.analysis.records import Interval


def print_suggestion(result: Suggestion, console: Console) -> None:
    """The runs, what they are expected to do for N_opt, then the warnings."""
    table = Table(
        title=f"Runs for {_compute(result.spent)} of {_compute(result.budget)} compute",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
    )
    unit = "FLOPs" if result.size == "flops" else "parameters"
    for position, heading in enumerate((unit, "interactions", "runs", "compute", "")):
        table.add_column(heading, justify="right" if position < 4 else "left", no_wrap=True)
    for runs in result.runs:
        row = (count_text(runs.N), count_text(runs.E), str(runs.seeds), _compute(runs.compute), _note(runs))
        table.add_row(*row)
    console.print(table)
    level, after = f"{result.interval_level:.0%}", _interval(result.interval_after)
    lines = [
        f"N_opt at compute {_compute(result.target_compute)}: {count_text(result.N_opt)}, {level} interval "
        f"now {_interval(result.interval_before)},",
        f"expected with these runs {after} ({result.narrower:.2g} times narrower),",
        f"with the same compute on more seeds of the sweep {_interval(result.interval_by_repeating)}.",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for warning in result.warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)


def _note(runs: SuggestedRuns) -> str:
    if runs.longer_by is None:
        return "a new size"
    if abs(runs.longer_by - 1) < 0.01:
        return "more seeds"
    return f"{runs.longer_by:.3g} times as long"


def _interval(interval: Interval) -> str:
    return f"{count_text(interval[0])} to {count_text(interval[1])}"


def _compute(value: float) -> str:
    return f"{value:.3g}".replace("e+", "e")
