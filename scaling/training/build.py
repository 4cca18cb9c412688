"""Builds the parts of a run from its config: networks, learner and collector."""

from __future__ import annotations

import numpy as np
import torch

from rlscale.scaling.agents.ppg import PPG
from rlscale.scaling.agents.ppo import PPO
from rlscale.scaling.config.model import step_size
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.diagnostics.probe import Probe
from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.rollouts.bandits import BanditCollector
from rlscale.scaling.rollouts.environments import EnvironmentCollector
from rlscale.scaling.rollouts.observation_scale import ObservationScale
from rlscale.scaling.rollouts.policy import Collector, random_policy
from rlscale.scaling.tasks.catalog import Observations, Vectors
from rlscale.scaling.tasks.interface import Bandit, Environment
from rlscale.scaling.tasks.registry import make_bandit, make_environment
from rlscale.scaling.training.out_of_memory import memory_is_asked_for, smaller_width


def build_networks(config: RunConfig, generator: torch.Generator) -> ActorCritic:
    """A run's networks, freshly initialised; see ``build_actor_critic``.

    Raises:
        InputError: if the width leaves a layer without units, or there is too little memory.
    """
    task = config.task_entry
    with memory_is_asked_for(smaller_width(config)):
        return build_actor_critic(
            config.model,
            task.observations.shape,
            task.actions,
            generator,
            box_policy=config.agent.policy,
            architecture=config.agent.architecture,
            has_auxiliary=config.agent.is_phasic,
            precision=config.precision,
        )


def generator_of(seed: np.random.SeedSequence) -> torch.Generator:
    """Torch's random stream of initial weights."""
    return torch.Generator().manual_seed(int(seed.generate_state(1)[0]))


def first_networks(config: RunConfig) -> ActorCritic:
    """The networks with which the run began."""
    init = np.random.SeedSequence(config.seed).spawn(4)[0]
    return build_networks(config, generator_of(init))


def make_agent(config: RunConfig, model: ActorCritic) -> PPO | PPG:
    """The learner that the config names, with step sizes scaled for the model's size."""
    agent = config.agent
    step = step_size(agent.learning_rate, config.model)
    if agent.auxiliary is None:
        return PPO(agent, model, step_size=step)
    auxiliary_step = step_size(agent.auxiliary.learning_rate, config.model)
    return PPG(agent, model, step_size=step, auxiliary_step_size=auxiliary_step)


def make_probe(config: RunConfig, model: ActorCritic) -> Probe | None:
    """What measures the run's iterations, if the config asks for it."""
    diagnostics = config.diagnostics
    return None if diagnostics is None else Probe(diagnostics, model, clip=config.agent.clip)


def make_collector(
    config: RunConfig,
    device: torch.device,
    task_seed: np.random.SeedSequence,
    action_seed: np.random.SeedSequence,
    *,
    bandit: Bandit | None = None,
) -> Collector:
    """The collector of rollouts in the config's task.

    On a GPU, Procgen's environments step in two groups, one while the policy acts in the other. On
    CPU the two would only take processor time from each other.
    """
    actions = np.random.default_rng(action_seed)
    if config.task_entry.kind == "bandit":
        return BanditCollector(
            bandit or make_bandit(config.task), np.random.default_rng(task_seed), actions, device
        )
    overlaps = device.type == "cuda" and config.agent.num_envs % 2 == 0
    group_size = config.agent.num_envs // (2 if overlaps else 1)
    levels = config.levels.num_levels, config.levels.start_level

    def make_group(index: int) -> Environment:
        seed = np.random.SeedSequence(task_seed.entropy, spawn_key=(*task_seed.spawn_key, index))
        return make_environments(
            config,
            seed=int(seed.generate_state(1)[0]) // 2,  # Procgen's seeds have 31 bits
            levels=levels,
            num_envs=group_size,
            num_threads=config.threads if overlaps else 0,
        )

    task = config.task_entry
    before = np.random.SeedSequence(action_seed.entropy, spawn_key=(*action_seed.spawn_key, 0))
    return EnvironmentCollector(
        make_group,
        group_size,
        actions,
        device,
        scale=_observation_scale(config, task.observations),
        random_act=random_policy(task.actions, np.random.default_rng(before)),
    )


def _observation_scale(config: RunConfig, observations: Observations) -> ObservationScale | None:
    kind = config.agent.normalize_observation
    if kind == "off":
        return None
    assert isinstance(observations, Vectors)
    return ObservationScale(
        observations.size, num_unscaled=observations.num_unscaled, runs_on=kind == "running"
    )


def make_environments(
    config: RunConfig,
    *,
    seed: int,
    levels: tuple[int | None, int],
    num_threads: int,
    num_envs: int | None = None,
) -> Environment:
    """The config's environments on the levels (num_levels, start_level)."""
    return make_environment(
        config.task,
        num_envs=num_envs or config.agent.num_envs,
        num_levels=levels[0],
        start_level=levels[1],
        seed=seed,
        num_threads=num_threads,
        wrappers=config.wrappers,
    )
