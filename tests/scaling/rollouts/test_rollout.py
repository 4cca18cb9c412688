"""From a rollout to rows and minibatches: nothing is lost, duplicated or misplaced."""

import dataclasses

import numpy as np
import pytest
import torch
from learners import CPU, all_equal

from rlscale.scaling.rollouts.rollout import Rollout, batch_of, minibatches


def numbered_batch(steps, envs, chunks=1, num_state=0):
    """Every field of transition (t, e) carries the number t * envs + e; memory carries e."""
    number = torch.arange((steps + 1) * envs).view(steps + 1, envs)
    taken, as_float = number[:-1], number.float()
    rollout = Rollout(
        observation=taken[..., None, None, None].expand(steps, envs, 2, 1, 1),
        action=taken,
        logp=as_float[:-1],
        value=as_float,
        first=as_float,
        reward=taken.numpy().astype(np.float64),
        entropy=torch.tensor(0.0),
        state=torch.arange(envs).float()[:, None].expand(envs, num_state),
    )
    return batch_of(rollout, as_float[:-1], as_float[:-1], chunks=chunks)


SIZES = [(16, 4, 2, 1), (16, 4, 4, 1), (16, 1, 8, 8), (12, 2, 6, 3), (6, 3, 1, 1)]


@pytest.mark.parametrize(("steps", "envs", "count", "chunks"), SIZES)
def test_minibatches_take_each_transition_once_an_epoch(steps, envs, count, chunks):
    parts = list(minibatches(numbered_batch(steps, envs, chunks), count, np.random.default_rng(0)))
    assert len(parts) == count
    assert {part.num_steps for part in parts} == {steps * envs // count}
    assert sorted(torch.cat([part.action.flatten() for part in parts]).tolist()) == list(range(steps * envs))
    for part in parts:
        fields = part.logp, part.advantage, part.value_target, part.first, part.observation[:, :, 1, 0, 0]
        for values in fields:
            assert values.tolist() == part.action.tolist()


def test_minibatches_are_whole_environment_rows_with_their_memory():
    steps, envs = 16, 6
    for part in minibatches(numbered_batch(steps, envs, num_state=3), 3, np.random.default_rng(1)):
        assert part.action.shape == (2, steps)
        for row, state in zip(part.action.tolist(), part.state.tolist(), strict=True):
            assert row == [t * envs + row[0] % envs for t in range(steps)]
            assert state == [row[0] % envs] * 3


def test_more_minibatches_than_environments_are_equal_chunks_of_time():
    steps, envs, count = 24, 2, 8
    for part in minibatches(numbered_batch(steps, envs, chunks=4), count, np.random.default_rng(2)):
        [row] = part.action.numpy()
        times = row // envs
        assert len(set((row % envs).tolist())) == 1
        assert times.tolist() == list(range(times[0], times[0] + 6))
        assert times[0] % 6 == 0


def test_each_epoch_orders_the_minibatches_anew():
    batch, rng = numbered_batch(64, 1, chunks=16), np.random.default_rng(3)
    orders = [tuple(part.action[0, 0].item() for part in minibatches(batch, 16, rng)) for _ in range(3)]
    assert len(set(orders)) == 3


@pytest.mark.parametrize(
    ("chunk", "sizes"), [(None, [5]), (1, [1] * 5), (7, [1] * 5), (16, [2, 2, 1]), (39, [4, 1]), (99, [5])]
)
def test_parts_are_the_rows_in_order_about_a_chunk_at_a_time(chunk, sizes):
    batch = numbered_batch(8, 5, num_state=1)
    parts = list(batch.parts(chunk, CPU))
    assert [len(part.first) for part in parts] == sizes
    for field in dataclasses.fields(batch):
        together = torch.cat([getattr(part, field.name) for part in parts])
        assert all_equal([together], [getattr(batch, field.name)])
