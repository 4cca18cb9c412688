"""Family ``nature-cnn``: the network of DQN on Atari (Mnih et al. 2015, Nature 518, methods).

x/255; conv 8x8 stride 4, conv 4x4 stride 2, conv 3x3 stride 1, dense, each with ReLU. At width 1 it has 32,
64 and 64 channels and 512 dense units: 1,684,128 parameters without heads on 84x84x4 images.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from rlscale.scaling.errors import InputError
from rlscale.scaling.models.trunk import CONV_SCALE, DENSE_SCALE, Trunk, normed

BASE_CHANNELS = (32, 64, 64)
BASE_DENSE = 512
#: Kernel and stride of each convolution.
KERNELS = ((8, 4), (4, 2), (3, 1))
#: The least height and width of images, which leave one position after the convolutions.
LEAST_SIDE = 36


@dataclass(frozen=True)
class NatureCnnShape:
    """Layer sizes of one member of the family; ``depth`` is the number of dense layers."""

    channels: tuple[int, ...]
    dense: int
    depth: int


def nature_cnn_shape(width: float, depth: int) -> NatureCnnShape:
    """Base sizes times ``width``, rounded to the nearest whole (halves up).

    Raises:
        InputError: if a layer would have no unit.
    """
    *channels, dense = (int(base * width + 0.5) for base in (*BASE_CHANNELS, BASE_DENSE))
    if channels[0] == 0:
        raise InputError(
            f"Width {width:g} gives 0 channels in the first convolution ({BASE_CHANNELS[0]} x {width:g} "
            f"rounds to 0); use a width of at least {0.5 / BASE_CHANNELS[0]:g}.",
            code="width_too_small",
        )
    return NatureCnnShape(tuple(channels), dense, depth)


class NatureCnn(Trunk):
    """(batch, channels, height, width) uint8 -> features (batch, num_features).

    ``depth`` dense layers of equal size follow the convolutions; the paper has one. With ``layer_norm`` each
    layer is normalised before its ReLU: a convolution over all its channels and positions, with a gain and a
    bias for each channel.

    Raises:
        InputError: if the images are smaller than ``LEAST_SIDE``.
    """

    chunk = 256

    activation = "relu"

    def __init__(
        self,
        shape: NatureCnnShape,
        observation_shape: tuple[int, ...],
        generator: torch.Generator,
        *,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        in_channels, *sides = observation_shape
        if min(sides) < LEAST_SIDE:
            raise InputError(
                f"nature-cnn needs images of at least {LEAST_SIDE} x {LEAST_SIDE}, and these are "
                f"{sides[0]} x {sides[1]}: use model.family impala.",
                code="image_too_small",
            )
        layers = zip(itertools.pairwise((in_channels, *shape.channels)), KERNELS, strict=True)
        self.convs = nn.ModuleList(
            normed(nn.Conv2d(before, after, kernel, stride), CONV_SCALE, generator)
            for (before, after), (kernel, stride) in layers
        )
        for kernel, stride in KERNELS:
            sides = [(side - kernel) // stride + 1 for side in sides]
        inputs = [shape.channels[-1] * sides[0] * sides[1]] + [shape.dense] * (shape.depth - 1)
        self.dense = nn.ModuleList(
            normed(nn.Linear(size, shape.dense), DENSE_SCALE, generator) for size in inputs
        )
        norms: list[nn.Module] = [nn.GroupNorm(1, channels) for channels in shape.channels]
        norms += [nn.LayerNorm(shape.dense) for _ in inputs]
        self.norms = nn.ModuleList(norms if layer_norm else (nn.Identity() for _ in norms))
        self.num_features = shape.dense
        self.pre_activations = (
            tuple(f"norms.{i}" for i in range(len(norms)))
            if layer_norm
            else (
                *(f"convs.{i}" for i in range(len(KERNELS))),
                *(f"dense.{i}" for i in range(shape.depth)),
            )
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        # To the memory order channels_last, in a way that torch can vectorise.
        last = observation.permute(0, 2, 3, 1).to(torch.float32, memory_format=torch.contiguous_format)
        x = last.permute(0, 3, 1, 2) / 255
        for conv, norm in zip(self.convs, self.norms, strict=False):
            x = F.relu(norm(conv(x)))
        x = x.flatten(1)
        for layer, norm in zip(self.dense, self.norms[len(self.convs) :], strict=True):
            x = F.relu(norm(layer(x)))
        return x
