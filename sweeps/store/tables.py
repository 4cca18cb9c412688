"""Tables of curves, one row a point: their columns by the names of the schema, and their runs.

``rlscale fit`` and ``rlscale curves import`` both read tables as ``Table``, so that both accept the same
files and refuse a value with the same sentence. Which numbers are allowed is for the caller to check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either
from rlscale.sweeps.store.choices import EACH_ROW
from rlscale.sweeps.store.schema import COLUMNS
from rlscale.sweeps.store.values import (
    Bools,
    Floats,
    Ints,
    and_more,
    bad_value,
    codes,
    how_to_correct,
    parse_numbers,
    shown,
)

#: Columns whose values are names, even if they look like numbers.
TEXT_COLUMNS = frozenset(name for name, column in COLUMNS.items() if column.dtype == "string")


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
        run_columns: Sequence[str] = (),
        by_keyword: bool = False,
    ) -> None:
        """Find the columns; no value is read.

        Args:
            source: what messages call the table.
            names: of its columns, as they stand there.
            read: returns the column at a position.
            renaming: names in the table for names of the schema.
            row_numbers: number of each row, for messages; from 1 by default.
            run_columns: columns, by their names in the table or in the schema, whose values together tell
                runs apart, or ``EACH_ROW`` alone; by default ``run_id`` does.
            by_keyword: whether each column is named by an argument of its own, for messages.

        Raises:
            InputError: if ``renaming`` has a name that the schema or the table lacks, or ``run_columns`` one
                that the table lacks.
        """
        renaming = renaming or {}
        require_columns_of_schema(renaming)
        self.source = source
        self._names = [str(name).strip() or f"column {place}" for place, name in enumerate(names, 1)]
        self._read, self._row_numbers, self._by_keyword = read, row_numbers, by_keyword
        for ours, theirs in renaming.items():
            if theirs not in self._names:
                raise InputError(
                    f"{source} has no column {theirs!r} to use as {ours}; it has: {self._listed()}.",
                    code="missing_column",
                )
        self._theirs = {name: name for name in self._names if name in COLUMNS} | dict(renaming)
        self._run_columns = [self._theirs.get(name, name) for name in run_columns]
        for name in self._run_columns if self._run_columns != [EACH_ROW] else ():
            if name not in self._names:
                raise InputError(
                    f"{source} has no column {name!r} to tell runs apart (it has: {self._listed()}); "
                    f"name others, or use {self._telling_apart(EACH_ROW)} if each row is a run.",
                    code="missing_column",
                )

    def __contains__(self, name: str) -> bool:
        return name in self._theirs

    def __getitem__(self, name: str) -> pd.Series:
        """The column, one value a row.

        Raises:
            InputError: if the table lacks it, has it twice, or has no single values in it.
        """
        self.require(name)
        return self._column(self._theirs[name])

    def _column(self, theirs: str) -> pd.Series:
        """A column by its name in the table."""
        count = self._names.count(theirs)
        if count > 1:
            raise InputError(
                f"{self.source} has {count} columns named {theirs!r}; keep one of them.",
                code="duplicate_column",
            )
        return self._read(self._names.index(theirs))

    @property
    def others(self) -> list[str]:
        """The table's own names of columns that stand for no column of the schema."""
        return [name for name in self._names if name not in self._theirs.values()]

    @property
    def unused(self) -> list[str]:
        """Those of ``others`` that do not tell runs apart either."""
        return [name for name in self.others if name not in self._run_columns]

    def require(self, *names: str) -> None:
        """Make sure that the table has these columns.

        Raises:
            InputError: otherwise.
        """
        for name in names:
            if name == "run_id" and name not in self:
                if self._run_columns:
                    continue
                raise InputError(
                    f"{self.source} lacks the column 'run_id' (it has: {self._listed()}); name it with "
                    f"{self._renamed('run_id')}, or the columns that together tell runs apart with "
                    f"{self._telling_apart('model', 'seed')}; if each row is a run, use "
                    f"{self._telling_apart(EACH_ROW)}.",
                    code="missing_column",
                )
            if name not in self:
                raise InputError(
                    f"{self.source} lacks the column {name!r} (it has: {self._listed()}); "
                    f"if it has another name there, use {self._renamed(name)}.",
                    code="missing_column",
                )

    def runs(self) -> RunRows:
        """The runs: rows that share ``run_id`` or the run columns, and ``sweep`` if the table has it.

        Raises:
            InputError: if there is no row, or a row names no run.
        """
        index, ids = self._named_runs()
        sweeps, sweep_names = codes(self["sweep"]) if "sweep" in self else (index[:1], [])
        if (sweeps != sweeps[0]).any():
            base = len(sweep_names) + 1  # no sweep, which is -1, counts as one
            index, pairs = pd.factorize(index * base + sweeps + 1)
            ids = ids[pairs // base]
        heads = np.append(0, np.flatnonzero(index[1:] != index[:-1]) + 1)
        return RunRows(ids, index, first=heads[np.unique(index[heads], return_index=True)[1]])

    def _named_runs(self) -> tuple[Ints, NDArray[np.object_]]:
        """The run of each row, numbered in order of appearance, and the runs' names."""
        if self._run_columns == [EACH_ROW]:
            index: Ints = np.arange(len(self._read(0)))
            names = [f"row {number}" for number in self._numbered(index)]
        elif self._run_columns:
            parts = [self._named(column) for column in self._run_columns]
            key = np.zeros(len(parts[0][0]), np.int64)
            for of_part, labels in parts:
                key = pd.factorize(key * max(len(labels), 1) + of_part)[0]
            index, first = key, np.unique(key, return_index=True)[1]
            names = [
                ", ".join(
                    f"{column}={labels[of_part[row]]}"
                    for column, (of_part, labels) in zip(self._run_columns, parts, strict=True)
                )
                for row in first
            ]
        else:
            self.require("run_id")
            index, names = self._named(self._theirs["run_id"])
        if not len(index):
            raise self._no_rows()
        return index, np.array(names, dtype=object)

    def _named(self, theirs: str) -> tuple[Ints, list[str]]:
        """A column whose values name runs: the position of each row's name among the names."""
        index, names = codes(self._column(theirs), words_are_names=True)
        if not len(index):
            raise self._no_rows()
        if (index < 0).any():
            unnamed = np.flatnonzero(index < 0)
            column = "run_id" if self._theirs.get("run_id") == theirs else theirs
            raise InputError(
                f"{self.source}, column {column}, row {self._numbered(unnamed)[0]}{and_more(len(unnamed))}: "
                f"the value is empty; name the run of every row.",
                code="invalid_value",
            )
        return index, names

    def _no_rows(self) -> InputError:
        return InputError(
            f"{self.source} holds no rows; give a file or store with curves in it.", code="no_rows"
        )

    def groups_of_runs(self, theirs: str, rows: RunRows, *, numbers: bool) -> NDArray[np.object_] | None:
        """The value of each run in one of ``others``, None where there is none, shape ``(runs,)``.

        Args:
            numbers: whether a column of numbers may group runs too.

        Returns:
            None if the column varies within a run, or has no single values in it.
        """
        if self._names.count(theirs) > 1:
            return None
        try:
            values = self._column(theirs)
        except InputError:  # structures; nobody asked for this column
            return None
        if getattr(values.dtype, "kind", "O") in "iufmM" and not numbers:
            return None
        values = values if rows.positions is None else values.iloc[rows.positions]
        try:
            keys = pd.factorize(values)[0]
        except TypeError:  # values without a hash, such as lists
            return None
        if (keys != keys[rows.first][rows.index]).any():
            return None
        index, names = codes(values.iloc[rows.first])
        return np.array([*names, None], dtype=object)[index]

    def row_numbers(self, rows: RunRows) -> Ints:
        """The number of each row, for messages, shape ``(rows,)``."""
        return self._numbered(np.arange(len(rows.index)), rows)

    def row_number(self, rows: RunRows, row: int) -> int:
        """The number of one row of ``rows``."""
        return int(self._numbered(np.array([row]), rows)[0])

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
            raise self._refusal(name, rows, wrong, value, f"is not a number; {how_to_correct(value)}")
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

    def _numbered(self, places: Ints, rows: RunRows | None = None) -> Ints:
        places = places if rows is None or rows.positions is None else rows.positions[places]
        return places + 1 if self._row_numbers is None else np.asarray(self._row_numbers)[places]

    def _refusal(self, name: str, rows: RunRows, wrong: Bools, value: object, fault: str) -> InputError:
        row = int(np.flatnonzero(wrong)[0])
        run = rows.ids[rows.index[row]]
        return bad_value(self.source, run, name, self.row_number(rows, row), int(wrong.sum()), value, fault)

    def _renamed(self, name: str) -> str:
        """How the reader names a column of ours."""
        argument = f"{name}='NAME'" if self._by_keyword else f"columns={{{name!r}: 'NAME'}}"
        return either(f"--columns {name}=NAME", argument)

    def _telling_apart(self, *names: str) -> str:
        """How the reader names the columns that tell runs apart."""
        argument = f"{'run_id' if self._by_keyword else 'run_columns'}={list(names)!r}"
        return either(f"--run-columns {','.join(names)}", argument)

    def _listed(self) -> str:
        return ", ".join(self._names[:30]) + (", ..." if len(self._names) > 30 else "") or "none"


def table_of_frame(
    frame: pd.DataFrame,
    source: str,
    row_numbers: Sequence[int] | None = None,
    renaming: Mapping[str, str] | None = None,
    run_columns: Sequence[str] = (),
    by_keyword: bool = False,
) -> Table:
    """The columns of a data frame; its index does not matter. Arguments as of ``Table``."""
    frame = frame.reset_index(drop=True)

    def read(place: int) -> pd.Series:
        return frame.iloc[:, place]

    return Table(source, frame.columns, read, renaming, row_numbers, run_columns, by_keyword)


def require_columns_of_schema(names: Iterable[str]) -> None:
    """Refuse names that the schema lacks.

    Raises:
        InputError: with those that it has.
    """
    for name in names:
        if name not in COLUMNS:
            raise InputError(
                f"{either('--columns', 'columns')}: there is no column {name!r} to fill; there are: "
                f"{', '.join(COLUMNS)}.",
                code="unknown_column",
            )


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
