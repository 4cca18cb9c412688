"""Wraps an environment as a config says, with gymnasium's own wrappers where there is one."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import spaces, wrappers

from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.wrappers import Atari, Survival, Wrappers

_ATARI_GAME = "ale_py.env:AtariEnv"
_FIRE = 1  # the number of the action FIRE in games that have it


def make_arguments(env_id: str, around: Wrappers) -> dict[str, Any]:
    """Arguments of ``gymnasium.make`` with which the wrappers fit.

    Raises:
        InputError: if preprocessing of Atari games is asked for and the environment is none.
    """
    atari = around.atari
    if atari is None:
        return {}
    if gymnasium.spec(env_id).entry_point != _ATARI_GAME:
        raise InputError(
            f"wrappers.atari is for Atari games, and {env_id} is none: leave it out, or use "
            f"gymnasium:ALE/<game>.",
            code="wrapper_does_not_fit",
        )
    return {
        "frameskip": 1,  # the wrapper skips them
        "repeat_action_probability": atari.sticky,
        "full_action_space": atari.all_actions,
        "max_num_frames_per_episode": atari.max_frames,
    }


def wrapped(env: gymnasium.Env[Any, Any], around: Wrappers, task: str) -> gymnasium.Env[Any, Any]:
    """The environment within its wrappers.

    Raises:
        InputError: if one does not fit it.
    """
    if around.atari is not None:
        env = preprocessed(env, around.atari)
    if around.survival is not None:
        env = Survive(env, around.survival)
    if around.time:
        env = _with_time(env, task)
    return env


def preprocessed(env: gymnasium.Env[Any, Any], atari: Atari) -> gymnasium.Env[Any, Any]:
    """An Atari game that was made with ``make_arguments``: observations (stack, size, size) uint8."""
    env = wrappers.AtariPreprocessing(
        env, noop_max=atari.noops, frame_skip=atari.frame_skip, screen_size=atari.size
    )
    meanings = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
    if atari.fire and len(meanings) > _FIRE and meanings[_FIRE] == "FIRE":
        env = FireOnReset(env)
    return wrappers.FrameStackObservation(env, atari.stack)


class FireOnReset(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Begins each episode with one step of FIRE, without which some games do not start.

    As in OpenAI's baselines, which gymnasium's wrappers leave out.
    """

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset and press FIRE; once more if that ended the episode."""
        super().reset(seed=seed, options=options)
        shown, _, terminated, truncated, info = self.env.step(_FIRE)
        if terminated or truncated:
            shown, info = super().reset(options=options)
        return shown, info


class Survive(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One reward an episode: see ``Survival``."""

    def __init__(self, env: gymnasium.Env[Any, Any], rule: Survival) -> None:
        super().__init__(env)
        self._rule, self._lost, self._steps = rule, 0.0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin to count again."""
        self._lost, self._steps = 0.0, 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """A step of the game; its own rewards only count as points."""
        shown, reward, terminated, truncated, info = super().step(action)
        self._lost += max(0.0, -float(reward))
        self._steps += 1
        if self._lost > self._rule.points:
            return shown, -self._rule.penalty, True, False, info
        over = terminated or truncated or self._steps >= self._rule.steps
        return shown, float(over), over, False, info


def lives(env: gymnasium.Env[Any, Any]) -> int:
    """The lives that are left in an Atari game."""
    return int(env.unwrapped.ale.lives())  # type: ignore[attr-defined]


def _with_time(env: gymnasium.Env[Any, Any], task: str) -> gymnasium.Env[Any, Any]:
    space = env.observation_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise InputError(
            f"wrappers.time appends a number to a vector, and {task} shows other observations: leave it out.",
            code="wrapper_does_not_fit",
        )
    try:
        return wrappers.TimeAwareObservation(env, normalize_time=True)
    except ValueError as error:
        raise InputError(
            f"wrappers.time needs a time limit, and {task} has none: leave it out, or give max_episode_steps "
            f"where you register it.",
            code="wrapper_does_not_fit",
        ) from error
