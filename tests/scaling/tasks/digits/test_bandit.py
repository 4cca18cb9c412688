"""The digit bandits: one stream of images, whichever way it is taken."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy import stats

from rlscale.scaling.tasks.catalog import TASKS
from rlscale.scaling.tasks.digits.bandit import DigitBandit, DigitBanditEnv, DigitBanditVectorEnv
from rlscale.scaling.tasks.digits.images import DigitImages
from rlscale.scaling.tasks.registry import make_bandit, register_envs


@pytest.fixture(params=["digits-bandit", "mnist-bandit"])
def task(request):
    """(name, gymnasium id, its keywords) of each task; MNIST is skipped where it is absent."""
    needs_mnist = TASKS[request.param].data is not None
    options = {"mnist_dir": request.getfixturevalue("mnist_dir")} if needs_mnist else {}
    register_envs()
    return request.param, TASKS[request.param].gymnasium.env_id, options


def numbered_images(count):
    """Image i is filled with i, and i % 10 is its label."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 8, 8))
    return DigitImages(np.array(images), np.arange(count) % 10)


@pytest.mark.filterwarnings("error:.*:UserWarning")
def test_scalar_environment_passes_gymnasiums_checker(task):
    _, env_id, options = task
    check_env(gymnasium.make(env_id, **options).unwrapped, skip_render_check=True)


def test_scalar_environment_runs_under_gymnasiums_wrappers(task):
    name, env_id, options = task
    env = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make(env_id, episode_length=16, **options))
    observation, _ = env.reset(seed=3)
    assert observation.shape == TASKS[name].observations.shape
    total = 0.0
    for t in range(16):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += reward
        assert env.observation_space.contains(observation)
        assert not terminated
        assert truncated == (t == 15)
    assert info["episode"]["l"] == 16
    assert info["episode"]["r"] == total


def test_vector_environment_keeps_gymnasiums_contract(task):
    name, env_id, options = task
    env = gymnasium.make_vec(env_id, num_envs=3, episode_length=4, **options)
    assert env.num_envs == 3
    assert env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    observation, info = env.reset(seed=0)
    assert observation.shape == (3, *TASKS[name].observations.shape)
    assert info == {}
    env.action_space.seed(0)
    for t in range(1, 9):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert reward.shape == terminated.shape == truncated.shape == (3,)
        assert set(reward.tolist()) <= {0.0, 1.0}
        assert not terminated.any()
        assert truncated.all() if t % 4 == 0 else not truncated.any()
        assert ("final_obs" in info) == (t % 4 == 0)
        if t % 4 == 0:
            assert info["_final_obs"].all()
            np.testing.assert_array_equal(np.stack(list(info["final_obs"])), observation)


def test_vector_environment_counts_episodes_under_gymnasiums_wrapper():
    register_envs()
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        gymnasium.make_vec("rlscale/DigitsBandit-v0", num_envs=2, episode_length=5)
    )
    env.reset(seed=0)
    for _ in range(5):
        *_, info = env.step(np.array([1, 2]))
    assert info["episode"]["l"].tolist() == [5, 5]


def test_reward_is_one_exactly_where_the_action_is_the_label():
    env = DigitBanditVectorEnv(numbered_images(60), num_envs=10, episode_length=None)
    observation, _ = env.reset(seed=1)
    for action in range(10):
        labels = observation[:, 0, 0, 0] % 10
        observation, reward, *_ = env.step(np.full(10, action))
        np.testing.assert_array_equal(reward, (labels == action).astype(float))


@pytest.mark.parametrize("seed", [0, 7])
def test_one_seed_gives_the_same_images_in_scalar_vector_and_block(task, seed):
    name, env_id, options = task
    bandit = make_bandit(name)
    steps, envs = 25, 4
    rng = np.random.default_rng(seed)
    first = bandit.draw(rng, envs)
    rest = bandit.draw(rng, steps * envs).reshape(steps, envs)
    block = bandit.block(np.concatenate([first[None], rest])).observations.numpy()

    vector = gymnasium.make_vec(env_id, num_envs=envs, episode_length=None, **options)
    seen = [vector.reset(seed=seed)[0]]
    seen += [vector.step(np.zeros(envs, int))[0] for _ in range(steps)]
    np.testing.assert_array_equal(np.stack(seen), block)

    scalar = gymnasium.make(env_id, episode_length=None, **options)
    seen = [scalar.reset(seed=seed)[0]]
    seen += [scalar.step(0)[0] for _ in range((steps + 1) * envs - 1)]
    np.testing.assert_array_equal(np.stack(seen), block.reshape(-1, *block.shape[2:]))


def test_cutting_the_stream_of_images_differently_leaves_it_the_same(task):
    name, *_ = task
    bandit = make_bandit(name)
    whole = bandit.draw(np.random.default_rng(3), 30)
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(np.concatenate([bandit.draw(rng, n) for n in (1, 1, 5, 0, 20, 3)]), whole)


def test_images_are_uniform():
    bandit = DigitBandit(numbered_images(60))
    counts = np.bincount(bandit.draw(np.random.default_rng(0), 60_000), minlength=60)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_successive_images_are_independent():
    bandit = DigitBandit(numbered_images(10))
    drawn = bandit.draw(np.random.default_rng(1), 50_001)
    table = np.zeros((10, 10))
    np.add.at(table, (drawn[:-1], drawn[1:]), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_answers_are_the_labels_of_all_but_the_last_observation(random_digits):
    indices = np.random.default_rng(2).integers(60, size=(6, 3))
    block = DigitBandit(random_digits).block(indices)
    assert block.observations.shape == (6, 3, 1, 8, 8)
    for t in range(6):
        for e in range(3):
            np.testing.assert_array_equal(
                block.observations[t, e, 0].numpy(), random_digits.images[indices[t, e]]
            )
    assert block.answers.tolist() == [[int(random_digits.labels[i]) for i in row] for row in indices[:-1]]


def test_observations_already_given_out_do_not_change(random_digits):
    env = DigitBanditVectorEnv(random_digits, num_envs=2)
    observation, _ = env.reset(seed=0)
    kept = observation.copy()
    env.step(np.zeros(2, int))
    np.testing.assert_array_equal(observation, kept)
    observation[:] = 0  # nor do the images change when an agent writes into its observation
    assert random_digits.images.any(axis=(1, 2)).all()


def test_an_agent_in_a_plain_gymnasium_loop_learns_which_digit_is_which():
    """A nearest-mean learner that sees only observations and rewards beats chance by far."""
    register_envs()
    env = gymnasium.make("rlscale/DigitsBandit-v0", episode_length=200)
    rng = np.random.default_rng(0)
    sums, counts = np.zeros((10, 64)), np.full(10, 1e-9)
    rewards = []
    observation, _ = env.reset(seed=0)
    for _ in range(6000):
        image = observation.reshape(-1) / 255
        distance = ((image - sums / counts[:, None]) ** 2).sum(-1)
        action = int(rng.integers(10)) if rng.random() < 0.3 else int(distance.argmin())
        observation, reward, _, truncated, _ = env.step(action)
        rewards.append(reward)
        if reward:
            sums[action] += image
            counts[action] += 1
        if truncated:
            observation, _ = env.reset()
    assert np.mean(rewards[-2000:]) > 0.5


def test_scalar_environment_truncates_and_begins_again(random_digits):
    env = DigitBanditEnv(random_digits, episode_length=3)
    env.reset(seed=0)
    ends = []
    for _ in range(3):
        for _ in range(3):
            ends.append(env.step(0)[3])
        env.reset()
    assert ends == [False, False, True] * 3
