"""The tangent kernel against closed forms, and gradients at once against those one by one."""

import pytest
import torch
from torch.func import functional_call

from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.config.run import run_config
from rlscale.scaling.diagnostics import probe, tangent
from rlscale.scaling.diagnostics.tangent import (
    gradients_at_once,
    gradients_one_by_one,
    kernel_of,
    kernel_rank,
    tangent_kernel,
)
from rlscale.scaling.models.actor_critic import Inputs
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.models.trunk import observation_dtype
from rlscale.scaling.modules import name_modules
from rlscale.scaling.tasks.catalog import Discrete
from rlscale.scaling.training.run import Run


@pytest.mark.parametrize("most", [10**6, 30, 1])
def test_the_kernel_of_a_linear_function_is_its_gram_matrix(monkeypatch, most):
    """grad of w.x + b is (x, 1), whatever the number of blocks it takes."""
    monkeypatch.setattr(tangent, "MOST_GRADIENT_NUMBERS", most)
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    rows, ones = x[:, :], torch.ones(7, 1)
    kernel = tangent_kernel(lambda places: (rows[list(places)], ones[list(places)]), 7, 4)
    torch.testing.assert_close(kernel, (x @ x.T + 1).double(), rtol=1e-6, atol=1e-6)
    assert kernel_rank(kernel) <= 4


def test_parameters_without_influence_count_nothing():
    used, unused = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))
    kernel = kernel_of(torch.eye(3) @ used, [used, unused])
    torch.testing.assert_close(kernel, torch.eye(3, dtype=torch.float64))


def test_the_rank_of_a_kernel():
    assert kernel_rank(torch.eye(5)) == 5
    assert kernel_rank(torch.ones(5, 5)) == 1
    assert kernel_rank(torch.zeros(5, 5)) == 0


@pytest.mark.parametrize("most", [10**6, 100])
def test_gradients_at_once_are_those_one_by_one(monkeypatch, most):
    monkeypatch.setattr(tangent, "MOST_GRADIENT_NUMBERS", most)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    x, sign = torch.randn(6, 3).double(), torch.randn(6).double()
    moved = dict(network.named_parameters())

    def output(weights, one, factor):
        return functional_call(network, weights, (one[None],))[0, 0] * factor

    at_once = tangent_kernel(gradients_at_once(output, moved, (x, sign)), 6, 41)
    torch.testing.assert_close(at_once, kernel_of(network(x)[:, 0] * sign, moved.values()))


@pytest.mark.parametrize(
    ("family", "shape"), [("mlp", (5,)), ("mnist-cnn", (1, 8, 8)), ("nature-cnn", (4, 40, 40))]
)
def test_these_families_can_be_vectorised(family, shape):
    model = build_actor_critic(
        ModelConfig(family=family, width=0.25), shape, Discrete(3), torch.Generator().manual_seed(0)
    )
    network, moved = model.policy, dict(model.policy.named_parameters())
    observation = torch.randint(0, 256, (4, 1, *shape)).to(observation_dtype(shape))

    def output(weights, one):
        inputs = Inputs(one[None], torch.zeros(1, 1), torch.zeros(1, 0))
        return functional_call(network, weights, (inputs,))[0, 0, 0]

    inputs = Inputs(observation, torch.zeros(4, 1), torch.zeros(4, 0))
    size = sum(weight.numel() for weight in moved.values())
    at_once = tangent_kernel(gradients_at_once(output, moved, (observation,)), 4, size)
    plain = kernel_of(network(inputs)[:, 0, 0], moved.values())
    torch.testing.assert_close(at_once, plain, rtol=1e-4, atol=1e-5)


def gradients_of_runs(task, family):
    """Of log pi(a|s) and of the value in 6 states: as the probe takes them, and one by one."""
    name_modules(["own_code"])
    values = {
        "task": task,
        "interactions": 100,
        "model": {"family": family, "width": 0.25},
        "agent": {"algorithm": "ppo", "num_envs": 1, "rollout_steps": 6, "minibatches": 1, "horizon": 9},
        "diagnostics": {"every": 1, "batch": 6},
    }
    run = Run(run_config(values, source="test"))
    model = run.agent.model
    rollout, _, _ = run.collector.collect(model, envs=1, steps=6, needs_bootstrap=True)
    observation, action = rollout.observation[:, 0], rollout.action[:, 0]
    log_prob = model.actions(model.policy.heads["logits"](model.policy.trunk(observation))).log_prob(action)
    value = model.value.heads["value"](model.value.trunk(observation))[:, 0]
    plain = [
        kernel_rank(kernel_of(outputs, network.parameters()))
        for outputs, network in zip((log_prob, value), model.networks, strict=True)
    ]
    metrics = probe.Probe(run.config.diagnostics, model, clip=0.2).before(rollout).metrics
    return plain, [metrics["policy_ntk_rank"], metrics["value_ntk_rank"]]


@pytest.mark.parametrize(
    ("task", "family"),
    [
        ("own_code:Push", "mlp"),
        ("own_code:Pictures", "nature-cnn"),
        ("own_code:Push", "own_code:Branching"),
    ],
)
def test_the_metric_is_that_of_gradients_one_by_one(task, family):
    plain, measured = gradients_of_runs(task, family)
    assert measured == plain


def test_one_by_one_keeps_the_order_of_samples():
    weight = torch.nn.Parameter(torch.ones(2))
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    (found,) = gradients_one_by_one(lambda at: x[at] @ weight, [weight])(range(2))
    torch.testing.assert_close(found, x)
