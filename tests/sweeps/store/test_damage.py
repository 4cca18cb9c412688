"""A damaged file costs one run at most, and what is intact of it is used."""

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from attempts import claim_run

from rlscale.analysis.curves.load import load_curves
from rlscale.scaling.config.run import run_config
from rlscale.scaling.errors import DamagedRun, InputError
from rlscale.scaling.training.train import train
from rlscale.sweeps.running.missing import to_do, to_retry
from rlscale.sweeps.running.status import SweepReader
from rlscale.sweeps.store.check import check_sweep, repair
from rlscale.sweeps.store.names import segments_of_parts
from rlscale.sweeps.store.run_store import RunStore, rows_equal

SPEC = {
    "name": "s",
    "base": {"task": "digits-bandit", "interactions": 3000, "checkpoints": 4, "model": {"width": 0.02}},
    "axes": {"seed": [0, 1]},
}
ONE, OTHER = (run_config({**SPEC["base"], "seed": seed}, source="test") for seed in (0, 1))


def attempt(store: RunStore, config=ONE, *, until: float = 1.0):
    """Train a run, or go on with it, until a share of its interactions; returns the writer."""
    writer = claim_run(store, config, "s")
    reached = [0]
    train(
        config,
        writer,
        on_progress=lambda interactions, _: reached.append(interactions),
        should_stop=lambda: reached[-1] >= until * config.interactions,
    )
    return writer


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Two stores: in the one both runs are done, in the other the first is half done."""
    place = tmp_path_factory.mktemp("trained")
    for name, until in (("done", 1.0), ("half", 0.6)):
        store = RunStore(place / name, create=True)
        store.write_spec("s", SPEC)
        attempt(store, ONE, until=until)
        attempt(store, OTHER)
    return place


@pytest.fixture
def damaged(trained, tmp_path):
    """Copy a store and damage the file of its first run that a pattern finds."""

    def make(state: str, pattern: str, damage) -> RunStore:
        shutil.copytree(trained / state, tmp_path / "store")
        folder = tmp_path / "store" / "sweep=s" / f"run={ONE.run_id}"
        found = sorted(folder.glob(pattern))
        assert found
        for path in found:
            damage(path)
        return RunStore(tmp_path / "store")

    return make


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def removed(path: Path) -> None:
    path.unlink()


def with_a_wrong_byte(path: Path) -> None:
    """In the data of the first column; the file's footer stays as it is."""
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(bytes(content))


LOST = [emptied, truncated, zeroed]
OF_DONE = [("run.json", damage) for damage in (*LOST, removed)]
CURVES = [("curve.parquet", damage) for damage in (*LOST, removed, with_a_wrong_byte)]
OF_HALF = [
    (pattern, damage)
    for pattern in ("run.json", "lease-*", "part-000000*", "part-000001*", "checkpoint/000001*", "*.json")
    for damage in (*LOST, removed)
]


def everything_else(store: RunStore) -> list[str]:
    """What readers say of a store with one damaged run; all of them must show the other."""
    said: list[str] = []
    ids = {record.run_id for record in store.runs("s", lambda error: said.append(str(error)))}
    assert OTHER.run_id in ids
    statuses = {status.run_id: status for status in SweepReader(store, "s").read()}
    assert statuses[OTHER.run_id].status == "done"
    assert set(statuses) == {ONE.run_id, OTHER.run_id}
    curves = load_curves(store.location)
    assert OTHER.run_id in curves.run_ids
    exported = Path(store.location).parent / "out.parquet"
    store.export(exported, on_damage=lambda error: said.append(str(error)))
    assert OTHER.run_id in pq.read_table(exported).column("run_id").to_pylist()
    return said + [note for note in curves.notes if "left out" in note]


@pytest.mark.parametrize(("pattern", "damage"), OF_DONE)
def test_an_intact_curve_revives_its_record(damaged, trained, pattern, damage):
    store = damaged("done", pattern, damage)
    before = RunStore(trained / "done")
    assert everything_else(store) == []
    assert store.read_run("s", ONE.run_id) == before.read_run("s", ONE.run_id)
    assert to_do([ONE, OTHER], store, "s") == ([], [])
    findings = list(check_sweep(store, "s"))
    assert len(findings) == (damage is not removed)
    assert all(repair(store, finding) for finding in findings)
    store.clean_finished("s", ONE.run_id)
    assert list(check_sweep(store, "s")) == []


@pytest.mark.parametrize(("pattern", "damage"), CURVES)
def test_a_run_whose_curve_is_lost_is_left_out_by_name_and_done_again(damaged, trained, pattern, damage):
    store = damaged("done", pattern, damage)
    said = everything_else(store)
    assert said
    assert all(f"run={ONE.run_id}/curve.parquet" in sentence for sentence in said)
    assert "sweep check STORE --repair" in said[0]
    assert not store.is_done("s", ONE.run_id)
    (finding,) = check_sweep(store, "s")
    assert (finding.kind, finding.run_id, finding.is_repairable) == ("damaged", ONE.run_id, True)
    if damage is not with_a_wrong_byte:  # which only shows when the whole file is read
        assert to_do([ONE, OTHER], store, "s") == ([ONE], [])
        assert to_retry(store, "s", {ONE.run_id: ONE}) == ([ONE], [])
        assert SweepReader(store, "s").read()[0].stored.failure == DamagedRun.code
    assert repair(store, finding)
    assert [status.status for status in SweepReader(store, "s").read()] == ["failed", "done"]
    assert to_retry(store, "s", {}) == ([ONE], [])
    attempt(store)
    intact = RunStore(trained / "done").read_curve("s", ONE.run_id)
    assert rows_equal(store.read_curve("s", ONE.run_id), intact)
    aside = [each for each in check_sweep(store, "s") if "set aside" in each.problem]
    assert len(aside) == (damage is not removed)  # nothing is thrown away that somebody may want to look at


@pytest.mark.parametrize("is_repaired", [False, True])
@pytest.mark.parametrize(("pattern", "damage"), OF_HALF)
def test_a_run_that_is_not_done_goes_on_from_what_is_intact(damaged, trained, pattern, damage, is_repaired):
    store = damaged("half", pattern, damage)
    everything_else(store)
    if is_repaired:
        for finding in list(check_sweep(store, "s")):
            repair(store, finding)
    writer = attempt(store)
    started = writer.record.attempts[-1].from_interactions
    intact = RunStore(trained / "half").read_run("s", ONE.run_id)
    if pattern in ("run.json", "lease-*", "*.json"):
        assert started == intact.interactions
    assert rows_equal(
        store.read_curve("s", ONE.run_id), RunStore(trained / "done").read_curve("s", ONE.run_id)
    )
    assert [each for each in check_sweep(store, "s") if each.kind != "left over"] == []


def test_a_finished_run_is_not_cleaned_while_its_curve_is_damaged(damaged, trained):
    """Its parts, if they are still there, are all that is left."""
    store = damaged("half", "run.json", lambda path: (path.parent / "curve.parquet").write_bytes(b""))
    folder = store.folder("s", ONE.run_id)
    before = folder.names()
    store.clean_sweep("s")
    store.clean_finished("s", ONE.run_id)
    assert folder.names() == before
    writer = attempt(store)
    assert writer.record.attempts[-1].from_interactions > 0
    (sentence,) = writer.damaged
    assert "curve.parquet" in sentence


def later(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))


def with_a_field_of_a_later_version(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "mood": "good"}))


@pytest.mark.parametrize("damage", [later, with_a_field_of_a_later_version])
def test_what_a_later_version_wrote_is_refused_by_name_and_never_touched(damaged, damage):
    store = damaged("half", "*.json", damage)
    said = everything_else(store)
    assert any("read it with the version that wrote it" in sentence for sentence in said)
    (finding,) = check_sweep(store, "s")
    assert (finding.kind, finding.is_repairable) == ("refused", False)
    before = {path: path.read_bytes() for path in Path(store.location).rglob("*") if path.is_file()}
    assert not repair(store, finding)
    for act in (lambda: attempt(store), lambda: to_do([ONE], store, "s"), lambda: to_retry(store, "s", {})):
        with pytest.raises(DamagedRun, match=r"later version|of this version"):
            act()
    assert {path: path.read_bytes() for path in before} == before


def test_a_curve_in_the_folder_of_another_run_is_refused_by_name(damaged):
    def swap(path: Path) -> None:
        other = path.parent.parent / f"run={OTHER.run_id}" / path.name
        path.write_bytes(other.read_bytes())

    store = damaged("done", "curve.parquet", swap)
    said = everything_else(store)
    problem = re.compile(f"holds (the record of run|rows of run_id) '{OTHER.run_id}'")
    assert [each for each in said if not problem.search(each)] == []
    assert said
    with pytest.raises(DamagedRun):
        store.is_done("s", ONE.run_id)


def with_the_footer_of(change):
    """Replace the record in a curve's footer, its rows as they are."""

    def damage(path: Path) -> None:
        table = pq.read_table(path)
        record = json.loads(table.schema.metadata[b"run_record"])
        footer = json.dumps({**record, **change}).encode()
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"run_record": footer}), path)

    return damage


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"run_id": OTHER.run_id}, f"holds the record of run {OTHER.run_id!r}"),
        ({"sweep": "t"}, "of sweep 't'"),
        ({"schema_version": 99}, "is of a later version"),
    ],
)
def test_a_curve_whose_footer_is_of_another_run_or_version_is_refused_by_name(damaged, change, problem):
    store = damaged("done", "curve.parquet", with_the_footer_of(change))
    said = everything_else(store)
    assert said
    assert all(problem in sentence and f"run={ONE.run_id}/curve.parquet" in sentence for sentence in said)
    (finding,) = check_sweep(store, "s")
    assert (finding.kind, finding.is_repairable) == ("refused", False)


@pytest.mark.parametrize("damage", [later, with_a_field_of_a_later_version])
def test_a_finished_run_whose_record_is_of_a_later_version_is_refused_and_never_touched(damaged, damage):
    store = damaged("done", "run.json", damage)
    said = everything_else(store)
    assert said
    assert all("read it with the version that wrote it" in sentence for sentence in said)
    (finding,) = check_sweep(store, "s")
    assert (finding.kind, finding.is_repairable) == ("refused", False)
    before = store.folder("s", ONE.run_id).files.read(f"{store.folder('s', ONE.run_id).path}/run.json")
    with pytest.raises(DamagedRun):
        store.is_done("s", ONE.run_id)
    with pytest.raises(DamagedRun):
        store.clean_finished("s", ONE.run_id)
    store_after = store.folder("s", ONE.run_id)
    assert store_after.files.read(f"{store_after.path}/run.json") == before


def test_a_folder_that_is_no_run_is_named_and_does_no_harm(trained, tmp_path):
    shutil.copytree(trained / "done", tmp_path / "store")
    sweep = tmp_path / "store" / "sweep=s"
    shutil.copytree(sweep / f"run={ONE.run_id}", sweep / f"run={ONE.run_id} (copy)")
    store = RunStore(tmp_path / "store")
    assert any("(copy) has no name of a run" in sentence for sentence in everything_else(store))
    (finding,) = check_sweep(store, "s")
    assert (finding.kind, finding.is_repairable) == ("refused", False)
    assert to_do([ONE, OTHER], store, "s") == ([], [])


@pytest.mark.parametrize("damage", [emptied, truncated])
def test_a_damaged_spec_stops_nothing_but_what_needs_it(trained, tmp_path, damage):
    shutil.copytree(trained / "done", tmp_path / "store")
    damage(tmp_path / "store" / "sweep=s" / "spec.json")
    store = RunStore(tmp_path / "store")
    assert load_curves(store.location).run_ids
    assert [status.status for status in SweepReader(store, "s").read()] == ["done", "done"]
    (finding,) = check_sweep(store, "s")
    assert "spec.json is damaged" in finding.problem
    with pytest.raises(InputError, match=r"spec\.json is damaged"):
        store.read_spec("s")


def test_parts_alone_tell_which_of_them_count():
    def part(index: int, attempt: int) -> str:
        return f"part-{index:06d}.{attempt:06d}-0123abcd.parquet"

    def counted(*names: str) -> list[tuple[int, int]]:
        return [(int(each[:6]), int(each[7:13])) for each in segments_of_parts(names)]

    assert counted() == []
    assert counted(part(0, 1), part(1, 1), part(2, 1)) == [(0, 1), (1, 1), (2, 1)]
    # The second attempt went on after the first segment; what the first wrote later does not count.
    assert counted(part(0, 1), part(1, 1), part(2, 1), part(1, 2)) == [(0, 1), (1, 2)]
    assert counted(part(0, 1), part(2, 1)) == [(0, 1)]
    assert segments_of_parts(["part-000000.parquet", part(1, 3)]) == ("000000", "000001.000003-0123abcd")


def test_the_command_line_says_what_it_leaves_out_and_repairs_it(damaged, rlscale, tmp_path):
    store = damaged("done", "curve.parquet", truncated)
    config = tmp_path / "one.yaml"
    config.write_text(json.dumps({**SPEC["base"], "seed": 0}))
    for command in (
        ("curves", "show", store.location),
        ("curves", "export", store.location, "--out", tmp_path / "x.parquet"),
    ):
        shown = rlscale(*command)
        assert shown.returncode == 0, shown.stderr
        assert f"run {ONE.run_id} is left out" in shown.stderr
    checked = rlscale("sweep", "check", store.location, "--json", tmp_path / "check.json")
    assert checked.returncode == 1
    assert [each["kind"] for each in json.loads((tmp_path / "check.json").read_text())["findings"]] == [
        "damaged"
    ]
    again = rlscale("train", config, "--store", store.location, "--sweep", "s")
    assert again.returncode == 0, again.stderr
    assert "curve.parquet is not a readable Parquet file" in again.stderr
    assert "is done." in again.stdout
    assert rlscale("sweep", "check", store.location, "--repair").returncode == 0
