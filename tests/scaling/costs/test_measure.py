"""What a config costs: networks are built once, and what is timed is a small part of the real run."""

import numpy as np
import pytest

from rlscale.scaling.config.run import run_config
from rlscale.scaling.costs import measure as module
from rlscale.scaling.costs.measure import (
    TIMED_FLOPS,
    TIMED_INTERACTIONS,
    BlankBandit,
    measure,
    seconds_per_interaction,
    timed_config,
)
from rlscale.scaling.costs.memory import memory_need
from rlscale.scaling.tasks.catalog import TASKS
from rlscale.scaling.training.facts import run_columns


def bandit(interactions=100_000, width=0.05, **agent):
    values = {"task": "digits-bandit", "interactions": interactions, "model": {"width": width}}
    return run_config({**values, "agent": {"rollout_steps": 128, **agent}}, source="test")


def procgen(width=0.125, family="impala", **agent):
    agent = {"horizon": 1999, "num_envs": 64, "rollout_steps": 256, **agent}
    values = {"task": "procgen-starpilot-easy", "interactions": 10**7, "agent": agent}
    return run_config({**values, "model": {"family": family, "width": width}}, source="test")


def flops_of(config):
    return run_columns(config)["flops_per_interaction"]


def test_columns_and_memory_come_from_networks_that_are_built_once(monkeypatch):
    built = []
    build = module.build_networks
    monkeypatch.setattr(module, "build_networks", lambda *args: built.append(args) or build(*args))
    config = procgen(algorithm="ppg-ewma")
    measured = measure(config)
    assert (measured.columns, measured.memory) == (run_columns(config), memory_need(config))
    assert measured.seconds is None
    assert len(built) == 1


def test_a_small_iteration_is_timed_whole():
    agent = timed_config(bandit(minibatches=4), 1e6).agent
    assert (agent.num_envs, agent.rollout_steps, agent.minibatches) == (1, 128, 4)


def test_a_growing_batch_is_timed_as_in_the_middle_of_the_run():
    config = timed_config(bandit(100_000, batch_growth={"exponent": 0.5, "reference": 12_500}), 1e6)
    assert (config.agent.num_envs, config.agent.num_envs_at(100_000)) == (2, 2)


@pytest.mark.parametrize("width", [0.125, 1.0, 2.828427])
def test_a_large_iteration_is_cut_to_bounded_work(width):
    config = procgen(width, algorithm="ppg-ewma")
    flops = flops_of(config)
    agent = timed_config(config, flops).agent
    count = agent.num_envs * agent.rollout_steps
    assert agent.num_envs <= 64
    assert count * flops <= TIMED_FLOPS
    assert count * flops > TIMED_FLOPS / 3 or count == TIMED_INTERACTIONS


def test_a_network_with_memory_keeps_its_steps():
    assert timed_config(procgen(family="impala-lstm"), 1e6).agent.rollout_steps == 256
    assert timed_config(procgen(), 1e6).agent.num_envs == 64


def test_each_timed_iteration_has_its_share_of_a_phase():
    agent = timed_config(procgen(algorithm="ppg"), 1e6).agent
    assert agent.auxiliary.policy_iterations == 1
    assert agent.auxiliary.auxiliary_epochs == 6
    without = procgen(algorithm="ppg", phasic={"policy_iterations": 0})
    assert timed_config(without, 1e6).agent.auxiliary is None


def test_two_iterations_are_timed_for_real():
    config = bandit(epochs_policy=1)
    assert seconds_per_interaction(config, flops_of(config)) > 0


def test_a_blank_bandit_has_the_spaces_of_its_task():
    blank = BlankBandit(TASKS["mnist-bandit"])
    indices = blank.draw(np.random.default_rng(0), 12).reshape(4, 3)
    block = blank.block(indices)
    assert block.observations.shape == (4, 3, 1, 28, 28)
    assert block.answers.shape == (3, 3)
    assert blank.num_actions == 10
