"""The schema documents every column, and files of earlier and later versions stay readable."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlscale.sweeps.importers.importing import ImportOptions, import_curves
from rlscale.sweeps.store.run_store import RunStore
from rlscale.sweeps.store.schema import (
    COLUMNS,
    CURVE_SCHEMA,
    DIAGNOSTICS,
    EXPORT_SCHEMA,
    REQUIRED_COLUMNS,
    conform,
)

DATA = Path(__file__).parents[3] / "data"


def rewritten(kept, name: str, change) -> None:
    """Write a Parquet file of a run again, its table changed."""
    sink = pa.BufferOutputStream()
    pq.write_table(change(pq.read_table(pa.BufferReader(kept.read(name)))), sink)
    kept.write(name, sink.getvalue().to_pybytes())


def as_before(table: pa.Table) -> pa.Table:
    """As a version that did not have one of the diagnostics wrote it."""
    return table.drop_columns(["entropy"])


def as_later(table: pa.Table) -> pa.Table:
    """As a version with one more diagnostic writes it."""
    return table.append_column("dead_units", pa.array([0.5] * table.num_rows))


def write(writer, index: int, rows) -> None:
    writer.write_segment(index, rows, b"state", interactions=rows[-1]["interactions"], wall_seconds=1.0)


@pytest.fixture
def finished(store, claim, rows_of) -> pa.Table:
    """The curve of three rows of a run that is done."""
    writer = claim(store)
    write(writer, 0, rows_of(0, 3))
    writer.finish()
    return store.read_curve("s", "r1")


def test_the_documented_columns_are_those_of_the_schema():
    lines = [
        f"| `{name}` | {column.unit} | {column.meaning.replace('|', chr(92) + '|')} |"
        for name, column in COLUMNS.items()
    ]
    assert "\n".join(lines) in (DATA / "README.md").read_text()


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_says_what_it_holds_in_one_line(name):
    column = COLUMNS[name]
    assert column.meaning
    assert "\n" not in column.meaning
    assert name not in DIAGNOSTICS or column.dtype == "float64"


def test_a_curve_from_before_a_diagnostic_reads_as_null(store, finished, kept):
    rewritten(kept, "curve.parquet", as_before)
    table = store.read_curve("s", "r1")
    assert table.schema.equals(CURVE_SCHEMA, check_metadata=True)
    assert table["entropy"].null_count == 3
    assert table.drop_columns(["entropy"]).equals(finished.drop_columns(["entropy"]))
    assert store.read_curve("s", "r1", columns=("interactions", "entropy")).column_names == [
        "interactions",
        "entropy",
    ]


def test_a_diagnostic_of_a_later_version_is_left_out(store, finished, kept):
    rewritten(kept, "curve.parquet", as_later)
    assert store.read_curve("s", "r1").equals(finished)


def test_parts_from_before_and_after_a_diagnostic_are_merged(store, claim, rows_of, kept, tmp_path):
    writer = claim(store)
    rows = [{**row, "entropy": 1.5} for row in rows_of(0, 7)]
    for index, part in enumerate((rows[:3], rows[3:5], rows[5:])):
        write(writer, index, part)
    parts = kept.names("part-*.parquet")
    rewritten(kept, parts[0], as_before)
    rewritten(kept, parts[2], as_later)
    expected = [None] * 3 + [1.5] * 4
    assert store.read_curve("s", "r1")["entropy"].to_pylist() == expected
    writer.finish()
    table = store.read_curve("s", "r1")
    assert table["entropy"].to_pylist() == expected
    assert table["interactions"].to_pylist() == [row["interactions"] for row in rows]
    assert pq.read_schema(pa.BufferReader(kept.read("curve.parquet"))).names == CURVE_SCHEMA.names
    store.export(tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["entropy"].to_pylist() == expected


def test_an_export_from_before_some_diagnostics_is_imported_with_nulls(tmp_path):
    source = DATA / "mnist_width" / "curves.parquet"
    old = pq.read_table(source)
    newer = [name for name in DIAGNOSTICS if name not in old.column_names]
    assert newer
    import_curves(source, tmp_path / "store", ImportOptions())
    table = RunStore(tmp_path / "store").read_curves()
    assert all(table[name].null_count == table.num_rows for name in newer)
    assert table["return_mean"].equals(old.sort_by([("run_id", "ascending")])["return_mean"])


def test_a_row_may_carry_a_diagnostic_that_no_earlier_row_has(store, claim, rows_of):
    writer = claim(store)
    write(writer, 0, rows_of(0, 2))
    write(writer, 1, [{**row, "clone_kl": 0.25} for row in rows_of(2, 4)])
    assert store.read_curve("s", "r1")["clone_kl"].to_pylist() == [None, None, 0.25, 0.25]


@pytest.mark.parametrize("name", REQUIRED_COLUMNS)
def test_a_curve_without_a_required_column_is_refused(name):
    with pytest.raises(KeyError, match=name):
        conform(EXPORT_SCHEMA.empty_table().drop_columns([name]), EXPORT_SCHEMA)
