"""CSV files that a program appended to while it trained: read strictly, one string a cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.readers.runs import ReadOptions, listed
from rlscale.sweeps.store.schema import CURVE_COLUMNS, DIAGNOSTICS
from rlscale.sweeps.store.tables import require_columns_of_schema

#: Curve columns, and the names that they have in a log, the first that holds anything counting.
Names = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class LogTable:
    """A log's cells as they stand, with the number of each row in the file, from 1.

    ``cut`` tells that the last line was unfinished and left out.
    """

    path: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    cut: bool = False

    def column(self, name: str) -> pd.Series:
        """One column, indexed by the numbers of the rows; empty cells are None.

        Raises:
            InputError: if the header has the name not once.
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
        """The first of the names that is a column with anything in it."""
        for name in names:
            if name in self.header and self.column(name).notna().any():
                return name
        return None


def read_log(path: Path, *, skip_lines: int = 0, appended: bool = True) -> LogTable:
    """Read a log.

    Args:
        skip_lines: lines before the header.
        appended: whether a program wrote it row after row, so that a last line without its line
            break is unfinished and left out.

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
    # Some writers repeat the header when they go on with a file.
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
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a text file: byte {error.start} is not UTF-8.", code="unreadable_file"
        ) from error


def chosen_columns(table: LogTable, names: Names, options: ReadOptions) -> dict[str, str] | str:
    """Columns of the log for columns of the schema, or why there is no curve in it.

    What the options name counts; otherwise the first of the usual names that holds anything.

    Raises:
        InputError: if the options name a column that the log does not have.
    """
    require_columns_of_schema(options.columns)
    if options.tag is not None and "return_mean" in options.columns:
        raise InputError(
            "--tag and --columns return_mean=... both name the return; give one of them.",
            code="conflicting_options",
        )
    if not table.rows:
        return "it has no rows"
    asked = dict(options.columns) | ({} if options.tag is None else {"return_mean": options.tag})
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


def curve_rows(table: LogTable, names: Mapping[str, str]) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """The rows that state a step and a return, and their steps as numbers.

    Programs log other things in other rows; a cell that says ``nan`` does state a return.

    Args:
        names: columns of the log for columns of the schema.

    Raises:
        InputError: if a step is not a number.
    """
    frame = pd.DataFrame({ours: table.column(theirs) for ours, theirs in names.items()})
    frame = frame[frame["interactions"].notna() & frame["return_mean"].notna()]
    steps = np.empty(len(frame))
    for place, (row, cell) in enumerate(frame["interactions"].items()):
        try:
            steps[place] = float(cell)
        except ValueError:
            steps[place] = np.nan
        if not np.isfinite(steps[place]):
            raise InputError(
                f"{table.path}, column {names['interactions']}, row {row}: {cell!r} is not a finite number; "
                f"correct or remove the row.",
                code="invalid_value",
            )
    return frame, steps


def _split(text: str) -> list[list[str]]:
    before = csv.field_size_limit(2**31 - 1)  # some logs hold whole lists in a cell
    try:
        return list(csv.reader(io.StringIO(text, newline="")))
    finally:
        csv.field_size_limit(before)
