"""The catalogue of tasks by name, readable before any code or data of a task is loaded.

A task is one entry here and one module that makes it (``Task.module``). The catalogue is plain data and
imports neither torch nor gymnasium, so that configs, plans and stores can read it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

from rlscale.scaling.errors import InputError
from rlscale.scaling.modules import GYMNASIUM
from rlscale.scaling.tasks.data_folder import MNIST, DataFolder
from rlscale.scaling.tasks.procgen.names import (
    EXAMPLE,
    NUM_ACTIONS,
    OBSERVATION_SHAPE,
    PATTERN,
    PREFIX,
    ProcgenTask,
    all_tasks,
    check_levels,
    parse_task,
)
from rlscale.scaling.wording import did_you_mean

if TYPE_CHECKING:  # it would import pydantic, which a store of curves does not need
    from rlscale.scaling.tasks.wrappers import Wrappers


@dataclass(frozen=True)
class Images:
    """Observations: images (channels, height, width) uint8, 0 to 255."""

    shape: tuple[int, int, int]

    @property
    def num_bytes(self) -> int:
        """Memory of one observation."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Vectors:
    """Observations: ``size`` numbers, float32.

    num_unscaled: how many of them, the last ones, are left alone where observations are normalised
    """

    size: int
    num_unscaled: int = 0

    @property
    def shape(self) -> tuple[int]:
        return (self.size,)

    @property
    def num_bytes(self) -> int:
        """Memory of one observation."""
        return 4 * self.size


@dataclass(frozen=True)
class Discrete:
    """Actions: one of ``count`` choices, 0 .. count - 1."""

    count: int


@dataclass(frozen=True)
class MultiDiscrete:
    """Actions: several choices at once, the i-th one of 0 .. counts[i] - 1."""

    counts: tuple[int, ...]


@dataclass(frozen=True)
class Continuous:
    """Actions: numbers, the i-th between low[i] and high[i]."""

    low: tuple[float, ...]
    high: tuple[float, ...]


Observations = Images | Vectors
Actions = Discrete | MultiDiscrete | Continuous


@dataclass(frozen=True)
class GymnasiumNames:
    """The task as gymnasium environments.

    env_id: its name for ``gymnasium.make`` and ``gymnasium.make_vec``
    scalar, vector: ``module:callable`` of the entry points, which get the task's name as ``task``
    """

    env_id: str
    scalar: str
    vector: str


@dataclass(frozen=True)
class Task:
    """One task.

    name: its name in configs, stores and reports
    kind: ``bandit`` if the next observation does not depend on the action, else ``environment``
    observations, actions: its spaces
    families: the model families that fit its observations, the default one first
    module: the module that makes the task. It has, by ``kind``, ``make_bandit(task)`` or
        ``make_environment(task, ...)``, and ``prepare(task)``, which makes sure that data and packages are
        available; see ``registry``
    gymnasium: its names in gymnasium; None if it has none
    return_low, return_high: bounds of an episode's undiscounted return, of the mean reward for a bandit;
        None where there is none or none is known
    check_levels: raises an InputError if the task cannot be played on the levels start_level ..
        start_level + num_levels - 1 (``num_levels`` None means all); None if the task has no levels
    data: the files that it reads; None if its package contains them
    resume: what a resumed run goes on from: ``exact``, the very step, bit for bit, or ``episode_boundary``,
        new episodes
    """

    name: str
    kind: Literal["bandit", "environment"]
    observations: Observations
    actions: Actions
    families: tuple[str, ...]
    module: str
    gymnasium: GymnasiumNames | None = None
    return_low: float | None = None
    return_high: float | None = None
    check_levels: Callable[[int | None, int], None] | None = None
    data: DataFolder | None = None
    resume: Literal["exact", "episode_boundary"] = "exact"

    @property
    def default_family(self) -> str:
        return self.families[0]


@dataclass(frozen=True)
class SolvableTask:
    """A task that brings a learner of its own in place of networks and an agent.

    name: its name in configs, stores and reports
    section: the section of a run's config that sets task and learner
    module: the module that makes the learner: ``facts(settings)``, ``make_learner(settings, ...)`` and
        ``prepare(task)``; see ``registry``
    return_low, return_high: bounds of what its curves call the return; None where there is none
    resume: see ``Task``
    """

    name: str
    section: str
    module: str
    return_low: float | None = None
    return_high: float | None = None
    resume: Literal["exact"] = "exact"


def _digit_bandit(name: str, side: int, env_id: str, data: DataFolder | None = None) -> Task:
    module = "rlscale.scaling.tasks.digits.bandit"
    return Task(
        name=name,
        kind="bandit",
        observations=Images((1, side, side)),
        actions=Discrete(10),
        families=("mnist-cnn",),
        module=module,
        gymnasium=GymnasiumNames(env_id, f"{module}:make_env", f"{module}:make_vector_env"),
        return_low=0.0,
        return_high=1.0,
        data=data,
    )


def _procgen(task: ProcgenTask) -> Task:
    environments = "rlscale.scaling.tasks.procgen.gymnasium_env"
    return Task(
        name=task.name,
        kind="environment",
        observations=Images(OBSERVATION_SHAPE),
        actions=Discrete(NUM_ACTIONS),
        families=("impala", "impala-lstm"),
        module="rlscale.scaling.tasks.procgen.games",
        gymnasium=GymnasiumNames(
            f"rlscale/Procgen-{task.game}-{task.mode}-v0",
            f"{environments}:ProcgenScalarEnv",
            f"{environments}:ProcgenVectorEnv",
        ),
        check_levels=partial(check_levels, task),
    )


#: Every task, in the order in which messages name them.
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _digit_bandit("mnist-bandit", 28, "rlscale/MnistBandit-v0", MNIST),
        _digit_bandit("digits-bandit", 8, "rlscale/DigitsBandit-v0"),
        *map(_procgen, all_tasks()),
    )
}


#: Tasks whose true answer is known, each with its own learner; see ``SolvableTask``.
SOLVABLE_TASKS: dict[str, SolvableTask] = {
    task.name: task
    for task in (
        SolvableTask(
            "rl-perceptron",
            section="perceptron",
            module="rlscale.scaling.solvable.perceptron_learner",
            return_low=0.0,
            return_high=1.0,
        ),
        SolvableTask(
            "in-context-td",
            section="in_context",
            module="rlscale.scaling.solvable.in_context_learner",
            return_high=1.0,
        ),
    )
}


@dataclass(frozen=True)
class Collection:
    """Tasks whose names follow one pattern, which messages show instead of every name.

    explain: raises an InputError if a name that begins with ``prefix`` is wrong
    """

    prefix: str
    pattern: str
    example: str
    explain: Callable[[str], object]


COLLECTIONS = (Collection(PREFIX, PATTERN, EXAMPLE, parse_task),)

#: Describes the tasks whose names have a colon, gymnasium:<id> and module:Class, by their spaces.
_ENVIRONMENTS = "rlscale.scaling.tasks.gymnasium.environments"


def find_task(name: str, wrappers: Wrappers | None = None) -> Task:
    """The task of that name; one with a colon is an environment, which is made once to see its spaces.

    Args:
        wrappers: what is around the environment; only for ``gymnasium:<id>``.

    Raises:
        InputError: if there is none (code ``unknown_task``), it brings its own learner (``own_learner``), or
            the environment or a wrapper cannot be used.
    """
    refuse_solvable(name)
    if wrappers and not name.startswith(GYMNASIUM):
        raise InputError(
            f"wrappers are for tasks {GYMNASIUM}<id>: leave them out for {name}.", code="wrapper_does_not_fit"
        )
    if name in TASKS:
        return TASKS[name]
    if ":" in name:
        around = [wrappers] if wrappers else []
        return cast(Task, importlib.import_module(_ENVIRONMENTS).task_of(name, *around))
    for collection in COLLECTIONS:
        if name.startswith(collection.prefix):
            collection.explain(name)
    single = [known for known in TASKS if not known.startswith(tuple(c.prefix for c in COLLECTIONS))]
    meant = did_you_mean(name, [*TASKS, *SOLVABLE_TASKS])
    if meant is not None:
        raise InputError(f"there is no task {name!r}; did you mean {meant!r}?", code="unknown_task")
    *first, last = [*single, *SOLVABLE_TASKS, *(collection.pattern for collection in COLLECTIONS)]
    example = f", such as {COLLECTIONS[0].example}" if COLLECTIONS else ""
    raise InputError(
        f"no such task; use {', '.join(first)} or {last}{example}, "
        f"or any environment as gymnasium:<id> or module:Class.",
        code="unknown_task",
    )


def refuse_solvable(name: str) -> None:
    """Refuse a task that has neither agent nor networks.

    Raises:
        InputError: code ``own_learner``.
    """
    if name in SOLVABLE_TASKS:
        raise InputError(
            f"{name} brings its own learner and has no agent and no networks: use another task for this.",
            code="own_learner",
        )


def return_bounds(name: object) -> tuple[float | None, float | None]:
    """(return_low, return_high) of a task, (None, None) of a name that is not in the catalogue."""
    task = TASKS.get(name) or SOLVABLE_TASKS.get(name) if isinstance(name, str) else None
    return (task.return_low, task.return_high) if task else (None, None)
