"""Procgen as the trainer steps it (Cobbe et al., arXiv 1912.01588)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.interface import Episodes, Observed, concatenate_episodes
from rlscale.scaling.tasks.procgen.names import (
    NUM_ACTIONS,
    OBSERVATION_SHAPE,
    ProcgenTask,
    check_levels,
    parse_task,
)
from rlscale.scaling.tasks.procgen.private import ended_level, image, import_procgen, make_games

#: Seeds are 0 .. SEED_LIMIT - 1.
SEED_LIMIT = 2**31


class ProcgenEnv:
    """``num_envs`` environments of one game; see ``Environment`` for how they are stepped.

    Observations are (n, 64, 64, 3) uint8, in a buffer that Procgen owns: the array that
    ``observe`` returns is valid until the next ``act``, which overwrites it. Rewards and flags
    are copies. One seed and one sequence of actions give the same bits for any
    ``num_threads``. Procgen does not distinguish episodes that it cuts off at a game's time
    limit, so they count as completed.

    Args:
        task: the game and its mode.
        num_envs: environments side by side.
        num_levels: number of levels, ``start_level`` being the first; None for all.
        start_level: the number of the first level.
        seed: decides which levels are drawn, 0 to 2**31 - 1.
        num_threads: threads that step the environments while the caller continues. With 0,
            ``act`` itself steps them and returns when the step is done. Handing environments
            over to threads takes processor time: on 1 and 2 busy cores, 0 was the fastest for
            1 to 64 environments as long as the caller had nothing else to do.

    Raises:
        InputError: if an argument is out of its range or Procgen is not installed.
    """

    observation_shape = OBSERVATION_SHAPE
    num_actions = NUM_ACTIONS

    def __init__(
        self,
        *,
        task: ProcgenTask,
        num_envs: int,
        num_levels: int | None = None,
        start_level: int = 0,
        seed: int,
        num_threads: int,
    ) -> None:
        check_levels(task, num_levels, start_level)
        if num_envs < 1:
            raise InputError(f"num_envs is {num_envs}: use 1 or more environments.", code="invalid_number")
        if num_threads < 0:
            raise InputError(
                f"num_threads is {num_threads}: use 0 (the caller's own thread) or more.",
                code="invalid_number",
            )
        if not 0 <= seed < SEED_LIMIT:
            raise InputError(f"seed is {seed}: Procgen takes 0 to {SEED_LIMIT - 1:,}.", code="invalid_number")
        self.num_envs = num_envs
        self._identity = {
            "task": task.name,
            "num_envs": num_envs,
            "num_levels": num_levels,
            "start_level": start_level,
        }
        # The mode exploration fixes the level itself and refuses one that is given.
        levels = {} if num_levels is None else {"num_levels": num_levels, "start_level": start_level}
        self._games = make_games(
            num=num_envs,
            env_name=task.game,
            distribution_mode=task.mode,
            rand_seed=seed,
            num_threads=num_threads,
            **levels,
        )
        self._is_stepping = False
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, np.int64)
        self._completed: list[Episodes] = []
        self._observed = self._look()

    def act(self, actions: np.ndarray) -> None:
        """Start a step with the actions, int (n,) in 0..14."""
        self._finish_step()
        self._games.act(actions)
        self._is_stepping = True

    def observe(self) -> Observed:
        """Wait for the end of the step; the observation is valid until the next ``act``."""
        self._finish_step()
        return self._observed

    def pop_episodes(self) -> Episodes:
        """The episodes completed since the last call, ordered by step, then by environment."""
        self._finish_step()
        popped = concatenate_episodes(self._completed)
        self._completed = []
        return popped

    def get_state(self) -> dict[str, Any]:
        """Games, running returns and episodes not yet popped, as ints, floats, bytes, lists and dicts."""
        self._finish_step()
        waiting = concatenate_episodes(self._completed)
        return {
            **self._identity,
            "games": self._games.get_state(),
            "returns": self._returns.tolist(),
            "lengths": self._lengths.tolist(),
            "episodes": {name: values.tolist() for name, values in vars(waiting).items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from ``get_state``'s result, bit for bit.

        Raises:
            ValueError: if the state has another task, other levels or another number of environments.
        """
        for name, value in self._identity.items():
            if state[name] != value:
                raise ValueError(f"the state has {name} {state[name]}, this environment {value}")
        self._finish_step()
        self._games.set_state(state["games"])
        self._returns = np.array(state["returns"], np.float64)
        self._lengths = np.array(state["lengths"], np.int64)
        self._completed = [_episodes(**state["episodes"])]
        self._observed = self._look()

    def close(self) -> None:
        """Free the games and join their threads."""
        self._games.close()

    def _finish_step(self) -> None:
        if not self._is_stepping:
            return
        self._is_stepping = False
        self._observed = self._look()
        self._returns += self._observed.reward
        self._lengths += 1
        if self._observed.first.any():
            self._close_episodes(np.flatnonzero(self._observed.first))

    def _look(self) -> Observed:
        reward, observation, first = self._games.observe()
        return Observed(image(observation), reward.astype(np.float64), first.copy())

    def _close_episodes(self, ended: np.ndarray) -> None:
        infos = self._games.get_info()
        levels, completed = zip(*(ended_level(infos[e]) for e in ended), strict=True)
        self._completed.append(
            _episodes(
                returns=self._returns[ended],
                lengths=self._lengths[ended],
                levels=levels,
                completed=completed,
            )
        )
        self._returns[ended] = 0.0
        self._lengths[ended] = 0


def make_environment(task: str, **options: Any) -> ProcgenEnv:
    """The task's environments for the trainer; options as for ``ProcgenEnv``."""
    return ProcgenEnv(task=parse_task(task), **options)


def prepare(task: str) -> None:
    """Make sure that Procgen is installed."""
    import_procgen()


def _episodes(returns: Any, lengths: Any, levels: Any, completed: Any) -> Episodes:
    return Episodes(
        np.array(returns, np.float64),
        np.array(lengths, np.int64),
        np.array(levels, np.int64),
        np.array(completed, bool),
    )
