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
    behaviour = _capped(logp_behaviour, logp_new, importance_cap)
    loss_weight = -advantage
    to_behaviour = log_ratio if behaviour is logp_proximal else logp_new - behaviour
    objective = loss_weight * torch.exp(to_behaviour)
    clipped = log_ratio
    if clip > 0:
        clipped = torch.clamp(log_ratio, math.log(1 - clip), math.log(1 + clip))
        bounded = loss_weight * torch.exp(clipped + logp_proximal - behaviour)
        objective = torch.maximum(objective, bounded)
    surrogate = objective.mean()
    with torch.set_grad_enabled(kl_penalty != 0 and torch.is_grad_enabled()):
        kl_estimate = 0.5 * log_ratio.square().mean()
    with torch.no_grad():
        diagnostics = {
            "policy_loss": surrogate.detach(),
            "approx_kl": kl_estimate.detach(),
            "clip_fraction": _share_changed(clipped, log_ratio),
            "importance_fraction": _share_changed(behaviour, logp_behaviour),
        }
    return (surrogate + kl_penalty * kl_estimate if kl_penalty else surrogate), diagnostics


def policy_loss_slope(
    logp_new: torch.Tensor,
    logp_behaviour: torch.Tensor,
    logp_proximal: torch.Tensor,
    advantage: torch.Tensor,
    *,
    clip: float,
    kl_penalty: float,
    importance_cap: float,
) -> tuple[torch.Tensor, Diagnostics]:
    """The gradient (batch,) of ``policy_loss`` with respect to ``logp_new``, written out, and diagnostics.

    The slope of w exp(log pi - const) is itself. It is that of the clipped objective too, except where the
    maximum is the bound, which is constant.
    """
    log_ratio = logp_new - logp_proximal
    behaviour = _capped(logp_behaviour, logp_new, importance_cap)
    loss_weight = -advantage
    to_behaviour = log_ratio if behaviour is logp_proximal else logp_new - behaviour
    objective = slope = loss_weight * torch.exp(to_behaviour)
    clipped = log_ratio
    if clip > 0:
        clipped = torch.clamp(log_ratio, math.log(1 - clip), math.log(1 + clip))
        bounded = loss_weight * torch.exp(clipped + logp_proximal - behaviour)
        slope = torch.where((clipped == log_ratio) | (objective > bounded), objective, 0.0)
        objective = torch.maximum(objective, bounded)
    count = log_ratio.numel()
    slope = slope / count
    if kl_penalty:
        slope = slope.add(log_ratio, alpha=kl_penalty / count)
    return slope, {
        "policy_loss": objective.mean(),
        "approx_kl": torch.dot(log_ratio, log_ratio) / (2 * count),
        "clip_fraction": _share_changed(clipped, log_ratio),
        "importance_fraction": _share_changed(behaviour, logp_behaviour),
    }


def _capped(logp_behaviour: torch.Tensor, logp_new: torch.Tensor, cap: float) -> torch.Tensor:
    """The behaviour's log-probabilities, at least as large as the bound of pi/pi_behav asks for."""
    return torch.maximum(logp_behaviour, logp_new.detach() - math.log(cap)) if cap > 0 else logp_behaviour


def _share_changed(now: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """How much of a batch was changed, a scalar."""
    if now is before:
        return torch.zeros((), device=before.device)
    return (now != before).float().mean()


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
