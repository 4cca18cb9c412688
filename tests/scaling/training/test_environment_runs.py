"""Whole runs in gymnasium's environments: they learn, and go on from where they were saved."""

import pytest

from rlscale.scaling.config.run import run_config
from rlscale.scaling.costs.measure import measure
from rlscale.scaling.modules import name_modules
from rlscale.scaling.training.facts import provenance, run_columns
from rlscale.scaling.training.run import Run

PPO = {
    "algorithm": "ppo",
    "horizon": 199,
    "gae_lambda": 0.95,
    "num_envs": 8,
    "rollout_steps": 64,
    "minibatches": 4,
    "epochs_policy": 4,
    "epochs_value": 4,
    "learning_rate": 2e-3,
    "entropy_coef": 0.0,
}
QUICK = {"horizon": 9, "num_envs": 8, "rollout_steps": 16, "minibatches": 2, "learning_rate": 3e-3}
SHUFFLED = {
    **QUICK,
    "algorithm": "ppo",
    "minibatch_of": "steps",
    "normalize_advantage_of": "minibatch",
    "max_grad_norm": 0.5,
}
HOPPER = SHUFFLED | {"normalize_observation": "running", "normalize_reward": True}
PHASES = {"policy_iterations": 2, "auxiliary_epochs": 2, "sequences": 4}
NORMAL = QUICK | {"policy": "normal"}


@pytest.fixture(autouse=True, scope="module")
def _own_code():
    name_modules(["own_code"])


def config_of(task, agent=QUICK, **others):
    return run_config({"task": task, "interactions": 10**6, "agent": agent, **others}, source="test")


def last_row(config, iterations):
    """The row of the last of so many iterations."""
    run = Run(config)
    for _ in range(iterations):
        run.close_row()
        run.iterate()
    return run.close_row()


def test_cartpole_is_learned():
    run = Run(config_of("gymnasium:CartPole-v1", PPO))
    while run.interactions < 16_384:
        run.iterate()
        if run.interactions == 8192:
            early = run.close_row()["return_mean"]
    assert early < 120
    assert run.close_row()["return_mean"] > 150


@pytest.mark.parametrize(
    ("task", "agent", "iterations", "worst"),
    [
        # By chance 12.5, at best 20.
        ("own_code:Sums", {"algorithm": "ppo-ewma"}, 25, 17.0),
        ("own_code:Sums", {"algorithm": "ppg-ewma", "phasic": PHASES}, 24, 17.0),
        # By chance -17, at best 0.
        ("own_code:Push", {"algorithm": "ppg", "phasic": PHASES, "normalize_reward": True}, 20, -2.0),
        ("own_code:Push", {"algorithm": "ppo-ewma", "architecture": "shared"}, 20, -2.0),
        # By chance 2.5, at best 5.
        ("own_code:Pictures", {"algorithm": "ppo", "learning_rate": 1e-3}, 12, 4.5),
    ],
)
def test_every_kind_of_action_and_observation_is_learned(task, agent, iterations, worst):
    model = {"family": "nature-cnn", "width": 0.25} if "Pictures" in task else {}
    config = config_of(task, QUICK | {"entropy_coef": 0.0} | agent, model=model)
    assert last_row(config, iterations)["return_mean"] > worst


def test_a_family_of_ones_own_is_learned_with_and_has_its_sizes():
    config = config_of("own_code:Sums", QUICK | {"algorithm": "ppo"}, model={"family": "own_code:MyTrunk"})
    columns = run_columns(config)
    assert columns["family"] == "own_code:MyTrunk"
    assert columns["num_params"] == 2 * 32 + 32 + 32 * 5 + 5
    assert columns["flops_forward"] == 2 * (2 * 32 + 32 * 5)
    assert last_row(config, 25)["return_mean"] > 16


@pytest.mark.parametrize(
    ("agent", "model"),
    [
        ({"algorithm": "ppo"}, {"family": "mlp", "width": 0.25}),
        ({"algorithm": "ppo-ewma", "architecture": "shared"}, {"family": "own_code:MyTrunk"}),
        ({"algorithm": "ppg-ewma", "phasic": PHASES}, {"family": "mlp", "width": 0.25, "hidden_size": 32}),
    ],
)
def test_what_is_no_longer_shown_is_learned_with_memory(agent, model):
    """By chance 0.5, as every policy without memory, and at best 1."""
    agent = QUICK | {"entropy_coef": 0.0, "learning_rate": 1e-2, "num_envs": 16, "rollout_steps": 8} | agent
    config = config_of("own_code:Recall", agent, model=model | {"recurrent": "lstm"})
    assert last_row(config, 24)["return_mean"] > 0.9


def rows(run, iterations):
    found = []
    for _ in range(iterations):
        run.iterate()
        found.append({name: value for name, value in run.close_row().items() if name != "wall_seconds"})
    return found


@pytest.mark.parametrize(
    ("task", "agent", "model"),
    [
        ("gymnasium:CartPole-v1", PPO, {}),
        ("gymnasium:Pendulum-v1", PPO | {"normalize_reward": True}, {}),
        ("gymnasium:Pendulum-v1", NORMAL, {}),
        (
            "gymnasium:Pendulum-v1",
            NORMAL | {"algorithm": "ppg-ewma", "phasic": PHASES},
            {"recurrent": "lstm"},
        ),
        ("own_code:Remembers", QUICK | {"algorithm": "ppg-ewma", "phasic": PHASES}, {}),
        ("gymnasium:CartPole-v1", QUICK | {"rollout_steps": 7}, {"recurrent": "lstm"}),
        ("own_code:Recall", QUICK | {"rollout_steps": 7, "architecture": "shared"}, {"recurrent": "lstm"}),
    ],
)
def test_a_run_goes_on_bit_for_bit_where_the_state_is_known(task, agent, model):
    config = config_of(task, agent, model=model)
    assert provenance("cpu", config.task_entry)["resume"] == "exact"
    run = Run(config)
    rows(run, 4)
    saved = run.save()
    expected = rows(run, 4)
    again = Run(config)
    again.restore(saved)
    assert rows(again, 4) == expected


def test_a_run_goes_on_from_new_episodes_where_it_is_not():
    config = config_of("own_code:Base", QUICK | {"rollout_steps": 7})
    assert provenance("cpu", config.task_entry)["resume"] == "episode_boundary"
    run = Run(config)
    rows(run, 1)
    saved = run.save()
    one, other = Run(config), Run(config)
    for each in (one, other):
        each.restore(saved)
    assert (found := rows(one, 3)) == rows(other, 3)
    assert {row["return_mean"] for row in found} == {5.0}
    assert [row["episodes"] for row in found] == [8, 8, 16]  # after 7, 14 and 21 steps


@pytest.mark.parametrize(
    ("package", "values"),
    [
        (
            "mujoco",
            {"task": "gymnasium:Hopper-v4", "wrappers": {"time": True}, "agent": HOPPER | {"num_envs": 2}},
        ),
        (
            "ale_py",
            {
                "task": "gymnasium:ALE/Breakout-v5",
                "wrappers": {"atari": {"size": 40, "life_ends": True, "fire": True}},
                "model": {"width": 0.1},
                "agent": SHUFFLED | {"sign_reward": True, "architecture": "shared"},
            },
        ),
    ],
)
def test_mujoco_and_atari_train_and_go_on_in_new_episodes(package, values):
    pytest.importorskip(package)
    config = run_config({"interactions": 10**6, **values}, source="test")
    run = Run(config)
    rows(run, 2)
    saved = run.save()
    one, other = Run(config), Run(config)
    for each in (one, other):
        each.restore(saved)
    found = rows(one, 2)
    assert found == rows(other, 2)
    assert all(row["approx_kl"] > 0 for row in found)


def test_other_tasks_go_on_exactly():
    config = run_config({"task": "digits-bandit", "interactions": 1}, source="test")
    assert provenance("cpu", config.task_entry)["resume"] == "exact"


@pytest.mark.parametrize("task", ["gymnasium:CartPole-v1", "own_code:Pictures"])
def test_cost_is_measured_with_the_observations_own_bytes(task):
    config = config_of(task, QUICK, model={"width": 0.25})
    measured = measure(config, timed=True)
    one = {"gymnasium:CartPole-v1": 4 * 4, "own_code:Pictures": 3 * 40 * 36}[task]
    assert measured.memory.observations == 8 * 16 * one
    assert measured.seconds > 0
