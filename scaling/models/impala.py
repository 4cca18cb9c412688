"""Family ``impala``: the IMPALA CNN of Procgen's agents (Cobbe et al. 2021, arXiv 2110.00641).

x/255; three stacks, each conv 3x3, max-pool 3 stride 2, then residual blocks
(relu-conv3x3-relu-conv3x3 + skip); relu, dense, relu. At width 1 and depth 2 it has 16, 32 and
32 channels and 256 dense units: 622,144 parameters without heads on 64x64x3 images.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F

from rlscale.scaling.errors import InputError
from rlscale.scaling.models.trunk import CONV_SCALE, DENSE_SCALE, Trunk, normed

BASE_CHANNELS = (16, 32, 32)
BASE_DENSE = 256
#: A network with fewer channels in its first stack counts as narrow.
FEW_CHANNELS = 8


@dataclass(frozen=True)
class ImpalaShape:
    """Layer sizes of one member of the family; ``blocks`` are residual blocks per stack."""

    channels: tuple[int, ...]
    dense: int
    blocks: int


def impala_shape(width: float, depth: int) -> ImpalaShape:
    """Base sizes times ``width``, rounded to the nearest whole (halves up).

    Raises:
        InputError: if a layer would have no unit.
    """
    *channels, dense = (int(base * width + 0.5) for base in (*BASE_CHANNELS, BASE_DENSE))
    if channels[0] == 0:
        raise InputError(
            f"Width {width:g} gives 0 channels in the first stack ({BASE_CHANNELS[0]} x {width:g} rounds "
            f"to 0); use a width of at least {0.5 / BASE_CHANNELS[0]:g}.",
            code="width_too_small",
        )
    return ImpalaShape(tuple(channels), dense, depth)


def block_scale(num_stacks: int, num_blocks: int) -> float:
    """Norm of each unit's weights in the residual blocks: sqrt((1/sqrt(nstack)) / sqrt(nblock))."""
    return math.sqrt(1 / math.sqrt(num_stacks) / math.sqrt(num_blocks))


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x)))), (batch, channels, height, width)."""

    def __init__(self, channels: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.conv1 = normed(nn.Conv2d(channels, channels, 3, padding=1), scale, generator)
        self.conv2 = normed(nn.Conv2d(channels, channels, 3, padding=1), scale, generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # In place where nothing else reads the value: memory traffic bounds these layers.
        return self.conv2(F.relu_(self.conv1(F.relu(x)))).add_(x)


class Stack(nn.Module):
    """Convolution, pooling that halves the image, residual blocks."""

    def __init__(self, in_channels: int, channels: int, scales: list[float], generator: torch.Generator):
        super().__init__()
        self.conv = normed(nn.Conv2d(in_channels, channels, 3, padding=1), CONV_SCALE, generator)
        self.blocks = nn.ModuleList(ResidualBlock(channels, scale, generator) for scale in scales)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.residual(max_pool_3x3(self.conv(x)))

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        """The residual blocks, after the pooling."""
        for block in self.blocks:
            x = block(x)
        return x


class ImpalaCnn(Trunk):
    """(batch, channels, height, width) uint8 -> features (batch, num_features)."""

    #: How many observations to process at once: more would only take more memory.
    chunk = 256
    activation = "relu"

    def __init__(
        self, shape: ImpalaShape, observation_shape: tuple[int, ...], generator: torch.Generator
    ) -> None:
        super().__init__()
        in_channels, height, width = observation_shape
        scale = block_scale(len(shape.channels), shape.blocks)
        inputs = (in_channels, *shape.channels)
        self.stacks = nn.ModuleList(
            Stack(before, after, [scale] * shape.blocks, generator)
            for before, after in itertools.pairwise(inputs)
        )
        for _ in shape.channels:
            height, width = (height + 1) // 2, (width + 1) // 2
        self.dense = normed(
            nn.Linear(shape.channels[-1] * height * width, shape.dense), DENSE_SCALE, generator
        )
        self.num_features = shape.dense
        # Of the residual blocks, the sums are also rectified, but no submodule gives them.
        self.pre_activations = (
            *(f"stacks.{i}.blocks.{j}.conv1" for i in range(len(self.stacks)) for j in range(shape.blocks)),
            "dense",
        )
        self.few_channels = shape.channels[0] < FEW_CHANNELS
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        x = self._scaled(observation)
        for stack in self.stacks:
            x = stack(x)
        return self._dense_layer(F.relu_(x))

    def features_of_both(self, other: Self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Trunk``.

        A convolution or pooling of a few channels costs nearly as much as one of twice as many. So
        the first ones of any two networks run side by side, and in narrow networks all of them do: a whole
        iteration is then 1.3 times faster at width 1/8 (``benchmarks/README.md``, "Networks side by side").
        """
        x = self._scaled(observation)
        stacks: Any = zip(self.stacks, other.stacks, strict=True)  # torch's lists do not know their types
        for i, (stack, twin) in enumerate(stacks):
            x = max_pool_3x3(_side_by_side(stack.conv, twin.conv, x, shares_input=i == 0))
            if not self.few_channels:
                mine, others = x.chunk(2, dim=1)
                return self._after_first_pooling(mine), other._after_first_pooling(others)
            for block, mate in zip(stack.blocks, twin.blocks, strict=True):
                y = F.relu_(_side_by_side(block.conv1, mate.conv1, F.relu(x)))
                x = _side_by_side(block.conv2, mate.conv2, y).add_(x)
        mine, others = F.relu_(x).chunk(2, dim=1)
        return self._dense_layer(mine), other._dense_layer(others)

    def _after_first_pooling(self, x: torch.Tensor) -> torch.Tensor:
        stacks: Any = self.stacks
        x = stacks[0].residual(x.contiguous(memory_format=torch.channels_last))
        for stack in stacks[1:]:
            x = stack(x)
        return self._dense_layer(F.relu_(x))

    def _scaled(self, observation: torch.Tensor) -> torch.Tensor:
        return observation.to(self.dense.weight.dtype, memory_format=torch.channels_last) / 255

    def _dense_layer(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu_(self.dense(x.flatten(1)))


def _side_by_side(
    one: nn.Conv2d, other: nn.Conv2d, x: torch.Tensor, *, shares_input: bool = False
) -> torch.Tensor:
    """Two convolutions as one, each on its half of the channels, or both on the same input."""
    weights = one.weight, other.weight
    if not shares_input:
        channels = one.in_channels
        weights = F.pad(one.weight, (0, 0, 0, 0, 0, channels)), F.pad(other.weight, (0, 0, 0, 0, channels, 0))
    weight = torch.cat(weights).contiguous(memory_format=torch.channels_last)
    assert one.bias is not None
    assert other.bias is not None
    return F.conv2d(x, weight, torch.cat([one.bias, other.bias]), padding=1)


def max_pool_3x3(x: torch.Tensor) -> torch.Tensor:
    """3x3 max pooling with stride 2 and padding 1 of (batch, channels, height, width).

    The values equal torch's bit for bit. On CPU this is faster than ``F.max_pool2d``. Without
    gradients it takes the maximum over rows, then over columns. With gradients it writes into
    memory that torch keeps, whereas torch's own backward pass makes the system map fresh zeroed
    pages each time.
    """
    if x.device.type != "cpu":
        return F.max_pool2d(x, 3, stride=2, padding=1)
    if torch.is_grad_enabled() and x.requires_grad:
        return _MaxPool3x3.apply(x)
    rows = _maximum_of_three(x, dim=2)
    return _maximum_of_three(rows, dim=3)


def _maximum_of_three(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Maxima of positions 2i-1, 2i, 2i+1 along ``dim``."""
    size = x.shape[dim]
    even, odd = (x[(slice(None),) * dim + (slice(start, None, 2),)] for start in (0, 1))
    result = even.clone(memory_format=torch.preserve_format)
    following = result.narrow(dim, 0, size // 2)
    torch.maximum(following, odd, out=following)
    preceding = result.narrow(dim, 1, result.shape[dim] - 1)
    torch.maximum(preceding, odd.narrow(dim, 0, result.shape[dim] - 1), out=preceding)
    return result


class _MaxPool3x3(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        y, index = torch.ops.aten.max_pool2d_with_indices(x, [3, 3], [2, 2], [1, 1])
        ctx.save_for_backward(x, index)
        return y

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, index = ctx.saved_tensors
        return torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
            gradient, x, [3, 3], [2, 2], [1, 1], [1, 1], False, index, grad_input=torch.empty_like(x)
        )
