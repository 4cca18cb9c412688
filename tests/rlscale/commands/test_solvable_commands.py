"""Tasks that bring their own learner, as a user runs them: train, kill, resume, sweep, plan, fit."""

import json
import signal

import pytest
import yaml
from attempts import claim_run

from rlscale.scaling.config.run import load_run_config
from rlscale.scaling.training.train import train
from rlscale.sweeps.store.run_store import RunStore, rows_equal

CONFIG = {
    "task": "rl-perceptron",
    "interactions": 40_000,
    "perceptron": {"dimension": 30, "students": 4, "steps": 2},
}
SPEC = {
    "name": "perceptrons",
    "base": {
        "task": "rl-perceptron",
        "rows_per_decade": 20,
        "perceptron": {"students": 32, "steps": 2, "rho0": 0.1, "spherical": True}
        | {"schedule": {"rate": "optimal"}, "teacher": {"dimension": 200, "power": 0.5}},
    },
    "axes": [
        {"perceptron.dimension": [6, 12, 24, 48, 96], "interactions": [600, 800, 1200, 1800, 2600]},
        {"seed": [0, 1]},
    ],
}


def write(path, values):
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_killed_run_goes_on_bit_for_bit(start, rlscale, tmp_path):
    path = write(tmp_path / "config.yaml", CONFIG)
    config = load_run_config(path)
    store = RunStore(tmp_path / "whole", create=True)
    assert train(config, claim_run(store, config)) == "done"
    command = start("train", path, "--store", tmp_path / "store")
    command.until(lambda: list(tmp_path.glob("store/**/part-000001.*.parquet")), "a second checkpoint")
    command.kill()
    assert command.process.returncode == -signal.SIGKILL
    done = rlscale("train", path, "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    killed = RunStore(tmp_path / "store")
    (record,) = killed.runs("single")
    assert [attempt.outcome for attempt in record.attempts] == [None, "done"]
    assert record.attempts[1].from_interactions > 0
    assert rows_equal(killed.read_curve("single", config.run_id), store.read_curve("single", config.run_id))


@pytest.mark.ray
def test_a_sweep_on_ray_is_stored_and_fitted_as_any_other(rlscale, tmp_path):
    path = write(tmp_path / "spec.yaml", SPEC)
    planned = rlscale("sweep", "plan", path, "--json", tmp_path / "plan.json")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert [size["num_params"] for size in plan["sizes"]] == [6, 12, 24, 48, 96]
    assert plan["slot_seconds"] > 0
    done = rlscale("sweep", "run", path, "--store", tmp_path / "store")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "perceptrons: 10 done, 0 failed."
    store = RunStore(tmp_path / "store")
    for record in store.runs("perceptrons"):
        curve = store.read_curve("perceptrons", record.run_id)
        assert record.config["perceptron"]["dimension"] == record.columns["num_params"]
        assert "agent" not in record.config
        overlap = curve.column("perceptron_overlap").to_pylist()
        assert overlap[-1] > overlap[0]
    fitted = rlscale("fit", tmp_path / "store", "--bootstrap", "0", "--json", tmp_path / "fit.json")
    assert fitted.returncode == 0, fitted.stderr
    assert json.loads((tmp_path / "fit.json").read_text())["num_sizes"] == 5


def test_wrong_input_is_one_sentence(rlscale, tmp_path):
    wrong = write(tmp_path / "wrong.yaml", CONFIG | {"agent": {"horizon": 3}})
    done = rlscale("train", wrong, "--store", tmp_path / "store")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"rlscale: {wrong}: rl-perceptron brings its own learner, which perceptron sets: "
        "leave agent out, and the axes algorithm, horizon, learning_rate.\n"
    )
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "command",
    [("config", "rescale", "FILE", "--by", "2"), ("batch-search", "FILE", "--fork-interactions", "9")],
)
def test_commands_about_agents_refuse_such_tasks(rlscale, tmp_path, command):
    path = write(tmp_path / "config.yaml", CONFIG)
    done = rlscale(*(path if part == "FILE" else part for part in command))
    assert done.returncode == 2
    assert "rl-perceptron brings its own learner and has no agent" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_rate_of_such_a_task_is_not_tuned(rlscale, tmp_path):
    path = write(tmp_path / "spec.yaml", SPEC | {"tuning": {"learning_rate": [0.1, 0.2]}})
    done = rlscale("sweep", "tune", path, "--store", tmp_path / "store")
    assert done.returncode == 2
    assert "brings its own learner" in done.stderr
