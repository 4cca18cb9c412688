"""What is timed to estimate a run's speed, and how it is put together."""

import pytest

from rlscale.scaling.config.run import run_config
from rlscale.scaling.costs.speed import (
    SLICE_FLOPS,
    SLICE_INTERACTIONS,
    _auxiliary_share,
    _slice_of,
    estimate_rate,
)
from rlscale.scaling.models.sizing import sizes_of


def bandit(interactions=100_000, width=0.05, **agent):
    values = {"task": "digits-bandit", "interactions": interactions, "model": {"width": width}}
    return run_config({**values, "agent": {"rollout_steps": 128, **agent}}, source="test")


def procgen(width=0.125, family="impala", **agent):
    agent = {"horizon": 1999, "num_envs": 64, "rollout_steps": 256, **agent}
    values = {"task": "procgen-starpilot-easy", "interactions": 10**7, "agent": agent}
    return run_config({**values, "model": {"family": family, "width": width}}, source="test")


def test_a_small_iteration_is_timed_whole():
    part = _slice_of(bandit(minibatches=4))
    assert (part.count, part.agent.minibatches) == (128, 4)


def test_a_growing_batch_is_timed_as_in_the_middle_of_the_run():
    part = _slice_of(bandit(100_000, batch_growth={"exponent": 0.5, "reference": 12_500}))
    assert (part.agent.num_envs, part.agent.num_envs_at(100_000)) == (2, 2)


@pytest.mark.parametrize("width", [0.125, 1.0, 2.828427])
def test_a_large_iteration_is_timed_in_a_slice_of_bounded_work(width):
    part = _slice_of(procgen(width, algorithm="ppg-ewma"))
    flops = sizes_of(part.learner.model, (3, 64, 64), part.agent).flops_per_interaction
    assert part.agent.num_envs <= 64
    assert part.count * flops <= SLICE_FLOPS
    assert part.count * flops > SLICE_FLOPS / 3 or part.count == SLICE_INTERACTIONS


def test_a_network_with_memory_learns_from_long_rows():
    config = procgen(0.125, family="impala-lstm")
    assert _slice_of(config, steps_first=True).agent.rollout_steps == 256
    assert _slice_of(config).agent.num_envs == 64


def test_the_auxiliary_share_is_its_passes_over_those_of_learning():
    config = procgen(algorithm="ppg", phasic={"auxiliary_epochs": 6})
    part = _slice_of(config)
    # Per interaction a forward pass of the policy and 6 epochs, against one epoch of both networks.
    assert 6.0 < _auxiliary_share(config, part.learner) < 6.25
    assert _auxiliary_share(bandit(), _slice_of(bandit()).learner) == 0.0


def test_the_estimate_is_a_rate_that_falls_with_the_work():
    few, many = bandit(width=0.05, epochs_policy=1), bandit(width=0.5, epochs_policy=8, epochs_value=8)
    assert estimate_rate(few) > 3 * estimate_rate(many) > 0
