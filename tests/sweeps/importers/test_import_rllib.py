"""Trial folders of Ray Tune and RLlib: the last attempt counts, in environment steps."""

import csv
import json

import pytest

from rlscale.scaling.errors import InputError
from rlscale.sweeps.store.run_store import RunStore

TRIAL = "PPO_CartPole-v1_29116_00000_0_lr=0.0003,seed=3_2026-01-01_12-00-00"
STEPS, RETURN = "num_env_steps_sampled_lifetime", "env_runners/episode_return_mean"


def result(iteration, value, **changes):
    """One result of RLlib's current stack, flattened as the CSV logger does (an excerpt of its columns)."""
    return {
        "timers/training_iteration": 0.9,
        "env_runners/num_env_steps_sampled_lifetime": 4000.0 * iteration,
        "env_runners/episode_len_mean": 22.5,
        "env_runners/episode_return_max": 99.0,
        RETURN: value,
        "env_runners/num_episodes": 170,
        "learners/default_policy/entropy": 0.68,
        "learners/__all_modules__/num_env_steps_trained_lifetime": 4000 * iteration,
        STEPS: 4000 * iteration,
        "fault_tolerance/num_healthy_workers": 2,
        "done": False,
        "training_iteration": iteration,
        "trial_id": "29116_00000",
        "date": "2026-01-01_12-00-10",
        "time_this_iter_s": 10.5,
        "time_total_s": 10.5 * iteration,
        "hostname": "node",
        "perf/cpu_util_percent": 40.0,
        "learner_connector/default_policy/config": "[1, 2, 3]",
    } | changes


def log(folder, *attempts, params=None):
    """Attempts at a trial as the CSV logger appends them: the header once."""
    folder.mkdir(parents=True, exist_ok=True)
    for results in attempts:
        path = folder / "progress.csv"
        begun = path.exists()
        with path.open("at", newline="") as file:
            writer = csv.DictWriter(file, results[0].keys())
            if not begun:
                writer.writeheader()
            writer.writerows(results)
    if params is not None:
        (folder / "params.json").write_text(json.dumps(params))
    return folder


@pytest.fixture
def trials(tmp_path):
    return tmp_path / "PPO_2026-01-01"


def test_a_trial_is_a_run_with_the_columns_that_its_parameters_give(imported, trials, sizes, tmp_path):
    params = {"lr": 0.0003, "seed": 3, "env": "CartPole-v1", "gamma": 0.99, "model": {"fcnet_hiddens": [64]}}
    log(trials / TRIAL, [result(1, 20.0), result(2, 40.5)], params=params)
    (trials / "basic-variant-state.json").write_text("{}")
    (trials / TRIAL / "events.out.tfevents.1").write_bytes(b"")
    done = imported(trials, sizes=sizes(f"'{TRIAL}': 4.5k"))
    assert done.format == "rllib"
    assert any("what is also there: tensorboard" in note for note in done.notes)
    (run,) = done.runs
    assert run.name == TRIAL
    assert run.columns == {"num_params": 4500, "learning_rate": 0.0003, "seed": 3, "task": "CartPole-v1"}
    table = RunStore(tmp_path / "store").read_curve("imported", run.run_id)
    assert table["interactions"].to_pylist() == [4000, 8000]
    assert table["return_mean"].to_pylist() == [20.0, 40.5]
    assert table["episode_length_mean"].to_pylist() == [22.5, 22.5]
    assert table["wall_seconds"].to_pylist() == [10.5, 21.0]


def test_sizes_and_seeds_can_be_read_off_the_trials_name(imported, trials):
    log(trials / "PPO_width=64_params=1.5M,seed=3_x", [result(1, 20.0)])
    pattern = r"params=(?P<num_params>[\d.]+[kMB]?),seed=(?P<seed>\d+)"
    (run,) = imported(trials, size_pattern=pattern).runs
    assert run.columns == {"num_params": 1_500_000, "seed": 3}


def test_iterations_done_again_after_a_retry_count_once_the_last_attempts(imported, curve, trials, sizes):
    first = [result(i, float(i)) for i in (1, 2, 3, 4)]
    second = [result(i, 10.0 * i) for i in (3, 4, 5)]  # from the checkpoint of iteration 2
    third = [result(i, 100.0 * i) for i in (5, 6)]
    log(trials / "trial", first, second, third)
    done = imported(trials, sizes=sizes("trial: 100"))
    assert curve("trial") == ([4000, 8000, 12000, 16000, 20000, 24000], [1.0, 2.0, 30.0, 40.0, 500.0, 600.0])
    assert any(
        "3 rows of 1 run left out: a later attempt logged the same steps" in note for note in done.notes
    )


def test_a_retry_from_the_start_replaces_what_was_logged(imported, curve, trials, sizes):
    log(trials / "trial", [result(i, float(i)) for i in (1, 2, 3)], [result(i, 10.0 * i) for i in (1, 2)])
    imported(trials, sizes=sizes("trial: 100"))
    assert curve("trial") == ([4000, 8000], [10.0, 20.0])


def test_a_retry_that_logs_other_columns_is_refused_with_its_row(imported, trials):
    log(trials / "trial", [result(1, 1.0)], [result(2, 2.0, extra=1)])
    with pytest.raises(InputError, match=r"progress\.csv, row 2: 20 values for 19 columns"):
        imported(trials)


def test_before_the_first_episode_ends_there_is_no_return(imported, curve, trials, sizes):
    log(trials / "trial", [result(1, "nan"), result(2, ""), result(3, 7.0)])
    imported(trials, sizes=sizes("trial: 100"))
    assert curve("trial") == ([4000, 12000], [None, 7.0])


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        ("timesteps_total", "episode_reward_mean"),
        ("num_env_steps_sampled", "env_runners/episode_reward_mean"),
        ("timesteps_total", RETURN),
    ],
)
def test_older_names_are_known(imported, curve, trials, sizes, steps, value):
    rows = [{"training_iteration": i, "trial_id": "x", steps: 1000 * i, value: float(i)} for i in (1, 2)]
    log(trials / "trial", rows)
    imported(trials, sizes=sizes("trial: 100"))
    assert curve("trial") == ([1000, 2000], [1.0, 2.0])


def test_a_column_of_that_name_that_is_empty_gives_way_to_the_next(imported, curve, trials, sizes):
    """The newer stack leaves ``timesteps_total`` empty, the older one the lifetime counter."""
    rows = [
        {"training_iteration": i, STEPS: "", "timesteps_total": 1000 * i, RETURN: float(i)} for i in (1, 2)
    ]
    log(trials / "trial", rows)
    imported(trials, sizes=sizes("trial: 100"))
    assert curve("trial") == ([1000, 2000], [1.0, 2.0])


def test_trials_without_results_are_skipped_with_the_reason(imported, trials, sizes):
    log(trials / "good", [result(1, 1.0)])
    log(trials / "silent", [{k: v for k, v in result(1, 1.0).items() if k != RETURN}])
    (trials / "dead").mkdir()
    (trials / "dead" / "progress.csv").write_bytes(b"")
    done = imported(trials, sizes=sizes("'*': 100"))
    reasons = {run.name: run.reason for run in done.skipped}
    assert reasons["dead"] == "it has no rows"
    assert "nothing in env_runners/episode_return_mean or" in reasons["silent"]


@pytest.mark.parametrize(
    "params",
    [
        "{",
        "[]",
        '{"seed": null, "lr": [[0, 1]], "env": "<class \'x\'>"}',
        '{"seed": 0.5, "lr": NaN, "env": 3}',
        "\xff",
    ],
)
def test_parameters_that_are_not_plain_values_are_left_alone(imported, trials, sizes, params):
    folder = log(trials / "trial", [result(1, 1.0)])
    (folder / "params.json").write_text(params, encoding="latin-1")
    (run,) = imported(trials, sizes=sizes("trial: 100")).runs
    assert run.columns == {"num_params": 100}


def test_what_the_mapping_says_counts_more_than_the_parameters(imported, trials, sizes):
    log(trials / "trial", [result(1, 1.0)], params={"seed": 3, "env": "CartPole-v1"})
    (run,) = imported(trials, sizes=sizes("trial: {num_params: 100, seed: 4, task: cartpole}")).runs
    assert run.columns == {"num_params": 100, "seed": 4, "task": "cartpole"}


def test_an_unfinished_last_line_is_left_out(imported, curve, trials, sizes):
    folder = log(trials / "trial", [result(1, 1.0), result(2, 2.0)])
    path = folder / "progress.csv"
    path.write_bytes(path.read_bytes()[:-20])
    imported(folder / "progress.csv", sizes=sizes("trial: 100"))
    assert curve("trial") == ([4000], [1.0])
