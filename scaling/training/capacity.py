"""Capacity loss: how well a run's networks still learn something new (Moalla et al. 2024, arXiv 2405.00662).

A network of the same class with random weights, the target, acts in the task; its outputs there are what a
checkpoint's networks are to learn: the actor by KL(target || checkpoint), the critic by squared error.
They learn with a fresh Adam, and with the step size, minibatch size and gradient clipping of the run. The
capacity loss is the loss on the last minibatch. Where it rises along a run, the networks have lost the
ability to learn what they could have learned at its beginning.

The paper's text and its code differ in where the observations come from: they are the target's here, as in
the text; in the code the run's first network collects them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from rlscale.scaling.agents.distillation import (
    TeacherRows,
    actor_loss,
    critic_loss,
    minibatch_size,
    observed_rows,
    row_steps,
    taught,
    with_outputs,
)
from rlscale.scaling.config.model import step_size
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import InputError, NonFiniteLoss
from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.tasks.catalog import Vectors
from rlscale.scaling.training.build import build_networks, first_networks, generator_of, make_collector
from rlscale.scaling.training.checkpoint import network_weights, read_checkpoint

_TARGETS = 2405_00662  # seeds of targets have nothing to do with those of runs


@dataclass(frozen=True)
class Protocol:
    """How much the networks are given to learn.

    Attributes:
        envs: environments side by side.
        steps: observations from each.
        epochs: passes over them.
    """

    envs: int
    steps: int
    epochs: int

    @classmethod
    def of_paper(cls, config: RunConfig) -> Protocol:
        """Vectors: 4 environments of 1,000 steps, 4 epochs (MuJoCo); images: 36,000 steps once (Atari)."""
        is_vector = isinstance(config.task_entry.observations, Vectors)
        return cls(4, 1000, 4) if is_vector else cls(1, 36_000, 1)


@dataclass(frozen=True)
class CapacityLoss:
    """The losses that the networks of one checkpoint come down to.

    Attributes:
        interactions: of the checkpoint; 0 for the networks with which the run began.
        actor: mean KL(target || checkpoint), nat.
        critic: mean squared error of the target's values.
    """

    interactions: int
    actor: float
    critic: float


def check_capacity(config: RunConfig, protocol: Protocol) -> None:
    """Refuse what cannot be measured, before anything is.

    Raises:
        InputError: if there are no networks, or the observations do not fill a minibatch.
    """
    config.check_has_agent()
    row = row_steps(config, protocol.steps)
    observations, minibatch = protocol.envs * (protocol.steps // row * row), minibatch_size(config.agent)
    if observations < minibatch:
        raise InputError(
            f"{observations:,} observations do not fill a minibatch of {minibatch:,} of run "
            f"{config.run_id}: use more --steps.",
            code="too_few_observations",
        )


def capacity_losses(
    config: RunConfig,
    checkpoints: Iterable[bytes],
    *,
    target: int,
    protocol: Protocol,
    device: str = "cpu",
) -> Iterator[CapacityLoss]:
    """The capacity loss of a run's first networks, then of each checkpoint.

    Args:
        checkpoints: as ``RunStore.read_checkpoints`` gives them.
        target: number of the random target; the same number is the same target for all checkpoints, and for
            other runs of the same size.

    Raises:
        InputError: see ``check_capacity``; or if a checkpoint cannot be read (code ``damaged_checkpoint``).
        NonFiniteLoss: if a checkpoint's networks are not finite.
    """
    check_capacity(config, protocol)
    torch.set_num_threads(config.threads)
    seed = np.random.SeedSequence([_TARGETS, target])
    place = torch.device(device)
    rows = target_rows(config, protocol, seed, place)
    order = np.random.default_rng(seed.spawn(1)[0]).integers(2**63)
    model = first_networks(config).to(place)
    yield _fitted(model, 0, rows, config, protocol, order)
    for checkpoint in checkpoints:
        try:
            state = read_checkpoint(checkpoint, config.run_id, place)
        except ValueError as error:
            raise InputError(
                f"Run {config.run_id} cannot be measured, {error}; restore its files.",
                code="damaged_checkpoint",
            ) from error
        model.load_state_dict(network_weights(state))
        yield _fitted(model, int(state["interactions"]), rows, config, protocol, order)


def target_rows(
    config: RunConfig, protocol: Protocol, seed: np.random.SeedSequence, device: torch.device
) -> TeacherRows:
    """The observations of a random target in the task, with its outputs.

    With memory they are rows of consecutive ones, of which each network, the target too, knows those before
    it in its row.
    """
    init, task, actions = seed.spawn(3)
    target = build_networks(config, generator_of(init)).to(device)
    agent = config.agent.model_copy(update={"num_envs": protocol.envs, "rollout_steps": protocol.steps})
    collector = make_collector(config.model_copy(update={"agent": agent}), device, task, actions)
    rollout, _, _ = collector.collect(target, envs=protocol.envs, steps=protocol.steps, needs_bootstrap=False)
    return with_outputs(observed_rows(rollout, row_steps(config, protocol.steps)), target)


def _fitted(
    model: ActorCritic,
    interactions: int,
    rows: TeacherRows,
    config: RunConfig,
    protocol: Protocol,
    order: int,
) -> CapacityLoss:
    """Let the networks learn the target's outputs, actor and critic apart; they are as before afterwards."""
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    losses = []
    for loss in (actor_loss, critic_loss):
        left = taught(
            model,
            rows,
            loss,
            config.agent,
            step_size=step_size(config.agent.learning_rate, config.model),
            minibatch=minibatch_size(config.agent),
            epochs=protocol.epochs,
            rng=np.random.default_rng(order),
        )
        losses.append(left)
        model.load_state_dict(kept)
    if not all(map(math.isfinite, losses)):
        raise NonFiniteLoss(
            f"Run {config.run_id} after {interactions:,} interactions has networks whose loss is not finite; "
            f"leave this run out."
        )
    return CapacityLoss(interactions, *losses)
