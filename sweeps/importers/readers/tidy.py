"""Tidy CSV, Parquet and JSON lines files: one row a point, and columns that name the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.readers.runs import (
    Parsed,
    ReadOptions,
    Repeats,
    Skipped,
    SourceRun,
    listed,
)
from rlscale.sweeps.store.choices import Duplicates
from rlscale.sweeps.store.schema import CURVE_COLUMNS, DIAGNOSTICS, RUN_COLUMNS
from rlscale.sweeps.store.table_files import Kind, open_table
from rlscale.sweeps.store.tables import RunRows, Table

NEEDED = ("run_id", "interactions", "return_mean")
_REPEATS: dict[Duplicates, Repeats] = {"error": "refuse", "mean": "average", "last": "last"}


def read_tidy(path: Path, options: ReadOptions, kind: Kind) -> Parsed:
    """Read a tidy file. Columns that are not in the schema are ignored, with a note.

    If the file has a column ``status``, only runs that are done are read.

    Raises:
        InputError: if the file cannot be read, lacks a column, or a run column changes within a run.
    """
    if options.tag is not None:
        raise InputError(
            f"--tag is for logs; name the return of {path} with --columns return_mean=NAME.",
            code="conflicting_options",
        )
    table = open_table(path, options.columns, kind, options.run_columns)
    table.require(*NEEDED)
    ignored = table.unused
    notes = (f"Columns that are not known were ignored: {listed(ignored)}.",) if ignored else ()
    rows = table.runs()
    skipped: tuple[Skipped, ...] = ()
    if "status" in table:
        status = table.values_of_runs("status", rows, constant=True)
        done = np.array([value is None or value == "done" for value in status])
        skipped = tuple(
            Skipped(name, f"its status is {value}, not done")
            for name, value in zip(rows.ids[~done], status[~done], strict=True)
        )
        rows = rows.of(done)
    runs = runs_of(table, rows, repeats=_REPEATS[options.duplicates], drops_step_0=False)
    return Parsed(tuple(runs), skipped, notes)


def runs_of(
    table: Table, rows: RunRows, repeats: Repeats, *, drops_step_0: bool = True
) -> Iterator[SourceRun]:
    """Split a table into its runs, in order of appearance.

    Raises:
        InputError: if a value is not a number, or a run column has two values within a run.
    """
    names = [name for name in (*CURVE_COLUMNS, *DIAGNOSTICS) if name in table]
    frame = pd.DataFrame({name: table.numbers(name, rows) for name in names}, index=table.row_numbers(rows))
    facts = {
        name: table.values_of_runs(name, rows, constant=name != "sweep")
        for name in ("sweep", *RUN_COLUMNS)
        if name in table
    }
    for place, (_, part) in enumerate(frame.groupby(rows.index)):
        values = {name: _given(of_runs[place]) for name, of_runs in facts.items()}
        sweep = values.pop("sweep", None)
        yield SourceRun(
            str(rows.ids[place]),
            table.source,
            part,
            values,
            sweep=sweep,
            repeats=repeats,
            drops_step_0=drops_step_0,
        )


def _given(value: Any) -> Any:
    """The value as Python has it, None for NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if value != value else value
