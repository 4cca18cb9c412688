"""Turns completed episodes into the rows of a learning curve, log-spaced in interactions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


class CurveRecorder:
    """Collects every completed episode and closes a row at log-spaced interaction counts.

    A row is due when the interactions enter a new bucket of width 1/``rows_per_decade``
    decades. Early in training a bucket is narrower than an iteration, so each iteration closes
    a row. Sums are float64 and part of the checkpoint, so a resumed run closes the same rows.
    """

    def __init__(self, rows_per_decade: int) -> None:
        self._rows_per_decade = rows_per_decade
        self._row_interactions = 0  # E of the last row
        self._clear()

    def _clear(self) -> None:
        self._episodes = 0
        self._return_sum = 0.0
        self._return_square_sum = 0.0
        self._length_sum = 0.0
        self._iterations = 0
        self._diagnostic_sums: dict[str, float] = {}
        self._diagnostic_counts: dict[str, int] = {}
        self._evaluation: dict[str, float] = {}

    def add(self, returns: np.ndarray, lengths: np.ndarray | float, diagnostics: Mapping[str, float]) -> None:
        """Add one iteration: returns (n,) and lengths (n,) of the episodes it completed.

        An iteration without ``diagnostics`` does not count in their means.
        """
        values = np.asarray(returns, dtype=np.float64)
        self._episodes += values.size
        self._return_sum += float(values.sum())
        self._return_square_sum += float(np.square(values).sum())
        self._length_sum += float(np.broadcast_to(lengths, values.shape).sum())
        if diagnostics:
            self._iterations += 1
        for name, value in diagnostics.items():
            self._diagnostic_sums[name] = self._diagnostic_sums.get(name, 0.0) + value
            self._diagnostic_counts[name] = self._diagnostic_counts.get(name, 0) + 1

    def add_evaluation(self, returns: np.ndarray) -> None:
        """Add the returns (n,) of an evaluation; a row keeps its latest evaluation."""
        self._evaluation = {"eval_return_mean": float(np.mean(returns)), "eval_episodes": float(returns.size)}

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added since the last row."""
        return self._episodes == 0 and self._iterations == 0

    def is_due(self, interactions: int) -> bool:
        """Whether a row should close at ``interactions``."""
        return self._bucket(interactions) > self._bucket(self._row_interactions)

    def close_row(self, interactions: int, *, wall_seconds: float, train_flops: float) -> dict[str, Any]:
        """The row since the last one; a diagnostic is its mean over the iterations that have it."""
        count = self._episodes
        mean = self._return_sum / count if count else None
        row: dict[str, Any] = {
            "interactions": interactions,
            "episodes": count,
            "return_mean": mean,
            "return_std": None
            if mean is None
            else math.sqrt(max(0.0, self._return_square_sum / count - mean * mean)),
            "episode_length_mean": self._length_sum / count if count else None,
            "wall_seconds": wall_seconds,
            "train_flops": train_flops,
        }
        row |= self._evaluation
        row |= {name: total / self._diagnostic_counts[name] for name, total in self._diagnostic_sums.items()}
        self._row_interactions = interactions
        self._clear()
        return row

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_rows_per_decade"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    def _bucket(self, interactions: int) -> int:
        return math.floor(self._rows_per_decade * math.log10(interactions)) if interactions > 0 else -1
