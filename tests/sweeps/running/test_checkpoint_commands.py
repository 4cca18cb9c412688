"""``rlscale capacity`` and ``rlscale distill`` of a run that kept its checkpoints, as a user runs them."""

import json

import pytest
import yaml

from rlscale.scaling.config.run import run_config
from rlscale.sweeps.store.run_store import RunStore

RUN = {
    "task": "gymnasium:CartPole-v1",
    "interactions": 512,
    "checkpoints": 2,
    "model": {"width": 0.25},
    "agent": {"horizon": 19, "num_envs": 4, "rollout_steps": 64, "minibatches": 4},
}


@pytest.fixture(scope="module")
def kept(rlscale, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(RUN | {"keep_checkpoints": True}))
    done = rlscale("train", path, "--store", folder / "store")
    assert done.returncode == 0, done.stderr
    return folder / "store"


@pytest.mark.ray
def test_capacity_of_a_run_along_its_checkpoints_as_table_json_and_figure(rlscale, kept, tmp_path):
    options = ["--targets", 2, "--envs", 2, "--steps", 64, "--epochs", 2]
    written = ["--json", tmp_path / "c.json", "--figure", tmp_path / "c.pdf"]
    done = rlscale("capacity", kept, *options, *written)
    assert done.returncode == 0, done.stderr
    assert "Actor" in done.stdout
    assert "Critic" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    (run,) = json.loads((tmp_path / "c.json").read_text())["runs"]
    assert [point["interactions"] for point in run["points"]] == [0, 256, 512]
    assert all(
        0 < point[part]["interval"][0] <= point[part]["value"] <= point[part]["interval"][1]
        for point in run["points"]
        for part in ("actor", "critic")
    )
    assert run["curve_interactions"][-1] == 512
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")


def test_distilling_the_run_measures_teacher_and_students(rlscale, kept, tmp_path):
    (record,) = RunStore(kept).runs()
    options = ["--students", 2, "--observations", 256, "--epochs", 2, "--episodes", 5]
    done = rlscale("distill", kept, "--run", record.run_id[:6], *options, "--json", tmp_path / "d.json")
    assert done.returncode == 0, done.stderr
    assert "return, new seeds" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if not line.endswith(".")) <= 80
    value = json.loads((tmp_path / "d.json").read_text())
    measures = {each["name"]: each for each in value["measures"]}
    assert {"return_new", "divergence_mixed_0.5", "same_action_noise_0.1"} <= set(measures)
    assert len(value["losses"]) == 2
    assert measures["divergence_mixed_0.9"]["teacher"] < measures["divergence_mixed_0.5"]["teacher"]


def test_a_policy_with_memory_is_distilled(rlscale, tmp_path):
    path = tmp_path / "run.yaml"
    model = {"width": 0.25, "recurrent": "lstm"}
    path.write_text(yaml.safe_dump(RUN | {"keep_checkpoints": True, "model": model}))
    store = tmp_path / "store"
    assert rlscale("train", path, "--store", store).returncode == 0
    (record,) = RunStore(store).runs()
    options = ["--students", 2, "--observations", 512, "--epochs", 2, "--episodes", 5]
    done = rlscale("distill", store, "--run", record.run_id[:6], *options, "--json", tmp_path / "d.json")
    assert done.returncode == 0, done.stderr
    measures = {each["name"]: each for each in json.loads((tmp_path / "d.json").read_text())["measures"]}
    assert measures["divergence_mixed_0.9"]["teacher"] < measures["divergence_mixed_0.5"]["teacher"]


def test_runs_without_checkpoints_are_refused_with_the_remedy(rlscale, store, claim, rows_of):
    config = run_config(RUN, source="test")
    writer = claim(store, config.run_id, config=config.model_dump(mode="json"))
    writer.write_segment(0, rows_of(0, 3), b"state", interactions=300, wall_seconds=0.0)
    writer.finish()
    for command in (["capacity", store.location], ["distill", store.location, "--run", config.run_id[:5]]):
        done = rlscale(*command)
        assert done.returncode == 2
        assert "keep_checkpoints: true" in done.stderr
        assert "Traceback" not in done.stderr
