"""Distillation of a policy into a fresh network, and how far policies carry beyond what they saw.

Lyle et al. 2022: a student that learns a trained policy's actions, on the observations that it visits, has
never followed the path of its training and its value function, and generalises better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from rlscale.scaling.agents.ppo import adam, by_autograd, clipped_together, gradient_step
from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.models.distributions import CategoricalPolicy, Policy
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.rollouts.rollout import Rollout, Rows

_AT_ONCE = 1024  # observations of which policies are computed together


@dataclass(frozen=True)
class TeacherRows(Rows):
    """Single observations with the teacher's outputs, (rows, 1, num_outputs) and (rows, 1)."""

    logits: torch.Tensor
    value: torch.Tensor


def single_observations(rollout: Rollout) -> Rows:
    """All observations of a rollout as rows of one step, on the host; for networks without memory."""
    observation = rollout.observation.flatten(0, 1)[:, None].cpu()
    first = torch.zeros(len(observation), 1)
    return Rows(observation, first, first[:, :0])


@torch.no_grad()
def with_outputs(rows: Rows, teacher: ActorCritic) -> TeacherRows:
    """The rows with what the teacher says of them."""
    device = next(teacher.parameters()).device
    outputs = [teacher(part.inputs) for part in rows.parts(teacher.chunk, device)]
    logits, values = (torch.cat(each).cpu() for each in zip(*outputs, strict=True))
    return TeacherRows(rows.observation, rows.first, rows.state, logits, values)


def actor_loss(model: ActorCritic, rows: TeacherRows) -> torch.Tensor:
    """mean KL(teacher || model), nat."""
    policy = model.actions(model.policy_logits(rows.inputs))
    return policy.kl_from(model.actions(rows.logits)).mean()


def critic_loss(model: ActorCritic, rows: TeacherRows) -> torch.Tensor:
    """mean (V - V_teacher)^2."""
    return (model.values(rows.inputs)[0] - rows.value).square().mean()


def whole_minibatches(count: int, size: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """Indices of ``count`` rows in random order, ``size`` at a time; a rest that is smaller is left out."""
    order = torch.from_numpy(rng.permutation(count))
    yield from order[: count - count % size].split(size)


def minibatch_size(config: AgentConfig) -> int:
    """Observations of a minibatch in training, before the batch grows."""
    return max(1, config.num_envs * config.rollout_steps // config.minibatches)


def taught(
    model: ActorCritic,
    rows: TeacherRows,
    loss: Callable[[ActorCritic, TeacherRows], torch.Tensor],
    config: AgentConfig,
    *,
    step_size: float,
    minibatch: int,
    epochs: int,
    rng: np.random.Generator,
) -> float:
    """Let the networks learn the teacher's outputs with a fresh Adam.

    Args:
        config: its Adam and its bound of gradients are used.

    Returns:
        The loss on the last minibatch of the last epoch, before its own step.
    """
    optimizer = adam(config, model, step_size)
    device, last = next(model.parameters()).device, torch.tensor(torch.nan)

    def objective(part: TeacherRows) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        value = loss(model, part)
        return value, {"loss": value.detach()}

    for _ in range(epochs):
        for index in whole_minibatches(len(rows.first), minibatch, rng):
            last = gradient_step(
                optimizer,
                rows.select(index),
                by_autograd(objective),
                chunk=model.chunk,
                device=device,
                clipped_together=clipped_together(model),
                max_norm=config.max_grad_norm,
            )["loss"]
    return float(last)


# -- beyond what was seen ---------------------------------------------------------


def interpolated(observation: torch.Tensor, other: torch.Tensor, weight: float) -> torch.Tensor:
    """weight * x + (1 - weight) * x', rounded where observations are whole numbers."""
    return _as_observations(weight * observation.float() + (1 - weight) * other.float(), observation.dtype)


def noisy(observation: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """With normal noise, its deviation a share of that of all observations (n, ...) at each place."""
    x = observation.float()
    noise = torch.randn(x.shape, generator=generator)
    return _as_observations(x + share * x.std(dim=0, correction=0) * noise, observation.dtype)


def _as_observations(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return x.round().clamp(0, 255).to(dtype) if dtype == torch.uint8 else x.to(dtype)


@dataclass(frozen=True)
class Shift:
    """How a policy changes from n observations to n others.

    Attributes:
        divergence: KL(policy before || policy after), nat, (n,).
        same_action: whether the likeliest action stays, (n,); None unless actions are choices of one kind.
    """

    divergence: np.ndarray
    same_action: np.ndarray | None


@torch.no_grad()
def shift(model: ActorCritic, before: torch.Tensor, after: torch.Tensor) -> Shift:
    """Compare a policy on observations (n, ...) with that on others, one by one."""
    divergences, same = [], []
    for start in range(0, len(before), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        old, new = _policy(model, before[rows]), _policy(model, after[rows])
        divergences.append(new.kl_from(old)[:, 0].cpu().numpy())
        if isinstance(old, CategoricalPolicy) and isinstance(new, CategoricalPolicy):
            likeliest = [policy.choices.logits.argmax(dim=-1)[:, 0] for policy in (old, new)]
            same.append((likeliest[0] == likeliest[1]).cpu().numpy())
    return Shift(np.concatenate(divergences), np.concatenate(same) if same else None)


def _policy(model: ActorCritic, observation: torch.Tensor) -> Policy:
    device = next(model.parameters()).device
    return model.actions(model.policy_logits(flat_inputs(observation.to(device))))
