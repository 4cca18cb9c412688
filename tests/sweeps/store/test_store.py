"""The store: whole files, one writer at a time, every row once, and refusals that name the file."""

import json
import re
import resource
import shutil
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.scaling.errors import DamagedRun, InputError, LeaseLost, StoreUnavailable
from rlscale.sweeps.store.files import Files
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_folder import RunFolder
from rlscale.sweeps.store.run_store import RunStore, check_name, read_parquet_frame, rows_equal
from rlscale.sweeps.store.schema import CURVE_COLUMNS, CURVE_SCHEMA, DIAGNOSTICS, EXPORT_SCHEMA, RUN_COLUMNS


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
def folder(tmp_path) -> Path:
    return tmp_path / "store" / "sweep=s" / "run=r1"


# -- whole files -----------------------------------------------------------------


def test_a_run_is_the_files_that_the_design_lists(store, claim, rows_of, folder):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    segment(writer, 1, rows_of(3, 5))
    assert kinds(folder) == [
        "checkpoint/000000.pt",
        "checkpoint/000001.pt",
        "lease.json",
        "part-000000.parquet",
        "part-000001.parquet",
        "run.json",
    ]
    writer.finish()
    assert names(folder) == ["curve.parquet", "run.json"]
    assert not (folder / "checkpoint").exists()


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


def test_a_reader_beside_the_writer_never_sees_fewer_rows_than_before(store, claim, rows_of):
    writer = claim(store)
    segments, stop, seen, errors = 40, threading.Event(), [], []

    def read() -> None:
        reader = RunStore(store.location)
        try:
            while not stop.is_set():
                seen.append(reader.read_curve("s", "r1"))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for index in range(segments):
            segment(writer, index, rows_of(3 * index, 3 * index + 3))
        writer.finish()
    finally:
        stop.set()
        thread.join()
    assert errors == []
    counts = [table.num_rows for table in seen]
    assert counts == sorted(counts)
    for table in seen:
        assert numbers(table) == [100 * (i + 1) for i in range(table.num_rows)]


class Interrupted(Files):
    """Files where ``meanwhile`` happens once, right before or after the ``n``-th use of ``method``."""

    def __init__(self, location, method, n, meanwhile, *, after=False) -> None:
        super().__init__(location)
        self._left, self._meanwhile = n, meanwhile
        plain = getattr(self, method)

        def interrupted(*arguments, **options):
            self._left -= 1
            now = self._left == 0
            if now and not after:
                self._meanwhile()
            result = plain(*arguments, **options)
            if now and after:
                self._meanwhile()
            return result

        setattr(self, method, interrupted)

    def disarm(self) -> None:
        self._left = -1

    @property
    def happened(self) -> bool:
        return self._left <= 0


@pytest.mark.parametrize("method", ["list", "read", "open"])
@pytest.mark.parametrize("n", range(1, 5))
@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_finishes_while_it_is_read_is_read_whole(store, claim, rows_of, method, n, after):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    segment(writer, 1, rows_of(3, 5))
    reader = RunStore(store.location)
    reader.files = Interrupted(store.location, method, n, writer.finish, after=after)
    assert numbers(reader.read_curve("s", "r1")) == [100, 200, 300, 400, 500]
    assert reader.files.happened or method != "open"


def test_a_reader_prefers_the_final_file(store, claim, rows_of, folder):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    (part,) = folder.glob("part-*")
    content = part.read_bytes()
    writer.finish()
    part.write_bytes(content)
    (folder / "part-000001.parquet").write_bytes(b"rubbish")
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300]
    store.clean_sweep("s")
    assert names(folder) == ["curve.parquet", "run.json"]


def test_a_run_that_died_right_after_its_curve_was_written_is_done(store, claim, rows_of, folder):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    before = (folder / "run.json").read_bytes()
    writer.finish()
    finished = store.read_run("s", "r1")
    (folder / "run.json").write_bytes(before)
    (folder / "checkpoint").mkdir()
    (folder / "lease-000001-1a2b3c4d.json").write_bytes(before)
    assert store.read_run("s", "r1") == finished
    store.clean_sweep("s")
    assert names(folder) == ["curve.parquet", "run.json"]
    assert RunRecord.model_validate_json((folder / "run.json").read_bytes()) == finished


def test_a_run_of_an_earlier_version_is_read_and_goes_on(store, claim, rows_of, folder):
    """It kept neither leases nor a list of its parts."""
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3), b"state 0")
    segment(writer, 1, rows_of(3, 5), b"state 1")
    record = writer.record.model_dump(mode="json")
    del record["segments"]
    for path in folder.rglob("*.*"):
        if path.name.startswith("lease"):
            path.unlink()
        elif match := re.fullmatch(r"((?:part-)?\d{6})\.\d{6}-[0-9a-f]{8}(\..*)", path.name):
            path.rename(path.with_name(match[1] + match[2]))
    (folder / "run.json").write_text(json.dumps(record))
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500]
    again = claim(store)
    assert list(again.checkpoints()) == [(1, b"state 1"), (0, b"state 0")]
    again.drop_after(0)
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300]
    segment(again, 1, rows_of(3, 6))
    again.finish()
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500, 600]


def test_finishing_merges_the_parts_value_by_value(store, claim, rows_of):
    writer = claim(store)
    for index, (first, last) in enumerate([(0, 8), (8, 9), (9, 30)]):
        segment(writer, index, rows_of(first, last))
    before = store.read_curve("s", "r1")
    writer.finish()
    after = store.read_curve("s", "r1")
    assert after.equals(before)
    assert after.schema.equals(CURVE_SCHEMA, check_metadata=True)
    for row, stored in zip(rows_of(0, 30), after.to_pylist(), strict=True):
        assert stored == {**dict.fromkeys(CURVE_SCHEMA.names), **row, "sweep": "s", "run_id": "r1"}


def test_a_finished_run_cannot_be_claimed(store, claim, rows_of, tmp_path):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    writer.finish()
    before = contents(tmp_path)
    with pytest.raises(InputError, match="done already"):
        claim(store)
    assert contents(tmp_path) == before


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


def test_only_the_two_newest_checkpoints_are_kept_newest_first(store, claim, rows_of):
    writer = claim(store)
    for index in range(5):
        segment(writer, index, rows_of(index, index + 1), f"state {index}".encode())
    assert list(writer.checkpoints()) == [(4, b"state 4"), (3, b"state 3")]


def test_a_run_that_keeps_its_checkpoints_has_those_of_its_curve_when_done(store, claim, rows_of, folder):
    keeping = {"interactions": 1000, "keep_checkpoints": True}
    writer = claim(store, config=keeping)
    for index in range(4):
        segment(writer, index, rows_of(index, index + 1), f"state {index}".encode())
    again = claim(store, config=keeping)
    assert list(again.checkpoints()) == [(3, b"state 3"), (2, b"state 2")]
    again.drop_after(2)  # the last one could not be read
    segment(again, 3, rows_of(3, 4), b"again 3")
    there = [b"state 0", b"state 1", b"state 2", b"again 3"]
    assert list(store.read_checkpoints("s", "r1")) == there
    again.finish()
    for _ in range(2):  # a sweep that is run again cleans up again
        assert list(store.read_checkpoints("s", "r1")) == there
        assert kinds(folder) == [*(f"checkpoint/00000{i}.pt" for i in range(4)), "curve.parquet", "run.json"]
        store.clean_sweep("s")
    assert store.read_run("s", "r1").segments == ()


def test_other_runs_have_no_checkpoints_when_done(store, claim, rows_of):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    writer.finish()
    assert list(store.read_checkpoints("s", "r1")) == list(store.read_checkpoints("s", "r2")) == []


# -- one writer at a time --------------------------------------------------------


WRITES = {
    "a segment": lambda writer, rows: segment(writer, 1, rows),
    "the final file": lambda writer, rows: writer.finish(),
    "a failure": lambda writer, rows: writer.fail("why", rows=rows, index=1),
    "a stop": lambda writer, rows: writer.stop("why"),
    "a resume": lambda writer, rows: writer.drop_after(-1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("taker", ["another attempt", "a mark from outside", "a finished attempt"])
def test_a_superseded_writer_cannot_write(store, claim, rows_of, tmp_path, write, taker):
    old = claim(store)
    segment(old, 0, rows_of(0, 3))
    if taker == "a mark from outside":
        store.mark(store.read_run("s", "r1"), "failed", "its worker was killed 4 times")
    else:
        new = claim(store)
        if taker == "a finished attempt":
            new.finish()
    before = contents(tmp_path)
    with pytest.raises(LeaseLost):
        write(old, rows_of(3, 5))
    assert contents(tmp_path) == before


def test_a_writer_whose_run_was_taken_away_cannot_write(store, claim, rows_of, folder):
    writer = claim(store)
    shutil.rmtree(folder)
    with pytest.raises(LeaseLost):
        segment(writer, 0, rows_of(0, 3))
    assert names(folder) == []


def go_on(store, claim, rows_of):
    """A new attempt measures what follows the last checkpoint, up to row 5."""
    writer = claim(store)
    last = next((index for index, _ in writer.checkpoints()), -1)
    writer.drop_after(last)
    for index, rows in enumerate([rows_of(0, 3), rows_of(3, 5)]):
        if index > last:
            segment(writer, index, rows)
    return writer


def finish(store, claim, rows_of) -> None:
    go_on(store, claim, rows_of).finish()


def give_up(store, claim, rows_of) -> None:
    store.mark(store.read_run("s", "r1"), "failed", "its worker was killed 4 times")


def as_read(store) -> tuple:
    record = store.read_run("s", "r1")
    return record, store.read_curve("s", "r1")


@pytest.mark.parametrize("overtake", [go_on, finish, give_up])
@pytest.mark.parametrize("write", ["a segment", "a failure", "a stop", "a resume"])
@pytest.mark.parametrize("method", ["write", "list", "delete", "read"])
@pytest.mark.parametrize("n", range(1, 6))
def test_an_attempt_frozen_at_any_moment_changes_nothing_when_it_comes_back(
    store, claim, rows_of, folder, overtake, write, method, n
):
    """Overtaken right before each of its requests: readers see what they would see without it."""
    old = claim(store)
    segment(old, 0, rows_of(0, 3))
    seen = []

    def meanwhile() -> None:
        overtake(store, claim, rows_of)
        seen.append(as_read(store))

    old.folder = RunFolder(Interrupted(store.location, method, n, meanwhile), str(folder), "s", "r1")
    with suppress(LeaseLost):
        WRITES[write](old, rows_of(3, 5))
    if seen:
        assert as_read(store) == seen[0]
        if seen[0][0].status == "done":
            assert names(folder) == ["curve.parquet", "run.json"]
    if store.read_run("s", "r1").status != "done":
        finish(store, claim, rows_of)
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500]
    assert names(folder) == ["curve.parquet", "run.json"]


@pytest.mark.parametrize("overtake", [go_on, finish, give_up])
@pytest.mark.parametrize("method", ["write", "list", "delete", "read"])
@pytest.mark.parametrize("n", range(1, 6))
def test_an_attempt_frozen_while_it_finishes_leaves_one_whole_curve(
    store, claim, rows_of, folder, overtake, method, n
):
    """Its own curve is whole too: whichever of the two is written last, the run is done, once."""
    old = claim(store)
    segment(old, 0, rows_of(0, 3))
    segment(old, 1, rows_of(3, 5))

    def meanwhile() -> None:
        with suppress(InputError):  # done already
            overtake(store, claim, rows_of)

    files = Interrupted(store.location, method, n, meanwhile)
    old.folder = RunFolder(files, str(folder), "s", "r1")
    with suppress(LeaseLost):
        old.finish()
    if store.read_run("s", "r1").status != "done":
        assert files.happened
        finish(store, claim, rows_of)
    assert numbers(pq.read_table(folder / "curve.parquet")) == [100, 200, 300, 400, 500]
    store.clean_sweep("s")
    assert names(folder) == ["curve.parquet", "run.json"]


@pytest.mark.parametrize("method", ["write", "list", "read"])
@pytest.mark.parametrize("n", range(1, 7))
def test_of_two_attempts_that_begin_at_once_one_goes_on(store, claim, rows_of, folder, method, n):
    segment(claim(store), 0, rows_of(0, 3))
    winners = []
    slow = RunStore(store.location)
    slow.files = Interrupted(store.location, method, n, lambda: winners.append(claim(store)))
    with suppress(LeaseLost):
        winners.append(claim(slow))
    slow.files.disarm()
    going_on = []
    for writer in winners:
        with suppress(LeaseLost):
            writer.drop_after(0)
            going_on.append(writer)
    writer = going_on[-1]
    segment(writer, 1, rows_of(3, 5))
    with suppress(InputError):
        writer.finish()
    assert names(folder) == ["curve.parquet", "run.json"]
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500]


def test_logs_are_kept_by_attempt(store, claim, rows_of, folder):
    first = claim(store)
    first.write_log("one\n")
    first.write_log("one\ntwo\n")
    second = claim(store)
    with pytest.raises(LeaseLost):
        first.write_log("three\n")
    segment(second, 0, rows_of(0, 3))
    second.finish()
    second.write_log("done\n")
    assert store.read_logs("s", "r1") == [(1, "one\ntwo\n"), (2, "done\n")]
    store.clean_sweep("s")
    assert kinds(folder) == ["curve.parquet", "log.txt", "log.txt", "run.json"]


def test_attempts_are_recorded_with_where_they_began_and_how_they_ended(store, claim, rows_of):
    segment(claim(store, pid=11), 0, rows_of(0, 3))
    second = claim(store, pid=12)
    segment(second, 1, rows_of(3, 5))
    second.stop("asked to")
    third = claim(store, pid=13)
    third.finish()
    record = store.read_run("s", "r1")
    assert [(a.number, a.pid, a.from_interactions, a.outcome) for a in record.attempts] == [
        (1, 11, 0, None),
        (2, 12, 300, "stopped"),
        (3, 13, 500, "done"),
    ]
    assert (record.status, record.reason, record.lease) == ("done", None, None)


def test_a_failed_run_keeps_its_rows_and_its_reason_and_can_be_claimed_again(store, claim, rows_of):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    writer.fail("policy_loss is nan", code="non_finite_loss", rows=rows_of(3, 5), index=1)
    record = store.read_run("s", "r1")
    assert (record.status, record.reason, record.lease) == ("failed", "policy_loss is nan", None)
    assert record.failure == "non_finite_loss"
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500]
    again = claim(store)
    again.drop_after(0)
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300]
    again = store.read_run("s", "r1")
    assert (again.reason, again.failure) == (None, None)


# -- every row once --------------------------------------------------------------


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


@settings(max_examples=40, deadline=None)
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
def test_each_row_exists_once_whatever_happens_to_the_attempts(claim, rows_of, attempts, length):
    """Rows of segment i are ``length * i`` onwards; a checkpoint holds the number of its segment."""
    with tempfile.TemporaryDirectory() as place:
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


# -- refusals --------------------------------------------------------------------


BAD_NAMES = [
    "", ".", "..", "../x", "x/../../y", "/etc", "a/b", "a\\b", "a\n", "a\0b", "\x1b[31m", ".hidden", "-x",
    "ä", "x" * 129,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_could_lead_out_of_the_store_are_refused(store, claim, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    for use in (
        lambda: check_name(name, "sweep"),
        lambda: store.read_run(name, "r1"),
        lambda: store.read_run("s", name),
        lambda: store.read_curve("s", name),
        lambda: store.read_spec(name),
        lambda: store.write_spec(name, {}),
        lambda: claim(store, name),
        lambda: claim(store, sweep=name),
    ):
        with pytest.raises(InputError, match="cannot be a"):
            use()
    assert sorted(tmp_path.rglob("*")) == before


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


def test_an_unknown_sweep_is_refused_with_the_existing_ones(store, claim):
    claim(store, sweep="mnist")
    with pytest.raises(InputError, match="no sweep named 'minst'; it has: mnist"):
        list(store.runs("minst"))


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_truncated_curve_is_refused_by_name(store, claim, rows_of, folder, keep):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 30))
    writer.finish()
    path = folder / "curve.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"run=r1/curve\.parquet is not a readable Parquet file"):
        store.read_curve("s", "r1")
    with pytest.raises(InputError, match=r"curve\.parquet is not a readable Parquet file"):
        read_parquet_frame(path)


def test_a_curve_without_a_column_that_it_needs_is_refused_by_name(store, claim, rows_of, folder):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    writer.finish()
    path = folder / "curve.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["interactions"]), path)
    with pytest.raises(InputError, match=r"curve\.parquet lacks the column 'interactions'"):
        store.read_curve("s", "r1")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: b"\xff\xfe\x00",
        lambda text: b"[]",
        lambda text: text.replace(b'"running"', b'"walking"'),
        lambda text: text.replace(b'"attempts"', b'"tries"'),
        lambda text: text.replace(b'"num_params": 100', b'"num_params": "many"'),
        lambda text: text.replace(b'"num_params": 100', b'"num_params": 1e400'),
        lambda text: text.replace(b'"num_params": 100', b'"depth": 2.5'),
        lambda text: text.replace(b'"interactions": 0', b'"interactions": 9223372036854775808'),
        lambda text: text.replace(b'"wall_seconds": 0.0', b'"wall_seconds": 1e400'),
        lambda text: text.replace(b'"config": {}', b'"config": {"interactions": [3]}'),
        lambda text: text.replace(b'"segments": []', b'"segments": ["../../../x"]'),
    ],
    ids=[
        *("empty", "truncated", "binary", "not a mapping", "unknown status", "renamed field"),
        *("text for a number", "infinite count", "broken count", "too large", "endless", "list for a length"),
        "a way out of the folder",
    ],
)
def test_a_damaged_record_is_refused_with_the_remedy(store, claim, folder, damage):
    writer = claim(store)
    path, lease = folder / "run.json", next(folder.glob("lease-*"))
    before = path.read_bytes()
    assert damage(before) != before
    path.write_bytes(damage(before))
    assert store.read_run("s", "r1") == writer.record
    lease.write_bytes(damage(before))
    with pytest.raises(DamagedRun, match=r"run\.json is not a run record of this version") as caught:
        store.read_run("s", "r1")
    assert "\n" not in str(caught.value)
    assert caught.value.may_be_redone is (damage(before)[:1] != b"{" or damage(before)[-1:] != b"}")


@pytest.mark.parametrize(("field", "value"), [("sweep", "../../elsewhere"), ("run_id", "r2")])
def test_a_record_of_another_place_is_refused(store, claim, folder, field, value):
    claim(store)
    for path in folder.glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(DamagedRun, match="give the folder its old name"):
        store.read_run("s", "r1")


@pytest.mark.parametrize("damaged", ["", "{", "[]", "3"])
def test_a_damaged_spec_is_refused_with_the_remedy(store, tmp_path, damaged):
    store.write_spec("s", {"name": "s"})
    (tmp_path / "store" / "sweep=s" / "spec.json").write_text(damaged)
    with pytest.raises(InputError, match=r"spec\.json is damaged; run the sweep again"):
        store.read_spec("s")


def test_a_folder_without_a_record_is_no_run(store, tmp_path):
    (tmp_path / "store" / "sweep=s" / "run=r1").mkdir(parents=True)
    assert list(store.runs()) == []


# -- export ----------------------------------------------------------------------


def test_an_export_is_what_is_stored_value_by_value(store, claim, rows_of, tmp_path, config_of):
    lengths = {("a", "r1"): 5, ("a", "r2"): 9, ("b", "r1"): 3}
    columns = {"task": "digits-bandit", "width": 0.1, "depth": 1, "seed": 7, "num_params": 2**40 + 1}
    for (sweep, run_id), length in lengths.items():
        writer = claim(store, run_id, sweep=sweep, columns=columns)
        segment(writer, 0, rows_of(0, length))
        if sweep == "a":
            writer.finish()
    path = tmp_path / "out.parquet"
    assert store.export(path) == 17
    table = pq.read_table(path)
    for (sweep, run_id), length in lengths.items():
        rows = [row for row in table.to_pylist() if (row["sweep"], row["run_id"]) == (sweep, run_id)]
        status = "done" if sweep == "a" else "running"
        beside = {**dict.fromkeys(RUN_COLUMNS), **columns, "status": status}
        nothing = dict.fromkeys([*CURVE_COLUMNS, *DIAGNOSTICS])
        assert rows == [
            {"sweep": sweep, "run_id": run_id, **beside, **nothing, **row} for row in rows_of(0, length)
        ]


def test_an_export_carries_units_meanings_and_the_schemas_version(store, claim, rows_of, tmp_path):
    segment(claim(store), 0, rows_of(0, 3))
    store.export(tmp_path / "out.parquet")
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert schema.names == EXPORT_SCHEMA.names
    assert schema.metadata[b"schema_version"] == b"1"
    for field in schema:
        assert field.type == EXPORT_SCHEMA.field(field.name).type
        assert field.metadata[b"meaning"]
        assert field.metadata[b"unit"] == EXPORT_SCHEMA.field(field.name).metadata[b"unit"]
    assert schema.field("interactions").metadata[b"unit"] == b"environment steps"


def test_run_columns_that_are_not_known_are_null(store, claim, rows_of, tmp_path):
    segment(claim(store, columns={"width": None}), 0, rows_of(0, 3))
    store.export(tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    for name in ("task", "algorithm", "family", "width", "depth", "horizon", "seed", "flops_forward"):
        assert table.column(name).null_count == 3
    assert table.column("num_params").to_pylist() == [100, 100, 100]


def test_one_sweep_can_be_exported_alone(store, claim, rows_of, tmp_path):
    for sweep in ("a", "b"):
        segment(claim(store, sweep=sweep), 0, rows_of(0, 3))
    assert store.export(tmp_path / "out.parquet", "b") == 3
    assert set(pq.read_table(tmp_path / "out.parquet").column("sweep").to_pylist()) == {"b"}
    with pytest.raises(InputError, match="no sweep named 'c'"):
        store.export(tmp_path / "out.parquet", "c")


def test_an_export_of_nothing_or_to_nowhere_is_refused(store, claim, rows_of, tmp_path):
    with pytest.raises(InputError, match="no rows to export yet"):
        store.export(tmp_path / "out.parquet")
    segment(claim(store), 0, rows_of(0, 3))
    with pytest.raises(InputError, match="cannot be written"):
        store.export(tmp_path / "no" / "folder" / "out.parquet")
    with pytest.raises(InputError, match="is a folder; name the file to write"):
        store.export(tmp_path)
    assert not (tmp_path / "out.parquet").exists()


def test_an_added_curve_is_a_finished_run(store, rows_of):
    table = pa.Table.from_pylist(
        [{**row, "sweep": "s", "run_id": "r9"} for row in rows_of(0, 4)], schema=CURVE_SCHEMA
    )
    record = RunRecord(sweep="s", run_id="r9", status="done", config={}, columns={"num_params": 5})
    store.add_curve(record, table)
    assert store.read_run("s", "r9") == record
    assert store.read_curve("s", "r9").equals(table)


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
