"""The learner: what one iteration does to the networks."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from learners import adam_steps, all_equal, all_rows, make_ppo, weights

from rlscale.scaling.agents.advantages import standardized
from rlscale.scaling.rollouts.rollout import minibatches


@pytest.mark.parametrize("algorithm", ["ppo", "ppo-ewma"])
def test_step_size_zero_gives_ratio_one_and_no_kl_or_clipping(random_digits, algorithm):
    agent, rollout = make_ppo(
        random_digits, step_size=0.0, algorithm=algorithm, epochs_policy=3, epochs_value=3, entropy_coef=0.0
    )
    before = weights(agent.model)
    diagnostics = agent.learn(rollout, np.random.default_rng(0))
    assert diagnostics["approx_kl"] < 1e-10
    assert diagnostics["clip_fraction"] == 0.0
    assert diagnostics["importance_fraction"] == 0.0
    assert diagnostics["policy_loss"] == pytest.approx(0.0, abs=1e-5)  # -mean(1 * normalised advantage)
    assert all_equal(before, weights(agent.model))


def logits_of(network, observation):
    """Trunk and head by hand; observations (batch, ...)."""
    return network.heads["logits"](network.trunk(observation))


def vanilla_gradient(model, rollout, gamma):
    """-1/n sum_t A_t grad log pi(a_t|s_t), with d log pi / d logits = onehot - softmax by hand."""
    reward, value = rollout.reward, rollout.value.numpy().astype(np.float64)
    steps, envs = reward.shape
    advantage = np.zeros((steps, envs))
    for t in range(steps):
        for k in range(t, steps):
            advantage[t] += gamma ** (k - t) * reward[k]
        advantage[t] += gamma ** (steps - t) * value[steps] - value[t]
    policy = copy.deepcopy(model.policy)
    logits = logits_of(policy, rollout.observation.flatten(0, 1))
    with torch.no_grad():
        score = torch.eye(10)[rollout.action.flatten()] - torch.exp(
            logits - logits.logsumexp(-1, keepdim=True)
        )
        weight = torch.tensor(advantage, dtype=torch.float32).flatten()[:, None]
    logits.backward(-score * weight / len(weight))
    return [p.grad for p in policy.parameters()]


@pytest.mark.parametrize("horizon", [1, 8])
def test_first_gradient_of_ppo_is_the_vanilla_policy_gradient(random_digits, horizon):
    agent, rollout = make_ppo(
        random_digits,
        algorithm="ppo",
        minibatches=1,
        horizon=horizon,
        entropy_coef=0.0,
        normalize_advantage=False,
    )
    expected = vanilla_gradient(agent.model, rollout, 1 - 2 / (horizon + 1))
    loss, _ = agent.policy_objective(all_rows(agent, rollout))
    loss.backward()
    for parameter, gradient in zip(agent.model.policy.parameters(), expected, strict=True):
        scale = gradient.abs().max().item()
        np.testing.assert_allclose(parameter.grad.numpy(), gradient.numpy(), rtol=1e-3, atol=1e-5 * scale)


def test_first_adam_step_follows_the_vanilla_gradient_at_the_step_size(random_digits):
    """Bias-corrected Adam's first step is -step g / (|g| + eps)."""
    agent, rollout = make_ppo(
        random_digits, algorithm="ppo", minibatches=1, entropy_coef=0.0, normalize_advantage=False
    )
    gradients = vanilla_gradient(agent.model, rollout, 0.0)
    before = weights(agent.model.policy)
    agent.learn(rollout, np.random.default_rng(0))
    for old, new, g in zip(before, weights(agent.model.policy), gradients, strict=True):
        clear = g.abs() > 1e-2 * g.abs().max()  # where rounding cannot turn the sign
        expected = -1e-3 * g / (g.abs() + 1e-8)
        np.testing.assert_allclose((new - old)[clear].numpy(), expected[clear].numpy(), rtol=2e-3)


def test_entropy_bonus_is_the_mean_entropy_times_its_coefficient(random_digits):
    plain, rollout = make_ppo(random_digits, algorithm="ppo", minibatches=1, entropy_coef=0.0)
    bonus, _ = make_ppo(random_digits, algorithm="ppo", minibatches=1, entropy_coef=0.3)
    losses = []
    for agent in (plain, bonus):
        losses.append(agent.policy_objective(all_rows(agent, rollout))[0].item())
    with torch.no_grad():
        p = (
            logits_of(plain.model.policy, rollout.observation.flatten(0, 1))
            .softmax(-1)
            .numpy()
            .astype(np.float64)
        )
    entropy = -(p * np.log(p)).sum(-1).mean()
    assert losses[0] - losses[1] == pytest.approx(0.3 * entropy, rel=1e-4)
    assert rollout.entropy.item() == pytest.approx(entropy, rel=1e-5)


def test_value_objective_is_its_coefficient_times_the_mean_square(random_digits):
    agent, rollout = make_ppo(random_digits, minibatches=1, value_coef=0.25)
    loss, _ = agent.value_objective(all_rows(agent, rollout))
    value = rollout.value[:-1].numpy()
    assert loss.item() == pytest.approx(0.25 * np.square(value - rollout.reward).mean(), rel=1e-5)


def test_ewma_decay_zero_makes_the_proximal_policy_the_current_network(random_digits):
    agent, rollout = make_ppo(random_digits, ewma_decay=0.0)
    agent.learn(rollout, np.random.default_rng(0))
    assert all_equal(weights(agent.ewma.network), weights(agent.model.policy))


def test_the_proximal_policy_is_an_average_of_the_policy_alone(random_digits):
    agent, rollout = make_ppo(random_digits, ewma_decay=0.9)
    agent.learn(rollout, np.random.default_rng(0))
    assert [p.shape for p in agent.ewma.network.parameters()] == [
        p.shape for p in agent.model.policy.parameters()
    ]
    assert not all_equal(weights(agent.ewma.network), weights(agent.model.policy))


def test_the_proximal_log_probability_is_the_ewma_networks(random_digits):
    """After a few steps the objective with a KL penalty is that of the averaged network."""
    agent, rollout = make_ppo(random_digits, ewma_decay=0.9, clip=0.0, kl_penalty=1.0, entropy_coef=0.0)
    agent.learn(rollout, np.random.default_rng(0))
    _, diagnostics = agent.policy_objective(all_rows(agent, rollout))
    flat, action = rollout.observation.transpose(0, 1).flatten(0, 1), rollout.action.T.flatten()
    with torch.no_grad():
        new, old = (
            logits_of(net, flat).log_softmax(-1).gather(1, action[:, None])[:, 0]
            for net in (agent.model.policy, agent.ewma.network)
        )
    assert diagnostics["approx_kl"].item() == pytest.approx(0.5 * ((new - old) ** 2).mean().item(), rel=1e-3)


@pytest.mark.parametrize("architecture", ["dual", "shared", "detach"])
def test_explained_variance_is_of_the_rollouts_values_over_the_whole_iteration(random_digits, architecture):
    agent, rollout = make_ppo(random_digits, architecture=architecture, epochs_policy=2, epochs_value=2)
    diagnostics = agent.learn(rollout, np.random.default_rng(0))
    left = rollout.reward - rollout.value[:-1].numpy()  # at horizon 1 the targets are the rewards
    assert diagnostics["explained_variance"] == pytest.approx(1 - left.var() / rollout.reward.var(), rel=1e-4)


def test_ppo_keeps_no_ewma(random_digits):
    agent, _ = make_ppo(random_digits, algorithm="ppo")
    assert agent.ewma is None


def test_policy_and_value_share_no_parameters_and_no_gradient(random_digits):
    agent, rollout = make_ppo(random_digits, minibatches=1)
    storages = [{p.data_ptr() for p in part.parameters()} for part in (agent.model.policy, agent.model.value)]
    assert not storages[0] & storages[1]
    rows = all_rows(agent, rollout)
    agent.policy_objective(rows)[0].backward()
    assert all(p.grad is None for p in agent.model.value.parameters())
    assert all(p.grad is not None for p in agent.model.policy.parameters())
    agent.model.zero_grad(set_to_none=True)
    agent.value_objective(rows)[0].backward()
    assert all(p.grad is None for p in agent.model.policy.parameters())


@pytest.mark.parametrize(("policy", "value"), [(1, 1), (3, 3), (1, 3), (2, 1)])
def test_each_network_takes_its_epochs_times_the_minibatches_steps(random_digits, policy, value):
    agent, rollout = make_ppo(random_digits, epochs_policy=policy, epochs_value=value, ewma_decay=0.5)
    agent.learn(rollout, np.random.default_rng(0))
    if policy == value:
        [joint] = agent.optimizers
        assert adam_steps(joint) == {policy * 4}
    else:
        by_value, by_policy = agent.optimizers
        assert adam_steps(by_value) == {value * 4}
        assert adam_steps(by_policy) == {policy * 4}
    updates = policy * 4  # the EWMA moves only with the policy
    assert agent.ewma.weight == pytest.approx((1 - 0.5 ** (updates + 1)) / 0.5)


def test_extra_value_epochs_leave_the_policy_as_it_would_be_alone(random_digits):
    """Value epochs come first, with their own Adam; only the minibatch order is drawn in between."""
    agent, rollout = make_ppo(random_digits, epochs_policy=1, epochs_value=2, minibatches=1)
    alone, _ = make_ppo(random_digits, epochs_policy=1, epochs_value=2, minibatches=1, value_coef=0.0)
    for learner in (agent, alone):
        learner.learn(rollout, np.random.default_rng(0))
    assert all_equal(weights(agent.model.policy), weights(alone.model.policy))
    assert not all_equal(weights(agent.model.value), weights(alone.model.value))


def test_a_restored_learner_goes_on_as_if_never_stopped(random_digits):
    options = {"normalize_reward": True, "horizon": 8, "advantage_decay": 0.6}
    agent, rollout = make_ppo(random_digits, **options)
    agent.learn(rollout, np.random.default_rng(0))
    restored, _ = make_ppo(random_digits, **options)
    restored.load_state_dict(copy.deepcopy(agent.state_dict()))
    for learner in (agent, restored):
        learner.learn(rollout, np.random.default_rng(1))
    assert all_equal(weights(agent.model), weights(restored.model))
    assert all_equal(weights(agent.ewma.network), weights(restored.ewma.network))


def test_one_iteration_makes_rewarded_actions_more_likely(random_digits):
    agent, rollout = make_ppo(random_digits, entropy_coef=0.0)
    agent.learn(rollout, np.random.default_rng(0))
    flat, action = rollout.observation.flatten(0, 1), rollout.action.flatten()
    with torch.no_grad():
        change = (
            logits_of(agent.model.policy, flat).log_softmax(-1).gather(1, action[:, None])[:, 0]
            - rollout.logp.flatten()
        )
    right = torch.as_tensor(rollout.reward.flatten() > 0)
    assert right.any()
    assert change[right].mean() > 0 > change[~right].mean()


def test_the_signs_of_rewards_are_learned_from(random_digits):
    agent, rollout = make_ppo(random_digits, sign_reward=True, normalize_advantage=False)
    scaled = replace(rollout, reward=7.5 * rollout.reward - 2.5)
    signs = replace(rollout, reward=np.sign(scaled.reward))
    assert set(np.unique(signs.reward)) == {-1.0, 1.0}
    plain, _ = make_ppo(random_digits, normalize_advantage=False)
    for one, other in zip(agent.estimate(scaled), plain.estimate(signs), strict=True):
        assert torch.equal(one, other)


def test_advantages_of_each_minibatch_have_mean_0_and_variance_1(random_digits):
    agent, rollout = make_ppo(random_digits, normalize_advantage_of="minibatch")
    seen = []
    objective = agent.joint_objective
    agent.joint_objective = lambda rows: (seen.append(rows.advantage), objective(rows))[1]
    agent.learn(rollout, np.random.default_rng(0))
    assert len(seen) == 4
    for advantage in seen:
        assert advantage.mean().item() == pytest.approx(0.0, abs=1e-6)
        assert advantage.std(correction=0).item() == pytest.approx(1.0, rel=1e-5)
    raw, _ = agent.estimate(rollout)
    assert raw.std(correction=0) != pytest.approx(1.0, rel=1e-2)


def test_advantages_that_do_not_vary_stay_finite():
    assert torch.equal(standardized(torch.full((3, 4), 2.5)), torch.zeros(3, 4))


def test_minibatches_of_steps_mix_the_steps_of_all_environments(random_digits):
    agent, rollout = make_ppo(random_digits, minibatch_of="steps")
    numbered = torch.arange(rollout.reward.size, dtype=torch.float32).view(rollout.reward.shape)
    batch = agent.batch(rollout, numbered, numbered)
    parts = [part.advantage for part in minibatches(batch, 4, np.random.default_rng(0))]
    assert [part.shape for part in parts] == [(32, 1)] * 4
    assert torch.cat(parts).flatten().sort().values.tolist() == list(range(128))
    for part in parts:
        assert len({int(number) % 4 for number in part}) == 4  # of every environment
        assert len({int(number) // 4 for number in part}) > 16  # and of many times


def test_a_gradient_that_is_too_long_is_shortened_for_each_network(random_digits):
    agent, rollout = make_ppo(random_digits, minibatches=1, max_grad_norm=1e-3, value_coef=1.0)
    free, _ = make_ppo(random_digits, minibatches=1, value_coef=1.0)
    for each in (agent, free):
        each.learn(rollout, np.random.default_rng(0))
    for network, other in zip(agent.model.networks, free.model.networks, strict=True):
        short, long = (torch.cat([p.grad.flatten() for p in each.parameters()]) for each in (network, other))
        assert long.norm() > 1e-3
        assert short.norm().item() == pytest.approx(1e-3, rel=1e-3)
        np.testing.assert_allclose((short / short.norm()).numpy(), (long / long.norm()).numpy(), atol=1e-4)
