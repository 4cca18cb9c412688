"""The contract of a store, on every kind of filesystem: whole files, one writer at a time, every row once,
and refusals that name the file.
"""

import json
import re
import threading
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlscale.scaling.errors import DamagedRun, InputError, LeaseLost
from rlscale.sweeps.store.files import Files
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_folder import RunFolder
from rlscale.sweeps.store.run_store import RunStore, check_name
from rlscale.sweeps.store.schema import CURVE_COLUMNS, CURVE_SCHEMA, DIAGNOSTICS, EXPORT_SCHEMA, RUN_COLUMNS


def moments(*at_local: int) -> pytest.MarkDecorator:
    """A fault at each of these requests on a local disk; on S3, which is slower, at the first one."""
    cases = [("local", n) for n in at_local] + [("s3", at_local[0])]
    return pytest.mark.parametrize(("place", "n"), cases, indirect=["place"])


def numbers(table: pa.Table) -> list[int]:
    return table.column("interactions").to_pylist()


def segment(writer, index, rows, checkpoint=b"state") -> None:
    writer.write_segment(
        index, rows, checkpoint, interactions=rows[-1]["interactions"], wall_seconds=float(index)
    )


# -- whole files -----------------------------------------------------------------


def test_a_run_is_the_files_that_the_design_lists(store, claim, rows_of, kept):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    segment(writer, 1, rows_of(3, 5))
    assert kept.kinds() == [
        "checkpoint/000000.pt",
        "checkpoint/000001.pt",
        "lease.json",
        "part-000000.parquet",
        "part-000001.parquet",
        "run.json",
    ]
    writer.finish()
    assert kept.names() == ["curve.parquet", "run.json"]


def test_a_reader_beside_the_writer_never_sees_fewer_rows_than_before(store, claim, rows_of):
    writer = claim(store)
    segments = 40 if store.files.is_local else 10
    stop, seen, errors = threading.Event(), [], []

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
@moments(*range(1, 5))
@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_finishes_while_it_is_read_is_read_whole(store, claim, rows_of, method, n, after):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    segment(writer, 1, rows_of(3, 5))
    reader = RunStore(store.location)
    reader.files = Interrupted(store.location, method, n, writer.finish, after=after)
    assert numbers(reader.read_curve("s", "r1")) == [100, 200, 300, 400, 500]
    assert reader.files.happened or method != "open"


def test_a_reader_prefers_the_final_file(store, claim, rows_of, kept):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    (part,) = kept.names("part-*")
    content = kept.read(part)
    writer.finish()
    kept.write(part, content)
    kept.write("part-000001.parquet", b"rubbish")
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300]
    store.clean_sweep("s")
    assert kept.names() == ["curve.parquet", "run.json"]


def test_a_run_that_died_right_after_its_curve_was_written_is_done(store, claim, rows_of, kept):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    before = kept.read("run.json")
    writer.finish()
    finished = store.read_run("s", "r1")
    kept.write("run.json", before)
    kept.write("checkpoint/000000.000001-1a2b3c4d.pt", b"state")
    kept.write("lease-000001-1a2b3c4d.json", before)
    assert store.read_run("s", "r1") == finished
    store.clean_sweep("s")
    assert kept.names() == ["curve.parquet", "run.json"]
    assert RunRecord.model_validate_json(kept.read("run.json")) == finished


def test_a_run_of_an_earlier_version_is_read_and_goes_on(store, claim, rows_of, kept):
    """It kept neither leases nor a list of its parts."""
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3), b"state 0")
    segment(writer, 1, rows_of(3, 5), b"state 1")
    record = writer.record.model_dump(mode="json")
    del record["segments"]
    for name, content in kept.contents().items():
        if name.startswith("lease"):
            kept.remove(name)
        elif match := re.fullmatch(r"((?:part-|checkpoint/)\d{6})\.\d{6}-[0-9a-f]{8}(\..*)", name):
            kept.remove(name)
            kept.write(match[1] + match[2], content)
    kept.write("run.json", json.dumps(record).encode())
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


def test_a_finished_run_cannot_be_claimed(store, claim, rows_of, kept):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    writer.finish()
    before = kept.all_contents()
    with pytest.raises(InputError, match="done already"):
        claim(store)
    assert kept.all_contents() == before


def test_only_the_two_newest_checkpoints_are_kept_newest_first(store, claim, rows_of):
    writer = claim(store)
    for index in range(5):
        segment(writer, index, rows_of(index, index + 1), f"state {index}".encode())
    assert list(writer.checkpoints()) == [(4, b"state 4"), (3, b"state 3")]


def test_a_run_that_keeps_its_checkpoints_has_those_of_its_curve_when_done(store, claim, rows_of, kept):
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
        assert kept.kinds() == [*(f"checkpoint/00000{i}.pt" for i in range(4)), "curve.parquet", "run.json"]
        store.clean_sweep("s")
    assert store.read_run("s", "r1").segments == ()


def test_other_runs_have_no_checkpoints_when_done(store, claim, rows_of):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    writer.finish()
    assert list(store.read_checkpoints("s", "r1")) == list(store.read_checkpoints("s", "r2")) == []


def test_a_run_is_written_in_segments_resumed_finished_and_exported(place, claim, rows_of, kept, tmp_path):
    store = RunStore(place, create=True)
    first = claim(store)
    segment(first, 0, rows_of(0, 3), b"zero")
    segment(first, 1, rows_of(3, 5), b"one")
    reader = RunStore(place)
    assert numbers(reader.read_curve("s", "r1")) == [100, 200, 300, 400, 500]
    assert reader.read_run("s", "r1").status == "running"
    second = claim(store)  # the first died
    assert list(second.checkpoints()) == [(1, b"one"), (0, b"zero")]
    second.drop_after(0)
    segment(second, 1, rows_of(3, 6), b"one again")
    second.finish()
    assert kept.names() == ["curve.parquet", "run.json"]
    assert numbers(reader.read_curve("s", "r1")) == [100 * (i + 1) for i in range(6)]
    assert reader.read_run("s", "r1").status == "done"
    assert reader.sweeps() == ["s"]
    assert reader.export(tmp_path / "curves.parquet") == 6
    assert pq.read_table(tmp_path / "curves.parquet").equals(reader.read_curves())


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
def test_a_superseded_writer_cannot_write(store, claim, rows_of, kept, write, taker):
    old = claim(store)
    segment(old, 0, rows_of(0, 3))
    if taker == "a mark from outside":
        store.mark(store.read_run("s", "r1"), "failed", "its worker was killed 4 times")
    else:
        new = claim(store)
        if taker == "a finished attempt":
            new.finish()
    before = kept.all_contents()
    with pytest.raises(LeaseLost):
        write(old, rows_of(3, 5))
    assert kept.all_contents() == before


def test_an_attempt_that_was_given_up_changes_nothing(place, claim, rows_of, kept):
    store = RunStore(place, create=True)
    old = claim(store)
    segment(old, 0, rows_of(0, 3), b"old")
    new = claim(RunStore(place))
    for act in (
        lambda: segment(old, 1, rows_of(3, 9)),
        lambda: old.drop_after(-1),
        lambda: old.fail("late", rows=rows_of(3, 4), index=1),
        lambda: old.stop("late"),
        old.finish,
    ):
        with pytest.raises(LeaseLost, match="taken over by attempt 2"):
            act()
        assert numbers(store.read_curve("s", "r1")) == [100, 200, 300]
        assert list(new.checkpoints()) == [(0, b"old")]
        assert store.read_run("s", "r1").status == "running"
    segment(new, 1, rows_of(3, 5))
    new.finish()
    with pytest.raises(LeaseLost):
        segment(old, 1, rows_of(3, 9))
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500]
    assert kept.names() == ["curve.parquet", "run.json"]


def test_a_run_is_marked_and_its_attempt_can_no_longer_write(place, claim, rows_of, kept):
    store = RunStore(place, create=True)
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    store.mark(store.read_run("s", "r1"), "failed", "its worker was killed 3 times")
    record = RunStore(place).read_run("s", "r1")
    assert (record.status, record.reason) == ("failed", "its worker was killed 3 times")
    with pytest.raises(LeaseLost):
        segment(writer, 1, rows_of(3, 5))
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300]


def test_a_writer_whose_run_was_taken_away_cannot_write(store, claim, rows_of, kept):
    writer = claim(store)
    for name in kept.names():
        kept.remove(name)
    with pytest.raises(LeaseLost):
        segment(writer, 0, rows_of(0, 3))
    assert kept.names() == []


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
@moments(*range(1, 6))
def test_an_attempt_frozen_at_any_moment_changes_nothing_when_it_comes_back(
    store, claim, rows_of, kept, overtake, write, method, n
):
    """Overtaken right before each of its requests: readers see what they would see without it."""
    old = claim(store)
    segment(old, 0, rows_of(0, 3))
    seen = []

    def meanwhile() -> None:
        overtake(store, claim, rows_of)
        seen.append(as_read(store))

    old.folder = RunFolder(Interrupted(store.location, method, n, meanwhile), kept.root, "s", "r1")
    with suppress(LeaseLost):
        WRITES[write](old, rows_of(3, 5))
    if seen:
        assert as_read(store) == seen[0]
        if seen[0][0].status == "done":
            assert kept.names() == ["curve.parquet", "run.json"]
    if store.read_run("s", "r1").status != "done":
        finish(store, claim, rows_of)
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500]
    assert kept.names() == ["curve.parquet", "run.json"]


@pytest.mark.parametrize("overtake", [go_on, finish, give_up])
@pytest.mark.parametrize("method", ["write", "list", "delete", "read"])
@moments(*range(1, 6))
def test_an_attempt_frozen_while_it_finishes_leaves_one_whole_curve(
    store, claim, rows_of, kept, overtake, method, n
):
    """Its own curve is whole too: whichever of the two is written last, the run is done, once."""
    old = claim(store)
    segment(old, 0, rows_of(0, 3))
    segment(old, 1, rows_of(3, 5))

    def meanwhile() -> None:
        with suppress(InputError):  # done already
            overtake(store, claim, rows_of)

    files = Interrupted(store.location, method, n, meanwhile)
    old.folder = RunFolder(files, kept.root, "s", "r1")
    with suppress(LeaseLost):
        old.finish()
    if store.read_run("s", "r1").status != "done":
        assert files.happened
        finish(store, claim, rows_of)
    assert numbers(pq.read_table(pa.BufferReader(kept.read("curve.parquet")))) == [100, 200, 300, 400, 500]
    store.clean_sweep("s")
    assert kept.names() == ["curve.parquet", "run.json"]


@pytest.mark.parametrize("method", ["write", "list", "read"])
@moments(*range(1, 7))
def test_of_two_attempts_that_begin_at_once_one_goes_on(store, claim, rows_of, kept, method, n):
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
    assert kept.names() == ["curve.parquet", "run.json"]
    assert numbers(store.read_curve("s", "r1")) == [100, 200, 300, 400, 500]


def test_logs_are_kept_by_attempt(store, claim, rows_of, kept):
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
    assert kept.kinds() == ["curve.parquet", "log.txt", "log.txt", "run.json"]


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


# -- small files -------------------------------------------------------------------


def test_small_files_and_specs_beside_the_runs(place):
    store = RunStore(place, create=True)
    store.write_spec("s", {"axes": {"seed": [0]}})
    store.write_file("s", "drivers/a.json", b"1")
    store.write_file("s", "drivers/a.json", b"22")
    reader = RunStore(place)
    assert reader.read_spec("s") == {"axes": {"seed": [0]}}
    assert (reader.read_file("s", "drivers/a.json"), reader.list_files("s", "drivers")) == (b"22", ["a.json"])
    store.delete_file("s", "drivers/a.json")
    store.delete_file("s", "drivers/a.json")
    assert (reader.read_file("s", "drivers/a.json"), reader.list_files("s", "drivers")) == (None, [])
    assert reader.run_ids("s") == []


# -- refusals --------------------------------------------------------------------


BAD_NAMES = [
    "", ".", "..", "../x", "x/../../y", "/etc", "a/b", "a\\b", "a\n", "a\0b", "\x1b[31m", ".hidden", "-x",
    "ä", "x" * 129,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_could_lead_out_of_the_store_are_refused(store, claim, kept, tmp_path, name):
    before = sorted(tmp_path.rglob("*")), kept.all_contents()
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
    assert (sorted(tmp_path.rglob("*")), kept.all_contents()) == before


def test_an_unknown_sweep_is_refused_with_the_existing_ones(store, claim):
    claim(store, sweep="mnist")
    with pytest.raises(InputError, match="no sweep named 'minst'; it has: mnist"):
        list(store.runs("minst"))


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_truncated_curve_is_refused_by_name(store, claim, rows_of, kept, keep):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 30))
    writer.finish()
    kept.write("curve.parquet", kept.read("curve.parquet")[:keep])
    with pytest.raises(InputError, match=r"run=r1/curve\.parquet is not a readable Parquet file"):
        store.read_curve("s", "r1")


def test_a_curve_without_a_column_that_it_needs_is_refused_by_name(store, claim, rows_of, kept):
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3))
    writer.finish()
    whole, less = pq.read_table(pa.BufferReader(kept.read("curve.parquet"))), pa.BufferOutputStream()
    pq.write_table(whole.drop_columns(["interactions"]), less)
    kept.write("curve.parquet", less.getvalue().to_pybytes())
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
def test_a_damaged_record_is_refused_with_the_remedy(store, claim, kept, damage):
    writer = claim(store)
    (lease,), before = kept.names("lease-*"), kept.read("run.json")
    assert damage(before) != before
    kept.write("run.json", damage(before))
    assert store.read_run("s", "r1") == writer.record
    kept.write(lease, damage(before))
    with pytest.raises(DamagedRun, match=r"run\.json is not a run record of this version") as caught:
        store.read_run("s", "r1")
    assert "\n" not in str(caught.value)
    assert caught.value.may_be_redone is (damage(before)[:1] != b"{" or damage(before)[-1:] != b"}")


@pytest.mark.parametrize(("field", "value"), [("sweep", "../../elsewhere"), ("run_id", "r2")])
def test_a_record_of_another_place_is_refused(store, claim, kept, field, value):
    claim(store)
    for name in kept.names("*.json"):
        kept.write(name, json.dumps({**json.loads(kept.read(name)), field: value}).encode())
    with pytest.raises(DamagedRun, match="give the folder its old name"):
        store.read_run("s", "r1")


@pytest.mark.parametrize("damaged", ["", "{", "[]", "3"])
def test_a_damaged_spec_is_refused_with_the_remedy(store, kept, damaged):
    store.write_spec("s", {"name": "s"})
    kept.write("../spec.json", damaged.encode())
    with pytest.raises(InputError, match=r"spec\.json is damaged; run the sweep again"):
        store.read_spec("s")


def test_a_folder_without_a_record_is_no_run(store, kept):
    kept.write("notes.txt", b"not a run")
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
