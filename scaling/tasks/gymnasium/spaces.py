"""Spaces of gymnasium as those of the catalogue, and arrays from one form to the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.catalog import (
    Actions,
    Continuous,
    Discrete,
    Images,
    MultiDiscrete,
    Observations,
    Vectors,
)


def observations_of(space: Any, task: str) -> Observations:
    """Images of a uint8 box with two or three dimensions, else vectors of a box's numbers.

    The shorter of the first and the last of three dimensions is that of the channels.

    Raises:
        InputError: if the space is not a box (code ``unsupported_space``).
    """
    if not isinstance(space, spaces.Box):
        raise InputError(
            f"{task} shows observations of {_name(space)}, and boxes are supported: wrap it in "
            f"gymnasium.wrappers.FlattenObservation where you register it.",
            code="unsupported_space",
        )
    if space.dtype == np.uint8 and len(space.shape) in (2, 3):
        height, width, channels = _channels_last(space.shape)
        return Images((channels, height, width))
    return Vectors(math.prod(space.shape))


def as_observations(array: np.ndarray, observations: Observations) -> np.ndarray:
    """A batch (n, ...) of a box as ``Environment`` shows it; images without a copy."""
    if isinstance(observations, Vectors):
        return array.reshape(len(array), -1).astype(np.float32)
    if array.ndim == 3:
        return array[..., None]
    return array if _channels_last(array.shape[1:]) == array.shape[1:] else np.moveaxis(array, 1, -1)


def actions_of(space: Any, task: str) -> Actions:
    """The actions of a discrete or multi-discrete space or a bounded box of floats.

    Raises:
        InputError: if the space is another one (code ``unsupported_space``).
    """
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return MultiDiscrete(tuple(int(count) for count in space.nvec.ravel()))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        if not space.is_bounded():
            raise InputError(
                f"{task} takes actions of a box without bounds: give its action_space finite low and high, "
                f"as in gymnasium.wrappers.RescaleAction.",
                code="unsupported_space",
            )
        return Continuous(*(tuple(bound.ravel().astype(float).tolist()) for bound in (space.low, space.high)))
    raise InputError(
        f"{task} takes actions of {_name(space)}; Discrete, MultiDiscrete and Box of floats are supported: "
        f"wrap it so that it takes one of these.",
        code="unsupported_space",
    )


def as_actions(array: np.ndarray, space: Any) -> np.ndarray:
    """Actions (n, ...) as ``Environment.act`` gets them, as the space of one environment has them."""
    if isinstance(space, spaces.Discrete):
        return array + space.start
    actions = array.reshape(len(array), *space.shape)
    if isinstance(space, spaces.MultiDiscrete):
        return actions + space.start
    return actions.astype(space.dtype)


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 2:
        return (*shape, 1)
    return shape if shape[2] <= shape[0] else (*shape[1:], shape[0])


def _name(space: Any) -> str:
    return f"the space {type(space).__name__}"
