"""Statements on record and their scores, for a terminal."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from rlscale.analysis.forecast.record import Item, ItemScore, Score, Statement
from rlscale.analysis.formatting.numbers import brief_number, compact_count
from rlscale.terminal.tables import new_table, print_line, print_warnings

_NAMES = {"return": "return", "mean_return": "mean return", "nu": "nu", "N_opt": "N_opt"}


def print_statement(statement: Statement, console: Console) -> None:
    """Each item with its median and 90% interval, then the hash and the warnings."""
    table = _items_table(statement.title or "What is forecast", "forecast", "baseline")
    for item in statement.items:
        marked = with_interval_of(item) + (" *" if item.beyond else "")
        table.add_row(*_place(item), marked, ", ".join(_number(value) for value in item.baselines.values()))
    console.print(table)
    if any(item.beyond for item in statement.items):
        print_line("* an extrapolation", console)
    print_line(f"SHA-256 {statement.sha256}", console)
    print_warnings(statement.warnings, console)


def print_score(score: Score, console: Console) -> None:
    """Each item with its outcomes, the mean scores beside those of the baselines, then the warnings."""
    headings = ("forecast", "measured", "hits", "CRPS", "baseline's")
    table = _items_table(score.title or "What was forecast", *headings)
    for scored in score.items:
        table.add_row(*_place(scored.item), with_interval_of(scored.item), *_result_cells(scored))
    console.print(table)
    title = "Means (small is good; N_opt in decades)"
    means = new_table(title, "", "hits", "interval score", "CRPS", "baseline's")
    for tally in score.tallies:
        naive = ", ".join(f"{value:.3g}" for value in tally.baselines.values())
        hits = f"{tally.hits} of {tally.outcomes}"
        means.add_row(_NAMES[tally.quantity], hits, f"{tally.interval_score:.3g}", f"{tally.crps:.3g}", naive)
    if score.tallies:
        console.print(means)
    print_warnings(score.warnings, console)


def with_interval_of(item: Item) -> str:
    """The median, and beside it the 90% interval."""
    return f"{_number(item.median)} ({' to '.join(_number(end) for end in item.interval)})"


def _items_table(title: str, *headings: str) -> Table:
    return new_table(title, "", "N", "E", *headings)


def _place(item: Item) -> list[str]:
    """The quantity, and where it is measured; of N_opt its compute."""
    what = _NAMES[item.quantity] + (f" of {item.runs}" if item.runs else "")
    if item.compute is not None:
        what += f", C = {brief_number(item.compute)}"
    return [what, *("" if value is None else compact_count(value) for value in (item.N, item.E))]


def _result_cells(scored: ItemScore) -> list[str]:
    """Measured (its range over runs), hits, mean CRPS and mean error of the baselines."""
    found = scored.outcomes
    if not found:
        return ["not yet", "", "", ""]
    measured = sorted(one.measured for one in found)
    naive = [np.mean([one.baselines[name] for one in found]) for name in scored.item.baselines]
    return [
        _number(measured[0]) + (f" to {_number(measured[-1])}" if len(measured) > 1 else ""),
        f"{sum(one.hit for one in found)}/{len(found)}",
        f"{np.mean([one.crps for one in found]):.2g}",
        ", ".join(f"{value:.2g}" for value in naive),
    ]


def _number(value: float) -> str:
    return compact_count(value) if value >= 1000 else f"{value:.3f}"
