"""Acting: sampling, the batched rollout beside stepping one at a time, and minibatches."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Categorical

from scaling.agents.rollout import Batch, collect_bandit, minibatches, sample
from scaling.config import ModelConfig
from scaling.envs.bandit import DigitBandit, DigitBanditVectorEnv
from scaling.models.families import build_actor_critic

CPU = torch.device("cpu")


def small_model(seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = build_actor_critic(ModelConfig(width=0.1), (1, 8, 8), 10, generator)
    with torch.no_grad():  # a policy with preferences: the initial one is nearly uniform
        model.policy.head.weight.mul_(30)
    return model


def test_sampling_follows_the_distribution():
    weights = np.array([0.4, 0.02, 0.2, 0.0, 0.3, 0.08])
    draws = 100_000
    policy = Categorical(probs=torch.tensor(weights).expand(draws, -1))
    actions = sample(policy, np.random.default_rng(0).random(draws)).numpy()
    counts = np.bincount(actions, minlength=len(weights))
    assert counts[3] == 0
    possible = weights > 0
    assert stats.chisquare(counts[possible], draws * weights[possible]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("uniform", "action"),
    [(0.0, 0), (np.nextafter(0.25, 0), 0), (0.25, 1), (0.5, 1), (0.75, 2), (np.nextafter(1.0, 0), 2)],
)
def test_sampling_is_exact_at_the_edges(uniform, action):
    policy = Categorical(probs=torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64))
    assert sample(policy, np.array([uniform])).item() == action


@pytest.mark.parametrize("uniform", [0.0, 0.3, 0.999])
def test_sampling_never_takes_an_impossible_action_at_the_front(uniform):
    policy = Categorical(probs=torch.tensor([[0.0, 0.0, 1.0, 0.0]]))
    assert sample(policy, np.array([uniform])).item() == 2


def test_sampling_never_takes_an_impossible_action_at_the_back():
    """In float32 the largest uniform number below 1 rounds to 1."""
    policy = Categorical(probs=torch.tensor([[0.5, 0.5, 0.0]]))
    assert sample(policy, np.array([np.nextafter(1.0, 0)])).item() == 1


def test_sampling_is_row_by_row():
    probs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    assert sample(Categorical(probs=probs), np.array([0.7, 0.2, 0.6])).tolist() == [0, 1, 1]


@pytest.mark.parametrize(("envs", "steps"), [(1, 40), (5, 12)])
def test_a_whole_rollout_as_one_batch_changes_nothing(random_digits, envs, steps):
    """The same images, actions, rewards, values and log-probabilities as stepping the vector environment."""
    model, bandit = small_model(), DigitBandit(random_digits)
    env = DigitBanditVectorEnv(random_digits, num_envs=envs, episode_length=None)
    observation, _ = env.reset(seed=11)
    context_rng, action_rng = np.random.default_rng(11), np.random.default_rng(12)
    contexts = bandit.draw(context_rng, envs)
    step_rng = np.random.default_rng(12)
    for _ in range(2):  # the second rollout begins where the first ended
        rollout, contexts = collect_bandit(
            model,
            bandit,
            contexts,
            steps=steps,
            context_rng=context_rng,
            action_rng=action_rng,
            needs_bootstrap=True,
            device=CPU,
        )
        for t in range(steps):
            with torch.no_grad():
                logits = model.policy(torch.as_tensor(observation))
                value = model.value(torch.as_tensor(observation))[:, 0].numpy()
            logp = (logits - logits.logsumexp(-1, keepdim=True)).numpy()
            cumulative = np.exp(logp).cumsum(-1)
            action = (cumulative < step_rng.random(envs)[:, None]).sum(-1)
            np.testing.assert_array_equal(rollout.observation[t].numpy(), observation)
            np.testing.assert_array_equal(rollout.action[t].numpy(), action)
            np.testing.assert_allclose(rollout.logp[t].numpy(), logp[np.arange(envs), action], atol=1e-5)
            np.testing.assert_allclose(rollout.value[t].numpy(), value, atol=1e-6)
            observation, reward, _, _, _ = env.step(action)
            np.testing.assert_array_equal(rollout.reward[t], reward)
        with torch.no_grad():
            last = model.value(torch.as_tensor(observation))[:, 0].numpy()
        np.testing.assert_allclose(rollout.value[-1].numpy(), last, atol=1e-6)


def test_without_bootstrap_the_value_after_the_last_step_is_zero(random_digits):
    rollout, _ = collect_bandit(
        small_model(),
        DigitBandit(random_digits),
        np.arange(3),
        steps=4,
        context_rng=np.random.default_rng(0),
        action_rng=np.random.default_rng(1),
        needs_bootstrap=False,
        device=CPU,
    )
    assert rollout.value[-1].tolist() == [0.0, 0.0, 0.0]
    assert rollout.value[:-1].abs().min() > 0


def numbered_batch(steps, envs):
    """Every field of transition (t, e) carries the number t * envs + e."""
    number = torch.arange(steps * envs).view(steps, envs)
    as_float = number.float()
    return Batch(number[..., None].expand(steps, envs, 2), number, as_float, as_float, as_float)


@pytest.mark.parametrize(
    ("steps", "envs", "count"), [(16, 4, 2), (16, 4, 4), (16, 1, 8), (12, 2, 6), (6, 3, 1)]
)
def test_minibatches_take_each_transition_once_an_epoch(steps, envs, count):
    parts = list(minibatches(numbered_batch(steps, envs), count, np.random.default_rng(0)))
    assert len(parts) == count
    assert {len(part.action) for part in parts} == {steps * envs // count}
    assert sorted(torch.cat([part.action for part in parts]).tolist()) == list(range(steps * envs))
    for part in parts:
        for values in (part.logp, part.advantage, part.value_target, part.observation[:, 1]):
            assert values.tolist() == part.action.tolist()


def test_minibatches_are_whole_environment_rows():
    steps, envs = 16, 6
    for part in minibatches(numbered_batch(steps, envs), 3, np.random.default_rng(1)):
        rows = part.action.view(2, steps)
        for row in rows.tolist():
            assert row == [t * envs + row[0] % envs for t in range(steps)]


def test_more_minibatches_than_environments_are_equal_chunks_of_time():
    steps, envs, count = 24, 2, 8
    for part in minibatches(numbered_batch(steps, envs), count, np.random.default_rng(2)):
        times, rows = part.action.numpy() // envs, set((part.action.numpy() % envs).tolist())
        assert len(rows) == 1
        assert times.tolist() == list(range(times[0], times[0] + 6))
        assert times[0] % 6 == 0


def test_each_epoch_orders_the_minibatches_anew():
    batch, rng = numbered_batch(64, 1), np.random.default_rng(3)
    orders = [tuple(part.action[0].item() for part in minibatches(batch, 16, rng)) for _ in range(3)]
    assert len(set(orders)) == 3
