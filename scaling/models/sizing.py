"""Sizes of an agent under named conventions: parameters and floating-point operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scaling.config import AgentConfig
from scaling.models.families import ActorCritic


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


def sizes_of(model: ActorCritic, observation_shape: tuple[int, int, int], agent: AgentConfig) -> Sizes:
    """Count parameters and FLOPs.

    ``flops_per_interaction`` is what the algorithm asks for, each interaction's share: one
    forward pass of both networks while acting, then for each policy epoch a forward and
    backward pass of the policy (and a forward pass of its EWMA), for each value epoch a
    forward and backward pass of the value network.
    """
    policy_forward, policy_backward = _flops(model.policy, observation_shape)
    value_forward, value_backward = _flops(model.value, observation_shape)
    proximal = policy_forward if agent.uses_ewma else 0.0
    per_interaction = (
        policy_forward
        + value_forward
        + agent.epochs_policy * (policy_forward + policy_backward + proximal)
        + agent.epochs_value * (value_forward + value_backward)
    )
    return Sizes(
        num_params=_count(model.policy),
        num_params_total=_count(model),
        flops_forward=policy_forward,
        flops_per_interaction=per_interaction,
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _flops(network: nn.Module, observation_shape: tuple[int, int, int]) -> tuple[float, float]:
    observation = torch.zeros((1, *observation_shape), dtype=torch.uint8)
    with FlopCounterMode(display=False) as forward:
        output = network(observation)
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    network.zero_grad(set_to_none=True)
    return float(forward.get_total_flops()), float(backward.get_total_flops())
