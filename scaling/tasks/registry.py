"""Makes a task from its name; its entry in the catalogue names the module."""

from __future__ import annotations

import importlib
from typing import Any, cast

import gymnasium
import numpy as np

from rlscale.scaling.tasks.catalog import SOLVABLE_TASKS, TASKS, SolvableTask, find_task
from rlscale.scaling.tasks.interface import Bandit, Environment, Learner, LearnerFacts
from rlscale.scaling.tasks.wrappers import NO_WRAPPERS, Wrappers


def make_bandit(task: str) -> Bandit:
    """The bandit of that name; reads (or downloads) its data.

    Raises:
        InputError: if its data is not available.
    """
    return cast(Bandit, _module(task).make_bandit(task))


def make_environment(
    task: str,
    *,
    num_envs: int,
    num_levels: int | None,
    start_level: int,
    seed: int,
    num_threads: int,
    wrappers: Wrappers = NO_WRAPPERS,
) -> Environment:
    """Environments of that name that step together.

    Args:
        num_envs: environments side by side.
        num_levels, start_level: the levels to play; None for all.
        seed: 0 .. 2**31 - 1.
        num_threads: threads that step the environments; 0 steps them in ``act``.
        wrappers: what is around each environment; see ``find_task``.

    Raises:
        InputError: if an argument is out of its range or the task's package is not installed.
    """
    around = {"wrappers": wrappers} if wrappers else {}  # most tasks take none
    made = _module(task, wrappers).make_environment(
        task,
        num_envs=num_envs,
        num_levels=num_levels,
        start_level=start_level,
        seed=seed,
        num_threads=num_threads,
        **around,
    )
    return cast(Environment, made)


def learner_facts(task: SolvableTask, settings: Any) -> LearnerFacts:
    """Sizes and costs of a solvable task's learner; ``settings`` is the section of the run's config."""
    return cast(LearnerFacts, importlib.import_module(task.module).facts(settings))


def make_learner(
    task: SolvableTask, settings: Any, *, seed: np.random.SeedSequence, device: str = "cpu"
) -> Learner:
    """A solvable task's learner before its first step.

    Args:
        settings: the section of the run's config.
        seed: of everything that is random.
        device: cpu or cuda.
    """
    module = importlib.import_module(task.module)
    return cast(Learner, module.make_learner(settings, seed=seed, device=device))


def prepare_task(task: str) -> None:
    """Make sure that a task's data and packages are available; downloads data if necessary.

    Raises:
        InputError: if they are not available.
    """
    _module(task).prepare(task)


def register_envs() -> None:
    """Register the tasks with gymnasium, for ``gymnasium.make`` and ``gymnasium.make_vec``.

    ``rlscale/MnistBandit-v0`` and ``rlscale/DigitsBandit-v0`` take the keywords ``episode_length``
    and, for MNIST, ``mnist_dir``. ``rlscale/Procgen-<game>-<mode>-v0``, for every mode that a
    game has, takes the keywords of ``ProcgenVectorEnv``.
    """
    for task in TASKS.values():
        names = task.gymnasium
        if names and names.env_id not in gymnasium.registry:
            gymnasium.register(
                names.env_id,
                entry_point=names.scalar,
                vector_entry_point=names.vector,
                kwargs={"task": task.name},
            )


def _module(task: str, wrappers: Wrappers = NO_WRAPPERS) -> Any:
    """The module that makes a task, imported on first use because Procgen's import is slow."""
    entry = SOLVABLE_TASKS.get(task) or find_task(task, wrappers)
    return importlib.import_module(entry.module)
