"""Observations scaled to mean 0 and variance 1, against gymnasium's own wrapper, and in whole runs."""

import io

import gymnasium
import numpy as np
import pytest
import torch

from rlscale.scaling.config.run import run_config
from rlscale.scaling.errors import InputError
from rlscale.scaling.modules import name_modules
from rlscale.scaling.rollouts.observation_scale import CLIP, ObservationScale
from rlscale.scaling.rollouts.policy import flat_inputs, random_policy
from rlscale.scaling.tasks.catalog import Continuous, Discrete, MultiDiscrete
from rlscale.scaling.training.run import Run

CARTPOLE = {"task": "gymnasium:CartPole-v1", "interactions": 10**6}
AGENT = {"algorithm": "ppo", "horizon": 99, "num_envs": 4, "rollout_steps": 32, "minibatches": 2}


def run_of(kind, wrappers=None, **agent):
    agent = AGENT | {"normalize_observation": kind} | agent
    return Run(run_config(CARTPOLE | {"agent": agent, "wrappers": wrappers or {}}, source="test"))


def test_it_scales_as_gymnasiums_own_wrapper_does():
    seed, count = 5, 3
    plain = gymnasium.make_vec("CartPole-v1", num_envs=count, vectorization_mode="sync")
    theirs = gymnasium.wrappers.vector.NormalizeObservation(
        gymnasium.make_vec("CartPole-v1", num_envs=count, vectorization_mode="sync")
    )
    scale = ObservationScale(4, runs_on=True)
    shown, expected = plain.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
    rng = np.random.default_rng(0)
    for _ in range(100):
        np.testing.assert_allclose(scale.see(shown), expected.clip(-CLIP, CLIP), rtol=1e-5, atol=1e-6)
        action = rng.integers(2, size=count)
        shown, expected = plain.step(action)[0], theirs.step(action)[0]


def test_what_is_far_away_is_cut_at_10_and_the_last_numbers_are_left_alone():
    scale = ObservationScale(2, num_unscaled=1, runs_on=False)
    scale.add(np.array([[1.0, 0.25], [3.0, 0.75]]))
    scaled = scale.see(np.array([[2.0, 0.5], [500.0, 0.5], [-500.0, 99.0]], np.float32))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0.0, 0.5], [CLIP, 0.5], [-CLIP, 99.0]], atol=1e-3)


def trunk_inputs(run):
    """What the networks see in one iteration, (steps, envs, size)."""
    agent = run.config.agent
    rollout, _, _ = run.collector.collect(
        run.agent.model, envs=agent.num_envs, steps=agent.rollout_steps, needs_bootstrap=True
    )
    return rollout


@pytest.mark.parametrize("kind", ["running", "random-steps"])
def test_a_run_sees_scaled_observations(kind):
    run = run_of(kind, rollout_steps=256)
    for _ in range(2):
        seen = trunk_inputs(run).observation.flatten(0, 1)
    assert seen.mean(dim=0).abs().max() < 0.7
    assert (seen.std(dim=0) - 1).abs().max() < 0.5  # CartPole's own are 0.1 to 0.7


def test_fixed_moments_do_not_change_with_the_run():
    run = run_of("random-steps")
    trunk_inputs(run)
    before = run.collector.state_dict()["scale"]
    trunk_inputs(run)
    assert run.collector.state_dict()["scale"] == before
    assert before["count"] == pytest.approx(4000)


def test_the_time_stays_a_share_of_the_limit():
    run = run_of("running", wrappers={"time": True})
    rollout = trunk_inputs(run)
    assert rollout.observation[0, :, 4].tolist() == [0.0] * 4
    np.testing.assert_allclose(rollout.observation[5, :, 4], 5 / 500, rtol=1e-5)


@pytest.mark.parametrize("kind", ["running", "random-steps"])
def test_a_resumed_run_goes_on_bit_for_bit(kind):
    run = run_of(kind, wrappers={"time": True})
    for _ in range(3):
        run.iterate()
    saved = run.save()
    state = torch.load(io.BytesIO(saved), weights_only=True)
    assert state["collector"]["scale"]["count"] > 0
    again = run_of(kind, wrappers={"time": True})
    again.restore(saved)
    for each in (run, again):
        each.iterate()
    for name, value in run.agent.model.state_dict().items():
        assert torch.equal(value, again.agent.model.state_dict()[name])
    assert run.collector.state_dict()["scale"] == again.collector.state_dict()["scale"]


def test_the_last_observation_of_an_episode_that_a_time_limit_cut_off_is_scaled_too():
    """Episodes of 5 steps that are cut off show (step, number of the episode)."""
    name_modules(["own_code"])
    values = {"task": "own_code:Cut", "interactions": 10**6, "agent": AGENT | {"num_envs": 2}}
    values["agent"] |= {"normalize_observation": "random-steps"}
    run = Run(run_config(values, source="test"))
    rollout = trunk_inputs(run)
    moments = run.collector.state_dict()["scale"]
    first_number = rollout.observation[0, 0, 1].item() * moments["variance"][1] ** 0.5 + moments["mean"][1]
    last = (np.array([5.0, first_number]) - moments["mean"]) / np.sqrt(moments["variance"])
    value, _ = run.agent.model.values(flat_inputs(torch.tensor(last[None], dtype=torch.float32)))
    assert rollout.cut_value[4, 0].item() == pytest.approx(value.item(), rel=1e-4)


def test_images_have_no_scale():
    config = {"task": "digits-bandit", "interactions": 10, "agent": {"normalize_observation": "running"}}
    with pytest.raises(InputError, match="for observations that are vectors"):
        run_config(config, source="test")


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (Discrete(3), [1.0]),
        (MultiDiscrete((3, 5)), [1.0, 2.0]),
        (Continuous((-1.0, 0.0), (3.0, 1.0)), [1.0, 0.5]),
    ],
)
def test_random_actions_are_equally_likely(actions, expected):
    taken = random_policy(actions, np.random.default_rng(0))(np.zeros(0), np.zeros(20_000, bool))
    np.testing.assert_allclose(taken.reshape(20_000, -1).mean(axis=0), expected, atol=0.03)
