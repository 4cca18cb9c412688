"""``in-context-td`` from the command line: train, sweep on Ray, show what was learned, refuse wrong input."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from command_line import run

from rlscale.sweeps.store.run_store import RunStore, rows_equal

CONFIG = {
    "task": "in-context-td",
    "interactions": 4000,
    "keep_checkpoints": True,
    "in_context": {"length": 10, "held_out": 8, "weights": "sequential"},
}


def write(path, values):
    path.write_text(yaml.safe_dump(values))
    return path


def with_section(**section):
    return {**CONFIG, "in_context": CONFIG["in_context"] | section}


@pytest.mark.ray
def test_a_sweep_over_layers_is_stored_fitted_and_shown(tmp_path):
    axes = {"in_context.layers": [1, 2, 3], "seed": [0, 1]}
    base = {**CONFIG, "interactions": 1500}
    spec = write(tmp_path / "spec.yaml", {"name": "layers", "base": base, "axes": axes})
    done = run("sweep", "run", spec, "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    exported = tmp_path / "curves.parquet"
    assert run("curves", "export", tmp_path / "store", "--out", exported).returncode == 0
    table = pq.read_table(exported).to_pandas()
    assert sorted(table["num_params"].unique()) == [162, 324, 486]
    assert (table["depth"] * 162 == table["num_params"]).all()
    assert set(table["family"]) == {"linear-attention-sequential"}
    assert set(table["return_high"]) == {1.0}
    assert (table["episodes"] == 8).all()
    assert (table["return_mean"] <= 1).all()
    assert np.isfinite(table["weight_similarity"]).all()
    written = ["--json", tmp_path / "learned.json", "--figure", tmp_path / "learned.png"]
    shown = run("theory", "learned", tmp_path / "store", "--lengths", "1,10", *written)
    assert shown.returncode == 0, shown.stderr
    assert "layers" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    value = json.loads((tmp_path / "learned.json").read_text())
    assert [each["differing"]["layers"] for each in value["settings"]] == ["1", "2", "3"]
    assert [np.array(each["Q"]).shape for each in value["settings"]] == [(n, 9, 9) for n in (1, 2, 3)]
    assert (tmp_path / "learned.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_run_has_learned_is_that_of_its_last_row(tmp_path):
    for seed in (0, 1):
        config = write(tmp_path / f"{seed}.yaml", {**CONFIG, "seed": seed})
        done = run("train", config, "--store", tmp_path / "store")
        assert done.returncode == 0, done.stderr
        assert "in-context-td, 486 parameters" in done.stdout
    shown = run("theory", "learned", tmp_path / "store", "--lengths", "10,3", "--json", tmp_path / "it.json")
    assert shown.returncode == 0, shown.stderr
    (setting,) = json.loads((tmp_path / "it.json").read_text())["settings"]
    store = RunStore(tmp_path / "store")
    ends = [store.read_curve(each.sweep, each.run_id)["return_mean"][-1].as_py() for each in store.runs()]
    assert setting["length"] == [3, 10]
    assert setting["error"]["mean"][1] == pytest.approx(1 - np.mean(ends))
    assert setting["final"]["return_mean"]["value"] == pytest.approx(np.mean(ends))
    again = run("train", tmp_path / "0.yaml", "--store", tmp_path / "other")
    assert again.returncode == 0
    other = RunStore(tmp_path / "other")
    (record,) = other.runs()
    repeated = store.read_curve(record.sweep, record.run_id)
    assert rows_equal(other.read_curve(record.sweep, record.run_id), repeated)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"length": 0}, "a context without transitions holds nothing to learn from"),
        ({"layers": 0}, "a transformer has 1 to 128 layers"),
        ({"process": "maze"}, "input should be 'boyan', 'loop' or 'cartpole'"),
        ({"features": 12}, "12 features do not fit 10 states"),
    ],
)
def test_wrong_runs_are_refused_in_a_sentence(tmp_path, section, words):
    done = run("train", write(tmp_path / "run.yaml", with_section(**section)), "--store", tmp_path / "store")
    assert done.returncode == 2
    assert words in done.stderr
    assert "run.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "has no run of in-context-td that is done and keeps checkpoints"),
        (["--lengths", "0,5"], "give whole numbers from 1 to 1000"),
        (["--lengths", "five"], "give whole numbers from 1 to 1000"),
        (["--figure", "it.doc"], ".png, .pdf, .svg"),
    ],
)
def test_wrong_requests_are_refused_in_a_sentence(tmp_path, options, words):
    RunStore(tmp_path, create=True)
    done = run("theory", "learned", tmp_path, *options)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
