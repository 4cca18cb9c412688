"""Evaluation: unseen levels, and no preference for short episodes."""

import numpy as np
import pytest

from rlscale.scaling.errors import InputError
from rlscale.scaling.rollouts.evaluation import evaluate, unseen_levels
from rlscale.scaling.tasks.interface import Episodes, Observed, concatenate_episodes
from rlscale.scaling.tasks.procgen.games import ProcgenEnv
from rlscale.scaling.tasks.procgen.names import LEVEL_LIMIT, ProcgenTask, check_levels

TASK = ProcgenTask("fruitbot", "hard")


class ShortOrLong:
    """Episodes of 1 step that return 0 or of 40 steps that return 1, by a fair coin; the mean is 1/2."""

    observation_shape = (1, 1, 1)
    num_actions = 1

    def __init__(self, num_envs, seed):
        self.num_envs = num_envs
        self._rng = np.random.default_rng(seed)
        self._elapsed = np.zeros(num_envs, np.int64)
        self._length = self._draw(num_envs)
        self._first = np.ones(num_envs, bool)
        self._episodes = []

    def _draw(self, count):
        return np.where(self._rng.random(count) < 0.5, 1, 40)

    def act(self, actions):
        assert actions.shape == (self.num_envs,)
        self._elapsed += 1
        self._first = self._elapsed == self._length
        lengths = self._length[self._first]
        environments = np.flatnonzero(self._first)
        self._episodes.append(Episodes((lengths == 40) * 1.0, lengths, environments, lengths == 40))
        self._length[self._first] = self._draw(lengths.size)
        self._elapsed[self._first] = 0

    def observe(self):
        pixels = self._elapsed.astype(np.uint8)[:, None, None, None]
        return Observed(pixels, np.zeros(self.num_envs), self._first)

    def pop_episodes(self):
        popped, self._episodes = concatenate_episodes(self._episodes), []
        return popped


def constant(observation, first):
    return np.zeros(len(first), np.int64)


def test_short_episodes_are_not_preferred():
    means = [evaluate(constant, ShortOrLong(16, seed), 16).returns.mean() for seed in range(400)]
    # Standard error 0.5 / sqrt(16 * 400) = 0.006; the first 16 to complete have a mean of 0.16.
    assert np.mean(means) == pytest.approx(0.5, abs=0.025)


def test_episodes_under_way_do_not_count():
    """Episodes that already run, mostly long ones, do not bias the mean; counting them would give 1."""
    means = []
    for seed in range(400):
        env = ShortOrLong(16, seed)
        for _ in range(20):
            env.act(np.zeros(16, np.int64))
        means.append(evaluate(constant, env, 16).returns.mean())
    assert np.mean(means) == pytest.approx(0.5, abs=0.025)


@pytest.mark.parametrize(("episodes", "each"), [(1, 1), (8, 1), (9, 2), (40, 5)])
def test_each_environment_gives_equally_many(episodes, each):
    # This environment puts its own number in the place of the level.
    levels = evaluate(constant, ShortOrLong(8, seed=0), episodes).levels
    assert np.bincount(levels, minlength=8).tolist() == [each] * 8


def test_policy_sees_what_it_acts_on():
    env = ShortOrLong(4, seed=1)

    def check(observation, first):
        assert observation.shape == (4, 1, 1, 1)
        np.testing.assert_array_equal(first, observation[:, 0, 0, 0] == 0)
        return np.zeros(4, np.int64)

    evaluate(check, env, 40)


def test_no_episodes_is_refused():
    with pytest.raises(InputError, match="episodes is 0"):
        evaluate(constant, ShortOrLong(1, seed=0), 0)


def test_procgen_is_evaluated_on_levels_outside_the_training_range():
    num_levels, start_level = unseen_levels(200, 50)
    env = ProcgenEnv(
        task=TASK, num_envs=4, num_levels=num_levels, start_level=start_level, seed=0, num_threads=0
    )
    rng = np.random.default_rng(0)
    episodes = evaluate(lambda observation, first: rng.integers(0, 15, 4), env, 10)
    assert episodes.returns.size == 12
    assert episodes.levels.min() >= 250
    assert np.unique(episodes.levels).size == 12


@pytest.mark.parametrize(("num_levels", "start_level"), [(1, 0), (200, 0), (500, 1000), (LEVEL_LIMIT - 1, 0)])
def test_unseen_levels_begin_after_those_trained_on_and_run_to_the_last(num_levels, start_level):
    count, start = unseen_levels(num_levels, start_level)
    assert start == start_level + num_levels
    assert start + count == LEVEL_LIMIT
    check_levels(TASK, count, start)


def test_unlimited_training_levels_leave_the_evaluation_unlimited():
    assert unseen_levels(None, 0) == (None, 0)


def test_a_range_that_leaves_no_level_is_refused():
    with pytest.raises(InputError, match="no level to evaluate on"):
        unseen_levels(10, LEVEL_LIMIT - 10)
