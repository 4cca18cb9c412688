"""Teaching a network what another says, and how policies are compared beyond what they saw."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learners import agent_config, small_networks

from rlscale.scaling.agents.distillation import (
    actor_loss,
    critic_loss,
    interpolated,
    minibatch_size,
    noisy,
    observed_rows,
    shift,
    taught,
    whole_minibatches,
    with_outputs,
)
from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.config.run import run_config
from rlscale.scaling.models.actor_critic import Inputs
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.rollouts.rollout import Rows
from rlscale.scaling.tasks.catalog import Continuous
from rlscale.scaling.training.run import Run


def images(count, seed=0):
    return torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed)).to(
        torch.uint8
    )


def rows_of(teacher, count=64):
    first = torch.zeros(count, 1)
    return with_outputs(Rows(images(count)[:, None], first, first[:, :0]), teacher)


def learn(student, rows, loss, epochs=15, seed=0):
    rng = np.random.default_rng(seed)
    return taught(student, rows, loss, agent_config(), step_size=3e-3, minibatch=16, epochs=epochs, rng=rng)


def test_the_losses_are_divergence_and_squared_error_and_vanish_at_the_teacher():
    teacher, student = small_networks(1), small_networks(2)
    rows = rows_of(teacher)
    with torch.no_grad():
        compare(teacher, student, rows)


def compare(teacher, student, rows):
    assert float(actor_loss(teacher, rows)) == pytest.approx(0, abs=1e-6)
    assert float(critic_loss(teacher, rows)) == pytest.approx(0, abs=1e-9)
    p = torch.softmax(rows.logits.double(), -1)
    q = torch.softmax(student.policy_logits(rows.inputs).double(), -1)
    assert float(actor_loss(student, rows)) == pytest.approx(
        float((p * (p / q).log()).sum(-1).mean()), rel=1e-4
    )
    error = (student.values(rows.inputs)[0] - rows.value).square().mean()
    assert float(critic_loss(student, rows)) == pytest.approx(float(error))


def test_a_student_learns_what_it_is_taught_and_repeats_it_bit_for_bit():
    rows = rows_of(small_networks(1))
    students = [small_networks(2), small_networks(2)]
    before = float(actor_loss(students[0], rows).detach())
    left = [learn(student, rows, actor_loss) for student in students]
    assert left[0] == left[1] < 0.2 * before
    states = [student.state_dict() for student in students]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    fresh = small_networks(2).state_dict()
    untouched = [name for name in fresh if name.startswith("value.")]
    assert untouched
    assert all(torch.equal(fresh[name], states[0][name]) for name in untouched)


def test_a_student_of_a_normal_policy_learns_its_deviations_too():
    actions = Continuous((-1.0,) * 2, (1.0,) * 2)
    teacher, student = (
        build_actor_critic(
            ModelConfig(family="mlp", width=0.25),
            (3,),
            actions,
            torch.Generator().manual_seed(seed),
            box_policy="normal",
        )
        for seed in (1, 2)
    )
    with torch.no_grad():
        teacher.policy.heads["logits"].stateless.copy_(torch.tensor([-0.5, 0.2]))
    first = torch.zeros(256, 1)
    observation = torch.randn(256, 1, 3, generator=torch.Generator().manual_seed(3))
    rows = with_outputs(Rows(observation, first, first[:, :0]), teacher)
    assert learn(student, rows, actor_loss, epochs=40) < 0.01
    learned = student.policy.heads["logits"].stateless.detach()
    torch.testing.assert_close(learned, torch.tensor([-0.5, 0.2]), rtol=0, atol=0.05)


@given(count=st.integers(1, 50), size=st.integers(1, 60), seed=st.integers(0, 9))
def test_minibatches_are_whole_and_hold_no_row_twice(count, size, seed):
    batches = list(whole_minibatches(count, size, np.random.default_rng(seed)))
    assert [len(batch) for batch in batches if len(batch)] == [size] * (count // size)
    rows = torch.cat([*batches, torch.zeros(0, dtype=torch.int64)])
    assert len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= set(range(count))


def test_a_minibatch_is_that_of_training():
    assert minibatch_size(agent_config(num_envs=4, rollout_steps=32, minibatches=4)) == 32


def test_mixtures_of_observations_are_observations_and_their_ends_are_the_two():
    x, other = images(9, 1), images(9, 2)
    assert torch.equal(interpolated(x, other, 1.0), x)
    assert torch.equal(interpolated(x, other, 0.0), other)
    half = interpolated(x, other, 0.5)
    assert half.dtype == torch.uint8
    assert (half.float() - (x.float() + other.float()) / 2).abs().max() <= 0.5
    vectors = torch.randn(5, 3), torch.randn(5, 3)
    torch.testing.assert_close(interpolated(*vectors, 0.25), 0.25 * vectors[0] + 0.75 * vectors[1])


def test_noise_is_a_share_of_the_spread_at_each_place():
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10.0])
    x = x.unflatten(0, (1000, 4))  # rows of four observations, whose places in the row do not matter
    added = noisy(x, 0.3, torch.Generator().manual_seed(1)) - x
    assert added.std(dim=(0, 1)).tolist() == pytest.approx([0.3, 3.0], rel=0.05)
    assert torch.equal(noisy(x, 0.0, torch.Generator()), x)
    assert noisy(images(50)[:, None], 0.5, torch.Generator()).dtype == torch.uint8


def test_a_policy_does_not_shift_between_equal_observations_and_does_between_others():
    model = small_networks()
    first = torch.zeros(40, 1)
    rows = Rows(images(40)[:, None], first, first[:, :0])
    same = shift(model, rows, images(40)[:, None])
    assert np.abs(same.divergence).max() < 1e-6
    assert same.same_action.all()
    other = shift(model, rows, images(40, 5)[:, None])
    assert other.divergence.min() > 0
    assert not other.same_action.all()


@pytest.fixture(scope="module")
def with_memory():
    """A run whose networks have a memory, and a rollout of 8 steps of 3 environments."""
    agent = {"horizon": 9, "num_envs": 3, "rollout_steps": 8, "minibatches": 1}
    model = {"width": 0.25, "recurrent": "lstm"}
    values = {"task": "gymnasium:CartPole-v1", "interactions": 100, "model": model, "agent": agent}
    run = Run(run_config(values, source="test"))
    for _ in range(4):  # into the episodes
        rollout, _, _ = run.collector.collect(run.agent.model, envs=3, steps=8, needs_bootstrap=True)
    return run, rollout


def test_rows_with_memory_are_consecutive_observations_and_begin_without_a_memory(with_memory):
    run, rollout = with_memory
    rows = observed_rows(rollout, 3)
    assert rows.first.shape == (6, 3)  # 2 whole rows of each environment
    assert torch.equal(rows.observation[3], rollout.observation[3:6, 1])
    assert torch.equal(rows.first[3], rollout.first[3:6, 1])
    assert rows.state.shape == (6, run.agent.model.num_state)
    assert not rows.state.any()


def test_outputs_with_memory_are_those_of_acting_step_by_step(with_memory):
    run, rollout = with_memory
    model, rows = run.agent.model, observed_rows(rollout, 4)
    taught_by = with_outputs(rows, model)
    state = rows.state
    for t in range(4):
        step = Inputs(rows.observation[:, t : t + 1], rows.first[:, t : t + 1], state)
        with torch.no_grad():
            logits, _, state = model.act(step)
        torch.testing.assert_close(taught_by.logits[:, t], logits)


def test_with_memory_an_early_observation_shifts_the_policy_of_later_ones(with_memory):
    """Of a row without an episode's beginning, only the first observation is changed."""
    run, rollout = with_memory
    rows = observed_rows(rollout, 4)
    whole = rows.select(rows.first[:, 1:].sum(dim=1) == 0)
    assert len(whole.first) >= 2
    others = whole.observation.clone()
    others[:, 0] += 1
    found = shift(run.agent.model, whole, others)
    assert found.divergence.shape == (len(whole.first),)
    assert (found.divergence > 0).all()
    with torch.no_grad():
        old, new = (
            run.agent.model.actions(
                run.agent.model.policy_logits(Inputs(observation, whole.first, whole.state))
            )
            for observation in (whole.observation, others)
        )
    each = new.kl_from(old)
    assert (each[:, 1:].sum(dim=1) > 0).all()
    np.testing.assert_allclose(found.divergence, each.mean(dim=1), rtol=1e-5, atol=1e-9)
