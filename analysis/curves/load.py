"""Curves from a store, a Parquet, CSV or JSON lines file, or a DataFrame.

The run columns are read first. Then the runs are selected (``selection``), and only their rows are read and
checked (``checks``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from rlscale.analysis.arrays import Bools, Floats
from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.curves import checks as curve_checks
from rlscale.analysis.curves.checks import RawCurves
from rlscale.analysis.curves.curve_set import METRICS, MIN_SIZES, SIZE_COLUMNS, Curves
from rlscale.analysis.curves.selection import SETTINGS, Selection, beside_tuning, select
from rlscale.scaling.errors import DamagedRun, DamagedSpec, InputError
from rlscale.scaling.tasks.catalog import return_bounds
from rlscale.scaling.wording import either
from rlscale.sweeps.store.choices import Duplicates
from rlscale.sweeps.store.records import STILL_TRAINED, RunRecord
from rlscale.sweeps.store.run_store import RunStore
from rlscale.sweeps.store.schema import RUN_COLUMNS
from rlscale.sweeps.store.table_files import open_table
from rlscale.sweeps.store.tables import Table, table_of_frame
from rlscale.sweeps.store.values import parse_numbers

#: Reading mostly waits for files, above all on an object store.
_READERS = 8
#: Columns that group runs even where their values are numbers.
_GROUPING = frozenset(
    {*("group", "env", "env_id", "env_name", "environment", "task", "game", "level", "dataset", "domain")}
    | {*("algo", "algorithm", "agent", "method", "variant", "suite", "experiment")}
)
#: Columns that number the repetitions of a run, even where their values are text.
_REPEATING = frozenset({"seed", "random_seed", "trial", "repeat", "repetition", "replicate", "rep", "run"})


@dataclass(frozen=True)
class OpenedCurves:
    """A source whose runs are known and whose rows are not read yet.

    Attributes:
        source: what messages call it.
        runs: one row a run: ``run_id``, and ``sweep`` and the run columns that the source has.
        read: returns the rows of the runs in a mask of shape ``(runs,)``.
        groups: other columns of a file that may divide the runs into groups, one row a run.
    """

    source: str
    runs: pd.DataFrame
    read: Callable[[Bools], RawCurves]
    groups: pd.DataFrame

    def only(self, kept: Bools, source: str) -> OpenedCurves:
        """The runs in a mask of shape ``(runs,)``, under another name for messages."""
        places = np.flatnonzero(kept)

        def read(of_these: Bools) -> RawCurves:
            every = np.zeros(len(kept), bool)
            every[places[of_these]] = True
            return replace(self.read(every), source=source)

        runs, groups = (frame.iloc[places].reset_index(drop=True) for frame in (self.runs, self.groups))
        return OpenedCurves(source, runs, read, groups)


@dataclass(frozen=True)
class _Reading:
    """How ``load_curves`` reads a source, all but its selection."""

    columns: dict[str, str] = field(default_factory=dict)
    size: SizeColumn = "params"
    run_columns: tuple[str, ...] = ()
    duplicates: Duplicates = "error"
    minimize: bool = False


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
        run
        for run in store.runs(selection.sweep, leave_out)
        if selection.has({**run.columns, "sweep": run.sweep})
    )
    specs = {name: _spec_if_readable(store, name) for name in sorted({run.sweep for run in runs})}
    return StoreRecord({name: spec for name, spec in specs.items() if spec is not None}, runs)


def start_times(source: str | Path) -> dict[str, str]:
    """When the first attempt at each run started, ISO time by run id; empty for a file, which has no times.

    Raises:
        InputError: if the store cannot be read.
    """
    record = read_store_record(source)
    return {run.run_id: run.attempts[0].started for run in record.runs if run.attempts} if record else {}


def load_curves(
    source: str | Path,
    *,
    sweep: str | None = None,
    task: str | None = None,
    algorithm: str | None = None,
    horizon: float | None = None,
    columns: dict[str, str] | None = None,
    size: SizeColumn = "params",
    run_columns: Sequence[str] = (),
    duplicates: Duplicates = "error",
    minimize: bool = False,
) -> Curves:
    """Read curves from a store, or from one Parquet, CSV or JSON lines file.

    If the source states the status of its runs, only runs that are done are used. Rows without a return are
    skipped. ``notes`` counts both. Sizes that differ by less than half a percent count as one.

    Args:
        source: directory or URI of a store, or path of a file.
        sweep, task, algorithm: only runs of this sweep, task or algorithm.
        horizon: only runs of this horizon h, in environment steps.
        columns: names in the file for our names, e.g. ``{"num_params": "n"}``.
        size: what N is: policy parameters, all parameters, or FLOPs of a forward pass.
        run_columns: of a file, columns whose values together tell runs apart, or ``each-row`` if each row is
            a run; by default ``run_id`` does.
        duplicates: of a file, what to do with rows of one run at one E: ``error``, ``mean`` or ``last``.
        minimize: whether less is better in ``return_mean``, as in a loss. ``returns`` are then its values
            times -1, here and in everything that is made of these curves.

    Raises:
        InputError: if the source cannot be read, a value in it cannot be used, or it mixes tasks,
            algorithms or horizons and none was selected; the message names the file, the column, the row
            or run, and the remedy.
    """
    selection = Selection(sweep, task, algorithm, horizon)
    how = _Reading(columns or {}, size, tuple(run_columns), duplicates, minimize)
    return _selected(_open(str(source), selection, how), selection, how)


def load_by(
    source: str | Path,
    by: str,
    *,
    sweep: str | None = None,
    task: str | None = None,
    algorithm: str | None = None,
    horizon: float | None = None,
    columns: dict[str, str] | None = None,
    size: SizeColumn = "params",
    run_columns: Sequence[str] = (),
    duplicates: Duplicates = "error",
    minimize: bool = False,
) -> dict[str, Curves | InputError]:
    """Read the curves of a source separately for each value of a column, in order of the values.

    Args:
        by: a column of the runs, by its name in the schema or in the file. Runs without a value are left out.
        source, sweep, task, algorithm, horizon, columns, size, run_columns, duplicates, minimize: as for
            ``load_curves``.

    Returns:
        The curves of each value, or why they cannot be used.

    Raises:
        InputError: if the source cannot be read, or ``by`` is none of its columns or varies within a run.
    """
    selection = Selection(sweep, task, algorithm, horizon)
    how = _Reading(columns or {}, size, tuple(run_columns), duplicates, minimize)
    opened = _open(str(source), selection, how, by)
    if by not in opened.runs and by not in opened.groups:
        known = [*opened.runs.drop(columns=["run_id", "status"], errors="ignore"), *opened.groups]
        raise InputError(
            f"{source} has no column {by!r} with one value in each run; it has: {', '.join(known)}.",
            code="missing_column",
        )
    if by != "sweep":
        selection, _ = beside_tuning(opened.runs, selection, opened.source)
    values = opened.runs[by] if by in opened.runs else opened.groups[by]
    records = opened.runs.to_dict("records")
    selected = np.array([selection.has({str(name): value for name, value in run.items()}) for run in records])
    names = sorted(values[selected].dropna().unique(), key=lambda value: (str(type(value)), value))
    if not names:
        select(opened.runs, selection, opened.source, but=by)  # says which runs there are instead
        raise InputError(f"{source}: no run has a value of {by}; give another column.", code="missing_column")
    found: dict[str, Curves | InputError] = {}
    for value in names:
        name = f"{value:g}" if isinstance(value, float) else str(value)
        mine = opened.only(selected & (values == value).to_numpy(), f"{opened.source}, {by} {name}")
        try:
            found[name] = _selected(mine, selection, how)
        except InputError as error:
            found[name] = error
    return found


def load_by_horizon(
    source: str | Path,
    *,
    sweep: str | None = None,
    task: str | None = None,
    algorithm: str | None = None,
    columns: dict[str, str] | None = None,
    size: SizeColumn = "params",
    run_columns: Sequence[str] = (),
    duplicates: Duplicates = "error",
    minimize: bool = False,
) -> dict[float, Curves]:
    """Read the curves of a source separately for each horizon h, ascending in h.

    Args:
        source, sweep, task, algorithm, columns, size, run_columns, duplicates, minimize: as for
            ``load_curves``.

    Raises:
        InputError: as ``load_curves``, and if a run has no horizon.
    """
    selection = Selection(sweep, task, algorithm)
    how = _Reading(columns or {}, size, tuple(run_columns), duplicates, minimize)
    opened = _open(str(source), selection, how)
    if "horizon" not in opened.runs:
        raise InputError(
            f"{source} lacks the column 'horizon'; add the horizon of each run.", code="missing_column"
        )
    selection, _ = beside_tuning(opened.runs, selection, opened.source)
    kept, _ = select(opened.runs, selection, opened.source, but="horizon")
    found = opened.runs[kept]
    horizons, wrong = parse_numbers(found["horizon"])
    for run in found["run_id"][wrong | ~np.isfinite(horizons)]:
        raise InputError(
            f"{source}, run {run}: horizon must be a finite number; fill it in, or remove the run.",
            code="invalid_value",
        )
    chosen = [replace(selection, horizon=float(h)) for h in np.unique(horizons)]
    return {float(each.horizon or 0.0): _selected(opened, each, how) for each in chosen}


def curves_from_frame(
    frame: pd.DataFrame,
    *,
    source: str = "the table",
    selection: Selection = Selection(),
    columns: Mapping[str, str] | None = None,
    size: SizeColumn = "params",
    run_columns: Sequence[str] = (),
    duplicates: Duplicates = "error",
    minimize: bool = False,
) -> Curves:
    """Check a table with a row for each point and convert it to arrays.

    Args:
        frame: at least ``run_id``, ``interactions``, ``return_mean`` and the column of N, by these names or
            those of ``columns``; left unchanged.
        source: what error messages call the table.
        columns, size, run_columns, duplicates, minimize: as for ``load_curves``.

    Raises:
        InputError: as ``load_curves``.
    """
    how = _Reading(dict(columns or {}), size, tuple(run_columns), duplicates, minimize)
    _check_choices(how)
    table = table_of_frame(frame, source, renaming=how.columns, run_columns=how.run_columns)
    return _selected(_open_table(table, selection, SIZE_COLUMNS[size]), selection, how)


def as_curves(
    data: Curves | pd.DataFrame,
    *,
    run_id: str | Sequence[str] | None = None,
    num_params: str | None = None,
    interactions: str | None = None,
    return_mean: str | None = None,
) -> Curves:
    """Curves as they are, or those of a table.

    Args:
        data: curves, or a table as for ``curves_from_frame``, which has more settings.
        run_id, num_params, interactions, return_mean: names of these columns in the table; several of
            ``run_id`` together tell runs apart.

    Raises:
        InputError: as ``load_curves``, if ``data`` is neither (code ``not_curves``), or if columns are named
            of curves, which know theirs (``conflicting_options``).
    """
    named = {"num_params": num_params, "interactions": interactions, "return_mean": return_mean}
    columns = {ours: theirs for ours, theirs in named.items() if theirs is not None}
    if isinstance(data, Curves):
        if columns or run_id is not None:
            raise InputError(
                "Curves know their columns; name columns of a DataFrame only.", code="conflicting_options"
            )
        return data
    if not isinstance(data, pd.DataFrame):
        raise InputError(
            f"A {type(data).__name__} is not curves: give a DataFrame with a row for each point, or "
            f"rlscale.load_curves(path) of a file or a store.",
            code="not_curves",
        )
    if isinstance(run_id, str):
        columns["run_id"] = run_id
    several = () if run_id is None or isinstance(run_id, str) else tuple(run_id)
    how = _Reading(columns, run_columns=several)
    table = table_of_frame(data, "the DataFrame", renaming=columns, run_columns=several, by_keyword=True)
    return _selected(_open_table(table, Selection(), SIZE_COLUMNS[how.size]), Selection(), how)


def _check_choices(how: _Reading) -> None:
    for name, value, choices in (
        ("size", how.size, get_args(SizeColumn)),
        ("duplicates", how.duplicates, get_args(Duplicates)),
    ):
        if value not in choices:
            raise InputError(
                f"{name} is {value!r}: choose one of {', '.join(choices)}.", code="unknown_choice"
            )


def _open(source: str, selection: Selection, how: _Reading, by: str | None = None) -> OpenedCurves:
    _check_choices(how)
    size_column = SIZE_COLUMNS[how.size]
    if not _is_store(source):
        return _open_table(open_table(source, how.columns, None, how.run_columns), selection, size_column, by)
    for given, why in (
        (how.columns, "whose columns have fixed names; leave out the renaming"),
        (how.run_columns, f"which knows its runs; leave out {either('--run-columns', 'run_columns')}"),
        (
            how.duplicates != "error",
            f"which holds each step of a run once; leave out {either('--duplicates', 'duplicates')}",
        ),
    ):
        if given:
            raise InputError(f"{source} is a store, {why}.", code="conflicting_options")
    return _open_store(source, selection, size_column)


# -- tables -----------------------------------------------------------------------


def _open_table(table: Table, selection: Selection, size_column: str, by: str | None = None) -> OpenedCurves:
    table.require("run_id", size_column, "interactions", "return_mean", *selection.wanted())
    rows = table.runs()

    def of_runs(name: str) -> Any:
        if name == "horizon":
            return table.numbers_of_runs(name, rows)
        return table.values_of_runs(name, rows, constant=name in (*SETTINGS, "status"))

    known = {name: of_runs(name) for name in (*RUN_COLUMNS, "sweep") if name in table}
    runs = pd.DataFrame({**known, "run_id": rows.ids})
    groups: dict[str, Any] = {}
    for name in table.others:
        numbers = name == by or name.lower() in _GROUPING
        if name == by or name.lower() not in _REPEATING:
            values = table.groups_of_runs(name, rows, numbers=numbers)
            groups |= {} if values is None else {name: values}

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
            metrics=_measured((name, table.numbers(name, mine)) for name in METRICS if name in table),
        )

    return OpenedCurves(table.source, runs, read, pd.DataFrame(groups, index=runs.index))


def _selected(opened: OpenedCurves, selection: Selection, how: _Reading) -> Curves:
    """The checked curves of the selected runs."""
    selection, tuning = beside_tuning(opened.runs, selection, opened.source)
    kept, notes = select(opened.runs, selection, opened.source)
    raw = opened.read(kept)
    notes = (*tuning, *notes, *raw.notes)
    kept = kept.copy()
    kept[np.flatnonzero(kept)[list(raw.left_out)]] = False
    curve_checks.check_numbers(raw)
    raw, notes_on_duplicates = curve_checks.each_step_once(raw, how.duplicates)
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
    metrics = {name: values if order is None else values[order] for name, values in raw.metrics.items()}
    sizes, notes_on_sizes = curve_checks.merge_sizes(raw.sizes)
    odd = curve_checks.notes_on_runs(raw.run_ids, sizes, run_index, interactions, returns)
    table = opened.runs.loc[kept, [name for name in RUN_COLUMNS if name in opened.runs and name != "status"]]
    table = _with_return_bounds(table)
    if how.minimize:
        returns = -returns
        if {"return_low", "return_high"} <= set(table):
            table = table.assign(return_low=-table["return_high"], return_high=-table["return_low"])
        option = either("--minimize", "minimize=True")
        notes = (*notes, f"Less is better ({option}): returns are the values of the source times -1.")
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
        size=how.size,
        notes=(*notes, *notes_on_duplicates, *notes_on_sizes, *odd),
        minimize=how.minimize,
        groups=_groups(opened.groups[kept], sizes) if len(opened.groups.columns) else (),
        metrics=metrics,
    ).by_name()


def _groups(columns: pd.DataFrame, sizes: Floats) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The columns that divide the runs into groups of which two or more can be fitted, and all groups' names.

    Args:
        columns: one row a run.
        sizes: N of each run, shape ``(runs,)``.
    """
    found = []
    for name in columns:
        of_group = pd.Series(sizes).groupby(columns[name].to_numpy()).nunique()
        if (of_group >= MIN_SIZES).sum() >= 2:
            found.append((str(name), tuple(map(str, of_group.index))))
    return tuple(found)


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


def _measured(columns: Iterable[tuple[str, Floats]]) -> dict[str, Floats]:
    """The columns that have a value; one without is not held beside the next."""
    return {name: values for name, values in columns if not np.isnan(values).all()}


# -- stores -----------------------------------------------------------------------


def leave_out(damage: DamagedRun) -> None:
    """Go on without a damaged run; ``load_curves`` says so in its notes."""


def _spec_if_readable(store: RunStore, sweep: str) -> dict[str, Any] | None:
    try:
        return store.read_spec(sweep)
    except DamagedSpec:  # it only says where the curves come from
        return None


def _is_store(source: str) -> bool:
    return "://" in source or os.path.isdir(source)


def _open_store(location: str, selection: Selection, size_column: str) -> OpenedCurves:
    store = RunStore(location)
    damaged: dict[str, DamagedRun] = {}

    def on_damage(error: DamagedRun) -> None:
        damaged[f"{error.sweep} {error.run_id}"] = error

    records = list(store.runs(selection.sweep, on_damage))
    if not records and damaged:
        raise next(iter(damaged.values()))
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
            found = list(pool.map(lambda record: _read_rows(store, record), chosen))
        for each in found:
            if isinstance(each, DamagedRun):
                on_damage(each)
        tables = [each for each in found if not isinstance(each, DamagedRun)]
        left_out = tuple(place for place, each in enumerate(found) if isinstance(each, DamagedRun))
        chosen = [record for place, record in enumerate(chosen) if place not in left_out]
        sizes = np.delete(sizes, left_out)
        if damaged and not tables:
            raise next(iter(damaged.values()))
        notes = [f"Run {error.run_id} is left out: {error}" for error in damaged.values()]
        return RawCurves(
            source=location,
            size_column=size_column,
            run_ids=tuple(record.run_id for record in chosen),
            sizes=sizes,
            left_out=left_out,
            notes=(*notes, *_still_trained(chosen)),
            run_index=np.repeat(np.arange(len(chosen)), [len(table["interactions"]) for table in tables]),
            interactions=np.concatenate([table["interactions"] for table in tables]),
            returns=np.concatenate([table["return_mean"] for table in tables]),
            metrics=_measured((name, np.concatenate([table[name] for table in tables])) for name in METRICS),
        )

    return OpenedCurves(location, runs, read, pd.DataFrame(index=runs.index))


def _still_trained(records: Sequence[RunRecord]) -> list[str]:
    """A note on imported runs that were under way when they were imported."""
    growing = [record.run_id for record in records if STILL_TRAINED in record.config]
    if not growing:
        return []
    more = f" and {len(growing) - 3} more" if len(growing) > 3 else ""
    return [
        f"{len(growing)} imported run{' was' if len(growing) == 1 else 's were'} perhaps still being trained "
        f"({', '.join(growing[:3])}{more}): import again once that is done."
    ]


def _read_rows(store: RunStore, record: RunRecord) -> dict[str, Floats] | DamagedRun:
    names = ("interactions", "return_mean", *METRICS)
    try:
        table = store.read_curve(record.sweep, record.run_id, columns=names)
    except DamagedRun as error:
        return error
    return {name: table.column(name).to_numpy().astype(np.float64) for name in names}
