"""The reward normaliser against a computation that keeps every running return."""

import numpy as np
import pytest

from rlscale.scaling.agents.reward_scale import RewardNormalizer


class AllReturns:
    """Keeps all discounted returns; the prior counts as 1e-4 observations of mean 0 and variance 1."""

    def __init__(self):
        self.seen = []
        self.running = {}

    def __call__(self, reward, first):
        steps, envs = reward.shape
        for t in range(steps):
            for e in range(envs):
                past = 0.0 if first[t, e] else 0.99 * self.running.get(e, 0.0)
                self.running[e] = reward[t, e] + past
                self.seen.append(self.running[e])
        count = len(self.seen) + 1e-4
        mean = sum(self.seen) / count
        variance = (sum(x * x for x in self.seen) + 1e-4) / count - mean**2
        return np.array([[min(max(r / (variance + 1e-8) ** 0.5, -10), 10) for r in row] for row in reward])


@pytest.mark.parametrize("envs", [1, 3])
def test_rewards_are_divided_by_the_deviation_of_all_running_returns_so_far(envs):
    rng = np.random.default_rng(envs)
    normalizer, reference = RewardNormalizer(), AllReturns()
    for scale in (1.0, 5.0, 0.1):  # the running returns go on across rollouts
        reward = rng.normal(0.3, scale, (20, envs))
        first = (rng.random((20, envs)) < 0.1).astype(float)
        np.testing.assert_allclose(normalizer(reward, first), reference(reward, first), rtol=1e-9)


def test_environments_that_join_later_start_from_zero():
    rng = np.random.default_rng(4)
    normalizer, reference = RewardNormalizer(), AllReturns()
    for envs in (1, 1, 2, 4):
        reward, first = rng.normal(size=(8, envs)), np.zeros((8, envs))
        np.testing.assert_allclose(normalizer(reward, first), reference(reward, first), rtol=1e-9)


def test_output_is_clamped_to_ten():
    reward = np.zeros((1000, 1))
    reward[500] = 1e6
    first = np.ones_like(reward)
    assert RewardNormalizer()(reward, first).max() == 10.0
    assert RewardNormalizer()(-reward, first).min() == -10.0


def test_restored_normaliser_goes_on_as_if_never_stopped():
    rng = np.random.default_rng(5)
    one, two = rng.normal(size=(2, 16, 2))
    first = np.zeros((16, 2))
    normalizer = RewardNormalizer()
    normalizer(one, first)
    restored = RewardNormalizer()
    restored.load_state_dict(normalizer.state_dict())
    np.testing.assert_array_equal(restored(two, first), normalizer(two, first))
