"""Family ``mlp``: dense layers with tanh or ReLU, for observations that are vectors.

At width 1 each layer has 64 units; the default depth is 2 layers.
"""

from __future__ import annotations

import torch
from torch import nn

from rlscale.scaling.errors import InputError
from rlscale.scaling.models.trunk import DENSE_SCALE, Trunk, normed

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
    """(batch, size) float32 -> features (batch, units)."""

    def __init__(
        self,
        units: int,
        depth: int,
        activation: str,
        observation_shape: tuple[int, ...],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        inputs = [observation_shape[0]] + [units] * (depth - 1)
        self.dense = nn.ModuleList(normed(nn.Linear(size, units), DENSE_SCALE, generator) for size in inputs)
        self.num_features = units
        self.pre_activations = tuple(f"dense.{i}" for i in range(depth))
        self.activation = activation
        self._activation = torch.tanh if activation == "tanh" else torch.relu

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        x = observation.to(torch.float32)
        for layer in self.dense:
            x = self._activation(layer(x))
        return x
