"""Builds the agent's networks from family, width and depth."""

from __future__ import annotations

import torch

from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.models.actor_critic import ActorCritic, Network
from rlscale.scaling.models.impala import ImpalaCnn, impala_shape
from rlscale.scaling.models.mnist_cnn import MnistCnn, mnist_cnn_shape
from rlscale.scaling.models.trunk import Trunk


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


def _trunk(model: ModelConfig, observation_shape: tuple[int, int, int], generator: torch.Generator) -> Trunk:
    if model.family == "mnist-cnn":
        return MnistCnn(mnist_cnn_shape(model.width, model.depth), observation_shape, generator)
    return ImpalaCnn(impala_shape(model.width, model.depth), observation_shape, generator)
