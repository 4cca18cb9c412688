"""The RL perceptron as the learner of a run; see ``rl_perceptron`` for the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rlscale.scaling.config.perceptron import PerceptronConfig
from rlscale.scaling.solvable.rl_perceptron import Students
from rlscale.scaling.tasks.interface import Learned, LearnerFacts

_ITERATION = 1 / 200  # of the episodes so far


def prepare(task: str) -> None:
    """Nothing: the task draws its inputs."""


def facts(settings: PerceptronConfig) -> LearnerFacts:
    """Sizes and costs: a step costs the student's product with its input and its share in the update."""
    dimension = settings.dimension
    return LearnerFacts(
        algorithm=settings.protocol,
        family="perceptron",
        width=None,
        depth=None,
        horizon=float(settings.steps),
        learning_rate=settings.rate,
        num_params=dimension,
        num_params_total=dimension,
        flops_forward=2.0 * dimension,
        flops_per_interaction=4.0 * dimension + dimension / settings.steps,
        memory=8 * settings.students * 64,
        calmer=f"try a smaller perceptron.rate (now {settings.rate:g})",
        smaller=f"try fewer perceptron.students (now {settings.students})",
    )


def make_learner(
    settings: PerceptronConfig, *, seed: np.random.SeedSequence, device: str
) -> PerceptronLearner:
    """The students at their start."""
    return PerceptronLearner(settings, seed=int(seed.generate_state(1)[0]), device=device)


class PerceptronLearner:
    """Students in lockstep; an interaction is a step of one of them."""

    def __init__(self, settings: PerceptronConfig, *, seed: int, device: str = "cpu") -> None:
        self._settings = settings
        self.students = Students(settings.dimension, settings.students, seed=seed, device=device)
        self.episodes = 0

    def iterate(self, most: int) -> Learned:
        """See ``Learner``; an episode or a fixed share of those so far."""
        steps = self._settings.steps
        count = max(1, min(int(_ITERATION * self.episodes), most // steps))
        returns = [self.students.episode(self._settings) for _ in range(count)]
        self.episodes += count
        return Learned(count * steps, torch.cat(returns).cpu().numpy(), steps)

    def measure(self) -> Mapping[str, float]:
        """Means of the order parameters over the students."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"episodes": self.episodes, "students": self.students.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.episodes = int(state["episodes"])
        self.students.load_state_dict(state["students"])
