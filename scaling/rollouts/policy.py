"""How a network acts; shared by all collectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch.distributions import Categorical

from rlscale.scaling.models.actor_critic import ActorCritic, Inputs
from rlscale.scaling.rollouts.evaluation import Act
from rlscale.scaling.rollouts.rollout import Rollout


class Collector(Protocol):
    """Collects rollouts for the trainer; its state is part of the checkpoint."""

    def collect(
        self, model: ActorCritic, *, envs: int, steps: int, needs_bootstrap: bool
    ) -> tuple[Rollout, np.ndarray, np.ndarray]:
        """A rollout, and returns and lengths of the episodes that it completed."""
        ...

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def policy_of(model: ActorCritic, rng: np.random.Generator, device: torch.device) -> Act:
    """The policy as a function from observations to sampled actions, with its own memory."""
    state = torch.zeros(0, model.num_state, device=device)

    @torch.no_grad()
    def act(observation: np.ndarray, first: np.ndarray) -> np.ndarray:
        nonlocal state
        if state.shape[0] != first.size:
            state = torch.zeros(first.size, model.num_state, device=device)
        images = as_images(observation)[:, None].to(device)
        inputs = Inputs(images, torch.from_numpy(first)[:, None].to(device, torch.float32), state)
        logits, _, state = model.act(inputs)
        policy = Categorical(logits=logits, validate_args=False)
        return sample(policy, rng.random(first.size)).cpu().numpy()

    return act


def flat_inputs(observation: torch.Tensor) -> Inputs:
    """Inputs of unrelated observations (n, ...), for networks without memory."""
    count = observation.shape[0]
    first = torch.zeros(count, 1, device=observation.device)
    return Inputs(observation[:, None], first, first[:, :0])


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


def as_images(observation: np.ndarray) -> torch.Tensor:
    """(n, height, width, channels) as (n, channels, height, width), without a copy."""
    return torch.from_numpy(observation).permute(0, 3, 1, 2)
