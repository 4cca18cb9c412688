"""Stored or imported curves as arrays, with every mistake in them told in one sentence.

The one module of this package that reads the run store. A source is opened, which tells its runs; those
to be used are chosen (``analysis.curve_selection``), and only their rows are read and checked
(``analysis.curve_checks``).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import curve_checks
from analysis.curve_checks import RawCurves
from analysis.curve_columns import columns_of_file, columns_of_frame, numbers
from analysis.curve_selection import Selection, select
from analysis.curve_tables import TEXT_COLUMNS, OpenedCurves, open_columns
from analysis.result import SizeColumn
from scaling.errors import InputError
from sweeps.schema import RUN_COLUMNS
from sweeps.store import RunRecord, RunStore

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Which column is N, for each choice of ``size``.
SIZE_COLUMNS: dict[str, str] = {
    "params": "num_params",
    "params_total": "num_params_total",
    "flops": "flops_forward",
}
MIN_SIZES = 3  # two sizes cannot tell a power of N from any other dependence
_KNOWN = ("run_id", "sweep", *RUN_COLUMNS, "interactions", "return_mean")
_ROUNDING = 1e-12  # of the largest return: less is the rounding of sums
_MIN_SPREAD = 1e-100  # of returns: slopes against it stay within a double
#: Reading waits for files more than it computes, all the more on an object store.
_READERS = 8


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
        notes: what was left out of the source or looks odd in it, in sentences.
    """

    run_ids: tuple[str, ...]
    run_sizes: Floats
    run_index: Ints
    interactions: Floats
    returns: Floats
    table: pd.DataFrame = field(repr=False)
    source: str = ""
    selection: Selection = field(default_factory=Selection)
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

    def with_rows(self, kept: NDArray[np.bool_]) -> Curves:
        """The curves with only the rows of ``kept``, shape ``(rows,)``, and only runs that have some."""
        runs = np.unique(self.run_index[kept])
        return replace(
            self,
            run_ids=tuple(self.run_ids[run] for run in runs),
            run_sizes=self.run_sizes[runs],
            run_index=np.searchsorted(runs, self.run_index[kept]),
            interactions=self.interactions[kept],
            returns=self.returns[kept],
            table=self.table.iloc[runs],
        )


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

    Of a source that knows the status of its runs only those that are done are used; rows without a
    return are skipped; both are counted in ``notes``. Sizes that differ by less than half a percent
    count as one.

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
    """Read the curves of each horizon h of a source apart, ascending in h.

    Args:
        source, sweep, task, algorithm, columns, size: as for ``load_curves``.

    Raises:
        InputError: as ``load_curves``, and if a run has no horizon.
    """
    selection = Selection(sweep, task, algorithm)
    opened = _open(str(source), selection, columns or {}, size)
    if "horizon" not in opened.runs:
        raise InputError(f"{source} lacks the column 'horizon'; add the horizon of each run.")
    kept, _ = select(opened.runs, selection, opened.source, but="horizon")
    found = opened.runs[kept]
    horizons, wrong = numbers(found["horizon"])
    for run in found["run_id"][wrong | ~np.isfinite(horizons)]:
        raise InputError(
            f"{source}, run {run}: horizon must be a finite number; fill it in, or remove the run."
        )
    chosen = [replace(selection, horizon=float(h)) for h in np.unique(horizons)]
    return {float(each.horizon or 0.0): _selected(opened, each, size) for each in chosen}


def curves_from_frame(
    frame: pd.DataFrame,
    *,
    source: str = "the table",
    selection: Selection = Selection(),
    size: SizeColumn = "params",
) -> Curves:
    """Check a table with our column names and make arrays of it.

    Args:
        frame: at least ``run_id``, ``interactions``, ``return_mean`` and the column of N.
        source: what error messages call the table.

    Raises:
        InputError: as ``load_curves``.
    """
    opened = open_columns(columns_of_frame(frame, source), selection, SIZE_COLUMNS[size], RUN_COLUMNS)
    return _selected(opened, selection, size)


def require_sizes(curves: Curves) -> None:
    """Refuse curves that cannot determine a power of N.

    Raises:
        InputError: if there are fewer than three sizes.
    """
    found = curves.sizes
    if len(found) < MIN_SIZES:
        listed = ", ".join(f"{n:g}" for n in found)
        raise InputError(
            f"{curves.source} has {len(found)} size{'' if len(found) == 1 else 's'} "
            f"({SIZE_COLUMNS[curves.size]} = {listed}); "
            f"a fit needs at least {MIN_SIZES}: add runs of other sizes."
        )


def require_fittable(curves: Curves) -> None:
    """Refuse curves that cannot determine a law.

    Raises:
        InputError: if there are fewer than three sizes, returns do not vary, or no size is seen at more than
            one number of interactions.
    """
    require_sizes(curves)
    low, high = float(curves.returns.min()), float(curves.returns.max())
    if high - low <= _ROUNDING * max(-low, high):
        raise InputError(
            f"{curves.source}: returns do not vary ({low:g} to {high:g}), so nothing can be fitted; "
            f"train longer."
        )
    if high - low < _MIN_SPREAD:
        raise InputError(
            f"{curves.source}: returns vary by less than {_MIN_SPREAD:g}; state them in a smaller unit."
        )
    first = np.searchsorted(curves.run_index, np.arange(curves.num_runs))
    last = np.append(first[1:], curves.num_points) - 1
    ends = pd.DataFrame({"low": curves.interactions[first], "high": curves.interactions[last]})
    of_size = ends.groupby(curves.run_sizes)
    if (of_size["low"].min() == of_size["high"].max()).all():
        raise InputError(
            f"{curves.source}: no size has returns at more than one number of interactions; "
            f"record returns along training."
        )


def _open(source: str, selection: Selection, columns: dict[str, str], size: str) -> OpenedCurves:
    if size not in get_args(SizeColumn):
        raise InputError(f"size is {size!r}: choose one of {', '.join(get_args(SizeColumn))}.")
    if _is_store(source):
        if columns:
            raise InputError(f"{source} is a store, whose columns have fixed names; leave out the renaming.")
        return _open_store(source, selection, SIZE_COLUMNS[size])
    for name in columns:
        if name not in _KNOWN:
            raise InputError(f"{name!r} is no column of curves to rename to: choose of {', '.join(_KNOWN)}.")
    read = columns_of_file(source, columns, TEXT_COLUMNS)
    return open_columns(read, selection, SIZE_COLUMNS[size], RUN_COLUMNS)


def _selected(opened: OpenedCurves, selection: Selection, size: SizeColumn) -> Curves:
    """The checked curves of the runs asked for."""
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
        said = "row without a return was" if skipped == 1 else "rows without a return were"
        notes = (*notes, f"{skipped} {said} skipped.")
    if order is not None:
        run_index, interactions, returns = run_index[order], interactions[order], returns[order]
    sizes, notes_on_sizes = curve_checks.merge_sizes(raw.sizes)
    odd = curve_checks.notes_on_runs(raw.run_ids, sizes, run_index, interactions, returns)
    table = opened.runs.loc[kept, [name for name in RUN_COLUMNS if name in opened.runs and name != "status"]]
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


# -- stores -----------------------------------------------------------------------


def _is_store(source: str) -> bool:
    return "://" in source or os.path.isdir(source)


def _open_store(location: str, selection: Selection, size_column: str) -> OpenedCurves:
    store = RunStore(location)
    records = list(store.runs(selection.sweep))
    if not records:
        raise InputError(
            f"{location} holds no run: it is empty or no store; give a store with finished runs, "
            f"or a Parquet or CSV file of curves."
        )
    rows = []
    for record in records:
        columns = {name: record.columns.get(name) for name in RUN_COLUMNS}
        for name, value in columns.items():
            if isinstance(value, dict | list):
                raise InputError(f"{location}, run {record.run_id}: {name} in its run.json is not one value.")
        rows.append({**columns, "run_id": record.run_id, "sweep": record.sweep, "status": record.status})
    runs = pd.DataFrame(rows)

    def read(kept: Bools) -> RawCurves:
        chosen = [records[position] for position in np.flatnonzero(kept)]
        sizes, wrong = numbers(runs.loc[kept, size_column])
        for position in np.flatnonzero(wrong):
            value = runs.loc[kept, size_column].iloc[position]
            raise InputError(
                f"{location}, run {chosen[position].run_id}: {size_column} is {value!r} in its run.json, "
                f"not a number."
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
