"""Family ``mlp``: dense layers with tanh or ReLU, for observations that are vectors.

At width 1 each layer has 64 units; the default depth is 2 layers.
"""

from __future__ import annotations

import torch
from torch import nn

from rlscale.scaling.errors import InputError
from rlscale.scaling.models.trunk import DENSE_SCALE, HIDDEN_GAIN, Activation, Trunk, normed, orthogonal

BASE_UNITS = 64


def mlp_units(width: float) -> int:
    """Units of each layer: ``BASE_UNITS`` times ``width``, rounded to the nearest whole (halves up).

    Raises:
        InputError: if there is none.
    """
    units = int(BASE_UNITS * width + 0.5)
    if units == 0:
        raise InputError(
            f"Width {width:g} gives layers of 0 units ({BASE_UNITS} x {width:g} rounds to 0); use a width of "
            f"at least {0.5 / BASE_UNITS:g}.",
            code="width_too_small",
        )
    return units


class Mlp(Trunk):
    """(batch, size) float32 -> features (batch, units).

    Args:
        activation: ``tanh`` or ``relu``.
        layer_norm: whether each layer is normalised before its nonlinearity.
        is_orthogonal: whether initial weights are orthogonal, or else rows of one norm.
    """

    def __init__(
        self,
        units: int,
        depth: int,
        activation: Activation,
        observation_shape: tuple[int, ...],
        generator: torch.Generator,
        *,
        layer_norm: bool = False,
        is_orthogonal: bool = False,
    ) -> None:
        super().__init__()
        inputs = [observation_shape[0]] + [units] * (depth - 1)
        layers = [nn.Linear(size, units) for size in inputs]
        self.dense = nn.ModuleList(
            orthogonal(layer, HIDDEN_GAIN, generator)
            if is_orthogonal
            else normed(layer, DENSE_SCALE, generator)
            for layer in layers
        )
        self.norms = nn.ModuleList(nn.LayerNorm(units) if layer_norm else nn.Identity() for _ in inputs)
        self.num_features = units
        self.pre_activations = tuple(f"norms.{i}" if layer_norm else f"dense.{i}" for i in range(depth))
        self.activation = activation

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        x = observation.to(torch.float32)
        nonlinear = torch.tanh if self.activation == "tanh" else torch.relu
        for layer, norm in zip(self.dense, self.norms, strict=True):
            x = nonlinear(norm(layer(x)))
        return x
