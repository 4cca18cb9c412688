"""The body of a network, which a model family provides, and how its layers are initialised."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Self, TypeVar

import torch
from torch import nn

#: Kinds of nonlinearities, as far as it matters to when a unit is dead.
Activation = Literal["relu", "gelu", "tanh", "leaky-relu"]


class Trunk(nn.Module):
    """The body of a network: (batch, *observation_shape) -> features (batch, num_features).

    Images are (channels, height, width) uint8, other observations (size,) float32.
    """

    num_features: int
    #: Names of the submodules whose outputs are the inputs of nonlinearities, in order, as far as there are
    #: such submodules; the last one's go into the features.
    pre_activations: tuple[str, ...] = ()
    #: The nonlinearity that gives the features; None if it is not known.
    activation: Activation | None = None
    #: How many observations to process at once; None for any number.
    chunk: int | None = None
    #: Whether two networks side by side cost little more than one, because they are narrow.
    few_channels: bool = False

    def features_of_both(self, other: Self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of this trunk and another of the same shape, each with its own parameters.

        A family computes both in one pass where that is faster; the values are those of two passes
        but for rounding.
        """
        return self(observation), other(observation)


@contextmanager
def recorded(trunk: Trunk, names: Sequence[str]) -> Iterator[list[torch.Tensor]]:
    """A list to which each named submodule's output is added when the trunk computes.

    They are (batch, units) float32, convolutions flattened, and copies, because some families write the
    nonlinearity into the output; gradients flow through them.
    """
    found: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        found.append(output.clone().flatten(1).float())

    handles = [trunk.get_submodule(name).register_forward_hook(keep) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def blank_observations(shape: tuple[int, ...], *batch: int) -> torch.Tensor:
    """Zeros (*batch, *shape) in the type of observations of that shape."""
    return torch.zeros((*batch, *shape), dtype=observation_dtype(shape))


def observation_dtype(shape: Sequence[int]) -> torch.dtype:
    """uint8 for images (channels, height, width), else float32."""
    return torch.uint8 if len(shape) == 3 else torch.float32


Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

#: Norms of the reference code: first convolution of a stack, dense trunk, all heads.
CONV_SCALE, DENSE_SCALE, HEAD_SCALE = 1.0, 1.4, 0.1


#: Gains of orthogonal weights as in stable-baselines3 and CleanRL: hidden layers, policy's head, other heads.
HIDDEN_GAIN, POLICY_GAIN, VALUE_GAIN = math.sqrt(2), 0.01, 1.0


def orthogonal(layer: nn.Linear, gain: float, generator: torch.Generator) -> nn.Linear:
    """``gain`` times a random matrix with orthonormal rows, or columns if there are fewer; biases 0.

    The standard deviation of a weight is gain / sqrt(the larger of fan-in and fan-out).
    """
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


@torch.no_grad()
def normed(layer: Layer, scale: float, generator: torch.Generator) -> Layer:
    """Torch's default weights, each output unit's vector rescaled to L2 norm ``scale``; biases 0.

    The standard deviation of a weight is then about scale / sqrt(fan_in), which is why the
    Adam step scales as 1/sqrt(width).
    """
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    norms = layer.weight.flatten(1).norm(dim=1)
    layer.weight.mul_((scale / norms).view(-1, *[1] * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.zero_()
    return layer
