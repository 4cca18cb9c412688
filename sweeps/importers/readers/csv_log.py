"""CSV files that a program wrote row by row while it trained: read strictly, each cell a string."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rlscale.scaling.errors import InputError
from rlscale.scaling.files import require_file
from rlscale.sweeps.importers.readers.runs import ReadOptions, listed
from rlscale.sweeps.store.schema import CURVE_COLUMNS, DIAGNOSTICS
from rlscale.sweeps.store.tables import require_columns_of_schema
from rlscale.sweeps.store.values import Floats, parse_numbers

#: Curve columns, and the names that they may have in a log; the first one with any value counts.
Names = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class LogTable:
    """A log's cells as text, with the number of each row in the file, from 1.

    ``cut`` says whether the last line was unfinished and was left out.
    """

    path: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    cut: bool = False

    def column(self, name: str) -> pd.Series:
        """One column, indexed by the numbers of the rows; empty cells are None.

        Raises:
            InputError: if the header has the name not at all or twice.
        """
        if self.header.count(name) != 1:
            how = "no column" if name not in self.header else "more than one column"
            raise InputError(
                f"{self.path} has {how} {name!r}; it has: {listed(self.header, 30)}.", code="missing_column"
            )
        place = self.header.index(name)
        cells = [row[place] or None for row in self.rows]
        return pd.Series(cells, index=list(self.numbers), dtype=object, name=name)

    def first_filled(self, names: tuple[str, ...]) -> str | None:
        """The first of the names that is a column with any value in it."""
        for name in names:
            if name in self.header and self.column(name).notna().any():
                return name
        return None


def read_log(path: Path, *, skip_lines: int = 0, appended: bool = True) -> LogTable:
    """Read a log.

    Args:
        skip_lines: lines before the header.
        appended: whether a program wrote it row by row, so that a last line without a line break is
            unfinished and is left out.

    Raises:
        InputError: if it cannot be read, or a row has another number of cells than the header.
    """
    text = read_text(path)
    whole = text.endswith("\n")
    lines = text.split("\n", skip_lines)
    body = lines[skip_lines] if len(lines) > skip_lines else ""
    try:
        cells = [row for row in _split(body) if row]
    except csv.Error as error:
        raise InputError(f"{path} is not a readable CSV file: {error}.", code="unreadable_file") from error
    cut = appended and not whole and len(cells) > 1
    if cut:
        cells = cells[:-1]
    header = tuple(cells[0]) if cells else ()
    # Some writers repeat the header when they resume a file.
    rows = {number: tuple(row) for number, row in enumerate(cells[1:], 1) if tuple(row) != header}
    for number, row in rows.items():
        if len(row) != len(header):
            raise InputError(
                f"{path}, row {number}: {len(row)} values for {len(header)} columns, so its values cannot be "
                f"told apart; correct or remove it.",
                code="unreadable_file",
            )
    return LogTable(str(path), header, tuple(rows.values()), tuple(rows), cut)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: if it is missing or is not UTF-8.
    """
    try:
        require_file(path)
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a text file: byte {error.start} is not UTF-8.", code="unreadable_file"
        ) from error


def chosen_columns(table: LogTable, names: Names, options: ReadOptions) -> dict[str, str] | str:
    """Columns of the log for columns of the schema, or why the log has no curve.

    The options' names take precedence over the usual ones, of which the first with any value counts.

    Raises:
        InputError: if the options name a column that the log does not have.
    """
    require_columns_of_schema(options.columns)
    if not table.rows:
        return "it has no rows"
    asked = options.asked
    for ours, theirs in asked.items():
        if ours not in CURVE_COLUMNS and ours not in DIAGNOSTICS:
            raise InputError(
                f"--columns: a log has no column for {ours}; give it with --sizes or --task.",
                code="unknown_column",
            )
        table.column(theirs)
    chosen = {ours: asked.get(ours) or table.first_filled(usual) for ours, usual in names.items()} | asked
    for ours in ("interactions", "return_mean"):
        if not chosen[ours]:
            return f"nothing in {' or '.join(names[ours])} of {table.path}"
    return {ours: theirs for ours, theirs in chosen.items() if theirs}


def curve_rows(table: LogTable, names: Mapping[str, str]) -> tuple[pd.DataFrame, Floats]:
    """The rows that have a step and a return, and their steps as numbers.

    Programs log other things in other rows; a cell with ``nan`` counts as a return.

    Args:
        names: columns of the log for columns of the schema.

    Raises:
        InputError: if a step is not a number.
    """
    frame = pd.DataFrame({ours: table.column(theirs) for ours, theirs in names.items()})
    frame = frame[frame["interactions"].notna() & frame["return_mean"].notna()]
    return frame, finite_numbers(frame["interactions"], names["interactions"], table.path)


def finite_numbers(cells: pd.Series, column: str, path: str) -> Floats:
    """The numbers in the cells of a log's column.

    Raises:
        InputError: if one of them is not a finite number.
    """
    numbers, _ = parse_numbers(cells)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        row, cell = cells.index[bad[0]], cells.iloc[bad[0]]
        raise InputError(
            f"{path}, column {column}, row {row}: {cell!r} is not a finite number; correct or remove it.",
            code="invalid_value",
        )
    return numbers


def _split(text: str) -> list[list[str]]:
    before = csv.field_size_limit(2**31 - 1)  # some logs hold whole lists in a cell
    try:
        return list(csv.reader(io.StringIO(text, newline="")))
    finally:
        csv.field_size_limit(before)
