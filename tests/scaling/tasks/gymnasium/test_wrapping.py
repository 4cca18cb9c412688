"""Atari and MuJoCo as published settings have them: each wrapper against gymnasium's own, and resuming."""

import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from gym_environments import environments, refused, reloaded, steps

from rlscale.scaling.config.run import run_config
from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.catalog import Discrete, Images, Vectors, find_task
from rlscale.scaling.tasks.wrappers import Atari, Survival, Wrappers
from rlscale.scaling.training.facts import provenance

gymnasium = pytest.importorskip("gymnasium")
BREAKOUT, PONG, HOPPER = "gymnasium:ALE/Breakout-v5", "gymnasium:ALE/Pong-v5", "gymnasium:Hopper-v4"


def by_gymnasium(game, atari, seeds):
    """Gymnasium's own wrappers around the game, one environment for each seed."""
    ale_py = pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    gymnasium.register_envs(ale_py)
    made = []
    for seed in seeds:
        env = gymnasium.make(
            game.removeprefix("gymnasium:"), frameskip=1, repeat_action_probability=atari.sticky
        )
        env = gymnasium.wrappers.AtariPreprocessing(
            env, noop_max=atari.noops, frame_skip=atari.frame_skip, screen_size=atari.size
        )
        env = gymnasium.wrappers.FrameStackObservation(env, atari.stack)
        made.append((env, env.reset(seed=seed)[0]))
    return made


def seeds_of(count, seed=0):
    return [int(each) for each in np.random.SeedSequence((seed,)).generate_state(count) // 2]


@pytest.mark.parametrize("atari", [Atari(), Atari(frame_skip=3, sticky=0.0, noops=0, size=48, stack=2)])
def test_atari_shows_what_gymnasiums_wrappers_show(atari):
    theirs = by_gymnasium(PONG, atari, seeds_of(2))
    ours = environments(PONG, wrappers=Wrappers(atari=atari))
    assert find_task(PONG, Wrappers(atari=atari)).observations == Images(
        (atari.stack, atari.size, atari.size)
    )
    rng = np.random.default_rng(0)
    shown = [first for _, first in theirs]
    rewards = np.zeros(2)
    for _ in range(60):
        observed = ours.observe()
        np.testing.assert_array_equal(observed.observation, np.moveaxis(np.stack(shown), 1, -1))
        np.testing.assert_array_equal(observed.reward, rewards)
        actions = rng.integers(6, size=2)
        ours.act(actions)
        stepped = [env.step(action) for (env, _), action in zip(theirs, actions, strict=True)]
        shown, rewards = [each[0] for each in stepped], np.array([each[1] for each in stepped])


def test_the_game_gives_its_actions_or_all():
    pytest.importorskip("cv2")
    pytest.importorskip("ale_py")
    assert find_task(BREAKOUT, Wrappers(atari=Atari())).actions == Discrete(4)
    assert find_task(BREAKOUT, Wrappers(atari=Atari(all_actions=True))).actions == Discrete(18)


def test_fire_begins_an_episode_as_a_step_of_fire_after_a_reset_does():
    atari = Atari(sticky=0.0, fire=True)
    ((env, _),) = by_gymnasium(BREAKOUT, atari, seeds_of(1))
    expected = env.step(1)[0]
    shown = environments(BREAKOUT, 1, wrappers=Wrappers(atari=atari)).observe().observation[0]
    np.testing.assert_array_equal(shown[..., -1], expected[-1])
    assert (shown[..., 0] == shown[..., -1]).all()  # the stack begins with the episode


def test_a_lost_life_ends_what_is_learned_from_and_returns_are_of_whole_games():
    ((env, _),) = by_gymnasium(BREAKOUT, Atari(sticky=0.0, noops=0, fire=True), seeds_of(1))
    env.step(1)
    whole, split = (
        environments(
            BREAKOUT, 1, wrappers=Wrappers(atari=Atari(sticky=0.0, noops=0, fire=True, life_ends=ends))
        )
        for ends in (False, True)
    )
    rng = np.random.default_rng(3)
    total, before, losses, ended = 0.0, 5, 0, False
    while not ended:
        action = rng.choice(4, p=[0.1, 0.5, 0.2, 0.2])
        _, reward, ended, _, info = env.step(action)
        for each in (whole, split):
            each.act(np.array([action]))
        assert whole.observe().first.tolist() == [ended]
        assert split.observe().first.tolist() == [info["lives"] < before]
        assert split.observe().cut is None
        assert split.observe().reward.tolist() == [reward]
        losses += info["lives"] < before
        total, before = total + reward, info["lives"]
    assert losses == 5
    assert split.pop_episodes().returns.tolist() == whole.pop_episodes().returns.tolist() == [total]
    assert total > 0


@pytest.mark.parametrize(("points", "penalty"), [(0, 0.0), (2, 0.5)])
def test_an_episode_of_survival_ends_with_one_point_too_many(points, penalty):
    """The same game with and without: reward only at the end, when the game's own points say so."""
    pytest.importorskip("cv2")
    pytest.importorskip("ale_py")
    atari, rule = (
        Atari(frame_skip=8, sticky=0.0, noops=0),
        Survival(points=points, steps=10**6, penalty=penalty),
    )
    plain = environments(PONG, 1, wrappers=Wrappers(atari=atari))
    surviving = environments(PONG, 1, wrappers=Wrappers(atari=atari, survival=rule))
    rng, lost = np.random.default_rng(0), 0
    while lost <= points:
        action = rng.integers(6, size=1)
        for each in (plain, surviving):
            each.act(action)
        lost += float(plain.observe().reward[0]) < 0
        seen = surviving.observe()
        assert seen.reward[0] == (-penalty if lost > points else 0.0)
        assert seen.first[0] == (lost > points)
    episodes = surviving.pop_episodes()
    assert episodes.returns.tolist() == [-penalty]


def test_an_episode_of_survival_is_rewarded_once_after_its_steps():
    around = Wrappers(survival=Survival(points=0, steps=4))
    env = environments("gymnasium:CartPole-v1", 1, wrappers=around)
    rewards = []
    for step in range(8):
        env.act(np.array([step % 2]))
        rewards.append(float(env.observe().reward[0]))
    assert rewards == [0, 0, 0, 1, 0, 0, 0, 1]
    assert env.pop_episodes().lengths.tolist() == [4, 4]


def test_a_resumed_run_begins_new_games():
    pytest.importorskip("cv2")
    pytest.importorskip("ale_py")
    around = Wrappers(atari=Atari(life_ends=True))
    assert find_task(BREAKOUT, around).resume == "episode_boundary"
    env = environments(BREAKOUT, wrappers=around)
    steps(env, np.random.default_rng(0), 5)
    state = reloaded(env.get_state())
    one, other = (environments(BREAKOUT, wrappers=around) for _ in range(2))
    for each in (one, other):
        each.set_state(state)
        assert each.observe().first.all()
    np.testing.assert_array_equal(one.observe().observation, other.observe().observation)


def test_the_time_is_appended_and_kept():
    around = Wrappers(time=True)
    task = "gymnasium:CartPole-v1"
    assert find_task(task, around).observations == Vectors(5, num_unscaled=1)
    env, plain = environments(task, wrappers=around), environments(task)
    for step in range(8):
        shown = env.observe().observation
        np.testing.assert_array_equal(shown[:, :4], plain.observe().observation)
        np.testing.assert_allclose(shown[:, 4], step / 500, rtol=1e-6)
        for each in (env, plain):
            each.act(np.array([step % 2] * 2))
    assert find_task(task, around).resume == "exact"
    again = environments(task, seed=5, wrappers=around)
    again.set_state(reloaded(env.get_state()))
    for each in (env, again):
        each.act(np.zeros(2, int))
    np.testing.assert_array_equal(again.observe().observation, env.observe().observation)


def test_mujoco_is_a_task():
    pytest.importorskip("mujoco")
    entry = find_task(HOPPER, Wrappers(time=True))
    assert entry.observations == Vectors(12, num_unscaled=1)
    assert (entry.actions.low, entry.actions.high) == ((-1.0,) * 3, (1.0,) * 3)
    assert entry.resume == "episode_boundary"
    assert provenance("cpu", entry)["mujoco"] == metadata.version("mujoco")
    env = environments(HOPPER, wrappers=Wrappers(time=True))
    env.act(np.full((2, 3), 0.5, np.float32))
    assert env.observe().observation.shape == (2, 12)


@pytest.mark.parametrize(
    ("task", "around", "words"),
    [
        ("gymnasium:CartPole-v1", Wrappers(atari=Atari()), "CartPole-v1 is none"),
        ("digits-bandit", Wrappers(time=True), "leave them out for digits-bandit"),
        ("own_code:Pictures", Wrappers(time=True), "leave them out for own_code:Pictures"),
        ("gymnasium:Own/Endless-v0", Wrappers(time=True), "has none"),
    ],
)
def test_wrappers_that_do_not_fit_are_refused(task, around, words):
    from gymnasium.envs.classic_control import CartPoleEnv

    gymnasium.register("Own/Endless-v0", entry_point=CartPoleEnv)
    refused("wrapper_does_not_fit", lambda: find_task(task, around), words)


def test_a_config_with_a_wrapper_that_does_not_fit_names_the_field():
    with pytest.raises(InputError, match=r"'wrappers': wrappers\.atari is for Atari games") as caught:
        run_config(
            {"task": "gymnasium:CartPole-v1", "interactions": 10, "wrappers": {"atari": {}}}, source="test"
        )
    assert caught.value.code == "wrapper_does_not_fit"
    with pytest.raises(InputError, match=r"'wrappers\.atari'.*stack \(90\) must be below size"):
        run_config({"task": PONG, "interactions": 10, "wrappers": {"atari": {"stack": 90}}}, source="test")


WITHOUT = """
import sys
for name in ("ale_py", "mujoco"):
    sys.modules[name] = None  # as if it was not installed
from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.catalog import find_task
for task in ("gymnasium:ALE/Pong-v5", "gymnasium:Hopper-v4"):
    try:
        find_task(task)
    except InputError as error:
        print(error.code, error)
"""


def test_a_package_of_the_extra_that_is_not_installed_is_named_with_the_remedy():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    atari, mujoco = done.stdout.splitlines()
    for line, word in ((atari, "ale-py"), (mujoco, "MuJoCo")):
        assert line.startswith("missing_package ")
        assert word.lower() in line.lower()
        assert line.endswith(": pip install 'rlscale[control]'.")
