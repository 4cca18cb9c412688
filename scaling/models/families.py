"""From (family, width, depth) to the agent's networks, and the step size that belongs to a size."""

from __future__ import annotations

import math

import torch
from torch import nn

from scaling.config import ModelConfig
from scaling.models.mnist_cnn import MnistCnn, forward_both, mnist_cnn_shape


class ActorCritic(nn.Module):
    """Separate policy and value networks of one family: no parameter is shared.

    ``policy`` maps observations to action logits (batch, num_actions), ``value`` to (batch, 1).
    """

    def __init__(self, policy: MnistCnn, value: MnistCnn) -> None:
        super().__init__()
        self.policy = policy
        self.value = value

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (batch, num_actions) and values (batch,)."""
        logits, value = forward_both(self.policy, self.value, observation)
        return logits, value.squeeze(-1)


def build_actor_critic(
    model: ModelConfig,
    observation_shape: tuple[int, int, int],
    num_actions: int,
    generator: torch.Generator,
) -> ActorCritic:
    """Freshly initialised networks.

    Raises:
        InputError: if the width leaves a layer without units.
    """
    shape = mnist_cnn_shape(model.width, model.depth)
    policy = MnistCnn(shape, observation_shape, num_actions, generator)
    value = MnistCnn(shape, observation_shape, 1, generator)
    return ActorCritic(policy, value)


def step_size(learning_rate: float, model: ModelConfig) -> float:
    """Adam's step size for a model: proportional to the initial weights' scale, 1/sqrt(width)."""
    return learning_rate / math.sqrt(model.width)
