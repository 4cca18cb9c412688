"""Family ``mnist-cnn``: conv 5x5, pool 2, conv 3x3, pool 2, dense, ReLU (Hilton et al. 2023).

At width 1 it has 40 and 80 channels and 1000 dense units, 3.96M parameters on 28x28
images. The paper does not give the channels; these match the parameter counts that are
known. Convolutions pad to keep the size of the image, and each pooling halves it, so smaller
images give a smaller dense layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from rlscale.scaling.errors import InputError
from rlscale.scaling.models.trunk import CONV_SCALE, DENSE_SCALE, Trunk, normed

BASE_CHANNELS = (40, 80)
BASE_DENSE = 1000
#: A network with fewer channels in its first convolution counts as narrow.
FEW_CHANNELS = 4


@dataclass(frozen=True)
class MnistCnnShape:
    """Layer sizes of one member of the family."""

    channels: tuple[int, int]
    dense: int
    depth: int


def mnist_cnn_shape(width: float, depth: int) -> MnistCnnShape:
    """Base sizes times ``width``, rounded to the nearest whole (halves up).

    Raises:
        InputError: if a layer would have no unit.
    """
    first, second, dense = (int(base * width + 0.5) for base in (*BASE_CHANNELS, BASE_DENSE))
    if first == 0:
        raise InputError(
            f"Width {width:g} gives 0 channels in the first convolution ({BASE_CHANNELS[0]} x {width:g} "
            f"rounds to 0); use a width of at least {0.5 / BASE_CHANNELS[0]:g}.",
            code="width_too_small",
        )
    return MnistCnnShape((first, second), dense, depth)


def max_pool_2x2(x: torch.Tensor) -> torch.Tensor:
    """2x2 max pooling with stride 2 of (batch, channels, height, width).

    Without gradients it is the maximum of four strided views. The values are the same bit for
    bit, and on CPU this is up to ten times faster than the kernel that also records the indices.
    """
    if torch.is_grad_enabled():
        return F.max_pool2d(x, 2)
    height, width = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
    top = torch.maximum(x[..., 0:height:2, 0:width:2], x[..., 0:height:2, 1:width:2])
    bottom = torch.maximum(x[..., 1:height:2, 0:width:2], x[..., 1:height:2, 1:width:2])
    return torch.maximum(top, bottom)


class MnistCnn(Trunk):
    """(batch, channels, height, width) uint8 -> features (batch, num_features).

    ``depth`` dense layers of equal size follow the convolutions; the paper has one.
    """

    activation = "relu"

    def __init__(
        self,
        shape: MnistCnnShape,
        observation_shape: tuple[int, ...],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        in_channels, height, width = observation_shape
        first, second = shape.channels
        self.conv1 = normed(nn.Conv2d(in_channels, first, 5, padding=2), CONV_SCALE, generator)
        self.conv2 = normed(nn.Conv2d(first, second, 3, padding=1), CONV_SCALE, generator)
        inputs = [second * (height // 4) * (width // 4)] + [shape.dense] * (shape.depth - 1)
        self.dense = nn.ModuleList(
            normed(nn.Linear(size, shape.dense), DENSE_SCALE, generator) for size in inputs
        )
        self.num_features = shape.dense
        self.pre_activations = ("conv1", "conv2", *(f"dense.{i}" for i in range(shape.depth)))
        # Same arithmetic, faster order in memory: 2x at width 1; with few channels it is slower.
        self.few_channels = first < FEW_CHANNELS
        if not self.few_channels:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        x = observation.to(torch.float32) / 255
        # ReLU after the pooling is the same as before it, on a quarter of the values.
        x = F.relu(max_pool_2x2(self.conv1(x)))
        x = F.relu(max_pool_2x2(self.conv2(x)))
        return self._dense_layers(x)

    def _dense_layers(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for layer in self.dense:
            x = F.relu(layer(x))
        return x

    def features_of_both(self, other: Self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Trunk``.

        A convolution of one or two channels costs nearly as much as one of many. So the convolutions
        of narrow networks go side by side: whole iterations are 1.4 times faster at width 0.0125 and
        1.2 times at 0.05, on one thread (``benchmarks/README.md``, "Networks side by side").
        """
        if not self.few_channels:
            return self(observation), other(observation)
        x = observation.to(torch.float32) / 255
        x = F.relu(max_pool_2x2(_side_by_side(self.conv1, other.conv1, x, groups=1)))
        x = F.relu(max_pool_2x2(_side_by_side(self.conv2, other.conv2, x, groups=2)))
        mine, others = x.chunk(2, dim=1)
        return self._dense_layers(mine), other._dense_layers(others)


def _side_by_side(one: nn.Conv2d, other: nn.Conv2d, x: torch.Tensor, *, groups: int) -> torch.Tensor:
    """Two convolutions as one: both of all channels (1 group), or each of its half of them (2 groups)."""
    assert one.bias is not None
    assert other.bias is not None
    weight, bias = torch.cat([one.weight, other.weight]), torch.cat([one.bias, other.bias])
    return F.conv2d(x, weight, bias, padding=one.kernel_size[0] // 2, groups=groups)
