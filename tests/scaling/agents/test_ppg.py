"""Phases of PPO with auxiliary phases between them: what each trains, on what, and what it leaves alone."""

import copy

import numpy as np
import pytest
import torch
from learners import (
    CPU,
    adam_steps,
    agent_config,
    all_equal,
    all_rows,
    bandit_collector,
    collect,
    make_ppg,
    make_ppo,
    small_networks,
    weights,
)

from rlscale.scaling.agents.losses import auxiliary_loss
from rlscale.scaling.agents.ppg import PPG, stored_rows
from rlscale.scaling.agents.ppo import PPO, by_autograd, gradient_step
from rlscale.scaling.config.run import run_config
from rlscale.scaling.models.distributions import CategoricalPolicy
from rlscale.scaling.models.sizing import sizes_of
from rlscale.scaling.tasks.digits.images import DigitImages
from rlscale.scaling.training.build import make_agent

ARCHITECTURES = ["dual", "shared", "detach"]


def play_phases(agent, digits, config, phases=1, seed=0):
    """Train a learner on a bandit for whole phases; returns the rollouts and the diagnostics."""
    collector, rng = bandit_collector(digits), np.random.default_rng(seed)
    rollouts, diagnostics = [], []
    for _ in range(phases * config.phasic.policy_iterations):
        rollouts.append(collect(collector, agent.model, config))
        diagnostics.append(agent.learn(rollouts[-1], rng))
    assert agent.is_between_phases
    return rollouts, diagnostics


def softmax(logits):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def kl(old_logits, logits):
    """KL(old || new) of each distribution, from its definition."""
    old, new = softmax(old_logits.astype(np.float64)), softmax(logits.astype(np.float64))
    return (old * (np.log(old) - np.log(new))).sum(-1)


@pytest.mark.parametrize(("clone_coef", "value_coef"), [(1.0, 1.0), (0.0, 2.0), (3.5, 0.0)])
def test_auxiliary_loss_equals_its_definition(clone_coef, value_coef):
    rng = np.random.default_rng(0)
    logits, old_logits = rng.normal(size=(2, 3, 5, 4))
    value, auxiliary_value, target = rng.normal(size=(3, 3, 5))
    loss, diagnostics = auxiliary_loss(
        *(CategoricalPolicy(torch.tensor(x)) for x in (logits, old_logits)),
        *(torch.tensor(x) for x in (value, auxiliary_value, target)),
        clone_coef=clone_coef,
        value_coef=value_coef,
    )
    clone = kl(old_logits, logits).mean()
    auxiliary = sum((a - t) ** 2 / 2 for a, t in zip(auxiliary_value.flat, target.flat, strict=True)) / 15
    true = sum((v - t) ** 2 / 2 for v, t in zip(value.flat, target.flat, strict=True)) / 15
    assert loss.item() == pytest.approx(clone_coef * clone + auxiliary + value_coef * true, rel=1e-12)
    assert diagnostics["clone_kl"].item() == pytest.approx(clone, rel=1e-12)
    assert diagnostics["auxiliary_loss"].item() == pytest.approx(auxiliary, rel=1e-12)
    assert diagnostics["auxiliary_value_loss"].item() == pytest.approx(true, rel=1e-12)


def test_the_cloned_policy_is_the_old_one():
    """KL(old || new), not the other way round: its gradient in the logits is new - old."""
    logits = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    old_logits = torch.tensor([[1.0, 0.0, -0.5]], dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    loss, _ = auxiliary_loss(
        CategoricalPolicy(logits),
        CategoricalPolicy(old_logits),
        zero,
        zero,
        zero,
        clone_coef=1.0,
        value_coef=1.0,
    )
    loss.backward()
    expected = logits.detach().softmax(-1) - old_logits.softmax(-1)
    np.testing.assert_allclose(logits.grad.numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_auxiliary_head_rests_in_the_policy_phase_and_moves_in_its_own(random_digits, architecture):
    agent = make_ppg(architecture=architecture)
    config = agent.ppo.config
    head, collector, rng = (
        agent.model.policy.heads["auxiliary"],
        bandit_collector(random_digits),
        np.random.default_rng(0),
    )
    rollout = collect(collector, agent.model, config)
    agent.ppo.joint_objective(all_rows(agent.ppo, rollout))[0].backward()
    assert all(p.grad is None for p in head.parameters())
    assert all(p.grad is not None for p in agent.model.policy.heads["logits"].parameters())

    before = weights(head)
    assert "clone_kl" not in agent.learn(rollout, rng)
    assert all_equal(before, weights(head))
    assert "clone_kl" in agent.learn(collect(collector, agent.model, config), rng)
    assert not any(torch.equal(x, y) for x, y in zip(before, weights(head), strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_which_losses_reach_the_policys_trunk(random_digits, architecture):
    """The value loss only where the network is shared; the auxiliary loss always."""
    agent = make_ppg(architecture=architecture, phasic={"clone_coef": 0.0, "value_coef": 0.0})
    rollout = collect(bandit_collector(random_digits), agent.model, agent.ppo.config)
    trunk = agent.model.policy.trunk
    agent.ppo.value_objective(all_rows(agent.ppo, rollout))[0].backward()
    assert all((p.grad is not None) == (architecture == "shared") for p in trunk.parameters())
    agent.model.zero_grad(set_to_none=True)
    rows = agent.with_old_logits(stored_rows(rollout, torch.ones(32, 4)))
    agent.auxiliary_objective(rows)[0].backward()
    assert all(p.grad.abs().max() > 0 for p in trunk.parameters())


class Recording(PPG):
    """Keeps the minibatches of the auxiliary phases that it goes through."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.seen = []

    def auxiliary_objective(self, rows):
        self.seen.append(rows)
        return super().auxiliary_objective(rows)


@pytest.fixture
def recorded(random_digits):
    """(learner, its PPO alone, rollouts, value targets of each iteration) after a phase of 3 iterations."""
    options = {"num_envs": 4, "horizon": 8, "normalize_reward": True}
    phasic = {"policy_iterations": 3, "auxiliary_epochs": 2, "sequences": 2}
    config = agent_config(algorithm="ppg-ewma", phasic=phasic, **options)
    model = small_networks(has_auxiliary=True)
    alone = PPO(config, copy.deepcopy(model), step_size=1e-3)
    agent = Recording(config, model, step_size=1e-3, auxiliary_step_size=1e-3)
    rollouts, _ = play_phases(agent, random_digits, config)
    targets, rng = [], np.random.default_rng(0)
    for rollout in rollouts:
        advantage, target = alone.estimate(rollout)
        alone.improve(rollout, advantage, target, rng)
        targets.append(target)
    return agent, alone, rollouts, targets


def keys_of(*parts):
    """One key for each row, made of everything in it."""
    return [tuple(p[i].numpy().tobytes() for p in parts) for i in range(len(parts[0]))]


def test_each_epoch_shows_each_stored_row_once_with_the_target_of_its_iteration(recorded):
    agent, _, rollouts, targets = recorded
    wanted = [
        key
        for rollout, target in zip(rollouts, targets, strict=True)
        for key in keys_of(rollout.observation.transpose(0, 1).contiguous(), target.T.contiguous())
    ]
    assert len(set(wanted)) == 12
    assert {rows.first.shape for rows in agent.seen} == {(2, 32)}
    seen = [key for rows in agent.seen for key in keys_of(rows.observation, rows.value_target)]
    assert len(seen) == 24
    epochs = seen[:12], seen[12:]
    for epoch in epochs:
        assert sorted(epoch) == sorted(wanted)
    assert epochs[0] != epochs[1]  # in another order


def test_the_policy_phase_is_ppos_and_the_old_policy_is_the_one_at_its_end(recorded):
    agent, alone, _, _ = recorded
    for rows in agent.seen:
        with torch.no_grad():
            expected = alone.model.policy_logits(rows.inputs)
        torch.testing.assert_close(rows.old_logits, expected, rtol=1e-5, atol=1e-6)
    assert not all_equal(weights(agent.model.policy), weights(alone.model.policy))


def test_after_the_phase_the_ewma_is_reset_and_nothing_is_stored(recorded):
    agent, alone, _, _ = recorded
    assert agent.is_between_phases
    assert alone.ewma.weight > 1.0
    assert agent.ppo.ewma.weight == 1.0
    assert all_equal(weights(agent.ppo.ewma.network), weights(agent.model.policy))


def test_a_larger_clone_coefficient_moves_the_policy_less(random_digits):
    moved = []
    for clone_coef in (0.0, 1.0, 10.0):
        model = small_networks(architecture="shared", has_auxiliary=True)
        phasic = {"policy_iterations": 1, "auxiliary_epochs": 12, "clone_coef": clone_coef}
        agent = make_ppg(
            step_size=0.0, auxiliary_step_size=3e-3, model=model, phasic=phasic, architecture="shared"
        )
        rollout = collect(bandit_collector(random_digits), model, agent.ppo.config)
        logits = []
        for _ in range(2):  # before the phase and after; the policy phase does not move
            with torch.no_grad():
                rows = stored_rows(rollout, torch.zeros(32, 4))
                logits.append(agent.model.policy_logits(rows.inputs).numpy())
            if len(logits) == 1:
                agent.learn(rollout, np.random.default_rng(0))
        moved.append(kl(*logits).mean())
    assert moved[0] > 1.2 * moved[1] > 1.44 * moved[2] > 0, moved


OFF = [{"auxiliary_epochs": 0}, {"policy_iterations": 0}]


@pytest.mark.parametrize("phasic", OFF, ids=["no auxiliary epochs", "no policy iterations"])
@pytest.mark.parametrize("suffix", ["", "-ewma"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_auxiliary_phases_it_is_ppo_bit_for_bit(random_digits, architecture, suffix, phasic):
    learners = []
    with_head = small_networks(architecture=architecture, has_auxiliary=True)
    for algorithm, options in (("ppg", {"phasic": phasic}), ("ppo", {})):
        agent = {
            "rollout_steps": 32,
            "num_envs": 4,
            "minibatches": 4,
            "algorithm": algorithm + suffix,
            "architecture": architecture,
            **options,
        }
        config = run_config({"task": "digits-bandit", "interactions": 1, "agent": agent}, source="test")
        model = small_networks(architecture=architecture, has_auxiliary=algorithm == "ppg")
        # The auxiliary head is drawn before a value network apart, which then has other weights.
        model.load_state_dict(
            {n: v for n, v in with_head.state_dict().items() if n in model.state_dict()}, strict=True
        )
        learners.append(make_agent(config, model))
    collectors = [bandit_collector(random_digits) for _ in learners]
    rngs = [np.random.default_rng(0) for _ in learners]
    for _ in range(3):
        diagnostics = [
            agent.learn(collect(collector, agent.model, agent.config), rng)
            for agent, collector, rng in zip(learners, collectors, rngs, strict=True)
        ]
        assert diagnostics[0] == diagnostics[1]
    phasic_weights, plain_weights = (agent.model.state_dict() for agent in learners)
    for name, value in plain_weights.items():
        assert torch.equal(phasic_weights[name], value)
    assert {name for name in phasic_weights if name not in plain_weights} == {
        "policy.heads.auxiliary.weight",
        "policy.heads.auxiliary.bias",
    }
    assert not torch.equal(
        plain_weights["policy.heads.logits.weight"], with_head.policy.heads["logits"].weight
    )


def test_the_auxiliary_phase_has_an_adam_of_its_own_that_lasts(random_digits):
    agent = make_ppg(phasic={"policy_iterations": 2, "auxiliary_epochs": 3, "sequences": 4})
    for phases in (1, 2):
        play_phases(agent, random_digits, agent.ppo.config)
        assert adam_steps(agent.auxiliary_optimizer) == {phases * 3 * 2}  # 8 rows, 4 at a time, 3 epochs
        [policy_optimizer] = agent.ppo.optimizers
        assert adam_steps(policy_optimizer) == {phases * 2 * 4}
        parameters = len(weights(agent.model))
        assert len(agent.auxiliary_optimizer.state_dict()["state"]) == parameters
        assert len(policy_optimizer.state_dict()["state"]) == parameters - 2  # not the auxiliary head's


def test_each_phase_has_its_own_step_size(random_digits):
    for step_size, auxiliary_step_size in ((1e-3, 0.0), (0.0, 1e-3)):
        agent = make_ppg(step_size, auxiliary_step_size)
        before, collector = weights(agent.model.policy), bandit_collector(random_digits)
        rollout = collect(collector, agent.model, agent.ppo.config)
        agent.learn(rollout, np.random.default_rng(0))
        after_policy = weights(agent.model.policy)
        assert all_equal(before, after_policy) == (step_size == 0.0)
        agent.auxiliary_phase(np.random.default_rng(0))
        assert all_equal(after_policy, weights(agent.model.policy)) == (auxiliary_step_size == 0.0)


@pytest.fixture
def easy_digits():
    """Ten images of noise, one for each action."""
    return DigitImages(np.random.default_rng(1).integers(0, 256, (10, 8, 8), np.uint8), np.arange(10))


MODES = {
    "dual": {},
    "shared": {"architecture": "shared"},
    "detach": {"architecture": "detach"},
    "no EWMA": {"algorithm": "ppg"},
    "fixed KL penalty": {"clip": 0.0, "kl_penalty": 1.0},
}


@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
def test_it_learns(easy_digits, options):
    architecture = options.get("architecture", "dual")
    agent = make_ppg(
        step_size=3e-3,
        model=small_networks(architecture=architecture, has_auxiliary=True, sharpen=1.0),
        phasic={"policy_iterations": 4, "auxiliary_epochs": 2, "sequences": 4},
        **options,
    )
    rollouts, diagnostics = play_phases(agent, easy_digits, agent.ppo.config, phases=8)
    assert rollouts[0].reward.mean() < 0.25  # chance is 0.1
    assert np.mean([rollout.reward.mean() for rollout in rollouts[-4:]]) > 0.7
    assert np.isfinite([value for step in diagnostics for value in step.values()]).all()
    losses = [step["auxiliary_loss"] for step in diagnostics if "auxiliary_loss" in step]
    assert len(losses) == 8
    if "kl_penalty" in options:
        assert {step["clip_fraction"] for step in diagnostics} == {0.0}


def steps_in_parts(make_objective, rows, chunks):
    """Weights after one step of plain gradient descent, and the diagnostics, for each chunk."""
    results = []
    for chunk in chunks:
        model, objective = make_objective()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        before = weights(model)
        diagnostics = gradient_step(optimizer, rows, by_autograd(objective), chunk=chunk, device=CPU)
        results.append(([a - b for a, b in zip(weights(model), before, strict=True)], diagnostics))
    return results


def assert_same_step(results):
    (whole, whole_diagnostics), *others = results
    assert max(step.abs().max() for step in whole) > 0
    for parts, diagnostics in others:
        for step, part in zip(whole, parts, strict=True):
            torch.testing.assert_close(part, step, rtol=1e-3, atol=2e-6)
        assert diagnostics.keys() == whole_diagnostics.keys()
        for name, value in diagnostics.items():
            assert value.item() == pytest.approx(whole_diagnostics[name].item(), rel=1e-4, abs=1e-7)


CHUNKS = [None, 1, 32, 64, 100, 1000]  # of 5 rows of 32 steps: also parts that are not of one size


def test_a_policy_step_in_parts_is_the_step_on_the_whole_minibatch(random_digits):
    agent, rollout = make_ppo(random_digits, num_envs=5, minibatches=5, kl_penalty=0.5)
    agent.learn(rollout, np.random.default_rng(0))  # ratios other than 1
    rows = all_rows(agent, rollout)

    def make_objective():
        learner = copy.deepcopy(agent)
        return learner.model, learner.joint_objective

    assert_same_step(steps_in_parts(make_objective, rows, CHUNKS))


def test_an_auxiliary_step_in_parts_is_the_step_on_the_whole_minibatch(random_digits):
    agent = make_ppg(num_envs=5, minibatches=5, phasic={"sequences": 5})
    rollout = collect(bandit_collector(random_digits), agent.model, agent.ppo.config)
    rows = agent.with_old_logits(stored_rows(rollout, torch.from_numpy(rollout.reward).float()))
    with torch.no_grad():  # away from where the cloning term has its minimum
        agent.model.policy.heads["logits"].weight.mul_(1.5)

    def make_objective():
        learner = copy.deepcopy(agent)
        return learner.model, learner.auxiliary_objective

    assert_same_step(steps_in_parts(make_objective, rows, CHUNKS))


def test_a_restored_learner_goes_on_as_if_never_stopped(random_digits):
    options = {"normalize_reward": True, "horizon": 8, "advantage_decay": 0.6}
    agent, restored = make_ppg(**options), make_ppg(**options)
    play_phases(agent, random_digits, agent.ppo.config)
    restored.load_state_dict(copy.deepcopy(agent.state_dict()))
    for learner in (agent, restored):
        play_phases(learner, random_digits, learner.ppo.config, seed=1)
    assert all_equal(weights(agent.model), weights(restored.model))
    assert all_equal(weights(agent.ppo.ewma.network), weights(restored.ppo.ewma.network))


def test_the_auxiliary_head_belongs_to_the_network_that_counts():
    """num_params is the policy network with its heads."""
    agent = make_ppg()
    sizes = sizes_of(agent.model, (1, 8, 8), agent.ppo.config)
    assert sizes.num_params == sum(p.numel() for p in weights(agent.model.policy))
    assert sizes.num_params_total == sum(p.numel() for p in weights(agent.model))
