"""The greedy adaptive batch size and its summary by a power law (Hilton et al. 2023).

At each checkpoint the run is forked: one fork keeps its batch B, the other has 2B. The step size stays
and everything else is restored from the checkpoint. The better fork is kept, the batch never shrinks,
and the next checkpoint is the end of the forks. The batch grows in environments, so the iteration and
its minibatches double together. A power law, which ``batch_growth`` runs, then summarises the doublings:

    B(E) = max(B_min, B_min * (E / E_ref)^p).

The papers do not say how long a fork is or what makes one better. Here:

- A fork takes as many interactions as the caller says, but at least ``MIN_ITERATIONS`` iterations of
  2B, because the smaller noise of a larger batch takes some iterations to show.
- The score of a fork is the mean return of the episodes in its second half. During the first half, the
  new batch size takes effect.
- Each fork runs ``seeds`` times, with new actions, contexts and minibatches (games continue from their
  state in the checkpoint), because runs of one batch size differ by chance.
- 2B is kept if its mean score is higher by more than ``standard_errors`` standard errors of the
  difference. A doubling is final, so a tie keeps B: a later fork can still double the batch on better
  evidence, while ties decided by chance would double it at every other fork.
- The first seed of the better side continues, not the best seed, which would be chosen by luck.

The position of a doubling is known to within the length of a fork. After the last doubling the batch
was large enough for some time; the fit uses only the doublings.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from rlscale.scaling.config.agent import AgentConfig, BatchGrowth
from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.errors import InputError, InvalidConfig
from rlscale.scaling.training.run import Run

#: The least number of iterations of the doubled batch in a fork.
MIN_ITERATIONS = 8


@dataclass(frozen=True)
class Fork:
    """One comparison of B with 2B.

    interactions: E at which it began
    num_envs: environments of B
    small, large: mean returns with B and with 2B, over seeds
    standard_error: of large - small
    doubled: whether 2B was kept
    """

    interactions: int
    num_envs: int
    small: float
    large: float
    standard_error: float
    doubled: bool


@dataclass(frozen=True)
class BatchSchedule:
    """The result of the search; ``growth`` is None if there are fewer than two doublings.

    doublings: (E, B in interactions) of each; those at E = 0 are left out, because they belong to B_min
    num_envs: environments of B_min
    growth: the power law through the doublings
    """

    forks: tuple[Fork, ...]
    doublings: tuple[tuple[int, int], ...]
    num_envs: int
    growth: BatchGrowth | None

    def agent_values(self) -> dict[str, Any]:
        """The values to put under ``agent`` in a config; a fixed batch if there is no power law."""
        growth = self.growth or BatchGrowth()
        return {"num_envs": self.num_envs, "batch_growth": growth.model_dump()}

    def as_json(self) -> dict[str, Any]:
        """Forks, doublings and ``agent_values`` as plain values; ``is_fitted`` is false for a fixed batch."""
        return {
            "forks": [asdict(fork) for fork in self.forks],
            "doublings": [{"interactions": e, "batch": b} for e, b in self.doublings],
            "is_fitted": self.growth is not None,
            "agent": self.agent_values(),
        }


def search_batch_size(
    config: RunConfig,
    *,
    interactions: int,
    fork_interactions: int,
    seeds: int = 3,
    standard_errors: float = 2.0,
    device: str = "cpu",
    on_fork: Callable[[Fork], None] = lambda fork: None,
) -> BatchSchedule:
    """Search the schedule up to ``interactions``; the forks take 2 * ``seeds`` times as many interactions.

    Raises:
        InputError: if the config's batch cannot grow, or no episode ends in a fork's second half.
        NonFiniteLoss: if a loss is not finite.
    """
    _check(config, interactions, fork_interactions, seeds, standard_errors)
    steps = config.agent.rollout_steps
    run = Run(config, device=device)
    checkpoint, reached, envs = run.save(), 0, config.agent.num_envs
    forks: list[Fork] = []
    while reached < interactions:
        length = max(fork_interactions, MIN_ITERATIONS * 2 * envs * steps)
        sides = [
            [
                _fork(
                    config,
                    reseeded(checkpoint, (config.seed, reached, size, k)),
                    size,
                    length,
                    device,
                )
                for k in range(seeds)
            ]
            for size in (envs, 2 * envs)
        ]
        fork = judged(reached, envs, [[score for score, _, _ in side] for side in sides], standard_errors)
        _, checkpoint, reached = sides[int(fork.doubled)][0]
        envs *= 1 + fork.doubled
        forks.append(fork)
        on_fork(fork)
    return summarize(config.agent, forks)


def summarize(agent: AgentConfig, forks: Sequence[Fork]) -> BatchSchedule:
    """The power law through the doublings: least squares of log B on log E.

    Its exponent is at most 1, the largest that a config allows; the reference is where the line meets B_min.
    """
    smallest = agent.num_envs * 2 ** sum(fork.doubled for fork in forks if fork.interactions == 0)
    doubled = [fork for fork in forks if fork.doubled and fork.interactions > 0]
    doublings = tuple((fork.interactions, 2 * fork.num_envs * agent.rollout_steps) for fork in doubled)
    if len(doublings) < 2:
        return BatchSchedule(tuple(forks), doublings, smallest, None)
    log_e = np.log([e for e, _ in doublings])
    log_b = np.log([b / (smallest * agent.rollout_steps) for _, b in doublings])
    exponent = min(1.0, float(np.polyfit(log_e, log_b, 1)[0]))
    reference = max(1, round(math.exp(log_e.mean() - log_b.mean() / exponent)))
    growth = BatchGrowth(exponent=round(exponent, 4), reference=reference)
    return BatchSchedule(tuple(forks), doublings, smallest, growth)


def _fork(
    config: RunConfig, checkpoint: bytes, envs: int, length: int, device: str
) -> tuple[float, bytes, int]:
    """Continue from a checkpoint. Returns the score, and the checkpoint and interactions at the end."""
    run = Run(config, device=device)
    run.restore(checkpoint)
    begin = run.interactions
    for goal in (begin + length // 2, begin + length):
        while run.interactions < goal:
            run.iterate(envs=envs)
        row = run.close_row()  # the second row holds only the second half
    if row["return_mean"] is None:
        raise InputError(
            f"No episode ended in the second half of a fork of {length:,} interactions with {envs} "
            f"environments; give --fork-interactions a larger number.",
            code="no_episodes",
        )
    return row["return_mean"], run.save(), run.interactions


def judged(reached: int, envs: int, scores: Sequence[Sequence[float]], standard_errors: float) -> Fork:
    """The fork at ``reached`` interactions from the scores of both sides, one score for each seed."""
    small, large = (float(np.mean(side)) for side in scores)
    error = math.sqrt(sum(np.var(side, ddof=1) / len(side) for side in scores))
    return Fork(reached, envs, small, large, error, doubled=large - small > standard_errors * error)


def reseeded(checkpoint: bytes, entropy: Sequence[int]) -> bytes:
    """The checkpoint with its random streams replaced by those of ``entropy``; games stay as they are."""
    state = torch.load(io.BytesIO(checkpoint), weights_only=True)
    streams = _streams(np.random.SeedSequence(entropy))
    buffer = io.BytesIO()
    torch.save(_replaced(state, streams), buffer)
    return buffer.getvalue()


def _streams(seeds: np.random.SeedSequence) -> Iterator[dict[str, Any]]:
    while True:
        yield dict(np.random.default_rng(seeds.spawn(1)[0]).bit_generator.state)


def _replaced(state: Any, streams: Iterator[dict[str, Any]]) -> Any:
    if isinstance(state, dict):
        if "bit_generator" in state:
            return next(streams)
        return {name: _replaced(value, streams) for name, value in state.items()}
    return state


def _check(
    config: RunConfig, interactions: int, fork_interactions: int, seeds: int, standard_errors: float
) -> None:
    config.check_has_agent()
    if config.agent.batch_growth.exponent > 0:
        raise InvalidConfig(
            "The config", ["The search finds agent.batch_growth: leave it out."], code="invalid_config"
        )
    values = config.model_dump()
    values["agent"]["batch_growth"] = {"exponent": 1.0}
    run_config(values, source="the batch search")  # a phase's batch, and some minibatches, cannot grow
    if interactions < 1 or fork_interactions < 1:
        raise InputError("--interactions and --fork-interactions need at least 1.", code="invalid_number")
    if seeds < 2:
        raise InputError(
            f"--seeds {seeds}: at least 2 are needed to know how far runs differ by chance.",
            code="invalid_number",
        )
    if not standard_errors >= 0:
        raise InputError(f"--standard-errors {standard_errors:g}: use 0 or more.", code="invalid_number")
