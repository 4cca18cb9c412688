"""What one run of a config costs: sizes, memory and time, from networks that are built once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rlscale.scaling.config.agent import BatchGrowth
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.costs.memory import MemoryNeed, memory_need
from rlscale.scaling.tasks.catalog import Discrete, Images, Task
from rlscale.scaling.tasks.interface import BanditBlock
from rlscale.scaling.training.build import build_networks
from rlscale.scaling.training.facts import run_columns
from rlscale.scaling.training.run import Run
from rlscale.scaling.training.solvable_run import SolvableRun

#: Limits of a timed iteration: FLOPs, which bind for wide networks, and interactions.
TIMED_FLOPS = 6e10
TIMED_INTERACTIONS = 1024
#: Iterations of a solvable task's learner that are timed.
TIMED_ITERATIONS = 100


@dataclass(frozen=True)
class Measured:
    """A config's run columns, the memory that its run needs and, if timed, the seconds that it takes."""

    columns: dict[str, Any]
    memory: MemoryNeed
    seconds: float | None = None


def measure(config: RunConfig, *, timed: bool = False) -> Measured:
    """Measure a run without starting it; loads no data.

    Args:
        timed: also train for a few seconds on this machine's CPU.

    Raises:
        InputError: if the width leaves a layer without units, there is too little memory, or ``timed`` is
            set and the task's package is not installed.
    """
    if config.solvable_task is not None:
        return _measured_learner(config, timed=timed)
    model = build_networks(config, torch.Generator())
    columns = run_columns(config, model)
    seconds = None
    if timed:
        seconds = config.interactions * seconds_per_interaction(config, columns["flops_per_interaction"])
    return Measured(columns, memory_need(config, model), seconds)


def _measured_learner(config: RunConfig, *, timed: bool) -> Measured:
    run = SolvableRun(config)
    memory = MemoryNeed.of_learner(run.facts.memory)
    seconds = config.interactions * _learner_seconds(run) if timed else None
    return Measured(run_columns(config), memory, seconds)


def _learner_seconds(run: SolvableRun) -> float:
    """Seconds of an interaction: those of the later half of ``TIMED_ITERATIONS``, which are all alike."""
    for _ in range(2):
        began, before = time.perf_counter(), run.interactions
        for _ in range(TIMED_ITERATIONS // 2):
            run.iterate()
    return (time.perf_counter() - began) / (run.interactions - before)


def seconds_per_interaction(config: RunConfig, flops: float) -> float:
    """Train two iterations of a run on this machine's CPU; the faster one counts.

    The first iteration also allocates memory. An iteration is small (see ``timed_config``) and contains a
    whole phase of PPG. Bandits show blank images.

    Args:
        flops: FLOPs of training on one interaction.
    """
    task = config.task_entry
    run = Run(timed_config(config, flops), bandit=BlankBandit(task) if task.kind == "bandit" else None)
    seconds = []
    for _ in range(2):
        began, before = time.perf_counter(), run.interactions
        run.iterate()
        seconds.append((time.perf_counter() - began) / (run.interactions - before))
    return min(seconds)


def timed_config(config: RunConfig, flops: float) -> RunConfig:
    """The config with a batch that takes a few seconds.

    The batch is that of the middle of the run if it is within ``TIMED_FLOPS`` and ``TIMED_INTERACTIONS``.
    Otherwise it is one minibatch, cut to fit: networks without memory keep their environments and lose
    steps; networks with memory keep their steps, because training goes through these one by one. PPG gets
    phases of one iteration with one minibatch, so that each iteration includes its share of the phase.
    """
    agent = config.agent
    envs, steps, parts = agent.num_envs_at(config.interactions // 2), agent.rollout_steps, agent.minibatches
    most = max(1, int(min(TIMED_INTERACTIONS, TIMED_FLOPS / flops)))
    if envs * steps > most:
        count = min(most, envs * steps // parts)
        envs = max(1, min(envs, count // steps if config.model.is_recurrent else count))
        steps, parts = min(steps, count // envs), 1
    changes: dict[str, Any] = {
        "num_envs": envs,
        "rollout_steps": steps,
        "minibatches": parts,
        "batch_growth": BatchGrowth(),
    }
    if agent.auxiliary:
        phases = {"policy_iterations": 1, "sequences": envs}
        changes["phasic"] = agent.auxiliary.model_copy(update=phases)
    beside = {"evaluation_episodes": 0, "diagnostics": None}
    return config.model_copy(update={"agent": agent.model_copy(update=changes), **beside})


class BlankBandit:
    """A bandit with the spaces of a task that shows black images and so needs no data."""

    def __init__(self, task: Task) -> None:
        assert isinstance(task.observations, Images)
        assert isinstance(task.actions, Discrete)
        self.observation_shape = task.observations.shape
        self.num_actions = task.actions.count

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """See ``Bandit``."""
        return rng.integers(self.num_actions, size=count)

    def block(self, indices: np.ndarray) -> BanditBlock:
        """See ``Bandit``."""
        observations = torch.zeros((*indices.shape, *self.observation_shape), dtype=torch.uint8)
        return BanditBlock(observations, indices[:-1])
