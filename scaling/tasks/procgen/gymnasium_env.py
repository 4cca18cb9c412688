"""Procgen for other agents: the task as gymnasium environments, vector and scalar."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from rlscale.scaling.tasks.interface import Episodes
from rlscale.scaling.tasks.procgen.games import SEED_LIMIT, ProcgenEnv
from rlscale.scaling.tasks.procgen.names import NUM_ACTIONS, OBSERVATION_SHAPE, parse_task


class ProcgenVectorEnv(gymnasium.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """``num_envs`` environments of one game; observations are (n, 64, 64, 3) uint8.

    An environment whose episode ends begins the next one within the same step. Procgen does not
    show the last observation of an episode: the observation of that step is the first of the next
    episode, and there is no ``final_obs``. Every end is reported as terminated, even a game's time
    limit, because Procgen does not distinguish them.

    When episodes end, ``info["episode"]`` has their returns ``r`` and lengths ``l``, as in
    gymnasium's RecordEpisodeStatistics, and ``level_seed`` and ``level_complete``, each (n,) and
    zero where the mask ``info["_episode"]`` is false. To wrap the environment in
    RecordEpisodeStatistics as well, give that another ``stats_key``.

    Args:
        task: the task's name, ``procgen-<game>-<mode>``.
        num_levels, start_level, num_threads: see ``ProcgenEnv``.

    Raises:
        InputError: if an argument is out of its range or Procgen is not installed.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - gymnasium's protocol

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        num_levels: int | None = None,
        start_level: int = 0,
        num_threads: int = 0,
    ) -> None:
        self.num_envs = num_envs
        self._options: dict[str, Any] = {
            "task": parse_task(task),
            "num_envs": num_envs,
            "num_levels": num_levels,
            "start_level": start_level,
            "num_threads": num_threads,
        }
        self._env = ProcgenEnv(seed=0, **self._options)
        channels, height, width = OBSERVATION_SHAPE
        self.single_observation_space = gymnasium.spaces.Box(0, 255, (height, width, channels), np.uint8)
        self.single_action_space = gymnasium.spaces.Discrete(NUM_ACTIONS)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Create the games again from the seed (the first of a list), or from ``np_random`` without one."""
        seed = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(SEED_LIMIT)) if seed is None else seed
        self._env.close()
        self._env = ProcgenEnv(seed=drawn, **self._options)
        return self._env.observe().observation.copy(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self._env.act(np.asarray(actions))
        observed = self._env.observe()
        ended = observed.first
        info = _episode_info(self._env.pop_episodes(), ended) if ended.any() else {}
        never = np.zeros(self.num_envs, bool)
        return observed.observation.copy(), observed.reward, ended, never, info

    def close_extras(self, **kwargs: Any) -> None:
        self._env.close()


class ProcgenScalarEnv(gymnasium.Env[np.ndarray, np.int64]):
    """One environment of a game, with the conventions of ``ProcgenVectorEnv``.

    The observation of a step that ends an episode is the first of the next episode, and the next
    ``reset`` returns it again. The info of that step has ``level_seed`` and ``level_complete``;
    gymnasium's RecordEpisodeStatistics gives returns and lengths.
    """

    def __init__(
        self, task: str, num_levels: int | None = None, start_level: int = 0, num_threads: int = 0
    ) -> None:
        self._vector = ProcgenVectorEnv(task, 1, num_levels, start_level, num_threads)
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space
        self._next_episode: np.ndarray | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin the next episode; with a seed, or in the middle of an episode, create the game again."""
        super().reset(seed=seed)
        observation = self._next_episode
        if observation is None or seed is not None:
            observation = self._vector.reset(seed=seed)[0][0]
        self._next_episode = None
        return observation, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observations, rewards, terminated, _, info = self._vector.step(np.array([action]))
        ended = bool(terminated[0])
        self._next_episode = observations[0].copy() if ended else None
        names = ("level_seed", "level_complete") if ended else ()
        return (
            observations[0],
            float(rewards[0]),
            ended,
            False,
            {name: info["episode"][name][0] for name in names},
        )

    def close(self) -> None:
        self._vector.close()


def _episode_info(episodes: Episodes, ended: np.ndarray) -> dict[str, Any]:
    columns = {
        "r": episodes.returns,
        "l": episodes.lengths,
        "level_seed": episodes.levels,
        "level_complete": episodes.completed,
    }
    episode = {name: np.zeros(ended.size, values.dtype) for name, values in columns.items()}
    for name, values in columns.items():
        episode[name][ended] = values
    return {"episode": episode, "_episode": ended.copy()}
