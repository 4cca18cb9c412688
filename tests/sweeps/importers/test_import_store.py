"""What importing does to a store: it stores whole runs, repeats nothing and never touches a trained run."""

import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.detect import find_format
from rlscale.sweeps.importers.importing import store_id
from rlscale.sweeps.store.run_store import RunStore, check_name


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@contextmanager
def files_of_at_most(size: int):
    """Writes beyond ``size`` bytes fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_same_again_changes_nothing(imported, tidy, tmp_path):
    assert {run.outcome for run in imported(tidy()).runs} == {"imported"}
    before = contents(tmp_path / "store")
    again = imported(tidy())
    assert {run.outcome for run in again.runs} == {"already there"}
    assert "3 runs (3 already there) of 3 sizes with 6 rows, in the sweep imported." in again.summary
    moved = tidy("elsewhere.parquet")  # another file, the same curves
    assert {run.outcome for run in imported(moved).runs} == {"already there"}
    assert contents(tmp_path / "store") == before


def test_more_runs_of_the_same_source_are_added(imported, tidy):
    imported(tidy(return_mean=[0.1, 0.2, 0.3, 0.2, 0.3, None]))
    result = imported(tidy())
    assert [run.outcome for run in result.runs] == ["already there", "already there", "imported"]


CHANGES = {
    "another return": {"return_mean": [0.1, 0.2, 0.3, 0.2, 0.3, 0.5]},
    "another step": {"interactions": [10, 20, 30, 10, 20, 11]},
    "another size": {"num_params": [100, 100, 100, 200, 200, 401]},
    "another run column": {"seed": [None] * 5 + [1]},
    "another curve column": {"entropy": [None] * 5 + [1]},
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_another_curve_of_the_same_run_is_refused_unless_it_is_to_replace_it(
    imported, tidy, tmp_path, changed
):
    imported(tidy())
    before = contents(tmp_path / "store")
    with pytest.raises(InputError, match=r"Run c of the sweep imported is in .* already with another curve"):
        imported(tidy(**changed))
    assert contents(tmp_path / "store") == before
    result = imported(tidy(**changed), replace=True)
    assert [run.outcome for run in result.runs] == ["already there", "already there", "replaced"]
    assert [run.outcome for run in imported(tidy(**changed)).runs] == ["already there"] * 3


def test_a_run_that_was_trained_is_never_replaced(imported, tidy, claim, rows_of, tmp_path):
    store = RunStore(tmp_path / "store", create=True)
    claim(store, "b", sweep="imported").write_segment(
        0, rows_of(0, 3), b"", interactions=300, wall_seconds=1.0
    )
    before = contents(tmp_path / "store")
    for replace in (False, True):
        with pytest.raises(
            InputError, match=r"Run b .* was trained, not imported; import under another --sweep"
        ):
            imported(tidy(), replace=replace)
    assert contents(tmp_path / "store") == before
    assert len(imported(tidy(), sweep="theirs").runs) == 3


def test_a_disk_that_fills_up_leaves_whole_runs_and_the_rest_comes_with_the_next_import(
    imported, tidy, tmp_path
):
    with files_of_at_most(200), pytest.raises(InputError, match=r"Run a cannot be written .* import again"):
        imported(tidy())
    assert list(RunStore(tmp_path / "store").runs()) == []
    assert not any(".tmp-" in name for name in contents(tmp_path / "store"))
    assert {run.outcome for run in imported(tidy()).runs} == {"imported"}


def test_a_run_is_known_by_its_curve_alone_and_a_curve_that_is_cut_is_replaced(imported, tidy, tmp_path):
    """As after a death between the two files."""
    imported(tidy())
    (tmp_path / "store/sweep=imported/run=b/run.json").unlink()
    (tmp_path / "store/sweep=imported/run=c/curve.parquet").write_bytes(b"half")
    with pytest.raises(InputError, match=r"Run c .* --replace"):
        imported(tidy())
    result = imported(tidy(), replace=True)
    assert [run.outcome for run in result.runs] == ["already there", "already there", "replaced"]


def test_names_that_the_store_cannot_take_are_distinguished(imported, tidy):
    names = ["a/b"] * 3 + ["a b"] * 2 + ["../../etc/passwd"]
    result = imported(tidy(run_id=names))
    ids = [run.run_id for run in result.runs]
    assert [run.name for run in result.runs] == ["a/b", "a b", "../../etc/passwd"]
    assert len(set(ids)) == 3
    assert [name.rpartition("-")[0] for name in ids] == ["a-b", "a-b", "etc-passwd"]


@settings(deadline=None)
@given(st.text())
def test_every_name_gets_an_id_that_the_store_takes_and_the_same_each_time(name):
    run_id = store_id(name)
    assert check_name(run_id, "run_id") == run_id == store_id(name)


@settings(deadline=None)
@given(st.sets(st.text(alphabet="ab/ -.", min_size=1), min_size=2))
def test_different_names_get_different_ids(names):
    assert len({store_id(name) for name in names}) == len(names)


def test_a_folder_whose_name_is_not_text_is_a_run_all_the_same(imported, tmp_path, sizes):
    folder = os.fsencode(tmp_path / "logs") + b"/run-\xff"
    os.makedirs(folder)
    with open(folder + b"/progress.csv", "w") as file:
        file.write("training_iteration,timesteps_total,episode_reward_mean\n1,10,1.5\n")
    (run,) = imported(tmp_path / "logs", sizes=sizes("'run-*': 5")).runs
    assert RunStore(tmp_path / "store").read_run("imported", run.run_id).config["name"] == "run-?"


def test_two_names_with_one_id_are_refused(imported, tidy):
    names = ["a/b"] * 3 + [store_id("a/b")] * 2 + ["c"]
    with pytest.raises(InputError, match=r"Runs 'a/b' and 'a-b-.*' would be one in the sweep imported"):
        imported(tidy(run_id=names))


def test_the_result_says_what_became_of_each_run_and_is_json(imported, tidy, tmp_path):
    result = imported(tidy(return_mean=[0.1, 0.2, 0.3, None, None, 0.4], note="x"), task="t")
    value = json.loads(json.dumps(result.as_json()))
    assert set(value) == {"source", "store", "format", "runs", "skipped", "notes"}
    assert value["format"] == "csv"
    assert value["store"] == str(tmp_path / "store")
    assert value["runs"][1] == {
        "name": "c",
        "sweep": "imported",
        "run_id": "c",
        "columns": {"num_params": 400, "task": "t"},
        "rows": 1,
        "interactions": 10,
        "outcome": "imported",
        "still_trained": False,
    }
    assert value["skipped"] == [{"name": "b", "reason": "no row has a return"}]


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_is_not_positive_is_refused(imported, tidy, scale):
    with pytest.raises(InputError, match=r"--steps-scale .*: give a positive number"):
        imported(tidy(), steps_scale=scale)


def test_a_sweep_that_is_a_path_is_refused(imported, tidy, tmp_path):
    with pytest.raises(InputError, match=r"'\.\./x' cannot be a sweep"):
        imported(tidy(), sweep="../x")
    assert not (tmp_path / "store").exists()


def test_messages_are_one_line_whatever_the_names(imported, tidy):
    with pytest.raises(InputError) as caught:
        imported(tidy(run_id=["a\n\x1b[31mb"] * 3 + ["b"] * 3, num_params=0))
    assert str(caught.value).isprintable()
    result = imported(tidy(**{"extra\n\x1b[31m": 1}))
    assert all(note.isprintable() for note in result.notes)


# -- finding the format ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("curves.csv", "run_id,num_params,interactions,return_mean\n", "csv"),
        ("curves.txt", "a,b\n", "csv"),
        ("curves.csv", "run,global step,x - y\n", "csv"),
        ("curves.parquet", "", "parquet"),
        ("curves.dat", "PAR1...", "parquet"),
        ("export.csv", '"Step","a - x","a - x__MIN","a - x__MAX"\n', "wandb"),
        ("export.csv", "\ufeffglobal_step,a - x\n", "wandb"),
        ("history.csv", "_step,x,run\n", "wandb"),
        ("progress.csv", "time/total_timesteps,rollout/ep_rew_mean\n", "sb3"),
        ("progress.csv", "training_iteration,trial_id\n", "rllib"),
        ("renamed.csv", '#{"t_start": 1}\nr,l,t\n', "sb3"),
        ("0.monitor.csv", "", "sb3"),
        ("events.out.tfevents.1.host", "", "tensorboard"),
    ],
)
def test_a_file_is_recognised_by_its_name_or_its_header(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)
    kind, note = find_format(tmp_path / name, None)
    assert kind == expected
    assert f"is read as {expected}" in note


def test_a_folder_is_recognised_by_the_files_in_it(tmp_path):
    with pytest.raises(InputError, match=r"holds no event files, monitor\.csv or progress\.csv"):
        find_format(tmp_path, None)
    run = tmp_path / "a" / "b"
    run.mkdir(parents=True)
    (run / "progress.csv").write_text("epoch,loss\n")
    with pytest.raises(InputError, match="holds no event files"):
        find_format(tmp_path, None)
    (run / "events.out.tfevents.1.host").write_bytes(b"")
    assert find_format(tmp_path, None)[0] == "tensorboard"
    (run / "monitor.csv").write_text("")
    assert find_format(tmp_path, None)[0] == "sb3"
    (run / "progress.csv").write_text("training_iteration\n")
    kind, note = find_format(tmp_path, None)
    assert kind == "rllib"
    assert "what is also there: sb3, tensorboard" in note
    assert find_format(tmp_path, "tensorboard")[0] == "tensorboard"


def test_unusable_sources_are_refused(imported, tidy, tmp_path):
    with pytest.raises(InputError, match=r"nowhere does not exist"):
        imported(tmp_path / "nowhere")
    with pytest.raises(InputError, match="x cannot be reached: File name too long"):
        imported("x" * 5000)
    with pytest.raises(InputError, match="--format npz: choose one of csv, parquet, jsonl, tensorboard"):
        imported(tidy(), format="npz")
    with pytest.raises(InputError, match="is a folder; --format wandb needs one file"):
        imported(tmp_path, format="wandb")
    with pytest.raises(InputError, match="--tag is for logs"):
        imported(tidy(), tag="x")
    with pytest.raises(InputError, match=r"holds no run with a curve \(none\)"):
        imported(tmp_path, format="rllib")
    imported(tidy())
    with pytest.raises(InputError, match="is a store already; give it to fit"):
        imported(tmp_path / "store")
