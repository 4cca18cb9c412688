"""What a model family gives to the networks."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn


class Trunk(nn.Module):
    """The body of a network: (batch, channels, height, width) uint8 -> (batch, num_features)."""

    num_features: int
    #: Observations that should go through at once; None for any number.
    chunk: int | None = None
    #: Whether two networks so narrow go through convolutions side by side for little more than one.
    few_channels: bool = False

    def features_of_both(self, other: Self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of this trunk and another of the same shape; parameters and arithmetic stay separate."""
        return self(observation), other(observation)
