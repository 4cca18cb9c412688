"""Parquet and CSV files of curves as tables.

Of a large file only the columns in use are read, and text stays encoded: 10^7 rows of it are a dictionary
and one number a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from rlscale.scaling.errors import InputError
from rlscale.sweeps.store.tables import TEXT_COLUMNS, Table

Kind = Literal["csv", "parquet"]
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


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
