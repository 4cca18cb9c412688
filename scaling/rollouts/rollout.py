"""A rollout of the agent in its task, and how it is cut into minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch

from rlscale.scaling.models.actor_critic import Inputs


@dataclass(frozen=True)
class Rollout:
    """T steps of n environments, time-major; value and first have one extra step.

    observation: (T, n, *observation_shape), in the host's memory
    action: (T, n, *action shape), as the policy stores it, see ``ActionHead``
    logp: (T, n) behaviour log-probability;  value, first: (T + 1, n)
    reward: (T, n) float64, raw;  entropy: mean policy entropy, nat
    state: (n, num_state), the memory before the first step
    cut_value: (T, n), the values of the last observations of episodes that a time limit cut off at a step, 0
        elsewhere; None if there were none
    """

    observation: torch.Tensor
    action: torch.Tensor
    logp: torch.Tensor
    value: torch.Tensor
    first: torch.Tensor
    reward: np.ndarray
    entropy: torch.Tensor
    state: torch.Tensor
    cut_value: torch.Tensor | None = None


@dataclass(frozen=True)
class Rows:
    """Rows of consecutive steps of single environments; fields are (rows, steps, ...), see ``Inputs``."""

    observation: torch.Tensor
    first: torch.Tensor
    state: torch.Tensor

    @property
    def inputs(self) -> Inputs:
        """What the networks read."""
        return Inputs(self.observation, self.first, self.state)

    @property
    def num_steps(self) -> int:
        """Transitions in all rows together."""
        return self.first.numel()

    def select(self, index: torch.Tensor | slice) -> Self:
        """The rows ``index``."""
        return type(self)(*(getattr(self, f.name)[index] for f in fields(self)))

    def parts(self, chunk: int | None, device: torch.device) -> Iterator[Self]:
        """The rows in parts of about ``chunk`` steps, on the device."""
        rows, steps = self.first.shape
        at_once = rows if chunk is None else max(1, chunk // steps)
        if at_once >= rows and self.observation.device == self.first.device == device:
            yield self
            return
        for start in range(0, rows, at_once):
            part = self.select(slice(start, start + at_once))
            yield type(self)(*(getattr(part, f.name).to(device, non_blocking=True) for f in fields(part)))


@dataclass(frozen=True)
class Acted(Rows):
    """Rows with the actions taken (rows, steps, *shape) and their log-probabilities (rows, steps)."""

    action: torch.Tensor
    logp: torch.Tensor


@dataclass(frozen=True)
class Batch(Acted):
    """Rows with all that the losses of the policy phase need; further fields are (rows, steps, ...)."""

    advantage: torch.Tensor
    value_target: torch.Tensor


def acted_of(rollout: Rollout, *, chunks: int) -> Acted:
    """A rollout as (n * chunks, T / chunks) rows.

    With several chunks in time the networks must have no memory.
    """
    assert chunks == 1 or rollout.state.shape[1] == 0
    return Acted(
        observation=_rows(rollout.observation, chunks),
        first=_rows(rollout.first[:-1], chunks),
        state=rollout.state.repeat_interleave(chunks, dim=0),
        action=_rows(rollout.action, chunks),
        logp=_rows(rollout.logp, chunks),
    )


def batch_of(rollout: Rollout, advantage: torch.Tensor, value_target: torch.Tensor, *, chunks: int) -> Batch:
    """The same with advantages and value targets, which are (T, n)."""
    return Batch(
        **vars(acted_of(rollout, chunks=chunks)),
        advantage=_rows(advantage, chunks),
        value_target=_rows(value_target, chunks),
    )


def minibatches(batch: Batch, count: int, rng: np.random.Generator) -> Iterator[Batch]:
    """``count`` minibatches of whole rows, in random order (reference code)."""
    order = torch.from_numpy(rng.permutation(batch.first.shape[0]))
    for index in order.chunk(count):
        yield batch.select(index)


def _rows(x: torch.Tensor, chunks: int) -> torch.Tensor:
    steps, envs = x.shape[:2]
    return x.transpose(0, 1).reshape(envs * chunks, steps // chunks, *x.shape[2:])
