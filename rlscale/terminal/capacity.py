"""Capacity losses as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from rlscale.analysis.formatting.numbers import brief_number, compact_count, interval_text
from rlscale.analysis.studies.capacity import PARTS, CapacityResult, Estimate, Part
from rlscale.terminal.sweep import ID_LENGTH
from rlscale.terminal.tables import (
    differing_fields,
    differing_values,
    print_warnings,
    runs_table,
    stored_text,
)

_MEANING: dict[Part, str] = {
    "actor": "Actor: KL to a random policy that is left",
    "critic": "Critic: squared error of random values that is left",
}


def print_capacity(result: CapacityResult, configs: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A table for the actors and one for the critics, and the warnings.

    Args:
        configs: of the runs, in their order.
    """
    for part in PARTS:
        console.print(_table(result, part, configs))
    print_warnings(result.warnings, console)


def _table(result: CapacityResult, part: Part, configs: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each run: the loss at its beginning and at its last checkpoint, and their ratio."""
    headings = ("seed", "E", "first", "last", "ratio", "90% interval")
    table = runs_table(*headings, differing=differing_fields(configs), first="run")
    table.title = f"{_MEANING[part]}, {result.targets} targets"
    for run, config, values in zip(result.runs, configs, differing_values(configs), strict=True):
        first, last = (getattr(run.points[i], part) for i in (0, -1))
        growth: Estimate = getattr(run, f"{part}_growth")
        table.add_row(
            stored_text(run.run_id[:ID_LENGTH]),
            *values,
            stored_text(str(config.get("seed", ""))),
            compact_count(run.points[-1].interactions),
            *(brief_number(each.value, ".2g") for each in (first, last, growth)),
            interval_text(growth.interval, ".1e", between=" to "),
        )
    return table
