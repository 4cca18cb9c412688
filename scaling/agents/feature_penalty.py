"""Proximal feature optimisation, PFO (Moalla et al. 2024, arXiv 2405.00662, section on features).

The clipped objective bounds the outputs of the policy, not its representation. PFO adds

    L_PFO = mean over observations and units of (phi(s) - phi_old(s))^2,

phi being pre-activations of the policy network, those that give the features or all of them, and phi_old
those of the network that collected the batch. The paper writes a sum over units, its code a mean, with which
its published coefficients go.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlscale.scaling.errors import InputError
from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.models.trunk import Trunk
from rlscale.scaling.rollouts.rollout import Batch


@dataclass(frozen=True)
class FeatureBatch(Batch):
    """Rows with ``collected`` (rows, steps, units), pre-activations of the network that collected them."""

    collected: torch.Tensor


def feature_penalty(pre_activations: torch.Tensor, collected: torch.Tensor) -> torch.Tensor:
    """L_PFO of pre-activations (..., units) and those at collection, which carry no gradient."""
    return (pre_activations - collected).square().mean()


def penalized(trunk: Trunk, layers: str) -> tuple[str, ...]:
    """The submodules whose outputs are kept near: of the last layer, or of all.

    Raises:
        InputError: if the family does not name its pre-activations.
    """
    names = trunk.pre_activations
    if not names:
        raise InputError(
            "agent.feature_penalty needs a family that names its pre_activations, and model.family does not: "
            "add the names to the class, or leave feature_penalty out.",
            code="no_pre_activations",
        )
    return names[-1:] if layers == "last" else names


@torch.no_grad()
def with_collected_features(
    batch: Batch, model: ActorCritic, names: tuple[str, ...], device: torch.device
) -> FeatureBatch:
    """The batch with the pre-activations of the present network; call it before the first step on the batch.

    They are kept where the observations are.
    """
    kept = [
        model.watched(part.inputs, names)[2].to(batch.observation.device)
        for part in batch.parts(model.chunk, device)
    ]
    return FeatureBatch(**vars(batch), collected=torch.cat(kept))
