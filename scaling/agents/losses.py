"""The losses of PPO with a decoupled proximal policy and of PPG's auxiliary phase, as pure functions."""

from __future__ import annotations

import math

import torch

from rlscale.scaling.models.distributions import Policy

Diagnostics = dict[str, torch.Tensor]


def policy_loss(
    logp_new: torch.Tensor,
    logp_behaviour: torch.Tensor,
    logp_proximal: torch.Tensor,
    advantage: torch.Tensor,
    *,
    clip: float,
    kl_penalty: float,
    importance_cap: float,
) -> tuple[torch.Tensor, Diagnostics]:
    """Decoupled clipped objective with a KL penalty (arXiv 2110.00641, equations of section 2).

    All arguments are (batch,) at the sampled actions: log-probabilities under the current,
    the behaviour and the proximal policy (the last two without gradient), and advantages.

    The clipped part is the mean of (pi_prox/pi_behav) * min(r A, clip(r, 1-eps, 1+eps) A)
    with r = pi/pi_prox; ``clip`` 0 leaves only the importance-weighted advantage. The KL
    term is kl_penalty * mean(log r ^ 2) / 2, a second-order estimate from the samples.
    ``importance_cap`` bounds pi/pi_behav; 0 switches the bound off.
    """
    log_ratio = logp_new - logp_proximal
    capped_behaviour = logp_behaviour
    if importance_cap > 0:
        capped_behaviour = torch.maximum(logp_behaviour, logp_new.detach() - math.log(importance_cap))
    loss_weight = -advantage
    to_behaviour = log_ratio if capped_behaviour is logp_proximal else logp_new - capped_behaviour
    objective = loss_weight * torch.exp(to_behaviour)
    clipped = log_ratio
    if clip > 0:
        clipped = torch.clamp(log_ratio, math.log(1 - clip), math.log(1 + clip))
        bounded = loss_weight * torch.exp(clipped + logp_proximal - capped_behaviour)
        objective = torch.maximum(objective, bounded)
    surrogate = objective.mean()
    with torch.set_grad_enabled(kl_penalty != 0 and torch.is_grad_enabled()):
        kl_estimate = 0.5 * log_ratio.square().mean()
    with torch.no_grad():
        outside, over_cap = (
            torch.zeros((), device=log_ratio.device) if kept is asked else (kept != asked).float().mean()
            for kept, asked in ((clipped, log_ratio), (capped_behaviour, logp_behaviour))
        )
    diagnostics = {
        "policy_loss": surrogate.detach(),
        "approx_kl": kl_estimate.detach(),
        "clip_fraction": outside,
        "importance_fraction": over_cap,
    }
    return (surrogate + kl_penalty * kl_estimate if kl_penalty else surrogate), diagnostics


def value_loss(value: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, Diagnostics]:
    """mean((v - vtarg)^2): no half, no clipping. Both (batch,)."""
    loss = (value - target).square().mean()
    return loss, {"value_loss": loss.detach()}


def explained_variance(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - Var(vtarg - v) / Var(vtarg), biased variances; 0 where the targets do not vary."""
    variance = target.var(unbiased=False)
    share = 1 - (target - value).var(unbiased=False) / variance
    return torch.where(variance > 0, share, torch.zeros_like(variance))


def auxiliary_loss(
    policy: Policy,
    old_policy: Policy,
    value: torch.Tensor,
    auxiliary_value: torch.Tensor,
    target: torch.Tensor,
    *,
    clone_coef: float,
    value_coef: float,
) -> tuple[torch.Tensor, Diagnostics]:
    """The objective of PPG's auxiliary phase (Cobbe et al. 2020, arXiv 2009.04416, section 2).

    clone_coef * mean KL(pi_old || pi) + mean 0.5 (v_aux - vtarg)^2 + value_coef * mean 0.5 (v - vtarg)^2.
    ``policy`` and ``old_policy`` are those now and before the phase, the latter without gradient; all
    others are (...), ``target`` as it was when it was stored.
    """
    clone = policy.kl_from(old_policy).mean()
    auxiliary = 0.5 * (auxiliary_value - target).square().mean()
    true = 0.5 * (value - target).square().mean()
    diagnostics = {
        "clone_kl": clone.detach(),
        "auxiliary_loss": auxiliary.detach(),
        "auxiliary_value_loss": true.detach(),
    }
    return clone_coef * clone + auxiliary + value_coef * true, diagnostics
