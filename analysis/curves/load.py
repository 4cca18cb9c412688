"""Curves from a store, a Parquet or CSV file, or a DataFrame.

The run columns are read first. Then the runs are selected (``selection``), and only their rows are read and
checked (``checks``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from rlscale.analysis.arrays import Bools, Floats
from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.curves import checks as curve_checks
from rlscale.analysis.curves.checks import RawCurves
from rlscale.analysis.curves.curve_set import SIZE_COLUMNS, Curves
from rlscale.analysis.curves.selection import SETTINGS, Selection, listed, same, select, shown
from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.catalog import return_bounds
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore
from rlscale.sweeps.store.schema import RUN_COLUMNS
from rlscale.sweeps.store.table_files import open_table
from rlscale.sweeps.store.tables import Table, table_of_frame
from rlscale.sweeps.store.values import parse_numbers

#: Reading mostly waits for files, above all on an object store.
_READERS = 8


@dataclass(frozen=True)
class OpenedCurves:
    """A source whose runs are known and whose rows are not read yet.

    Attributes:
        source: what messages call it.
        runs: one row a run: ``run_id``, and ``sweep`` and the run columns that the source has.
        read: returns the rows of the runs in a mask of shape ``(runs,)``.
    """

    source: str
    runs: pd.DataFrame
    read: Callable[[Bools], RawCurves]


@dataclass(frozen=True)
class StoreRecord:
    """What a store records about its curves.

    Attributes:
        specs: the last submitted spec of each sweep that has one.
        runs: the records of all runs, of any status.
    """

    specs: dict[str, dict[str, Any]]
    runs: tuple[RunRecord, ...]


def read_store_record(source: str | Path, selection: Selection = Selection()) -> StoreRecord | None:
    """Specs and records of the selected runs of a store; None if ``source`` is a file.

    Raises:
        InputError: if the store cannot be read.
    """
    if not _is_store(str(source)):
        return None
    store = RunStore(source)
    runs = tuple(
        run for run in store.runs(selection.sweep) if selection.has({**run.columns, "sweep": run.sweep})
    )
    specs = {name: store.read_spec(name) for name in sorted({run.sweep for run in runs})}
    return StoreRecord({name: spec for name, spec in specs.items() if spec is not None}, runs)


def load_curves(
    source: str | Path,
    *,
    sweep: str | None = None,
    task: str | None = None,
    algorithm: str | None = None,
    horizon: float | None = None,
    columns: dict[str, str] | None = None,
    size: SizeColumn = "params",
) -> Curves:
    """Read curves from a store, or from one Parquet or CSV file.

    If the source states the status of its runs, only runs that are done are used. Rows without a return are
    skipped. ``notes`` counts both. Sizes that differ by less than half a percent count as one.

    Args:
        source: directory or URI of a store, or path of a file (``.csv``, otherwise Parquet).
        sweep, task, algorithm: only runs of this sweep, task or algorithm.
        horizon: only runs of this horizon h, in environment steps.
        columns: names in the file for our names, e.g. ``{"num_params": "n"}``.
        size: what N is: policy parameters, all parameters, or FLOPs of a forward pass.

    Raises:
        InputError: if the source cannot be read, a value in it cannot be used, or it mixes tasks,
            algorithms or horizons and none was selected; the message names the file, the column, the row
            or run, and the remedy.
    """
    selection = Selection(sweep, task, algorithm, horizon)
    return _selected(_open(str(source), selection, columns or {}, size), selection, size)


def load_by_horizon(
    source: str | Path,
    *,
    sweep: str | None = None,
    task: str | None = None,
    algorithm: str | None = None,
    columns: dict[str, str] | None = None,
    size: SizeColumn = "params",
) -> dict[float, Curves]:
    """Read the curves of a source separately for each horizon h, ascending in h.

    Args:
        source, sweep, task, algorithm, columns, size: as for ``load_curves``.

    Raises:
        InputError: as ``load_curves``, and if a run has no horizon.
    """
    selection = Selection(sweep, task, algorithm)
    opened = _open(str(source), selection, columns or {}, size)
    if "horizon" not in opened.runs:
        raise InputError(
            f"{source} lacks the column 'horizon'; add the horizon of each run.", code="missing_column"
        )
    kept, _ = select(opened.runs, selection, opened.source, but="horizon")
    found = opened.runs[kept]
    horizons, wrong = parse_numbers(found["horizon"])
    for run in found["run_id"][wrong | ~np.isfinite(horizons)]:
        raise InputError(
            f"{source}, run {run}: horizon must be a finite number; fill it in, or remove the run.",
            code="invalid_value",
        )
    chosen = [replace(selection, horizon=float(h)) for h in np.unique(horizons)]
    return {float(each.horizon or 0.0): _selected(opened, each, size) for each in chosen}


def load_by_value(
    source: str | Path,
    column: str,
    values: Sequence[str] = (),
    *,
    sweep: str | None = None,
    task: str | None = None,
    algorithm: str | None = None,
    horizon: float | None = None,
    columns: dict[str, str] | None = None,
    size: SizeColumn = "params",
) -> dict[str, Curves]:
    """Read the curves of a source separately for values of a run column, such as ``algorithm`` or ``sweep``.

    Args:
        source, sweep, task, algorithm, horizon, columns, size: as for ``load_curves``.
        column: a column that has one value in each run.
        values: as text, in the wanted order; by default the two that there are.

    Raises:
        InputError: as ``load_curves``, and if there is no such column (code ``missing_column``), no run of
            such a value (``unknown_selection``), or other than two values and none was given
            (``ambiguous_values``).
    """
    selection = Selection(sweep, task, algorithm, horizon)
    opened = _open(str(source), selection, columns or {}, size)
    there = [
        name for name in (*RUN_COLUMNS, "sweep") if name in opened.runs and name not in ("run_id", "status")
    ]
    if column not in there:
        several = [name for name in there if opened.runs[name].nunique() > 1]
        raise InputError(
            f"{source} has no run column {column!r}; columns with several values: "
            f"{', '.join(several) or 'none'}.",
            code="missing_column",
        )
    found = sorted(opened.runs[column].dropna().unique(), key=lambda value: (str(type(value)), value))
    if not values and len(found) != 2:
        raise InputError(
            f"{source} has {len(found)} values of {column} ({listed(opened.runs[column])}); "
            f"pick two of them.",
            code="ambiguous_values",
        )
    return {
        text: _selected(_having(opened, column, text), selection, size)
        for text in (values or [shown(value) for value in found])
    }


def _having(opened: OpenedCurves, column: str, text: str) -> OpenedCurves:
    """The runs with a value of a column alone."""
    try:
        value: str | float = float(text)
    except ValueError:
        value = text
    mine = opened.runs[column].map(lambda there: same(there, value)).to_numpy(bool)
    if not mine.any():
        raise InputError(
            f"{opened.source} has no run with {column} {text}; it has: {listed(opened.runs[column])}.",
            code="unknown_selection",
        )

    def read(kept: Bools) -> RawCurves:
        all_kept = np.zeros(len(mine), bool)
        all_kept[np.flatnonzero(mine)[kept]] = True
        return opened.read(all_kept)

    return OpenedCurves(opened.source, opened.runs[mine].reset_index(drop=True), read)


def curves_from_frame(
    frame: pd.DataFrame,
    *,
    source: str = "the table",
    selection: Selection = Selection(),
    size: SizeColumn = "params",
) -> Curves:
    """Check a table with the column names of the schema and convert it to arrays.

    Args:
        frame: at least ``run_id``, ``interactions``, ``return_mean`` and the column of N.
        source: what error messages call the table.

    Raises:
        InputError: as ``load_curves``.
    """
    opened = _open_table(table_of_frame(frame, source), selection, SIZE_COLUMNS[size])
    return _selected(opened, selection, size)


def _open(source: str, selection: Selection, columns: dict[str, str], size: str) -> OpenedCurves:
    if size not in get_args(SizeColumn):
        raise InputError(
            f"size is {size!r}: choose one of {', '.join(get_args(SizeColumn))}.", code="invalid_option"
        )
    if _is_store(source):
        if columns:
            raise InputError(
                f"{source} is a store, whose columns have fixed names; leave out the renaming.",
                code="conflicting_options",
            )
        return _open_store(source, selection, SIZE_COLUMNS[size])
    return _open_table(open_table(source, columns), selection, SIZE_COLUMNS[size])


# -- tables -----------------------------------------------------------------------


def _open_table(table: Table, selection: Selection, size_column: str) -> OpenedCurves:
    table.require("run_id", size_column, "interactions", "return_mean", *selection.wanted())
    rows = table.runs()

    def of_runs(name: str) -> Any:
        if name == "horizon":
            return table.numbers_of_runs(name, rows)
        return table.values_of_runs(name, rows, constant=name in (*SETTINGS, "status"))

    known = {name: of_runs(name) for name in (*RUN_COLUMNS, "sweep") if name in table}
    runs = pd.DataFrame({**known, "run_id": rows.ids})

    def read(kept: Bools) -> RawCurves:
        mine = rows.of(kept)
        return RawCurves(
            source=table.source,
            size_column=size_column,
            run_ids=tuple(mine.ids),
            sizes=table.numbers_of_runs(size_column, mine),
            run_index=mine.index,
            interactions=table.numbers("interactions", mine),
            returns=table.numbers("return_mean", mine),
            row_number=lambda row: table.row_number(mine, row),
        )

    return OpenedCurves(table.source, runs, read)


def _selected(opened: OpenedCurves, selection: Selection, size: SizeColumn) -> Curves:
    """The checked curves of the selected runs."""
    kept, notes = select(opened.runs, selection, opened.source)
    raw = opened.read(kept)
    curve_checks.check_numbers(raw)
    order = curve_checks.order_of_rows(raw)
    curve_checks.check_returns(raw)
    run_index, interactions, returns = raw.run_index, raw.interactions, raw.returns
    known = ~np.isnan(returns)
    skipped = int(len(known) - known.sum())
    if order is None and skipped:
        order = np.flatnonzero(known)
    elif order is not None:
        order = order[known[order]]
    if skipped:
        rows = "row without a return was" if skipped == 1 else "rows without a return were"
        notes = (*notes, f"{skipped} {rows} skipped.")
    if order is not None:
        run_index, interactions, returns = run_index[order], interactions[order], returns[order]
    sizes, notes_on_sizes = curve_checks.merge_sizes(raw.sizes)
    odd = curve_checks.notes_on_runs(raw.run_ids, sizes, run_index, interactions, returns)
    table = opened.runs.loc[kept, [name for name in RUN_COLUMNS if name in opened.runs and name != "status"]]
    table = _with_return_bounds(table)
    table.index = pd.Index(raw.run_ids, name="run_id")
    return Curves(
        run_ids=raw.run_ids,
        run_sizes=sizes,
        run_index=run_index,
        interactions=interactions,
        returns=returns,
        table=table,
        source=opened.source,
        selection=selection,
        size=size,
        notes=(*notes, *notes_on_sizes, *odd),
    )


def _with_return_bounds(table: pd.DataFrame) -> pd.DataFrame:
    """The run columns with the bounds of each run's return; curves that lack them get those of their task."""
    if "task" not in table:
        return table
    bounds = [return_bounds(task) for task in table["task"]]
    filled = {}
    for name, of_task in zip(("return_low", "return_high"), zip(*bounds, strict=True), strict=True):
        known = pd.Series(of_task, index=table.index, dtype=float)
        stored = pd.to_numeric(table[name], errors="coerce") if name in table else known
        filled[name] = stored.astype(float).fillna(known)
    return table.assign(**filled)


# -- stores -----------------------------------------------------------------------


def _is_store(source: str) -> bool:
    return "://" in source or os.path.isdir(source)


def _open_store(location: str, selection: Selection, size_column: str) -> OpenedCurves:
    store = RunStore(location)
    records = list(store.runs(selection.sweep))
    if not records:
        raise InputError(
            f"{location} holds no run: it is empty or no store; give a store with finished runs, "
            f"or a Parquet or CSV file of curves.",
            code="no_curves",
        )
    rows = []
    for record in records:
        columns = {name: record.columns.get(name) for name in RUN_COLUMNS}
        for name, value in columns.items():
            if isinstance(value, dict | list):
                raise InputError(
                    f"{location}, run {record.run_id}: {name} in its run.json is not one value.",
                    code="invalid_record",
                )
        rows.append({**columns, "run_id": record.run_id, "sweep": record.sweep, "status": record.status})
    runs = pd.DataFrame(rows)

    def read(kept: Bools) -> RawCurves:
        chosen = [records[position] for position in np.flatnonzero(kept)]
        sizes, wrong = parse_numbers(runs.loc[kept, size_column])
        for position in np.flatnonzero(wrong):
            value = runs.loc[kept, size_column].iloc[position]
            raise InputError(
                f"{location}, run {chosen[position].run_id}: {size_column} is {value!r} in its run.json, "
                f"not a number.",
                code="invalid_record",
            )
        with ThreadPoolExecutor(_READERS) as pool:
            tables = list(pool.map(lambda record: _read_rows(store, record), chosen))
        return RawCurves(
            source=location,
            size_column=size_column,
            run_ids=tuple(record.run_id for record in chosen),
            sizes=sizes,
            run_index=np.repeat(np.arange(len(chosen)), [len(e) for e, _ in tables]),
            interactions=np.concatenate([e for e, _ in tables]),
            returns=np.concatenate([r for _, r in tables]),
        )

    return OpenedCurves(location, runs, read)


def _read_rows(store: RunStore, record: RunRecord) -> tuple[Floats, Floats]:
    table = store.read_curve(record.sweep, record.run_id, columns=("interactions", "return_mean"))
    e, r = (table.column(name).to_numpy() for name in ("interactions", "return_mean"))
    return e.astype(np.float64), r.astype(np.float64)
