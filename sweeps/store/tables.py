"""Tables of curves, one row a point: a Parquet or CSV file, or a data frame.

``rlscale fit`` and ``rlscale curves import`` both read tables through this module, so that both accept the
same files and refuse a value with the same sentence. It finds the columns, the runs and the numbers; what a
number must be is for the caller to check.

Of a large file only the columns in use are read, and text stays encoded: 10^7 rows of it are a dictionary
and one number a row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rlscale.scaling.errors import InputError
from rlscale.sweeps.store.schema import COLUMNS

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Kind = Literal["csv", "parquet"]

#: Columns whose values are names, even if they look like numbers.
TEXT_COLUMNS = frozenset(name for name, column in COLUMNS.items() if column.dtype == "string")
#: Words that mean "no value", in lower case. A run may still have one of them as its name.
_MISSING = {
    *("", "nan", "-nan", "na", "<na>", "n/a", "null", "none", "#na", "#n/a", "#n/a n/a"),
    *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
}
_GROUPED = re.compile(r"[+-]?\d+([ ,.'’]\d+)+")
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class RunRows:
    """Which rows of a table belong to which run; runs are numbered in order of appearance.

    Attributes:
        ids: name of each run, shape ``(runs,)``; two runs of one name are in different sweeps.
        index: run of each row, shape ``(rows,)``.
        first: first row of each run, shape ``(runs,)``.
        positions: position of each row in the table, shape ``(rows,)``; None if all rows are here.
    """

    ids: NDArray[np.object_]
    index: Ints
    first: Ints
    positions: Ints | None = None

    def of(self, kept: Bools) -> RunRows:
        """The rows of the runs in the mask ``kept``, shape ``(runs,)``."""
        if kept.all():
            return self
        rows = np.flatnonzero(kept[self.index])
        return RunRows(
            ids=self.ids[kept],
            index=(np.cumsum(kept) - 1)[self.index[rows]],
            first=np.searchsorted(rows, self.first[kept]),
            positions=rows if self.positions is None else self.positions[rows],
        )


class Table:
    """The columns of a table by the names of the schema, each read when it is asked for."""

    def __init__(
        self,
        source: str,
        names: Iterable[object],
        read: Callable[[int], pd.Series],
        renaming: Mapping[str, str] | None = None,
        row_numbers: Sequence[int] | None = None,
    ) -> None:
        """Find the columns; no value is read.

        Args:
            source: what messages call the table.
            names: of its columns, as they stand there.
            read: returns the column at a position.
            renaming: names in the table for names of the schema.
            row_numbers: number of each row, for messages; from 1 by default.

        Raises:
            InputError: if ``renaming`` has a name that the schema or the table lacks.
        """
        renaming = renaming or {}
        require_columns_of_schema(renaming)
        self.source = source
        self._names = [str(name).strip() or f"column {place}" for place, name in enumerate(names, 1)]
        self._read, self._row_numbers = read, row_numbers
        for ours, theirs in renaming.items():
            if theirs not in self._names:
                raise InputError(
                    f"{source} has no column {theirs!r} to use as {ours}; it has: {self._listed()}.",
                    code="missing_column",
                )
        self._theirs = {name: name for name in self._names if name in COLUMNS} | dict(renaming)

    def __contains__(self, name: str) -> bool:
        return name in self._theirs

    def __getitem__(self, name: str) -> pd.Series:
        """The column, one value a row.

        Raises:
            InputError: if the table lacks it, has it twice, or has no single values in it.
        """
        self.require(name)
        theirs = self._theirs[name]
        count = self._names.count(theirs)
        if count > 1:
            raise InputError(
                f"{self.source} has {count} columns named {theirs!r}; keep one of them.",
                code="duplicate_column",
            )
        return self._read(self._names.index(theirs))

    @property
    def unused(self) -> list[str]:
        """The table's own names of columns that stand for no column of the schema."""
        return [name for name in self._names if name not in self._theirs.values()]

    def require(self, *names: str) -> None:
        """Make sure that the table has these columns.

        Raises:
            InputError: otherwise.
        """
        for name in names:
            if name not in self:
                raise InputError(
                    f"{self.source} lacks the column {name!r} (it has: {self._listed()}); "
                    f"if it has another name there, use --columns {name}=NAME.",
                    code="missing_column",
                )

    def runs(self) -> RunRows:
        """The runs: rows that share ``run_id``, and ``sweep`` if the table has it.

        Raises:
            InputError: if there is no row, or a row names no run.
        """
        index, names = codes(self["run_id"], words_are_names=True)
        if not len(index):
            raise InputError(
                f"{self.source} holds no rows; give a file or store with curves in it.", code="no_rows"
            )
        if (index < 0).any():
            unnamed = np.flatnonzero(index < 0)
            raise InputError(
                f"{self.source}, column run_id, row {self._numbered(unnamed)[0]}{_more(len(unnamed))}: "
                f"the value is empty; name the run of every row.",
                code="invalid_value",
            )
        ids = np.array(names, dtype=object)
        sweeps, sweep_names = codes(self["sweep"]) if "sweep" in self else (index[:1], [])
        if (sweeps != sweeps[0]).any():
            base = len(sweep_names) + 1  # no sweep, which is -1, counts as one
            index, pairs = pd.factorize(index * base + sweeps + 1)
            ids = ids[pairs // base]
        heads = np.append(0, np.flatnonzero(index[1:] != index[:-1]) + 1)
        return RunRows(ids, index, first=heads[np.unique(index[heads], return_index=True)[1]])

    def row_numbers(self, rows: RunRows) -> Ints:
        """The number of each row, for messages, shape ``(rows,)``."""
        return self._numbered(np.arange(len(rows.index)) if rows.positions is None else rows.positions)

    def row_number(self, rows: RunRows, row: int) -> int:
        """The number of one row of ``rows``."""
        return int(self._numbered(np.array([row]) if rows.positions is None else rows.positions[[row]])[0])

    def numbers(self, name: str, rows: RunRows) -> Floats:
        """A column as numbers, NaN where no value is given, shape ``(rows,)``.

        Raises:
            InputError: if a value is not a number.
        """
        values = self._of(name, rows)
        found, wrong = parse_numbers(values)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            value = values.iloc[at]
            raise self._refusal(name, rows, wrong, value, f"is not a number; {_remedy(value)}")
        return found

    def numbers_of_runs(self, name: str, rows: RunRows) -> Floats:
        """The number of each run, NaN where none is given, shape ``(runs,)``.

        Raises:
            InputError: if a value is not a number, or a run has several.
        """
        found = self.numbers(name, rows)
        return found[self._rows_with_value(name, rows, found, ~np.isnan(found), pd.Series(found))]

    def values_of_runs(self, name: str, rows: RunRows, *, constant: bool) -> NDArray[Any]:
        """The value of each run, shape ``(runs,)``: numbers, NaN where none is given, or names, else None.

        A column of numbers that has other text in it counts as one of names.

        Args:
            constant: refuse a run with several values; otherwise the value in its first row counts.

        Raises:
            InputError: if a value that must be constant is not.
        """
        values = self._of(name, rows)
        if not constant:
            return _as_values(name, values.iloc[rows.first])
        keys, known = _keys(name, values)
        return _as_values(name, values.iloc[self._rows_with_value(name, rows, keys, known, values)])

    def _of(self, name: str, rows: RunRows) -> pd.Series:
        return self[name] if rows.positions is None else self[name].iloc[rows.positions]

    def _rows_with_value(
        self, name: str, rows: RunRows, keys: NDArray[Any], known: Bools, values: pd.Series
    ) -> Ints:
        """The first row of each run that has a value, shape ``(runs,)``; its first row if none has.

        Args:
            keys: shape ``(rows,)``, different where values are.
            known: which rows have a value, shape ``(rows,)``.
        """
        at = rows.first.copy()
        if not known.all():
            backwards = np.flatnonzero(known)[::-1]
            at[rows.index[backwards]] = backwards  # of a run's rows the first is assigned last
        changed = known & (keys != keys[at][rows.index])
        if changed.any():
            row = int(np.flatnonzero(changed)[0])
            before = shown(values.iloc[at[rows.index[row]]])
            fault = f"differs from an earlier one of the run ({before}); give each run one {name}"
            raise self._refusal(name, rows, changed, values.iloc[row], fault)
        return at

    def _numbered(self, positions: Ints) -> Ints:
        return positions + 1 if self._row_numbers is None else np.asarray(self._row_numbers)[positions]

    def _refusal(self, name: str, rows: RunRows, wrong: Bools, value: object, fault: str) -> InputError:
        row = int(np.flatnonzero(wrong)[0])
        run = rows.ids[rows.index[row]]
        return bad_value(self.source, run, name, self.row_number(rows, row), int(wrong.sum()), value, fault)

    def _listed(self) -> str:
        return ", ".join(self._names[:30]) + (", ..." if len(self._names) > 30 else "") or "none"


def table_of_frame(
    frame: pd.DataFrame,
    source: str,
    *,
    renaming: Mapping[str, str] | None = None,
    row_numbers: Sequence[int] | None = None,
) -> Table:
    """The columns of a data frame; its index does not matter."""
    frame = frame.reset_index(drop=True)
    return Table(source, frame.columns, lambda place: frame.iloc[:, place], renaming, row_numbers)


def open_table(path: str | Path, renaming: Mapping[str, str], kind: Kind | None = None) -> Table:
    """The columns of a Parquet or CSV file, which may be compressed (``.csv.gz``).

    Args:
        renaming: names in the file for names of the schema.
        kind: which of the two it is; by default ``kind_of(path)``.

    Raises:
        InputError: if the file cannot be read.
    """
    kind = kind or kind_of(Path(path))
    if not _first_bytes(Path(path)):
        raise InputError(f"{path} is empty; give a file with curves in it.", code="no_rows")
    with _foreign_bytes(str(path), kind):
        names, read = _open_parquet(str(path)) if kind == "parquet" else _open_csv(str(path), renaming)
    return Table(str(path), names, read, renaming)


def kind_of(path: Path) -> Kind:
    """What a file is: Parquet by its first bytes or its name's ending, otherwise CSV.

    Raises:
        InputError: if it cannot be read.
    """
    is_parquet = path.suffix.lower() in (".parquet", ".pq") or _first_bytes(path) == b"PAR1"
    return "parquet" if is_parquet else "csv"


def require_columns_of_schema(names: Iterable[str]) -> None:
    """Refuse names that the schema lacks.

    Raises:
        InputError: with those that it has.
    """
    for name in names:
        if name not in COLUMNS:
            raise InputError(
                f"--columns: there is no column {name!r} to fill; there are: {', '.join(COLUMNS)}.",
                code="unknown_column",
            )


def parse_numbers(values: pd.Series) -> tuple[Floats, Bools]:
    """Values as numbers, NaN where there is none, and which of them are given but are not numbers.

    Text counts as the number that it spells; dates, truth values and structures are not numbers.
    """
    kind = getattr(values.dtype, "kind", "O")
    if kind in "bcmM":
        return np.full(len(values), np.nan), values.notna().to_numpy()
    if kind in "iuf":
        return values.to_numpy(np.float64, na_value=np.nan), np.zeros(len(values), bool)
    if isinstance(values.dtype, pd.CategoricalDtype):
        found, wrong = parse_numbers(pd.Series(values.cat.categories))
        # A code of -1, for no value, takes the last entry.
        index = values.cat.codes.to_numpy()
        return np.append(found, np.nan)[index], np.append(wrong, False)[index]
    pairs = [parse_number(value) for value in values]
    return np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], bool)


def parse_number(value: object) -> tuple[float, bool]:
    """One value as ``parse_numbers`` reads it."""
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


def codes(values: pd.Series, *, words_are_names: bool = False) -> tuple[Ints, list[str]]:
    """Values as names: the position of each among the names, -1 where there is none, and the names.

    Args:
        words_are_names: whether words such as ``NA`` are names too, and not the absence of one.
    """
    try:
        index, found = pd.factorize(values)
    except TypeError:  # values without a hash, such as lists
        index, found = pd.factorize(values.map(str))
    absent = {""} if words_are_names else _MISSING
    names = [str(value).strip() for value in found]
    distinct = dict.fromkeys(name for name in names if name.lower() not in absent)
    position = {name: place for place, name in enumerate(distinct)}
    return np.array([*(position.get(name, -1) for name in names), -1])[index], list(position)


def bad_value(
    source: str,
    run: str,
    column: str,
    row: int | None,
    count: int,
    value: object,
    fault: str,
    code: str = "invalid_value",
) -> InputError:
    """The error that names the first of some values that cannot be used.

    Args:
        row: its number; None if the run has one value.
        count: how many such values there are.
        fault: what is wrong with the value and what to do about it.
    """
    place = "" if row is None else f", row {row}"
    return InputError(
        f"{source}, run {run}, column {column}{place}{_more(count)}: the value ({shown(value)}) {fault}.",
        code=code,
    )


def shown(value: object) -> str:
    """A value for a message."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return "empty"
    text = f"{value:.15g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _remedy(value: object) -> str:
    """What to do about a value that is not a number."""
    if isinstance(value, str) and _GROUPED.fullmatch(value.strip()):
        return "write it without thousands separators and with a decimal point"
    if isinstance(value, bool | np.bool_):
        return "give a number in place of a truth value"
    return "correct or remove it"


def _keys(name: str, values: pd.Series) -> tuple[NDArray[Any], Bools]:
    """Numbers that differ where values do, and which rows have a value."""
    if name not in TEXT_COLUMNS:
        found, wrong = parse_numbers(values)
        if not wrong.any():
            return found, ~np.isnan(found)
    index, _ = codes(values)
    return index, index >= 0


def _as_values(name: str, values: pd.Series) -> NDArray[Any]:
    """See ``Table.values_of_runs``."""
    if name not in TEXT_COLUMNS:
        if getattr(values.dtype, "kind", "O") in "iuf":
            return values.to_numpy()
        found, wrong = parse_numbers(values)
        if not wrong.any():
            return found
    index, names = codes(values)
    return np.array([*names, None], dtype=object)[index]


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


# -- files ------------------------------------------------------------------------


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(4)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist; give a store, or a Parquet or CSV file of curves.", code="missing_file"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path} cannot be read ({reason}); give a file that you may read.", code="unreadable_file"
        ) from error


@contextmanager
def _foreign_bytes(source: str, kind: Kind) -> Iterator[None]:
    """Turn whatever a reader raises on bytes that it cannot read into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        name, other = ("Parquet", "CSV") if kind == "parquet" else ("CSV", "Parquet")
        problem = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{source} is not a readable {name} file ({problem}); write it again, "
            f"or give the file another ending if it is {other}.",
            code="unreadable_file",
        ) from error


def _open_parquet(path: str) -> tuple[list[str], Callable[[int], pd.Series]]:
    schema = pq.read_schema(path)
    file = pq.ParquetFile(path, read_dictionary=[field.name for field in schema if _is_text(field.type)])

    def read(place: int) -> pd.Series:
        field = schema.field(place)
        if pa.types.is_nested(field.type):
            raise InputError(
                f"{path}, column {field.name}: holds {field.type}; give one value a row.",
                code="invalid_value",
            )
        with _foreign_bytes(path, "parquet"):
            return _series(file.read([field.name]).column(field.name))

    return schema.names, read


def _open_csv(path: str, renaming: Mapping[str, str]) -> tuple[list[str], Callable[[int], pd.Series]]:
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    with pa_csv.open_csv(path, parse_options=parse) as reader:
        names = reader.schema.names
    text = {renaming.get(name, name) for name in TEXT_COLUMNS}
    types = {name: pa.string() for name in names if name.strip() in text}
    table = pa_csv.read_csv(
        path, parse_options=parse, convert_options=pa_csv.ConvertOptions(column_types=types)
    )
    for mark, word in _OTHER_SEPARATORS.items():
        if len(names) == 1 and mark in names[0]:
            raise InputError(
                f"{path} separates its columns by {word}; write it with commas between columns "
                f"and points in numbers.",
                code="unreadable_file",
            )

    def read(place: int) -> pd.Series:
        with _foreign_bytes(path, "csv"):
            return _series(table.column(place))

    return names, read


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype))


def _series(column: pa.ChunkedArray) -> pd.Series:
    """The column for pandas: numbers as they are, text and bytes encoded."""
    if pa.types.is_decimal(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.string())
    if _is_text(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.to_pandas()
