"""Evaluation of a policy: an unbiased sample of episodes, on levels that it was not trained on."""

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

    Procgen draws from one range of levels, so the levels before ``start_level`` are left out too.
    If the number of training levels is unlimited (None), that of evaluation levels is unlimited too:
    training episodes then hardly ever repeat a level, so their returns measure the same. The mode
    exploration has a single level, which evaluation uses as well.

    Raises:
        InputError: if no level is left.
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
    """At least ``episodes`` episodes of a policy, equally many from each environment.

    The first episodes to end would be the short ones. So each environment contributes its first
    ceil(episodes / num_envs) that begin within this call. An episode that is already running does
    not count, nor do further episodes of fast environments while the others finish. Episodes that
    were completed before the call and not yet popped are lost.

    Args:
        act: from observations (n, height, width, channels) uint8, valid during the call only,
            and first (n,) bool to actions (n,).
        env: any environment; it stays in the middle of its episodes.

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
