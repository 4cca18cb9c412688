"""Gradients that are written out are autograd's."""

import numpy as np
import pytest
import torch

from rlscale.scaling.agents.ppo import PPO, by_autograd, clip_norm
from rlscale.scaling.agents.quick import quick_gradients
from rlscale.scaling.config.run import run_config
from rlscale.scaling.modules import name_modules
from rlscale.scaling.training.run import Run

AGENT = {
    "algorithm": "ppo",
    "horizon": 99,
    "num_envs": 4,
    "rollout_steps": 64,
    "minibatches": 2,
    "minibatch_of": "steps",
    "epochs_policy": 2,
    "epochs_value": 2,
    "normalize_observation": "running",
}
DEFAULTS = {"entropy_coef": 0.0, "importance_cap": 0.0}
CASES = {
    "choices": ("gymnasium:CartPole-v1", {}, {}),
    "several choices": ("own_code:Sums", {"entropy_coef": 0.5}, {"depth": 3}),
    "tanh-normal": ("gymnasium:Pendulum-v1", DEFAULTS, {"activation": "relu"}),
    "its entropy": ("gymnasium:Pendulum-v1", {"entropy_coef": 0.5, "clip": 0.0, "kl_penalty": 1.0}, {}),
    "normal": ("gymnasium:Pendulum-v1", DEFAULTS | {"policy": "normal"}, {"depth": 1}),
    "normal and its entropy": ("own_code:Push", {"policy": "normal", "entropy_coef": 0.5}, {}),
    "ewma": ("gymnasium:Pendulum-v1", {"algorithm": "ppo-ewma", "kl_penalty": 0.3, "clip": 0.05}, {}),
}


def learner_of(case):
    """A learner, and a batch of which its weights have moved far away, so that some ratios are clipped."""
    name_modules(["own_code"])
    task, agent, model = CASES[case]
    values = {"task": task, "interactions": 10**6, "agent": AGENT | agent, "model": model | {"width": 0.25}}
    run = Run(run_config(values, source="test"))
    run.iterate()
    rollout, _, _ = run.collector.collect(run.agent.model, envs=4, steps=64, needs_bootstrap=True)
    learner = run.agent
    assert isinstance(learner, PPO)
    rows = learner.batch(rollout, *learner.estimate(rollout))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return learner, rows


def proximal_logp(learner, rows):
    if learner.ewma is None:
        return rows.logp
    with torch.no_grad():
        outputs = learner.model.policy_logits(rows.inputs, learner.ewma.network)
        return learner.model.actions(outputs).log_prob(rows.action)


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_diagnostics_of_all_objectives_are_those_of_autograd(case):
    learner, rows = learner_of(case)
    model = learner.model
    quick = quick_gradients(learner.config, model, lambda each: proximal_logp(learner, each))
    pairs = [
        (quick.joint, learner.joint_objective),
        (quick.policy, learner.policy_objective),
        (quick.value, learner.value_objective),
    ]
    for written_out, objective in pairs:
        found, expected = [], []
        for gradients, kept in ((written_out, found), (by_autograd(objective), expected)):
            model.zero_grad(set_to_none=True)
            kept.append(gradients(rows, 1.0))
            kept += [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        assert found[0].keys() == expected[0].keys()
        for name, value in expected[0].items():
            torch.testing.assert_close(found[0][name], value, rtol=1e-4, atol=1e-6)
        assert any(gradient is not None and gradient.any() for gradient in expected[1:])
        for one, other in zip(found[1:], expected[1:], strict=True):
            assert (one is None) == (other is None)
            if other is not None:
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5 * float(other.abs().max()))
    clipped = float(learner.policy_objective(rows)[1]["clip_fraction"])
    assert 0 < clipped < 1 or learner.config.clip == 0


@pytest.mark.parametrize("case", ["choices", "normal"])
def test_a_gradient_vector_is_all_of_a_networks_gradients(case):
    learner, rows = learner_of(case)
    quick = quick_gradients(learner.config, learner.model, lambda each: each.logp)
    quick.joint(rows)
    for network, vector in zip(learner.model.networks, quick.vectors, strict=True):
        parts = [parameter.grad.flatten() for parameter in network.parameters()]
        assert torch.equal(torch.cat(parts), vector)
        vector.zero_()
        assert all(not parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_a_vector_is_clipped_as_torch_clips_it(max_norm):
    vector = torch.from_numpy(np.random.default_rng(0).standard_normal(1000).astype(np.float32))
    parameter = torch.nn.Parameter(torch.zeros(1000))
    parameter.grad = vector.clone()
    torch.nn.utils.clip_grad_norm_([parameter], max_norm)
    clip_norm(vector, max_norm)
    torch.testing.assert_close(vector, parameter.grad)


@pytest.mark.parametrize(
    ("agent", "model"),
    [
        ({"architecture": "shared"}, {}),
        ({"minibatch_of": "sequences"}, {"recurrent": "lstm"}),
        ({}, {"layer_norm": True}),
        ({"feature_penalty": {"coefficient": 1.0}}, {}),
        ({"algorithm": "ppg", "phasic": {"policy_iterations": 2, "sequences": 4}}, {}),
        ({}, {"family": "own_code:MyTrunk"}),
    ],
    ids=["one network", "memory", "normalised layers", "feature penalty", "auxiliary head", "one's own"],
)
def test_other_networks_and_objectives_are_left_to_autograd(agent, model):
    name_modules(["own_code"])
    values = {"task": "gymnasium:CartPole-v1", "interactions": 1000, "agent": AGENT | agent, "model": model}
    run = Run(run_config(values, source="test"))
    config = run.config.agent
    assert quick_gradients(config, run.agent.model, lambda rows: rows.logp) is None
    run.iterate()
