"""What a policy earns: episodes without bias, on levels that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.interface import Environment, Episodes, concatenate_episodes
from rlscale.scaling.tasks.procgen.names import LEVEL_LIMIT

Act = Callable[[np.ndarray, np.ndarray], np.ndarray]


def unseen_levels(num_levels: int | None, start_level: int) -> tuple[int | None, int]:
    """(num_levels, start_level) of all levels that come after those trained on.

    Procgen draws from one range of levels, so those before ``start_level`` are left out too.
    With an unlimited number of training levels (None) evaluation is on unlimited levels as well;
    training episodes are then already on levels hardly ever seen before, and their returns say
    the same. The mode exploration has one level only, which is evaluated on too.

    Raises:
        InputError: if no level comes after them.
    """
    if num_levels is None:
        return None, 0
    after = start_level + num_levels
    if after >= LEVEL_LIMIT:
        raise InputError(
            f"start_level + num_levels is {after:,}, which leaves no level to evaluate on: "
            f"Procgen's levels end at {LEVEL_LIMIT:,}, use a smaller start_level or num_levels.",
            code="invalid_levels",
        )
    return LEVEL_LIMIT - after, after


def evaluate(act: Act, env: Environment, episodes: int) -> Episodes:
    """At least ``episodes`` episodes of a policy, each environment giving equally many.

    Whatever completes first would favour short episodes. So each environment gives its first
    ceil(episodes / num_envs) that begin within this call: one already under way does not count,
    nor do those of quick environments while the others finish. Episodes completed before the
    call and not yet popped are lost.

    Args:
        act: from observations (n, height, width, channels) uint8, valid during the call only,
            and first (n,) bool to actions (n,).
        env: any environment; it is left in the midst of its episodes.

    Raises:
        InputError: if ``episodes`` is below 1.
    """
    if episodes < 1:
        raise InputError(f"episodes is {episodes}: evaluate on 1 or more.", code="invalid_number")
    quota = math.ceil(episodes / env.num_envs)
    env.pop_episodes()
    observed = env.observe()
    ended_count = np.where(observed.first, 0, -1)
    kept = []
    while ended_count.min() < quota:
        env.act(act(observed.observation, observed.first))
        observed = env.observe()
        if observed.first.any():
            count = ended_count[observed.first]
            kept.append(env.pop_episodes().select((count >= 0) & (count < quota)))
            ended_count += observed.first
    return concatenate_episodes(kept)
