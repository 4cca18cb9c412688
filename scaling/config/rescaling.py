"""Batch-size invariance: rewrite a config for another batch size (arXiv 2110.00641, section 3).

With the EWMA as proximal policy, what an agent learns from an interaction need not depend on how
many interactions make a batch. If both the optimisation batch and the iteration batch are divided by c:

    Adam step          / sqrt(c)
    EWMA               centre of mass x c;  d = COM / (1 + COM),  COM = d / (1 - d) gradient steps
    advantage moments  span x c;            b = 1 - 2 / (span + 1), span = 2 / (1 - b) - 1 iterations
    n_pi               x c, so that a phase keeps its length

The auxiliary phase keeps its minibatch per worker, so its step changes only with the number of workers.
The invariance holds below the critical batch size and was shown for 1 policy epoch.
"""

from __future__ import annotations

import math
from typing import Any

from rlscale.scaling.config.agent import AgentConfig, PhasicConfig
from rlscale.scaling.config.reading import validated
from rlscale.scaling.errors import InputError

#: Environments that one worker of the reference code steps.
WORKER_ENVS = 64


def rescaled(agent: AgentConfig, c: int, *, rescale_betas: bool = False) -> AgentConfig:
    """The agent with its batch divided by ``c`` and every other option adjusted.

    The number of environments is divided. The number of minibatches stays; they are cut in time
    where there are fewer environments than minibatches. Rescaling by 4 twice equals rescaling by 16.

    Args:
        rescale_betas: also raise Adam's betas to 1/c; the paper leaves them by default.

    Raises:
        InputError: if the environments do not divide by c, or the agent has no EWMA.
    """
    _check(agent, c)
    changes: dict[str, Any] = {
        "num_envs": agent.num_envs // c,
        "learning_rate": agent.learning_rate / math.sqrt(c),
        "ewma_decay": decay_of_mass(c * center_of_mass(agent.ewma_decay)),
        "advantage_decay": decay_of_span(c * span(agent.advantage_decay)),
    }
    if agent.phasic:
        changes["phasic"] = _rescaled_phases(agent.phasic, c, agent.num_envs)
    if rescale_betas:
        changes["adam_betas"] = tuple(beta ** (1 / c) for beta in agent.adam_betas)
    values = agent.model_copy(update=changes).model_dump()
    return validated(AgentConfig, values, source=f"the agent rescaled by {c}")


def center_of_mass(decay: float) -> float:
    """Mean age of the updates in an EWMA, in updates."""
    return decay / (1 - decay)


def decay_of_mass(mass: float) -> float:
    """The decay whose centre of mass is ``mass`` updates."""
    return mass / (1 + mass)


def span(decay: float) -> float:
    """Effective number of updates in an EWMA; 1 for decay 0, which keeps the last update only."""
    return 2 / (1 - decay) - 1


def decay_of_span(updates: float) -> float:
    """The decay whose span is ``updates``, at least 1."""
    return 1 - 2 / (updates + 1)


def _rescaled_phases(phasic: PhasicConfig, c: int, num_envs: int) -> PhasicConfig:
    fewer = _workers(num_envs) / _workers(num_envs // c)
    sequences = phasic.sequences / fewer
    if sequences != int(sequences):
        raise InputError(
            f"phasic.sequences ({phasic.sequences}) is not divisible among {fewer:g} times fewer workers of "
            f"{WORKER_ENVS} environments; choose a multiple of {math.ceil(fewer)}.",
            code="indivisible_batch",
        )
    return phasic.model_copy(
        update={
            "policy_iterations": phasic.policy_iterations * c,
            "sequences": int(sequences),
            "learning_rate": phasic.learning_rate / math.sqrt(fewer),
        }
    )


def _workers(num_envs: int) -> float:
    """Number of workers with 64 environments each, at least one."""
    return max(1.0, num_envs / WORKER_ENVS)


def _check(agent: AgentConfig, c: int) -> None:
    if c < 1:
        raise InputError(
            f"The batch cannot be divided by {c}: give a whole number of at least 1.", code="invalid_number"
        )
    if not agent.uses_ewma:
        raise InputError(
            f"Batch-size invariance needs the EWMA policy, which {agent.algorithm} does not have: set "
            f"agent.algorithm to {agent.algorithm}-ewma.",
            code="no_ewma",
        )
    if agent.num_envs % c:
        raise InputError(
            f"agent.num_envs ({agent.num_envs}) cannot be divided by {c} into whole environments: divide by "
            f"at most {agent.num_envs}, and by a divisor of it.",
            code="indivisible_batch",
        )
