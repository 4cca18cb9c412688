"""Bias-corrected exponentially weighted moving average of a network's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from rlscale.scaling.models.actor_critic import Network


class EwmaModel:
    """The proximal network of PPO-EWMA (Hilton, Cobbe, Schulman 2021, section 3).

    After t updates its parameters are the normalised average
    sum_i d^(t-i) theta_i / sum_i d^(t-i) over i = 0..t, theta_0 being the initial ones:

        W' = d*W + 1;  theta_bar <- (d*W/W') theta_bar + theta/W'

    Parameters only; buffers are not averaged. The centre of mass is d/(1-d) gradient steps.
    """

    def __init__(self, source: Network, decay: float) -> None:
        assert 0.0 <= decay < 1.0
        self._source = source
        self._decay = decay
        self.weight = 1.0
        self.network: Network = copy.deepcopy(source).requires_grad_(False)

    def update(self, decay: float | None = None) -> None:
        """Add the source's current weights to the average, with ``decay`` or the one given at creation."""
        d = self._decay if decay is None else decay
        total = d * self.weight + 1.0
        averages: list[torch.Tensor] = list(self.network.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(averages, [p.detach() for p in self._source.parameters()], 1.0 / total)
        self.weight = total

    def reset(self) -> None:
        """Forget the past: the average becomes the current weights, W = 1."""
        self.update(decay=0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self.weight, "network": self.network.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weight = state["weight"]
        self.network.load_state_dict(state["network"])
