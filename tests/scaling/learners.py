"""Small networks, rollouts of a bandit and learners that the tests of ``scaling.agents`` share."""

import numpy as np
import torch

from rlscale.scaling.agents.ppg import PPG
from rlscale.scaling.agents.ppo import PPO
from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.rollouts.bandits import BanditCollector
from rlscale.scaling.tasks.catalog import Discrete
from rlscale.scaling.tasks.digits.bandit import DigitBandit

CPU = torch.device("cpu")
MODEL = ModelConfig(width=0.1)


def small_networks(seed=1, sharpen=20.0, **options):
    """Networks for 8x8 images, with preferences: the initial policy is nearly uniform."""
    model = build_actor_critic(MODEL, (1, 8, 8), Discrete(10), torch.Generator().manual_seed(seed), **options)
    with torch.no_grad():
        model.policy.heads["logits"].weight.mul_(sharpen)
    return model


def bandit_collector(digits, contexts=2, actions=3):
    """A collector on the streams of these two seeds."""
    rngs = np.random.default_rng(contexts), np.random.default_rng(actions)
    return BanditCollector(DigitBandit(digits), *rngs, CPU)


def collect(collector, model, config):
    """The next rollout alone."""
    return collector.collect(
        model, envs=config.num_envs, steps=config.rollout_steps, needs_bootstrap=config.gamma > 0
    )[0]


def agent_config(**options):
    return AgentConfig(**{"rollout_steps": 32, "num_envs": 4, "minibatches": 4, **options})


def make_ppo(digits, step_size=1e-3, model=None, **options):
    """A learner and a rollout of its policy."""
    config = agent_config(**options)
    model = model or small_networks(architecture=config.architecture)
    rollout = collect(bandit_collector(digits), model, config)
    return PPO(config, model, step_size=step_size), rollout


def make_ppg(step_size=1e-3, auxiliary_step_size=1e-3, model=None, phasic=None, **options):
    """A learner with an auxiliary phase, after two iterations by default."""
    phasic = {"policy_iterations": 2, "auxiliary_epochs": 2, "sequences": 2, **(phasic or {})}
    config = agent_config(**{"algorithm": "ppg-ewma", **options, "phasic": phasic})
    model = model or small_networks(architecture=config.architecture, has_auxiliary=True)
    return PPG(config, model, step_size=step_size, auxiliary_step_size=auxiliary_step_size)


def all_rows(agent, rollout):
    """A rollout as one minibatch of a PPO learner."""
    return agent.batch(rollout, *agent.estimate(rollout))


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def all_equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def adam_steps(optimizer):
    """How many steps the parameters have taken, as a set."""
    return {int(state["step"]) for state in optimizer.state_dict()["state"].values()}
