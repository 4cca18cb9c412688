"""Capacity losses: what fresh networks can learn, saturated ones cannot."""

import numpy as np
import pytest
import torch

from rlscale.scaling.config.run import run_config
from rlscale.scaling.errors import InputError
from rlscale.scaling.training.build import first_networks
from rlscale.scaling.training.capacity import Protocol, capacity_losses, check_capacity
from rlscale.scaling.training.run import Run

PROTOCOL = Protocol(envs=2, steps=128, epochs=4)


@pytest.fixture(scope="module")
def config():
    agent = {"horizon": 19, "num_envs": 2, "rollout_steps": 64, "minibatches": 4}
    values = {"task": "gymnasium:CartPole-v1", "interactions": 256, "model": {"width": 0.25}, "agent": agent}
    return run_config(values, source="test")


@pytest.fixture(scope="module")
def run(config):
    made = Run(config)
    made.iterate()
    return made


def test_losses_are_those_of_the_run_from_its_beginning_and_repeat_bit_for_bit(config, run):
    assert all(
        torch.equal(value, first_networks(config).state_dict()[name])
        for name, value in Run(config).agent.model.state_dict().items()
    )
    twice = [list(capacity_losses(config, [run.save()], target=0, protocol=PROTOCOL)) for _ in range(2)]
    assert twice[0] == twice[1]
    assert [loss.interactions for loss in twice[0]] == [0, run.interactions]
    other = next(capacity_losses(config, [], target=1, protocol=PROTOCOL))
    assert other.actor != twice[0][0].actor


def test_networks_whose_units_are_saturated_have_lost_capacity(config, run):
    damaged = Run(config)
    with torch.no_grad():
        for network in damaged.agent.model.networks:
            for layer in network.trunk.dense:
                layer.weight.mul_(1e3)
            for head in network.heads.values():
                head.weight.mul_(30)
    fresh, dead = capacity_losses(config, [damaged.save()], target=0, protocol=PROTOCOL)
    assert dead.actor > 10 * fresh.actor
    assert dead.critic > 10 * fresh.critic


def test_more_epochs_leave_less(config):
    left = [
        next(capacity_losses(config, [], target=0, protocol=Protocol(2, 128, epochs))) for epochs in (1, 8)
    ]
    assert left[1].actor < left[0].actor
    assert left[1].critic < left[0].critic


def test_what_cannot_be_measured_is_refused(config):
    with pytest.raises(InputError, match="do not fill a minibatch") as refused:
        check_capacity(config, Protocol(1, 31, 1))
    assert refused.value.code == "too_few_observations"
    check_capacity(config, Protocol(1, 32, 1))
    with pytest.raises(InputError) as damaged:
        list(capacity_losses(config, [b"no checkpoint"], target=0, protocol=PROTOCOL))
    assert damaged.value.code == "damaged_checkpoint"


def test_networks_with_memory_learn_rows_of_consecutive_observations():
    agent = {"horizon": 19, "num_envs": 2, "rollout_steps": 32, "minibatches": 2}
    model = {"width": 0.25, "recurrent": "lstm"}
    values = {"task": "gymnasium:CartPole-v1", "interactions": 64, "model": model, "agent": agent}
    config = run_config(values, source="test")
    run = Run(config)
    run.iterate()
    twice = [list(capacity_losses(config, [run.save()], target=0, protocol=PROTOCOL)) for _ in range(2)]
    assert twice[0] == twice[1]
    more = next(capacity_losses(config, [], target=0, protocol=Protocol(2, 128, 16)))
    assert 0 < more.actor < twice[0][0].actor
    assert 0 < more.critic < twice[0][0].critic
    with pytest.raises(InputError, match="31 observations do not fill") as refused:
        check_capacity(config, Protocol(1, 31, 1))
    assert refused.value.code == "too_few_observations"


def test_the_protocol_is_the_papers_by_the_kind_of_observations(config):
    assert Protocol.of_paper(config) == Protocol(4, 1000, 4)
    images = run_config({"task": "digits-bandit", "interactions": 100}, source="test")
    assert Protocol.of_paper(images) == Protocol(1, 36_000, 1)
    losses = list(capacity_losses(images, [], target=0, protocol=Protocol(1, 256, 1)))
    assert np.isfinite([losses[0].actor, losses[0].critic]).all()
