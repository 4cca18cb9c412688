"""From a task's name to the task, and the same tasks as gymnasium environments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium

from rlscale.scaling.tasks.digits.bandit import NUM_DIGITS, DigitBandit, DigitBanditEnv, DigitBanditVectorEnv
from rlscale.scaling.tasks.digits.images import DigitImages, load_mnist_train, load_small_digits
from rlscale.scaling.tasks.interface import Bandit
from rlscale.scaling.tasks.procgen.names import NUM_ACTIONS as PROCGEN_ACTIONS
from rlscale.scaling.tasks.procgen.names import OBSERVATION_SHAPE as PROCGEN_SHAPE
from rlscale.scaling.tasks.procgen.names import ProcgenTask, all_tasks, is_procgen

TASKS = {"mnist-bandit": "rlscale/MnistBandit-v0", "digits-bandit": "rlscale/DigitsBandit-v0"}


def make_task(name: str, *, mnist_dir: Path | None = None) -> Bandit:
    """The task of that name; reads (or downloads) its images.

    Raises:
        InputError: if MNIST is needed and cannot be had.
    """
    return DigitBandit(_images(name, mnist_dir))


def task_shape(name: str) -> tuple[tuple[int, int, int], int]:
    """(channels, height, width) of a task's observations and its number of actions, without loading it."""
    if is_procgen(name):
        return PROCGEN_SHAPE, PROCGEN_ACTIONS
    return {"mnist-bandit": (1, 28, 28), "digits-bandit": (1, 8, 8)}[name], NUM_DIGITS


def register_envs() -> None:
    """Register the tasks with gymnasium, for ``gymnasium.make`` and ``gymnasium.make_vec``.

    ``rlscale/MnistBandit-v0`` and ``rlscale/DigitsBandit-v0`` take the keywords ``episode_length``
    and, for MNIST, ``mnist_dir``; ``rlscale/Procgen-<game>-<mode>-v0``, for every mode that a
    game has, those of ``ProcgenVectorEnv``.
    """
    for name, env_id in TASKS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id,
                entry_point=f"{__name__}:make_env",
                vector_entry_point=f"{__name__}:make_vector_env",
                kwargs={"task": name},
            )
    for task in all_tasks():
        env_id = procgen_id(task)
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id,
                entry_point="rlscale.scaling.tasks.procgen.gymnasium_env:ProcgenScalarEnv",
                vector_entry_point="rlscale.scaling.tasks.procgen.gymnasium_env:ProcgenVectorEnv",
                kwargs={"task": task.name},
            )


def procgen_id(task: ProcgenTask) -> str:
    """A Procgen task's name in gymnasium, such as ``rlscale/Procgen-coinrun-easy-v0``."""
    return f"rlscale/Procgen-{task.game}-{task.mode}-v0"


def make_env(task: str, mnist_dir: Path | None = None, **options: Any) -> DigitBanditEnv:
    """Entry point of the scalar environments."""
    return DigitBanditEnv(_images(task, mnist_dir), **options)


def make_vector_env(task: str, mnist_dir: Path | None = None, **options: Any) -> DigitBanditVectorEnv:
    """Entry point of the vector environments."""
    return DigitBanditVectorEnv(_images(task, mnist_dir), **options)


def _images(task: str, mnist_dir: Path | None) -> DigitImages:
    return load_mnist_train(mnist_dir) if task == "mnist-bandit" else load_small_digits()
