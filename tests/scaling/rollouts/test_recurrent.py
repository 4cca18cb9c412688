"""Rollouts of networks with memory: training computes again exactly what acting stored."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.models.actor_critic import Inputs
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.rollouts.environments import EnvironmentCollector
from rlscale.scaling.rollouts.rollout import batch_of
from rlscale.scaling.tasks.catalog import Discrete
from rlscale.scaling.tasks.interface import Episodes, Observed, concatenate_episodes
from rlscale.scaling.tasks.procgen.games import ProcgenEnv
from rlscale.scaling.tasks.procgen.names import parse_task

ENVS, STEPS = 4, 8
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class Flicker:
    """Images of noise in episodes of three steps: many beginnings within a rollout."""

    observation_shape = (3, 16, 16)
    num_actions = 15

    def __init__(self, num_envs, seed):
        self.num_envs = num_envs
        self._rng = np.random.default_rng(seed)
        self._lengths = np.arange(num_envs) % 3
        self._show(np.ones(num_envs, bool))

    def _show(self, first):
        images = self._rng.integers(0, 256, (self.num_envs, 16, 16, 3), np.uint8)
        self._observed = Observed(images, np.zeros(self.num_envs), first)

    def act(self, actions):
        self._lengths += 1
        self._show(self._lengths % 3 == 0)

    def observe(self):
        return self._observed

    def pop_episodes(self) -> Episodes:
        return concatenate_episodes([])


def flicker(index, size):
    return Flicker(size, seed=index)


def procgen(index, size):
    return ProcgenEnv(
        task=parse_task("procgen-miner-memory"), num_envs=size, num_levels=20, seed=index, num_threads=0
    )


def collector(make, groups=1):
    size = ENVS // groups
    return EnvironmentCollector(
        lambda index: make(index, size), size, np.random.default_rng(3), torch.device("cpu")
    )


def networks(make, architecture, precision="float32", width=1 / 8):
    shape = (3, 64, 64) if make is procgen else (3, 16, 16)
    return build_actor_critic(
        ModelConfig(family="impala-lstm", width=width),
        shape,
        Discrete(15),
        torch.Generator().manual_seed(0),
        architecture=architecture,
        precision=precision,
    )


def rollouts(collect, model, count, needs_bootstrap=True):
    return [
        collect.collect(model, envs=ENVS, steps=STEPS, needs_bootstrap=needs_bootstrap)[0]
        for _ in range(count)
    ]


def rows_of(rollout):
    nothing = torch.zeros(STEPS, ENVS)
    return batch_of(rollout, nothing, nothing, chunks=1)


@pytest.mark.parametrize("architecture", ["dual", "shared", "detach"])
@pytest.mark.parametrize("width", [1 / 8, 1 / 2])  # values while acting, and of whole rollouts
@pytest.mark.parametrize(("make", "groups"), [(procgen, 1), (flicker, 1), (flicker, 2)])
def test_stored_rows_evaluated_from_the_stored_state_are_what_acting_gave(make, groups, width, architecture):
    model = networks(make, architecture, width=width)
    one, two = rollouts(collector(make, groups), model, 2)
    assert not one.state.any()
    assert two.state.any(dim=1).all()
    for rollout in (one, two):
        rows = rows_of(rollout)
        with torch.no_grad():
            logits, values = model(rows.inputs)
            alone = model.values(rows.inputs)[0]
        logp = Categorical(logits=logits).log_prob(rows.action)
        torch.testing.assert_close(logp, rows.logp, **CLOSE)
        torch.testing.assert_close(values, rollout.value[:-1].T, **CLOSE)
        torch.testing.assert_close(alone, rollout.value[:-1].T, **CLOSE)
    # The step after a rollout is the first of the next one, in value as in what it shows.
    torch.testing.assert_close(one.value[-1], two.value[0], **CLOSE)
    assert torch.equal(one.first[-1], two.first[0])


@pytest.mark.parametrize("architecture", ["dual", "shared"])
def test_the_memory_matters_to_what_was_stored(architecture):
    """Otherwise the comparison above would not notice a lost state."""
    model = networks(flicker, architecture)
    rows = rows_of(rollouts(collector(flicker), model, 2)[1])
    with torch.no_grad():
        logits, values = model(rows.inputs)
        forgetful = Inputs(rows.observation, rows.first, torch.zeros_like(rows.state))
        other_logits, other_values = model(forgetful)
    begun = rows.first.cumsum(dim=1) > 0
    assert (begun.any(dim=1) & ~begun.all(dim=1)).any()
    for stored, anew in ((logits, other_logits), (values[..., None], other_values[..., None])):
        assert torch.equal((stored != anew).any(dim=2), ~begun)


@pytest.mark.parametrize("width", [1 / 8, 1 / 2])
def test_a_rollout_goes_on_from_the_state_after_the_one_before(width):
    model = networks(flicker, "dual", width=width)
    one, two = rollouts(collector(flicker), model, 2)
    rows, state = rows_of(one), one.state
    mine = model.policy.num_state
    with torch.no_grad():
        for t in range(STEPS):
            step = Inputs(rows.observation[:, t, None], rows.first[:, t, None], state)
            acted, valued = model.act(step)[2], model.values(step)[1][:, 0]
            state = torch.cat([acted[:, :mine], valued[:, mine:]], dim=1)
    torch.testing.assert_close(two.state, state, **CLOSE)


@pytest.mark.parametrize("architecture", ["dual", "shared"])
def test_values_of_a_few_rows_at_a_time_are_those_of_all(architecture):
    model = networks(flicker, architecture)
    together = rollouts(collector(flicker), model, 2)
    model.policy.trunk.chunk = STEPS  # one row
    apart = rollouts(collector(flicker), model, 2)
    for a, b in zip(together, apart, strict=True):
        assert torch.equal(a.action, b.action)
        torch.testing.assert_close(a.value, b.value, **CLOSE)
        torch.testing.assert_close(a.state, b.state, **CLOSE)


@pytest.mark.parametrize("architecture", ["dual", "shared"])
def test_the_memory_is_part_of_what_is_resumed(architecture):
    model = networks(procgen, architecture)
    original = collector(procgen)
    rollouts(original, model, 1)
    resumed = collector(procgen)
    resumed.load_state_dict(original.state_dict())
    (expected,), (again,) = rollouts(original, model, 1), rollouts(resumed, model, 1)
    assert expected.state.any()
    for name in ("state", "observation", "action", "logp", "value", "first"):
        assert torch.equal(getattr(expected, name), getattr(again, name)), name


@pytest.mark.parametrize("architecture", ["dual", "shared"])
def test_bfloat16_gives_in_training_nearly_what_it_gave_in_acting(architecture):
    model = networks(flicker, architecture, precision="bfloat16")
    for rollout in rollouts(collector(flicker), model, 2):
        rows = rows_of(rollout)
        with torch.no_grad():
            logits, values = model(rows.inputs)
        logp = Categorical(logits=logits).log_prob(rows.action)
        torch.testing.assert_close(logp, rows.logp, rtol=0, atol=5e-3)
        torch.testing.assert_close(values, rollout.value[:-1].T, rtol=0, atol=5e-3)
