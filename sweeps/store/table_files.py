"""Parquet, CSV and JSON lines files of curves as tables.

Of a large file only the columns in use are read, and text stays encoded: 10^7 rows of it are a dictionary
and one number a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from rlscale.scaling.errors import InputError
from rlscale.scaling.files import require_file
from rlscale.sweeps.store.tables import TEXT_COLUMNS, Table

Kind = Literal["csv", "parquet", "jsonl"]
_KIND_NAMES: dict[Kind, str] = {"csv": "CSV", "parquet": "Parquet", "jsonl": "JSON lines"}
#: Those that pyarrow reads, by the ending of a file's name.
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".lz4": "lz4", ".zst": "zstd"}
#: Compressed files may hold so many bytes of text, or so many times their own; tables of curves hold 3 to 25
#: times as many.
_INFLATED_BYTES, _INFLATED_TIMES = 1 << 25, 50
_CHUNK_BYTES = 1 << 20
_BYTES_OF_A_ROW = 32  # of a table in memory: the four columns that a file of curves needs
_SEPARATORS = ",;\t|"
_SAMPLE = 1 << 16  # bytes of a CSV file that show how it is written
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: A number with a comma that separates no thousands.
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,(?!\d{3}(\D|$))\d+([eE][-+]?\d+)?")


def open_table(
    path: str | Path, renaming: Mapping[str, str], kind: Kind | None = None, run_columns: Sequence[str] = ()
) -> Table:
    """The columns of a Parquet, CSV or JSON lines file; text may be compressed (``.csv.gz``).

    A CSV file may separate its columns by commas, semicolons, tabs or bars, may be UTF-8 or UTF-16, and may
    write decimals with commas unless those separate its columns.

    Args:
        renaming: names in the file for names of the schema.
        kind: which of the three it is; by default ``kind_of(path)``.
        run_columns: columns that together tell runs apart, as in ``Table``.

    Raises:
        InputError: if the file cannot be read.
    """
    kind = kind or kind_of(Path(path))
    if not _first_bytes(Path(path)):
        raise InputError(f"{path} is empty; give a file with curves in it.", code="no_rows")
    with _foreign_bytes(str(path), kind):
        if kind == "parquet":
            names, read = _open_parquet(str(path))
        elif kind == "jsonl":
            names, read = _open_json_lines(str(path))
        else:
            names, read = _open_csv(
                str(path), {renaming.get(name, name) for name in (*TEXT_COLUMNS, *run_columns)}
            )
    return Table(str(path), names, read, renaming, run_columns=run_columns)


def kind_of(path: Path) -> Kind:
    """What a file is: Parquet or JSON lines by its first bytes or its name's ending, otherwise CSV.

    Raises:
        InputError: if it cannot be read.
    """
    endings, first = {ending.lower() for ending in path.suffixes[-2:]}, _first_bytes(path)
    if path.suffix.lower() in (".parquet", ".pq") or first == b"PAR1":
        return "parquet"
    if not endings.isdisjoint((".jsonl", ".ndjson", ".json")) or first[:1] == b"{":
        return "jsonl"
    return "csv"


def _first_bytes(path: Path) -> bytes:
    require_file(path)
    try:
        with path.open("rb") as stream:
            return stream.read(4)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist; give a store, or a Parquet, CSV or JSON lines file of curves.",
            code="missing_file",
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
        others = " or ".join(name for other, name in _KIND_NAMES.items() if other != kind)
        problem = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{source} is not a readable {_KIND_NAMES[kind]} file ({problem}); write it again, "
            f"or give the file another ending if it is {others}.",
            code="unreadable_file",
        ) from error


def _require_no_bomb(path: str) -> None:
    """Refuse a compressed text whose content is far larger than a table of curves makes it.

    It is read as far as that shows; pyarrow would read all of it into memory.
    """
    codec = _COMPRESSIONS.get(Path(path).suffix.lower())
    if codec is None:
        return
    inflated = 0
    with pa.OSFile(path) as packed, pa.CompressedInputStream(packed, codec) as content:
        while chunk := len(content.read(_CHUNK_BYTES)):
            inflated += chunk
            _refuse_bomb(path, inflated, packed.tell())


def _refuse_bomb(path: str, inflated: int, packed: int) -> None:
    if inflated > max(_INFLATED_BYTES, _INFLATED_TIMES * packed):
        raise InputError(
            f"{path} holds over {_INFLATED_TIMES} times as many bytes as it has itself, which measured "
            f"curves never do; check what it is, or write it without compression.",
            code="too_large",
        )


def _open_parquet(path: str) -> tuple[list[str], Callable[[int], pd.Series]]:
    metadata = pq.read_metadata(path)
    _refuse_bomb(path, metadata.num_rows * _BYTES_OF_A_ROW, Path(path).stat().st_size)
    schema = pq.read_schema(path)
    file = pq.ParquetFile(path, read_dictionary=[field.name for field in schema if _is_text(field.type)])

    def read(place: int) -> pd.Series:
        field = schema.field(place)
        _require_single_values(path, field)
        with _foreign_bytes(path, "parquet"):
            column = file.read([field.name]).column(field.name)
            return _series(_as_text(path, field.name, column))

    return schema.names, read


def _open_json_lines(path: str) -> tuple[list[str], Callable[[int], pd.Series]]:
    if _first_bytes(Path(path))[:1] == b"[":
        raise InputError(
            f"{path} holds one JSON list; write one object a line, without the brackets and the commas "
            f"between them (jq -c '.[]' does).",
            code="unreadable_file",
        )
    _require_no_bomb(path)
    table = pa_json.read_json(path)

    def read(place: int) -> pd.Series:
        _require_single_values(path, table.schema.field(place))
        with _foreign_bytes(path, "jsonl"):
            return _series(table.column(place))

    return table.schema.names, read


def _require_single_values(path: str, field: pa.Field) -> None:
    if pa.types.is_nested(field.type):
        raise InputError(
            f"{path}, column {field.name}: holds {field.type}; give one value a row.", code="invalid_value"
        )


def _open_csv(path: str, text: Collection[str]) -> tuple[list[str], Callable[[int], pd.Series]]:
    _require_no_bomb(path)
    separator, decimal_point, encoding = _dialect(path)
    parse = pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    reading = pa_csv.ReadOptions(encoding=encoding)
    with pa_csv.open_csv(path, read_options=reading, parse_options=parse) as reader:
        names = reader.schema.names
    types = {name: pa.string() for name in names if name.strip() in text}
    converting = pa_csv.ConvertOptions(column_types=types, decimal_point=decimal_point)
    table = pa_csv.read_csv(path, read_options=reading, parse_options=parse, convert_options=converting)

    def read(place: int) -> pd.Series:
        with _foreign_bytes(path, "csv"):
            return _series(table.column(place))

    return names, read


def _dialect(path: str) -> tuple[str, str, str]:
    """(mark between columns, mark before decimals, encoding) of a CSV file, by its beginning."""
    with pa.input_stream(path, compression="detect") as stream:
        start = stream.read(_SAMPLE)
    encoding = "utf16" if start.startswith(_UTF16) else "utf8"
    sample = start.decode(encoding, errors="replace")
    heading, *rows = sample.splitlines() or [""]
    separator = max(_SEPARATORS, key=heading.count)
    if separator == ",":
        return separator, ".", encoding
    cells = [cell.strip().strip('"') for row in rows for cell in row.split(separator)]
    commas = any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
    return separator, "," if commas else ".", encoding


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype))


def _as_text(path: str, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column, bytes in it as the text that they spell."""
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}, column {name}: holds bytes that are no text in UTF-8; write text or numbers there.",
            code="invalid_value",
        ) from error


def _series(column: pa.ChunkedArray) -> pd.Series:
    """The column for pandas: numbers as they are, text encoded."""
    if pa.types.is_decimal(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    if _is_text(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.to_pandas()
