"""Generalised advantage estimation and the running moments that normalise advantages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch


def gae(
    reward_te: torch.Tensor,
    value_te: torch.Tensor,
    first_te: torch.Tensor,
    *,
    gamma: float,
    lam: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and value targets, both (steps, envs) (Schulman et al. 2016).

    t = steps, e = environments. ``value_te`` and ``first_te`` (1.0 where an episode begins)
    carry one extra step, the observation after the last one:

        delta_t = r_t + gamma * (1 - first_{t+1}) * v_{t+1} - v_t
        adv_t   = delta_t + gamma * lam * (1 - first_{t+1}) * adv_{t+1}
        vtarg_t = v_t + adv_t
    """
    steps, envs = reward_te.shape
    assert value_te.shape == first_te.shape == (steps + 1, envs)
    not_last_te = 1.0 - first_te[1:]
    delta_te = reward_te + gamma * not_last_te * value_te[1:] - value_te[:-1]
    decay = gamma * lam
    if decay == 0.0:  # horizon 1: each step stands alone
        advantage_te = delta_te
    elif delta_te.device.type == "cpu":  # the same arithmetic in numpy, whose operations begin sooner
        summed = discounted_sums(delta_te.detach().numpy(), (decay * not_last_te).numpy())
        advantage_te = torch.from_numpy(summed)
    else:
        advantage_te = discounted_sums(delta_te, decay * not_last_te)
    return advantage_te, value_te[:-1] + advantage_te


Array = TypeVar("Array", torch.Tensor, np.ndarray)


def discounted_sums(x_te: Array, decay_te: Array) -> Array:
    """y_t = x_t + decay_t * y_{t+1}, with 0 after the last step; all are (steps, envs)."""
    sums_te = x_te + 0  # a copy
    for t in reversed(range(len(x_te) - 1)):
        sums_te[t] += decay_te[t] * sums_te[t + 1]
    return sums_te


def standardized(advantage: torch.Tensor) -> torch.Tensor:
    """(advantage - mean) / max(std, 1e-6), biased (Moalla et al. 2024, hyperparameters); any shape."""
    deviation = advantage.std(correction=0).clamp(min=1e-6)
    return (advantage - advantage.mean()) / deviation


class AdvantageMoments:
    """Normalises advantages by exponentially averaged moments, once in each iteration.

    With decay b: w, wsum, wsumsq *= b, then += n, n*mean, n*(var + mean^2); mean = wsum/w and
    var = wsumsq/w - mean^2 (biased). b = 0 is each batch's own mean and standard deviation.
    The span of the average is 2/(1-b) - 1 iterations.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._weight, self._sum, self._square_sum = 0.0, 0.0, 0.0

    def __call__(self, advantage: torch.Tensor) -> torch.Tensor:
        """(advantage - mean) / (sqrt(var) + 1e-8), after adding the batch to the moments."""
        values = advantage.to(torch.float64)
        count, batch_mean = values.numel(), float(values.mean())
        # Sums, not the two-pass variance, so that the running moments add up exactly.
        batch_square = float(values.square().mean())
        self._weight = self._decay * self._weight + count
        self._sum = self._decay * self._sum + count * batch_mean
        self._square_sum = self._decay * self._square_sum + count * batch_square
        mean = self._sum / self._weight
        variance = max(0.0, self._square_sum / self._weight - mean**2)
        return ((values - mean) / (variance**0.5 + 1e-8)).to(advantage.dtype)

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self._weight, "sum": self._sum, "square_sum": self._square_sum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._weight, self._sum, self._square_sum = state["weight"], state["sum"], state["square_sum"]
