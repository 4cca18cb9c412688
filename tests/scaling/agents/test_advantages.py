"""GAE against its definition as a double sum, and the running moments against weighted sums."""

import math

import numpy as np
import pytest
import torch

from rlscale.scaling.agents.advantages import AdvantageMoments, gae


def random_rollout(seed, steps=23, envs=3, end_probability=0.15):
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(steps, envs))
    value = rng.normal(size=(steps + 1, envs))
    first = (rng.random((steps + 1, envs)) < end_probability).astype(float)
    return reward, value, first


def gae_by_definition(reward, value, first, gamma, lam):
    """sum_k (gamma lam)^k delta_{t+k} up to the end of the episode, one number at a time."""
    steps, envs = reward.shape
    advantage = np.zeros((steps, envs))
    for e in range(envs):
        for t in range(steps):
            for k in range(t, steps):
                ends = bool(first[k + 1, e])
                delta = reward[k, e] + (0.0 if ends else gamma * value[k + 1, e]) - value[k, e]
                advantage[t, e] += (gamma * lam) ** (k - t) * delta
                if ends:
                    break
    return advantage


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("gamma", "lam"), [(0.0, 1.0), (0.9, 0.0), (0.99, 0.95), (1.0, 1.0), (0.5, 0.3)])
def test_gae_equals_its_definition(seed, gamma, lam):
    reward, value, first = random_rollout(seed)
    tensors = [torch.tensor(x) for x in (reward, value, first)]
    advantage, target = gae(*tensors, gamma=gamma, lam=lam)
    expected = gae_by_definition(reward, value, first, gamma, lam)
    np.testing.assert_allclose(advantage.numpy(), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(target.numpy(), value[:-1] + expected, rtol=1e-10, atol=1e-12)


def test_lambda_one_telescopes_to_the_discounted_return_minus_the_value():
    reward, value, first = random_rollout(7, end_probability=0.0)
    advantage, target = gae(*(torch.tensor(x) for x in (reward, value, first)), gamma=0.9, lam=1.0)
    steps = len(reward)
    for t in range(steps):
        discounted = sum(0.9 ** (k - t) * reward[k] for k in range(t, steps))
        discounted = discounted + 0.9 ** (steps - t) * value[steps]
        np.testing.assert_allclose(target[t].numpy(), discounted, rtol=1e-10)
        np.testing.assert_allclose(advantage[t].numpy(), discounted - value[t], rtol=1e-9, atol=1e-12)


def test_nothing_after_an_episodes_end_reaches_back():
    reward, value, first = random_rollout(8, end_probability=0.0)
    first[11] = 1.0
    before, _ = gae(*(torch.tensor(x) for x in (reward, value, first)), gamma=0.99, lam=0.95)
    reward[11:] += 100.0
    value[11:] -= 100.0
    after, _ = gae(*(torch.tensor(x) for x in (reward, value, first)), gamma=0.99, lam=0.95)
    np.testing.assert_array_equal(before[:11].numpy(), after[:11].numpy())


def test_gamma_zero_is_reward_minus_value_whatever_follows():
    reward, value, first = random_rollout(9)
    advantage, target = gae(*(torch.tensor(x) for x in (reward, value, first)), gamma=0.0, lam=1.0)
    np.testing.assert_array_equal(advantage.numpy(), reward - value[:-1])
    np.testing.assert_allclose(target.numpy(), reward, rtol=1e-12)


def test_decay_zero_is_each_batchs_own_moments():
    moments = AdvantageMoments(0.0)
    rng = np.random.default_rng(0)
    for scale in (1.0, 100.0, 0.01):
        batch = rng.normal(3 * scale, scale, (16, 4))
        normalised = moments(torch.tensor(batch)).numpy()
        np.testing.assert_allclose(normalised, (batch - batch.mean()) / (batch.std() + 1e-8), rtol=1e-9)


@pytest.mark.parametrize("decay", [0.6, 0.97])
def test_moments_are_the_weighted_moments_of_all_batches_so_far(decay):
    """Each element of batch j counts decay^(i-j) in the moments that batch i is normalised by."""
    rng = np.random.default_rng(1)
    batches = [rng.normal(rng.normal(), 1 + rng.random(), (size, 2)) for size in (8, 8, 32, 4)]
    moments = AdvantageMoments(decay)
    for i, batch in enumerate(batches):
        normalised = moments(torch.tensor(batch)).numpy()
        values = np.concatenate([b.ravel() for b in batches[: i + 1]])
        weights = np.concatenate([np.full(b.size, decay ** (i - j)) for j, b in enumerate(batches[: i + 1])])
        mean = np.average(values, weights=weights)
        std = math.sqrt(np.average((values - mean) ** 2, weights=weights))
        np.testing.assert_allclose(normalised, (batch - mean) / (std + 1e-8), rtol=1e-9)


@pytest.mark.parametrize(("span", "decay"), [(4, 0.6), (16, 0.88235), (64, 0.96923), (256, 0.99222)])
def test_decay_gives_the_span_of_the_batch_size_rule(span, decay):
    """Span as effective sample size, (sum w)^2 / sum w^2, of the batches' weights."""
    assert 1 - 2 / (span + 1) == pytest.approx(decay, abs=5e-6)
    weights = (1 - 2 / (span + 1)) ** np.arange(10_000)
    assert weights.sum() ** 2 / np.square(weights).sum() == pytest.approx(span, rel=1e-9)


def test_constant_advantages_become_zero_not_nan():
    assert AdvantageMoments(0.0)(torch.full((4, 2), 3.0)).abs().max().item() == 0.0


def test_restored_moments_go_on_as_if_never_stopped():
    rng = np.random.default_rng(2)
    one, two, three = (torch.tensor(rng.normal(size=(8, 2))) for _ in range(3))
    moments = AdvantageMoments(0.8)
    moments(one)
    moments(two)
    restored = AdvantageMoments(0.8)
    restored.load_state_dict(moments.state_dict())
    assert torch.equal(restored(three), moments(three))
