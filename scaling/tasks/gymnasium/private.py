"""The state of one gymnasium environment as plain values, where it is known.

It is known for the environments of classic control, and for those that have ``get_state`` and ``set_state``,
as long as every wrapper around them is one that keeps no state or that is listed here. This is the one module
that uses private names of gymnasium: a time limit has no public count of its steps.

The state of an Atari game is not known: the emulator's own copy of it can show another image in the next
frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import gymnasium
import numpy as np
from gymnasium import wrappers
from gymnasium.envs.classic_control import (
    AcrobotEnv,
    CartPoleEnv,
    Continuous_MountainCarEnv,
    MountainCarEnv,
    PendulumEnv,
)

#: Their state is the array ``state`` and the random stream.
_CLASSIC = (CartPoleEnv, AcrobotEnv, MountainCarEnv, Continuous_MountainCarEnv, PendulumEnv)
_WITHOUT_STATE = (
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.ClipAction,
    wrappers.RescaleAction,
    wrappers.FlattenObservation,
)


class KeepsState(Protocol):
    """An environment that a resumed run goes on with at the very step, bit for bit.

    The random stream ``np_random`` need not be in the state: it is kept beside it.
    """

    def get_state(self) -> Any:
        """All that the next steps depend on, of numbers, strings, bytes, lists, tuples, dicts and None."""
        ...

    def set_state(self, state: Any) -> None:
        """Go on from ``get_state``'s result."""
        ...


def keeps_state(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether ``state_of`` knows all of the environment's state."""
    while isinstance(env, gymnasium.Wrapper):
        if type(env) not in (*_WITHOUT_STATE, wrappers.TimeLimit, wrappers.TimeAwareObservation):
            return False
        env = env.env
    return type(env) in _CLASSIC or _has_own_state(env)


def state_of(env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    """The state as values that ``torch.load(weights_only=True)`` reads; only if ``keeps_state``.

    Raises:
        TypeError: if an environment's own state has other values.
    """
    base: Any = env.unwrapped
    if _has_own_state(base):
        own = cast(KeepsState, base).get_state()
        _check_plain(own)
    else:
        array = np.asarray(base.state)
        own = {"dtype": array.dtype.name, "values": array.tolist()}
    return {
        "own": own,
        "random": base.np_random.bit_generator.state,
        "elapsed": [limit._elapsed_steps for limit in _around(env, wrappers.TimeLimit)],
        "shown": [timed.timesteps for timed in _around(env, wrappers.TimeAwareObservation)],
    }


def set_state_of(env: gymnasium.Env[Any, Any], state: Mapping[str, Any]) -> None:
    """Go on from ``state_of``'s result, in an environment that was reset before."""
    base: Any = env.unwrapped
    own = state["own"]
    if _has_own_state(base):
        cast(KeepsState, base).set_state(own)
    else:
        base.state = np.array(own["values"], own["dtype"])
    base.np_random.bit_generator.state = state["random"]
    for limit, elapsed in zip(_around(env, wrappers.TimeLimit), state["elapsed"], strict=True):
        limit._elapsed_steps = elapsed
    for timed, steps in zip(_around(env, wrappers.TimeAwareObservation), state.get("shown", ()), strict=True):
        timed.timesteps = steps


def _has_own_state(base: Any) -> bool:
    return callable(getattr(base, "get_state", None)) and callable(getattr(base, "set_state", None))


def _around(env: gymnasium.Env[Any, Any], kind: type) -> list[Any]:
    """The wrappers of a kind, from the outside."""
    found = []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, kind):
            found.append(env)
        env = env.env
    return found


def _check_plain(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_plain(key)
            _check_plain(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_plain(inner)
    elif type(value) not in (bool, int, float, str, bytes, type(None)):
        raise TypeError(f"get_state returned a {type(value).__name__}; use numbers, strings, lists and dicts")
