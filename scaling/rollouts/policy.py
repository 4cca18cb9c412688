"""How a network acts; shared by all collectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch

from rlscale.scaling.models.actor_critic import ActorCritic, Inputs
from rlscale.scaling.rollouts.evaluation import Act
from rlscale.scaling.rollouts.rollout import Rollout
from rlscale.scaling.tasks.catalog import Actions, Discrete, MultiDiscrete


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
        shown = as_tensor(observation)[:, None].to(device)
        inputs = Inputs(shown, torch.from_numpy(first)[:, None].to(device, torch.float32), state)
        logits, _, state = model.act(inputs)
        action = model.actions(logits).sample(model.actions.noise(rng, first.size))
        return model.actions.for_task(action)

    return act


def random_policy(actions: Actions, rng: np.random.Generator) -> Act:
    """The policy that takes every action equally often."""

    def act(_observation: np.ndarray, first: np.ndarray) -> np.ndarray:
        if isinstance(actions, Discrete):
            return rng.integers(actions.count, size=first.size)
        if isinstance(actions, MultiDiscrete):
            return rng.integers(actions.counts, size=(first.size, len(actions.counts)))
        shape = first.size, len(actions.low)
        return rng.uniform(actions.low, actions.high, shape).astype(np.float32)

    return act


def flat_inputs(observation: torch.Tensor) -> Inputs:
    """Inputs of unrelated observations (n, ...), for networks without memory."""
    count = observation.shape[0]
    first = torch.zeros(count, 1, device=observation.device)
    return Inputs(observation[:, None], first, first[:, :0])


def as_tensor(observation: np.ndarray) -> torch.Tensor:
    """Observations (n, height, width, channels) as (n, channels, height, width), others as they are.

    Nothing is copied.
    """
    shown = torch.from_numpy(observation)
    return shown.permute(0, 3, 1, 2) if shown.dim() == 4 else shown
