"""Acting: one rollout of the agent in its task, and its cutting into minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch.distributions import Categorical

from scaling.envs.interface import Bandit
from scaling.models.families import ActorCritic


@dataclass(frozen=True)
class Rollout:
    """T steps of n environments. Time-major; value and first carry one extra step.

    observation: (T, n, channels, height, width) uint8;  action: (T, n) int64
    logp: (T, n) behaviour log-probability;  value, first: (T + 1, n)
    reward: (T, n) float64, raw;  entropy: mean policy entropy, nat
    """

    observation: torch.Tensor
    action: torch.Tensor
    logp: torch.Tensor
    value: torch.Tensor
    first: torch.Tensor
    reward: np.ndarray
    entropy: torch.Tensor


@torch.no_grad()
def collect_bandit(
    model: ActorCritic,
    bandit: Bandit,
    contexts: np.ndarray,
    *,
    steps: int,
    context_rng: np.random.Generator,
    action_rng: np.random.Generator,
    needs_bootstrap: bool,
    device: torch.device,
) -> tuple[Rollout, np.ndarray]:
    """A whole rollout as one batch, since the next image does not depend on the action.

    ``contexts`` (n,) are the first observations, left by the rollout before; those of the
    next rollout are returned beside the rollout. Images and actions come from the streams
    in the order in which stepping one observation at a time would draw them.
    ``needs_bootstrap`` is false where gamma is 0: the value after the last step is then 0.
    If the policy's outputs are not finite, neither is the entropy.
    """
    envs = contexts.size
    indices_te = np.concatenate([contexts[None], bandit.draw(context_rng, steps * envs).reshape(steps, envs)])
    block = bandit.block(indices_te)
    observation = block.observations.to(device)
    flat = observation[:-1].flatten(0, 1)
    logits, values = model(flat)
    policy = Categorical(logits=logits, validate_args=False)
    action = sample(policy, action_rng.random(steps * envs))
    value = torch.zeros(steps + 1, envs, device=device)
    value[:-1] = values.view(steps, envs)
    if needs_bootstrap:
        value[-1] = model.value(observation[-1]).view(envs)
    action_te = action.view(steps, envs)
    rollout = Rollout(
        observation=observation[:-1],
        action=action_te,
        logp=policy.log_prob(action).view(steps, envs),
        value=value,
        first=torch.zeros(steps + 1, envs, device=device),
        reward=(action_te.cpu().numpy() == block.answers).astype(np.float64),
        entropy=policy.entropy().mean(),
    )
    return rollout, indices_te[-1]


def sample(policy: Categorical, uniform: np.ndarray) -> torch.Tensor:
    """Actions (batch,) by inverting the distribution function at ``uniform`` (batch,) in [0, 1).

    The random numbers come from numpy, so a stream is the same on every device.
    """
    cumulative = policy.probs.cumsum(dim=-1)
    threshold = torch.as_tensor(uniform, dtype=cumulative.dtype, device=cumulative.device)
    below = (cumulative <= threshold[:, None]).sum(dim=-1)
    # Rounding can leave the whole distribution function at or below the threshold.
    last_possible = (cumulative < cumulative[:, -1:]).sum(dim=-1)
    return torch.minimum(below, last_possible)


@dataclass(frozen=True)
class Batch:
    """Transitions for the losses; the leading axis is any selection of (step, environment)."""

    observation: torch.Tensor
    action: torch.Tensor
    logp: torch.Tensor
    advantage: torch.Tensor
    value_target: torch.Tensor

    def select(self, index: torch.Tensor) -> Self:
        """The transitions of the segments ``index``, flattened to one axis."""
        return type(self)(*(getattr(self, f.name)[index].flatten(0, 1) for f in fields(self)))

    def cut(self, chunks: int) -> Self:
        """From (steps, envs, ...) to (envs * chunks, steps / chunks, ...)."""
        return type(self)(*(_segments(getattr(self, f.name), chunks) for f in fields(self)))


def minibatches(batch: Batch, count: int, rng: np.random.Generator) -> Iterator[Batch]:
    """``count`` minibatches of whole environment rows, in random order (reference code).

    With more minibatches than environments the rows are first cut in time into equal chunks.
    """
    envs = batch.action.shape[1]
    segments = batch.cut(max(1, count // envs))
    order = torch.from_numpy(rng.permutation(segments.action.shape[0]))
    for index in order.chunk(count):
        yield segments.select(index)


def _segments(x: torch.Tensor, chunks: int) -> torch.Tensor:
    steps, envs = x.shape[:2]
    return x.transpose(0, 1).reshape(envs * chunks, steps // chunks, *x.shape[2:])
