"""Tidy CSV and Parquet files: one row a point, a column that names the run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.readers.runs import (
    Parsed,
    ReadOptions,
    Skipped,
    SourceRun,
    listed,
    require_targets,
)
from rlscale.sweeps.store.schema import CURVE_COLUMNS, EXPORT_SCHEMA, RUN_COLUMNS

NEEDED = ("run_id", "interactions", "return_mean")


def read_tidy(path: Path, options: ReadOptions, kind: Literal["csv", "parquet"]) -> Parsed:
    """Read a tidy file. Columns that are not in the schema are ignored, with a note.

    A file with a column ``status`` knows which runs are done; the others are skipped.

    Raises:
        InputError: if the file cannot be read, lacks a column, or a run column changes within a run.
    """
    if options.tag is not None:
        raise InputError(f"--tag is for logs; name the return of {path} with --columns return_mean=NAME.")
    frame, extra = named(read_frame(path, options.columns.get("run_id", "run_id"), kind), options, str(path))
    notes = (f"Columns that are not known were ignored: {listed(extra)}.",) if extra else ()
    if len(frame) == 0:
        raise InputError(f"{path} holds no rows; give a file with curves in it.")
    runs: list[SourceRun] = []
    skipped: list[Skipped] = []
    for run in runs_of(frame, str(path), repeats="refuse"):
        status = run.facts.get("status")
        if status is None or status == "done":
            runs.append(run)
        else:
            skipped.append(Skipped(run.name, f"its status is {status}, not done"))
    return Parsed(tuple(runs), tuple(skipped), notes)


def read_frame(path: Path, run_column: str, kind: Literal["csv", "parquet"]) -> pd.DataFrame:
    """A file as it stands, rows numbered from 1; names of runs stay text.

    Raises:
        InputError: if it cannot be read, or two columns have one name.
    """
    try:
        if kind == "csv":
            frame = _read_csv(path, run_column)
        else:
            with pq.ParquetFile(path) as file:
                frame = file.read().to_pandas(ignore_metadata=True)
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path} is empty; give a file with curves in it.") from error
    except Exception as error:  # readers of foreign bytes raise whatever they come upon
        problem = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is not a readable {kind} file: {problem}.") from error
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InputError(f"{path} has more than one column {twice[0]!r}; rename or remove one.")
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def named(frame: pd.DataFrame, options: ReadOptions, source: str) -> tuple[pd.DataFrame, list[str]]:
    """The columns of the schema under our names, and the names of all others.

    Raises:
        InputError: if a column asked for, or one that is needed, is not there.
    """
    require_targets(options.columns)
    theirs = {name: name for name in EXPORT_SCHEMA.names if name in frame.columns} | dict(options.columns)
    for ours, name in theirs.items():
        if name not in frame.columns:
            raise InputError(
                f"{source} has no column {name!r} to use as {ours}; it has: {listed(frame.columns, 30)}."
            )
    if len(frame.columns) == 1:
        raise InputError(f"{source} has one column alone, {frame.columns[0]!r}; separate cells by commas.")
    for ours in NEEDED:
        if ours not in theirs:
            raise InputError(
                f"{source} lacks the column {ours!r} (it has: {listed(frame.columns, 30)}); "
                f"if it has another name there, use --columns {ours}=NAME."
            )
    extra = [str(name) for name in frame.columns if name not in theirs.values()]
    return pd.DataFrame({ours: frame[name] for ours, name in theirs.items()}), extra


def runs_of(frame: pd.DataFrame, source: str, repeats: Literal["refuse", "average"]) -> Iterator[SourceRun]:
    """Split a table with our column names into its runs, in order of appearance.

    Raises:
        InputError: if a row names no run, or a run column has two values within a run.
    """
    unnamed = frame.index[frame["run_id"].isna()]
    if len(unnamed):
        raise InputError(
            f"{source}, column run_id, row {unnamed[0]}: it is empty; name the run of every row."
        )
    names = frame["run_id"].astype(str)
    sweeps = (
        frame["sweep"].astype(object) if "sweep" in frame.columns else pd.Series(None, frame.index, object)
    )
    sweeps = sweeps.where(sweeps.notna(), "").astype(str)
    curve = [column for column in CURVE_COLUMNS if column in frame.columns]
    facts = [column for column in RUN_COLUMNS if column in frame.columns]
    for (sweep, name), rows in frame.groupby([sweeps, names], sort=False):
        yield SourceRun(
            name=str(name),
            where=source,
            rows=rows[curve],
            facts={column: _only_value(rows[column], str(name), source) for column in facts},
            sweep=str(sweep) or None,
            repeats=repeats,
        )


def _only_value(values: pd.Series, run: str, source: str) -> object:
    """The one value of a run column, None if it is nowhere given."""
    given = values.dropna()
    if len(given) == 0:
        return None
    first = given.iloc[0]
    same = given == first if given.dtype.kind in "iufb" else given.astype(str) == str(first)
    other = np.flatnonzero(~same.to_numpy(bool))
    if len(other):
        row, changed = given.index[other[0]], given.iloc[other[0]]
        raise InputError(
            f"{source}, run {run}, row {row}: {values.name} changes within the run, from {first} "
            f"to {changed}; a run has one."
        )
    return first.item() if hasattr(first, "item") else first


def _read_csv(path: Path, run_column: str) -> pd.DataFrame:
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, encoding="utf-8-sig").iloc[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with too many cells would be cut
        frame = pd.read_csv(
            path,
            dtype={run_column: str},
            float_precision="round_trip",
            index_col=False,
            low_memory=False,
            encoding="utf-8-sig",
        )
    # As they stand, for pandas renames those that occur twice; an index that was saved has no name.
    names = [
        f"column {place}" if pd.isna(name) else str(name).strip() for place, name in enumerate(header, 1)
    ]
    frame.columns = pd.Index(names)
    return frame
