"""The RL perceptron as the learner of a run; see ``rl_perceptron`` for the model.

A run's curve is that of one student, averaged over ``students`` of them, each with a teacher of its own:
N are the parameters of one student and E its steps, T an episode. What the curve calls the return is the
share of an episode's steps that are right: unlike the reward, it does not depend on the protocol, so that
protocols and horizons can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch

from rlscale.scaling.config.perceptron import PerceptronConfig
from rlscale.scaling.errors import NonFiniteLoss
from rlscale.scaling.solvable.perceptron_schedule import scheduled
from rlscale.scaling.solvable.rl_perceptron import STOCK, Students
from rlscale.scaling.tasks.interface import Learned, LearnerFacts

#: An iteration is this share of the episodes so far, so that rows of the curve can be spaced in log E.
_ITERATION = 1 / 200
_DOUBLE = 8  # bytes


def prepare(task: str) -> None:
    """Nothing: the task draws its inputs."""


def facts(settings: PerceptronConfig) -> LearnerFacts:
    """Sizes and costs.

    A step costs the student's product with its input and the input's share in the update, 4D; an episode the
    update itself, 2D. That is the algorithm's cost; the simulation ``overlaps`` takes a constant time.
    """
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
        flops_per_interaction=4.0 * dimension + 2.0 * dimension / settings.steps,
        memory=_DOUBLE * settings.students * _numbers(settings),
        calmer=f"try a smaller perceptron.rate (now {settings.rate:g})",
        smaller=f"try fewer perceptron.students (now {settings.students})",
    )


def _numbers(settings: PerceptronConfig) -> int:
    """What is held of one student, at the first horizon."""
    dimension, steps = settings.dimension, settings.steps
    match settings.keeps:
        case "overlaps":
            return 2 + STOCK + 8 * steps
        case "weights":
            return 3 * dimension + 8 * steps
        case "inputs":
            return (2 + steps) * dimension + 8 * steps


def make_learner(
    settings: PerceptronConfig, *, seed: np.random.SeedSequence, device: str
) -> PerceptronLearner:
    """The students at their start.

    Sizes and horizons have random streams of their own. Otherwise the curves of a seed would rise and fall
    together, and a bootstrap over runs takes them to be independent.
    """
    entropy = [int(seed.generate_state(1)[0]), settings.dimension, settings.steps]
    own = np.random.SeedSequence(entropy)
    return PerceptronLearner(settings, seed=int(own.generate_state(1)[0]), device=device)


class PerceptronLearner:
    """Students in lockstep; an interaction is a step of one of them."""

    def __init__(self, settings: PerceptronConfig, *, seed: int, device: str = "cpu") -> None:
        self._settings = settings
        self.students = Students(
            settings.dimension,
            settings.students,
            keeps=settings.keeps,
            rho0=settings.rho0,
            q0=settings.q0,
            seen=self._seen,
            spherical=settings.spherical,
            seed=seed,
            device=device,
        )
        self.episodes = 0

    @cached_property
    def _seen(self) -> float:
        return self._settings.seen

    def iterate(self, most: int) -> Learned:
        """See ``Learner``: an episode, or a fixed share of those so far.

        Raises:
            NonFiniteLoss: if a student has grown without bound.
            InputError: if an optimal schedule has left its range.
        """
        taken = 0
        right: list[torch.Tensor] = []
        lengths: list[int] = []
        for _ in range(max(1, int(_ITERATION * self.episodes))):
            rate, steps = self._in_force()
            if lengths and taken + steps > most:
                break
            right.append(self.students.episode(self._settings, steps=steps, scale=rate / self._settings.rate))
            lengths.append(steps)
            taken += steps
            self.episodes += 1
        self._check_finite()
        returns = torch.stack(right).cpu().numpy()
        return Learned(taken, returns.ravel(), np.repeat(np.array(lengths, float), self._settings.students))

    def _in_force(self) -> tuple[float, int]:
        """(η, T) of the next episode."""
        settings = self._settings
        if not settings.schedule.changes:
            return settings.rate, settings.steps
        r, q = self.students.order_parameters()
        rho = float((r / q.sqrt()).mean())
        return scheduled(settings, self.episodes / settings.dimension, rho, float(q.mean()))

    def _check_finite(self) -> None:
        _, q = self.students.order_parameters()
        if not bool((torch.isfinite(q) & (q > 0)).all()):
            raise NonFiniteLoss(
                f"the length of a student is not a positive number after {self.episodes:,} episodes; "
                f"{facts(self._settings).calmer}."
            )

    def measure(self) -> Mapping[str, float]:
        """Means over the students: the overlap with the whole teacher, R and Q, the generalisation error."""
        r, q = (each.double().cpu().numpy() for each in self.students.order_parameters())
        overlap = np.clip(self._seen * r / np.sqrt(q), -1, 1)
        rate, steps = self._in_force()
        return {
            "perceptron_overlap": float(overlap.mean()),
            "perceptron_overlap_std": float(overlap.std()),
            "perceptron_r": float(r.mean()),
            "perceptron_q": float(q.mean()),
            "perceptron_error": float(np.arccos(overlap).mean() / np.pi),
            "perceptron_rate": rate,
            "perceptron_steps": float(steps),
        }

    def state_dict(self) -> dict[str, Any]:
        """See ``Learner``."""
        return {"episodes": self.episodes, "students": self.students.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See ``Learner``."""
        self.episodes = int(state["episodes"])
        self.students.load_state_dict(state["students"])
