"""A backtest for a terminal."""

from __future__ import annotations

from rich.console import Console

from rlscale.analysis.formatting.backtest import (
    HEADINGS,
    law_rows,
    reach_text,
    rows,
    said,
    summary,
    verdict,
)
from rlscale.analysis.studies.backtest.result import BacktestResult, LawScore
from rlscale.terminal.tables import new_table, print_line, print_warnings


def print_backtest(result: BacktestResult, console: Console) -> None:
    """Print, for each split, its tables, a summary of its data, and its warnings."""
    for backtest in result.splits:
        table = new_table(f"Held out: {backtest.split.in_words()}", *HEADINGS)
        for row in rows(backtest):
            table.add_row(*row)
        console.print(table)
        print_line(summary(backtest, result.options["bootstrap"]), console)
        print_line(said(backtest), console)
        if backtest.laws:
            _print_laws(backtest.laws, console)
        print_warnings(backtest.warnings, console)
        console.print()
    print_line(reach_text(result.splits), console)


def _print_laws(laws: list[LawScore], console: Console) -> None:
    table = new_table(None, "law", "returns", "best", "difference (90%)")
    for row in law_rows(laws):
        table.add_row(*row)
    console.print(table)
    print_line(verdict(laws), console)
