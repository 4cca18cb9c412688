"""Any environment as a task: ``gymnasium:<id>``, or a class of the person's as ``module:Class``.

The environments step one after the other in the trainer's process. One whose episode ends begins the next one
within the same step; whether the episode came to its end or a time limit cut it off is told apart.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlscale.scaling.errors import InputError
from rlscale.scaling.modules import GYMNASIUM, describe, load_class
from rlscale.scaling.tasks.catalog import Images, Task, Vectors
from rlscale.scaling.tasks.gymnasium.private import keeps_state, set_state_of, state_of
from rlscale.scaling.tasks.gymnasium.spaces import actions_of, as_actions, as_observations, observations_of
from rlscale.scaling.tasks.gymnasium.wrapping import lives, make_arguments, wrapped
from rlscale.scaling.tasks.interface import Cut, Episodes, Observed, concatenate_episodes
from rlscale.scaling.tasks.wrappers import NO_WRAPPERS, Wrappers

#: Smaller images leave nothing after the convolutions of nature-cnn.
_NATURE_SIDE = 36
_ATARI = "ALE/"
CONTROL_REMEDY = "pip install 'rlscale[control]'"


@cache
def task_of(name: str, around: Wrappers = NO_WRAPPERS) -> Task:
    """The task of that name; the environment is made once, to see its spaces.

    Raises:
        InputError: if there is none, its module was not named, it cannot be made, or its spaces are not
            supported.
    """
    env = make_one(name, around)
    try:
        observations = observations_of(env.observation_space, name)
        if around.time and isinstance(observations, Vectors):
            observations = Vectors(observations.size, num_unscaled=1)
        families: tuple[str, ...] = ("mlp",)
        if isinstance(observations, Images):
            large = min(observations.shape[1:]) >= _NATURE_SIDE
            families = ("nature-cnn", "impala") if large else ("impala",)
        return Task(
            name=name,
            kind="environment",
            observations=observations,
            actions=actions_of(env.action_space, name),
            families=families,
            module=__name__,
            resume="exact" if keeps_state(env) else "episode_boundary",
        )
    finally:
        env.close()


def make_one(name: str, around: Wrappers = NO_WRAPPERS) -> gymnasium.Env[Any, Any]:
    """One environment, within its wrappers.

    Raises:
        InputError: see ``task_of``.
    """
    if not name.startswith(GYMNASIUM):
        make: Any = load_class(name, gymnasium.Env)
    else:
        env_id = name.removeprefix(GYMNASIUM)
        _check_id(env_id)
        arguments = make_arguments(env_id, around)

        def make() -> gymnasium.Env[Any, Any]:
            return wrapped(gymnasium.make(env_id, disable_env_checker=True, **arguments), around, name)

    try:
        with _silently():
            made: gymnasium.Env[Any, Any] = make()
    except InputError:
        raise
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        remedy = CONTROL_REMEDY if _is_control(name) else "install it"
        raise InputError(
            f"{name} needs a package that is not installed here ({describe(error)}): {remedy}.",
            code="missing_package",
        ) from error
    except Exception as error:  # an environment may raise anything
        raise InputError(
            f"{name} cannot be made ({describe(error)}): correct it, or give its arguments where you "
            f"register it.",
            code="invalid_environment",
        ) from error
    return made


def _check_id(env_id: str) -> None:
    """Refuse an id that is not registered; gymnasium itself would import the module of ``module:id``."""
    if env_id in gymnasium.registry:
        return
    if _register_atari() and env_id in gymnasium.registry:
        return
    if env_id.startswith(_ATARI) and not _register_atari():
        raise InputError(
            f"{GYMNASIUM}{env_id} needs ale-py, which is not installed here: {CONTROL_REMEDY}.",
            code="missing_package",
        )
    if ":" in env_id:
        module, _, rest = env_id.rpartition(":")
        raise InputError(
            f"{GYMNASIUM}{env_id}: write {GYMNASIUM}{rest}, and name the module that registers it with "
            f"--import {module}.",
            code="unknown_task",
        )
    folded = {known.lower(): known for known in gymnasium.registry}
    near = [folded[each] for each in difflib.get_close_matches(env_id.lower(), folded, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise InputError(
        f"gymnasium has no environment {env_id}: {hint}If your module registers it, add --import MODULE.",
        code="unknown_task",
    )


def _register_atari() -> bool:
    """Register the Atari games; whether their package is installed."""
    try:
        with _silently():
            ale_py: Any = importlib.import_module("ale_py")
    except ImportError:
        return False
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # without its banner at every game
    return True


def _is_control(name: str) -> bool:
    """Whether a task is an Atari game or one of gymnasium's MuJoCo environments."""
    spec = gymnasium.registry.get(name.removeprefix(GYMNASIUM))
    place = spec.entry_point if spec else None
    return isinstance(place, str) and place.startswith(("ale_py", "gymnasium.envs.mujoco"))


def prepare(task: str) -> None:
    """Check an environment against gymnasium's contract.

    Raises:
        InputError: with the checker's words (code ``invalid_environment``).
    """
    env = make_one(task)
    try:
        with _silently():
            check_env(env.unwrapped, skip_render_check=True, skip_close_check=True)
    except Exception as error:  # the checker's assertions, or whatever the environment raises
        raise InputError(
            f"{task} breaks the contract of gymnasium's environments ({describe(error)}): correct it.",
            code="invalid_environment",
        ) from error
    finally:
        env.close()


class GymnasiumEnvironments:
    """``num_envs`` environments of one task; see ``Environment``.

    Rewards are raw. Runs of the same seed and actions are the same if the environment is deterministic.

    Args:
        task: the task's name.
        num_envs: environments side by side.
        seed: 0 .. 2**31 - 1, of all of them.
        around: what is around each environment.

    Raises:
        InputError: if the environment cannot be made or reset.
    """

    def __init__(self, task: str, *, num_envs: int, seed: int, around: Wrappers = NO_WRAPPERS) -> None:
        entry = task_of(task, around)
        self.num_envs = num_envs
        self.observation_shape = entry.observations.shape
        self._task, self._observations = task, entry.observations
        self._exact = entry.resume == "exact"
        self._life_ends = around.atari is not None and around.atari.life_ends
        self._seed, self._steps = seed, 0
        with self._faults("make"):
            self._envs = SyncVectorEnv(
                [lambda: make_one(task, around)] * num_envs,
                copy=False,
                autoreset_mode=AutoresetMode.SAME_STEP,
            )
        self._completed: list[Episodes] = []
        self._begin()

    def act(self, actions: np.ndarray) -> None:
        """Step the environments."""
        with self._faults("step"):
            shown, rewards, terminated, truncated, infos = self._envs.step(
                as_actions(actions, self._envs.single_action_space)
            )
        self._steps += 1
        ended = terminated | truncated
        self._check_rewards(rewards)
        self._returns += rewards
        self._lengths += 1
        cut = None
        if ended.any():
            self._close_episodes(np.flatnonzero(ended), terminated)
            cut = self._cut(np.flatnonzero(truncated & ~terminated), infos)
        first = ended | self._lose_lives() if self._life_ends else ended
        self._observed = Observed(self._checked(shown), rewards, first, cut)

    def observe(self) -> Observed:
        """What the last step led to."""
        return self._observed

    def pop_episodes(self) -> Episodes:
        """The episodes completed since the last call, ordered by step, then by environment."""
        popped = concatenate_episodes(self._completed)
        self._completed = []
        return popped

    def get_state(self) -> dict[str, Any]:
        """The environments' states where they are known, else what it takes to begin new episodes.

        Raises:
            InputError: if an environment's own ``get_state`` returns other than plain values.
        """
        state: dict[str, Any] = {"task": self._task, "num_envs": self.num_envs, "steps": self._steps}
        if not self._exact:
            return state
        with self._faults("get_state"):
            state["envs"] = [state_of(env) for env in self._envs.envs]
        waiting = concatenate_episodes(self._completed)
        return state | {
            "observation": torch.from_numpy(self._observed.observation.copy()),
            "reward": self._observed.reward.tolist(),
            "first": self._observed.first.tolist(),
            "returns": self._returns.tolist(),
            "lengths": self._lengths.tolist(),
            "episodes": {name: values.tolist() for name, values in vars(waiting).items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``get_state``'s result: bit for bit where it has the environments' states.

        Otherwise all of them begin new episodes, seeded by the steps so far; the episodes that had not ended
        are not counted.

        Raises:
            ValueError: if the state has another task or another number of environments.
        """
        for name, value in (("task", self._task), ("num_envs", self.num_envs)):
            if state[name] != value:
                raise ValueError(f"the state has {name} {state[name]}, this environment {value}")
        self._steps = int(state["steps"])
        self._completed = []
        if "envs" not in state:
            self._begin()
            return
        with self._faults("set_state"):
            for env, saved in zip(self._envs.envs, state["envs"], strict=True):
                set_state_of(env, saved)
        self._returns = np.array(state["returns"], np.float64)
        self._lengths = np.array(state["lengths"], np.int64)
        self._completed = [_episodes(**state["episodes"])]
        self._observed = Observed(
            state["observation"].cpu().numpy(),
            np.array(state["reward"], np.float64),
            np.array(state["first"], bool),
        )
        self._lives = self._count_lives()

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()

    def _begin(self) -> None:
        """Begin new episodes everywhere."""
        # The first words alone for the start, so that a fresh run's seeds do not depend on how it counts.
        entropy = (self._seed, self._steps) if self._steps else (self._seed,)
        seeds = np.random.SeedSequence(entropy).generate_state(self.num_envs) // 2
        with self._faults("reset"):
            shown, _ = self._envs.reset(seed=[int(seed) for seed in seeds])
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        self._lives = self._count_lives()
        everywhere = np.ones(self.num_envs, bool)
        self._observed = Observed(self._checked(shown), np.zeros(self.num_envs), everywhere)

    def _lose_lives(self) -> np.ndarray:
        """Where a life was lost in the last step, (num_envs,) bool; a new game has all of them."""
        left = self._count_lives()
        lost = left < self._lives
        self._lives = left
        return lost

    def _count_lives(self) -> np.ndarray:
        return np.array([lives(env) for env in self._envs.envs]) if self._life_ends else np.zeros(0)

    def _cut(self, where: np.ndarray, infos: Mapping[str, Any]) -> Cut | None:
        if not where.size:
            return None
        last = np.stack([np.asarray(infos["final_obs"][i]) for i in where])
        # A copy, because the environment may write its next observation into the same array.
        return Cut(where, self._checked(last).copy())

    def _close_episodes(self, ended: np.ndarray, terminated: np.ndarray) -> None:
        self._completed.append(
            _episodes(self._returns[ended], self._lengths[ended], np.zeros(ended.size), terminated[ended])
        )
        self._returns[ended] = 0.0
        self._lengths[ended] = 0

    def _checked(self, shown: np.ndarray) -> np.ndarray:
        """Observations as the trainer takes them.

        Raises:
            InputError: if one is not finite (code ``not_finite``).
        """
        observation = as_observations(shown, self._observations)
        if observation.dtype == np.float32 and not np.isfinite(observation).all():
            which = int(np.flatnonzero(~np.isfinite(observation).all(axis=1))[0])
            raise InputError(
                f"{self._task} showed an observation that is not finite, in environment {which} after "
                f"{self._steps:,} steps: correct it.",
                code="not_finite",
            )
        return observation

    def _check_rewards(self, rewards: np.ndarray) -> None:
        if not np.isfinite(rewards).all():
            which = int(np.flatnonzero(~np.isfinite(rewards))[0])
            raise InputError(
                f"{self._task} gave the reward {rewards[which]} in environment {which} at step "
                f"{self._steps:,}: correct it.",
                code="not_finite",
            )

    @contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        """Say whose fault it is if an environment raises an error.

        Raises:
            InputError: with code ``environment_failed``.
        """
        try:
            with _silently():
                yield
        except InputError:
            raise
        except MemoryError:
            raise
        except Exception as error:  # an environment may raise anything
            raise InputError(
                f"{self._task} failed in {doing} after {self._steps:,} steps: correct it "
                f"({describe(error)}).",
                code="environment_failed",
            ) from error


def make_environment(
    task: str,
    *,
    num_envs: int,
    num_levels: int | None,
    start_level: int,
    seed: int,
    num_threads: int,
    wrappers: Wrappers = NO_WRAPPERS,
) -> GymnasiumEnvironments:
    """The task's environments for the trainer; they have no levels and take no threads."""
    return GymnasiumEnvironments(task, num_envs=num_envs, seed=seed, around=wrappers)


@contextmanager
def _silently() -> Iterator[None]:
    """Without gymnasium's advice, which is for the authors of environments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _episodes(returns: Any, lengths: Any, levels: Any, completed: Any) -> Episodes:
    return Episodes(
        np.array(returns, np.float64),
        np.array(lengths, np.int64),
        np.array(levels, np.int64),
        np.array(completed, bool),
    )
