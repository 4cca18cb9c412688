"""The columns of a table of curves, one at a time: a Parquet or CSV file, or a data frame.

Of a large file only the columns in use are read, and text stays encoded: 10^7 rows of it are a
dictionary and one number a row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rlscale.analysis.arrays import Bools, Floats, Ints
from rlscale.analysis.curves import checks as curve_checks
from rlscale.analysis.curves.checks import RawCurves
from rlscale.analysis.curves.selection import SETTINGS, Selection
from rlscale.scaling.errors import InputError

#: What a number column may have in place of a number that is not known, in any case.
_MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none"})
_GROUPED = re.compile(r"[+-]?\d+([ ,.'’]\d+)+")
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class CurveColumns:
    """Columns by our names, each read when it is asked for."""

    def __init__(
        self,
        source: str,
        names: Sequence[object],
        read: Callable[[str], pd.Series],
        renaming: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; nothing is read.

        Args:
            source: what messages call the table.
            names: of its columns, as they are there.
            read: gives the column of a name.
            renaming: names there for our names.

        Raises:
            InputError: if a name of ``renaming`` is not there.
        """
        renaming = renaming or {}
        self.source = source
        self._names = [str(name) for name in names]
        self._read = read
        for ours, theirs in renaming.items():
            if theirs not in self._names:
                raise InputError(
                    f"{source} has no column {theirs!r} to use as {ours}; it has: {self._listed()}."
                )
        taken = set(renaming.values())
        self._theirs = {name: name for name in self._names if name not in taken} | dict(renaming)

    def __contains__(self, name: str) -> bool:
        return name in self._theirs

    def __getitem__(self, name: str) -> pd.Series:
        """The column, one entry a row.

        Raises:
            InputError: if it is there more than once or not at all, or does not hold single values.
        """
        self.require(name)
        theirs = self._theirs[name]
        count = self._names.count(theirs)
        if count > 1:
            raise InputError(f"{self.source} has {count} columns named {theirs!r}; keep one of them.")
        return self._read(theirs)

    def require(self, *names: str) -> None:
        """Make sure that there are columns of these names.

        Raises:
            InputError: otherwise.
        """
        for name in names:
            if name not in self:
                raise InputError(
                    f"{self.source} lacks the column {name!r} (it has: {self._listed()}); "
                    f"if it has another name there, use --columns {name}=NAME."
                )

    def _listed(self) -> str:
        return ", ".join(self._names[:30]) + (", ..." if len(self._names) > 30 else "") or "none"


def columns_of_frame(frame: pd.DataFrame, source: str) -> CurveColumns:
    """Columns of a data frame; its index is of no account."""
    frame = frame.reset_index(drop=True)
    positions = {str(name): position for position, name in enumerate(frame.columns)}
    return CurveColumns(source, list(frame.columns), lambda name: frame.iloc[:, positions[name]])


def columns_of_file(name: str, renaming: Mapping[str, str], text: Collection[str]) -> CurveColumns:
    """Columns of a Parquet or CSV file.

    Args:
        name: path; ``.csv`` and ``.csv.gz`` are CSV, anything else Parquet.
        renaming: names in the file for our names.
        text: our names of the columns whose values are names, however much they look like numbers.

    Raises:
        InputError: if the file cannot be read, or its columns are not apart.
    """
    path = Path(name)
    try:
        empty = path.stat().st_size == 0
        with path.open("rb") as stream:
            magic = stream.read(4)
    except FileNotFoundError as error:
        raise InputError(
            f"{name} does not exist; give a store, or a Parquet or CSV file of curves."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be read ({reason}); give a file you may read.") from error
    if empty:
        raise InputError(f"{name} is empty; give a file with curves in it.")
    csv = name.lower().endswith((".csv", ".csv.gz"))
    if csv and magic == b"PAR1":
        raise InputError(f"{name} is a Parquet file by its content; give it a name that ends in .parquet.")
    kind = "CSV" if csv else "Parquet"
    try:
        if not csv:
            return _of_parquet(name, renaming)
        return _of_csv(name, renaming, {renaming.get(column, column) for column in text})
    except (pa.ArrowException, OSError, ValueError) as error:
        told = " ".join(str(error).split())
        raise InputError(
            f"{name} is not a readable {kind} file ({told[:300]}); write it again, "
            f"or give the file another ending if it is {'Parquet' if csv else 'CSV'}."
        ) from error


def numbers(values: pd.Series) -> tuple[Floats, NDArray[np.bool_]]:
    """Values as floating-point numbers, and which of them are there but are none.

    What is not there is NaN. Text that is a number counts as one; dates, truth values and
    structures do not.
    """
    kind = getattr(values.dtype, "kind", "O")
    if kind in "bcmM":
        return np.full(len(values), np.nan), values.notna().to_numpy()
    if kind in "iuf":
        found = values.to_numpy(np.float64, na_value=np.nan)
        return found, np.zeros(len(found), bool)
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy()
        found, wrong = numbers(pd.Series(values.cat.categories))
        # A code of -1, for what is not there, takes the last entry.
        return np.append(found, np.nan)[codes], np.append(wrong, False)[codes]
    pairs = [_number(value) for value in values]
    return np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], bool)


def codes(values: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """Values as names: the position of each among the names, -1 where there is none, and the names."""
    try:
        index, found = pd.factorize(values)
    except TypeError:  # lists and the like, which have no hash
        index, found = pd.factorize(values.map(str))
    names = [str(value).strip() for value in found]
    if len(set(names)) == len(names) and "" not in names:
        return index, names
    of_name = {name: position for position, name in enumerate(dict.fromkeys(n for n in names if n))}
    return np.array([*(of_name.get(name, -1) for name in names), -1])[index], list(of_name)


def why_no_number(value: object) -> str:
    """What to do about a value that is no number."""
    if isinstance(value, str) and _GROUPED.fullmatch(value.strip()):
        return "write it without thousands separators and with a decimal point"
    if isinstance(value, bool | np.bool_):
        return "give a number in place of a truth value"
    return "correct or remove it"


def _number(value: object) -> tuple[float, bool]:
    if isinstance(value, bool | np.bool_ | np.ndarray | np.datetime64 | np.timedelta64):
        return math.nan, True
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return math.nan, False
    if isinstance(value, str) and value.strip().lower() in _MISSING:
        return math.nan, False
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan, True
    return found, math.isnan(found)


def _of_parquet(name: str, renaming: Mapping[str, str]) -> CurveColumns:
    schema = pq.read_schema(name)
    encoded = [field.name for field in schema if _is_text(field.type)]
    file = pq.ParquetFile(name, read_dictionary=encoded)

    def read(column: str) -> pd.Series:
        field = schema.field(column)
        if pa.types.is_nested(field.type):
            raise InputError(f"{name}, column {column}: holds {field.type}; give one value a row.")
        try:
            return _series(file.read([column]).column(column))
        except (pa.ArrowException, OSError, ValueError) as error:
            told = " ".join(str(error).split())
            raise InputError(
                f"{name} is not a readable Parquet file (column {column}: {told[:300]}); write it again."
            ) from error

    return CurveColumns(name, schema.names, read, renaming)


def _of_csv(name: str, renaming: Mapping[str, str], text: set[str]) -> CurveColumns:
    options = pa_csv.ConvertOptions(column_types={column: pa.string() for column in text})
    table = pa_csv.read_csv(
        name, convert_options=options, parse_options=pa_csv.ParseOptions(newlines_in_values=False)
    )
    names = table.column_names
    if len(names) == 1:
        for mark, called in _OTHER_SEPARATORS.items():
            if mark in names[0]:
                raise InputError(
                    f"{name} separates its columns by {called}; write it with commas between columns "
                    f"and points in numbers."
                )

    def read(column: str) -> pd.Series:
        return _series(table.column(names.index(column)))

    return CurveColumns(name, names, read, renaming)


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype))


def _series(column: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.string())
    if _is_text(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.to_pandas()


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
    index, _ = codes(columns["run_id"])
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
        sweeps, names = codes(columns["sweep"])
        if len(names) > 1:
            index = pd.factorize(index * (len(names) + 1) + sweeps)[0]
    heads = np.append(0, np.flatnonzero(index[1:] != index[:-1]) + 1)
    first = heads[np.unique(index[heads], return_index=True)[1]]
    return index, first


def _value_of_runs(columns: CurveColumns, name: str, run_index: Ints, first: Ints) -> Any:
    """The value of each run; of what decides which runs are used it must not change within one."""
    values = columns[name]
    if name in (*SETTINGS, "status"):
        index, _ = codes(values)
        for row in np.flatnonzero(index != index[first][run_index]):
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
    index, names = codes(values)
    return np.array([*names, None], dtype=object)[index]


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
