"""Any gymnasium environment as a task: spaces, ends, resuming, and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gym_environments import environments, refused, reloaded, steps

from rlscale.scaling.modules import name_modules
from rlscale.scaling.tasks.catalog import Continuous, Discrete, Images, MultiDiscrete, Vectors, find_task
from rlscale.scaling.tasks.registry import prepare_task

CARTPOLE = "gymnasium:CartPole-v1"


@pytest.fixture(autouse=True, scope="module")
def _own_code():
    name_modules(["own_code"])


def own(name):
    return f"own_code:{name}"


@pytest.mark.parametrize(
    ("task", "observations", "actions", "families"),
    [
        (CARTPOLE, Vectors(4), Discrete(2), ("mlp",)),
        ("gymnasium:Pendulum-v1", Vectors(3), Continuous((-2.0,), (2.0,)), ("mlp",)),
        ("gymnasium:Own/Counting-v4", Vectors(2), Discrete(2), ("mlp",)),
        (own("Sums"), Vectors(2), MultiDiscrete((3, 2)), ("mlp",)),
        (own("Push"), Vectors(2), Continuous((-2.0, 0.0), (1.0, 4.0)), ("mlp",)),
        (own("Pictures"), Images((3, 40, 36)), Discrete(2), ("nature-cnn", "impala")),
        (own("Stacked"), Images((4, 40, 36)), Discrete(2), ("nature-cnn", "impala")),
        (own("Gray"), Images((1, 16, 36)), Discrete(2), ("impala",)),
    ],
)
def test_a_task_has_the_spaces_of_its_environment(task, observations, actions, families):
    entry = find_task(task)
    assert (entry.name, entry.kind) == (task, "environment")
    assert (entry.observations, entry.actions, entry.families) == (observations, actions, families)


@pytest.mark.parametrize("name", ["Pictures", "Stacked", "Gray"])
def test_images_are_shown_with_their_channels_last(name):
    env = environments(own(name))
    channels, height, width = env.observation_shape
    shown = env.observe().observation
    assert (shown.shape, shown.dtype) == ((2, height, width, channels), np.uint8)
    side = int(shown[0, 0, -1, 0] == 255)
    assert (shown[0, :, 18 * side : 18 * (side + 1)] == 255).all()
    assert (shown[0, :, 18 * (1 - side) : 18 * (2 - side)] == 0).all()


def test_episodes_have_raw_returns_and_lengths_and_the_next_begins_in_the_same_step():
    env = environments(own("Sums"), num_envs=3)
    assert env.observe().first.all()
    for step in range(1, 12):
        env.act(np.array([[2, 1], [0, 0], [1, 0]]))
        observed = env.observe()
        assert observed.reward.tolist() == [4.0, 1.0, 2.0]  # the first choice counts from 1
        assert observed.first.tolist() == [step % 5 == 0] * 3
        assert observed.observation[:, 0].tolist() == [step % 5] * 3
        assert observed.cut is None
    episodes = env.pop_episodes()
    assert episodes.returns.tolist() == [20.0, 5.0, 10.0] * 2
    assert episodes.lengths.tolist() == [5] * 6
    assert episodes.completed.all()
    assert env.pop_episodes().returns.size == 0


def test_an_episode_that_a_time_limit_cuts_off_shows_its_last_observation():
    env = environments(own("Cut"))
    for _ in range(4):
        env.act(np.zeros(2, int))
        assert env.observe().cut is None
    before = env.observe().observation.copy()
    env.act(np.zeros(2, int))
    observed = env.observe()
    assert observed.first.all()
    assert observed.cut.where.tolist() == [0, 1]
    np.testing.assert_array_equal(observed.cut.observation, before + np.array([1, 0]))
    assert observed.observation[:, 0].tolist() == [0, 0]
    assert not env.pop_episodes().completed.any()


def test_gymnasiums_own_time_limit_is_told_apart():
    env = environments("gymnasium:Own/Counting-v4")
    for _ in range(3):
        env.act(np.zeros(2, int))
    assert env.observe().cut.observation[:, 0].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("name", "action", "reward"),
    [
        ("Shifted", np.array([0, 2]), [-1.0, 1.0]),
        ("Push", np.array([[-1.0, 3.0], [1.0, 4.0]], np.float32), [0.0, -5.0]),
    ],
)
def test_actions_reach_the_environment_in_its_own_space(name, action, reward):
    env = environments(own(name))
    env.act(action)
    assert env.observe().reward.tolist() == reward


def test_a_seed_decides_the_episodes_and_environments_differ():
    one, same, other = (environments(CARTPOLE, 3, seed).observe().observation for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert len(np.unique(np.concatenate([one, other]), axis=0)) == 6


@pytest.mark.parametrize(
    "task",
    [
        *(f"gymnasium:{name}" for name in ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")),
        *(f"gymnasium:{name}" for name in ("MountainCarContinuous-v0", "Pendulum-v1")),
        "own_code:Remembers",
    ],
)
@pytest.mark.parametrize("before", [0, 1, 7, 230])
def test_environments_whose_state_is_known_go_on_bit_for_bit(task, before):
    """230 steps reach beyond a time limit of 200."""
    assert find_task(task).resume == "exact"
    rng = np.random.default_rng(0)
    env = environments(task)
    steps(env, rng, before)
    state = reloaded(env.get_state())
    stream = rng.bit_generator.state
    expected, ended = steps(env, rng, 210), env.pop_episodes()
    again = environments(task, seed=99)
    again.set_state(state)
    rng.bit_generator.state = stream
    for one, other in zip(expected, steps(again, rng, 210), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    for name, values in vars(again.pop_episodes()).items():
        np.testing.assert_array_equal(values, getattr(ended, name))


@pytest.mark.parametrize("task", ["own_code:Base", "gymnasium:Own/Counting-v3"])
def test_other_environments_go_on_with_new_episodes_that_the_state_decides(task):
    assert find_task(task).resume == "episode_boundary"
    env = environments(task)
    begin = env.observe().observation.copy()
    steps(env, np.random.default_rng(0), 3)
    state = reloaded(env.get_state())
    one, other = environments(task), environments(task)
    for each in (one, other):
        each.set_state(state)
        assert each.observe().first.all()
    np.testing.assert_array_equal(one.observe().observation, other.observe().observation)
    assert (one.observe().observation[:, 1] != begin[:, 1]).all()
    steps(one, np.random.default_rng(0), 5)
    assert one.pop_episodes().returns.tolist() == [5.0, 5.0]  # no part of the episodes before


def test_a_state_of_another_task_is_refused():
    state = environments(CARTPOLE).get_state()
    with pytest.raises(ValueError, match="the state has task"):
        environments("gymnasium:Acrobot-v1").set_state(state)
    with pytest.raises(ValueError, match="the state has num_envs 2"):
        environments(CARTPOLE, num_envs=3).set_state(state)


@pytest.mark.parametrize(
    ("task", "code", "words"),
    [
        ("gymnasium:Cartpole-v1", "unknown_task", ["did you mean CartPole-v1"]),
        ("gymnasium:Zebra-v9", "unknown_task", ["add --import MODULE"]),
        (
            "gymnasium:own_code:Own/Counting-v3",
            "unknown_task",
            ["gymnasium:Own/Counting-v3", "--import own_code"],
        ),
        ("not_named:Class", "module_not_named", ["add --import not_named"]),
        ("os:system", "module_not_named", ["add --import os"]),
        ("own_code:a b", "invalid_name", ["module:Class"]),
        (own("Missing"), "not_such_a_class", ["gymnasium"]),
        (own("MyTrunk"), "not_such_a_class", ["gymnasium"]),
        (own("WithArguments"), "invalid_environment", ["size", "register"]),
        (own("Unbounded"), "unsupported_space", ["without bounds", "RescaleAction"]),
        (own("Binary"), "unsupported_space", ["MultiBinary"]),
        (own("Places"), "unsupported_space", ["Discrete", "FlattenObservation"]),
    ],
)
def test_a_task_that_cannot_be_used_is_refused_in_a_sentence(task, code, words):
    refused(code, lambda: find_task(task), *words)


def test_a_package_that_is_not_installed_is_named():
    import gymnasium

    gymnasium.register("Own/NotInstalled-v0", entry_point="no_such_package_at_all:Env")
    refused("missing_package", lambda: find_task("gymnasium:Own/NotInstalled-v0"), "no_such_package_at_all")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("OldContract", "expected 5, got 4"),
        ("OutOfItsSpace", "observation"),
        ("NotFinite", None),
        ("Breaks", None),
    ],
)
def test_the_contract_is_checked_before_a_run_and_in_the_checkers_words(name, words):
    if words is None:  # what shows only later than the checker looks is found while it steps
        prepare_task(own(name))
    else:
        refused("invalid_environment", lambda: prepare_task(own(name)), "breaks the contract", words)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("NotFinite", "not_finite", "an observation that is not finite, in environment 0 after 3 steps"),
        ("NoReward", "not_finite", "the reward nan in environment 0 at step 3"),
        ("Breaks", "environment_failed", "ZeroDivisionError: the wheel came off, own_code.py line"),
        ("RemembersBadly", "environment_failed", "int64"),
    ],
)
def test_an_environment_that_fails_while_it_steps_is_named(name, code, words):
    env = environments(own(name))

    def go():
        for _ in range(3):
            env.act(np.zeros(2, int))
        env.get_state()

    refused(code, go, words)


def test_the_catalogue_reads_names_with_a_colon_without_gymnasium_until_it_needs_a_space():
    code = (
        "import sys; from rlscale.scaling.tasks.catalog import return_bounds; "
        "return_bounds('evil:Env'); return_bounds('gymnasium:CartPole-v1'); "
        "print([m for m in ('torch', 'gymnasium', 'evil') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_measured_cartpole_without_velocities_is_cartpole_in_all_else():
    name_modules(["masked_cartpole"], Path(__file__).parents[4] / "data" / "cartpole_without_velocities")
    task = "masked_cartpole:CartPoleWithoutVelocities"
    prepare_task(task)
    assert find_task(task).resume == "exact"
    masked, whole = environments(task), environments(CARTPOLE)
    rng = np.random.default_rng(0)
    for step in range(1, 651):
        shown = whole.observe().observation
        balancing = shown @ [0.05, 0.1, 1.0, 1.0] > 0
        # By chance up to the first ends, then up to the time limit.
        actions = rng.integers(2, size=2) if step <= 100 else balancing.astype(int)
        for env in (masked, whole):
            env.act(actions)
        one, other = masked.observe(), whole.observe()
        np.testing.assert_array_equal(one.observation, other.observation[:, [0, 2]])
        np.testing.assert_array_equal(one.first, other.first)
        assert (one.cut is None) == (other.cut is None)
        if one.cut is not None:
            np.testing.assert_array_equal(one.cut.observation, other.cut.observation[:, [0, 2]])
    assert masked.pop_episodes().lengths.max() == 500
