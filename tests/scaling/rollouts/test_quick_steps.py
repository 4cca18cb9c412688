"""Rollouts whose policy acts in numpy are those of a policy that acts in torch."""

import numpy as np
import pytest
import torch

from rlscale.scaling.config.run import run_config
from rlscale.scaling.models.quick import quick_outputs
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.training.build import build_networks, make_collector

ENVS, STEPS = 4, 250  # Pendulum's time limit cuts an episode off after 200


@pytest.mark.parametrize("architecture", ["dual", "shared"])
@pytest.mark.parametrize(
    ("task", "policy"),
    [
        ("gymnasium:CartPole-v1", "tanh-normal"),
        ("gymnasium:Pendulum-v1", "tanh-normal"),
        ("gymnasium:Pendulum-v1", "normal"),
    ],
)
def test_each_step_is_what_torch_would_have_done(task, policy, architecture):
    agent = {
        "num_envs": ENVS,
        "architecture": architecture,
        "policy": policy,
        "horizon": 99,
        "normalize_observation": "running",
    }
    config = run_config({"task": task, "interactions": 1000, "agent": agent}, source="test")
    model = build_networks(config, torch.Generator().manual_seed(0))
    assert quick_outputs(model, ENVS) is not None
    seeds = np.random.SeedSequence(3).spawn(2)
    collector = make_collector(config, torch.device("cpu"), *seeds)
    rollout, _, lengths = collector.collect(model, envs=ENVS, steps=STEPS, needs_bootstrap=True)
    assert lengths.size
    rng = np.random.default_rng(seeds[1])
    with torch.no_grad():
        for t in range(STEPS):
            logits, value = model(flat_inputs(rollout.observation[t]))
            policy = model.actions(logits[:, 0])
            expected = policy.sample(model.actions.noise(rng, ENVS))
            torch.testing.assert_close(rollout.action[t], expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(
                rollout.logp[t], policy.log_prob(rollout.action[t]), rtol=1e-4, atol=1e-5
            )
            torch.testing.assert_close(rollout.value[t], value[:, 0], rtol=1e-4, atol=1e-5)
