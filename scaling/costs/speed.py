"""How fast a run would go on this machine, from a few seconds of its work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from rlscale.scaling.agents.ppo import PPO
from rlscale.scaling.config.agent import AgentConfig, BatchGrowth
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.models.sizing import sizes_of
from rlscale.scaling.rollouts.policy import Collector
from rlscale.scaling.rollouts.rollout import Rollout
from rlscale.scaling.tasks.digits.bandit import DigitBandit
from rlscale.scaling.tasks.digits.images import DigitImages
from rlscale.scaling.tasks.registry import task_shape
from rlscale.scaling.training.build import build_networks, make_agent, make_collector
from rlscale.scaling.training.device import keep_freed_memory

Timed = TypeVar("Timed")

#: The most of an iteration that is timed: FLOPs, which bound wide networks, and interactions.
SLICE_FLOPS = 2e10
SLICE_INTERACTIONS = 1024
_REPEATS = 2


def estimate_rate(config: RunConfig) -> float:
    """Interactions per second of a run on this machine's CPU.

    An iteration is timed after one to warm up; of one beyond ``SLICE_FLOPS`` or ``SLICE_INTERACTIONS`` a
    slice with as many of its environments as fit, then of its steps, in one minibatch. The seconds
    of an interaction are

        acting + learning * (1 + auxiliary FLOPs / policy-phase FLOPs) + gradient steps

    where acting and learning are the slice's (learning of a network with memory: of as many steps as
    fit, then environments); gradient steps are what Adam and the EWMA take whatever the minibatch,
    timed apart and counted as often as a whole iteration has them; and PPG's auxiliary
    phase, which is not run, is taken to reach the policy phase's FLOPs per second. The batch is that
    of the middle of the run. Bandits show blank images.
    """
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    acting = _slice_of(config)
    learning = _slice_of(config, steps_first=True) if config.model.is_recurrent else acting
    acting_seconds = _best_of(lambda: _timed(acting.collect)[1]) / acting.count
    learning_seconds = _seconds_of_learning(learning)
    step_seconds = _best_of(lambda: _seconds_of_steps(learning.learner))
    passes = max(0.0, learning_seconds - learning.agent.minibatches * step_seconds) / learning.count
    return 1 / (
        acting_seconds
        + passes * (1 + _auxiliary_share(config, learning.learner))
        + config.agent.minibatches * step_seconds / _batch(config)
    )


@dataclass(frozen=True)
class _Slice:
    """A policy phase's iteration, or a part of it small enough to be timed."""

    agent: AgentConfig
    learner: PPO
    collector: Collector

    @property
    def count(self) -> int:
        """Interactions of it."""
        return self.agent.num_envs * self.agent.rollout_steps

    def collect(self) -> Rollout:
        rollout, *_ = self.collector.collect(
            self.learner.model,
            envs=self.agent.num_envs,
            steps=self.agent.rollout_steps,
            needs_bootstrap=self.agent.gamma > 0,
        )
        return rollout


def _slice_of(config: RunConfig, *, steps_first: bool = False) -> _Slice:
    agent = config.agent.model_copy(
        update={
            "algorithm": config.agent.algorithm.replace("ppg", "ppo"),
            "phasic": None,
            "batch_growth": BatchGrowth(),
            "num_envs": _batch(config) // config.agent.rollout_steps,
        }
    )
    config = config.model_copy(update={"agent": agent})
    model = build_networks(config, torch.Generator())
    flops = sizes_of(model, task_shape(config.task)[0], agent).flops_per_interaction
    count = max(1, int(min(SLICE_INTERACTIONS, SLICE_FLOPS / flops)))
    if count < _batch(config):
        envs = min(agent.num_envs, max(1, count // agent.rollout_steps) if steps_first else count)
        steps = min(agent.rollout_steps, count // envs)
        agent = agent.model_copy(update={"num_envs": envs, "rollout_steps": steps, "minibatches": 1})
        config = config.model_copy(update={"agent": agent})
    learner = make_agent(config, model)
    assert isinstance(learner, PPO)
    seeds = np.random.SeedSequence(config.seed).spawn(2)
    return _Slice(
        agent, learner, make_collector(config, torch.device("cpu"), *seeds, bandit=_blank_bandit(config))
    )


def _blank_bandit(config: RunConfig) -> DigitBandit | None:
    if not config.is_bandit:
        return None
    (_, height, width), actions = task_shape(config.task)
    return DigitBandit(DigitImages(np.zeros((actions, height, width), np.uint8), np.arange(actions)))


def _batch(config: RunConfig) -> int:
    """Interactions of an iteration in the middle of the run."""
    return config.agent.num_envs_at(config.interactions // 2) * config.agent.rollout_steps


def _seconds_of_learning(part: _Slice) -> float:
    rollout = part.collect()
    return _best_of(lambda: _timed(lambda: part.learner.learn(rollout, np.random.default_rng(0)))[1])


def _seconds_of_steps(learner: PPO) -> float:
    """What the gradient steps on one minibatch take besides their passes, all epochs together."""
    agent = learner.config
    epochs = (agent.epochs_value, agent.epochs_policy)[-len(learner.optimizers) :]
    seconds = sum(
        _timed(optimizer.step)[1] * count for optimizer, count in zip(learner.optimizers, epochs, strict=True)
    )
    return seconds + (_timed(learner.ewma.update)[1] * agent.epochs_policy if learner.ewma else 0.0)


def _auxiliary_share(config: RunConfig, learner: PPO) -> float:
    """FLOPs of the auxiliary phase over those of the policy phase's learning."""

    def flops(agent: AgentConfig) -> float:
        return sizes_of(learner.model, task_shape(config.task)[0], agent).flops_per_interaction

    agent = config.agent
    once = agent.model_copy(update={"phasic": None})
    twice = once.model_copy(
        update={"epochs_policy": 2 * agent.epochs_policy, "epochs_value": 2 * agent.epochs_value}
    )
    return (flops(agent) - flops(once)) / (flops(twice) - flops(once))


def _best_of(seconds_of: Callable[[], float]) -> float:
    """The shortest of a few times, after one that is not counted: it allocates."""
    seconds_of()
    return min(seconds_of() for _ in range(_REPEATS))


def _timed(act: Callable[[], Timed]) -> tuple[Timed, float]:
    """What ``act`` returns, and its seconds."""
    began = time.perf_counter()
    result = act()
    return result, time.perf_counter() - began
