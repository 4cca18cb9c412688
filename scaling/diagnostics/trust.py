"""How far an iteration moved the policy, against the trust region of the clipped objective.

The ratio of a sample is rho = pi_end(a|s) / pi_collect(a|s), after the whole optimisation phase, on the whole
batch (Moalla et al. 2024, arXiv 2405.00662, metrics). Clipping ends what a sample's own gradient adds to its
ratio; it does not bound what the gradients of other samples do to it.
"""

from __future__ import annotations

import math

import torch

#: Bounds of a log ratio, so that its exponential is a number (the paper's code).
LEAST_LOG_RATIO, LARGEST_LOG_RATIO = math.log(1e-7), math.log(1e9)


def ratio_statistics(log_ratio: torch.Tensor, clip: float) -> dict[str, float]:
    """Maximum, minimum, mean and standard deviation of rho = exp(log_ratio), and how far it leaves the clip.

    ``ratio_above`` is the mean of the ratios above 1 + clip, ``ratio_below`` of those below 1 - clip;
    ``excess_ratio`` is the one divided by the other, at least (1 + clip) / (1 - clip). Each is there only
    where such ratios are, and none of them without clipping.

    Args:
        log_ratio: (n,), log pi_end - log pi_collect at the sampled actions.
        clip: epsilon; 0 if the objective is not clipped.
    """
    rho = bounded(log_ratio).exp()
    found = {
        "ratio_max": float(rho.max()),
        "ratio_min": float(rho.min()),
        "ratio_mean": float(rho.mean()),
        "ratio_std": float(rho.std(correction=0)),
    }
    above, below = rho[rho > 1 + clip], rho[rho < 1 - clip]
    if clip > 0 and above.numel():
        found["ratio_above"] = float(above.mean())
    if clip > 0 and below.numel():
        found["ratio_below"] = float(below.mean())
    if "ratio_above" in found and "ratio_below" in found:
        found["excess_ratio"] = found["ratio_above"] / found["ratio_below"]
    return found


def kl_k1(log_ratio: torch.Tensor) -> float:
    """mean(-log rho), an unbiased estimate of KL(pi_collect || pi_end) that may be negative; nat."""
    return float(-bounded(log_ratio).mean())


def kl_k3(log_ratio: torch.Tensor) -> float:
    """mean(rho - 1 - log rho), an unbiased estimate of the same that is never negative; nat."""
    log_ratio = bounded(log_ratio)
    return float((torch.expm1(log_ratio) - log_ratio).mean())


def bounded(log_ratio: torch.Tensor) -> torch.Tensor:
    """The log ratios in float64, cut at the ratios 1e-7 and 1e9."""
    return log_ratio.to(torch.float64).clamp(LEAST_LOG_RATIO, LARGEST_LOG_RATIO)
