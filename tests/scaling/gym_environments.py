"""Gymnasium's environments as tasks, made, stepped and saved, for the tests of these."""

import io

import pytest
import torch

from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.catalog import Continuous, find_task
from rlscale.scaling.tasks.registry import make_environment
from rlscale.scaling.tasks.wrappers import NO_WRAPPERS


def environments(task, num_envs=2, seed=0, wrappers=NO_WRAPPERS):
    return make_environment(
        task,
        num_envs=num_envs,
        num_levels=None,
        start_level=0,
        seed=seed,
        num_threads=0,
        wrappers=wrappers,
    )


def refused(code, call, *words):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.code == code
    for word in words:
        assert word in str(caught.value)


def reloaded(state):
    """As a checkpoint keeps it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def steps(env, rng, count):
    actions = find_task(env_task(env)).actions
    seen = []
    for _ in range(count):
        if isinstance(actions, Continuous):
            action = rng.uniform(actions.low, actions.high, (env.num_envs, len(actions.low)))
        else:
            action = rng.integers(actions.count, size=env.num_envs)
        env.act(action)
        observed = env.observe()
        seen.append((observed.observation.copy(), observed.reward, observed.first))
    return seen


def env_task(env):
    return env.get_state()["task"]
