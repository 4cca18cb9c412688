"""Statements on record and their scores, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rlscale.analysis.forecast.record import Statement
from rlscale.analysis.forecast.scoring import Score
from rlscale.analysis.formatting.record import (
    SCORE_HEADINGS,
    STATEMENT_HEADINGS,
    TALLY_HEADINGS,
    score_rows,
    statement_rows,
    tally_rows,
)
from rlscale.terminal.tables import new_table, print_line, print_warnings

_STAR = "* an extrapolation"


def print_statement(statement: Statement, console: Console) -> None:
    """Each item with its median and 90% interval, then the hash and the warnings."""
    _print_table(
        statement.title or "What is forecast", STATEMENT_HEADINGS, statement_rows(statement), console
    )
    if any(item.beyond for item in statement.items):
        print_line(_STAR, console)
    print_line(f"SHA-256 {statement.sha256}", console)
    print_warnings(statement.warnings, console)


def print_sealed(statement: Statement, path: Path, console: Console) -> None:
    """The statement, and the file that holds it."""
    print_statement(statement, console)
    console.print(f"Sealed in {path}.", markup=False, highlight=False, soft_wrap=True)


def print_score(score: Score, console: Console) -> None:
    """Each item with its outcomes, the mean scores beside those of the baselines, then the warnings."""
    rows = [_narrowed(row) for row in score_rows(score)]
    _print_table(score.title or "What was forecast", _narrowed(SCORE_HEADINGS), rows, console)
    if any(scored.item.beyond for scored in score.items):
        print_line(_STAR, console)
    if score.tallies:
        title = "Means (small is good; N_opt, multiplier in decades)"
        _print_table(title, TALLY_HEADINGS, tally_rows(score), console)
    print_warnings(score.warnings, console)


def _narrowed(row: Sequence[str]) -> list[str]:
    """Without the median and the baseline, for which 80 columns have no room."""
    return [*row[:2], *row[3:-1]]


def _print_table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console
) -> None:
    table = new_table(title, *headings)
    for row in rows:
        table.add_row(*row)
    console.print(table)
