"""From (family, width, depth) to the agent's networks, and the step size that belongs to a size."""

from __future__ import annotations

import math

import torch

from scaling.config import DEFAULT_DEPTHS, ModelConfig
from scaling.models.actor_critic import ActorCritic, Network, Trunk
from scaling.models.impala import ImpalaCnn, impala_shape
from scaling.models.mnist_cnn import MnistCnn, mnist_cnn_shape


def build_actor_critic(
    model: ModelConfig,
    observation_shape: tuple[int, int, int],
    num_actions: int,
    generator: torch.Generator,
    *,
    architecture: str = "dual",
    has_auxiliary: bool = False,
    precision: str = "float32",
) -> ActorCritic:
    """Freshly initialised networks.

    Args:
        architecture: ``dual``, ``shared`` or ``detach``, see ``ActorCritic``.
        has_auxiliary: whether the policy network has PPG's auxiliary value head.
        precision: ``float32`` or ``bfloat16``, of the trunks' arithmetic.

    Raises:
        InputError: if the width leaves a layer without units.
    """

    def network(**heads: int) -> Network:
        trunk = _trunk(model, observation_shape, generator)
        return Network(
            trunk, heads, generator, recurrent=model.is_recurrent, precision=getattr(torch, precision)
        )

    auxiliary = {"auxiliary": 1} if has_auxiliary else {}
    if architecture == "dual":
        return ActorCritic(network(logits=num_actions, **auxiliary), network(value=1))
    policy = network(logits=num_actions, value=1, **auxiliary)
    return ActorCritic(policy, None, detach_value=architecture == "detach")


def step_size(learning_rate: float, model: ModelConfig) -> float:
    """Adam's step size for a model: proportional to the initial weights' scale.

    That scale is 1/sqrt(width), and depth^(-1/4) for residual blocks of two layers (depth^(-1/2L)
    with L = 2, relative to the family's default depth). The dense layers that are the depth of
    ``mnist-cnn`` are scaled by their fan-in alone.
    """
    step = learning_rate / math.sqrt(model.width)
    if model.family == "mnist-cnn":
        return step
    return step * (model.depth / DEFAULT_DEPTHS[model.family]) ** -0.25


def _trunk(model: ModelConfig, observation_shape: tuple[int, int, int], generator: torch.Generator) -> Trunk:
    if model.family == "mnist-cnn":
        return MnistCnn(mnist_cnn_shape(model.width, model.depth), observation_shape, generator)
    return ImpalaCnn(impala_shape(model.width, model.depth), observation_shape, generator)
