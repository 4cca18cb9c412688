"""A table of curves as runs and rows: which run each row belongs to, and what is known of each run.

Telling the runs takes few columns; the numbers are read once it is known of which runs they are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import curve_checks
from analysis.curve_checks import RawCurves
from analysis.curve_columns import CurveColumns, numbers, why_no_number
from analysis.curve_columns import codes as codes_of
from analysis.curve_selection import SETTINGS, Selection
from scaling.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Columns whose values are names, however much they look like numbers.
TEXT_COLUMNS = ("run_id", "sweep", "task", "algorithm", "family", "status")


@dataclass(frozen=True)
class OpenedCurves:
    """A source whose runs are known and whose rows are not read yet.

    Attributes:
        source: what messages call it.
        runs: one row a run: ``run_id``, and ``sweep`` and the run columns as far as they are there.
        read: the rows of the runs of a mask of shape ``(runs,)``.
    """

    source: str
    runs: pd.DataFrame
    read: Callable[[Bools], RawCurves]


def open_columns(
    columns: CurveColumns, selection: Selection, size_column: str, run_columns: Sequence[str]
) -> OpenedCurves:
    """Find the runs of a table.

    Args:
        selection: what it asks for must have a column.
        size_column: which column is N.
        run_columns: columns to keep of each run, as far as they are there.

    Raises:
        InputError: if a column is missing, a row has no run, or a run changes its setting.
    """
    columns.require("run_id", size_column, "interactions", "return_mean", *selection.wanted())
    run_index, first = _runs_of_rows(columns)
    known = [name for name in (*run_columns, "sweep", "run_id") if name in columns]
    runs = pd.DataFrame({name: _value_of_runs(columns, name, run_index, first) for name in known})

    def read(kept: Bools) -> RawCurves:
        rows = None if kept.all() else np.flatnonzero(kept[run_index])
        run_of_row = run_index if rows is None else (np.cumsum(kept) - 1)[run_index[rows]]
        sizes = _number_column(columns, size_column, rows)
        firsts = np.searchsorted(rows, first[kept]) if rows is not None else first
        ids = tuple(runs["run_id"][kept])
        numbered = range(1, len(run_index) + 1) if rows is None else rows + 1
        for row in np.flatnonzero((sizes != sizes[firsts][run_of_row]) | ~curve_checks.within(sizes)):
            why = curve_checks.why_not(sizes[row])
            if curve_checks.within(sizes[row]):
                why = f"changes within the run, to {sizes[row]:.10g}; a run has one size"
            raise InputError(
                f"{columns.source}, run {ids[run_of_row[row]]}, row {numbered[row]}, column {size_column}: "
                f"the value {why}."
            )
        return RawCurves(
            source=columns.source,
            size_column=size_column,
            run_ids=ids,
            sizes=sizes[firsts],
            run_index=run_of_row,
            interactions=_number_column(columns, "interactions", rows),
            returns=_number_column(columns, "return_mean", rows),
            numbers=numbered,
        )

    return OpenedCurves(columns.source, runs, read)


def _runs_of_rows(columns: CurveColumns) -> tuple[Ints, Ints]:
    """(run of each row, first row of each run), runs numbered as they appear; another sweep, another run."""
    index, _ = codes_of(columns["run_id"])
    if not len(index):
        raise InputError(f"{columns.source} holds no rows; give a file or store with curves in it.")
    empty = np.flatnonzero(index < 0)
    if len(empty):
        more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        raise InputError(
            f"{columns.source}, column run_id, row {empty[0] + 1}{more}: the value is empty; "
            f"name the run of every row."
        )
    if "sweep" in columns:
        sweeps, names = codes_of(columns["sweep"])
        if len(names) > 1:
            index = pd.factorize(index * (len(names) + 1) + sweeps)[0]
    heads = np.append(0, np.flatnonzero(index[1:] != index[:-1]) + 1)
    first = heads[np.unique(index[heads], return_index=True)[1]]
    return index, first


def _value_of_runs(columns: CurveColumns, name: str, run_index: Ints, first: Ints) -> Any:
    """The value of each run; of what decides which runs are used it must not change within one."""
    values = columns[name]
    if name in (*SETTINGS, "status"):
        codes, _ = codes_of(values)
        for row in np.flatnonzero(codes != codes[first][run_index]):
            raise InputError(
                f"{columns.source}, column {name}, row {row + 1}: the value changes within the run; "
                f"give each run one {name}."
            )
    values = values.iloc[first]
    if name not in TEXT_COLUMNS:
        if getattr(values.dtype, "kind", "O") in "iuf":
            return values.to_numpy()
        found, wrong = numbers(values)
        if name == "horizon":
            _refuse_text(columns, name, values, wrong, first)
        if not wrong.any():
            return found
    codes, names = codes_of(values)
    return np.array([*names, None], dtype=object)[codes]


def _number_column(columns: CurveColumns, name: str, rows: Ints | None) -> Floats:
    values = columns[name]
    if rows is not None:
        values = values.iloc[rows]
    found, wrong = numbers(values)
    _refuse_text(columns, name, values, wrong, rows)
    return found


def _refuse_text(
    columns: CurveColumns, name: str, values: pd.Series, wrong: Bools, rows: Ints | None
) -> None:
    """Refuse values that are no numbers; ``rows`` are their rows, if not all."""
    for position in np.flatnonzero(wrong):
        row = position if rows is None else rows[position]
        more = f" (and {int(wrong.sum()) - 1} more)" if wrong.sum() > 1 else ""
        value = values.iloc[position]
        raise InputError(
            f"{columns.source}, column {name}, row {row + 1}{more}: the value ({str(value)[:50]}) "
            f"is not a number; {why_no_number(value)}."
        )
