"""A store on a local disk: writes that fail halfway, links that lead away, and what half a write leaves."""

import re
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.scaling.errors import InputError, StoreUnavailable
from rlscale.sweeps.store.run_store import RunStore, read_parquet_frame, rows_equal
from rlscale.sweeps.store.schema import CURVE_SCHEMA


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(contents(folder))


def kinds(folder: Path) -> list[str]:
    """The names without the attempts' keys in them."""
    return sorted(re.sub(r"[.-]\d{6}-[0-9a-f]{8}", "", name) for name in names(folder))


def numbers(table: pa.Table) -> list[int]:
    return table.column("interactions").to_pylist()


def segment(writer, index, rows, checkpoint=b"state") -> None:
    writer.write_segment(
        index, rows, checkpoint, interactions=rows[-1]["interactions"], wall_seconds=float(index)
    )


@contextmanager
def files_of_at_most(size: int):
    """Writes beyond ``size`` bytes fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "store", create=True)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "store" / "sweep=s" / "run=r1"


def test_a_write_that_fails_leaves_nothing_behind(store, claim, rows_of, folder):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    before = contents(folder)
    with files_of_at_most(100), pytest.raises(StoreUnavailable, match="File too large"):
        segment(writer, 1, rows_of(3, 5))
    assert contents(folder) == before
    segment(writer, 1, rows_of(3, 5))
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500]


def test_a_segment_that_could_not_be_written_whole_does_not_count_and_may_be_written_again(
    store, claim, rows_of, folder
):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3), b"old")
    with files_of_at_most(64 * 1024), pytest.raises(StoreUnavailable, match="File too large"):
        segment(writer, 1, rows_of(3, 5), bytes(10**6))
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300]
    assert list(writer.checkpoints()) == [(0, b"old")]
    assert not [name for name in names(folder) if ".tmp-" in name]
    segment(writer, 1, rows_of(3, 5), b"new")
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500]
    assert next(writer.checkpoints()) == (1, b"new")


def test_a_failed_export_leaves_nothing_behind_and_keeps_the_file_before(store, claim, rows_of, tmp_path):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 50))
    target = tmp_path / "out" / "curves.parquet"
    target.parent.mkdir()
    store.export(target)
    before = contents(target.parent)
    with files_of_at_most(500), pytest.raises(InputError, match="cannot be written"):
        store.export(target)
    assert contents(target.parent) == before


def test_claiming_removes_what_an_earlier_attempt_left_half_written(store, claim, rows_of, folder):
    segment(claim(store), 0, rows_of(0, 3))
    leftovers = [
        folder / ".part-000001.parquet.tmp-0a1b2c3d",
        folder / "checkpoint" / ".000001.pt.tmp-0a1b2c3d",
    ]
    for path in leftovers:
        path.write_bytes(b"half")
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300]
    claim(store)
    assert not any(path.exists() for path in leftovers)
    assert kinds(folder) == ["checkpoint/000000.pt", "lease.json", "part-000000.parquet", "run.json"]


def test_a_death_between_part_and_checkpoint_loses_no_row_and_duplicates_none(store, claim, rows_of, folder):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    with files_of_at_most(64 * 1024), pytest.raises(StoreUnavailable, match="File too large"):
        segment(writer, 1, rows_of(3, 5), bytes(10**6))
    assert kinds(folder) == [
        "checkpoint/000000.pt",
        "lease.json",
        "part-000000.parquet",
        "part-000001.parquet",
        "run.json",
    ]
    resumed = claim(store)
    ((index, _),) = resumed.checkpoints()
    assert index == 0
    resumed.drop_after(index)
    segment(resumed, 1, rows_of(3, 6))
    resumed.finish()
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500, 600]


@settings(max_examples=25, deadline=None)
@given(
    attempts=st.lists(
        st.tuples(
            st.integers(0, 4),  # segments before the end of the attempt
            st.sampled_from(["killed", "killed between part and checkpoint", "stopped", "failed"]),
            st.booleans(),  # the newest checkpoint turns out to be unreadable
        ),
        max_size=6,
    ),
    length=st.integers(1, 3),
)
def test_each_row_exists_once_whatever_happens_to_the_attempts(
    claim, rows_of, tmp_path_factory, attempts, length
):
    """Rows of segment i are ``length * i`` onwards; a checkpoint holds the number of its segment."""
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as place:
        store = RunStore(place)

        def resume():
            writer = claim(store)
            last = next((i for i, content in writer.checkpoints() if content == f"{i}".encode()), -1)
            writer.drop_after(last)
            return writer, last + 1

        for segments, ending, damaged in attempts:
            writer, index = resume()
            assert numbers(store.read_curve("s", "r1")) == [100 * (i + 1) for i in range(length * index)]
            for _ in range(segments):
                segment(writer, index, rows_of(length * index, length * (index + 1)), f"{index}".encode())
                index += 1
            following = rows_of(length * index, length * (index + 1))
            if ending == "stopped":
                writer.stop("asked to")
            elif ending == "failed":
                writer.fail("nan", rows=following, index=index)
            elif ending != "killed":
                with files_of_at_most(64 * 1024), pytest.raises(StoreUnavailable, match="File too large"):
                    segment(writer, index, following, bytes(10**6))
            if damaged:
                for path in sorted(Path(place).rglob("checkpoint/*.pt"))[-1:]:
                    path.write_bytes(b"damaged")
        writer, index = resume()
        segment(writer, index, rows_of(length * index, length * (index + 1)), f"{index}".encode())
        writer.finish()
        assert store.read_curve("s", "r1").to_pylist() == [
            {**dict.fromkeys(CURVE_SCHEMA.names), **row, "sweep": "s", "run_id": "r1"}
            for row in rows_of(0, length * (index + 1))
        ]
        assert names(Path(place) / "sweep=s" / "run=r1") == ["curve.parquet", "run.json"]


@pytest.mark.parametrize("place", ["sweep=s", "sweep=s/run=r1", "sweep=s/run=r1/checkpoint"])
def test_nothing_is_written_through_a_link_that_leads_out_of_the_store(
    store, claim, rows_of, tmp_path, place
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "000000.pt").write_bytes(b"kept")
    link = Path(store.location) / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(InputError, match=r"leads out of the store .* remove the link") as caught:
        segment(claim(store), 0, rows_of(0, 3))
    assert str(outside) in str(caught.value)
    assert contents(outside) == {"000000.pt": b"kept"}


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(store, claim, rows_of, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"kept")
    writer = claim(store)
    (folder / "run.json").unlink()
    (folder / "run.json").symlink_to(outside)
    assert store.read_run("s", "r1") == writer.record
    segment(writer, 0, rows_of(0, 3))
    writer.stop("enough")
    assert outside.read_bytes() == b"kept"
    assert not (folder / "run.json").is_symlink()


def test_a_store_that_is_a_file_is_refused(tmp_path):
    path = tmp_path / "store"
    path.write_text("")
    for create in (False, True):
        with pytest.raises(InputError, match=r"store is a file, not a store"):
            RunStore(path, create=create)


def test_a_missing_store_is_refused_and_not_created(tmp_path):
    with pytest.raises(InputError, match=r"no store at .*nowhere"):
        RunStore(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_store_of_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="cannot be opened"):
        RunStore("gopher://somewhere/store")


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_truncated_file_of_curves_is_refused_by_name(store, claim, rows_of, folder, keep):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 30))
    writer.finish()
    path = folder / "curve.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"curve\.parquet is not a readable Parquet file"):
        read_parquet_frame(path)


def test_a_finished_run_leaves_no_empty_folder(store, claim, rows_of, folder):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    assert (folder / "checkpoint").is_dir()
    writer.finish()
    assert not (folder / "checkpoint").exists()


def test_curves_are_compared_bit_for_bit_but_for_time(rows_of):
    rows = [{**row, "sweep": "s", "run_id": "r"} for row in rows_of(0, 4)]
    table = pa.Table.from_pylist(rows, schema=CURVE_SCHEMA)
    later = pa.Table.from_pylist([{**row, "wall_seconds": 9.0} for row in rows], schema=CURVE_SCHEMA)
    other = pa.Table.from_pylist(
        [{**row, "entropy": row["entropy"] + 1e-15} for row in rows], schema=CURVE_SCHEMA
    )
    assert rows_equal(table, later)
    assert not rows_equal(table, later, ignore=())
    assert not rows_equal(table, other)
    assert not rows_equal(table, table.slice(1))
