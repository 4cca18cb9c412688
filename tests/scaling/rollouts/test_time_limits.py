"""Learning goes on through time limits: what would have followed counts, and an end is an end."""

import numpy as np
import pytest
import torch

from rlscale.scaling.agents.ppo import PPO
from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.modules import name_modules
from rlscale.scaling.rollouts.environments import EnvironmentCollector
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.tasks.catalog import find_task
from rlscale.scaling.tasks.registry import make_environment

STEPS, ENVS, GROUPS = 12, 2, 2


@pytest.fixture(autouse=True, scope="module")
def _own_code():
    name_modules(["own_code"])


def collector(task):
    def make(index):
        return make_environment(
            task, num_envs=ENVS, num_levels=None, start_level=0, seed=index, num_threads=0
        )

    return EnvironmentCollector(make, ENVS, np.random.default_rng(0), torch.device("cpu"))


def rollouts(task, architecture="dual", count=2):
    entry = find_task(task)
    model = build_actor_critic(
        ModelConfig(family="mlp"),
        entry.observations.shape,
        entry.actions,
        torch.Generator().manual_seed(0),
        architecture=architecture,
    )
    collect = collector(task).collect
    return model, [
        collect(model, envs=ENVS * GROUPS, steps=STEPS, needs_bootstrap=True)[0] for _ in range(count)
    ]


@pytest.mark.parametrize("architecture", ["dual", "shared"])
@pytest.mark.parametrize("task", ["own_code:Cut", "own_code:Base"])
@pytest.mark.parametrize("lam", [0.95, 0.0])
def test_targets_equal_the_recursion_by_hand(task, architecture, lam):
    """Episodes of 5 steps, each observation (step, a number of its episode); reward 1 at each step."""
    model, both = rollouts(task, architecture)
    config = AgentConfig(algorithm="ppo", horizon=9, gae_lambda=lam, normalize_advantage=False, num_envs=4)
    begins_at = 0
    for rollout in both:
        _, target = PPO(config, model, step_size=0.0).estimate(rollout)
        for e in range(ENVS * GROUPS):
            following, following_value = 0.0, rollout.value[-1, e].item()
            for t in reversed(range(STEPS)):
                ends = (begins_at + t + 1) % 5 == 0
                if ends:
                    offset = rollout.observation[t, e, 1]
                    last = value_of(model, torch.tensor([[5.0, offset]]))
                    following, following_value = 0.0, last if task == "own_code:Cut" else 0.0
                delta = 1.0 + config.gamma * following_value - rollout.value[t, e].item()
                following = delta + config.gamma * lam * following
                following_value = rollout.value[t, e].item()
                assert target[t, e].item() == pytest.approx(following + following_value, abs=1e-4)
        begins_at += STEPS


def value_of(model, observation):
    with torch.no_grad():
        return model.values(flat_inputs(observation))[0].item()


def test_raw_rewards_are_kept_and_the_scale_of_rewards_is_not_that_of_values():
    """What follows a time limit is added after the rewards are normalised: values are in that unit."""
    model, (rollout, _) = rollouts("own_code:Cut")
    assert set(rollout.reward.ravel()) == {1.0}
    assert (rollout.cut_value != 0).sum() == 2 * ENVS * GROUPS
    config = AgentConfig(algorithm="ppo", horizon=9, normalize_advantage=False, normalize_reward=True)
    learner = PPO(config, model, step_size=0.0)
    scaled = PPO(config, model, step_size=0.0)
    thousandfold = type(rollout)(**{**vars(rollout), "reward": rollout.reward * 1000})
    advantage, _ = learner.estimate(rollout)
    other, _ = scaled.estimate(thousandfold)
    torch.testing.assert_close(advantage, other, rtol=1e-3, atol=1e-3)


def test_without_time_limits_nothing_is_added():
    _, (rollout, _) = rollouts("own_code:Base")
    assert rollout.cut_value is None
