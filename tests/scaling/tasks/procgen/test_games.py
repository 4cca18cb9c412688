"""Procgen: names, stepping, exact resume, records of episodes, gymnasium, evaluation."""

import io
import itertools
import re
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.catalog import TASKS
from rlscale.scaling.tasks.procgen.games import ProcgenEnv
from rlscale.scaling.tasks.procgen.names import GAMES, LEVEL_LIMIT, MODES, ProcgenTask, all_tasks, parse_task
from rlscale.scaling.tasks.procgen.private import import_procgen
from rlscale.scaling.tasks.registry import register_envs

COINRUN = ProcgenTask("coinrun", "easy")
FRUITBOT = ProcgenTask("fruitbot", "hard")  # short episodes: some forty in 400 steps of 4


def make(task=FRUITBOT, num_envs=4, seed=0, num_threads=0, **levels):
    return ProcgenEnv(task=task, num_envs=num_envs, seed=seed, num_threads=num_threads, **levels)


def random_actions(steps, num_envs=4, seed=0):
    return np.random.default_rng(seed).integers(0, 15, (steps, num_envs))


def played(env, actions):
    """Everything that the steps show, stacked: observations, rewards, first flags."""
    shown = []
    for action in actions:
        env.act(action)
        observed = env.observe()
        shown.append((observed.observation.copy(), observed.reward, observed.first))
    return [np.stack(part) for part in zip(*shown, strict=True)]


def assert_same_episodes(ours, theirs):
    for name, values in vars(ours).items():
        np.testing.assert_array_equal(values, getattr(theirs, name), err_msg=name)


class TestNames:
    def test_every_name_is_read_back(self):
        assert len(all_tasks()) == 46
        for task in all_tasks():
            assert task.name == f"procgen-{task.game}-{task.mode}"
            assert parse_task(task.name) == task

    def test_games_and_exploration_are_those_of_the_package(self):
        package = import_procgen().env
        assert list(GAMES) == package.ENV_NAMES
        assert set(MODES["exploration"]) == set(package.EXPLORATION_LEVEL_SEEDS)

    def test_games_with_memory_are_those_that_the_library_itself_names(self):
        """For any other game the library ends the process and names the games that have the mode memory."""
        code = (
            "from rlscale.scaling.tasks.procgen.private import import_procgen\n"
            "import_procgen().ProcgenGym3Env(num=1, env_name='bigfish', distribution_mode='memory')"
        )
        refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert refused.returncode != 0
        said = refused.stdout + refused.stderr
        assert set(re.findall(r'name == "(\w+)"', said)) == set(MODES["memory"])

    @pytest.mark.parametrize("task", [task for task in all_tasks() if task.mode in ("memory", "exploration")])
    def test_the_library_plays_every_special_mode(self, task):
        env = make(task, num_envs=1)
        env.act(np.array([0]))
        assert env.observe().observation.any()
        env.close()

    def test_an_unknown_game_is_refused_naming_the_games(self):
        with pytest.raises(InputError, match=r"no game 'doom'.*bigfish.*starpilot"):
            parse_task("procgen-doom-easy")

    @pytest.mark.parametrize(
        ("name", "modes"),
        [
            ("procgen-coinrun-memory", "easy, hard, exploration"),
            ("procgen-miner-exploration", "easy, hard, memory"),
            ("procgen-starpilot-extreme", "easy, hard"),
            ("procgen-maze-", "easy, hard, memory, exploration"),
        ],
    )
    def test_a_mode_that_the_game_lacks_is_refused_naming_its_modes(self, name, modes):
        with pytest.raises(InputError, match=f"choose one of {modes}\\.$"):
            parse_task(name)

    @pytest.mark.parametrize("name", ["procgen-coinrun", "procgen-", "coinrun-easy", "mnist-bandit", ""])
    def test_another_form_is_refused_with_an_example(self, name):
        with pytest.raises(InputError, match="procgen-<game>-<mode>"):
            parse_task(name)

    def test_names_need_neither_torch_nor_procgen(self):
        code = (
            "import sys; import rlscale.scaling.tasks.procgen.names\n"
            "assert not {'torch', 'procgen', 'gym', 'gymnasium', 'numpy'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestWrongInput:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"num_levels": 0}, "num_levels is 0.*leave it out"),
            ({"num_levels": -3}, "num_levels is -3"),
            ({"num_levels": 5, "start_level": -1}, "start_level is -1"),
            ({"start_level": 7}, "start_level is 7.*give num_levels too"),
            ({"num_levels": LEVEL_LIMIT, "start_level": 1}, "levels end at 2,147,483,647"),
            ({"num_envs": 0}, "num_envs is 0"),
            ({"num_threads": -1}, "num_threads is -1"),
            ({"seed": -1}, "seed is -1"),
            ({"seed": 2**31}, "seed is 2147483648"),
            ({"task": ProcgenTask("maze", "exploration"), "num_levels": 5}, "one fixed level"),
        ],
    )
    def test_is_reported_in_a_sentence(self, arguments, told):
        with pytest.raises(InputError, match=told):
            make(**arguments)

    @pytest.mark.parametrize("failure", [ImportError("no such module"), OSError("wrong ELF class")])
    def test_procgen_that_cannot_be_imported_is_reported_with_the_remedy(self, failure, monkeypatch):
        class Broken:
            def find_spec(self, name, path=None, target=None):
                if name == "procgen":
                    raise failure

        monkeypatch.delitem(sys.modules, "procgen", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
        with pytest.raises(InputError, match=rf"{failure}.*rlscale\[train\].*no wheels for Python 3.13"):
            make()

    def test_making_and_stepping_prints_nothing(self):
        code = (
            "import numpy as np\n"
            "from rlscale.scaling.tasks.procgen.games import ProcgenEnv\n"
            "from rlscale.scaling.tasks.procgen.names import ProcgenTask\n"
            "env = ProcgenEnv(task=ProcgenTask('maze', 'easy'), num_envs=2, seed=0, num_threads=1)\n"
            "env.act(np.zeros(2, int)); env.observe(); env.close()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == done.stderr == ""


class TestStepping:
    def test_first_look_opens_an_episode_everywhere(self):
        env = make(COINRUN, num_envs=3)
        observed = env.observe()
        assert observed.observation.shape == (3, 64, 64, 3)
        assert observed.observation.dtype == np.uint8
        assert observed.reward.dtype == np.float64
        assert observed.first.dtype == bool
        assert observed.first.all()
        assert not observed.reward.any()
        assert env.observation_shape == (3, 64, 64)
        assert env.num_actions == import_procgen().ProcgenGym3Env(num=1, env_name="maze").ac_space.eltype.n

    def test_steps_are_those_of_procgen_itself(self):
        env = make(num_envs=4, seed=5, num_levels=20, start_level=3)
        bare = import_procgen().ProcgenGym3Env(
            num=4,
            env_name="fruitbot",
            distribution_mode="hard",
            rand_seed=5,
            num_levels=20,
            start_level=3,
            num_threads=1,
        )
        for action in random_actions(200):
            env.act(action)
            bare.act(action)
            reward, observation, first = bare.observe()
            observed = env.observe()
            np.testing.assert_array_equal(observed.observation, observation["rgb"])
            np.testing.assert_array_equal(observed.reward, reward)
            np.testing.assert_array_equal(observed.first, first)

    @pytest.mark.parametrize("num_threads", [1, 3])
    def test_threads_change_no_bit(self, num_threads):
        actions = random_actions(150)
        for ours, theirs in zip(
            played(make(num_threads=0), actions), played(make(num_threads=num_threads), actions), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)

    def test_another_seed_plays_other_levels(self):
        assert not np.array_equal(make(seed=0).observe().observation, make(seed=1).observe().observation)

    def test_observing_twice_is_observing_once(self):
        actions = random_actions(150)
        once, twice = make(), make()
        played(once, actions)
        for action in actions:
            twice.act(action)
            twice.observe()
            twice.observe()
        assert_same_episodes(once.pop_episodes(), twice.pop_episodes())

    def test_a_copy_of_the_observation_outlasts_the_next_step_and_rewards_need_none(self):
        env = make()
        env.act(random_actions(1)[0])
        observed = env.observe()
        kept = observed.observation.copy(), observed.reward.copy(), observed.first.copy()
        played(env, random_actions(100))
        assert not np.array_equal(observed.observation, kept[0])  # the buffer is Procgen's
        np.testing.assert_array_equal(observed.reward, kept[1])
        np.testing.assert_array_equal(observed.first, kept[2])


class TestEpisodes:
    def test_returns_and_lengths_are_sums_over_the_steps_of_each_episode(self):
        env = make(num_threads=1)
        _, rewards, firsts = played(env, random_actions(400))
        expected = []
        returns, lengths = [0.0] * 4, [0] * 4
        for t, e in itertools.product(range(400), range(4)):
            returns[e] += rewards[t, e]
            lengths[e] += 1
            if firsts[t, e]:
                expected.append((returns[e], lengths[e]))
                returns[e], lengths[e] = 0.0, 0
        episodes = env.pop_episodes()
        assert len(expected) > 20
        assert list(zip(episodes.returns, episodes.lengths, strict=True)) == expected
        assert [values.dtype for values in vars(episodes).values()] == [np.float64, np.int64, np.int64, bool]

    def test_each_episode_is_given_once(self):
        actions = random_actions(300)
        whole, cut = make(), make()
        played(whole, actions)
        parts = []
        for action in actions:
            cut.act(action)
            parts.append(cut.pop_episodes())  # waits for the step, without observe
        together = [np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])]
        for ours, theirs in zip(together, vars(whole.pop_episodes()).values(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert whole.pop_episodes().returns.size == 0

    def test_levels_are_those_that_were_allowed(self):
        env = make(num_levels=3, start_level=LEVEL_LIMIT - 3)
        played(env, random_actions(400))
        assert set(env.pop_episodes().levels) == set(range(LEVEL_LIMIT - 3, LEVEL_LIMIT))

    def test_level_is_that_of_the_episode_that_ended(self):
        """Played alone, the level named gives the same return to the same actions."""
        env = make(num_envs=1)
        actions = random_actions(200, num_envs=1)
        _, _, first = played(env, actions)
        episodes = env.pop_episodes()
        begin = 0
        for level, length, total in zip(episodes.levels, episodes.lengths, episodes.returns, strict=True):
            alone = make(num_envs=1, num_levels=1, start_level=int(level))
            _, _, ends = played(alone, actions[begin : begin + length])
            assert ends[:, 0].tolist() == [False] * (length - 1) + [True]
            assert alone.pop_episodes().returns == [total]
            begin += length
        assert begin == np.flatnonzero(first[:, 0])[-1] + 1
        assert len(set(episodes.levels.tolist())) > 3

    def test_completed_is_whether_the_level_was_solved(self):
        """CoinRun pays its 10 exactly when the coin is reached."""
        env = make(COINRUN, num_envs=16, num_levels=50)
        right = np.full(16, 7)
        jump_right = np.full(16, 8)
        for t in range(600):
            env.act(jump_right if t % 4 else right)
        episodes = env.pop_episodes()
        assert 0 < episodes.completed.sum() < episodes.completed.size
        np.testing.assert_array_equal(episodes.completed, episodes.returns == 10)


class TestResume:
    @pytest.mark.parametrize("task", [FRUITBOT, ProcgenTask("jumper", "easy")], ids=lambda task: task.name)
    def test_steps_after_a_restore_elsewhere_are_those_never_interrupted(self, task):
        actions = random_actions(400)
        env = make(task, num_levels=30)
        for action in actions[:100]:
            env.act(action)  # the last step is still under way when the state is taken
        buffer = io.BytesIO()
        torch.save(env.get_state(), buffer)
        buffer.seek(0)

        restored = make(task, num_levels=30, seed=99, num_threads=2)
        played(restored, random_actions(17, seed=1))
        restored.set_state(torch.load(buffer, weights_only=True))
        np.testing.assert_array_equal(restored.observe().observation, env.observe().observation)
        np.testing.assert_array_equal(restored.observe().reward, env.observe().reward)
        np.testing.assert_array_equal(restored.observe().first, env.observe().first)
        for ours, theirs in zip(played(restored, actions[100:]), played(env, actions[100:]), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        episodes = env.pop_episodes()
        assert episodes.returns.size > 10
        assert_same_episodes(restored.pop_episodes(), episodes)

    def test_taking_the_state_changes_nothing(self):
        watched, alone = make(), make()
        actions = random_actions(100)
        for action in actions:
            watched.act(action)
            watched.get_state()
        played(alone, actions)
        np.testing.assert_array_equal(watched.observe().observation, alone.observe().observation)
        assert_same_episodes(watched.pop_episodes(), alone.pop_episodes())

    @pytest.mark.parametrize("other", [{"task": COINRUN}, {"num_envs": 3}, {"num_levels": 5}])
    def test_a_state_of_other_games_is_refused(self, other):
        """Procgen itself would end the process, or quietly play on other levels."""
        with pytest.raises(ValueError, match=next(iter(other))):
            make(**other).set_state(make().get_state())


@pytest.fixture
def registered():
    register_envs()


@pytest.mark.usefixtures("registered")
class TestGymnasium:
    @pytest.mark.parametrize("task", all_tasks(), ids=lambda task: task.name)
    def test_every_task_is_registered(self, task):
        assert TASKS[task.name].gymnasium.env_id in gymnasium.registry

    @pytest.mark.filterwarnings("error:.*:UserWarning")
    def test_scalar_environment_passes_gymnasiums_checker(self):
        env = gymnasium.make("rlscale/Procgen-coinrun-easy-v0", num_levels=10)
        check_env(env.unwrapped, skip_render_check=True)

    def test_scalar_environment_loses_no_level_between_episodes(self):
        """Step, reset, step: the same stream as the trainer's, which restarts by itself."""
        actions = random_actions(200, num_envs=1)
        trainer = make(num_envs=1, seed=3)
        played(trainer, actions)
        episodes = trainer.pop_episodes()

        env = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make("rlscale/Procgen-fruitbot-hard-v0"))
        env.reset(seed=3)
        found = []
        for action in actions[:, 0]:
            observation, _, terminated, truncated, info = env.step(action)
            assert not truncated
            if terminated:
                found.append((info["episode"]["r"], info["episode"]["l"], info["level_seed"]))
                np.testing.assert_array_equal(env.reset()[0], observation)
        assert found == list(zip(episodes.returns, episodes.lengths, episodes.levels, strict=True))

    def test_scalar_reset_within_an_episode_begins_another(self):
        env = gymnasium.make("rlscale/Procgen-fruitbot-hard-v0")
        first, _ = env.reset(seed=0)
        env.step(0)
        second, _ = env.reset()
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(env.reset(seed=0)[0], first)

    def test_vector_environment_keeps_gymnasiums_contract(self):
        env = gymnasium.make_vec(
            "rlscale/Procgen-fruitbot-hard-v0", num_envs=4, num_levels=200, start_level=0, num_threads=1
        )
        assert env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
        assert env.single_observation_space == gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        assert env.single_action_space == gymnasium.spaces.Discrete(15)
        env.action_space.seed(0)
        first, info = env.reset(seed=0)
        assert info == {}
        kept = first.copy()
        for _ in range(50):
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert env.observation_space.contains(observation)
            assert reward.shape == terminated.shape == truncated.shape == (4,)
            assert not truncated.any()
            assert ("episode" in info) == terminated.any()
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_array_equal(env.reset(seed=0)[0], first)
        assert not np.array_equal(env.reset()[0], first)
        env.close()

    def test_episodes_are_reported_as_gymnasiums_wrapper_reports_them(self):
        env = gymnasium.wrappers.vector.RecordEpisodeStatistics(
            gymnasium.make_vec("rlscale/Procgen-fruitbot-hard-v0", num_envs=4, num_levels=200),
            stats_key="theirs",
        )
        env.reset(seed=0)
        seen = 0
        for action in random_actions(300):
            *_, info = env.step(action)
            if "theirs" in info:
                ours, theirs = info["episode"], info["theirs"]
                np.testing.assert_array_equal(info["_episode"], info["_theirs"])
                np.testing.assert_allclose(ours["r"], theirs["r"])
                np.testing.assert_array_equal(ours["l"], theirs["l"])
                assert (ours["level_seed"] < 200).all()
                assert not ours["level_complete"][~info["_episode"]].any()
                seen += info["_episode"].sum()
        assert seen > 20

    def test_wrong_options_are_reported_in_a_sentence(self):
        with pytest.raises(InputError, match="num_levels is 0"):
            gymnasium.make_vec("rlscale/Procgen-maze-easy-v0", num_envs=2, num_levels=0)
