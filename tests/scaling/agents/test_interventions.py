"""Interventions against collapse: the feature penalty, cleared moments, masked rewards, normalised layers."""

import copy

import numpy as np
import pytest
import torch
from learners import adam_steps, agent_config, all_equal, all_rows, make_ppo, weights

from rlscale.scaling.agents.feature_penalty import feature_penalty, penalized, with_collected_features
from rlscale.scaling.agents.ppo import PPO, masked
from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.errors import InputError
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.modules import name_modules
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.tasks.catalog import Discrete

LAYERS = ("last", "all")


def with_penalty(coefficient=1.0, layers="last", **options):
    return {"feature_penalty": {"coefficient": coefficient, "layers": layers}, **options}


def networks(family, shape, **options):
    model = ModelConfig(family=family, width=0.25, **options)
    return build_actor_critic(model, shape, Discrete(3), torch.Generator().manual_seed(0))


def test_the_penalty_is_a_mean_over_observations_and_units():
    one, other = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert float(feature_penalty(one, other)) == (0 + 4 + 9 + 0) / 4
    assert float(feature_penalty(one, one)) == 0.0


@pytest.mark.parametrize("architecture", ["dual", "shared", "detach"])
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("epochs_value", [1, 2])
def test_at_the_weights_that_collected_the_penalty_changes_nothing(
    random_digits, layers, architecture, epochs_value
):
    """phi is phi_old there, so the first gradient is that without a penalty."""
    options = {"algorithm": "ppo", "architecture": architecture, "epochs_value": epochs_value}
    agent, rollout = make_ppo(random_digits, **options, **with_penalty(1e3, layers))
    rows = all_rows(agent, rollout)
    names = penalized(agent.model.policy.trunk, layers)
    kept = with_collected_features(rows, agent.model, names, torch.device("cpu"))
    for objective in (agent.joint_objective, agent.policy_objective):
        gradients = []
        for part in (rows, kept):
            agent.model.zero_grad(set_to_none=True)
            loss, diagnostics = objective(part)
            loss.backward()
            gradients.append([p.grad.clone() for p in agent.model.parameters() if p.grad is not None])
        assert float(diagnostics["feature_penalty"]) == pytest.approx(0.0, abs=1e-12)
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("layers", LAYERS)
def test_the_penalty_and_its_gradient_by_hand(random_digits, layers):
    """Pre-activations by a pass of the layers, after the weights have moved."""
    agent, rollout = make_ppo(random_digits, algorithm="ppo", entropy_coef=0.0, **with_penalty(3.0, layers))
    rows = all_rows(agent, rollout)
    names = penalized(agent.model.policy.trunk, layers)
    kept = with_collected_features(rows, agent.model, names, torch.device("cpu"))
    before = copy.deepcopy(agent.model.policy.trunk)
    with torch.no_grad():
        for parameter in agent.model.policy.trunk.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    x = rows.observation.flatten(0, 1)
    found = by_hand(agent.model.policy.trunk, x, layers)
    expected = (found - by_hand(before, x, layers).detach()).square().mean()
    loss, diagnostics = agent.policy_objective(kept)
    assert float(diagnostics["feature_penalty"]) == pytest.approx(expected.item(), rel=1e-4)
    plain, _ = agent.policy_objective(rows)
    torch.testing.assert_close(loss - plain, 3 * expected, rtol=1e-3, atol=1e-5)
    weight = agent.model.policy.trunk.conv1.weight
    one, other = (torch.autograd.grad(each, weight)[0] for each in (loss - plain, 3 * expected))
    torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def by_hand(trunk, observation, layers):
    first = trunk.conv1(observation.float() / 255)
    second = trunk.conv2(torch.relu(torch.nn.functional.max_pool2d(first, 2)))
    last = trunk.dense[0](torch.relu(torch.nn.functional.max_pool2d(second, 2)).flatten(1))
    return last if layers == "last" else torch.cat([first.flatten(1), second.flatten(1), last], dim=1)


@pytest.mark.parametrize("layers", LAYERS)
def test_a_large_penalty_holds_the_features_and_a_zero_one_does_nothing(random_digits, layers):
    def moved(**options):
        agent, rollout = make_ppo(random_digits, algorithm="ppo", epochs_policy=5, epochs_value=5, **options)
        x = rollout.observation.flatten(0, 1)
        before = by_hand(agent.model.policy.trunk, x, layers).detach()
        agent.learn(rollout, np.random.default_rng(0))
        after = by_hand(agent.model.policy.trunk, x, layers).detach()
        return float((after - before).square().mean()), weights(agent.model)

    free, plain = moved()
    held, _ = moved(**with_penalty(1e4, layers))
    none, same = moved(**with_penalty(0.0, layers))
    assert held < 0.2 * free
    assert none == pytest.approx(free, rel=0.02)
    for one, other in zip(plain, same, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize(
    ("family", "shape", "count"),
    [
        ("mlp", (6,), 2),
        ("nature-cnn", (4, 36, 36), 4),
        ("impala", (3, 64, 64), 7),
        ("mnist-cnn", (1, 8, 8), 3),
    ],
)
def test_every_family_names_its_pre_activations(family, shape, count):
    trunk = networks(family, shape).policy.trunk
    assert len(penalized(trunk, "all")) == count
    assert penalized(trunk, "last") == penalized(trunk, "all")[-1:]


def test_a_family_that_names_no_pre_activations_is_refused():
    name_modules(["own_code"])
    model = networks("own_code:Unnamed", (6,))
    agent = agent_config(**with_penalty())
    with pytest.raises(InputError, match="needs a family that names its pre_activations") as caught:
        PPO(agent, model, step_size=0.1)
    assert caught.value.code == "no_pre_activations"


def test_cleared_moments_make_each_iteration_adams_first(random_digits):
    agent, rollout = make_ppo(random_digits, reset_adam=True, epochs_policy=2, epochs_value=3)
    for _ in range(3):
        agent.learn(rollout, np.random.default_rng(0))
        assert [adam_steps(optimizer) for optimizer in agent.optimizers] == [{12}, {8}]
    kept, rollout = make_ppo(random_digits)
    for _ in range(3):
        kept.learn(rollout, np.random.default_rng(0))
    assert adam_steps(kept.optimizers[0]) == {12}


def test_an_iteration_with_cleared_moments_is_that_of_a_new_learner(random_digits):
    agent, rollout = make_ppo(random_digits, reset_adam=True, algorithm="ppo")
    agent.learn(rollout, np.random.default_rng(0))
    fresh = PPO(agent.config, copy.deepcopy(agent.model), step_size=1e-3)
    for each in (agent, fresh):
        each.learn(rollout, np.random.default_rng(1))
    assert all_equal(weights(agent.model), weights(fresh.model))


def test_masked_rewards_are_zero_at_the_rate_and_nothing_is_drawn_without_a_mask(random_digits):
    _, rollout = make_ppo(random_digits, num_envs=100, rollout_steps=100)
    rollout = type(rollout)(**{**vars(rollout), "reward": np.ones((100, 100))})
    rng = np.random.default_rng(4)
    seen = masked(rollout, 0.9, rng).reward
    assert set(np.unique(seen)) == {0.0, 1.0}
    assert seen.mean() == pytest.approx(0.1, abs=4 * (0.09 / 10_000) ** 0.5)
    state = rng.bit_generator.state
    assert masked(rollout, 0.0, rng) is rollout
    assert rng.bit_generator.state == state


@pytest.mark.parametrize(("family", "shape"), [("mlp", (6,)), ("nature-cnn", (4, 36, 36))])
def test_layer_norm_normalises_what_the_last_nonlinearity_gets(family, shape):
    model = networks(family, shape, layer_norm=True)
    trunk = model.policy.trunk
    found = {}
    name = trunk.pre_activations[-1]
    trunk.get_submodule(name).register_forward_hook(lambda _, __, output: found.update(last=output))
    x = 50 * torch.rand(9, *shape, generator=torch.Generator().manual_seed(2))
    trunk(x.to(torch.uint8) if len(shape) == 3 else x)
    torch.testing.assert_close(found["last"].mean(dim=1), torch.zeros(9), atol=1e-5, rtol=0)
    torch.testing.assert_close(found["last"].std(dim=1, correction=0), torch.ones(9), atol=1e-2, rtol=0)
    units = sum(p.numel() for p in trunk.norms.parameters())
    plain = networks(family, shape).policy.trunk
    assert sum(p.numel() for p in trunk.parameters()) == sum(p.numel() for p in plain.parameters()) + units


@pytest.mark.parametrize("shape", [(6,), (4, 36, 36)])
@pytest.mark.parametrize("architecture", ["shared", "detach"])
def test_a_shared_trunk_gives_policy_and_value_in_every_family(shape, architecture):
    family = "mlp" if len(shape) == 1 else "nature-cnn"
    model = build_actor_critic(
        ModelConfig(family=family, width=0.25),
        shape,
        Discrete(3),
        torch.Generator().manual_seed(0),
        architecture=architecture,
    )
    assert model.value is None
    reached = {name for name, p in value_gradients(model, shape) if "trunk" in name and p.abs().sum() > 0}
    assert bool(reached) == (architecture == "shared")


def value_gradients(model, shape):
    x = 100 * torch.rand(5, *shape, generator=torch.Generator().manual_seed(2))
    _, value = model(flat_inputs(x.to(torch.uint8) if len(shape) == 3 else x))
    value.sum().backward()
    return [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
