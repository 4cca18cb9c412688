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
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.models.actor_critic import ActorCritic, Inputs
from rlscale.scaling.models.distributions import CategoricalPolicy
from rlscale.scaling.rollouts.rollout import Rollout, Rows

_AT_ONCE = 1024  # observations of which policies are computed together, at least one row


@dataclass(frozen=True)
class TeacherRows(Rows):
    """Rows with the teacher's outputs, (rows, steps, num_outputs) and (rows, steps)."""

    logits: torch.Tensor
    value: torch.Tensor


def observed_rows(rollout: Rollout, steps: int) -> Rows:
    """A rollout's observations on the host, as rows that begin without a memory.

    Without memory a row is one observation. With it, it is ``steps`` consecutive ones, and what does not fill
    a row at the end is left out.
    """
    memory = rollout.state.shape[1]
    if not memory:
        observation = rollout.observation.flatten(0, 1)[:, None].cpu()
        first = torch.zeros(len(observation), 1)
        return Rows(observation, first, first[:, :0])
    length = len(rollout.reward) // steps * steps
    observation, first = (
        each[:length].transpose(0, 1).unflatten(1, (-1, steps)).flatten(0, 1).cpu()
        for each in (rollout.observation, rollout.first)
    )
    return Rows(observation, first, torch.zeros(len(first), memory))


def row_steps(config: RunConfig, collected: int) -> int:
    """Steps of a row of ``observed_rows``: 1, or with memory those of the run's rollouts, or all there are.

    Args:
        collected: consecutive steps of an environment.
    """
    return min(config.agent.rollout_steps, collected) if config.model.is_recurrent else 1


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
        minibatch: observations, in whole rows, at least one row.

    Returns:
        The loss on the last minibatch of the last epoch, before its own step.
    """
    optimizer = adam(config, model, step_size)
    device, last = next(model.parameters()).device, torch.tensor(torch.nan)
    count, steps = rows.first.shape

    def objective(part: TeacherRows) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        value = loss(model, part)
        return value, {"loss": value.detach()}

    for _ in range(epochs):
        for index in whole_minibatches(count, max(1, minibatch // steps), rng):
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
    """With normal noise, its deviation a share of that of all observations (rows, steps, ...) at a place."""
    x = observation.float()
    noise = torch.randn(x.shape, generator=generator)
    return _as_observations(x + share * x.std(dim=(0, 1), correction=0) * noise, observation.dtype)


def _as_observations(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return x.round().clamp(0, 255).to(dtype) if dtype == torch.uint8 else x.to(dtype)


@dataclass(frozen=True)
class Pairs(Rows):
    """Rows, and observations (rows, steps, ...) to compare with theirs."""

    other: torch.Tensor


@dataclass(frozen=True)
class Shift:
    """How a policy changes from the observations of n rows to n others; means over the steps of a row.

    Attributes:
        divergence: KL(policy before || policy after), nat, (n,).
        same_action: how often the likeliest action stays, (n,); None unless actions are choices of one kind.
    """

    divergence: np.ndarray
    same_action: np.ndarray | None


@torch.no_grad()
def shift(model: ActorCritic, rows: Rows, others: torch.Tensor) -> Shift:
    """Compare a policy on rows with that on other observations (n, steps, ...) in their place, one by one."""
    divergences, same = [], []
    device = next(model.parameters()).device
    both = Pairs(**vars(rows), other=others)
    for part in both.parts(_AT_ONCE, device):
        changed = Inputs(part.other, part.first, part.state)
        old, new = (model.actions(model.policy_logits(inputs)) for inputs in (part.inputs, changed))
        divergences.append(new.kl_from(old).mean(dim=1).cpu().numpy())
        if isinstance(old, CategoricalPolicy) and isinstance(new, CategoricalPolicy):
            likeliest = [policy.choices.logits.argmax(dim=-1) for policy in (old, new)]
            same.append((likeliest[0] == likeliest[1]).double().mean(dim=1).cpu().numpy())
    return Shift(np.concatenate(divergences), np.concatenate(same) if same else None)
