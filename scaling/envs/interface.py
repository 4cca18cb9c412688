"""What a task is to the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch


@dataclass(frozen=True)
class BanditBlock:
    """A block of a bandit's stream: T steps of n environments side by side.

    observations: (T + 1, n, channels, height, width) uint8; the last step's is only for
        bootstrapping and opens the next block.
    answers: (T, n) int64, the action that is rewarded.
    """

    observations: torch.Tensor
    answers: np.ndarray


class Bandit(Protocol):
    """A task whose next observation does not depend on the action.

    So a whole rollout can be drawn, and acted on, as one batch.
    """

    observation_shape: tuple[int, int, int]
    num_actions: int

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """The next ``count`` contexts of the stream, as indices, int64 (count,)."""
        ...

    def block(self, indices: np.ndarray) -> BanditBlock:
        """Observations and answers of contexts (T + 1, n)."""
        ...
