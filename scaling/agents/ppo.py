"""PPO and PPO-EWMA, in the order of the algorithm (arXiv 2110.00641, algorithm 1).

Repeat: collect a rollout with the current policy; estimate advantages; take minibatch
steps on the decoupled objective; after each step that includes the policy loss, move the
proximal policy, an EWMA of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.distributions import Categorical

from scaling.agents.advantages import AdvantageMoments, gae
from scaling.agents.ewma import EwmaModel
from scaling.agents.losses import Diagnostics, policy_loss, value_loss
from scaling.agents.rollout import Batch, Rollout, minibatches
from scaling.config import AgentConfig
from scaling.envs.reward_scale import RewardNormalizer
from scaling.models.families import ActorCritic


class PPO:
    """The learner: networks, proximal policy, optimisers and running moments.

    Args:
        config: the algorithm's options.
        model: the networks, already on ``device``.
        step_size: Adam's, as scaled for the model's width.
    """

    def __init__(self, config: AgentConfig, model: ActorCritic, *, step_size: float) -> None:
        self.config = config
        self.model = model
        self.step_size = step_size
        self.ewma = EwmaModel(model.policy, config.ewma_decay) if config.uses_ewma else None
        self._joint = config.epochs_policy == config.epochs_value
        parts = [model] if self._joint else [model.value, model.policy]
        self.optimizers = [
            torch.optim.Adam(
                part.parameters(), lr=step_size, betas=config.adam_betas, eps=config.adam_eps, fused=True
            )
            for part in parts
        ]
        self._moments = AdvantageMoments(config.advantage_decay)
        self._rewards = RewardNormalizer()

    def learn(self, rollout: Rollout, rng: np.random.Generator) -> dict[str, float]:
        """One iteration's policy and value epochs; returns the mean diagnostics of its steps."""
        config = self.config
        batch = self.batch(rollout)
        steps: list[Diagnostics] = []
        if self._joint:
            for _ in range(config.epochs_policy):
                for minibatch in minibatches(batch, config.minibatches, rng):
                    logits, value = self.model(minibatch.observation)
                    policy_part, policy_diagnostics = self.policy_objective(minibatch, logits)
                    value_part, value_diagnostics = self.value_objective(minibatch, value)
                    self._step(self.optimizers[0], policy_part + value_part)
                    self._update_proximal()
                    steps.append(policy_diagnostics | value_diagnostics)
        else:
            value_optimizer, policy_optimizer = self.optimizers
            for _ in range(config.epochs_value):
                for minibatch in minibatches(batch, config.minibatches, rng):
                    value = self.model.value(minibatch.observation).squeeze(-1)
                    loss, diagnostics = self.value_objective(minibatch, value)
                    self._step(value_optimizer, loss)
                    steps.append(diagnostics)
            for _ in range(config.epochs_policy):
                for minibatch in minibatches(batch, config.minibatches, rng):
                    logits = self.model.policy(minibatch.observation)
                    loss, diagnostics = self.policy_objective(minibatch, logits)
                    self._step(policy_optimizer, loss)
                    self._update_proximal()
                    steps.append(diagnostics)
        return _means(steps) | {"entropy": float(rollout.entropy), "step_size": self.step_size}

    def batch(self, rollout: Rollout) -> Batch:
        """Rewards normalised if asked for, then advantages and value targets, (steps, envs)."""
        config = self.config
        reward = rollout.reward
        if config.normalize_reward:
            reward = self._rewards(reward, rollout.first[:-1].cpu().numpy())
        reward_te = torch.as_tensor(reward, dtype=torch.float32, device=rollout.value.device)
        advantage, target = gae(
            reward_te, rollout.value, rollout.first, gamma=config.gamma, lam=config.gae_lambda
        )
        if config.normalize_advantage:
            advantage = self._moments(advantage)
        return Batch(rollout.observation, rollout.action, rollout.logp, advantage, target)

    def policy_objective(self, minibatch: Batch, logits: torch.Tensor) -> tuple[torch.Tensor, Diagnostics]:
        """Decoupled objective with KL penalty and entropy bonus, from the current logits."""
        config = self.config
        policy = Categorical(logits=logits, validate_args=False)
        loss, diagnostics = policy_loss(
            policy.log_prob(minibatch.action),
            minibatch.logp,
            self._proximal_logp(minibatch),
            minibatch.advantage,
            clip=config.clip,
            kl_penalty=config.kl_penalty,
            importance_cap=config.importance_cap,
        )
        return loss - config.entropy_coef * policy.entropy().mean(), diagnostics

    def value_objective(self, minibatch: Batch, value: torch.Tensor) -> tuple[torch.Tensor, Diagnostics]:
        """value_coef * mean((v - vtarg)^2), from the current values."""
        loss, diagnostics = value_loss(value, minibatch.value_target)
        return self.config.value_coef * loss, diagnostics

    def _proximal_logp(self, minibatch: Batch) -> torch.Tensor:
        """The EWMA network's, computed anew at each gradient step; without one, the behaviour's."""
        if self.ewma is None:
            return minibatch.logp
        with torch.no_grad():
            logits = self.ewma.network(minibatch.observation)
            return Categorical(logits=logits, validate_args=False).log_prob(minibatch.action)

    def _update_proximal(self) -> None:
        if self.ewma is not None:
            self.ewma.update()

    def _step(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "ewma": self.ewma.state_dict() if self.ewma else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "moments": self._moments.state_dict(),
            "rewards": self._rewards.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        if self.ewma:
            self.ewma.load_state_dict(state["ewma"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._moments.load_state_dict(state["moments"])
        self._rewards.load_state_dict(state["rewards"])


def _means(steps: list[Diagnostics]) -> dict[str, float]:
    names = {name for step in steps for name in step}
    return {
        name: float(torch.stack([step[name] for step in steps if name in step]).mean())
        for name in sorted(names)
    }
