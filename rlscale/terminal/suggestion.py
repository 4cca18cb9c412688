"""A suggestion of further runs as text for a terminal."""

from __future__ import annotations

from rich.console import Console

from rlscale.analysis.forecast.suggest import SuggestedRuns, Suggestion
from rlscale.analysis.formatting.numbers import brief_number, compact_count, interval_text, percent
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.terminal.tables import new_table, print_line, print_warnings


def print_suggestion(result: Suggestion, console: Console) -> None:
    """Print the runs, the interval of N_opt that they are expected to give, then the warnings."""
    spent, budget = brief_number(result.spent), brief_number(result.budget)
    unit = SIZE_WORDS[result.size].unit
    title = f"Runs for {spent} of {budget} compute"
    table = new_table(title, "width", unit, "interactions", "runs", "compute", "")
    table.columns[0].justify = "right"
    for runs in result.runs:
        table.add_row(
            "?" if runs.width is None else f"{runs.width:g}",
            compact_count(runs.N),
            compact_count(runs.E),
            str(runs.seeds),
            brief_number(runs.compute),
            _note(runs),
        )
    console.print(table)
    level, after = percent(result.interval_level), interval_text(result.interval_after, compact_count)
    repeated = interval_text(result.interval_by_repeating, compact_count)
    lines = [
        *([result.why_unspent] if result.why_unspent else []),
        f"N_opt at compute {brief_number(result.target_compute)}: {compact_count(result.N_opt)}, "
        f"{level} interval now {interval_text(result.interval_before, compact_count)},",
        f"expected with these runs {after} ({result.narrower:.2g} times narrower),",
        f"with the same compute on more seeds of the sweep {repeated}.",
    ]
    for line in lines:
        print_line(line, console)
    print_warnings(result.warnings, console)


def _note(runs: SuggestedRuns) -> str:
    if runs.longer_by is None:
        return "a new size"
    if abs(runs.longer_by - 1) < 0.01:
        return "more seeds"
    return f"{runs.longer_by:.3g} times as long"
