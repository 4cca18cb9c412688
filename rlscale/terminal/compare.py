"""A comparison of two recipes as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rlscale.analysis.formatting.compare import (
    MODEL_WORDS,
    factor_interval,
    factor_text,
    p_text,
    recipe_rows,
    returns_rows,
    sentences,
)
from rlscale.analysis.studies.compare.result import Comparison
from rlscale.terminal.tables import new_table, print_line, print_warnings


def print_comparison(result: Comparison, console: Console) -> None:
    """The multiplier along the returns, the parts of the difference, the verdict in words, warnings."""
    console.print(_returns_table(result))
    console.print(_models_table(result))
    console.print(_recipes_table(result))
    for sentence in sentences(result):
        print_line(sentence, console)
    print_warnings(result.warnings, console)


def _returns_table(result: Comparison) -> Table:
    title = f"Compute of {escape(result.a.name)} (A) over that of {escape(result.b.name)} (B)"
    table = new_table(title, "return", "C of A", "C of B", "A over B", "90% interval")
    for row in returns_rows(result):
        table.add_row(*row)
    return table


def _models_table(result: Comparison) -> Table:
    table = new_table("How the frontiers relate", "model", "A over B", "90% interval", "unexplained", "p")
    for one in result.models:
        mark = " *" if one.name == result.model else ""
        table.add_row(
            f"{MODEL_WORDS[one.name]}{mark}",
            factor_text(one.multiplier),
            factor_interval(one.interval),
            f"{one.loss:.2%}",
            p_text(one.p_value),
        )
    table.caption = "* reported. p: that one factor at all returns is enough."
    table.caption_justify = "left"
    return table


def _recipes_table(result: Comparison) -> Table:
    table = new_table("Laws, and optimal sizes at the middle", "", "runs", "nu", "90% interval", "N_opt", "C")
    for name, *cells in recipe_rows(result):
        table.add_row(escape(name), *cells)
    return table
