"""The interface between tasks and the trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch


@dataclass(frozen=True)
class BanditBlock:
    """A block of a bandit's stream: T steps of n environments side by side.

    observations: (T + 1, n, channels, height, width) uint8. The last step's observation is only
        for bootstrapping; it is also the first of the next block.
    answers: (T, n) int64, the rewarded actions.
    """

    observations: torch.Tensor
    answers: np.ndarray


class Bandit(Protocol):
    """A task whose next observation does not depend on the action.

    So the trainer can draw a whole rollout, and act on it, as one batch.
    """

    observation_shape: tuple[int, int, int]
    num_actions: int

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """The next ``count`` contexts of the stream, as indices, int64 (count,)."""
        ...

    def block(self, indices: np.ndarray) -> BanditBlock:
        """Observations and answers of contexts (T + 1, n)."""
        ...


@dataclass(frozen=True)
class Cut:
    """The k of n environments whose episodes a time limit cut off at a step.

    where: (k,) int, which of the n.
    observation: (k, ...), the last observations of those episodes.
    """

    where: np.ndarray
    observation: np.ndarray


@dataclass(frozen=True)
class Observed:
    """What n environments show after a step.

    observation: (n, height, width, channels) uint8, or (n, size) float32. It belongs to the environment,
        and the next ``act`` overwrites it: copy it to keep it.
    reward: (n,) float64, of the step that led to this observation.
    first: (n,) bool, whether this observation begins an episode; the reward then still belongs
        to the episode before. Where lost lives end episodes for the learner, so do they here, while
        ``pop_episodes`` knows whole games alone.
    cut: the episodes that did not come to their end; None if there are none, or it is not known.
    """

    observation: np.ndarray
    reward: np.ndarray
    first: np.ndarray
    cut: Cut | None = None


@dataclass(frozen=True)
class Episodes:
    """k completed episodes.

    returns: (k,) float64, undiscounted and unnormalised.
    lengths: (k,) int64, in steps.
    levels: (k,) int64, the number (seed) of the level that was played; 0 without levels.
    completed: (k,) bool, whether the level was solved; without levels, whether no time limit cut it off.
    """

    returns: np.ndarray
    lengths: np.ndarray
    levels: np.ndarray
    completed: np.ndarray

    def select(self, which: np.ndarray) -> Episodes:
        """The episodes at the indices, or where the mask is true."""
        return Episodes(self.returns[which], self.lengths[which], self.levels[which], self.completed[which])


def concatenate_episodes(parts: Sequence[Episodes]) -> Episodes:
    """The episodes of all parts in one."""
    return Episodes(
        np.concatenate([np.zeros(0), *(part.returns for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.lengths for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.levels for part in parts)]),
        np.concatenate([np.zeros(0, bool), *(part.completed for part in parts)]),
    )


class Environment(Protocol):
    """``num_envs`` environments side by side that step together and restart by themselves.

    ``observation_shape`` is that of the task: for images (channels, height, width), while observations
    have their channels last. Until the first ``act``, ``observe`` shows the first observations, with
    ``first`` true everywhere and reward 0.
    """

    num_envs: int
    observation_shape: tuple[int, ...]

    def act(self, actions: np.ndarray) -> None:
        """Start a step with the actions and return without waiting for its end.

        They are int (n,) for ``Discrete``, int (n, k) for ``MultiDiscrete``, float32 (n, k) for
        ``Continuous``.
        """
        ...

    def observe(self) -> Observed:
        """Wait for the end of the step; may be called any number of times per step."""
        ...

    def pop_episodes(self) -> Episodes:
        """The episodes completed since the last call, ordered by step, then by environment."""
        ...

    def get_state(self) -> dict[str, Any]:
        """All that the next steps depend on, as values that ``torch.load(weights_only=True)`` reads."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from ``get_state``'s result, bit for bit, in an environment made in the same way."""
        ...

    def close(self) -> None:
        """Free the environments."""
        ...


@dataclass(frozen=True)
class LearnerFacts:
    """What is known of a solvable task's learner before it starts.

    algorithm, family, width, depth, horizon, learning_rate, num_params, num_params_total, flops_forward,
        flops_per_interaction: the run columns of these names; None where a column means nothing here
    memory: bytes that it needs, without the program
    calmer, smaller: what to change when numbers are no longer finite, and when memory runs out, as in
        "try a smaller perceptron.rate (now 1)"
    """

    algorithm: str
    family: str
    width: float | None
    depth: int | None
    horizon: float | None
    learning_rate: float | None
    num_params: int
    num_params_total: int
    flops_forward: float
    flops_per_interaction: float
    memory: int
    calmer: str
    smaller: str


@dataclass(frozen=True)
class Learned:
    """What one iteration of a learner did.

    interactions: environment steps that it took
    returns: (n,) float64, of the episodes that it completed; larger is better
    lengths: (n,), or one number for all of them, in steps
    diagnostics: numbers by the name of their column; a row of the curve has their means
    """

    interactions: int
    returns: np.ndarray
    lengths: np.ndarray | float
    diagnostics: Mapping[str, float] = field(default_factory=dict)


class Learner(Protocol):
    """A solvable task together with what learns in it."""

    def iterate(self, most: int) -> Learned:
        """Learn from one update or more, in at most ``most`` interactions if one update takes no more.

        How much one does is a function of the state alone, so that a resumed run goes on bit for bit.
        """
        ...

    def measure(self) -> Mapping[str, float]:
        """Numbers on the learner as it is now, by column; called when a row of the curve is closed."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that the next iterations depend on, as values that ``torch.load(weights_only=True)`` reads."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict``'s result, bit for bit."""
        ...
