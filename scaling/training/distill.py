"""Distils the policy of a run into fresh networks, and measures teacher and students side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rlscale.scaling.agents.distillation import (
    Shift,
    TeacherRows,
    actor_loss,
    critic_loss,
    interpolated,
    minibatch_size,
    noisy,
    observed_rows,
    row_steps,
    shift,
    taught,
    with_outputs,
)
from rlscale.scaling.config.model import step_size
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import InputError
from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.rollouts.environments import EnvironmentCollector
from rlscale.scaling.rollouts.evaluation import evaluate, unseen_levels
from rlscale.scaling.rollouts.policy import policy_of
from rlscale.scaling.rollouts.rollout import Rows
from rlscale.scaling.training.build import build_networks, generator_of, make_environments
from rlscale.scaling.training.run import Run

_STUDENTS = 2206_02126  # seeds of students have nothing to do with those of runs
_LARGEST_SEED = 2**31


@dataclass(frozen=True)
class Lesson:
    """What students get, and what is measured of them.

    Attributes:
        observations: of the teacher acting in the task, at least one minibatch; with memory they come in rows
            of consecutive ones, as long as the run's rollouts.
        epochs: passes over them.
        value_coef: weight of the squared error of the teacher's values; 0 teaches the policy alone.
        episodes: of each measurement of the return.
        pairs: of observations that are interpolated, and observations that get noise; held out from teaching.
            With memory they are whole rows, at least one pair of them.
        weights: of the first observation of a pair.
        noises: deviations, as shares of that of the observations.
    """

    observations: int = 20_000
    epochs: int = 10
    value_coef: float = 0.0
    episodes: int = 100
    pairs: int = 1000
    weights: tuple[float, ...] = (0.9, 0.75, 0.5)
    noises: tuple[float, ...] = (0.1, 0.3)


@dataclass(frozen=True)
class Measures:
    """One policy's measures.

    Attributes:
        loss: KL(teacher || student) on what it was taught on, nat; None for the teacher.
        seen: returns (episodes,) on the levels of training; without levels, from seeds of their own.
        unseen: the same on all other levels; None without levels.
        mixed: by weight, from an observation to its interpolation with another.
        noise: by share, from an observation to itself with noise.
    """

    loss: float | None
    seen: np.ndarray
    unseen: np.ndarray | None
    mixed: dict[float, Shift]
    noise: dict[float, Shift]


def check_distillation(config: RunConfig, lesson: Lesson) -> None:
    """Refuse what cannot be distilled, before the work.

    Raises:
        InputError: if the task is a bandit, or the observations are too few.
    """
    config.check_has_agent()
    if config.task_entry.kind == "bandit":
        raise InputError(
            f"{config.task} is a bandit, whose observations no policy decides: choose another run.",
            code="not_an_environment",
        )
    minibatch = minibatch_size(config.agent)
    if lesson.observations < minibatch:
        raise InputError(
            f"--observations {lesson.observations:,} do not fill a minibatch of the run, of {minibatch:,}: "
            f"use more.",
            code="too_few_observations",
        )


def distil(
    config: RunConfig, checkpoint: bytes, lesson: Lesson, *, students: int, device: str = "cpu"
) -> list[Measures]:
    """The measures of the teacher, then of each student.

    All policies meet the same levels and seeds, interpolations and noise.

    Args:
        checkpoint: of the teacher.
        students: how many, each with initial weights and an order of minibatches of its own.

    Raises:
        InputError: see ``check_distillation``; or if the checkpoint cannot be read
            (code ``damaged_checkpoint``).
    """
    check_distillation(config, lesson)
    run = Run(config, device=device)
    try:
        run.restore(checkpoint)
    except ValueError as error:
        raise InputError(
            f"Run {config.run_id} cannot be distilled, {error}; restore its files.", code="damaged_checkpoint"
        ) from error
    teacher = run.agent.model
    steps = row_steps(config, config.agent.rollout_steps)
    pairs = max(1, lesson.pairs // steps)
    rows = _rows(run, lesson.observations // steps + 2 * pairs, steps)
    taught_on = with_outputs(rows.select(slice(2 * pairs, None)), teacher)
    held_out = rows.select(slice(0, 2 * pairs))
    found = [_measures(run, teacher, None, held_out, lesson)]
    for number in range(students):
        student, loss = _student(run, taught_on, lesson, number)
        found.append(_measures(run, student, loss, held_out, lesson))
    return found


def _rows(run: Run, count: int, steps: int) -> Rows:
    """``count`` rows of the teacher acting in the task, in random order."""
    agent, found = run.config.agent, list[Rows]()
    while sum(len(rows.first) for rows in found) < count:
        rollout, _, _ = run.collector.collect(
            run.agent.model, envs=agent.num_envs, steps=agent.rollout_steps, needs_bootstrap=False
        )
        found.append(observed_rows(rollout, steps))
    whole = Rows(*(torch.cat(each) for each in zip(*(vars(rows).values() for rows in found), strict=True)))
    order = np.random.default_rng([_STUDENTS, run.config.seed]).permutation(len(whole.first))[:count]
    return whole.select(torch.from_numpy(order))


def _student(run: Run, rows: TeacherRows, lesson: Lesson, number: int) -> tuple[ActorCritic, float]:
    """Fresh networks that learned what the teacher does, and the KL that was left."""
    config = run.config
    init, order = np.random.SeedSequence([_STUDENTS, config.seed, number]).spawn(2)
    student = build_networks(config, generator_of(init)).to(run.device)

    def loss(model: ActorCritic, part: TeacherRows) -> torch.Tensor:
        values = lesson.value_coef * critic_loss(model, part) if lesson.value_coef else 0.0
        return actor_loss(model, part) + values

    taught(
        student,
        rows,
        loss,
        config.agent,
        step_size=step_size(config.agent.learning_rate, config.model),
        minibatch=minibatch_size(config.agent),
        epochs=lesson.epochs,
        rng=np.random.default_rng(order),
    )
    with torch.no_grad():
        parts = [(len(part.first), float(actor_loss(student, part))) for part in rows.parts(1024, run.device)]
    return student, sum(count * left for count, left in parts) / len(rows.first)


def _measures(run: Run, model: ActorCritic, loss: float | None, held_out: Rows, lesson: Lesson) -> Measures:
    config, generator = run.config, torch.Generator().manual_seed(run.config.seed % _LARGEST_SEED)
    levels = config.levels.num_levels, config.levels.start_level
    pairs = len(held_out.first) // 2
    rows, other = held_out.select(slice(0, pairs)), held_out.observation[pairs:]
    has_levels = config.task_entry.check_levels is not None
    return Measures(
        loss=loss,
        seen=_returns(run, model, levels, lesson.episodes),
        unseen=_returns(run, model, unseen_levels(*levels), lesson.episodes) if has_levels else None,
        mixed={
            weight: shift(model, rows, interpolated(rows.observation, other, weight))
            for weight in lesson.weights
        },
        noise={
            share: shift(model, rows, noisy(rows.observation, share, generator)) for share in lesson.noises
        },
    )


def _returns(run: Run, model: ActorCritic, levels: tuple[int | None, int], episodes: int) -> np.ndarray:
    """Returns of whole episodes; the seeds are others than those of training."""
    assert isinstance(run.collector, EnvironmentCollector)
    seed, actions = np.random.SeedSequence([_STUDENTS, run.config.seed, run.config.seed]).spawn(2)
    environment = make_environments(
        run.config, seed=int(seed.generate_state(1)[0]) % _LARGEST_SEED, levels=levels, num_threads=0
    )
    act = run.collector.as_seen(policy_of(model, np.random.default_rng(actions), run.device))
    try:
        return evaluate(act, environment, episodes).returns
    finally:
        environment.close()
