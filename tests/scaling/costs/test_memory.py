"""The memory that a run needs, against counts by hand."""

import pytest

from rlscale.scaling.config.run import run_config
from rlscale.scaling.costs.memory import MemoryNeed, memory_need
from rlscale.scaling.machine import usable_memory
from rlscale.scaling.training.facts import run_columns


def procgen(width=0.125, **agent):
    agent = {"horizon": 1999, "num_envs": 64, "rollout_steps": 256, **agent}
    return run_config(
        {"task": "procgen-coinrun-easy", "interactions": 10**6, "model": {"width": width}, "agent": agent},
        source="test",
    )


@pytest.mark.parametrize(("envs", "gigabytes"), [(64, 6.44), (256, 25.8)])
def test_a_phase_keeps_every_observation_once(envs, gigabytes):
    need = memory_need(procgen(algorithm="ppg-ewma", num_envs=envs))
    assert need.observations == 32 * envs * 256 * 64 * 64 * 3
    assert need.observations / 1e9 == pytest.approx(gigabytes, rel=2e-3)


def test_without_phases_one_iteration_is_kept():
    for agent in ({"algorithm": "ppo"}, {"algorithm": "ppg", "phasic": {"auxiliary_epochs": 0}}):
        assert memory_need(procgen(**agent)).observations == 64 * 256 * 12288


def test_weights_moments_and_average_are_counted_by_network():
    config = procgen(width=0.5, algorithm="ppg-ewma")
    columns, need = run_columns(config), memory_need(config)
    assert need.weights == need.gradients == 4 * columns["num_params_total"]
    assert need.moments == 2 * 2 * need.weights  # the auxiliary phase has an Adam of its own
    assert need.ewma == 4 * columns["num_params"]
    plain = memory_need(procgen(width=0.5, algorithm="ppo"))
    assert (plain.moments, plain.ewma) == (2 * plain.weights, 0)


def test_the_minibatch_is_the_larger_of_both_phases():
    assert memory_need(procgen(algorithm="ppg")).minibatch == 16 * 256 * 12288  # 16 sequences, not 8
    assert memory_need(procgen(algorithm="ppo")).minibatch == 8 * 256 * 12288


def test_activations_follow_width_and_not_the_batch():
    small, wide, many = (
        memory_need(c).activations for c in (procgen(0.5), procgen(1.0), procgen(0.5, num_envs=128))
    )
    assert 1.7 < wide / small < 2.2
    assert many == small


def test_activations_of_a_default_network_are_at_least_its_layers_outputs():
    # A stack's first convolution, its pooling and two convolutions a block; two networks, 256 samples.
    floats = sum(channels * (4 * side**2 + 4 * side**2) for channels, side in ((16, 32), (32, 16), (32, 8)))
    activations = memory_need(procgen(1.0)).activations
    assert 2 * 256 * 4 * floats * 0.9 < activations < 2 * 256 * 4 * floats * 3


def test_a_growing_batch_is_counted_at_its_end():
    agent = {"rollout_steps": 128, "batch_growth": {"exponent": 0.5, "reference": 1000}}
    config = run_config({"task": "digits-bandit", "interactions": 64_000, "agent": agent}, source="test")
    assert memory_need(config).observations == 8 * 128 * 64


def test_the_total_is_the_sum_and_the_machine_has_some():
    assert MemoryNeed(1, 2, 4, 8, 16, 32, 64).total == 127
    assert usable_memory() > 2**28


def test_the_feature_penalty_keeps_pre_activations_and_diagnostics_keep_observations():
    values = {"task": "digits-bandit", "interactions": 10**5, "model": {"width": 0.1}}
    agent = {"rollout_steps": 128, "num_envs": 2, "feature_penalty": {"coefficient": 1.0}}
    last = memory_need(run_config(values | {"agent": agent}, source=""))
    assert last.collected == 4 * 256 * 100
    agent["feature_penalty"]["layers"] = "all"
    every = memory_need(run_config(values | {"agent": agent}, source=""))
    assert every.collected == 4 * 256 * (4 * 64 + 8 * 16 + 100)
    assert (last.diagnostics, every.diagnostics) == (0, 0)
    measured = run_config(values | {"diagnostics": {"every": 100, "batch": 64}}, source="")
    assert memory_need(measured).diagnostics == 2 * 64 * 64 + 32 * memory_need(measured).ewma
    assert memory_need(measured).collected == 0
