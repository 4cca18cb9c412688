"""Sizes of an agent under named conventions: parameters and floating-point operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.models.actor_critic import ActorCritic, Inputs, Network
from rlscale.scaling.models.trunk import blank_observations


@dataclass(frozen=True)
class Sizes:
    """The run columns that say how large an agent is.

    A multiply-add counts as 2 FLOPs; convolutions and matrix products are counted, biases,
    pooling and activations are not (torch's own counter).
    """

    num_params: int
    num_params_total: int
    flops_forward: float
    flops_per_interaction: float


def sizes_of(model: ActorCritic, observation_shape: tuple[int, ...], agent: AgentConfig) -> Sizes:
    """Count parameters and FLOPs.

    ``num_params`` counts the network that gives the policy, with all its heads.
    ``flops_per_interaction`` is the work of the algorithm for one interaction:

    * one forward pass of all networks while acting;
    * for each policy epoch a forward and backward pass of the policy, and a forward pass of its EWMA;
    * for each value epoch a forward and backward pass of the value network;
    * in PPG's auxiliary phase a forward pass of the policy, then for each epoch a forward and
      backward pass of all networks.

    A value head on the policy's own network adds nothing where both are trained together; a
    detached value head has no backward pass through the trunk.
    """
    policy_forward, policy_both = _flops(model.policy, observation_shape)
    value_forward, value_both = _flops(model.value, observation_shape) if model.value else (0.0, 0.0)
    proximal = policy_forward if agent.uses_ewma else 0.0
    value_epoch = value_both
    if model.value is None and agent.epochs_policy != agent.epochs_value:  # the value head has its own epochs
        value_epoch = policy_forward if agent.architecture == "detach" else policy_both
    per_interaction = policy_forward + value_forward
    per_interaction += agent.epochs_policy * (policy_both + proximal) + agent.epochs_value * value_epoch
    if agent.auxiliary:
        per_interaction += policy_forward + agent.auxiliary.auxiliary_epochs * (policy_both + value_both)
    return Sizes(
        num_params=_count(model.policy),
        num_params_total=_count(model),
        flops_forward=policy_forward,
        flops_per_interaction=per_interaction,
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _flops(network: Network, observation_shape: tuple[int, ...]) -> tuple[float, float]:
    """FLOPs of a forward pass, and of a forward and backward pass, on one observation."""
    observation = blank_observations(observation_shape, 1, 1)
    # In training the gradient goes back in time through the memory.
    memory = torch.zeros(1, network.num_state, requires_grad=True)
    inputs = Inputs(observation, torch.zeros(1, 1), memory)
    with FlopCounterMode(display=False) as forward:
        output = network(inputs)
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    network.zero_grad(set_to_none=True)
    forward_flops = float(forward.get_total_flops())
    return forward_flops, forward_flops + float(backward.get_total_flops())
