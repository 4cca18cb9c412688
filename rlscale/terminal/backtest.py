"""A backtest as text for a terminal and as rows for the report."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rlscale.analysis.formatting.backtest import HEADINGS, law_rows, rows, split_name, summary, verdict
from rlscale.analysis.studies.backtest.result import BacktestResult, LawScore


def print_backtest(result: BacktestResult, console: Console) -> None:
    """Tables of each split, then its warnings."""
    for backtest in result.splits:
        table = Table(
            title=f"Held out: {split_name(backtest.split)}",
            title_justify="left",
            title_style="bold",
            box=SIMPLE_HEAD,
        )
        for position, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if position else "left", no_wrap=True)
        for row in rows(backtest):
            table.add_row(*row)
        console.print(table)
        console.print(summary(backtest), highlight=False, markup=False, soft_wrap=True)
        if backtest.laws:
            _print_laws(backtest.laws, console)
        for warning in backtest.warnings:
            console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
        console.print()


def _print_laws(laws: list[LawScore], console: Console) -> None:
    table = Table(box=SIMPLE_HEAD)
    headings = ("law", "returns", "best", "difference (90%)")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position in (1, 2) else "left", no_wrap=True)
    for row in law_rows(laws):
        table.add_row(*row)
    console.print(table)
    console.print(verdict(laws), highlight=False, markup=False, soft_wrap=True)
