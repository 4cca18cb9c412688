"""PPO and PPO-EWMA, in the order of the algorithm (arXiv 2110.00641, algorithm 1).

Repeat: collect a rollout with the current policy; estimate advantages; take minibatch
steps on the decoupled objective; after each step that includes the policy loss, move the
proximal policy, an EWMA of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch

from rlscale.scaling.agents.advantages import AdvantageMoments, gae, standardized
from rlscale.scaling.agents.ewma import EwmaModel
from rlscale.scaling.agents.feature_penalty import (
    FeatureBatch,
    feature_penalty,
    penalized,
    with_collected_features,
)
from rlscale.scaling.agents.losses import Diagnostics, explained_variance, policy_loss, value_loss
from rlscale.scaling.agents.quick import quick_gradients
from rlscale.scaling.agents.reward_scale import RewardNormalizer
from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.diagnostics.movement import global_norm
from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.rollouts.rollout import Batch, Rollout, Rows, batch_of, minibatches

SomeRows = TypeVar("SomeRows", bound=Rows)
Objective = Callable[[SomeRows], tuple[torch.Tensor, Diagnostics]]
#: Adds a share of an objective's gradient to the gradients of the weights; returns the diagnostics.
Gradients = Callable[[SomeRows, float], Diagnostics]


#: Gradient steps of an iteration, of policy and of value, whose norms are measured where that is asked for.
MEASURED_STEPS = 32


class PPO:
    """The learner: networks, proximal policy, optimisers and running moments.

    Args:
        config: the algorithm's options.
        model: the networks, already on ``device``.
        step_size: Adam's, scaled for the model's size.

    Raises:
        InputError: if features are to be kept near and the family does not name its pre-activations.
    """

    def __init__(self, config: AgentConfig, model: ActorCritic, *, step_size: float) -> None:
        self.config = config
        self.model = model
        self.step_size = step_size
        self.ewma = EwmaModel(model.policy, config.ewma_decay) if config.uses_ewma else None
        self._joint = config.epochs_policy == config.epochs_value
        self.optimizers = [
            adam(config, model, step_size) for _ in range(1 if self._joint else 2)
        ]  # one for policy and value together, or the value's, then the policy's
        self._moments = AdvantageMoments(config.advantage_decay)
        self._rewards = RewardNormalizer()
        penalty = config.feature_penalty
        self._penalized = penalized(model.policy.trunk, penalty.layers) if penalty else ()
        self._device = next(model.parameters()).device
        self.clipped_together = clipped_together(model)
        self._quick = quick_gradients(config, model, self._proximal_logp)

    def learn(
        self, rollout: Rollout, rng: np.random.Generator, *, with_norms: bool = False
    ) -> dict[str, float]:
        """One iteration; returns the mean diagnostics of its steps.

        Args:
            with_norms: also measure gradients and updates, see ``gradient_step``, of about
                ``MEASURED_STEPS`` steps at equal distances.
        """
        rollout = masked(rollout, self.config.reward_mask, rng)
        advantage, value_target = self.estimate(rollout)
        return self.improve(rollout, advantage, value_target, rng, with_norms=with_norms)

    def estimate(self, rollout: Rollout) -> tuple[torch.Tensor, torch.Tensor]:
        """Advantages and value targets, both (T, n); normalised as the config says."""
        config = self.config
        reward = np.sign(rollout.reward) if config.sign_reward else rollout.reward
        if config.normalize_reward:
            reward = self._rewards(reward, rollout.first[:-1].cpu().numpy())
        reward_te = torch.as_tensor(reward, dtype=torch.float32, device=rollout.value.device)
        if rollout.cut_value is not None:  # a time limit is no end: what would have followed still counts
            reward_te = reward_te + config.gamma * rollout.cut_value
        advantage, target = gae(
            reward_te, rollout.value, rollout.first, gamma=config.gamma, lam=config.gae_lambda
        )
        if config.normalize_advantage and config.normalize_advantage_of == "iteration":
            advantage = self._moments(advantage)
        return advantage, target

    def improve(
        self,
        rollout: Rollout,
        advantage: torch.Tensor,
        value_target: torch.Tensor,
        rng: np.random.Generator,
        *,
        with_norms: bool = False,
    ) -> dict[str, float]:
        """The iteration's policy and value epochs."""
        config = self.config
        if config.reset_adam:
            for optimizer in self.optimizers:
                optimizer.state.clear()
        batch = self.batch(rollout, advantage, value_target)
        if config.feature_penalty:
            batch = with_collected_features(batch, self.model, self._penalized, self._device)
        steps: list[Diagnostics] = []
        joint, of_policy, of_value = self._gradients()
        if self._joint:
            for minibatch, watched in self._epochs(batch, config.epochs_policy, rng, with_norms):
                steps.append(self._step(self.optimizers[0], minibatch, joint, watched))
                self._update_proximal()
        else:
            value_optimizer, policy_optimizer = self.optimizers
            for minibatch, watched in self._epochs(batch, config.epochs_value, rng, with_norms):
                steps.append(self._step(value_optimizer, minibatch, of_value, watched))
            for minibatch, watched in self._epochs(batch, config.epochs_policy, rng, with_norms):
                steps.append(self._step(policy_optimizer, minibatch, of_policy, watched))
                self._update_proximal()
        return means(steps) | {
            "entropy": float(rollout.entropy),
            "explained_variance": float(explained_variance(rollout.value[:-1], value_target)),
            "step_size": self.step_size,
        }

    def batch(self, rollout: Rollout, advantage: torch.Tensor, value_target: torch.Tensor) -> Batch:
        """A rollout as rows from which minibatches are cut.

        With more minibatches than environments, the rows are cut in time into equal chunks; minibatches
        of steps are cut from rows of one step.
        """
        steps, envs = rollout.reward.shape
        chunks = steps if self.config.minibatch_of == "steps" else max(1, self.config.minibatches // envs)
        return batch_of(rollout, advantage, value_target, chunks=chunks)

    def _epochs(
        self, batch: Batch, epochs: int, rng: np.random.Generator, with_norms: bool
    ) -> Iterator[tuple[Batch, bool]]:
        """The minibatches of all epochs, and whether to measure the norms of its step."""
        apart = max(1, epochs * self.config.minibatches // MEASURED_STEPS)
        step = 0
        for _ in range(epochs):
            for minibatch in self._minibatches(batch, rng):
                yield minibatch, with_norms and step % apart == 0
                step += 1

    def _minibatches(self, batch: Batch, rng: np.random.Generator) -> Iterator[Batch]:
        """The minibatches of an epoch, their advantages scaled as the config says."""
        config = self.config
        scaled = config.normalize_advantage and config.normalize_advantage_of == "minibatch"
        for minibatch in minibatches(batch, config.minibatches, rng):
            yield replace(minibatch, advantage=standardized(minibatch.advantage)) if scaled else minibatch

    def _gradients(self) -> tuple[Gradients[Batch], Gradients[Batch], Gradients[Batch]]:
        """Those of the joint objective, the policy's and the value's."""
        quick = self._quick
        if quick is not None:
            return quick.joint, quick.policy, quick.value
        objectives = self.joint_objective, self.policy_objective, self.value_objective
        joint, of_policy, of_value = map(by_autograd, objectives)
        return joint, of_policy, of_value

    def joint_objective(self, rows: Batch) -> tuple[torch.Tensor, Diagnostics]:
        """Policy and value objectives from one pass through the networks."""
        if isinstance(rows, FeatureBatch):
            logits, features, penalty = self._penalized_outputs(rows)
            value = self.model.value_beside(rows.inputs, features)
        else:
            (logits, value), penalty = self.model(rows.inputs), None
        policy_part, policy_diagnostics = self._policy_part(rows, logits, penalty)
        value_part, value_diagnostics = self._value_part(rows, value)
        return policy_part + value_part, policy_diagnostics | value_diagnostics

    def policy_objective(self, rows: Batch) -> tuple[torch.Tensor, Diagnostics]:
        """Decoupled objective with KL penalty, entropy bonus and feature penalty."""
        if isinstance(rows, FeatureBatch):
            logits, _, penalty = self._penalized_outputs(rows)
            return self._policy_part(rows, logits, penalty)
        return self._policy_part(rows, self.model.policy_logits(rows.inputs))

    def value_objective(self, rows: Batch) -> tuple[torch.Tensor, Diagnostics]:
        """value_coef * mean((v - vtarg)^2)."""
        return self._value_part(rows, self.model.values(rows.inputs)[0])

    def _penalized_outputs(self, rows: FeatureBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits and features of the policy's network, and its feature penalty before the coefficient."""
        logits, features, pre_activations = self.model.watched(rows.inputs, self._penalized)
        return logits, features, feature_penalty(pre_activations, rows.collected)

    def _policy_part(
        self, rows: Batch, logits: torch.Tensor, penalty: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Diagnostics]:
        config = self.config
        policy = self.model.actions(logits)
        loss, diagnostics = policy_loss(
            policy.log_prob(rows.action),
            rows.logp,
            self._proximal_logp(rows),
            rows.advantage,
            clip=config.clip,
            kl_penalty=config.kl_penalty,
            importance_cap=config.importance_cap,
        )
        if config.entropy_coef:
            loss = loss - config.entropy_coef * policy.entropy().mean()
        if penalty is not None and config.feature_penalty:
            loss = loss + config.feature_penalty.coefficient * penalty
            diagnostics["feature_penalty"] = penalty.detach()
        return loss, diagnostics

    def _value_part(self, rows: Batch, value: torch.Tensor) -> tuple[torch.Tensor, Diagnostics]:
        loss, diagnostics = value_loss(value, rows.value_target)
        return self.config.value_coef * loss, diagnostics

    def _proximal_logp(self, rows: Batch) -> torch.Tensor:
        """The EWMA network's, computed at each gradient step; without an EWMA, the behaviour's."""
        if self.ewma is None:
            return rows.logp
        with torch.no_grad():
            logits = self.model.policy_logits(rows.inputs, self.ewma.network)
            return self.model.actions(logits).log_prob(rows.action)

    def _update_proximal(self) -> None:
        if self.ewma is not None:
            self.ewma.update()

    def _step(
        self,
        optimizer: torch.optim.Optimizer,
        minibatch: SomeRows,
        gradients: Gradients[SomeRows],
        with_norms: bool,
    ) -> Diagnostics:
        return gradient_step(
            optimizer,
            minibatch,
            gradients,
            chunk=self.model.chunk,
            device=self._device,
            clipped_together=self.clipped_together,
            vectors=self._quick.vectors if self._quick else None,
            max_norm=self.config.max_grad_norm,
            with_norms=with_norms,
        )

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


def adam(config: AgentConfig, model: ActorCritic, step_size: float) -> torch.optim.Adam:
    """Adam over all networks; a step does not move parameters that its loss does not reach."""
    return torch.optim.Adam(
        model.parameters(), lr=step_size, betas=config.adam_betas, eps=config.adam_eps, fused=True
    )


def clipped_together(model: ActorCritic) -> tuple[tuple[torch.nn.Parameter, ...], ...]:
    """The parameters of each network, whose gradient has one norm."""
    return tuple(tuple(network.parameters()) for network in model.networks)


def by_autograd(objective: Objective[SomeRows]) -> Gradients[SomeRows]:
    """The gradients of an objective."""

    def gradients(rows: SomeRows, share: float) -> Diagnostics:
        loss, diagnostics = objective(rows)
        (loss if share == 1.0 else share * loss).backward()
        return diagnostics

    return gradients


def gradient_step(
    optimizer: torch.optim.Optimizer,
    minibatch: SomeRows,
    gradients: Gradients[SomeRows],
    *,
    chunk: int | None,
    device: torch.device,
    clipped_together: Sequence[Sequence[torch.nn.Parameter]] = (),
    vectors: Sequence[torch.Tensor] | None = None,
    max_norm: float = 0.0,
    with_norms: bool = False,
) -> Diagnostics:
    """One step on a minibatch; returns its diagnostics.

    The objective is a mean over transitions, so its gradient is a sum over parts of about
    ``chunk`` transitions, weighted by their share. Memory then holds the activations of one part. If
    ``max_norm`` is not 0, the gradient of each of ``clipped_together`` is scaled down to that norm if it is
    longer.

    Args:
        clipped_together: the parameters of the policy's network and, if it is not the same, of the value's.
        vectors: of each of ``clipped_together`` the vector whose parts its gradients are, if there are such.
        with_norms: whether diagnostics have the norm of each network's gradient, before it is scaled down,
            and that of the change of its weights, where the objective reaches it.
    """
    optimizer.zero_grad(set_to_none=True)
    gathered: Diagnostics = {}
    for part in minibatch.parts(chunk, device):
        share = part.num_steps / minibatch.num_steps
        diagnostics = gradients(part, share)
        for name, value in diagnostics.items():
            gathered[name] = gathered.get(name, 0.0) + share * value
    moving = {
        name: [weight for weight in parameters if weight.grad is not None]
        for name, parameters in zip(("policy", "value"), clipped_together, strict=False)
        if with_norms
    }
    before = {name: [weight.detach().clone() for weight in each] for name, each in moving.items() if each}
    for name in before:
        reached = (weight.grad for weight in moving[name] if weight.grad is not None)
        gathered[f"{name}_gradient_norm"] = global_norm(reached)
    if max_norm and vectors is not None:
        for vector in vectors:
            clip_norm(vector, max_norm)
    elif max_norm:
        for parameters in clipped_together:
            torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()
    for name, old in before.items():
        changes = (new.detach() - was for new, was in zip(moving[name], old, strict=True))
        gathered[f"{name}_update_norm"] = global_norm(changes)
    return gathered


def clip_norm(vector: torch.Tensor, max_norm: float) -> None:
    """Scale a vector down to that norm if it is longer; as ``clip_grad_norm_``, in a fifth of its time."""
    longer = float(torch.linalg.vector_norm(vector)) / max_norm
    if longer > 1.0:
        vector /= longer


def masked(rollout: Rollout, probability: float, rng: np.random.Generator) -> Rollout:
    """The rollout with each reward replaced by 0 with that probability; nothing is drawn if it is 0.

    A control with sparse rewards (Moalla et al. 2024, appendix).
    """
    if probability == 0:
        return rollout
    kept = rng.random(rollout.reward.shape) >= probability
    return replace(rollout, reward=np.where(kept, rollout.reward, 0.0))


def means(steps: list[Diagnostics]) -> dict[str, float]:
    """Each diagnostic's mean over the steps that have it."""
    names = {name for step in steps for name in step}
    return {
        name: float(torch.stack([step[name] for step in steps if name in step]).mean())
        for name in sorted(names)
    }
