"""Learning goes on through time limits: what would have followed counts, and an end is an end."""

import itertools

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


def networks(task, architecture="dual", **options):
    entry = find_task(task)
    return build_actor_critic(
        ModelConfig(family="mlp", **options),
        entry.observations.shape,
        entry.actions,
        torch.Generator().manual_seed(0),
        architecture=architecture,
    )


def collected(model, task, count=2, needs_bootstrap=True):
    collect = collector(task).collect
    return [
        collect(model, envs=ENVS * GROUPS, steps=STEPS, needs_bootstrap=needs_bootstrap)[0]
        for _ in range(count)
    ]


def rollouts(task, architecture="dual"):
    model = networks(task, architecture)
    return model, collected(model, task)


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


@pytest.mark.parametrize("needs_bootstrap", [True, False])
@pytest.mark.parametrize(
    ("architecture", "acts_with_values"),
    [("dual", False), ("dual", True), ("shared", True), ("detach", True)],
)
def test_the_value_at_a_time_limit_has_the_memory_of_its_episode(
    architecture, acts_with_values, needs_bootstrap
):
    """Against torch's own LSTM on every episode from its beginning, across rollouts, unbatched."""
    torch.manual_seed(0)
    model = networks("own_code:CutSooner", architecture, recurrent="lstm", hidden_size=9)
    model.policy.trunk.few_channels = acts_with_values
    rollouts = collected(model, "own_code:CutSooner", count=4, needs_bootstrap=needs_bootstrap)
    network = model.value or model.policy
    shown = torch.cat([rollout.observation for rollout in rollouts])
    first = torch.cat([*(rollout.first[:-1] for rollout in rollouts), rollouts[-1].first[-1:]]).bool()
    values = torch.cat([rollout.value[:-1] for rollout in rollouts])
    cut = torch.zeros_like(values)
    if needs_bootstrap:
        cut = torch.cat([rollout.cut_value for rollout in rollouts])
    expected_cut = torch.zeros_like(cut)
    for e in range(ENVS * GROUPS):
        begins = sorted({*first[:, e].nonzero().flatten().tolist(), len(shown)})
        for begin, end in itertools.pairwise(begins):
            observations = shown[begin:end, e]
            alone = values_by_torch(network, observations)
            torch.testing.assert_close(values[begin:end, e], alone, rtol=1e-4, atol=1e-5)
            if first[end, e] and needs_bootstrap:
                length, offset = observations[-1, 0] + 1, observations[0, 1]
                last = torch.tensor([[length, offset]])
                expected_cut[end - 1, e] = values_by_torch(network, torch.cat([observations, last]))[-1]
                forgetful = values_by_torch(network, last)[0]
                assert not torch.isclose(expected_cut[end - 1, e], forgetful, rtol=1e-3)
    assert needs_bootstrap == bool(expected_cut.any())
    torch.testing.assert_close(cut, expected_cut, rtol=1e-4, atol=1e-5)


def values_by_torch(network, observations):
    """Values of one episode from its beginning, (steps,)."""
    lstm = torch.nn.LSTM(64, 9)
    with torch.no_grad():
        for name, parameter in network.recurrence.cell.named_parameters():
            getattr(lstm, f"{name}_l0").copy_(parameter)
        features, _ = lstm(network.trunk(observations))
        return network.heads["value"](features)[:, 0]


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
