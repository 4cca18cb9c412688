"""Stored or imported curves as arrays, with every mistake in them told in one sentence.

The one module of this package that reads the run store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.result import SizeColumn
from scaling.errors import InputError
from sweeps.schema import RUN_COLUMNS
from sweeps.store import RunRecord, RunStore, read_parquet_frame

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Which column is N, for each choice of ``size``.
SIZE_COLUMNS: dict[str, str] = {
    "params": "num_params",
    "params_total": "num_params_total",
    "flops": "flops_forward",
}
MIN_SIZES = 3  # two sizes cannot tell a power of N from any other dependence


#: What has a law of its own, and how messages name the option that picks one.
SELECTABLE = ("task", "algorithm", "horizon")


@dataclass(frozen=True)
class Selection:
    """Which runs of a source are asked for; None for all.

    Attributes:
        sweep: name of the sweep.
        task, algorithm: names of a task and an algorithm.
        horizon: h in environment steps, equal to within rounding.
    """

    sweep: str | None = None
    task: str | None = None
    algorithm: str | None = None
    horizon: float | None = None

    def wanted(self) -> dict[str, str | float]:
        """What is asked for besides the sweep, by column."""
        asked = {name: getattr(self, name) for name in SELECTABLE}
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True)
class Curves:
    """Learning curves of many runs, rows in order of run, then of environment steps.

    Attributes:
        run_ids: one name a run.
        run_sizes: N of each run, shape ``(runs,)``; parameters or FLOPs, by ``size``.
        run_index: run of each row, ascending, shape ``(rows,)``.
        interactions: E, environment steps, shape ``(rows,)``, increasing within a run.
        returns: mean undiscounted return, shape ``(rows,)``, finite.
        table: the run columns that the source has, one row a run, indexed by run id.
        source: path or URI as given.
        selection: which runs of the source were asked for.
        size: what N is.
        notes: what was left out of the source, in sentences.
    """

    run_ids: tuple[str, ...]
    run_sizes: Floats
    run_index: Ints
    interactions: Floats
    returns: Floats
    table: pd.DataFrame = field(repr=False)
    source: str = ""
    selection: Selection = Selection()
    size: SizeColumn = "params"
    notes: tuple[str, ...] = ()

    @property
    def num_runs(self) -> int:
        return len(self.run_ids)

    @property
    def num_points(self) -> int:
        return len(self.returns)

    @property
    def sizes(self) -> Floats:
        """The distinct sizes, ascending; runs of one size are its seeds."""
        return np.unique(self.run_sizes)

    @property
    def size_index(self) -> Ints:
        """Position of each run's size in ``sizes``, shape ``(runs,)``."""
        return np.searchsorted(self.sizes, self.run_sizes)

    def curve(self, run: int) -> tuple[Floats, Floats]:
        """(interactions, returns) of one run, by position."""
        rows = slice(*np.searchsorted(self.run_index, [run, run + 1]))
        return self.interactions[rows], self.returns[rows]

    def with_returns(self, returns: Floats) -> Curves:
        """The same curves with other returns, shape ``(rows,)``."""
        return Curves(**{**self.__dict__, "returns": np.asarray(returns, float)})


@dataclass(frozen=True)
class StoreRecord:
    """What a store knows of its curves.

    Attributes:
        specs: the spec of each sweep that has one, as last submitted.
        runs: the records of all runs, whatever their status.
    """

    specs: dict[str, dict[str, Any]]
    runs: tuple[RunRecord, ...]


def read_store_record(source: str | Path, selection: Selection = Selection()) -> StoreRecord | None:
    """Specs and runs of a store, or of those selected; None if ``source`` is a file.

    Raises:
        InputError: if the store cannot be read.
    """
    if not _is_store(str(source)):
        return None
    store = RunStore(source)
    runs = tuple(
        run
        for run in store.runs(selection.sweep)
        if all(_same(run.columns.get(name), value) for name, value in selection.wanted().items())
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

    Of a source that knows the status of its runs only those that are done are used; rows without a
    return are skipped; both are counted in ``notes``.

    Args:
        source: directory or URI of a store, or path of a file (``.csv``, otherwise Parquet).
        sweep, task, algorithm: only runs of this sweep, task or algorithm.
        horizon: only runs of this horizon h, in environment steps.
        columns: names in the file for our names, e.g. ``{"num_params": "n"}``.
        size: what N is: policy parameters, all parameters, or FLOPs of a forward pass.

    Raises:
        InputError: if the source cannot be read, a value in it cannot be used, or it mixes tasks,
            algorithms or horizons none of which was chosen, naming the file, the column and the
            row or run, and the remedy.
    """
    selection = Selection(sweep, task, algorithm, horizon)
    frame, notes = _load(source, selection, columns, size)
    return curves_from_frame(frame, source=str(source), selection=selection, size=size, notes=notes)


def load_by_horizon(
    source: str | Path,
    *,
    sweep: str | None = None,
    task: str | None = None,
    algorithm: str | None = None,
    columns: dict[str, str] | None = None,
    size: SizeColumn = "params",
) -> dict[float, Curves]:
    """Read the curves of each horizon h of a source apart, ascending in h.

    Args:
        source, sweep, task, algorithm, columns, size: as for ``load_curves``.

    Raises:
        InputError: as ``load_curves``, and if a run has no horizon.
    """
    selection = Selection(sweep, task, algorithm)
    frame, notes = _load(source, selection, columns, size)
    _require_columns(frame, ("horizon",), str(source))
    horizons = _numbers(frame, "horizon", str(source))
    return {
        float(h): curves_from_frame(
            frame[horizons == h],
            source=str(source),
            selection=replace(selection, horizon=float(h)),
            size=size,
            notes=notes,
        )
        for h in np.unique(horizons)
    }


def _load(
    source: str | Path, selection: Selection, columns: dict[str, str] | None, size: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if size not in get_args(SizeColumn):
        raise InputError(f"size is {size!r}: choose one of {', '.join(get_args(SizeColumn))}.")
    name = str(source)
    notes: list[str] = []
    if _is_store(name):
        if columns:
            raise InputError(f"{name} is a store, whose columns have fixed names; leave out the renaming.")
        frame = _read_store(name, selection.sweep, notes)
    else:
        frame = _renamed(_read_file(name), columns or {}, name)
        frame = _of_sweep(frame, selection.sweep, name)
    frame = _done_only(frame, name, notes)
    frame = _once_per_run(frame, notes)
    for column, value in selection.wanted().items():
        frame = _having(frame, column, value, name)
    return frame, tuple(notes)


def curves_from_frame(
    frame: pd.DataFrame,
    *,
    source: str = "the table",
    selection: Selection = Selection(),
    size: SizeColumn = "params",
    notes: tuple[str, ...] = (),
) -> Curves:
    """Check a table with our column names and make arrays of it.

    Args:
        frame: at least ``run_id``, ``interactions``, ``return_mean`` and the column of N.
        source: what error messages call the table.

    Raises:
        InputError: as ``load_curves``.
    """
    n_column = SIZE_COLUMNS[size]
    _require_columns(frame, ("run_id", n_column, "interactions", "return_mean"), source)
    if len(frame) == 0:
        raise InputError(f"{source} holds no rows; give a file or store with curves in it.")
    frame = frame.reset_index(drop=True)
    numbers = {c: _numbers(frame, c, source) for c in (n_column, "interactions", "return_mean")}
    n, e, r = numbers[n_column], numbers["interactions"], numbers["return_mean"]
    _require(frame["run_id"].notna().to_numpy(), source, "run_id", "is empty", "name the run of every row")
    _require(n > 0, source, n_column, "must be positive", "correct or remove the row", n)
    _require(e > 0, source, "interactions", "must be positive", "remove rows from before training", e)
    _require(~np.isinf(r), source, "return_mean", "is infinite", "leave it empty or remove the row", r)
    codes, ids = pd.factorize(frame["run_id"].astype(str))
    _check_runs(codes, ids, n, e, r, n_column, source)

    kept = ~np.isnan(r)
    skipped = int((~kept).sum())
    if skipped:
        notes = (*notes, f"{skipped} row{_s(skipped)} without a return {_were(skipped)} skipped.")
    order = np.argsort(codes, kind="stable")
    order = order[kept[order]]
    first = np.unique(codes, return_index=True)[1]
    table = frame.loc[first, [c for c in RUN_COLUMNS if c in frame.columns]]
    table.index = pd.Index([str(i) for i in ids], name="run_id")
    _check_one_setting(table, source)
    return Curves(
        run_ids=tuple(str(i) for i in ids),
        run_sizes=n[first],
        run_index=codes[order].astype(np.int64),
        interactions=e[order],
        returns=r[order],
        table=table,
        source=source,
        selection=selection,
        size=size,
        notes=(*notes, *_notes_on_settings(table)),
    )


def require_sizes(curves: Curves) -> None:
    """Refuse curves that cannot determine a power of N.

    Raises:
        InputError: if there are fewer than three sizes.
    """
    found = curves.sizes
    if len(found) < MIN_SIZES:
        listed = ", ".join(f"{n:g}" for n in found)
        raise InputError(
            f"{curves.source} has {len(found)} size{_s(len(found))} "
            f"({SIZE_COLUMNS[curves.size]} = {listed}); "
            f"a fit needs at least {MIN_SIZES}: add runs of other sizes."
        )


# -- reading ----------------------------------------------------------------------


def _is_store(source: str) -> bool:
    return "://" in source or Path(source).is_dir()


def _read_store(location: str, sweep: str | None, notes: list[str]) -> pd.DataFrame:
    store = RunStore(location)
    statuses = pd.Series([record.status for record in store.runs(sweep)], dtype=str)
    if not (statuses == "done").any():
        there = ", ".join(f"{count} {status}" for status, count in statuses.value_counts().items())
        raise InputError(
            f"{location} holds no run that is done ({there or 'it is empty'}); "
            f"finish one with: rlscale sweep run."
        )
    frame: pd.DataFrame = store.read_curves(sweep).to_pandas()
    others = statuses[statuses != "done"]
    if len(others):
        there = ", ".join(f"{count} {status}" for status, count in others.value_counts().items())
        notes.append(f"{len(others)} run{_s(len(others))} {_were(len(others))} left out: not done ({there}).")
    return frame[frame["status"] == "done"].drop(columns="status")


def _read_file(name: str) -> pd.DataFrame:
    path = Path(name)
    if not path.exists():
        raise InputError(f"{name} does not exist; give a store, or a Parquet or CSV file of curves.")
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty; give a file with curves in it.")
    if not name.endswith((".csv", ".csv.gz")):
        return read_parquet_frame(path)
    try:
        return pd.read_csv(path, float_precision="round_trip")
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{name} is not a readable CSV file: {error}") from error


def _renamed(frame: pd.DataFrame, columns: dict[str, str], source: str) -> pd.DataFrame:
    for ours, theirs in columns.items():
        if theirs not in frame.columns:
            there = ", ".join(map(str, frame.columns))
            raise InputError(f"{source} has no column {theirs!r} to use as {ours}; it has: {there}.")
    replaced = [ours for ours, theirs in columns.items() if ours in frame.columns and ours != theirs]
    return frame.drop(columns=replaced).rename(columns={theirs: ours for ours, theirs in columns.items()})


def _of_sweep(frame: pd.DataFrame, sweep: str | None, source: str) -> pd.DataFrame:
    if sweep is None:
        return frame
    _require_columns(frame, ("sweep",), source)
    names = frame["sweep"].astype(str)
    if not (names == sweep).any():
        raise InputError(
            f"{source} has no sweep named {sweep!r}; it has: {', '.join(sorted(names.unique()))}."
        )
    return frame[names == sweep]


def _having(frame: pd.DataFrame, column: str, value: str | float, source: str) -> pd.DataFrame:
    """The rows of the runs that were asked for."""
    _require_columns(frame, (column,), source)
    there = frame[column].unique()
    kept = [other for other in there if _same(other, value)]
    if not kept:
        names = ", ".join(map(str, sorted(frame[column].dropna().unique()))) or "none given"
        raise InputError(
            f"{source} has no run of {column} {value!r}; it has: {names}; choose one with --{column}."
        )
    return frame[frame[column].isin(kept)]


def _same(found: object, wanted: str | float) -> bool:
    if isinstance(wanted, str):
        return str(found) == wanted
    try:
        return math.isclose(float(str(found)), wanted, rel_tol=1e-9)
    except ValueError:
        return False


def _done_only(frame: pd.DataFrame, source: str, notes: list[str]) -> pd.DataFrame:
    if "status" not in frame.columns or "run_id" not in frame.columns or len(frame) == 0:
        return frame
    done = frame["status"].astype(str) == "done"
    left = frame.loc[~done, "run_id"].nunique()
    if not done.any():
        raise InputError(
            f"{source} holds no run whose status is done; finish some, or drop the column status to use all."
        )
    if left:
        notes.append(f"{left} run{_s(left)} {_were(left)} left out: not done.")
    return frame[done].drop(columns="status")


def _once_per_run(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """A run's id is a hash of its config, so one id in two sweeps is one run stored twice."""
    if "sweep" not in frame.columns or "run_id" not in frame.columns or len(frame) == 0:
        return frame
    sweeps = frame["sweep"].astype(str)
    if sweeps.nunique() == 1:
        return frame
    repeated = sweeps != sweeps.groupby(frame["run_id"]).transform("first")
    count = frame.loc[repeated, "run_id"].nunique()
    if count:
        notes.append(f"{count} run{_s(count)} found in more than one sweep {_were(count)} used once.")
    return frame[~repeated]


# -- checking ---------------------------------------------------------------------


def _require_columns(frame: pd.DataFrame, names: tuple[str, ...], source: str) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns)) or "none"
        raise InputError(
            f"{source} lacks the column {missing[0]!r} (it has: {there}); "
            f"if it has another name there, use --columns {missing[0]}=NAME."
        )


def _numbers(frame: pd.DataFrame, column: str, source: str) -> Floats:
    values = frame[column]
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float, na_value=np.nan)
    given = values.notna().to_numpy()
    _require(~(given & np.isnan(numbers)), source, column, "is not a number", "correct or remove it", values)
    if column != "return_mean":
        _require(np.isfinite(numbers), source, column, "must be a finite number", "fill it in", numbers)
    return numbers


def _require(
    good: NDArray[np.bool_], source: str, column: str, fault: str, remedy: str, values: object = None
) -> None:
    bad = np.flatnonzero(~np.asarray(good))
    if len(bad):
        row = int(bad[0])
        shown = "" if values is None else f" ({np.asarray(values)[row]!s})"
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise InputError(
            f"{source}, column {column}, row {row + 1}{more}: the value{shown} {fault}; {remedy}."
        )


def _check_runs(
    codes: Ints, ids: pd.Index, n: Floats, e: Floats, r: Floats, n_column: str, source: str
) -> None:
    """What must hold within each run: one size, steps that only grow, some return."""
    order = np.argsort(codes, kind="stable")
    same = codes[order][1:] == codes[order][:-1]
    steps = np.lexsort((e, codes))
    twice = same & (e[steps][1:] == e[steps][:-1])  # sorted by run either way, so `same` fits both
    if twice.any():
        row = steps[1:][twice][0]
        raise InputError(
            f"{source}, run {ids[codes[row]]}: interactions {e[row]:.0f} occurs twice; "
            f"keep one row for each (run_id, interactions)."
        )
    back = same & (e[order][1:] < e[order][:-1])
    if back.any():
        row = order[1:][back][0]
        raise InputError(
            f"{source}, run {ids[codes[row]]}, row {row + 1}: interactions go backwards, to {e[row]:.0f}; "
            f"sort the rows of a run, and give each attempt at it a run_id of its own."
        )
    changed = same & (n[order][1:] != n[order][:-1])
    if changed.any():
        row = order[1:][changed][0]
        raise InputError(
            f"{source}, run {ids[codes[row]]}, row {row + 1}: {n_column} changes within the run, "
            f"to {n[row]:g}; a run has one size."
        )
    silent = np.flatnonzero(np.bincount(codes, weights=~np.isnan(r)) == 0)
    if len(silent):
        raise InputError(
            f"{source}, run {ids[silent[0]]}: no row has a return_mean; remove the run, or train it longer."
        )


def _check_one_setting(table: pd.DataFrame, source: str) -> None:
    """One law holds for one task, algorithm and horizon."""
    for column in ("task", "algorithm", "horizon"):
        if column in table and table[column].nunique() > 1:
            found = sorted(table[column].dropna().unique())
            listed = ", ".join(str(value) for value in found[:8]) + (", ..." if len(found) > 8 else "")
            raise InputError(
                f"{source} mixes {len(found)} values of {column} ({listed}), which have laws of their own; "
                f"pick one with --{column} {found[0]}."
            )


def _notes_on_settings(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(
        f"The runs have {table[column].nunique()} values of {column}, fitted together."
        for column in ("family", "learning_rate")
        if column in table and table[column].nunique() > 1
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
