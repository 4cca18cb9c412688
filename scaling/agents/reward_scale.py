"""Running reward normaliser of the reference agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

#: Discount of the running return, fixed in the reference code whatever the agent's gamma.
RETURN_DISCOUNT = 0.99
CLIP = 10.0


class RewardNormalizer:
    """Divides rewards by the running standard deviation of a discounted return.

    ret_t = r_t + (1 - first_t) * 0.99 * ret_{t-1} for each environment, carried across
    rollouts; mean and variance run over all ret so far (initial count 1e-4, mean 0,
    variance 1) and are updated before they are used. The mean is not subtracted.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.variance = 1e-4, 0.0, 1.0
        self._running = np.zeros(0)

    def __call__(self, reward_te: np.ndarray, first_te: np.ndarray) -> np.ndarray:
        """Normalised rewards, clamped to [-10, 10]; reward and first are (steps, envs)."""
        envs = reward_te.shape[1]
        if self._running.size < envs:  # the batch has grown: new environments start from 0
            self._running = np.concatenate([self._running, np.zeros(envs - self._running.size)])
        returns_te = np.empty(reward_te.shape, np.float64)
        for t, (reward_e, first_e) in enumerate(zip(reward_te, first_te, strict=True)):
            self._running = reward_e + (1.0 - first_e) * RETURN_DISCOUNT * self._running
            returns_te[t] = self._running
        self._update(returns_te)
        return np.clip(reward_te / np.sqrt(self.variance + 1e-8), -CLIP, CLIP)

    def _update(self, values: np.ndarray) -> None:
        count, mean, variance = values.size, float(values.mean()), float(values.var())
        delta, total = mean - self.mean, self.count + count
        square_sum = self.variance * self.count + variance * count + delta**2 * self.count * count / total
        self.mean += delta * count / total
        self.variance = square_sum / total
        self.count = total

    def state_dict(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "mean": self.mean,
            "variance": self.variance,
            "running": self._running.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count, self.mean, self.variance = state["count"], state["mean"], state["variance"]
        self._running = np.array(state["running"], np.float64)
